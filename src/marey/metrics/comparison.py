"""Whether one set of predictions is better than another: the paired bootstrap.

Both are scored on the same samples. The mean of the differences has a confidence interval; one method *beats* the other
only if that excludes zero. Samples that are not independent, such as the frames of a sequence, are drawn together, as
clusters: the interval is too narrow otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from marey.core import InputError, ShapeError

Interval = Literal["bca", "percentile"]
Floats = npt.NDArray[np.float64]

DRAWS = 10_000
LEVEL = 0.95
_CHUNK = 1 << 21
"""Numbers drawn at once, which bounds the memory."""
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The mean of first - second over the samples that both know."""

    difference: float
    low: float
    high: float
    """Ends of the confidence interval."""
    level: float
    """Of confidence, 0..1."""
    first: float
    second: float
    """The means of the two over the same samples."""
    samples: int
    clusters: int
    left_out: int
    """Samples that one of the two does not know."""

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    interval: Interval = "bca",
    seed: int = 0,
) -> Comparison:
    """Compare two scores of the same samples.

    Whole clusters are drawn with replacement, as many as there are; each draw gives the mean of the differences over
    all samples drawn. `bca` corrects the percentiles for bias and skewness (Efron 1987, "Better bootstrap confidence
    intervals", with the acceleration of the jackknife over clusters); `percentile` takes them as they are.
    Takes time and random numbers for `draws` times the number of clusters: 10,000 draws of 2,000 take 0.2 s.

    Args:
        first: (N,) a number a sample; NaN = unknown.
        second: (N,) of the same samples in the same order.
        clusters: (N,) which samples belong together; None: each stands alone.
        level: of confidence.
        draws: how many.
        interval: `bca` or `percentile`.
        seed: of the random numbers; the same gives the same interval.

    Raises:
        ShapeError: the scores or clusters are not as many.
        InputError: a value is infinite, fewer than two clusters are known in both, or an argument is out of range.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ShapeError(f"scores: expected (N,) of both, got {ours.shape} and {theirs.shape}; pair them by sample")
    if clusters is not None and len(clusters) != len(ours):
        raise ShapeError(f"clusters: expected one a sample, {len(ours)}, got {len(clusters)}")
    if not 0 < level < 1 or draws < 1 or interval not in get_args(Interval):
        raise InputError(f"expected a level in 0..1, draws and a known interval, got {level}, {draws}, '{interval}'")
    if infinite := np.flatnonzero(np.isinf(ours) | np.isinf(theirs)).tolist():
        raise InputError(f"scores: {len(infinite)} are infinite, rows {infinite[:5]}; there is no mean of them")
    known = ~(np.isnan(ours) | np.isnan(theirs))
    differences = (ours - theirs)[known]
    groups = np.arange(known.sum()) if clusters is None else np.asarray(clusters)[known]
    sums, counts = _by_cluster(differences, groups)
    if len(sums) < 2:
        raise InputError(
            f"scores: {len(sums)} clusters of samples are known in both, an interval needs 2 or more; "
            "cluster by something finer, or compare on more sequences"
        )
    low, high = _interval(sums, counts, level, draws, interval, np.random.default_rng(seed))
    return Comparison(
        difference=float(differences.mean()),
        low=low,
        high=high,
        level=level,
        first=float(ours[known].mean()),
        second=float(theirs[known].mean()),
        samples=len(differences),
        clusters=len(sums),
        left_out=int((~known).sum()),
    )


def _by_cluster(differences: Floats, groups: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """(C,) sums and (C,) numbers of the differences of each cluster."""
    place = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sums, counts = np.bincount(place, weights=differences), np.bincount(place)
    return sums.astype(np.float64), counts.astype(np.float64)


def _interval(
    sums: Floats, counts: Floats, level: float, draws: int, interval: Interval, rng: np.random.Generator
) -> tuple[float, float]:
    means = _resampled(sums, counts, draws, rng)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if interval == "bca":
        tails = _corrected(tails, means, sums, counts)
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def _resampled(sums: Floats, counts: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws,) means, each over as many clusters drawn with replacement."""
    number = len(sums)
    step = max(1, _CHUNK // number)
    means = np.empty(draws)
    for start in range(0, draws, step):
        chosen = rng.integers(number, size=(min(step, draws - start), number))
        means[start : start + step] = sums[chosen].sum(1) / counts[chosen].sum(1)
    return means


def _corrected(tails: Floats, means: Floats, sums: Floats, counts: Floats) -> Floats:
    """Efron's probabilities in place of `tails`: his z0 is the bias of the draws, his a their acceleration."""
    center = sums.sum() / counts.sum()
    # a draw that equals the mean lies half below it, so that equal differences give no bias
    below = float(((means < center) + 0.5 * (means == center)).mean())
    least = 0.5 / len(means)
    bias = _NORMAL.inv_cdf(min(max(below, least), 1 - least))
    without = (sums.sum() - sums) / (counts.sum() - counts)
    off = without.mean() - without
    spread = float((off**2).sum())
    acceleration = float((off**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = np.array([bias + _NORMAL.inv_cdf(tail) for tail in tails])
    return np.array([_NORMAL.cdf(bias + z / (1 - acceleration * z)) for z in shifted])
