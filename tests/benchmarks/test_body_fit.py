"""The distances of the comparison with the model that the open body is made from."""

import importlib
import sys

import pytest
import torch

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
body_fit = importlib.import_module("body_fit")

TRIANGLE = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])


@pytest.mark.parametrize(
    ("point", "distance"),
    [
        ((0.5, 0.5, 3.0), 3.0),  # over the inside
        ((0.5, 0.5, -3.0), 3.0),
        ((1.0, -2.0, 0.0), 2.0),  # beside an edge
        ((-3.0, -4.0, 0.0), 5.0),  # beyond a corner
        ((2.0, 2.0, 1.0), 3**0.5),  # over the outside of the long edge, whose middle is nearest
        ((0.0, 0.0, 0.0), 0.0),
    ],
)
def test_point_to_triangle__is_to_the_nearest_of_it(point, distance):
    found = body_fit.point_to_triangle(torch.tensor(point), TRIANGLE)
    assert float(found) == pytest.approx(distance, abs=1e-6)


def test_point_to_triangle__of_many_is_that_of_dense_samples():
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    points = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, 3_000, 3, generator=generator, dtype=torch.float64).log().neg()
    samples = (weights / weights.sum(-1, keepdim=True)) @ corners
    nearest = (samples - points[:, None]).norm(dim=-1).amin(1)
    found = body_fit.point_to_triangle(points, corners)
    assert (found <= nearest).all()
    torch.testing.assert_close(found, nearest, atol=0.15, rtol=0)


def test_levels__lie_on_the_full_mesh():
    medium, small = body_fit.surface("medium", 300), body_fit.surface("small", 300)
    assert medium["mean"] < 0.2
    assert small["mean"] < 1.5
    assert small["max"] < 10
