"""Networks on a GPU, right and fast: the sections of `gpu.py` that are processes of their own, a line of JSON a row.

`python experiments/benchmarks/gpu_networks.py checks|inference|training|graph|compiled|self_supervised [--model NAME]`

Three ways to compute in float32 are told apart: `float32` without TF32, `default` as PyTorch comes (TF32 in cuDNN's
convolutions and recurrent layers), `TF32` in matrix products too. `bf16` is autocast, in the layers that take it.
Self-supervised networks have random weights, and two layers where only correctness is checked.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import hydra
import numpy as np
import torch
import torchaudio
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

import deepfake.run  # noqa: F401 (the resolvers that conf/ uses)
from deepfake import CONF
from deepfake.detector import Detector
from deepfake.explain.clip import Clip
from deepfake.explain.saliency import waveform_saliency
from deepfake.replay import replayed

TF32 = {"float32": (False, False), "default": (False, True), "TF32": (True, True)}  # matrix products, cuDNN
LIMIT = 1e-3  # of a difference between devices in float32, as a share of the largest value, or of 1 if that is larger
SHALLOW = ["features.weights=random", "features.n_layers=2"]
SETTINGS = ("features", "model", "sample_rate", "seconds", "score")


def use(precision: str) -> None:
    """Switch TF32 and the autotuner; `bf16` leaves the rest to the default."""
    products, cudnn = TF32.get(precision.partition(",")[0], TF32["default"])
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = cudnn


class Setting:
    """Where, and how large.

    Args:
        tiny: On the CPU, clips of half a second.
        model: Name in `conf/model`.
    """

    def __init__(self, tiny: bool, model: str) -> None:
        self.device = torch.device("cpu" if tiny else "cuda")
        self.overrides = ["seconds=0.5"] if tiny else []
        self.model = model
        self.batches = (1, 2) if tiny else (1, 64)
        self.rounds = 2 if tiny else 7
        self.tiny = tiny

    def compose(self, *overrides: str) -> DictConfig:
        """The project's own config."""
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose("train", overrides=["run_dir=.", *self.overrides, *overrides])

    def detector(self, model: str, *overrides: str) -> Detector:
        """A detector with its default front end, on the CPU; batch norm has seen noise."""
        plain: Any = OmegaConf.to_container(self.compose(f"model={model}", *overrides), resolve=True)
        torch.manual_seed(0)
        detector = Detector({key: plain[key] for key in SETTINGS})
        with torch.no_grad():
            detector.train()(noise(2, detector.n_samples))
        return detector.eval()

    def autocast(self, precision: str) -> Any:
        """Autocast for `bf16`, else nothing."""
        return torch.autocast(self.device.type, torch.bfloat16) if precision.startswith("bf16") else nullcontext()


def noise(n_clips: int, n_samples: int) -> Tensor:
    """Clips `[B, T]`."""
    return 0.1 * torch.randn(n_clips, n_samples, generator=torch.Generator().manual_seed(1))


@contextmanager
def row(section: str, name: str) -> Iterator[dict[str, Any]]:
    """A row to fill in, printed at the end; an error is a failed check."""
    found: dict[str, Any] = {"section": section, "name": name, "ok": True}
    try:
        yield found
    except Exception as error:
        found |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
    print(json.dumps(found), flush=True)


def apart(values: Tensor, reference: Tensor) -> float:
    """Greatest difference as a share of the largest reference, or of 1 if that is larger."""
    reference = reference.detach().double()
    return float((values.detach().cpu().double() - reference).abs().max() / reference.abs().max().clamp(min=1))


# ---------------------------------------------------------------- checks


def checks(setting: Setting) -> None:
    """The machine, every front end, every model."""
    with row("environment", "machine") as found:
        found |= {"torch": torch.__version__, "torchaudio": torchaudio.__version__, "numpy": np.__version__}
        found |= {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "cuda": torch.version.cuda}
        if setting.device.type == "cuda":
            asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            found |= {"device": torch.cuda.get_device_name(), "capability": list(torch.cuda.get_device_capability())}
            found |= {"cudnn": torch.backends.cudnn.version()}
            found |= {"driver": subprocess.run(asked, capture_output=True, text=True).stdout.strip()}
    for name in sorted(path.stem for path in (CONF / "features").glob("*.yaml") if path.stem not in ("ssl", "whisper")):
        with row("front ends", name) as found:
            front_end = hydra.utils.instantiate(setting.compose(f"features={name}", *shallow(name)).features).eval()
            clips = noise(4, 16_000)
            expected = front_end(clips)
            front_end.to(setting.device)
            for precision in TF32:
                use(precision)
                found[precision] = apart(front_end(clips.to(setting.device)), expected)
            found["silence_finite"] = bool(front_end(torch.zeros_like(clips, device=setting.device)).isfinite().all())
            found["ok"] = found["float32"] <= LIMIT and found["silence_finite"]
    for name in sorted(path.stem for path in (CONF / "model").glob("*.yaml")):
        with row("models", name) as found:
            check_model(setting, name, found)


