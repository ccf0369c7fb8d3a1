"""The model card: what the detector is, and what it was trained and tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from deepfake.app import look
from deepfake.app.detector import Loaded
from deepfake.errors import InputError
from deepfake.forensics.card import card

MEASURES = {"eer": "EER", "fpr": "Spoofs that pass", "fnr": "Bona fide flagged"}


def show(detector: Loaded) -> None:
    """Draw it."""
    try:
        found = card(detector.run, detector.explainer.detector)
    except InputError as error:
        st.error(look.plain(str(error)), icon=":material/error:")
        return
    training, calibration = found["training"], found["calibration"]
    imported = (found["imported"] or {}).get("card", {})
    st.subheader("The detector", anchor=False)
    look.facts(
        {
            "Network": found["model"].rsplit(".", 1)[-1],
            "Front end": found["features"].rsplit(".", 1)[-1],
            "Clip": f"{found['clip_seconds']:.3g} s at {found['sample_rate'] / 1000:g} kHz",
            "Threshold": f"{found['threshold']['value']:.4g} ({found['threshold']['source']})",
            "Calibrated on": f"{calibration['source']}: {_counts(calibration)}" if calibration else "not calibrated",
            "SHA-256": found["detector_sha256"],
            **({"Published as": imported["title"], "Licence": imported["licence"]} if imported else {}),
        }
    )
    st.subheader("Trained on", anchor=False)
    look.facts(
        {
            "Corpus": training["dataset"] or imported.get("trained_on") or "not known",
            "Files": _counts(training),
            "Speakers": str(training["n_speakers"] or "not known"),
            "Attacks": ", ".join(training["attacks"]) or "not known",
        }
    )
    st.subheader("Tested on", anchor=False)
    tested = [found["dev"], *found["evaluations"]]
    rows = [_row(judged) for judged in tested if judged]
    if rows:
        look.table(["Corpus", "Files", *MEASURES.values()], rows)
        st.caption(
            "In brackets: the interval of 95%, unless the run says otherwise. Dev chose the threshold, so that only "
            "the others are tests of it. The last two are rates at that threshold."
        )
    else:
        st.markdown("Nothing is known of its error rates: the run folder holds no evaluation.")
    st.subheader("Limits", anchor=False)
    st.markdown("\n".join(f"- {look.plain(limit)}" for limit in found["limits"]))


def _row(judged: Mapping[str, Any]) -> list[str]:
    where = f"{judged['dataset'] or 'unknown'}, {judged['partition'] or 'unknown'}"
    return [where, _counts(judged), *(_rate(judged, name) for name in MEASURES)]


def _counts(found: Mapping[str, Any]) -> str:
    if found["n_bonafide"] is None:
        return "not known"
    return f"{found['n_bonafide']:,} bona fide, {found['n_spoof']:,} spoofed"


def _rate(judged: Mapping[str, Any], name: str) -> str:
    if judged[name] is None:
        return "not known"
    interval = judged["ci"].get(name)
    return f"{judged[name]:.1%}" + (f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else "")
