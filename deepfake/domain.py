"""How far a recording lies from the speech that a detector was trained on, and what may be said of it there.

A detector answers whatever it is given, and far from its training it answers with the same confidence and at random.
Distances of embeddings from class-conditional Gaussians: Lee, Lee, Lee and Shin (NeurIPS 2018), "A simple unified
framework for detecting out-of-distribution samples and adversarial attacks"; of the covariance an estimate that holds
for few clips of many dimensions: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
matrices", Journal of Multivariate Analysis 88:365. Scores of confidence were only moderate on other databases (Wang and
Yamagishi 2021, "Estimating the confidence of speech spoofing countermeasure"): a distance is a hint and no proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

IN, EDGE, OUTSIDE = "in", "edge", "outside"
EDGE_PERCENTILE, OUTSIDE_PERCENTILE = 95.0, 99.0  # of the distances of dev
MOST_COMPONENTS = 64
N_BANDS = 64
MOST = 10**6  # dimensions or clips that settings may name
FEWEST = 20  # clips of each class: of fewer, the 95th percentile is the greatest
HALF_WINDOW_SECONDS = 0.016
SOURCES = ("embedding", "spectrum")
STATES = (IN, EDGE, OUTSIDE)
RIDGE = 1e-6  # of the variance of a standardised dimension

Floats = NDArray[np.float64]


class Place(NamedTuple):
    """Where a recording lies.

    Attributes:
        state: `in`, `edge` or `outside`.
        distance: 1 is what one in twenty clips of dev exceed by the network's embedding, and by the spectrum.
        percentile: Share of the clips of dev that lie nearer, in percent.
    """

    state: str
    distance: float
    percentile: float


class Misjudged(NamedTuple):
    """What was judged wrongly of held-out recordings of one state.

    Attributes:
        wrong: Those on the wrong side of the detector's threshold.
        n: All of them.
    """

    wrong: int
    n: int


def misjudged(known: Mapping[str, Any], state: str) -> Misjudged | None:
    """What was judged wrongly of recordings of a state; None where that was not measured.

    Args:
        known: A detector's setting `domain`.
        state: Of `STATES`.
    """
    return Misjudged(*known["misjudged"][state]) if "misjudged" in known else None


class Gaussians(nn.Module):
    """One Gaussian for each class on principal components, and the Mahalanobis distance from the nearer one.

    Args:
        n_dimensions: Of what is described.
        n_components: Principal components of it.

    Shape:
        `[B, n_dimensions]` -> `[B]`
    """

    centre: Tensor
    projection: Tensor
    means: Tensor
    whitening: Tensor

    def __init__(self, n_dimensions: int, n_components: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(n_dimensions))
        self.register_buffer("projection", torch.zeros(n_dimensions, n_components))  # divides by deviations as well
        self.register_buffer("means", torch.zeros(2, n_components))  # the first axis is the class
        self.register_buffer("whitening", torch.zeros(2, n_components, n_components))

    def forward(self, described: Tensor) -> Tensor:
        components = (described.float() - self.centre) @ self.projection  # [B, K]
        white = (components - self.means[:, None]) @ self.whitening  # [2, B, K]
        return white.norm(dim=2).amin(dim=0)

    @classmethod
    def fit(cls, described: Floats, labels: NDArray[np.int64]) -> Gaussians:
        """Fit `[N, D]` with labels 0 and 1 `[N]`, of each at least two."""
        centre, deviation = described.mean(axis=0), described.std(axis=0)
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        standardised = (described - centre) * scale
        axes = np.linalg.svd(standardised, full_matrices=False)[2][: min(MOST_COMPONENTS, len(described) - 1)]
        found = cls(described.shape[1], len(axes))
        components = standardised @ axes.T
        means, whitening = zip(*(_gaussian(components[labels == label]) for label in (0, 1)), strict=True)
        values = {
            "centre": centre,
            "projection": scale[:, None] * axes.T,
            "means": np.stack(means),
            "whitening": np.stack(whitening),
        }
        found.load_state_dict({name: torch.from_numpy(value).float() for name, value in values.items()})
        return found


def _gaussian(components: Floats) -> tuple[Floats, Floats]:
    """Mean `[K]`, and `[K, K]` by which what is centred is multiplied to have unit covariance, of `[N, K]`."""
    mean = components.mean(axis=0)
    covariance = shrunk_covariance(components - mean) + RIDGE * np.eye(len(mean))
    return mean, np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float64)


def shrunk_covariance(centred: Floats) -> Floats:
    """Covariance of centred `[N, D]`, moved towards a multiple of the identity (Ledoit and Wolf 2004, section 3)."""
    n, n_dimensions = centred.shape
    covariance = centred.T @ centred / n
    mean_variance = np.trace(covariance) / n_dimensions
    target = mean_variance * np.eye(n_dimensions)
    distance = np.sum((covariance - target) ** 2)
    if distance == 0:
        return covariance
    squares = centred**2
    noise = (np.sum(squares.T @ squares) / n - np.sum(covariance**2)) / n
    share = min(1.0, noise / distance)
    return (1 - share) * covariance + share * target


def band_levels(waveform: Tensor, sample_rate: int) -> Tensor:
    """Mean over time of the level of linear bands relative to the clip's, natural log, `[B, T]` -> `[B, N_BANDS]`.

    What a recording's way through microphones, rooms, filters and codecs leaves, whatever is said in it.
    """
    half = round(HALF_WINDOW_SECONDS * sample_rate)
    padded = F.pad(waveform.float(), (0, max(0, 2 * half - waveform.shape[1])))
    window = torch.hann_window(2 * half, device=waveform.device)
    spectrum = torch.stft(padded, 2 * half, half, window=window, center=False, return_complex=True)[:, 1:]
    power = F.adaptive_avg_pool1d(spectrum.abs().square().transpose(1, 2), N_BANDS)  # [B, L, N_BANDS]
    share = power / power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    return (share + 1e-10).log().mean(dim=1)


class Domain(nn.Module):
    """The distance of a clip from the speech that a detector was trained on.

    The larger of two: of the network's embedding, what the head makes logits of, and of `band_levels`, each in units
    of what one in twenty clips of dev exceed. The first sees what moves the network, the second the way that the
    recording came, which an embedding learnt to tell two classes apart may leave out.

    Args:
        embedding: Dimensions and components of the embedding's Gaussians.
        spectrum: The same of the band levels.
        sample_rate: In hertz.

    Shape:
        waveform `[B, T]`, embedding `[B, D]` -> distance `[B]`
    """

    percentiles: Tensor

    def __init__(self, *, embedding: tuple[int, int], spectrum: tuple[int, int], sample_rate: int) -> None:
        super().__init__()
        self.embedding, self.spectrum = Gaussians(*embedding), Gaussians(*spectrum)
        self.sample_rate = sample_rate
        self.register_buffer("percentiles", torch.zeros(101))  # of the distances of dev, 0 to 100

    def forward(self, waveform: Tensor, embedding: Tensor) -> Tensor:
        return torch.maximum(self.embedding(embedding), self.spectrum(band_levels(waveform, self.sample_rate)))

    @property
    def sizes(self) -> dict[str, list[int]]:
        """The arguments of the same names, as a detector's settings have them."""
        return {name: list(found.projection.shape) for name, found in zip(SOURCES, self._gaussians, strict=True)}

    @property
    def _gaussians(self) -> tuple[Gaussians, Gaussians]:
        """In the order of `SOURCES`."""
        return self.embedding, self.spectrum

    def place(self, distance: float) -> Place:
        """Where a recording of this distance lies: at the edge beyond the 95th percentile of dev, outside the 99th."""
        percentiles = self.percentiles.double().cpu().numpy()
        edge, outside = percentiles[[round(EDGE_PERCENTILE), round(OUTSIDE_PERCENTILE)]]
        state = OUTSIDE if distance > outside else EDGE if distance > edge else IN
        return Place(state, distance, float(np.interp(distance, percentiles, np.arange(101))))

    @classmethod
    def fit(cls, train: Described, dev: Described, sample_rate: int) -> tuple[Domain, Floats]:
        """Gaussians of training clips, and the distances `[N]` of dev clips, which had no part in them."""
        gaussians = _fitted(train)
        return cls._of(gaussians, _distances(gaussians, dev), sample_rate)

    @classmethod
    def cross_fit(cls, clips: Described, folds: Sequence[NDArray[np.int64]], sample_rate: int) -> tuple[Domain, Floats]:
        """Gaussians of clips that served no training, and their distances `[N]` from those of the other folds.

        Args:
            clips: The clips.
            folds: Indices of each fold, each clip in one.
            sample_rate: In hertz.
        """
        held_out = np.zeros((len(SOURCES), len(clips.labels)))
        for fold in folds:
            others = clips.at(np.setdiff1d(np.arange(len(clips.labels)), fold))
            held_out[:, fold] = _distances(_fitted(others), clips.at(fold))
        return cls._of(_fitted(clips), held_out, sample_rate)

    @classmethod
    def _of(cls, gaussians: Mapping[str, Gaussians], distances: Floats, sample_rate: int) -> tuple[Domain, Floats]:
        """A domain whose unit is what one in twenty clips exceed, by their distances of each source `[2, N]`.

        With their distances in this unit `[N]`.
        """
        sizes: dict[str, Any] = {source: tuple(found.projection.shape) for source, found in gaussians.items()}
        domain = cls(**sizes, sample_rate=sample_rate)
        units = np.maximum(np.percentile(distances, EDGE_PERCENTILE, axis=1), 1e-6)
        for (source, found), unit in zip(gaussians.items(), units, strict=True):
            found.whitening /= unit
            domain.get_submodule(source).load_state_dict(found.state_dict())
        of_all = (distances / units[:, None]).max(axis=0)
        domain.percentiles.copy_(torch.from_numpy(np.percentile(of_all, np.arange(101))))
        return domain, of_all


