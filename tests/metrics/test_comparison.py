"""The paired bootstrap: against SciPy, a slow twin, and how often its interval holds the truth."""

import numpy as np
import pytest
import scipy.stats

from marey.core import InputError, ShapeError
from marey.metrics.comparison import paired_bootstrap


def scores(count=200, *, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.gamma(2.0, 20.0, count)
    return hard + rng.normal(0, 3, count) + shift, hard + rng.normal(0, 3, count)


def test_bootstrap__means_and_difference():
    first, second = np.array([3.0, 5.0, 10.0]), np.array([1.0, 2.0, 3.0])
    found = paired_bootstrap(first, second)
    assert (found.first, found.second, found.difference) == (6.0, 2.0, 4.0)
    assert (found.samples, found.clusters, found.left_out, found.level) == (3, 3, 0, 0.95)
    assert 2.0 <= found.low <= 4.0 <= found.high <= 7.0


@pytest.mark.parametrize("interval", ["bca", "percentile"])
def test_bootstrap__agrees_with_scipy(interval):
    first, second = scores()
    first = first + np.random.default_rng(1).exponential(8.0, 200)  # skewed, so that the corrections matter
    ours = paired_bootstrap(first, second, interval=interval, draws=100_000)
    method = "BCa" if interval == "bca" else "percentile"
    theirs = scipy.stats.bootstrap(
        (first - second,), np.mean, method=method, n_resamples=100_000, batch=1000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * (theirs.high - theirs.low))


def test_bootstrap__slow_twin_of_the_clustered_percentiles():
    first, second = scores(40)
    clusters = np.repeat(["a", "b", "c", "d", "e"], [3, 12, 9, 1, 15])
    found = paired_bootstrap(first, second, clusters=clusters, interval="percentile", draws=300, seed=7)
    rng, means = np.random.default_rng(7), []
    for row in rng.integers(5, size=(300, 5)):
        drawn = [value for place in row for value in (first - second)[clusters == "abcde"[place]]]
        means.append(np.mean(drawn))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-12)


def test_bootstrap__is_the_same_in_pieces_and_by_the_seed(monkeypatch):
    first, second = scores()
    whole = paired_bootstrap(first, second)
    monkeypatch.setattr("marey.metrics.comparison._CHUNK", 1000)
    assert paired_bootstrap(first, second) == whole
    assert paired_bootstrap(first, second, seed=1) != whole


def test_bootstrap__exchanged__is_the_other_way_round():
    first, second = scores(shift=2.0)
    there = paired_bootstrap(first, second, interval="percentile")
    back = paired_bootstrap(second, first, interval="percentile")
    assert (back.low, back.high, back.difference) == pytest.approx((-there.high, -there.low, -there.difference))
    assert there.decided
    assert back.decided


def test_bootstrap__equal_scores__are_not_decided():
    first, _ = scores()
    found = paired_bootstrap(first, first)
    assert (found.difference, found.low, found.high, found.decided) == (0.0, 0.0, 0.0, False)


def test_bootstrap__a_constant_difference__has_no_width():
    _, second = scores()
    found = paired_bootstrap(np.round(second) + 2, np.round(second))
    assert (found.low, found.high, found.decided) == (2.0, 2.0, True)


def test_bootstrap__unknown_on_either_side__is_left_out_of_both():
    first, second = np.array([1.0, np.nan, 3.0, 9.0, 2.0]), np.array([0.0, 5.0, np.nan, 7.0, 2.0])
    found = paired_bootstrap(first, second)
    assert (found.samples, found.left_out, found.difference, found.first) == (3, 2, 1.0, 4.0)


@pytest.mark.parametrize("interval", ["bca", "percentile"])
def test_bootstrap__interval_holds_the_truth_as_often_as_it_says(interval):
    rng, hits, runs = np.random.default_rng(3), 0, 400
    for run in range(runs):
        difference = rng.gamma(2.0, 1.0, 60)  # its mean is 2
        found = paired_bootstrap(difference, np.zeros(60), interval=interval, draws=1000, seed=run)
        hits += found.low <= 2.0 <= found.high
    assert (
        0.91 <= hits / runs <= 0.975
    )  # 95 % with a binomial deviation of 1.1 %, a little less for small skewed samples


def test_bootstrap__of_dependent_samples__needs_clusters():
    rng, runs, hits = np.random.default_rng(4), 300, {True: 0, False: 0}
    clusters = np.repeat(np.arange(40), 10)
    for run in range(runs):
        difference = rng.normal(0, 1, 40)[clusters] + rng.normal(0, 0.5, 400)
        for known in hits:
            found = paired_bootstrap(
                difference, np.zeros(400), clusters=clusters if known else None, draws=600, seed=run
            )
            hits[known] += found.low <= 0.0 <= found.high
    assert 0.90 <= hits[True] / runs <= 0.98
    assert hits[False] / runs < 0.65


@pytest.mark.parametrize(
    ("first", "second", "known", "error", "message"),
    [
        ([1.0, 2.0], [1.0], {}, ShapeError, r"expected \(N,\) of both, got \(2,\) and \(1,\)"),
        ([[1.0]], [[1.0]], {}, ShapeError, r"got \(1, 1\) and \(1, 1\)"),
        ([1.0, 2.0], [1.0, 2.0], {"clusters": ["a"]}, ShapeError, r"clusters: expected one a sample, 2, got 1"),
        ([1.0, np.inf], [1.0, 2.0], {}, InputError, r"1 are infinite, rows \[1\]"),
        ([1.0, np.nan], [1.0, 2.0], {}, InputError, r"1 clusters of samples are known in both"),
        ([1.0, 2.0], [1.0, 2.0], {"clusters": ["a", "a"]}, InputError, r"1 clusters .* needs 2 or more"),
        ([], [], {}, InputError, r"0 clusters of samples"),
        ([1.0, 2.0], [1.0, 2.0], {"level": 1.0}, InputError, r"level in 0\.\.1"),
        ([1.0, 2.0], [1.0, 2.0], {"draws": 0}, InputError, r"draws"),
        ([1.0, 2.0], [1.0, 2.0], {"interval": "t"}, InputError, r"'t'"),
    ],
)
def test_bootstrap__what_cannot_be_compared(first, second, known, error, message):
    with pytest.raises(error, match=message):
        paired_bootstrap(first, second, **known)
