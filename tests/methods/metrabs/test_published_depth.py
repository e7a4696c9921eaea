"""MINPACK's search for one unknown, against MINPACK."""

import numpy as np
import pytest
import torch

from marey.methods.metrabs.published_depth import minimise

optimize = pytest.importorskip("scipy.optimize")


def curves(count=30):
    """Exponentials through noisy values, and slopes that are wrong by up to a half."""
    generator = np.random.default_rng(0)
    rates, values = generator.uniform(-0.5, 0.5, (count, 6)), generator.uniform(0, 3, (count, 6))
    return rates, values, generator.uniform(0.7, 1.5, (count, 6))


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("start", [0.01, 2.0, 6.0])
def test_minimise__ends_where_minpack_does(start, wrong):
    rates, values, errors = curves()
    factor = errors if wrong else np.ones_like(errors)
    rate, value, slope = (torch.from_numpy(part) for part in (rates, values, factor * rates))

    def evaluate(at):
        grown = (rate * at[:, None]).exp()
        return grown - value, slope * grown

    found = minimise(evaluate, torch.full((len(rates),), start, dtype=torch.float64))
    for each in range(len(rates)):
        expected = optimize.least_squares(
            lambda at, each=each: np.exp(rates[each] * at) - values[each],
            jac=lambda at, each=each: (factor[each] * rates[each] * np.exp(rates[each] * at))[:, None],
            x0=start,
            x_scale=1.0,
            method="lm",
        )
        assert found[each].item() == pytest.approx(expected.x[0], abs=1e-5)
