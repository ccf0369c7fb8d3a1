"""What allocator, layout, ONNX Runtime, batched features and decoded samples save:
`python experiments/benchmarks/cpu.py`.

`python experiments/benchmarks/cpu.py memory` is the memory of AASIST's training and scoring instead, and its price;
`python experiments/benchmarks/cpu.py peer --aasist FOLDER` is AASIST against its authors' network, both with their
published weights, where FOLDER is a copy of clovaai/aasist (not shipped here).

Each row is a ratio of CPU times on one thread, its two sides taken in turn in the same process; the median of the
paired ratios, with the smallest and the largest. The allocator cannot be switched back, so its two sides are two
processes, started in turn.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepfake.allocator import keep_freed_memory
from deepfake.audio import load
from deepfake.datasets.demo import utterances
from deepfake.detector import Detector
from deepfake.export.export import export
from deepfake.export.onnx import Onnx
from deepfake.features.lfcc import LFCC
from deepfake.features.linear import LinearBands
from deepfake.features.mel import Mel
from deepfake.loading.item import Clips
from deepfake.loading.pcm import pcm
from deepfake.models.aasist import AASIST
from deepfake.models.cnn import CNN
from deepfake.models.cnn_bilstm import CNNBiLSTM

ROUNDS = 5


def step(model: nn.Module, features: torch.Tensor) -> Callable[[], None]:
    """Forward and backward in training mode."""

    def run() -> None:
        model.train().zero_grad()
        model(features).square().mean().backward()

    return run


def score(model: nn.Module, features: torch.Tensor) -> Callable[[], None]:
    """Forward in evaluation mode."""

    def run() -> None:
        with torch.inference_mode():
            model.eval()(features)

    return run


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def report(name: str, ratios: list[float]) -> None:
    """One row."""
    print(f"{name:44} {statistics.median(ratios):5.2f}x   ({min(ratios):.2f} to {max(ratios):.2f})")


def layout() -> None:
    """Channels last, as the models have it, against the default layout."""
    keep_freed_memory()
    for network, bands in ((CNN, 80), (CNNBiLSTM, 128)):
        ours, plain = network(in_channels=bands), network(in_channels=bands)
        plain.blocks.to(memory_format=torch.contiguous_format)
        features = torch.randn(16, bands, 157)
        for what in (step, score):
            a, b = what(ours, features), what(plain, features)
            a(), b()
            name = f"channels last, {network.__name__}, {what.__name__}"
            report(name, [seconds(b) / seconds(a) for _ in range(ROUNDS)])


def backends() -> None:
    """ONNX Runtime against torch, as `predict` has both, AASIST with random weights on clips of 4.04 s."""
    keep_freed_memory()
    torch.manual_seed(0)
    features, model = "deepfake.features.raw.Raw", "deepfake.models.aasist.AASIST"
    parts = {"features": {"_target_": features}, "model": {"_target_": model}}
    detector = Detector({**parts, "sample_rate": 16_000, "seconds": 4.0375, "score": "log_odds"}).eval()
    exported = Onnx(export(detector, Onnx).content)
    for n_clips in (1, 8):
        clips = 0.1 * torch.randn(n_clips, detector.n_samples)
        a, b = partial(exported, clips), torch.inference_mode()(partial(detector, clips))
        a(), b()
        report(f"ONNX Runtime, AASIST, {n_clips} x 4.04 s", [seconds(b) / seconds(a) for _ in range(ROUNDS)])


def cache() -> None:
    """Random crops from decoded samples, as with `dataset.cache=true`, against FLAC: the demo corpus of 2 to 4 s."""
    with tempfile.TemporaryDirectory() as folder:
        listed = utterances("train", root=f"{folder}/demo", n_utterances=90)
        files = [u.path for u in listed]
        kept = pcm(Path(folder, "demo.pcm"), files, 16_000, lambda: map(load, files))
        for n in (64_600, 24_000):  # most are repeated to fill, or all are cropped
            ours, plain = (Clips(listed, n_samples=n, sample_rate=16_000, pcm=used) for used in ([kept], []))
            a, b = (lambda clips=clips: [clips[i, k] for k in range(10) for i in range(42)] for clips in (ours, plain))
            a(), b()
            report(f"decoded samples, clips of {n} samples", [seconds(b) / seconds(a) for _ in range(ROUNDS)])


def front_ends() -> None:
    """Front ends on 32 clips of 4 s in a batch, against librosa and scipy clip by clip."""
    import librosa
    import numpy as np
    import scipy.fft
    import scipy.signal

    keep_freed_memory()
    clips = 0.1 * torch.randn(32, 64_000)
    each = list(clips.double().numpy())  # as soundfile reads
    signal: Any = scipy.signal  # whose types are those of any array library
    window, hz = signal.get_window("hamming", 320), np.linspace(0, 8_000, 257)

    def mel(x: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(y=x, sr=16_000)
        return librosa.power_to_db(power, ref=np.max, top_db=80) / 80 + 1

    def energies(x: np.ndarray, bands: np.ndarray) -> np.ndarray:
        _, _, found = signal.stft(x, 16_000, window, 320, 160, 512, boundary=None, padded=False)
        return bands @ np.abs(found * window.sum()) ** 2

    def lfcc(x: np.ndarray, bands: np.ndarray) -> np.ndarray:
        levels = np.log10(energies(signal.lfilter([1, -0.97], 1, x), bands) + np.finfo(np.float32).eps)
        rows: list[Any] = [scipy.fft.dct(levels, type=2, norm="ortho", axis=0)]
        for _ in range(2):
            padded = np.pad(rows[-1], ((0, 0), (1, 1)), mode="edge")
            rows.append(signal.lfilter([1, 0, -1], 1, padded)[:, 2:])
        return np.concatenate(rows)

    triangles = [1 - np.abs(hz - np.linspace(0, 8_000, n + 2)[1:-1, None]) * (n + 1) / 8_000 for n in (20, 80)]
    of_lfcc, of_linear = (found.clip(0) for found in triangles)
    pairs: dict[str, tuple[nn.Module, Callable[[np.ndarray], np.ndarray]]] = {
        "mel": (Mel(), mel),
        "lfcc": (LFCC(), lambda x: lfcc(x, of_lfcc)),
        "linear": (LinearBands(), lambda x: np.log(energies(x, of_linear) + 1e-10)),
    }
    for name, (ours, theirs) in pairs.items():
        a, b = partial(ours, clips), lambda theirs=theirs: [theirs(x) for x in each]
        shift = 0 if name == "mel" else 1  # the first frame of ours is centred on the first sample
        found, expected = a()[3].numpy()[:20, shift:], b()[3][:20]
        np.testing.assert_allclose(found[:, :100], expected[:, :100], atol=1e-2)
        report(f"{name}, 32 clips of 4 s", [seconds(b) / seconds(a) for _ in range(ROUNDS)])


def allocator() -> None:
    """`keep_freed_memory` against the default, AASIST on one clip of 4.04 s."""
    for what in ("score", "step"):
        ratios = []
        for _ in range(ROUNDS):
            times = [_child(what, setting) for setting in ("default", "kept")]
            ratios.append(times[0] / times[1])
        report(f"kept memory, AASIST, {what}", ratios)


def _child(what: str, setting: str) -> float:
    command = [sys.executable, __file__, what, setting]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory() -> None:
    """A training step of 16 clips of 4.04 s with AASIST, its first blocks recomputed or not, and scoring of 8."""
    sides = {"step": ("0", "3"), "score": ("3",)}
    found: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(3):
        for what, settings in sides.items():
            for recompute in settings:
                out = subprocess.run([sys.executable, __file__, "peak", what, recompute], stdout=-1, check=True).stdout
                found.setdefault((what, recompute), []).append([float(x) for x in out.split()])
    for (what, recompute), rows in found.items():
        peak, base = (statistics.median(values) for values in list(zip(*rows, strict=True))[1:])
        print(f"AASIST, {what}, recompute={recompute}: peak {peak:.2f} GiB, {base:.2f} before")
    times = [[row[0] for row in found["step", recompute]] for recompute in ("3", "0")]
    report("recomputed / kept, time of a step", [a / b for a, b in zip(*times, strict=True)])


def _peak(what: str, recompute: str) -> None:
    """CPU seconds of the second call, the peak of the process in GiB, and what it was before."""
    keep_freed_memory()
    torch.manual_seed(0)
    model, clips = AASIST(in_channels=1, recompute=int(recompute)), 0.1 * torch.randn(16, 1, 64_600)
    run = step(model, clips) if what == "step" else score(model, clips[:8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    print(seconds(run), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, before / 2**20)


def peer(folder: str) -> None:
    """AASIST against the authors' network, as it comes and with memory kept, in scoring and in training steps."""
    for what, n_clips, rounds in (("score", 1, 5), ("score", 8, 3), ("step", 2, 3)):
        found: dict[tuple[str, str], list[list[float]]] = {}
        for _ in range(rounds):
            for side in (("authors", "default"), ("authors", "kept"), ("ours", "kept")):
                command = [sys.executable, __file__, "against", folder, *side, what, str(n_clips)]
                out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                found.setdefault(side, []).append([float(x) for x in out.split()])
        ours = found.pop(("ours", "kept"))
        for (_, setting), rows in found.items():
            ratios = [theirs[0] / own[0] for theirs, own in zip(rows, ours, strict=True)]
            report(f"{what}, {n_clips} x 4.04 s, authors, memory {setting} / ours", ratios)
            gib = [statistics.median(row[1] for row in side) for side in (rows, ours)]
            far = max(abs(a - b) for a, b in zip(rows[0][2:], ours[0][2:], strict=True))
            print(f"    peaks above the start {gib[0]:.2f} and {gib[1]:.2f} GiB")
            print(f"    {'logits differ' if what == 'score' else 'length of the gradient differs'} by {far:.0e}")


