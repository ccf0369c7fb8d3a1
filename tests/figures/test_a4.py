"""Pages of text, tables and pictures: all of it is there, in its place, and can be searched."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper import drawn, pages, picture, places, sizes

from deepfake.errors import InputError
from deepfake.figures import a4
from deepfake.figures.a4 import BOTTOM, MARGIN, Pages, drawable

WORDS = "The score of this clip lies on the side of spoof " * 3


def written(document):
    with document:
        return document.write_bytes(title="t")


def within(data):
    """That no line begins outside the margins; the foot stands below them."""
    for page in places(data):
        for text, left, base in page:
            assert MARGIN - 1 <= left <= 595.28 - MARGIN, text
            assert base >= (25 if text.startswith("page ") or base < 40 else BOTTOM - 8), text
    return pages(data)


def test_characters():
    plain = "кто-то, Ελληνικά, naïve café, ș ř ő, עברית, ↔ ½"
    assert drawable(plain) == plain
    assert drawable("a\u202eb\nc\x00d\udcffe\u200d") == "a[U+202E]b[U+000A]c[U+0000]d[U+DCFF]e[U+200D]"


def test_characters_that_no_font_has_are_codes(monkeypatch):
    monkeypatch.setattr(a4, "fallbacks", dict)  # as where no other font is installed
    a4._glyphs.cache_clear()
    assert drawable("录音1") == "[U+5F55][U+97F3]1"
    a4._glyphs.cache_clear()


@settings(max_examples=6, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=8, max_size=8))
def test_any_text_is_set_whole(texts):
    document = Pages(foot="f")
    for text in texts:
        document.paragraph(text)
    found = "".join(within(written(document))).replace(" ", "")
    for text in texts:
        right_to_left = any(0x590 <= ord(c) <= 0x8FF or ord(c) >= 0xFB1D for c in text)
        if not right_to_left:  # which is set in another order
            assert "".join(drawable(text).split()) in found


def test_long_documents_go_on_on_the_next_page():
    document = Pages(foot="some file")
    for _ in range(30):
        document.heading("A heading")
        document.paragraph(WORDS, bullet="•")
        document.paragraph("$x_1$ and $")
    found = within(written(document))
    assert len(found) > 1 and " ".join(found).count("$x_1$ and $") == 30
    assert all(not page.removesuffix(f"some file page {i} of {len(found)}").strip().endswith("A heading")
               for i, page in enumerate(found, start=1))  # fmt: skip


def test_tables():
    document = Pages(foot="some file")
    rows = [[f"row {i}.", "x" * (40 * i % 300), WORDS] for i in range(40)]
    document.columns(rows, (1, 2, 3), header=("first", "second", "third"), marked=2)
    document.columns([["", "0123456789abcdef" * 4]], (1, 4), mono=True)
    found = within(written(document))
    assert len(found) > 2 and all(page.startswith("first second third") for page in found[:-1])
    words = " ".join(found)
    assert words.count("▶") == 1 and "▶ row 2." in words and "0123456789abcdef" * 4 in words
    assert all(f"row {i}." in words for i in range(40))


def test_a_row_higher_than_a_page():
    document = Pages(foot="some file")
    document.columns([["a", WORDS * 60], ["b", "the end"]], (1, 1))
    found = within(written(document))
    assert len(found) >= 2 and " ".join(found).count("spoof") == 180 and "the end" in found[-1]


@pytest.mark.parametrize(("width", "height"), [(800, 300), (300, 1200), (40, 40)])
def test_pictures_keep_their_shape(width, height):
    document = Pages(foot="some file")
    document.paragraph(WORDS)
    document.picture(picture(width, height), "What it is. " * 12, name="p")
    data = written(document)
    assert sizes(data) == [[(width, height)]] and "What it is." in within(data)[0]
    wide, high = drawn(data)
    assert wide / high == pytest.approx(width / height, rel=0.01)
    assert wide <= document.epw + 0.1 and high <= 330.1


@pytest.mark.parametrize("source", [b"", b"\x89PNG\r\n\x1a\nshort", b"GIF89a" + b"0" * 50])
def test_a_file_that_is_not_a_picture(source):
    with pytest.raises(InputError, match=r"picture mel .* PNG"), Pages(foot="f") as document:
        document.picture(io.BytesIO(source), "", name="mel")


def test_feet():
    document = Pages(foot="a" * 300 + " · SHA-256 0123")
    document.add_page()
    for number, page in enumerate(within(written(document)), start=1):
        assert page.endswith(f"SHA-256 0123 page {number} of 2") and "…" in page


def test_a_name_that_looks_like_a_field_of_the_library_stands_as_it_is():
    document = Pages(foot="a{nb}.wav")
    document.heading("{nb}")
    assert pages(written(document)) == ["{nb} a{nb}.wav page 1 of 1"]


@pytest.mark.parametrize("shaping", [True, False])
@pytest.mark.parametrize("name", ["שלום", "سلام"])
def test_right_to_left_names_are_there(monkeypatch, name, shaping):
    if shaping:
        pytest.importorskip("uharfbuzz")
    else:
        monkeypatch.setattr(a4, "find_spec", lambda name: None)  # as where it is not installed
    document = Pages(foot="f")
    document.paragraph(name)
    (found,) = pages(written(document))
    assert (name if shaping else name[::-1]) in found  # unshaped, the letters are there, from left to right


def test_the_same_contents_are_the_same_bytes():
    def made():
        with Pages(foot="кто") as document:
            document.paragraph("Ελληνικά café")
            document.picture(picture(80, 30), "c", name="p")
            return document.write_bytes(title="кто")

    data = made()
    assert data == made() and data.startswith(b"%PDF")
    assert b"/CIDFontType2" in data and b"/ToUnicode" in data  # text can be searched and copied
