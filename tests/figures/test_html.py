"""The page of a report, and its pictures."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from deepfake.errors import InputError
from deepfake.figures.html import html_table, page, paragraph, pictures


@pytest.mark.parametrize("name", ["../../up", "a/b", "/tmp/x", "..", "a\\b", "a.b"])
def test_a_picture_stays_in_its_folder_whatever_its_name(tmp_path, name):
    folder = tmp_path / "1/2/3/figures"
    html = pictures(folder, {f"by_attack_and_{name}": (Figure, "below")})
    assert list(html) == [f"by_attack_and_{name}"] and "below" in html[f"by_attack_and_{name}"]
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) == 2 and {path.parent for path in found} == {folder}


def test_a_picture_that_cannot_be_drawn_is_left_out_and_the_one_before_it_removed(tmp_path):
    def refused():
        raise InputError("one class")

    assert pictures(tmp_path, {"det": (Figure, "")}).keys() == {"det"}
    assert pictures(tmp_path, {"det": (refused, "")}) == {} and not list(tmp_path.iterdir())


def test_the_same_figure_gives_the_same_files(tmp_path):
    for folder in ("a", "b"):
        pictures(tmp_path / folder, {"det": (Figure, "")})
    for suffix in ("png", "svg"):
        one, two = ((tmp_path / folder / f"det.{suffix}").read_bytes() for folder in ("a", "b"))
        assert one == two


def test_all_text_is_escaped():
    evil = "<script>"
    whole = page(evil, evil, paragraph(evil), html_table((evil, evil), [(evil, evil)]))
    assert evil not in whole and whole.count("&lt;script&gt;") == 8