def _against(folder: str, whose: str, setting: str, what: str, n_clips: str) -> None:
    """CPU seconds a call, its peak of memory in GiB, and the logits or the length of the gradient."""
    if setting == "kept":
        keep_freed_memory()
    weights = torch.load(Path(folder, "models/weights/AASIST.pth"), weights_only=True, map_location="cpu")
    torch.manual_seed(0)
    clips = 0.1 * torch.randn(int(n_clips), 1, 64_600)
    model = AASIST(in_channels=1) if whose == "ours" else _authors(folder)
    model.load_state_dict(weights)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits = partial(model, clips) if whose == "ours" else lambda: model(clips[:, 0])[1]

    def run() -> torch.Tensor:
        if what == "score":
            with torch.inference_mode():
                return logits()
        model.zero_grad()
        logits().square().mean().backward()
        return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.train(what == "step")
    found = run()
    spent = statistics.median(seconds(run) for _ in range(3 if clips.numel() < 100_000 else 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(spent, peak / 2**20, *found.flatten().tolist())


def _authors(folder: str) -> nn.Module:
    spec = spec_from_file_location("authors", Path(folder, "models/AASIST.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model(json.loads(Path(folder, "config/AASIST.conf").read_text())["model_config"])


def _one(what: str, setting: str) -> None:
    if setting == "kept":
        keep_freed_memory()
    torch.manual_seed(0)
    model, clip = AASIST(in_channels=1), 0.1 * torch.randn(1, 1, 64600)
    run = (step if what == "step" else score)(model, clip)
    run()
    print(min(seconds(run) for _ in range(2)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["memory"]:
        memory()
    elif sys.argv[1:3] == ["peer", "--aasist"]:
        peer(*sys.argv[3:])
    elif sys.argv[1:2] == ["against"]:
        _against(*sys.argv[2:])
    elif sys.argv[1:2] == ["peak"]:
        _peak(*sys.argv[2:])
    elif sys.argv[1:]:
        _one(*sys.argv[1:])
    else:
        layout()
        backends()
        front_ends()
        cache()
        allocator()
