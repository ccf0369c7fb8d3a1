"""Many files: a table of their verdicts, with the rows of `deepfake predict`."""

from __future__ import annotations

import io

import streamlit as st

from deepfake.app import look
from deepfake.app.detector import Loaded
from deepfake.app.recording import KINDS, Recording, plain_name
from deepfake.app.results import assessed
from deepfake.commands.explain import Settings
from deepfake.commands.predict import row
from deepfake.commands.rows import CsvRows, Row
from deepfake.errors import InputError

SHOWN = ("file", "verdict", "score", "p_fake", "log10_lr_spoof", "domain", "seconds", "cautions")


def show(detector: Loaded, megabytes: int, minutes: float) -> None:
    """Ask for files, and score them one by one."""
    st.markdown(f"Recordings of at most **{megabytes} MB** and **{minutes:g} minutes** each: {KINDS}.")
    taken = st.file_uploader("Drop recordings here, or browse for them", accept_multiple_files=True)
    given = [Recording(plain_name(file.name), file.getvalue()) for file in taken]
    if not given:
        st.info("A table of their verdicts will be shown here.", icon=":material/arrow_upward:")
        return
    bar, rows = st.progress(0.0), list[Row]()
    for i, one in enumerate(given):
        bar.progress(i / len(given), f"{i} of {len(given)}: {look.plain(one.name)}")
        rows.append({"file": one.name, **_row(detector, one)})
    errors = [look.plain(row["error"]) for row in rows if "error" in row]
    bar.progress(1.0, f"{len(rows)} of {len(rows)} done" + (f", {len(errors)} cannot be used" if errors else ""))
    st.dataframe([{**row, **_words(row)} for row in rows], hide_index=True, column_order=SHOWN)
    if errors:
        st.error("\n".join(f"- {error}" for error in errors), icon=":material/error:")
    threshold = detector.explainer.detector.config["threshold"]
    st.caption(
        f"Spoof is a score of {threshold['value']:.4g} or below (threshold: {look.plain(threshold['source'])}). "
        "A heading sorts the table. Scores are larger for bona fide speech; p_fake is the probability of spoof at even "
        "prior odds where the detector is calibrated. The CSV has the rows that deepfake predict --format csv prints."
    )
    text = io.StringIO()
    table = CsvRows(text)
    for one in rows:
        table.add(one)
    st.download_button(
        "Download the table as CSV", text.getvalue(), "verdicts.csv", "text/csv", on_click="ignore", type="primary"
    )


def _row(detector: Loaded, given: Recording) -> Row:
    try:
        return row(assessed(detector, Settings(), given, progress=lambda _: None))
    except InputError as error:
        return {"error": str(error)}


def _words(row: Row) -> dict[str, str]:
    """The cells of a row that hold text."""
    verdict = row.get("verdict", "cannot be used")
    return {"verdict": verdict, "cautions": ", ".join(row.get("cautions", [])), "error": row.get("error", "")}
