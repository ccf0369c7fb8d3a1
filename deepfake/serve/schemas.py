"""What the API answers, for OpenAPI: the fields of `deepfake predict`, and those of earlier clients beside them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VERDICTS = Literal["bonafide", "spoof", "inconclusive"]
STATES = Literal["reported", "reported_with_caution", "inconclusive"]
DOMAINS = Literal["in", "edge", "outside"]


class Threshold(BaseModel):
    value: float
    source: str = Field(description="Where it comes from.")


class Reason(BaseModel):
    """A reason to mistrust the result."""

    name: str
    value: float | None = Field(description="What was measured; null where it is not finite.")
    limit: float | None = Field(description="Beyond which it is a reason.")
    sentence: str


class Segment(BaseModel):
    """A stretch whose p_fake is above the timeline's threshold."""

    start: float = Field(description="In seconds.")
    end: float = Field(description="In seconds.")
    confidence: float = Field(description="Mean p_fake.")
    peak: float = Field(description="Largest p_fake.")


class Timeline(BaseModel):
    """p_fake over time: a trend, no finer than its window, unless the detector scores frames."""

    kind: Literal["trend", "localisation"]
    window: float = Field(description="Seconds that one score covers.")
    threshold: Threshold = Field(description="On p_fake.")
    verdict: Literal["REAL", "SUSPICIOUS", "FAKE"]
    segments: list[Segment]


EXAMPLE = {
    "is_fake": True,
    "confidence": 0.9638,
    "prediction": "FAKE",
    "score": -1.7423,
    "p_fake": 0.9638,
    "verdict": "spoof",
    "state": "reported_with_caution",
    "calibrated": True,
    "log10_lr_spoof": 1.4256,
    "capped": False,
    "seconds": 4.21,
    "scored_seconds": 4.21,
    "domain": "in",
    "domain_percentile": 61.5,
    "domain_misjudged": 3,
    "domain_n": 190,
    "cautions": ["narrowband"],
    "reasons": [
        {
            "name": "narrowband",
            "value": 0.47,
            "limit": 0.6,
            "sentence": "Its band is narrow: it ends at 3760 Hz, below 4800 Hz.",
        }
    ],
    "threshold": {"value": -0.5825, "source": "dev EER"},
    "timeline": {
        "kind": "trend",
        "window": 3.0,
        "threshold": {"value": 0.3, "source": "default"},
        "verdict": "FAKE",
        "segments": [{"start": 0.0, "end": 4.21, "confidence": 0.9571, "peak": 0.9702}],
    },
    "file_sha256": "7d4c6f5d3f0f3c1f8a4e3c52b7e6c6c0a6f3b8fbe0b9f5d54b0f3a7a4a9f0c11",
    "samples_sha256": "0c1de2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f",
    "detector_sha256": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3a94a8fe5ccb19ba61c4c0873",
}


class Prediction(BaseModel):
    """The verdict on a recording."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE]}}

    is_fake: bool = Field(description="Whether the score is not above the threshold.")
    confidence: float = Field(description="The larger of p_fake and 1 - p_fake.")
    prediction: Literal["REAL", "FAKE"] = Field(
        description="By the threshold alone; `verdict` says if it is to be trusted."
    )
    score: float = Field(description="Larger for bona fide speech.")
    p_fake: float = Field(description="Probability of spoof at even prior odds if calibrated, else a figure.")
    verdict: VERDICTS
    state: STATES
    calibrated: bool
    log10_lr_spoof: float | None = Field(None, description="Likelihood ratio, spoof against bona fide; if calibrated.")
    capped: bool | None = Field(None, description="Whether the ratio is limited to what the calibration set supports.")
    seconds: float
    scored_seconds: float
    domain: DOMAINS | None = Field(description="Null where the detector does not know its domain.")
    domain_percentile: float | None = Field(description="Share of dev that is nearer to the domain, in percent.")
    domain_misjudged: int | None = Field(description="Held-out recordings of this state that were judged wrongly.")
    domain_n: int | None = Field(description="All held-out recordings of this state.")
    cautions: list[str]
    reasons: list[Reason]
    threshold: Threshold
    timeline: Timeline | None = Field(None, description="If asked for.")
    file_sha256: str | None
    samples_sha256: str
    detector_sha256: str


class Batch(BaseModel):
    """For each file in order, its verdict, or the problem with it."""

    results: list[Prediction | dict[str, Any]]


class Spoofing(BaseModel):
    """The row of `deepfake predict`."""

    score: float
    p_fake: float
    verdict: VERDICTS
    calibrated: bool
    log10_lr_spoof: float | None = None
    capped: bool | None = None
    seconds: float
    scored_seconds: float
    domain: DOMAINS | None = Field(description="Null where the detector does not know its domain.")
    domain_percentile: float | None = Field(description="Share of dev that is nearer to the domain, in percent.")
    domain_misjudged: int | None = Field(description="Held-out recordings of this state that were judged wrongly.")
    domain_n: int | None = Field(description="All held-out recordings of this state.")
    cautions: list[str]


class Joint(BaseModel):
    """Speaker and spoofing together, at the priors and costs of ASVspoof 5."""

    llr: float
    threshold: float
    accepted: bool


class Comparison(BaseModel):
    """A voice against those enrolled. A match is no evidence against a clone."""

    speaker: str = Field(description="Who is most similar.")
    matches: bool
    words: str = Field(description="`matches NAME`, or `unknown speaker or a clone`.")
    score: float = Field(description="Cosine of the embeddings.")
    threshold: float
    threshold_source: str
    log10_lr_speaker: float
    speech_seconds: float
    scores: dict[str, float]
    spoofing: Spoofing
    sasv: Joint | None = Field(description="Null unless the detector is calibrated.")


class Health(BaseModel):
    status: Literal["ok"]
    model_loaded: bool
    device: str
    detector_sha256: str
    versions: dict[str, str]


class Ready(BaseModel):
    ready: Literal[True]


class Trained(BaseModel):
    """What the detector was trained on."""

    dataset: str | None
    n_bonafide: int | None
    n_spoof: int | None
    n_speakers: int | None
    attacks: list[str]


class Judged(BaseModel):
    """How a partition was judged. Rates are fractions; `ci` has the intervals of those that have one."""

    dataset: str | None
    partition: str | None
    n_bonafide: int | None
    n_spoof: int | None
    eer: float | None
    fpr: float | None = Field(description="Share of spoofs that pass at the threshold.")
    fnr: float | None = Field(description="Share of bona fide speech that is rejected at the threshold.")
    min_tdcf: float | None
    cllr: float | None
    min_cllr: float | None
    confidence: float | None = Field(description="Level of the intervals.")
    ci: dict[str, list[float | None]]


class Card(BaseModel):
    """What the detector is, what it was trained and judged on, and what that does not prove."""

    detector_sha256: str
    model: str
    features: str
    sample_rate: int
    clip_seconds: float
    threshold: Threshold
    calibration: dict[str, Any] | None
    imported: dict[str, Any] | None
    training: Trained
    dev: Judged | None
    evaluations: list[Judged]
    limits: list[str]


class StreamHeader(BaseModel):
    """The first message of a stream: how its samples are to be read."""

    model_config = ConfigDict(extra="forbid")

    sample_rate: int = Field(description="In hertz.")
    format: Literal["s16le", "f32le"] = Field("s16le", description="Of a sample; channels are interleaved.")
    channels: int = 1
    hop: float | None = Field(None, description="Seconds from one row to the next; half a clip without it.")
