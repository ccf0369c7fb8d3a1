"""What is written on a terminal, of names that are not for one."""

from __future__ import annotations

import io
import logging
import sys

from deepfake import terminal
from deepfake.errors import InputError, printable, sentence

HOSTILE = "\x1b[31mred\x9b2J\x07\u202egnp\n.wav\udcff"
SEEN = "\\x1b[31mred\\x9b2J\\x07\\u202egnp\\n.wav\\udcff"


def test_control_characters_are_written_out():
    assert printable(HOSTILE) == SEEN
    assert printable("two\nlines", lines=True) == "two\nlines"
    assert printable("émoji 🎙 10\u202f00\xa0h.wav") == "émoji 🎙 10\u202f00\xa0h.wav"


def test_errors_tables_notes_and_logs_have_none(capsys, monkeypatch):
    assert sentence(InputError(f"{HOSTILE}: no audio")) == f"{SEEN}: no audio"
    assert sentence(FileNotFoundError(2, "No such file", HOSTILE)) == f"{SEEN}: No such file"
    monkeypatch.setenv("COLUMNS", "200")
    view = terminal.table(["file"], [["\x1b[31mred\x9b.wav"]], title="\x1b]0;title")
    terminal.show(terminal.with_notes([view], ["\x1b[2J note"]), stdout=True)
    shown = capsys.readouterr().out
    assert "\\x1b[31mred\\x9b.wav" in shown and "\\x1b]0;title" in shown and "\\x1b[2J note" in shown
    assert "\x1b" not in shown and "\x9b" not in shown
    stream = io.StringIO()
    handler, factory = logging.StreamHandler(stream), logging.getLogRecordFactory()
    try:
        terminal.prepare()
        logging.getLogger("deepfake").addHandler(handler)
        logging.getLogger("deepfake.x").warning("skipped: %s", "\x1b[31mred")
    finally:
        logging.setLogRecordFactory(factory)
        logging.getLogger("deepfake").removeHandler(handler)
    assert stream.getvalue() == "skipped: \\x1b[31mred\n"


def test_an_encoding_that_lacks_a_character_does_not_end_the_output(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    factory = logging.getLogRecordFactory()
    terminal.prepare()
    logging.setLogRecordFactory(factory)
    terminal.write("é\x1b\udcff\n", sys.stdout)
    assert raw.getvalue() == b"\\xe9\x1b\\udcff\n"
