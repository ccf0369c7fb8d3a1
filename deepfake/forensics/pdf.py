"""The report of one explained file as a PDF file: what was found, in what, how, and what that does not say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from deepfake.atomic import write_atomically
from deepfake.explain.regions import Region
from deepfake.figures.a4 import QUIET, Pages, drawable
from deepfake.figures.style import BONAFIDE
from deepfake.forensics.cautions import CAUTION, INCONCLUSIVE
from deepfake.speakers.check import CLONE

DARK_SPOOF, GREY = "#B34E00", "#595959"  # of a field that white text can be read on
BANNERS = {"spoof": ("SPOOF", DARK_SPOOF), "bonafide": ("BONA FIDE", BONAFIDE), INCONCLUSIVE: ("INCONCLUSIVE", GREY)}
MOST_REGIONS = 60
UNITS = {"s": "s", "seconds": "s", "ms": "ms", "hz": "Hz", "db": "dB"}  # by the end of a key
OVER_TIME = {
    "waveform_highlight": "Waveform. Hatched: regions whose evidence for spoof is above the threshold of regions.",
    "timeline": "p_fake over the whole recording. Hatched: what is above its threshold.",
    "time_importance": "Evidence of each frame by method. Above the line it speaks for spoof, below for bona fide. The "
    "axes have the same ends in every report; a triangle marks a curve that goes beyond them.",
}
SPECTROGRAM = "Level by time and frequency, from which nothing about spoofing can be read directly."
RADAR = (
    "Where the evidence for spoof lies, as shares of it: not how strong it is. Dashed: evidence spread evenly over the "
    "clip."
)
COLOURS = "Vermilion speaks for spoof, blue for bona fide."
SCALE_NOTE = "▶ marks the row of this file. The words are a reading aid: the number is the result."
MAPS_HIDDEN = "No maps are shown: the result is inconclusive, and a map would look like evidence that there is not."
CODES_NOTE = "[U+…] is the code of a character that is invisible, or that no installed font has; report.json has it."
DISCLAIMER = (
    "This report was made by a statistical detector. It weighs two stated hypotheses against each other and gives no "
    "probability that the recording is genuine, which also depends on all else that is known of the case. Speech that "
    "is not flagged is not proven to be genuine; speech that is flagged may be genuine speech of a kind that the "
    "detector was not trained on. Maps and regions show what moved this detector's score, not where a recording was "
    "altered. A person qualified to do so should review it together with the recording."
)


def write_pdf(path: Path, report: Mapping[str, Any], pictures: Mapping[str, Path | IO[bytes]], *, title: str) -> None:
    """Write the report of one file, on A4 pages, with the same bytes for the same contents.

    The recording and its result first, then the pictures over time, the maps, and last the method and the limits. A
    character that no installed font has is written as its code.

    Args:
        path: Of the PDF file.
        report: The contents of `report.json`, as `deepfake.forensics.schema` has them.
        pictures: PNG files by the stem of the file's name: `radar`, `mel`, each method's `mel_NAME_overlay`, and all of
            `OVER_TIME`.
        title: Of the document.

    Raises:
        InputError: A picture cannot be read as a PNG.
    """
    file = report["file"]
    with Pages(foot=f"{file['name']} · SHA-256 {file['sha256'][:16]}…") as pages:
        pages.heading(title, size=16)
        _result(pages, report)
        _recording(pages, report)
        _pictures(pages, report, pictures)
        pages.add_page()
        pages.heading("Regions, method and limits", size=14)
        _regions(pages, report)
        pages.picture(pictures["radar"], RADAR, name="radar", highest=210)
        _method(pages, report)
        _technical(pages, report)
        data = pages.write_bytes(title=title)
    write_atomically(path, data)


def _result(pages: Pages, report: Mapping[str, Any]) -> None:
    words, threshold = report["words"], report["threshold"]
    banner, colour = BANNERS[report["verdict"]]
    below = [f"State: {_name(report['state'])}"]
    if report["verdict"] == "bonafide":
        below.append("The detector did not flag this file. That is not proof that the speech is genuine.")
    if report["state"] == CAUTION:
        below.append("Read the reasons for caution before using this result.")
    pages.banner(banner, below, colour=colour)
    pages.paragraph(words["sentence"], size=11)
    pages.paragraph(words["graded"])
    for reason in report["reasons"]:
        pages.paragraph(reason["sentence"], bullet="!", size=9.5)
    at = "uncalibrated: a figure between 0 and 1, not a probability"
    if (prior := report["prior"]) is not None:
        at = f"at a prior probability of spoof of {_value(prior)}: a calculation, not a finding"
    rows = {
        "Likelihood ratio": _ratio(report["llr"]),
        "Score": f"{_value(report['score'])} (larger speaks for bona fide)",
        "Threshold": f"{_value(threshold['value'])} ({threshold['source']})",
        "Error rates on dev": threshold["dev"],
        "p_fake": f"{_value(report['p_fake'])}, {at}",
        "Domain": _placed(report["domain"]),
    }
    pages.columns([(name, _value(value)) for name, value in rows.items() if value is not None], (1, 4))
    pages.heading("Verbal scale", keep=20 + 14 * len(words["scale"]))
    scale = [(row["range"], row["words"]) for row in words["scale"]]
    marked = next((at for at, row in enumerate(scale) if row[1] == words["strength"]), None)
    pages.columns(scale, (1, 1.6), header=("Likelihood ratio, or one over it", "Words"), marked=marked, size=8)
    notes = [*([SCALE_NOTE] if marked is not None else []), words["scale_convention"], words["scale_source"]]
    pages.paragraph(" ".join(notes), size=7.5, colour=QUIET)


def _recording(pages: Pages, report: Mapping[str, Any]) -> None:
    pages.heading("Recording")
    file = report["file"]
    rows = [(_name(name), _value(value)) for name, value in file.items() if name != "sha256"]
    pages.columns([*rows, ("explained clip", _value(report["heard"]))], (1, 4), size=8)
    if any(drawable(value) != value for _, value in rows):
        pages.paragraph(CODES_NOTE, size=7.5, colour=QUIET)
    hashes = [("SHA-256 of the file", file["sha256"]), ("SHA-256 of the clip's samples", report["heard_sha256"])]
    pages.columns(hashes, (1.25, 4), mono=True, size=7.5)
    if report["speaker"] is not None:
        _speaker(pages, report["speaker"])


def _speaker(pages: Pages, speaker: Mapping[str, Any]) -> None:
    pages.heading("Speaker", keep=70)
    pages.paragraph(f"{speaker['words'][:1].upper()}{speaker['words'][1:]}.", size=9)
    if "score" not in speaker:  # it could not be compared
        return
    rows = {
        "Nearest enrolled speaker": speaker["speaker"],
        "Cosine": f"{speaker['score']:.3f}; a match above {speaker['threshold']:.3f} ({speaker['threshold_source']})",
        "Likelihood ratio": f"log10 {speaker['log10_lr_speaker']:.2f}, of this speaker against another one",
    }
    if (joint := speaker["sasv"]) is not None:
        accepted = "accepted" if joint["accepted"] else "not accepted"
        rows["With the score of spoofing"] = f"{accepted} as bona fide speech of this speaker (LLR {joint['llr']:.2f})"
    pages.columns(list(rows.items()), (1, 3), size=8)
    pages.paragraph(CLONE, size=7.5, colour=QUIET)


def _pictures(pages: Pages, report: Mapping[str, Any], pictures: Mapping[str, Path | IO[bytes]]) -> None:
    """What is seen over time; the spectrogram, and each method's map over it unless there is no verdict."""
    maps = {"mel": SPECTROGRAM}
    inconclusive = report["state"] == INCONCLUSIVE
    if not inconclusive:
        for name, facts in report["methods"].items():
            words = f"{_name(name).capitalize()} over the spectrogram, in {facts.get('unit', 'nats')}. {COLOURS}"
            maps[f"mel_{name}_overlay"] = words
    for heading, captions in (("Over time", OVER_TIME), ("Maps", maps)):
        pages.add_page()
        pages.heading(heading, size=14)
        if inconclusive and captions is maps:
            pages.paragraph(MAPS_HIDDEN)
        for name, caption in captions.items():
            pages.picture(pictures[name], caption, name=name, highest=240)


