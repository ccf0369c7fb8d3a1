"""What the pictures of a clip show, read back from the matplotlib objects."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deepfake.errors import InputError
from deepfake.explain.map import Map
from deepfake.features.mel import hz_to_mel, mel_to_hz
from deepfake.figures.style import BONAFIDE, SPOOF
from deepfake.forensics import figures as pictures

RNG = np.random.default_rng(0)
HZ = mel_to_hz(np.linspace(0, hz_to_mel(8000), 41))
SECONDS = np.clip(np.arange(102) * 0.01 - 0.005, 0, 1)
LEVELS = RNG.uniform(-80, 0, (40, 101))
NATS = {"unit": "nats"}
FINE = Map("integrated_gradients", RNG.normal(0, 0.05, (40, 101)), HZ, SECONDS, NATS)
COARSE = Map("gradcam", RNG.normal(0, 0.05, (4, 7)), HZ[::10], np.linspace(0, 1, 8), {"unit": "activation"})


def labels(axis):
    """Those of the ticks that lie on the axis."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)  # a shared axis has no labels
    return [label for at, label in ticks if low - 1e-3 * (high - low) <= at <= high + 1e-3 * (high - low)]


def drawn(figure):
    """That it can be drawn, with every tick label on the paper."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
    paper = figure.bbox
    for axes in figure.axes:
        for label in (*labels(axes.xaxis), *labels(axes.yaxis), axes.title, axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent()
            if label.get_text() and box.width:
                assert paper.x0 - 1 <= box.x0 and box.x1 <= paper.x1 + 1, label.get_text()
    return figure


def meshes(axes):
    return [artist for artist in axes.collections if isinstance(artist, QuadMesh)]


def written(axis):
    return [label.get_text() for label in labels(axis)]


def test_spectrogram():
    figure = drawn(pictures.spectrogram(LEVELS, HZ, SECONDS))
    axes, bar = figure.axes
    (cells,) = meshes(axes)
    np.testing.assert_array_equal(np.asarray(cells.get_array()).reshape(LEVELS.shape), LEVELS)
    assert cells.get_clim() == (-80, 0)
    np.testing.assert_allclose(cells.get_coordinates()[0, :, 0], SECONDS)
    np.testing.assert_allclose(cells.get_coordinates()[:, 0, 1], HZ)
    assert written(axes.yaxis) == ["0", "500", "1000", "2000", "4000", "8000"]
    at = axes.transData.transform([(0, hz) for hz in (0, 1000, 8000)])[:, 1]
    assert (at[1] - at[0]) / (at[2] - at[0]) == pytest.approx(hz_to_mel(1000) / hz_to_mel(8000))  # mel-spaced
    assert "Hz" in axes.get_ylabel() and axes.get_xlabel() == "time (s)" and "dB" in bar.get_ylabel()


@pytest.mark.parametrize("map", [FINE, COARSE], ids=lambda map: map.method)
def test_overlay_draws_the_cells_of_the_map_as_they_are(map):
    axes = drawn(pictures.overlay(LEVELS, HZ, SECONDS, map)).axes[0]
    speech, cells = meshes(axes)
    assert len(set(np.ravel(speech.to_rgba(speech.get_array())[..., :3] @ [1, -0.5, -0.5]).round(6))) == 1  # grey
    np.testing.assert_allclose(np.asarray(cells.get_array()).reshape(map.values.shape), np.clip(map.values, -0.2, 0.2))
    np.testing.assert_allclose(cells.get_coordinates()[0, :, 0], map.seconds)
    np.testing.assert_allclose(cells.get_coordinates()[:, 0, 1], map.hz)
    assert cells.get_alpha() == 0.5
    assert f"{len(map.hz) - 1} bands" in axes.get_title()


def colours(values):
    seconds = np.arange(len(values) + 1) * 0.4  # of cells that end the colours at 4 nats
    map = Map("m", np.array([values]), np.array([0.0, 8000.0]), seconds, NATS)
    assert pictures.limit_of(map) == 5.0
    (_, cells) = meshes(pictures.overlay(LEVELS, HZ, SECONDS, map).axes[0])
    return cells.to_rgba(cells.get_array()).reshape(-1, 4)


def test_colours_are_of_a_fixed_scale():
    found = colours([5.0, -5.0, 0.0, 2.5])
    np.testing.assert_allclose(found[0, :3], to_rgb(SPOOF), atol=0.01)
    np.testing.assert_allclose(found[1, :3], to_rgb(BONAFIDE), atol=0.01)
    np.testing.assert_allclose(found[2, :3], 1, atol=0.01)
    np.testing.assert_allclose(colours([2.5, 0.01])[0], found[3])  # whatever else is in the clip


@pytest.mark.filterwarnings("error")
def test_values_beyond_the_scale_have_a_colour_of_their_own():
    found = colours([5.0, 5.5, 1e300, np.inf, -1e300, -np.inf, np.nan])
    np.testing.assert_array_equal(found[1], found[2])
    np.testing.assert_array_equal(found[1], found[3])
    np.testing.assert_array_equal(found[4], found[5])
    assert not np.allclose(found[0], found[1], atol=0.1) and not np.allclose(found[1], found[4], atol=0.1)
    assert found[6, 3] == 0  # nothing is drawn where there is no value
    bar = pictures.overlay(LEVELS, HZ, SECONDS, FINE).axes[1]
    assert bar._colorbar.extend == "both"


def test_colour_bar_names_sides_unit_and_ends():
    bar = drawn(pictures.overlay(LEVELS, HZ, SECONDS, FINE)).axes[1]
    assert written(bar.yaxis) == ["−0.1\nbona fide", "−0.05", "0", "+0.05", "spoof\n+0.1"]
    assert bar.get_ylabel() == "nats per cell"
    assert pictures.overlay(LEVELS, HZ, SECONDS, COARSE).axes[1].get_ylabel() == "activation"


def test_limit_follows_the_cells_and_not_the_values():
    assert pictures.limit_of(FINE) == pictures.limit_of(FINE._replace(values=1000 * FINE.values)) == 0.1
    patches = Map("occlusion", np.zeros((4, 5)), HZ[::10], np.linspace(0, 1, 6), NATS)
    assert pictures.limit_of(patches) == 1.0  # 0.1 * sqrt(200 ms / 10 ms * 40 / 4) = 1.4
    assert pictures.limit_of(patches, over_time=True) == 2.0  # 0.5 * sqrt(20) = 2.2
    assert pictures.limit_of(COARSE) == 0.1 and pictures.limit_of(COARSE, over_time=True) == 0.5


def test_time_importance():
    figure = drawn(pictures.time_importance([FINE, COARSE], regions=[(0.2, 0.4)]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "integrated gradients (nats)",
        "gradcam (activation)",
    ]
    for axes, map in zip(figure.axes, (FINE, COARSE), strict=True):
        (curve,) = [patch for patch in axes.patches if patch.get_label() == "evidence"]
        np.testing.assert_allclose(curve.get_data().values, np.clip(map.values.sum(axis=0), -0.5, 0.5))
        np.testing.assert_array_equal(curve.get_data().edges, map.seconds)
        assert axes.get_ylim() == (-0.5, 0.5)
    with pytest.raises(InputError, match="no map"):
        pictures.time_importance([])


def test_time_importance_marks_what_goes_beyond():
    values = np.zeros((1, 10))
    values[0, [2, 3, 7]] = 9, 1e300, -9
    map = Map("m", values, np.array([0.0, 8000.0]), np.arange(11) * 0.01, NATS)
    axes = drawn(pictures.time_importance([map])).axes[0]
    marks = [tuple(xy) for line in axes.get_lines() if line.get_marker() in "^v" for xy in line.get_xydata()]
    np.testing.assert_allclose(marks, [(0.03, 0.5), (0.075, -0.5)])


@pytest.mark.filterwarnings("error")
def test_a_map_of_zeros_shows_nothing():
    nothing = FINE._replace(values=np.zeros_like(FINE.values))
    (_, cells) = meshes(drawn(pictures.overlay(LEVELS, HZ, SECONDS, nothing)).axes[0])
    np.testing.assert_allclose(cells.to_rgba(cells.get_array()).reshape(-1, 4)[:, :3], 1, atol=0.01)
    drawn(pictures.time_importance([nothing]))


def test_waveform_highlight():
    waveform = RNG.normal(0, 0.1, 1600)
    axes = drawn(pictures.waveform_highlight(waveform, 16000, [(0.01, 0.02), (0.03, 0.05), (0.08, 0.09)])).axes[0]
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), waveform)
    spans = [patch for patch in axes.patches if patch.get_hatch()]
    extents = [patch.get_path().get_extents(patch.get_patch_transform()) for patch in spans]
    np.testing.assert_allclose([(e.x0, e.x1) for e in extents], [(0.01, 0.02), (0.03, 0.05), (0.08, 0.09)])
    np.testing.assert_allclose([span.get_facecolor()[:3] for span in spans], [to_rgb(SPOOF)] * 3)
    assert "3 suspicious regions, 40.0% of the time" in axes.get_title()
    assert axes.get_xlim() == (0, 0.1)


def test_a_long_waveform_keeps_its_peaks():
    waveform = np.zeros(500_000)
    waveform[[123_456, 400_001]] = 0.9, -0.8
    axes = drawn(pictures.waveform_highlight(waveform, 100, [], start=60)).axes[0]
    (area,) = axes.collections
    points = area.get_paths()[0].vertices
    assert points[:, 1].max() == 0.9 and points[:, 1].min() == -0.8 and len(points) < 9 * pictures.MOST_COLUMNS
    assert points[points[:, 1] == 0.9, 0].mean() == pytest.approx(60 + 1234.56, abs=5)
    assert "no suspicious region" in axes.get_title() and axes.get_xlim() == (60, 5060)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("waveform", [np.zeros(800), np.full(800, 1e300), np.zeros(0), RNG.normal(0, 1e-9, 800)])
def test_waveforms_at_the_extremes(waveform):
    if len(waveform):
        drawn(pictures.waveform_highlight(waveform, 16000, []))
    else:
        with pytest.raises(InputError, match="no samples"):
            pictures.waveform_highlight(waveform, 16000, [])


@pytest.mark.parametrize(
    ("end", "unit", "some"),
    [
        (0.05, "time (s)", ["0.000", "0.010", "0.050"]),
        (4.0375, "time (s)", ["0.0", "0.5", "4.0"]),
        (120, "time (s)", ["0", "20"]),
        (300, "time (min:s)", ["0:00", "0:30", "1:00", "5:00"]),
        (7200, "time (h:mm:ss)", ["0:00:00", "0:15:00", "1:00:00", "2:00:00"]),
        (400_000, "time (h:mm:ss)", ["0:00:00", "12:00:00"]),
    ],
)
def test_ticks_of_time(end, unit, some):
    axes = drawn(pictures.waveform_highlight(np.ones(1000), 1000 / end, [])).axes[0]
    ticks = written(axes.xaxis)
    assert axes.get_xlabel() == unit and 3 <= len(ticks) <= 13
    assert set(some) <= set(ticks)
    boxes = sorted((label.get_window_extent() for label in labels(axes.xaxis)), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_radar():
    cues = {"below 1 kHz": 0.25, "in $speech": 1.0, "in pauses": 0.0}
    figure = drawn(pictures.radar(cues, {"below 1 kHz": 0.5, "in $speech": 0.5}))
    axes = figure.axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_allclose(lines["this file"][:, 1], [0.25, 1, 0, 0.25])
    np.testing.assert_allclose(lines["this file"][:3, 0], [0, 2 * np.pi / 3, 4 * np.pi / 3])
    np.testing.assert_allclose(lines["spread evenly"][:, 1], [0.5, 0.5, np.nan, 0.5])
    assert axes.get_ylim() == (0, 1)
    assert [label.replace("\\", "") for label in written(axes.xaxis)] == [
        "below 1 kHz\n25%",
        "in $speech\n100%",
        "in pauses\n0%",
    ]


def test_radar_of_what_was_not_measured():
    axes = drawn(pictures.radar({"a": None, "b": 0.5, "c": None}, {})).axes[0]
    assert written(axes.xaxis) == ["a\nnot measured", "b\n50%", "c\nnot measured"]
    assert not axes.patches  # no area


def test_the_shortest_clip():
    seconds = np.clip(np.arange(7) * 0.01 - 0.005, 0, 0.05)
    map = Map("saliency", RNG.normal(size=(40, 6)), HZ, seconds, NATS)
    for figure in (
        pictures.spectrogram(LEVELS[:, :6], HZ, seconds),
        pictures.overlay(LEVELS[:, :6], HZ, seconds, map),
        pictures.time_importance([map]),
    ):
        assert drawn(figure).axes[0].get_xlim() == (0, 0.05)
