"""The report of one explained file as a PDF file: what was found, in what, how, and what that does not say."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake.atomic import write_atomically
from deepfake.figures.a4 import QUIET, Pages, drawable
from deepfake.figures.style import BONAFIDE

CAUTION, INCONCLUSIVE = "reported_with_caution", "inconclusive"
DARK_SPOOF, GREY = "#B34E00", "#595959"  # of a field that white text can be read on
MOST_REGIONS = 60
UNKNOWN = "not known"
NOT_STATED = "not stated in this report"
UNITS = {"s": "s", "seconds": "s", "ms": "ms", "hz": "Hz", "db": "dB"}  # by the end of a key
CAPTIONS = {
    "waveform_highlight": "Waveform. Hatched: regions whose evidence for spoof is above the threshold of regions.",
    "timeline": "Score of each window over the whole recording.",
    "time_importance": "Evidence of each frame by method. Above the line it speaks for spoof, below for bona fide. The "
    "axes have the same ends in every report; a triangle marks a curve that goes beyond them.",
    "mel": "Level by time and frequency, from which nothing about spoofing can be read directly.",
    "mel_saliency_overlay": "Saliency over the spectrogram: how the evidence would change if a cell were made louder.",
    "mel_gradcam_overlay": "Grad-CAM over the spectrogram, in the cells of the layer that it was taken from.",
    "radar": "Where the evidence for spoof lies, as shares of it: not how strong it is. Dashed: evidence spread evenly "
    "over the clip.",
}
RECORDING = ("waveform_highlight", "timeline", "time_importance")
CUES = "radar"
MAPS = ("mel", "mel_saliency_overlay", "mel_gradcam_overlay")
SCALE_NOTE = "▶ marks the row of this file. The words are a reading aid: the number is the result."
MAPS_HIDDEN = "No maps are shown: the result is inconclusive, and a map would look like evidence that there is not."
CODES_NOTE = "[U+…] is the code of a character that is invisible, or that no installed font has; report.json has it."
DISCLAIMER = (
    "This report was made by a statistical detector. It weighs two stated hypotheses against each other and gives no "
    "probability that the recording is genuine, which also depends on all else that is known of the case. Speech that "
    "is not flagged is not proven to be genuine; speech that is flagged may be genuine speech of a kind that the "
    "detector has not met. Maps and regions show what moved this detector's score, not where a recording was altered. "
    "A person qualified to do so should review it together with the recording."
)


def write_pdf(path: Path, report: Mapping[str, Any], pictures: Mapping[str, Path | bytes], *, title: str) -> None:
    """Write the report of one file, on A4 pages, with the same bytes for the same contents.

    The recording and its result first, then the pictures over time, the maps, and last the method and the limits. What
    the report lacks is left out or said to be unknown. A character that no installed font has is written as its code.

    Args:
        path: Of the PDF file.
        report: The contents of `report.json`.
        pictures: PNG files, or their bytes, by the stem of the file's name.
        title: Of the document.

    Raises:
        InputError: A picture cannot be read as a PNG.
    """
    file = _part(report, "file")
    digest = str(file.get("sha256") or "")
    foot = f"{file.get('name') or title} · SHA-256 {digest[:16] or UNKNOWN}{'…' if digest[16:] else ''}"
    with Pages(foot=foot) as pages:
        pages.heading(title, size=16)
        _result(pages, report)
        _recording(pages, report)
        _pictures(pages, report, pictures)
        pages.add_page()
        pages.heading("Regions, method and limits", size=14)
        _regions(pages, report)
        if CUES in pictures:
            pages.picture(pictures[CUES], CAPTIONS[CUES], name=CUES, highest=210)
        _method(pages, report)
        _technical(pages, report)
        data = pages.write_bytes(title=title)
    write_atomically(path, data)


def _result(pages: Pages, report: Mapping[str, Any]) -> None:
    words = _part(report, "words")
    verdict, state = report.get("verdict"), report.get("state")
    below = [f"State: {_name(state)}"]
    if state == INCONCLUSIVE or verdict not in ("spoof", "bonafide"):
        banner, colour = "INCONCLUSIVE", GREY
    elif verdict == "spoof":
        banner, colour = "SPOOF", DARK_SPOOF
    else:
        banner, colour = "BONA FIDE", BONAFIDE
        below.append("The detector did not flag this file. That is not proof that the speech is genuine.")
    if state == CAUTION:
        below.append("Read the reasons for caution before using this result.")
    pages.banner(banner, below, colour=colour)
    if words.get("sentence"):
        pages.paragraph(_value(words["sentence"]), size=11)
    if grade := words.get("graded") or words.get("grade"):
        pages.paragraph(_value(grade))
    for reason in _list(report, "reasons"):
        pages.paragraph(_reason(reason), bullet="!", size=9.5)
    threshold, llr = _part(report, "threshold"), _part(report, "llr")
    rows = {
        "Likelihood ratio": _ratio(llr),
        "Score": f"{_value(report.get('score'))} (larger speaks for bona fide)",
        "Threshold": f"{_value(threshold.get('value'))} ({_value(threshold.get('source'))})",
        "Error rates on dev": threshold.get("dev"),
        "p_fake": f"{_value(report['p_fake'])}, {_at(report.get('prior'))}" if "p_fake" in report else None,
    }
    pages.columns([(name, _value(value)) for name, value in rows.items() if value is not None], (1, 4))
    _scale(pages, words)


def _scale(pages: Pages, words: Mapping[str, Any]) -> None:
    scale = [dict(row) if isinstance(row, Mapping) else {"words": row} for row in _list(words, "scale")]
    if not scale:
        return
    pages.heading("Verbal scale", keep=20 + 14 * len(scale))
    strength = words.get("strength")
    marked = next((at for at, row in enumerate(scale) if strength and row.get("words") == strength), None)
    rows = [[_range(row), _value(row.get("words"))] for row in scale]
    pages.columns(rows, (1, 1.6), header=("Likelihood ratio, or one over it", "Words"), marked=marked, size=8)
    notes = [SCALE_NOTE if marked is not None else "", words.get("scale_convention"), words.get("scale_source")]
    pages.paragraph(" ".join(str(note) for note in notes if note), size=7.5, colour=QUIET)


def _range(row: Mapping[str, Any]) -> str:
    """The ratios of a row of the verbal scale."""
    return _value(row.get("range") or f"{_value(row.get('from'))} to {_value(row.get('to'))}")


def _recording(pages: Pages, report: Mapping[str, Any]) -> None:
    pages.heading("Recording")
    file, heard = _part(report, "file"), _part(report, "heard")
    rows = [(_name(name), _value(value)) for name, value in _flat(file) if name != "sha256"]
    pages.columns([*rows, *([("heard", _value(heard))] if heard else [])], (1, 4), size=8)
    if any(drawable(value) != value for _, value in rows):
        pages.paragraph(CODES_NOTE, size=7.5, colour=QUIET)
    hashes = {"SHA-256 of the file": file.get("sha256"), "SHA-256 of the samples heard": report.get("heard_sha256")}
    pages.columns([(name, _value(value)) for name, value in hashes.items()], (1.25, 4), mono=True, size=7.5)


def _pictures(pages: Pages, report: Mapping[str, Any], pictures: Mapping[str, Path | bytes]) -> None:
    others = [name for name in pictures if name not in (*RECORDING, *MAPS, CUES)]
    for heading, names in (("Over time", RECORDING), ("Maps", (*MAPS, *others))):
        found = [name for name in names if name in pictures]
        hidden = heading == "Maps" and report.get("state") == INCONCLUSIVE and not {*MAPS[1:]} & {*found}
        if found or hidden:
            pages.add_page()
            pages.heading(heading, size=14)
        if hidden:
            pages.paragraph(MAPS_HIDDEN)
        for name in found:
            pages.picture(pictures[name], CAPTIONS.get(name, f"{_name(name)}."), name=name, highest=240)


def _method(pages: Pages, report: Mapping[str, Any]) -> None:
    reasons = _list(report, "reasons")
    pages.heading("Reasons for caution")
    rows = [
        [_name(reason.get("name")), _value(reason.get("value")), _value(reason.get("limit")), _reason(reason)]
        if isinstance(reason, Mapping)
        else ["", "", "", _value(reason)]
        for reason in reasons
    ]
    if rows:
        pages.columns(rows, (2, 1.3, 1, 6), header=("Reason", "Measured", "Limit", "In words"), size=8)
    else:
        pages.paragraph("None of the checks gave one." if "reasons" in report else NOT_STATED, size=9)
    if limits := _list(_part(report, "words"), "limits"):
        pages.heading("What this does not show")
        for limit in limits:
            pages.paragraph(_value(limit), bullet="•", size=9)
    pages.heading("Disclaimer")
    pages.paragraph(_value(report.get("disclaimer") or DISCLAIMER), size=9)


def _technical(pages: Pages, report: Mapping[str, Any]) -> None:
    """All that it takes to make the report again, on a page of its own."""
    environment = dict(_part(report, "environment"))
    if isinstance(command := environment.get("command"), Sequence) and not isinstance(command, str):
        environment["command"] = shlex.join(map(str, command))
    others = {name: report[name] for name in ("parameters", "finished", "schema") if name in report}
    facts = {name: _part(report, name) for name in ("detector", "quality", "methods")}
    facts["quality"] = {"of the recording": facts["quality"]} if facts["quality"] else {}
    rows = [
        (_name(part if first else ""), _name(name), _value(value))
        for part, found in {**facts, "provenance": {**environment, **others}}.items()
        for first, (name, value) in zip(itertools.chain([True], itertools.repeat(False)), found.items(), strict=False)
    ]
    if rows:
        pages.add_page()
        pages.heading("Technical details", size=14)
        pages.columns(rows, (1, 1.5, 6), size=7)


def _regions(pages: Pages, report: Mapping[str, Any]) -> None:
    regions = [region for region in _list(report, "regions") if isinstance(region, Mapping)]
    if places := _part(report, "words").get("places"):
        pages.paragraph(_value(places), size=9)
    if not regions:
        pages.paragraph("No region was found." if "regions" in report else f"Regions: {NOT_STATED}", size=9)
        return
    if (coverage := report.get("coverage")) is not None:
        share = f"{coverage:.1%} of the clip" if isinstance(coverage, int | float) else _value(coverage)
        pages.paragraph(f"Coverage: {share}", size=9)
    columns = list(dict.fromkeys(name for region in regions for name in region))
    cells = [[region.get(name, "") for name in columns] for region in regions[:MOST_REGIONS]]
    rows = [[f"{cell:.4g}" if isinstance(cell, float) else _value(cell) for cell in row] for row in cells]
    pages.columns(rows, [1] * len(columns), header=[_name(name) for name in columns], size=8)
    if len(regions) > MOST_REGIONS:
        pages.paragraph(f"{len(regions) - MOST_REGIONS} more are in report.json.", size=9)


def _reason(reason: Any) -> str:
    """A reason in words."""
    return _value(reason.get("sentence") or reason.get("name") if isinstance(reason, Mapping) else reason)


def _ratio(llr: Mapping[str, Any]) -> str | None:
    """A likelihood ratio as a number above 1 and the side that it speaks for."""
    log10 = llr.get("log10_lr_spoof")
    if not isinstance(log10, int | float) or not math.isfinite(log10):
        return None
    side = "spoof" if log10 >= 0 else "bona fide"
    capped = "; no more can be claimed from a calibration set of this size" if llr.get("capped") else ""
    size = f"{10 ** abs(log10):.3g}" if abs(log10) < 5 else f"10^{abs(log10):.1f}"
    return f"{size} for {side} (log10 of the ratio for spoof: {log10:.2f}{capped})"


def _at(prior: Any) -> str:
    if prior is None:
        return "uncalibrated: a figure between 0 and 1, not a probability"
    return f"at a prior probability of spoof of {_value(prior)}: a calculation, not a finding"


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Facts of facts as rows: `detector: threshold: value`."""
    for name, value in facts.items():
        path = f"{above}: {name}" if above else str(name)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, path)
        else:
            yield path, value


def _value(value: Any) -> str:
    """A value of the report as it is read by people."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(name)} {_value(one)}" for name, one in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def _name(name: Any) -> str:
    if name is None:
        return UNKNOWN
    stem, _, unit = str(name).rpartition("_")
    return f"{stem} ({UNITS[unit]})".replace("_", " ") if stem and unit in UNITS else str(name).replace("_", " ")


def _part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = report.get(key)
    return part if isinstance(part, Mapping) else {}


def _list(report: Mapping[str, Any], key: str) -> list[Any]:
    part = report.get(key)
    return list(part) if isinstance(part, Sequence) and not isinstance(part, str) else []