def _fitted(clips: Described) -> dict[str, Gaussians]:
    return {source: Gaussians.fit(getattr(clips, source), clips.labels) for source in SOURCES}


def _distances(gaussians: Mapping[str, Gaussians], clips: Described) -> Floats:
    """Of each source, `[2, N]`."""
    described = [torch.from_numpy(getattr(clips, source)) for source in SOURCES]
    found = [gaussians[source](one) for source, one in zip(SOURCES, described, strict=True)]
    return torch.stack(found).double().numpy()


class Described(NamedTuple):
    """Clips as the domain sees them.

    Attributes:
        embedding: `[N, D]`.
        spectrum: `[N, N_BANDS]`.
        labels: 1 for bona fide, 0 for spoof `[N]`.
        scores: Larger for bona fide `[N]`.
    """

    embedding: Floats
    spectrum: Floats
    labels: NDArray[np.int64]
    scores: Floats

    def at(self, chosen: NDArray[Any]) -> Described:
        """Those of some indices, or of a mask."""
        return Described(self.embedding[chosen], self.spectrum[chosen], self.labels[chosen], self.scores[chosen])

    @property
    def enough(self) -> bool:
        """Whether there are clips of both classes for Gaussians."""
        return bool(np.bincount(self.labels, minlength=2).min() >= FEWEST)


def is_domain(found: Any) -> bool:
    """Whether settings of a detector's file describe a domain."""
    if not isinstance(found, dict) or not isinstance(found.get("source"), str):
        return False
    numbers = [found.get("n_train"), found.get("n_dev")]
    for source in SOURCES:
        size = found.get(source)
        if not isinstance(size, list) or len(size) != 2:
            return False
        numbers += size
    return all(type(n) is int and 0 < n <= MOST for n in numbers) and _is_misjudged(found.get("misjudged"))


def _is_misjudged(found: Any) -> bool:
    """Whether it counts, for each state, what is wrong and how many there are; a detector may know nothing of it."""
    if found is None:
        return True
    if not isinstance(found, dict) or {*found} != {*STATES}:
        return False
    pairs = [pair for pair in found.values() if isinstance(pair, list) and len(pair) == 2]
    counted = [all(type(n) is int for n in pair) and 0 <= pair[0] <= pair[1] <= MOST for pair in pairs]
    return len(counted) == len(STATES) and all(counted)
