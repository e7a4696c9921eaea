"""The formula for ordinary matrices beside a decomposition."""

import pytest
import roma
import torch

from marey.geometry.closest_rotation import quick_rotation
from synthetic import some_points


def columns_of(matrix):
    return tuple(column.unbind(-1) for column in matrix.unbind(-1))


def matrix_of(columns):
    return torch.stack([torch.stack(column, -1) for column in columns], -1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-13)])
def test_quick_rotation__equals_the_decomposition_where_trusted(dtype, tolerance):
    matrix = some_points(5000, 3, seed=3).to(dtype) * torch.logspace(-6, 6, 5000, dtype=dtype)[:, None, None]
    rotation, trusted = quick_rotation(columns_of(matrix))
    assert trusted.double().mean() > 0.98
    error = (matrix_of(rotation).double() - roma.special_procrustes(matrix.double())).abs().amax((-1, -2))
    assert error[trusted].max() < tolerance


def test_quick_rotation__does_not_trust_what_is_undetermined():
    flat = torch.diag_embed(torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, -1], [1, 0.5, -0.5], [1, 1e-3, 1e-3]]))
    holes = torch.full((1, 3, 3), torch.nan)
    _, trusted = quick_rotation(columns_of(torch.cat((flat, holes)).double()))
    assert not trusted.any()
