"""Where the axes of a figure are put, so that all that is written around them has room."""

from __future__ import annotations

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

PAD = 3 / 72  # inches between what is drawn, and to the edge of the figure, as in matplotlib's constrained layout


class Layout(ConstrainedLayoutEngine):
    """Matplotlib's constrained layout, but one pass for one pair of axes above the legends of its figure.

    The constrained layout measures every text twice, and each drawing once more to find the places of the axes' labels:
    a third of the time of a report. Here they are measured once, and the labels stay where they are then.
    """

    def execute(self, fig: Figure) -> None:
        """Set the positions of the axes and of their labels."""
        if len(fig.axes) != 1:
            super().execute(fig)
            return
        (axes,) = fig.axes
        renderer = RendererAgg(*fig.bbox.size, fig.dpi)
        outer = axes.get_tightbbox(renderer) or axes.bbox
        inner, whole, pad = axes.bbox.frozen(), fig.bbox, PAD * fig.dpi
        legends = sum(legend.get_window_extent(renderer).height + 2 * pad for legend in fig.legends)
        left, right = inner.x0 - outer.x0 + pad, outer.x1 - inner.x1 + pad
        bottom, top = inner.y0 - outer.y0 + pad + legends, outer.y1 - inner.y1 + pad
        below, beside = (
            axis.label.get_transform().transform(axis.label.get_position()) - (inner.x0, inner.y0)
            for axis in (axes.xaxis, axes.yaxis)
        )
        width, height = max(whole.width - left - right, 1), max(whole.height - bottom - top, 1)
        axes.set_position((left / whole.width, bottom / whole.height, width / whole.width, height / whole.height))
        axes.apply_aspect()
        axes.xaxis.set_label_coords(0.5, below[1] / axes.bbox.height)
        axes.yaxis.set_label_coords(beside[0] / axes.bbox.width, 0.5)
