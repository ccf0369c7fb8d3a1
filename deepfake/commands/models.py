"""`deepfake models`: the published detectors in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from deepfake.runs import catalogue


def published() -> Table:
    """A line for each: what `fetch` and `import` call it, size, licence, training data, and EERs in percent."""
    view = Table(box=box.SIMPLE_HEAD, caption="published EER: as others state it; M: million parameters")
    for heading in ("name", "M", "licence", "trained on", "published EER %", "measured here, EER %"):
        view.add_column(heading, justify="right" if heading == "M" else "left", no_wrap=heading == "name")
    for name in catalogue.names():
        one = catalogue.read(name)
        licence = one.licence.split(",")[0].split(" (")[0]
        cells = (f"{one.millions:g}", licence, one.trained_on, _rates(one.published), _rates(one.measured))
        view.add_row(Text(name), *map(Text, cells))
    return view


def _rates(rows: Iterable[Mapping[str, Any]]) -> str:
    cells = [f"{row['corpus']} {row['eer']:.2f} ({row['by']})" for row in rows]
    return "\n".join(cells).replace(" (the authors)", "") or "not measured"
