"""The export of a detector, and the check that the file scores as the detector does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from deepfake.audio import crop_or_repeat, load
from deepfake.datasets.demo import ATTACKS, utterance
from deepfake.datasets.demo_voice import SAMPLE_RATE
from deepfake.detector import Detector
from deepfake.detector_format import one_line
from deepfake.errors import InputError
from deepfake.export.exported import Exported, metadata

TOLERANCE = 1e-4  # of a score, a logit, and a distance from the domain: of that relative, where it is above 1
N_VOICES = 4  # made for the check


class Export(NamedTuple):
    """A detector that was exported and compared with itself.

    Attributes:
        content: Of the file.
        format: Name and version of its format.
        any_batch: Whether it takes any number of clips at once; else one.
        n_clips: That were compared.
        scores: Least and greatest of them.
        difference: The greatest in a score, a logit or a distance from the domain, see `TOLERANCE`.
    """

    content: bytes
    format: str
    any_batch: bool
    n_clips: int
    scores: tuple[float, float]
    difference: float


def export(detector: Detector, form: type[Exported], files: Sequence[Path] = ()) -> Export:
    """Export a detector with its front end and compare the two.

    Where the number of clips cannot be left open, as in some recurrent networks, the file takes one at a time.

    Args:
        detector: On the CPU; it is left in eval mode.
        form: The format.
        files: Recordings whose first clips are compared; voices of the demo corpus where there are none.

    Raises:
        InputError: It cannot be exported, a recording cannot be used, or the scores differ.
    """
    outputs, clips = _Outputs(detector.eval()), _clips(detector, files)
    content, exported, any_batch = _exported(outputs, form)
    with torch.inference_mode():
        expected = _joined(detector, outputs, clips.split(1))
        found = [_joined(detector, exported, batches) for batches in ([clips.split(1), [clips]][: 1 + any_batch])]
    unit = torch.ones_like(expected)
    if detector.domain is not None:
        unit[:, -1] = expected[:, -1].clamp(min=1)
    difference = max(((one - expected) / unit).abs().max().item() for one in found)
    if not difference <= TOLERANCE:
        what = f"scores differ by {difference:.2g} from those of torch, at most {TOLERANCE:g} was expected"
        raise InputError(f"{_named(detector)} as {exported.format}: {what}; score it with torch")
    scores = expected[:, 0].min().item(), expected[:, 0].max().item()
    return Export(content, exported.format, any_batch, len(clips), scores, difference)


class _Outputs(nn.Module):
    """The outputs of a file, see `Exported`."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        if self.detector.domain is None:
            logits = self.detector.logits(waveform)
            return self.detector.score(logits), logits
        logits, embedding = self.detector.logits_and_embedding(waveform)
        return self.detector.score(logits), logits, embedding


def _exported(outputs: _Outputs, form: type[Exported]) -> tuple[bytes, Exported, bool]:
    """The content of the file, the file opened, and whether it takes any number of clips."""
    facts, reason = metadata(outputs.detector), ""
    for any_batch in (True, False):
        try:
            with _quiet():
                content = form.encoded(_traced(outputs, any_batch), facts)
                return content, form(content), any_batch
        except ModuleNotFoundError as error:
            raise InputError(f'{error.name} is not installed: pip install "deepfake[export]"') from error
        except Exception as error:
            reason = one_line(error)
    raise InputError(f"{_named(outputs.detector)} cannot be exported as {form.__name__}, score it with torch: {reason}")


def _traced(outputs: _Outputs, any_batch: bool) -> ExportedProgram:
    example = torch.zeros(2 if any_batch else 1, outputs.detector.n_samples)
    shapes = ({0: Dim("clips", min=1)},) if any_batch else None
    return torch.export.export(outputs, (example,), dynamic_shapes=shapes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' warnings and logs of what did not work to themselves: it is tried in another way."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _clips(detector: Detector, files: Sequence[Path]) -> Tensor:
    """Clips to compare the scores of, `[N, T]`; of digital silence all of the last one, and half of the one before."""
    demo = ["-", *ATTACKS]
    sources = files or [(utterance(0, "dev", i, i, demo[i % len(demo)]), SAMPLE_RATE) for i in range(N_VOICES)]
    sounds = [load(source, sample_rate=detector.sample_rate, seconds=detector.seconds) for source in sources]
    clips = [crop_or_repeat(sound, detector.n_samples) for sound in sounds]
    half = torch.arange(detector.n_samples) < detector.n_samples // 2
    return torch.stack([*clips, clips[0] * half, torch.zeros_like(clips[0])])


def _joined(detector: Detector, run: Callable[[Tensor], tuple[Tensor, ...]], batches: Sequence[Tensor]) -> Tensor:
    """Scores, logits and distances from the domain side by side, `[N, 2 to 4]`, in double precision."""
    rows = []
    for batch in batches:
        score, logits, *embedding = run(batch)
        distance = [detector.domain(batch, embedding[0])[:, None]] if detector.domain is not None else []
        rows.append(torch.cat([score[:, None], logits, *distance], dim=1))
    return torch.cat(rows).double()


def _named(detector: Detector) -> str:
    return " on ".join(detector.config[part]["_target_"].rpartition(".")[2] for part in ("model", "features"))
