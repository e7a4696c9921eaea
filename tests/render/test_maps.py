"""Interpolation and the maps made with it."""

import pytest
import torch
from torch.autograd import gradcheck

from marey.core import ShapeError
from marey.render import interpolate, iuv_map, label_map, normal_map, rasterize, rasterize_cameras
from render.scenes import camera, sphere

SIZE = (8, 10)
VERTICES = torch.tensor([[1.0, 1, 1], [1, 6, 2], [8, 1, 4], [8, 6, 1]], dtype=torch.float64)
FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def seen(batch=()):
    return rasterize(VERTICES.expand(*batch, -1, -1), FACES, SIZE)


def test_interpolation__is_perspective_correct():
    # along the row y = 1 from depth 1 to depth 4: at a share t of the way in the picture, the share on the surface is
    # (t / 4) / ((1 - t) / 1 + t / 4)
    values = torch.tensor([[0.0], [7.0], [1.0], [7.0]], dtype=torch.float64)
    row = interpolate(seen(), values, FACES)[1, 1:8, 0]
    share = torch.arange(7, dtype=torch.float64) / 7
    torch.testing.assert_close(row, share / 4 / (1 - share + share / 4))


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_values__are_shared_or_of_each_picture(batch):
    values = torch.rand(*batch, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fragments = seen(batch)
    found = interpolate(fragments, values, FACES, background=-1.0)
    assert found.shape == (*batch, *SIZE, 5)
    assert (found[~fragments.mask] == -1).all()
    one = values.reshape(-1, 4, 5)[-1]
    shared = interpolate(fragments, one, FACES, background=-1.0)
    torch.testing.assert_close(shared.reshape(-1, *SIZE, 5)[-1], found.reshape(-1, *SIZE, 5)[-1])


def test_background__may_be_pictures():
    ground = torch.rand(2, *SIZE, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fragments = seen((2,))
    found = interpolate(fragments, torch.ones(4, 3, dtype=torch.float64), FACES, background=ground)
    assert torch.equal(found[~fragments.mask], ground[~fragments.mask])
    torch.testing.assert_close(found[fragments.mask], torch.ones_like(found[fragments.mask]))


def test_interpolation__is_differentiable_in_values_and_background():
    fragments = seen()
    values = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    ground = torch.rand(*SIZE, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v, b: interpolate(fragments, v, FACES, background=b), (values, ground))


def test_interpolation__takes_another_table_of_as_many_faces():
    uv = torch.tensor([[0.0, 0], [0, 1], [1, 0], [0.5, 0.7], [0.5, 0.7], [1, 0.7]], dtype=torch.float64)
    found = interpolate(seen(), uv, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    torch.testing.assert_close(found[1, 1], uv[0])
    torch.testing.assert_close(found[5, 4:8, 1], torch.full((4,), 0.7, dtype=torch.float64))


def test_table_with_too_few_faces__is_refused():
    with pytest.raises(ShapeError, match=r"expected one row for each face, at least 2, got \(1, 3\)"):
        interpolate(seen(), torch.zeros(4, 1), FACES[:1])


def test_values_of_another_batch__are_refused():
    with pytest.raises(ShapeError, match="or the \\(2,\\) of the pictures"):
        interpolate(seen((2,)), torch.zeros(3, 4, 1), FACES)


def test_labels__are_those_of_the_face_or_of_the_nearest_corner():
    fragments = seen()
    labels = label_map(fragments, torch.tensor([5, 9]))
    assert labels.dtype == torch.int64
    assert labels[1, 1] == 5
    assert labels[5, 7] == 9
    assert labels[7, 9] == -1
    nearest = fragments.hits.paint(fragments.hits.nearest(torch.tensor([0, 10, 20, 30]), FACES), -1)
    assert nearest[1, 1] == 0
    assert nearest[5, 1] == 10
    assert nearest[1, 7] == 20
    assert nearest[5, 7] == 30
    with pytest.raises(ShapeError, match="expected one row for each face, at least 2"):
        label_map(fragments, torch.tensor([5]))


def test_iuv__counts_parts_from_one():
    uv = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    found = iuv_map(seen(), torch.tensor([0, 3]), uv, FACES)
    assert found[7, 9].tolist() == [0, 0, 0]
    assert found[1, 1].tolist() == [1, 0, 0]
    assert found[5, 7, 0] == 4
    assert found[..., 1:].amax() <= 1


def test_normals__face_the_camera_in_front_of_a_sphere():
    vertices, faces = sphere(rings=40, sectors=80, centre=(0, 0, 4.0))
    fragments = rasterize_cameras(vertices, faces, camera())
    normals = normal_map(fragments, vertices, faces)
    points = interpolate(fragments, vertices, faces)
    mask = fragments.mask
    torch.testing.assert_close(normals[mask].norm(dim=-1), torch.ones(int(mask.sum()), dtype=torch.float64))
    torch.testing.assert_close(normals[mask], points[mask] - torch.tensor([0, 0, 4.0]), atol=0.02, rtol=0)
    assert (normals[~mask] == 0).all()
