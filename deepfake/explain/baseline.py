"""Fillings, which replace removed parts of a clip: silence, noise of its spectrum, or the clip played backwards."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepfake.errors import InputError
from deepfake.explain.clip import Clip

N_FFT = 512
BLOCK = 800  # samples; 50 ms at 16 kHz


def silence(waveform: Tensor, seed: int = 0) -> Tensor:
    """Zeros, `[T]` -> `[T]`. For some detectors silence is a cue in itself."""
    return torch.zeros_like(waveform)


def noise_like(waveform: Tensor, seed: int = 0) -> Tensor:
    """Gaussian noise with the clip's level and long-term spectrum, `[T]` -> `[T]`.

    White noise, with each bin of its short-time Fourier transform scaled to the clip's mean power in that bin. It keeps
    the spectral colour of the recording; voice, words and time structure are gone.

    Args:
        waveform: At least 4 samples.
        seed: Of the noise, the same on any device.
    """
    clip = waveform.detach().cpu()
    n_fft = min(N_FFT, len(clip) // 2 * 2)
    window = torch.hann_window(n_fft)
    white = torch.randn(len(clip), generator=torch.Generator().manual_seed(seed))
    of_clip, of_white = (torch.stft(w, n_fft, window=window, return_complex=True) for w in (clip, white))
    wanted, given = (s.abs().square().mean(dim=1, keepdim=True).sqrt() for s in (of_clip, of_white))  # [bins, 1]
    noise = torch.istft(of_white * (wanted / given), n_fft, window=window, length=len(clip))
    level = clip.square().mean().sqrt() / noise.square().mean().sqrt().clamp(min=1e-12)
    return (noise * level).to(waveform.device)


def reversed_blocks(waveform: Tensor, seed: int = 0) -> Tensor:
    """The clip with each block of 50 ms played backwards, `[T]` -> `[T]`: it keeps level and spectrum, but not phase.

    Args:
        waveform: Of any length.
        seed: Of the end of the first block.
    """
    first = 1 + int(torch.randint(BLOCK, (), generator=torch.Generator().manual_seed(seed)))
    return torch.cat([block.flip(0) for block in (waveform[:first], *waveform[first:].split(BLOCK))])


Filling = Callable[[Tensor, int], Tensor]
FILLINGS: dict[str, Filling] = {"silence": silence, "noise": noise_like, "reversed": reversed_blocks}


def require_filling(what: str, name: str) -> None:
    """Check the name of a filling.

    Raises:
        InputError: It is not one of `FILLINGS`.
    """
    if name not in FILLINGS:
        raise InputError(f"{what}={name}: one of {', '.join(FILLINGS)} was expected")


def refilled(clip: Clip, name: str, seed: int = 0) -> Clip:
    """The same clip and detector with this filling."""
    filling = FILLINGS[name](clip.source, seed)
    return Clip(clip.detector, clip.source, filling=filling, branch=clip.branch)