def _regions(pages: Pages, report: Mapping[str, Any]) -> None:
    pages.paragraph(report["words"]["places"], size=9)
    regions = report["regions"]
    if not regions:
        pages.paragraph("No region was found.", size=9)
        return
    pages.paragraph(f"Coverage: {report['coverage']:.1%} of the clip", size=9)
    rows = [[f"{region[name]:.4g}" for name in Region._fields] for region in regions[:MOST_REGIONS]]
    pages.columns(rows, [1] * len(Region._fields), header=[_name(name) for name in Region._fields], size=8)
    if len(regions) > MOST_REGIONS:
        pages.paragraph(f"{len(regions) - MOST_REGIONS} more are in report.json.", size=9)


def _method(pages: Pages, report: Mapping[str, Any]) -> None:
    pages.heading("Reasons for caution")
    rows = [(_name(r["name"]), _value(r["value"]), _value(r["limit"]), r["sentence"]) for r in report["reasons"]]
    if rows:
        pages.columns(rows, (2, 1.3, 1, 6), header=("Reason", "Measured", "Limit", "In words"), size=8)
    else:
        pages.paragraph("None of the checks gave one.", size=9)
    pages.heading("What this does not show")
    for limit in report["words"]["limits"]:
        pages.paragraph(limit, bullet="•", size=9)
    pages.heading("Disclaimer")
    pages.paragraph(DISCLAIMER, size=9)


