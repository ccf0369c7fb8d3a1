"""Bootstrap intervals of the ROC metrics, for a million trials in seconds.

Drawing trials one by one costs N draws a replicate. What a metric needs of a replicate is its ROC, and of that only a
little: so the sorted trials are cut into about 2,000 cells, the number of trials that falls into each is drawn (under
the bootstrap they are multinomial, independently for either class), and the ROC is known at the cells' borders. Cells
that can still matter are halved, their counts divided by a binomial draw, and the halves halved again: those between
whose borders the two error rates cross, for the EER, and those whose lower bound (misses at the start, false alarms at
the end) lies below the best cost found so far, for the costs. Since a multinomial may be drawn level by level, this is
**exactly the distribution of the stratified bootstrap**, not an approximation, and the metrics of a replicate are all
those of the same resample.

Where the EER alone is asked for, as of each attack (`eer_interval`), the halving begins with one cell that holds all
trials, and a replicate draws no more than it needs on the way down to its crossing, 2 log2 N numbers. That is cheaper
than taking the attacks out of the pooled resample, and keeps what the interval claims: an attack has as many spoofs in
each replicate as in the data. In the pooled resample that number is random, and often 0 for a rare attack; a pooled
resample put together from the attacks would have too narrow an interval, since the attacks' shares would never move.

The one exception is the AUC: pairs of trials within one cell enter with their mean given the counts. With no more
distinct scores than cells there are no such pairs but ties, and it is exact; else a replicate's AUC is off by less than
sum_c B_c S_c / (N_b N_s), the share of pairs that lie in one cell, about 1 / 2,000 of all at the very most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake.errors import InputError
from deepfake.metrics.eer import crossing
from deepfake.metrics.ranked import Ranked, Weights, costs
from deepfake.metrics.resampling import Interval, Resampler, check, percentiles
from deepfake.metrics.trials import Floats, Labels, Scored, Trials

CELLS = 2048
BATCH = 125  # replicates that are in memory at a time


def intervals(
    scores: Scored, labels: Labels = None, *, n: int = 1000, confidence: float = 0.95, **resampling: Any
) -> dict[str, Interval]:
    """Percentile intervals (Efron 1979) of the EER and the metrics beside it.

    Args:
        scores: Scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        n: Number of replicates.
        confidence: Share of the replicates that an interval covers.
        resampling: `tdcf`, `threshold`, `seed` and `clusters` of `replicates`.

    Returns:
        By metric the lower and the upper end: `eer` (tie-aware), `auc`, `min_dcf` (normalised detection cost of
        ASVspoof 5), the names in `tdcf`, and with a threshold `fpr` (spoof accepted) and `fnr` (bona fide rejected).

    Raises:
        InputError: A threshold that is not finite, weights that cannot be used, too few replicates, one trial or
            cluster alone of its kind; see also `deepfake.metrics.eer.eer`.

    >>> intervals([3, 2, 1, 0], [1, 1, 0, 0], n=100)["eer"]
    (0.0, 0.0)
    """
    check(n, confidence)
    draws = replicates(scores, labels, n=n, **resampling)
    return dict(zip(draws, percentiles(np.column_stack(list(draws.values())), confidence), strict=True))


def eer_interval(
    scores: Scored, labels: Labels = None, *, n: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of the EER alone, of the same distribution as in `intervals`, at a seventieth of the cost.

    Args:
        scores: Scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        n: Number of replicates.
        confidence: Share of the replicates that the interval covers.
        seed: Of the random draws.

    Raises:
        InputError: See `intervals`.

    >>> eer_interval([3, 2, 1, 0], [1, 1, 0, 0])
    (0.0, 0.0)
    """
    check(n, confidence)
    drawn = _Resamples(Trials.of(scores, labels), {}).eers(np.random.default_rng(seed), n)
    return percentiles(drawn[:, None], confidence)[0]


