import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from marey.detect.assignment import assign


def value(gain, columns):
    rows = np.flatnonzero(columns >= 0)
    return gain[rows, columns[rows]].sum()


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (2, 5), (5, 2), (7, 6)])
def test_assign__same_sum_as_scipy(batch, rows, columns):
    gain = torch.randn(*batch, rows, columns, generator=torch.Generator().manual_seed(rows * 10 + columns)).double()
    found = assign(gain)
    assert found.shape == (*batch, rows)
    for matrix, pairs in zip(gain.reshape(-1, rows, columns).numpy(), found.reshape(-1, rows).numpy(), strict=True):
        used = pairs[pairs >= 0]
        assert len(set(used)) == len(used)
        expected = linear_sum_assignment(np.maximum(matrix, 0), maximize=True)
        assert value(matrix, pairs) == pytest.approx(np.maximum(matrix, 0)[expected].sum())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_assign__disputed_columns(rows, columns, seed):
    """Integer gains make ties and disputes the rule."""
    gain = np.random.default_rng(seed).integers(-1, 4, (rows, columns)).astype(float)
    pairs = assign(torch.from_numpy(gain)).numpy()
    expected = linear_sum_assignment(np.maximum(gain, 0), maximize=True)
    assert value(gain, pairs) == pytest.approx(np.maximum(gain, 0)[expected].sum())
    assert all(gain[row, column] > 0 for row, column in enumerate(pairs) if column >= 0)


def test_assign__nothing_to_gain():
    assert assign(torch.tensor([[-1.0, 0.0], [torch.nan, -torch.inf]])).tolist() == [-1, -1]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_assign__empty(shape):
    found = assign(torch.ones(shape))
    assert found.shape == shape[:-1]
    assert (found == -1).all()


def test_assign__prefers_the_sum_to_the_best_pair():
    assert assign(torch.tensor([[10.0, 9.0], [9.0, 1.0]])).tolist() == [1, 0]
