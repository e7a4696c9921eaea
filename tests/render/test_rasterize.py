"""The rasteriser against brute force, and what it promises."""

import numpy as np
import pytest
import torch

from marey.render import rasterize
from render.brute_force import nearest_faces


def soup(seed, *, faces=60, extent=20.0, size=(48, 64), dtype=torch.float32, grid=None):
    """Random vertices in and around a picture, with random faces; on a grid of 1 / grid pixels where asked."""
    generator = torch.Generator().manual_seed(seed)
    count = max(4, faces)
    rows, columns = size
    centre = torch.rand(count, 2, generator=generator, dtype=dtype) * torch.tensor((columns + 10.0, rows + 10.0)) - 5
    corners = torch.randint(0, count, (faces, 3), generator=generator)
    # three corners of their own for each face, near its middle
    spread = torch.randn(faces, 3, 2, generator=generator, dtype=dtype) * extent / 2
    xy = (centre[corners[:, :1]] + spread).reshape(-1, 2)
    if grid:
        xy = (xy * grid).round() / grid
    z = 0.5 + 4 * torch.rand(len(xy), 1, generator=generator, dtype=dtype)
    return torch.cat((xy, z), -1), torch.arange(3 * faces).view(faces, 3)


def assert_as_brute_force(vertices, faces, size, **options):
    found = rasterize(vertices[None], faces, size, **options)
    face, depth = nearest_faces(vertices.numpy(), faces.numpy(), size, **options)
    np.testing.assert_array_equal(found.face[0].numpy(), face)
    np.testing.assert_allclose(found.depth[0].numpy(), depth, rtol=1e-6)
    return found


@pytest.mark.parametrize("cull_back_faces", [False, True])
@pytest.mark.parametrize("extent", [0.3, 1.0, 3.0, 8.0, 25.0, 70.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_faces__are_those_of_brute_force(extent, dtype, cull_back_faces):
    covered = 0
    for seed in range(4):
        vertices, faces = soup(seed, faces=100, extent=extent, dtype=dtype)
        found = assert_as_brute_force(vertices, faces, (48, 64), cull_back_faces=cull_back_faces)
        covered += len(found.hits)
    assert covered


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_faces__are_those_of_brute_force_with_corners_and_edges_on_pixel_centres(grid):
    for seed in range(6):
        assert_as_brute_force(*soup(seed, extent=6, grid=grid), (48, 64))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 3), (33, 31), (64, 129)])
def test_faces__are_those_of_brute_force_in_pictures_smaller_than_a_tile(size):
    for extent in (2.0, 20.0, 200.0):
        assert_as_brute_force(*soup(7, extent=extent, size=size), size)