def replicates(
    scores: Scored,
    labels: Labels = None,
    *,
    tdcf: Mapping[str, Weights] | None = None,
    threshold: float | None = None,
    n: int = 1000,
    seed: int = 0,
    clusters: Sequence[str] | NDArray | None = None,
) -> dict[str, Floats]:
    """The values that `intervals` takes its percentiles from, `[n]` by metric.

    Args:
        scores: Scores `[N]`, larger = more bona fide, or trials.
        labels: Labels `[N]`, 1 = bona fide, 0 = spoof; not beside trials.
        tdcf: Weights c0, c1, c2 of costs by name: `(c0 + c1 P_miss + c2 P_fa) / (c0 + min(c1, c2))`, as in
            `deepfake.metrics.tdcf.min_tdcf_of`. The operating point of the ASV system stays as it is.
        threshold: Of the decision score > threshold, for `fpr` and `fnr`; stays as it is.
        n: Number of replicates.
        seed: Of the random draws.
        clusters: `[N]` names, of which trials are drawn together, see `deepfake.metrics.resampling`; each replicate
            then takes time in proportion to N.

    >>> replicates([3, 2, 1, 0], [1, 1, 0, 0], n=3)["auc"]
    array([1., 1., 1.])
    """
    if threshold is not None and not np.isfinite(threshold):
        raise InputError(f"the threshold is {threshold}: a finite number was expected")
    trials, rng, weights = Trials.of(scores, labels), np.random.default_rng(seed), costs(tdcf)
    if clusters is not None:
        ranked = Ranked(trials, costs=weights, threshold=threshold)
        drawn = Resampler(trials.bonafide, clusters).counts(rng, n)
        values = np.array([ranked.metrics(counts) for counts in drawn])  # [n, M]
        return dict(zip(ranked.names, values.T, strict=True))
    cells = _Cells(trials, weights, threshold)
    batches = [cells.draw(rng, min(BATCH, n - start)) for start in range(0, n, BATCH)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


class _Resamples:
    """Resamples of trials, drawn from coarse to fine, only as far as their metrics need it.

    A node is a replicate's trials with distinct scores `first` to `last - 1`. Several are `[7, K]`: rows of replicate,
    first, last, and the bona fide and spoof rejected at the start and at the end.
    """

    def __init__(self, trials: Trials, weights: Mapping[str, Weights]) -> None:
        self.n_b, self.n_s, self.weights = trials.n_bonafide, trials.n_spoof, weights
        if (fewest := min(self.n_b, self.n_s)) < 2:
            raise InputError(f"got {fewest} trial of a class: drawn again it stays as it is; two are needed at least")
        self.b, self.s = trials.rejected  # [U + 1], bona fide and spoof at or below each distinct score

    def eers(self, rng: np.random.Generator, n: int) -> Floats:
        """EERs of n replicates `[n]`."""
        values = {"eer": np.full(n, np.nan)}
        ends = [np.full(n, x) for x in (0, len(self.b) - 1, 0, 0, self.n_b, self.n_s)]
        self._search(rng, np.stack([np.arange(n), *ends]), values)
        return values["eer"]

    def _search(self, rng: np.random.Generator, nodes: NDArray[np.int64], values: dict[str, Floats]) -> None:
        """Set the EERs, and lower the costs to their minima, by halving those of the nodes that can matter."""
        while len((nodes := self._open(nodes, values))[0]):
            nodes = self._halve(rng, nodes, values)

    def _rates(self, b: NDArray[np.int64], s: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """False rejection and false acceptance rate where b bona fide and s spoof trials are rejected."""
        return b / self.n_b, (self.n_s - s) / self.n_s

    def _open(self, nodes: NDArray[np.int64], values: dict[str, Floats]) -> NDArray[np.int64]:
        """Those nodes that have to be halved. The EER is set where the crossing is down to one distinct score."""
        row, first, last, b0, s0, b1, s1 = nodes
        (frr0, far0), (frr1, far1) = self._rates(b0, s0), self._rates(b1, s1)
        wanted = crosses = (frr0 < far0) & (frr1 >= far1)
        for name, (c0, c1, c2) in self.weights.items():
            wanted = wanted | (c0 + c1 * frr0 + c2 * far1 < values[name][row])
        for k in np.flatnonzero(crosses & (last - first == 1)):
            values["eer"][row[k]] = crossing(frr0[k], far0[k], frr1[k], far1[k])
        return nodes[:, wanted & (last - first > 1)]

    def _halve(self, rng: np.random.Generator, nodes: NDArray[np.int64], values: dict[str, Floats]) -> NDArray:
        """Both halves of each node, after their common border has been held against the best costs."""
        row, first, last, b0, s0, b1, s1 = nodes
        middle = (first + last) // 2
        b, s = (
            start + rng.binomial(end - start, (x[middle] - x[first]) / np.maximum(x[last] - x[first], 1))
            for x, start, end in ((self.b, b0, b1), (self.s, s0, s1))
        )
        frr, far = self._rates(b, s)
        for name, (c0, c1, c2) in self.weights.items():
            np.minimum.at(values[name], row, c0 + c1 * frr + c2 * far)
        halves = (row, row), (first, middle), (middle, last), (b0, b), (s0, s), (b, b1), (s, s1)
        return np.stack([np.concatenate(pair) for pair in halves])


class _Cells(_Resamples):
    """Those of every metric: the distinct scores are first cut into cells of about equal shares of both classes."""

    def __init__(self, trials: Trials, weights: Mapping[str, Weights], threshold: float | None) -> None:
        super().__init__(trials, weights)
        self.rejected = None if threshold is None else int(np.searchsorted(trials.distinct, threshold, side="right"))
        share = np.floor((self.b / self.n_b + self.s / self.n_s) * (CELLS / 2))
        few = len(share) <= CELLS + 1  # then each distinct score is a cell
        ends = np.arange(len(share)) if few else np.flatnonzero(np.append(share[1:] > share[:-1], True))
        self.edges = np.union1d(ends, [0] if self.rejected is None else [0, self.rejected])  # [C + 1]
        self.auc_within = self._auc_within()

    def _auc_within(self) -> Floats:
        """AUC of each cell's own trials `[C]`, one half where a class is missing."""
        pairs = np.diff(self.b) * (self.s[1:] + self.s[:-1]) / 2  # each bona fide trial's spoof below, ties one half
        start, end = self.edges[:-1], self.edges[1:]
        won = np.add.reduceat(pairs, start) - (n_b := self.b[end] - self.b[start]) * self.s[start]
        n_pairs = n_b * (self.s[end] - self.s[start])
        return np.where(n_pairs > 0, won / np.maximum(n_pairs, 1), 0.5)

    def draw(self, rng: np.random.Generator, n: int) -> dict[str, Floats]:
        """Metrics of n replicates, `[n]` each."""
        in_b, in_s = self._multinomial(rng, self.b, n), self._multinomial(rng, self.s, n)  # [n, C]
        b, s = (np.concatenate([np.zeros((n, 1), int), np.cumsum(x, axis=1)], axis=1) for x in (in_b, in_s))
        frr, far = self._rates(b, s)  # [n, C + 1]
        values = {
            "eer": np.full(n, np.nan),
            "auc": np.sum(in_b * (s[:, :-1] + self.auc_within * in_s), axis=1) / (self.n_b * self.n_s),
        }
        values |= {name: np.min(c0 + c1 * frr + c2 * far, axis=1) for name, (c0, c1, c2) in self.weights.items()}
        if self.rejected is not None:
            at = int(np.searchsorted(self.edges, self.rejected))
            values |= {"fpr": far[:, at].copy(), "fnr": frr[:, at].copy()}
        row, cell = np.indices(in_b.shape).reshape(2, -1)
        nodes = [row, self.edges[cell], self.edges[cell + 1]]
        nodes += [x.reshape(-1) for x in (b[:, :-1], s[:, :-1], b[:, 1:], s[:, 1:])]
        self._search(rng, np.stack(nodes), values)
        return values

    def _multinomial(self, rng: np.random.Generator, cumulated: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Trials of one class in each cell `[n, C]`."""
        inside = np.diff(cumulated[self.edges])
        drawn = np.zeros((n, len(inside)), dtype=np.int64)
        some = inside > 0  # so that the last one, which takes what rounding leaves over, can be drawn
        drawn[:, some] = rng.multinomial(cumulated[-1], inside[some] / cumulated[-1], size=n)
        return drawn