def _technical(pages: Pages, report: Mapping[str, Any]) -> None:
    """All that it takes to make the report again, on a page of its own."""
    environment = {**report["environment"], "command": shlex.join(report["environment"]["command"])}
    parts = {
        "detector": report["detector"],
        "quality": {"of the recording": report["quality"]},
        "methods": report["methods"],
        "provenance": environment | {name: report[name] for name in ("parameters", "finished", "schema")},
    }
    rows = [
        (part if at == 0 else "", _name(name), _value(value))
        for part, facts in parts.items()
        for at, (name, value) in enumerate(facts.items())
    ]
    pages.add_page()
    pages.heading("Technical details", size=14)
    pages.columns(rows, (1, 1.5, 6), size=7)


def _ratio(llr: Mapping[str, Any]) -> str | None:
    """A likelihood ratio as a number above 1 and the side that it speaks for; None without calibration."""
    if (log10 := llr["log10_lr_spoof"]) is None:
        return None
    side = "spoof" if log10 >= 0 else "bona fide"
    note = "; no more can be claimed from a calibration set of this size" if llr["capped"] else ""
    size = f"{10 ** abs(log10):.3g}" if abs(log10) < 5 else f"10^{abs(log10):.1f}"
    return f"{size} for {side} (log10 of the ratio for spoof: {log10:.2f}{note})"


def _placed(domain: Mapping[str, Any] | None) -> str | None:
    """Where the recording lies relative to the speech that the detector was made for; None where that is not known."""
    if domain is None:
        return None
    nearer = f"{domain['percentile']:.0f}% of its {domain['n_dev']} held-out recordings are nearer"
    return f"{domain['state']} ({domain['source']}; {nearer}). {domain['measured']}."


def _value(value: Any) -> str:
    """A value of the report as it is read by people."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(name)} {_value(one)}" for name, one in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def _name(key: str) -> str:
    """A key of the report in words, with the unit that it ends in."""
    stem, _, unit = key.rpartition("_")
    return (f"{stem} ({UNITS[unit]})" if stem and unit in UNITS else key).replace("_", " ")
