"""A part is one new file and one new yaml: six of them in a copy of the checkout, of which nothing else is edited."""

from __future__ import annotations

import json
import os
import shutil
import textwrap

import pytest
from children import python
from tiny import REPOSITORY, write_audio

PARTS = {
    "model": (
        "models",
        "",
        """
        # @package _global_
        defaults:
          - override /features: new_features
        seconds: 0.5
        model:
          _target_: deepfake.models.new_model.Envelope
          head: linear
        """,
        """
        from deepfake.models.blocks.head import Head
        from deepfake.models.blocks.statistics import mean_and_deviation
        from deepfake.models.network import Network


        class Envelope(Network):
            takes = ("embedding",)
            front_ends = "new_features"

            def __init__(self, *, in_channels: int, head: str = "linear") -> None:
                super().__init__(in_channels)
                self.head = Head(2 * in_channels, head)

            def embed(self, features):
                self.require_shape(features)
                return mean_and_deviation(features)
        """,
    ),
    "features": (
        "features",
        "",
        """
        _target_: deepfake.features.new_features.Pieces
        sample_rate: ${sample_rate}
        normalise: none
        denoise: 0.0
        """,
        '''
        import torch
        from torch.nn import functional as F

        from deepfake.features.frontend import FrontEnd


        class Pieces(FrontEnd):
            """Level of each eighth of 8 ms, in no order that a convolution could use."""

            def __init__(self, *, sample_rate: int = 16_000, normalise: str = "none", denoise: float = 0.0) -> None:
                self.size = sample_rate // 1000
                super().__init__(
                    n_channels=8, frames_per_second=125, normalise=normalise, denoise=denoise, sample_rate=sample_rate
                )

            def extract(self, waveform):
                with torch.autocast(waveform.device.type, enabled=False):
                    waveform = self.denoise(waveform)
                    padded = F.pad(waveform, (0, -waveform.shape[1] % (8 * self.size)))
                    pieces = padded.unflatten(1, (-1, 8, self.size))  # [B, L, 10, samples]
                    return (pieces.square().mean(dim=3) + 1e-6).log().transpose(1, 2)
        ''',
    ),
    "dataset": (
        "datasets",
        "",
        """
        name: new_dataset
        _target_: deepfake.datasets.new_dataset.utterances
        root: ???
        """,
        """
        from pathlib import Path

        from deepfake.datasets.utterance import Utterance


        def utterances(partition, *, root):
            files = sorted(Path(root).glob(f"{partition}_*.wav"))
            return [Utterance(f.stem, str(f), int("real" in f.stem), "", "", partition, "", {}) for f in files]
        """,
    ),
    "loss": (
        "losses",
        "",
        "_target_: deepfake.losses.new_loss.Hinge",
        """
        from torch import nn
        from torch.nn import functional as F


        class Hinge(nn.Module):
            def forward(self, score, label):
                return F.relu(1 - (2 * label - 1) * score).mean()
        """,
    ),
    "augment": (
        "augment",
        "# @package augment.new_augment\n",
        """
        _target_: deepfake.augment.new_augment.Polarity
        p: 0.5
        """,
        """
        from deepfake.augment.augmentation import Augmentation


        class Polarity(Augmentation):
            def __init__(self, *, p: float = 0.5) -> None:
                super().__init__(p=p)

            def apply(self, x, rng):
                return -x
        """,
    ),
    "explain": (
        "explain",
        "# @package explain.new_explain\n",
        "_target_: deepfake.explain.new_explain.LeftOut",
        '''
        import numpy as np
        import torch

        from deepfake.explain.map import Map, checked
        from deepfake.explain.method import Method


        class LeftOut(Method):
            """What the evidence loses with each half of the clip."""

            saves_array = True

            def attribute(self, clip):
                n = clip.gain.shape[2] // 2
                gains = clip.gain.repeat(3, 1, 1)
                gains[1, :, :n] = gains[2, :, n:] = 0
                with torch.no_grad():
                    whole, *others = clip.spoof(gains).tolist()
                values = np.array([[whole - other for other in others]])
                hz, seconds = clip.hz[[0, -1]], clip.seconds[[0, n, -1]]
                return checked(Map("new_explain", values, hz, seconds, {"unit": "nats", "additive": "no"}))
        ''',
    ),
}

TRAIN = ["dataset=new_dataset", "features=new_features", "model=new_model", "loss=new_loss", "augment=[new_augment]"]
TRAIN += ["name=new", "batch_size=4", "num_workers=0", "optimizer.lr=0.1"]
TRAIN += ["trainer.accelerator=cpu", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A checkout with the new parts, and recordings for the new corpus."""
    place = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("deepfake", "conf", "tests"):
        shutil.copytree(REPOSITORY / name, place / name, ignore=ignored)
    for name in ("train.py", "evaluate.py", "explain.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, place)
    for group, (folder, first, yaml, code) in PARTS.items():
        (place / "conf" / group / f"new_{group}.yaml").write_text(first + dedented(yaml))
        (place / "deepfake" / folder / f"new_{group}.py").write_text(dedented(code))
    for p, partition in enumerate(("train", "dev", "eval")):
        for i in range(8):
            name = f"{partition}_{'fake' if i % 2 else 'real'}_{i}.wav"
            write_audio(place / "audio" / name, spoof=bool(i % 2), seed=10 * p + i)
    return place


def dedented(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def ran(place, *arguments: str) -> str:
    """What a command of the copy prints; it imports the copy's package."""
    done = python(*arguments, cwd=place, env={**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_are_trained_evaluated_and_explained_with(copy):
    run = copy / ran(copy, "train.py", *TRAIN, f"dataset.root={copy / 'audio'}").split()[-1]
    metrics = json.loads((run / "reports" / "metrics.json").read_text())
    assert metrics["dataset"] == "new_dataset" and metrics["n_bonafide"] == metrics["n_spoof"] == 4
    judged = copy / ran(copy, "evaluate.py", f"run={run}", "partition=dev", "bootstrap.n=0").split()[-1]
    assert json.loads((judged / "metrics.json").read_text())["n_spoof"] == 4
    file = copy / "audio" / "eval_fake_1.wav"
    explained = copy / ran(copy, "explain.py", f"run={run}", f"input={file}", "explain=[new_explain]").split()[-1]
    report = json.loads((explained / "report.json").read_text())
    assert "new_explain" in json.dumps(report) and (explained / "mel_new_explain.npy").is_file()
    assert (explained / "viz" / "mel_new_explain_overlay.png").is_file()


def test_the_tests_of_all_parts_test_the_new_ones_too(copy):
    files = ["test_detector.py", "test_layers.py", "datasets/test_layout.py", "features/test_frontend.py"]
    files += ["models/test_network.py", "explain/test_method.py", "augment/test_augmentation.py"]
    paths = [str(copy / "tests" / file) for file in files]
    said = ran(copy, "-m", "pytest", "-n0", "-k", "new_", "-p", "no:cacheprovider", "-rA", *paths)
    passed = [line for line in said.splitlines() if line.startswith("PASSED")]
    for group in PARTS.keys() - {"loss"}:
        assert any(f"new_{group}" in line for line in passed), group
    assert any("new_explain-cnn-linear" in line for line in passed)  # the others with the new ones
    assert any("saliency-new_model-new_features" in line for line in passed)
    assert not [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