def shallow(name: str) -> list[str]:
    """Settings for a self-supervised network, in whose config a front end or a model is, that is built quickly."""
    of_model, of_features = (CONF / group / f"{name}.yaml" for group in ("model", "features"))
    text = of_model.read_text() if of_model.is_file() else of_features.read_text()
    return SHALLOW if any(word in text for word in ("xlsr", "- ssl\n", "whisper")) else []


def check_model(setting: Setting, name: str, found: dict[str, Any]) -> None:
    """Scores, replayed too, and gradients for the waveform against the CPU; a training step in float32, bf16, exact."""
    detector = setting.detector(name, *shallow(name))
    clips = noise(2, detector.n_samples)
    there, sent = copy.deepcopy(detector).to(setting.device), clips.to(setting.device)
    with torch.inference_mode():
        expected = detector(clips)
        for precision in TF32:
            use(precision)
            found[precision] = apart(there(sent), expected)
        use("float32")
        judged = replayed(there, there.judged)
        found["replayed"] = all(torch.equal(judged(sent[:1])[0], there.logits(sent[:1])) for _ in range(2))
        with setting.autocast("bf16"):
            found["bf16"] = apart(there(sent).float(), expected)
    doubles = (copy.deepcopy(d).double() for d in (detector, there))  # in float32, rounding alone moves it by 1e-2
    here, away = (waveform_saliency(Clip(d, clips[0].double())) for d in doubles)
    found["saliency"] = float(np.linalg.norm(away - here) / np.linalg.norm(here))
    use("default")
    try:
        taken, again = (gradients(setting, there, sent, "default", deterministic=True) for _ in range(2))
        found["deterministic"] = all(torch.equal(taken[key], again[key]) for key in taken)
    except RuntimeError as error:  # a kernel that cannot be
        found["deterministic"] = str(error)[:200]
    for precision in ("default", "bf16"):
        infinite = [k for k, v in gradients(setting, there, sent, precision).items() if not v.isfinite().all()]
        found[f"not_finite_{precision}"] = infinite
    found["ok"] = found["float32"] <= LIMIT and found["saliency"] <= 1e-6 and found["deterministic"] is True
    found["ok"] = found["ok"] and found["replayed"]
    found["ok"] = found["ok"] and not found["not_finite_default"] and not found["not_finite_bf16"]


def gradients(
    setting: Setting, detector: Detector, clips: Tensor, precision: str, deterministic: bool = False
) -> dict[str, Tensor]:
    """Loss and gradients of one training step by the default loss; every parameter that is trained has to have one."""
    network = copy.deepcopy(detector).train()
    loss_of = hydra.utils.instantiate(setting.compose().loss).to(setting.device)
    labels = torch.arange(len(clips), device=clips.device) % 2
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(deterministic)
    try:
        with setting.autocast(precision):
            loss = loss_of(network.log_odds(network.logits(clips)), labels)
        loss.backward()
    finally:
        torch.use_deterministic_algorithms(False)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    return {"loss": loss.detach(), **{name: p.grad for name, p in trained.items()}}  # type: ignore[dict-item]


# ---------------------------------------------------------------- timings


def milliseconds(run: Callable[[], Any], device: torch.device) -> float:
    """Of one call, to the end of its work on the device."""
    if device.type == "cpu":
        begun = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - begun)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def compare(setting: Setting, section: str, name: str, sides: dict[str, Callable[[], Any]], n_clips: int) -> None:
    """Sides of a comparison, warmed up, then in turn: medians with ranges, and how many times faster than the first."""
    device, peaks, times = setting.device, {}, {}
    for side, run in sides.items():
        begun = time.perf_counter()
        try:
            for _ in range(2):
                run()
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            milliseconds(run, device)
        except Exception as error:  # out of memory, an operator that cannot be captured or compiled
            failed = {"side": side, "n_clips": n_clips, "error": f"{type(error).__name__}: {error}"[:500]}
            print(json.dumps({"section": section, "name": name, **failed}), flush=True)
            continue
        peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
        peaks[side], times[side] = {"peak_mib": peak, "warm_up_s": time.perf_counter() - begun}, []
    for _ in range(setting.rounds):
        for side in times:
            times[side].append(milliseconds(sides[side], device))
    first = next(iter(times.values()), [])
    for side, own in times.items():
        ratios = [a / b for a, b in zip(first, own, strict=True)]
        found = {"side": side, "n_clips": n_clips, "ms": statistics.median(own), "range": [min(own), max(own)]}
        found |= {"times_faster": statistics.median(ratios), "times_faster_range": [min(ratios), max(ratios)]}
        found |= {"clips_per_second": 1000 * n_clips / found["ms"], **peaks[side]}
        print(json.dumps({"section": section, "name": name, **found}), flush=True)


def forward(setting: Setting, network: Callable[[Tensor], Any], clips: Tensor, precision: str) -> Callable[[], Any]:
    """Scoring of clips."""

    def run() -> None:
        use(precision)
        with torch.inference_mode(), setting.autocast(precision):
            network(clips)

    return run


