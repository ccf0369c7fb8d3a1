"""Pages of text, tables and pictures: nothing lies outside, over another thing, or in two places of one file."""

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper import picture, said, texts, within_and_apart

from deepfake.errors import InputError
from deepfake.figures import a4 as pages
from deepfake.figures.a4 import HEIGHT, INNER, WIDTH, Pages, drawable, width_of, wrapped

WORDS = "The score of this clip lies on the side of spoof " * 3


def test_text_is_wrapped_at_words():
    lines = wrapped(WORDS.strip(), 200, 9.0)
    assert " ".join(lines) == WORDS.strip() and len(lines) > 3
    assert all(width_of(line, 9.0) <= 200 for line in lines)
    assert width_of(f"{lines[0]} {lines[1].split()[0]}", 9.0) > 200  # no line is shorter than it need be


def test_a_long_word_is_broken_after_a_separator():
    path = "/".join(["folder", "another_one", "file.flac"] * 20)
    lines = wrapped(path, 150, 9.0)
    assert "".join(lines) == path and all(width_of(line, 9.0) <= 150 for line in lines)
    assert all(line[-1] in pages.BREAKS for line in lines[:-1])
    assert "".join(wrapped("a" * 500, 150, 9.0)) == "a" * 500


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.floats(20, 400))
def test_any_text_is_wrapped_whole(text, width):
    shown = drawable(text)
    lines = wrapped(shown, width, 9.0)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")
    assert all(width_of(line, 9.0) <= width or len(line) == 1 for line in lines)


def test_characters():
    assert (
        drawable("кто-то, Ελληνικά, naïve café, ș ř ő, עברית, ↔ ½") == "кто-то, Ελληνικά, naïve café, ș ř ő, עברית, ↔ ½"
    )
    assert drawable("a\u202eb\nc\x00d\udcffe\u200d") == "a[U+202E]b[U+000A]c[U+0000]d[U+DCFF]e[U+200D]"


def test_characters_that_no_font_has_are_codes(monkeypatch):
    monkeypatch.setattr(pages, "_letters", pages._sans_letters)  # as where no other font is installed
    assert drawable("录音1") == "[U+5F55][U+97F3]1"


def test_measure_is_that_of_the_drawn_text():
    document = Pages(footer="f")
    document.paragraph("Wide: MWÄÖ кто ½ fi", size=9.5)
    (text, left, right, *_) = texts(document.figures[0])[0]
    assert right - left == pytest.approx(width_of(text, 9.5), abs=0.3)


def test_long_documents_go_on_on_the_next_page():
    document = Pages(footer="some file")
    for _ in range(30):
        document.heading("A heading")
        document.paragraph(WORDS, bullet="•")
        document.paragraph("$x_1$ and $")
    document.write(title="t")
    assert len(document.figures) > 1
    within_and_apart(document)
    words = " ".join(text for page in said(document) for text in page)
    assert words.count("$x_1$ and $") == 30
    assert all(page[-1] != "A heading" for page in said(document))


def test_tables():
    document = Pages(footer="some file")
    rows = [[f"row {i}", "x" * (40 * i % 300), WORDS] for i in range(40)]
    document.table(rows, (1, 2, 3), header=("a", "b", "c"), marked=2)
    document.table([["", "0123456789abcdef" * 8]], (1, 4), mono=True)
    document.write(title="t")
    within_and_apart(document)
    found = said(document)
    assert len(found) > 2 and all(page[:3] == ["a", "b", "c"] for page in found[:-1])
    assert [text for page in found for text in page if text.startswith("▶")] == ["▶ row 2"]
    assert {f"row {i}" for i in range(40) if i != 2} <= {text for page in found for text in page}


def test_a_row_higher_than_a_page():
    document = Pages(footer="some file")
    document.table([["a", WORDS * 60], ["b", "end"]], (1, 1))
    document.write(title="t")
    within_and_apart(document)
    assert " ".join(text for page in said(document) for text in page if text not in "ab").split()[-1] == "end"
    assert len(document.figures) >= 2


@pytest.mark.parametrize(("width", "height"), [(800, 300), (300, 1200), (40, 40)])
def test_pictures_keep_their_shape(width, height):
    document = Pages(footer="some file")
    document.paragraph(WORDS)
    document.picture(picture(width, height), "What it is. " * 12, name="p")
    document.write(title="t")
    within_and_apart(document)
    (axes,) = document.figures[-1].axes
    _, low, wide, high = axes.get_position().bounds
    assert wide * WIDTH / (high * HEIGHT) == pytest.approx(width / height, rel=0.01)
    assert wide * WIDTH <= INNER + 0.1 and high * HEIGHT <= 331
    np.testing.assert_allclose(axes.images[0].get_array()[0, 0], [0x12 / 255, 0x34 / 255, 0x56 / 255], atol=0.01)
    caption = max(top for text, _, _, _, top, gid in texts(document.figures[-1]) if text.startswith("What"))
    assert caption <= low * HEIGHT + 1


@pytest.mark.parametrize("source", [b"", b"\x89PNG\r\n\x1a\nshort", b"GIF89a" + b"0" * 50])
def test_what_is_no_picture(source):
    with pytest.raises(InputError, match=r"picture mel .* PNG"):
        Pages(footer="f").picture(source, "", name="mel")


def test_feet():
    document = Pages(footer="a" * 300 + " · SHA-256 0123")
    document.page()
    document.write(title="t")
    within_and_apart(document)
    for number, figure in enumerate(document.figures, start=1):
        name, page = [text for text, *_, gid in texts(figure) if gid == "foot"]
        assert page == f"page {number} of 2" and name.endswith("SHA-256 0123") and "…" in name


def test_written_bytes():
    def made():
        document = Pages(footer="кто")
        document.paragraph("Ελληνικά café")
        document.picture(picture(80, 30), "c", name="p")
        return document.write(title="кто")

    fonts = mpl.rcParams["pdf.fonttype"]
    data = made()
    assert data == made() and data.startswith(b"%PDF") and b"CreationDate" not in data
    assert b"/CIDFontType2" in data and b"/ToUnicode" in data  # text can be searched and copied
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") == 1
    assert mpl.rcParams["pdf.fonttype"] == fonts
