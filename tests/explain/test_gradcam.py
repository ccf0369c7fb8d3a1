"""Grad-CAM against its formula, its cells' places, and the fold of a repeated clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_detectors import MAPPED, Linear, noise, small
from torch import nn

from deepfake.errors import InputError
from deepfake.explain.clip import Clip
from deepfake.explain.gradcam import GradCam, folded
from deepfake.models.blocks.last_map import LastMap
from deepfake.models.network import Network


@pytest.mark.parametrize(("model", "features"), MAPPED)
def test_it_is_the_papers_formula_without_the_relu(model, features):
    detector = small(model, features)
    clip = Clip(detector, noise(0.5))
    found = GradCam().attribute(clip)
    kept = []
    last = detector.model.last_map
    hook = last.module.register_forward_hook(lambda module, inputs, output: kept.append(output))
    evidence = -detector(clip.input().requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(evidence.sum(), kept[0])
    expected = torch.einsum("d,drl->rl", gradient[0].mean(dim=(1, 2)), kept[0][0]).detach().numpy()
    without_bands = features.endswith("lfcc") or detector.features.kind == "embedding"
    if without_bands and model != "bimodal":
        expected = expected.sum(axis=0, keepdims=True)
    assert found.values.any() and np.allclose(found.values, expected, atol=1e-6)
    assert found.hz.shape == (found.values.shape[0] + 1,) and (np.diff(found.hz) > 0).all()
    assert found.seconds.shape == (found.values.shape[1] + 1,) and (np.diff(found.seconds) > 0).all()
    assert found.seconds[0] == 0 and found.seconds[-1] == 0.5 and found.hz[0] >= 0 and found.hz[-1] <= 8000
    middle = np.diff(found.seconds)[1:-1]
    assert middle == pytest.approx(found.facts["cell_seconds"])


@pytest.mark.parametrize(("model", "features"), MAPPED)
@pytest.mark.parametrize("waveform", [noise(0.05), torch.zeros(8000), noise(0.3)], ids=["0.05 s", "silence", "0.3 s"])
def test_every_clip_has_a_finite_map_on_the_source(model, features, waveform):
    clip = Clip(small(model, features, "features.normalise=utterance"), waveform)
    found, again = (GradCam().attribute(clip) for _ in range(2))
    assert np.isfinite(found.values).all() and np.array_equal(found.values, again.values)
    assert found.seconds[0] == 0 and found.seconds[-1] == pytest.approx(len(waveform) / 16000)
    full = GradCam().attribute(Clip(clip.detector, clip.input()[0]))
    assert found.values.sum() == pytest.approx(full.values.sum(), abs=1e-5)  # folding loses nothing


@pytest.mark.parametrize(
    ("model", "features", "rows", "cell"),
    [
        ("aasist", "raw", 23, 2187 / 16000),
        ("cnn", "mel", 16, 8 * 512 / 16000),
        ("cnn", "linear", 10, 0.08),
        ("cnn_bilstm", "mel", 32, 4 * 512 / 16000),
        ("cnn", "lfcc", 1, 0.08),
        ("lcnn", "linear", 10, 0.08),
        ("bimodal", "mel_lfcc", 10, 0.08),
        ("rawnet2", "raw", 1, 2187 / 16000),
    ],
)
def test_true_resolution(model, features, rows, cell):
    detector = small(model, features, *(["model.n_filters=70"] if model == "aasist" else []))
    found = GradCam().attribute(Clip(detector, noise(0.5)))
    assert len(found.values) == rows and found.facts["cell_seconds"] == pytest.approx(cell)
    if features == "linear":  # triangles with corners each 8000 / 81 Hz: eight bands a row
        assert found.hz[1:-1] == pytest.approx((8 * np.arange(1, 10) + 0.5) * 8000 / 81, abs=20)
    if model == "aasist":
        mel = 2595 * np.log10(1 + found.hz / 700)
        assert np.diff(mel) == pytest.approx(3 * 2595 * np.log10(1 + 8000 / 700) / 70)


@pytest.mark.parametrize(("model", "features"), MAPPED)
def test_cells_lie_where_their_input_does(model, features):
    """What of the input moves a cell has its centre of gravity in that cell."""
    detector = small(model, features)
    last = detector.model.last_map
    weights = 0.0
    for seed in range(8):
        with torch.no_grad():
            fed = detector.features(noise(0.5, seed=seed)[None])
        fed.requires_grad_()
        kept = []
        hook = last.module.register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
        detector.model(fed)
        hook.remove()
        row, frame = kept[0].shape[2] // 2, kept[0].shape[3] // 2
        (gradient,) = torch.autograd.grad(kept[0][0, :, row, frame].abs().sum(), fed)
        weights = weights + gradient[0].abs()
    frames = torch.arange(weights.shape[1]) + 0.5 * (features != "raw")
    centre = float((weights.sum(dim=0) * frames).sum() / weights.sum())
    low = last.start + frame * last.frames
    assert low - 0.1 * last.frames <= centre <= low + 1.1 * last.frames
    if features != "raw":
        bands = torch.arange(weights.shape[0]) + 0.5
        centre = float((weights.sum(dim=1) * bands).sum() / weights.sum())
        assert (row - 0.5) * last.bands <= centre <= (row + 1.5) * last.bands


class Averaging(Network):
    """A spectrogram's ReLU, averaged and added up: where Grad-CAM is complete."""

    def __init__(self) -> None:
        super().__init__(1)
        self.map = nn.ReLU()
        self.weights = nn.Parameter(torch.tensor([-1.0]))

    @property
    def last_map(self):
        return LastMap(self.map, bands=1, frames=1)

    def forward(self, features):
        return self.weights * self.map(features[:, None]).mean(dim=(2, 3))


