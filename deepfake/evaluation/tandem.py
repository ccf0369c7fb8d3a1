"""The speaker verifier behind a countermeasure, for tandem metrics: ASV scores, or the coefficients made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepfake.metrics.tdcf import Weights, asv_operating_point, legacy_weights, revised_weights
from deepfake.scores.formats import pooled_c012, read_c012
from deepfake.scores.table import AsvScores, read_asv_scores


@dataclass(frozen=True)
class Tandem:
    """The fixed ASV system of an evaluation.

    Args:
        weights: t-DCF weights by the metric they make: `min_tdcf_legacy`, `min_tdcf`.
        asv: Its scores, for the t-EER; None where only coefficients are known.
        source: The file that was read.
    """

    weights: Mapping[str, Weights]
    asv: AsvScores | None = None
    source: str = ""


def read_tandem(path: str | Path) -> Tandem:
    """Read the organisers' ASV score file, or a JSON of ASVspoof 2021's coefficients C0, C1, C2.

    Raises:
        InputError: See `read_asv_scores`, `asv_operating_point` and `read_c012`.
    """
    if Path(path).suffix.lower() in (".json", ".npy"):
        return Tandem({"min_tdcf": pooled_c012(read_c012(path))}, source=str(path))
    asv = read_asv_scores(path)
    point = asv_operating_point(*asv)
    weights = {"min_tdcf_legacy": legacy_weights(point), "min_tdcf": revised_weights(point)}
    return Tandem(weights, asv, str(path))
