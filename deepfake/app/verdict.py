"""The verdict on a recording: a banner, the sentence that may be said, its numbers, and what they do not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import streamlit as st

from deepfake.app import look
from deepfake.domain import EDGE, IN, OUTSIDE
from deepfake.figures.style import BONAFIDE
from deepfake.forensics.assess import Assessment
from deepfake.forensics.cautions import INCONCLUSIVE, measured
from deepfake.forensics.pdf import DARK_SPOOF, GREY
from deepfake.forensics.statement import LIMITS, SIDES, number
from deepfake.localisation.segments import RULES, share_of

SPOOF, SUSPICIOUS, GENUINE = "spoof", "suspicious", "bonafide"


class Banner(NamedTuple):
    """How a verdict is announced: white text on a colour, with a sign, so that it is never told by colour alone."""

    title: str
    colour: str
    below: str


BANNERS = {
    SPOOF: Banner("⚠ Spoofing detected", DARK_SPOOF, "The score lies on the side of machine-generated speech."),
    SUSPICIOUS: Banner(
        "◐ Suspicious stretches",
        "#7A5200",
        "Its score is on the side of human speech, but over time p_fake passes its threshold: it may be spliced.",
    ),
    GENUINE: Banner("✓ No spoofing detected", BONAFIDE, "This does not prove that the recording is genuine."),
    INCONCLUSIVE: Banner("? Inconclusive", GREY, "Nothing is said of how this speech was made."),
}
LIVE = {
    "FAKE": "Live recording: FAKE. More than half of the time is flagged.",
    "REAL": "Live recording: REAL. At most half of the time is flagged, which does not prove that it is genuine.",
}
DOMAINS = {
    IN: "within the speech that the detector was made for",
    EDGE: "at the edge of the speech that the detector was made for",
    OUTSIDE: "outside the speech that the detector was made for",
}
HELPS = (
    "What can help: a longer recording, more speech and less noise, the original file instead of a copy that was sent "
    "or re-recorded, or another detector."
)


def of(found: Assessment) -> str:
    """`spoof`, `suspicious`, `bonafide` or `inconclusive`.

    Of a file by its score, and `suspicious` where only a part of it is flagged. Of a live recording, which is not
    edited, by its two-way verdict.
    """
    if found.verdict == INCONCLUSIVE:
        return INCONCLUSIVE
    over_time = _over_time(found)
    if found.timeline is not None and found.timeline.rule == "recording":
        return SPOOF if over_time == "FAKE" else GENUINE
    if found.verdict == GENUINE and over_time != "REAL":
        return SUSPICIOUS
    return found.verdict


def show(found: Assessment, finding: Mapping[str, Any]) -> None:
    """Announce the verdict.

    Args:
        found: The assessment.
        finding: What `deepfake.forensics.report.finding` says of it.
    """
    kind, words = of(found), finding["words"]
    banner = BANNERS[kind]
    live = found.timeline is not None and found.timeline.rule == "recording" and kind != INCONCLUSIVE
    look.banner(banner.title, LIVE[_over_time(found)] if live else banner.below, banner.colour)
    st.markdown(look.plain(words["sentence"]))
    look.facts(_numbers(found, finding))
    if kind == GENUINE:
        _cautions(found, "Read this first")
        st.markdown("**What this does not show**")
        st.markdown("\n".join(f"- {look.plain(limit)}" for limit in LIMITS[1:6]))
    elif kind == INCONCLUSIVE:
        _cautions(found, "Why")
        st.markdown(HELPS)
    else:
        _cautions(found, "Reasons for caution")


def _cautions(found: Assessment, heading: str) -> None:
    """The reasons, each with what was measured."""
    if found.reasons:
        lines = "\n".join(f"- {look.plain(reason.sentence)}" for reason in found.reasons)
        st.warning(f"**{heading}**\n\n{lines}", icon=":material/warning:")


def _numbers(found: Assessment, finding: Mapping[str, Any]) -> dict[str, str]:
    """The likelihood ratio, the probability at the stated prior, the score and what it is compared with."""
    rows: dict[str, str] = {}
    log10, used = finding["llr"]["log10_lr_spoof"], found.detector
    if log10 is not None:
        side = SIDES[log10 < 0]
        strength = finding["words"]["strength"] or "none may be stated"
        most = ", the most that the calibration set supports" if finding["llr"]["capped"] else ""
        rows["Likelihood ratio"] = f"{number(log10)} in favour of {side} speech: {strength}{most}"
        rows[f"Probability of spoof at a prior of {finding['prior']:.0%}"] = (
            f"{finding['p_fake']:.1%}, a calculation and not a finding"
        )
    else:
        rows["p_fake"] = f"{finding['p_fake']:.3f}, uncalibrated: a figure and not a probability"
    source = used.config["threshold"]["source"]
    rows["Score"] = f"{found.score:.4g}; {used.threshold:.4g} or below is spoof (threshold: {source})"
    rows["Scored"] = f"{found.scored_seconds:.1f} s of {found.seconds:.1f} s, in {len(found.scores)} window" + (
        "s" if len(found.scores) != 1 else ""
    )
    if (place := found.domain) is not None:
        known = used.config["domain"]
        nearer = f"nearer lie {place.percentile:.0f}% of its {known['n_dev']} recordings ({known['source']})"
        rows["Domain"] = f"{DOMAINS[place.state]}; {nearer}. {measured(known, place.state)}"
    if found.timeline is not None:
        said = f": {_over_time(found)}" if of(found) != INCONCLUSIVE or found.timeline.rule == "recording" else ""
        rows["Flagged over time"] = (
            f"{_share(found):.0%} of it, where p_fake is above {found.timeline.threshold.value:.3g}{said}"
        )
    return rows


def _share(found: Assessment) -> float:
    assert found.timeline is not None
    return share_of(found.timeline.segments, found.timeline.scan.duration)


def _over_time(found: Assessment) -> str:
    assert found.timeline is not None
    return RULES[found.timeline.rule](_share(found))
