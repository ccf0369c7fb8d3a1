"""The page of a report, and its pictures."""

from __future__ import annotations

import base64
import re

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from tiny import REPOSITORY

from deepfake.errors import InputError
from deepfake.figures.html import TEMPLATES, pictures, write_page

BODY = (
    "{%% extends 'figures/page.html' %%}{%% from 'figures/parts.html' import %s %%}{%% block body %%}%s{%% endblock %%}"
)


def written(path, parts, body, **facts):
    write_page(path, TEMPLATES.from_string(BODY % (parts, body)), **{"title": "t", "provenance": {}, **facts})
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["../../up", "a/b", "/tmp/x", "..", "a\\b", "a.b"])
def test_a_picture_stays_in_its_folder_whatever_its_name(tmp_path, name):
    folder = tmp_path / "1/2/3/figures"
    drawn = pictures(folder, {f"by_attack_and_{name}": Figure})
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) == 2 and {path.parent for path in found} == {folder}
    (png,) = folder.glob("*.png")
    assert drawn == {f"by_attack_and_{name}": base64.b64encode(png.read_bytes()).decode()}


def test_a_picture_that_cannot_be_drawn_is_left_out_and_the_one_before_it_removed(tmp_path):
    def refused():
        raise InputError("one class")

    assert pictures(tmp_path, {"det": Figure}).keys() == {"det"}
    assert pictures(tmp_path, {"det": refused}) == {} and not list(tmp_path.iterdir())


def test_the_same_figure_gives_the_same_files(tmp_path):
    for folder in ("a", "b"):
        pictures(tmp_path / folder, {"det": Figure})
    for suffix in ("png", "svg"):
        one, two = ((tmp_path / folder / f"det.{suffix}").read_bytes() for folder in ("a", "b"))
        assert one == two


def test_all_text_is_escaped(tmp_path):
    evil = "<script>'\""
    body = """{{ notes([evil]) }}{{ table((evil, evil), [(evil, evil)]) }}{{ figure({evil: "data"}, evil, evil) }}
        {% call section(evil) %}{{ evil }}{% endcall %}"""
    whole = written(
        tmp_path / "p", "figure, notes, section, table", body, title=evil, evil=evil, provenance={evil: evil}
    )
    assert "<script" not in whole and whole.count("&lt;script&gt;&#39;&#34;") == 13


def test_a_table(tmp_path):
    html = written(
        tmp_path / "p", "table", "{{ table(('a', 'b', 'c'), [('x', 1, 'y')], left=(0, 2)) }}{{ table((), []) }}"
    )
    cells = [
        "<th scope=col>a</th>",
        "<th scope=col class=n>b</th>",
        "<th scope=row>x</th>",
        "<td class=n>1</td>",
        "<td>y</td>",
    ]
    assert [html.count(cell) for cell in cells] == [1] * 5 and html.count("<table class=explained>") == 1
    assert html.count("</table>") == 1  # none for nothing


def test_a_section_of_nothing_and_a_figure_that_is_missing_leave_no_trace(tmp_path):
    body = "{% call section('Curves') %}{{ figure(drawn, 'det', 'caption') }}{% endcall %}"
    assert "Curves" not in written(tmp_path / "p", "figure, section", body, drawn={})
    html = written(tmp_path / "p", "figure, section", body, drawn={"det": "QUJD"})
    assert "<h2>Curves</h2>" in html and 'alt="det" src="data:image/png;base64,QUJD"' in html and "caption" in html


def test_what_a_template_names_must_be_given(tmp_path):
    with pytest.raises(UndefinedError, match="missing"):
        written(tmp_path / "p", "table", "{{ missing }}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((REPOSITORY / "deepfake").rglob("*.html")), ids=lambda path: path.parent.name)
def test_a_template_trusts_nothing_it_is_given(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe|autoescape|https?:|<script", text)
    TEMPLATES.get_template(path.relative_to(REPOSITORY / "deepfake").as_posix())