def step(setting: Setting, detector: Detector, clips: Tensor, precision: str, fused: bool = False) -> Callable[[], Any]:
    """A training step by the default loss and Adam."""
    detector.train()
    loss_of = hydra.utils.instantiate(setting.compose().loss).to(setting.device)
    optimizer = torch.optim.Adam(detector.parameters(), lr=1e-5, fused=fused)
    labels = torch.arange(len(clips), device=clips.device) % 2

    def run() -> None:
        use(precision)
        optimizer.zero_grad()
        with setting.autocast(precision):
            loss = loss_of(detector.log_odds(detector.logits(clips)), labels)
        loss.backward()
        optimizer.step()

    return run


def sides_of(
    detector: Detector, made: Callable[[Detector, str], Callable[[], Any]], precisions: tuple[str, ...]
) -> dict[str, Callable[[], Any]]:
    """What is compared: precisions, each with a copy of the detector, then TF32 and bf16 with channels last."""
    sides = {precision: made(copy.deepcopy(detector), precision) for precision in precisions}
    for precision in ("TF32", "bf16"):
        laid_out = copy.deepcopy(detector).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sides[f"{precision}, channels last"] = made(laid_out, precision)
    return sides


PRECISIONS = (*TF32, "bf16")


def inference(setting: Setting) -> None:
    """Scores of one clip and of batches, waveform to score."""
    detector = setting.detector(setting.model).to(setting.device)
    for n in setting.batches:
        clips = noise(n, detector.n_samples).to(setting.device)
        sides = sides_of(detector, lambda network, p, clips=clips: forward(setting, network, clips, p), PRECISIONS)
        compare(setting, "inference", setting.model, sides, n)


def training(setting: Setting) -> None:
    """Whole training steps, waveform to weights."""
    detector = setting.detector(setting.model).to(setting.device)
    for n in setting.batches[1:]:
        clips = noise(n, detector.n_samples).to(setting.device)
        sides = sides_of(detector, lambda network, p, clips=clips: step(setting, network, clips, p), PRECISIONS)
        sides["bf16, fused Adam"] = step(setting, copy.deepcopy(detector), clips, "bf16", fused=True)
        compare(setting, "training", setting.model, sides, n)


def graph(setting: Setting) -> None:
    """A CUDA graph of the scoring of one clip and of a batch, replayed."""
    detector = setting.detector(setting.model).to(setting.device)
    for n in setting.batches[:2]:
        clips = noise(n, detector.n_samples).to(setting.device)
        sides = {p: forward(setting, detector, clips, p) for p in ("TF32", "bf16")}
        for precision, run in list(sides.items()):
            run()
            torch.cuda.synchronize()
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                run()
            sides[f"{precision}, graph"] = captured.replay
        compare(setting, "graph", setting.model, sides, n)


def compiled(setting: Setting) -> None:
    """The network behind the front end by torch.compile, channels last; the warm-up is the compilation."""
    n = setting.batches[1]
    eager = setting.detector(setting.model).to(setting.device)
    clips = noise(n, eager.n_samples).to(setting.device)
    ours = copy.deepcopy(eager).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours.model.compile()
    sides = {"float32, eager": step(setting, copy.deepcopy(eager), clips, "float32")}
    sides["bf16, compiled"] = step(setting, ours, clips, "bf16", fused=True)
    compare(setting, "compiled", f"{setting.model}, training", sides, n)
    ours.eval()
    sides = {"float32, eager": forward(setting, eager, clips, "float32")}
    sides["bf16, compiled"] = forward(setting, ours, clips, "bf16")
    compare(setting, "compiled", f"{setting.model}, inference", sides, n)


def self_supervised(setting: Setting) -> None:
    """Scoring and training with XLS-R of 300 M parameters, all of it trained, its layers kept or recomputed."""
    size = ["features.n_layers=2"] if setting.tiny else []
    overrides = ["features.weights=random", "features.freeze=none", *size]
    detector = setting.detector("ssl_linear", *overrides).to(setting.device)
    name = "xlsr_300m"
    for n in (1, 2 if setting.tiny else 16):
        clips = noise(n, detector.n_samples).to(setting.device)
        sides = {p: forward(setting, detector, clips, p) for p in (*TF32, "bf16")}
        compare(setting, "self-supervised", f"{name}, inference", sides, n)
    compiled = copy.deepcopy(detector)
    for part in (compiled.features, compiled.model):
        part.compile(dynamic=False)
    sides = {p: step(setting, detector, clips, p, fused=p == "bf16") for p in (*TF32, "bf16")}
    sides["bf16, compiled"] = step(setting, compiled, clips, "bf16", fused=True)
    compare(setting, "self-supervised", f"{name}, training", sides, n)
    detector.features.checkpointing = True  # type: ignore[assignment]
    sides = {"bf16": step(setting, detector, clips, "bf16", fused=True)}
    compare(setting, "self-supervised", f"{name}, training, recomputed", sides, n)


def main() -> None:
    sections = {f.__name__: f for f in (checks, inference, training, graph, compiled, self_supervised)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=sections)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, clips of half a second")
    arguments = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # that products can be deterministic
    sections[arguments.section](Setting(arguments.tiny, arguments.model))


if __name__ == "__main__":
    main()
