"""A clip in cells of time and frequency, with the detector's evidence: the input of every explanation."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.features.mel import hz_to_mel, mel_to_hz

HOP_SECONDS = 0.01
HALF_FRAME_SECONDS = 0.016  # 512 samples a frame at 16 kHz
N_BANDS = 40


class Clip:
    """A clip whose cells (mel band x frame) can be attenuated, and the detector's evidence for spoof in the result.

    The clip is analysed and resynthesised by a short-time Fourier transform, so that cells are the same for every
    detector, whatever its front end: one that takes the waveform is explained in frequency as well. The cells lie on
    the source: where a short clip is repeated to the length that the detector takes, all repetitions consist of the
    same cells, whose evidence is that of all repetitions together.

    Args:
        detector: Put into eval mode, its parameters without gradients.
        waveform: The source `[T]`, at the detector's sample rate, no longer than the clip it takes.
        filling: Waveform that replaces attenuated cells `[T]`; silence if None.
        branch: Of a network whose logit is a sum over branches, the one whose part is the evidence; None for all.

    Attributes:
        gain: Of the unchanged clip: ones `[1, F, L]`.
        hz: Edges of the F bands `[F + 1]`.
        seconds: Edges of the L frames `[L + 1]`.

    Raises:
        InputError: There is no such branch.
    """

    def __init__(
        self, detector: Detector, waveform: Tensor, *, filling: Tensor | None = None, branch: str | None = None
    ) -> None:
        self.branches = detector.model.branches
        if branch is not None and branch not in self.branches:
            name = type(detector.model).__name__
            raise InputError(f"branch={branch}: {name} has {' and '.join(self.branches) or 'no branches'}")
        self.branch = branch
        self.detector = detector.eval().requires_grad_(False)
        self.device = next(detector.parameters()).device
        rate = detector.sample_rate
        self.source = waveform[: detector.n_samples].to(self.device)
        self.hop = round(HOP_SECONDS * rate)
        self.n_fft = 2 * round(HALF_FRAME_SECONDS * rate)
        self.window = torch.hann_window(self.n_fft, device=self.device)
        self.spectrum = self._transformed(self.source)  # [bins, L]
        filling = torch.zeros_like(self.source) if filling is None else filling.to(self.device)
        self.filling = self._transformed(filling)
        edges = np.linspace(0, hz_to_mel(rate / 2), N_BANDS + 1)
        self.hz = np.concatenate([[0.0], mel_to_hz(edges[1:-1]), [rate / 2]])
        n_frames = self.spectrum.shape[-1]
        between = (np.arange(1, n_frames) - 0.5) * self.hop / rate  # frame l is centred on sample l * hop
        self.seconds = np.concatenate([[0.0], between, [self.duration]])
        self.weights = self._shares(edges, rate)  # [bins, F]
        self.gain = torch.ones(1, N_BANDS, n_frames, device=self.device)

    @property
    def duration(self) -> float:
        """Of the source, in seconds."""
        return len(self.source) / self.detector.sample_rate

    def waveform(self, gain: Tensor) -> Tensor:
        """The detector's input, `[B, F, L]` -> `[B, T]`: a gain of 1 keeps a cell, 0 replaces it by the filling."""
        shares = self.weights @ gain  # [B, bins, L]
        mixed = self.filling + shares * (self.spectrum - self.filling)
        source = torch.istft(mixed, self.n_fft, self.hop, window=self.window, length=len(self.source))  # [B, T']
        return self.repeated(source)

    def repeated(self, source: Tensor) -> Tensor:
        """The source repeated to the length that the detector takes, `[B, T']` -> `[B, T]`."""
        n = self.detector.n_samples
        return source.repeat(1, math.ceil(n / source.shape[1]))[:, :n]

    def spoof(self, gain: Tensor) -> Tensor:
        """Evidence for spoof, natural log, `[B, F, L]` -> `[B]`.

        The log-likelihood ratio of a calibrated detector, not capped, else its log-odds; before any sigmoid.
        """
        return self.spoof_of(self.waveform(gain))

    def spoof_of(self, waveform: Tensor) -> Tensor:
        """The same of waveforms `[B, T]` -> `[B]`."""
        if self.branch is not None:
            return self.parts_of(waveform)[self.branch]
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN's recurrent layers give no gradient in eval mode
            logits = self.detector.logits(waveform)
        return self.detector.spoof(logits)

    def parts_of(self, waveform: Tensor) -> dict[str, Tensor]:
        """The part of each branch in the evidence, and `rest`, that of none, `[B, T]` -> `[B]` each."""
        detector, calibration = self.detector, self.detector.calibration
        weight, offset = (1.0, 0.0) if calibration is None else (calibration.weight, calibration.offset)
        with torch.backends.cudnn.flags(enabled=False):
            logits = detector.model.branch_logits(detector.features(waveform))
        parts = {name: -weight * logits[name] for name in self.branches}
        return {**parts, "rest": -weight * logits["bias"] - offset}

    def levels(self) -> np.ndarray:
        """Power of each cell in dB relative to the loudest, no lower than -80, `[F, L]`."""
        power = self.weights.T @ self.spectrum.abs().square()
        db = 10 * torch.log10(power.clamp(min=1e-10))
        return (db - db.max()).clamp(min=-80).cpu().numpy()

    def input(self) -> Tensor:
        """The unchanged clip, repeated to the length that the detector takes, `[1, T]`."""
        return self.repeated(self.source.unsqueeze(0))

    def _transformed(self, waveform: Tensor) -> Tensor:
        edges = "reflect" if len(waveform) > self.n_fft // 2 else "constant"  # there is too little to be reflected
        return torch.stft(waveform, self.n_fft, self.hop, window=self.window, pad_mode=edges, return_complex=True)

    def _shares(self, edges: np.ndarray, rate: int) -> Tensor:
        """Share of each bin in each band, `[bins, F]`; a bin's shares sum to 1."""
        centres = (edges[1:] + edges[:-1]) / 2
        mel = hz_to_mel(np.linspace(0, rate / 2, self.n_fft // 2 + 1))
        place = np.clip(np.interp(mel, centres, np.arange(N_BANDS)), 0, N_BANDS - 1)
        low = np.minimum(place.astype(int), N_BANDS - 2)
        shares = np.zeros((len(mel), N_BANDS), dtype=np.float32)
        shares[np.arange(len(mel)), low] = 1 - (place - low)
        shares[np.arange(len(mel)), low + 1] += place - low
        return torch.from_numpy(shares).to(self.device)
