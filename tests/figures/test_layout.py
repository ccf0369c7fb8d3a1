"""The room that a figure's axes, texts and legend get, measured on the laid-out figure, and matplotlib's own layout."""

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepfake.figures.html import saved
from deepfake.figures.layout import Layout
from deepfake.figures.style import axes_of

PAD = 150 * 3 / 72  # pixels of a figure of 150 dots per inch


def around(axes, renderer):
    box = axes.get_tightbbox(renderer)
    assert box is not None
    return box


def drawn(n_legends=1, aspect: Any = "auto", layout: Any = None):
    figure, axes = axes_of("Title", "x axis", "y axis")
    axes.plot([0, 12345], [0, 1e-3], label="curve")
    axes.set_aspect(aspect)
    if n_legends:
        figure.legend(loc="outside lower center", fontsize=8)
    figure.set_layout_engine(layout or Layout())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return figure, axes, canvas.get_renderer()


@pytest.mark.parametrize("n_legends", [0, 1])
def test_the_axes_and_their_texts_fill_what_the_legend_leaves(n_legends):
    figure, axes, renderer = drawn(n_legends)
    outer = around(axes, renderer)
    above = figure.legends[0].get_window_extent(renderer).height + 2 * PAD if n_legends else 0
    ends = [outer.x0, outer.y0 - above, figure.bbox.width - outer.x1, figure.bbox.height - outer.y1]
    assert ends == pytest.approx([PAD] * 4, abs=2)  # pixels: texts stand on whole ones
    if n_legends:
        assert figure.legends[0].get_window_extent(renderer).y1 < outer.y0


def test_equal_scales_stand_in_the_middle_of_it():
    figure, axes, renderer = drawn(aspect=1e7)
    outer = around(axes, renderer)
    assert axes.bbox.height / axes.bbox.width == pytest.approx(1e7 * 1e-3 / 12345, rel=0.05)
    assert outer.y0 > figure.legends[0].get_window_extent(renderer).y1 and outer.y1 <= figure.bbox.height - PAD + 2
    assert outer.x0 >= PAD - 2 and outer.x1 <= figure.bbox.width - PAD + 2


def test_the_labels_are_as_far_from_the_axes_as_matplotlib_would_have_them():
    for aspect in ("auto", 1e7):
        found = []
        for layout in (None, "constrained"):
            _, axes, renderer = drawn(aspect=aspect, layout=layout)
            x, y = (axis.label.get_window_extent(renderer) for axis in (axes.xaxis, axes.yaxis))
            centre = (x.x0 + x.x1) / 2 - (axes.bbox.x0 + axes.bbox.x1) / 2
            middle = (y.y0 + y.y1) / 2 - (axes.bbox.y0 + axes.bbox.y1) / 2
            found.append([axes.bbox.y0 - x.y1, axes.bbox.x0 - y.x1, centre, middle])
        assert found[0] == pytest.approx(found[1], abs=1.5)


def test_a_figure_laid_out_twice_stays_as_it_is():
    figure, axes, renderer = drawn()
    once = [axes.get_position().bounds, axes.xaxis.label.get_window_extent(renderer).bounds]
    FigureCanvasAgg(figure).draw()
    again = [axes.get_position().bounds, axes.xaxis.label.get_window_extent(renderer).bounds]
    np.testing.assert_allclose(once, again, atol=0.02)


def test_several_axes_are_laid_out_by_matplotlib():
    positions = []
    for layout in (Layout(), "constrained"):
        figure = Figure(layout=layout)
        for axes in figure.subplots(2, 1):
            axes.set_ylabel("y")
        FigureCanvasAgg(figure).draw()
        positions.append([axes.get_position().bounds for axes in figure.axes])
    np.testing.assert_allclose(*positions)


def test_a_picture_has_the_size_of_its_figure_and_is_the_same_twice():
    figure, *_ = drawn()
    png, again = (saved(figure, "png") for _ in range(2))
    assert png == again and [int.from_bytes(png[i : i + 4], "big") for i in (16, 20)] == [780, 660]
    assert saved(figure, "svg") == saved(figure, "svg")