def test_of_a_network_that_averages_it_adds_up_to_the_evidence():
    detector = small("cnn", "linear")
    detector.model = Averaging()
    waveform = 0.001 * noise(0.5)
    waveform[4000:4800] += 100 * noise(0.05)
    clip = Clip(detector, waveform)
    found = GradCam().attribute(clip)
    with torch.no_grad():
        assert found.values.sum() == pytest.approx(float(clip.spoof_of(clip.input())), rel=1e-4)
    inside = (found.seconds[1:] > 0.24) & (found.seconds[:-1] < 0.31)
    assert found.over_time()[inside].sum() > 0.9 * found.values.sum()


@pytest.mark.parametrize("duration", [0.05, 0.13, 0.2, 0.4999, 0.5])
def test_a_repetitions_cells_fall_on_the_source(duration):
    """Against a histogram of instants."""
    edges = np.array([-0.005, 0.075, 0.155, 0.235, 0.315, 0.395, 0.475])
    own, fold = folded(edges, duration, 0.5)
    assert own[0] == 0 and own[-1] == duration and (np.diff(own) > 0).all()
    assert fold.sum(axis=1) == pytest.approx(1)
    t = (np.arange(50_000) + 0.5) / 100_000
    cell = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, 5)
    place = np.clip(np.searchsorted(own, t % duration, side="right") - 1, 0, len(own) - 2)
    counted = np.zeros_like(fold)
    np.add.at(counted, (cell, place), 1)
    assert np.allclose(fold, counted / counted.sum(axis=1, keepdims=True), atol=2e-3)
    if duration == 0.5:
        assert np.array_equal(fold, np.eye(6))


def test_a_network_without_a_map_is_refused():
    detector = Linear(torch.zeros(8000))
    detector.features = nn.Identity()
    with pytest.raises(InputError, match="Network names no map"):
        GradCam().attribute(Clip(detector, noise(0.5)))


@pytest.mark.parametrize(
    ("model", "features", "edges"),
    [
        ("cnn", "linear", [0, 0.075, 0.155, 0.235, 0.315, 0.395, 0.5]),  # frames are centred on multiples of 10 ms
        ("cnn", "mel", [0, 0.24, 0.5]),  # and of 32 ms: eight frames begin 16 ms before the clip
        ("rawnet2", "raw", [0, 2699 / 16000, 4886 / 16000, 0.5]),  # half a filter, 512 samples, and 2187 a cell
    ],
)
def test_cells_begin_half_a_frame_before_the_frame_that_is_their_first(model, features, edges):
    found = GradCam().attribute(Clip(small(model, features), noise(0.5)))
    assert found.seconds == pytest.approx(edges, abs=1e-9)
