"""Projection matrices taken apart: the numbers that they were made of."""

import pytest
import torch

from marey.geometry.projection_matrices import pinhole_parts

INTRINSICS = [
    [[800.0, 3.0, 320.0], [0.0, 780.0, 250.0], [0.0, 0.0, 1.0]],
    [[90.0, 0.0, 63.5], [0.0, 91.0, 60.0], [0.0, 0.0, 1.0]],
]
ROTATIONS = [
    [[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]],
    [[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]],
]


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_pinhole_parts__are_what_the_matrix_was_made_of(scale):
    intrinsics, rotation = (torch.tensor(values, dtype=torch.float64) for values in (INTRINSICS, ROTATIONS))
    translation = torch.tensor([[[0.3], [-0.2], [4.0]], [[1.0], [2.0], [3.0]]], dtype=torch.float64)
    projections = scale * intrinsics @ torch.cat((rotation, translation), dim=-1)
    inverse, turned = pinhole_parts(projections)
    torch.testing.assert_close(inverse @ intrinsics, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    torch.testing.assert_close(turned, rotation)
