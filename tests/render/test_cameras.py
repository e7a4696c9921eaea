"""The rasteriser behind cameras: lenses, the near plane, and cameras that cannot be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.projection import pixels_to_rays, project
from marey.geometry.rotations import euler_to_matrix
from marey.render import project_mesh, rasterize, rasterize_cameras, subdivide
from render.ray_casting import cast
from render.scenes import camera, sphere

SIZE = (48, 64)


def ring(count, **options):
    """Cameras around the origin, three metres from it."""
    angles = torch.stack((torch.zeros(count), torch.arange(count) * 2 * torch.pi / count, torch.zeros(count)), -1)
    turns = euler_to_matrix(angles.double(), "xyz")
    return Cameras.stack([camera(rotation=turn, translation=(0.0, 0.0, 3.0), **options) for turn in turns])


def test_picture__is_that_of_projected_vertices():
    vertices, faces = sphere()
    cameras = ring(3, distortion=(-0.2, 0.05, 0.001, -0.002, 0.0))
    placed = vertices @ cameras.rotation.mT + cameras.translation[:, None]
    pixels = project(vertices[None], cameras)
    expected = rasterize(torch.cat((pixels, placed[..., 2:]), -1), faces, SIZE)
    found = rasterize_cameras(vertices[None], faces, cameras)
    assert torch.equal(found.face, expected.face)
    torch.testing.assert_close(found.depth, expected.depth)
    torch.testing.assert_close(project_mesh(vertices[None], cameras), torch.cat((pixels, placed[..., 2:]), -1))


@pytest.mark.parametrize("fisheye", [False, True])
def test_lens__shows_what_its_rays_meet(fisheye):
    # small faces, so that straight edges between bent vertices do not matter
    vertices, faces = sphere(rings=60, sectors=120, radius=0.8)
    cameras = ring(1, distortion=(-0.25, 0.08, 0.0, 0.0))
    if fisheye:
        cameras = replace(cameras, fisheye=torch.tensor([True]))
    found = rasterize_cameras(vertices[None], faces, cameras)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy"), -1).double()
    origin, direction = pixels_to_rays(grid[None], cameras)
    # of a sphere around the origin
    along = -(origin * direction).sum(-1)
    inside = 0.64 - (origin.square().sum(-1) - along.square())
    seen = inside > 0
    border = inside.abs() < 0.03
    assert torch.equal(found.mask[~border], seen[~border])
    forward = (direction * cameras.rotation[:, None, None, 2]).sum(-1)
    depth = (along - inside.clamp(min=0).sqrt()) * forward
    sure = seen & ~border
    torch.testing.assert_close(found.depth[sure], depth[sure], atol=4e-3, rtol=0)


def test_floor_under_a_lens__is_right_once_it_is_subdivided():
    # a floor 1.5 below the camera (y down), from behind it to far before it
    corners = torch.tensor([[-9.0, 1.5, -3], [9, 1.5, -3], [9, 1.5, 15], [-9, 1.5, 15]], dtype=torch.float64)
    vertices, faces = subdivide(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), 6)
    one = camera(distortion=(-0.2, 0.05, 0.0, 0.0), focal=40.0)
    found = rasterize_cameras(vertices, faces, one)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy"), -1).double()
    _, direction = pixels_to_rays(grid, one)
    depth = 1.5 / direction[..., 1] * direction[..., 2]
    inside = (direction[..., 1] > 0) & (depth < 14) & ((depth / direction[..., 2] * direction[..., 0]).abs() < 8.5)
    assert inside.float().mean() > 0.3
    assert found.mask[inside].all()
    torch.testing.assert_close(found.depth[inside], depth[inside], rtol=0.01, atol=0)


def test_faces_through_the_near_plane__show_what_rays_meet_in_front_of_it():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(3 * 25, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1.0, 1.5])
    faces = torch.arange(75).view(-1, 3)
    one = camera(focal=30.0)
    found = rasterize_cameras(vertices, faces, one, near=0.4)
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy"), -1).double()
    rays = (torch.cat((grid, torch.ones(*SIZE, 1)), -1) @ one.intrinsics.inverse().T).view(-1, 3).numpy()
    depth, weights = cast(np.zeros(3), rays, vertices[faces].numpy())
    depth = np.where(depth > 0.4, depth, np.inf)
    nearest = depth.argmin(1)
    expected = np.where(np.isfinite(depth.min(1)), nearest, -1)
    agree = found.face.view(-1).numpy() == expected
    # corners are rounded to 1/256 pixel: a centre that near to an edge may fall to the other side
    assert (~agree).sum() <= 6
    both = agree & (expected >= 0)
    cut = (vertices[faces][..., 2] < 0.4).any(1)[found.face.view(-1)[both]]
    assert cut.sum() > 300
    np.testing.assert_allclose(found.depth.view(-1).numpy()[both], depth.min(1)[both], rtol=2e-2)
    np.testing.assert_allclose(found.barycentric.view(-1, 3).numpy()[both], weights[both, expected[both]], atol=2e-2)
    whole = found.hits.interpolate(vertices, faces)
    torch.testing.assert_close(whole[:, 2], found.hits.depth)


def test_cut_faces__share_their_cut_edges():
    # a cone whose tip is behind the camera: every cut edge is shared by two faces; at depth z it is 2 (z + 1) wide
    angles = torch.arange(96, dtype=torch.float64) * 2 * torch.pi / 96
    rim = torch.stack((6 * angles.cos(), 6 * angles.sin(), torch.full((96,), 2.0)), -1)
    vertices = torch.cat((torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64), rim))
    here = torch.arange(96)
    faces = torch.stack((torch.zeros(96, dtype=torch.int64), 1 + here, 1 + (here + 1) % 96), -1)
    found = rasterize_cameras(vertices, faces, camera(focal=5.0), near=0.2)
    row, column = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(64) - 31.5, indexing="ij")
    slope = (row.square() + column.square()).sqrt() / 5
    assert not found.mask[slope < 2.95].any()
    assert found.mask[slope > 3.05].all()
    sure = slope > 3.05
    torch.testing.assert_close(found.depth[sure], (2 / (slope[sure] - 2)).double(), rtol=0.02, atol=0)


def test_cut_face__is_differentiable_in_its_vertices():
    vertices = torch.tensor([[-3.0, 1, -1], [3, 1, -1], [0, 0.5, 4]], dtype=torch.float64, requires_grad=True)

    def depth(points):
        return rasterize_cameras(points, torch.tensor([[0, 1, 2]]), camera(), near=0.2).depth

    step = torch.tensor([0.0, 0.02, 0], dtype=torch.float64)
    higher, lower = depth(vertices.detach() + step), depth(vertices.detach() - step)
    found = depth(vertices)
    all_of_it, shared = found.isfinite(), (found + higher + lower).isfinite()
    assert torch.autograd.grad(found[all_of_it].sum(), vertices, retain_graph=True)[0].isfinite().all()
    (gradient,) = torch.autograd.grad(found[shared].sum(), vertices)
    torch.testing.assert_close(gradient[:, 1].sum(), (higher - lower)[shared].sum() / 0.04, rtol=0.03, atol=0)


def test_mesh_around_the_camera__is_seen_from_inside():
    vertices, faces = sphere(radius=2.0)
    found = rasterize_cameras(vertices, faces, camera())
    assert found.mask.all()
    assert not rasterize_cameras(vertices, faces, camera(), cull_back_faces=True).mask.any()


def test_vertices_beyond_the_fold__have_no_image():
    # k1 = -0.3 folds at a radius of 1.05
    one = camera(distortion=(-0.3, 0.0, 0.0, 0.0), focal=20.0)
    points = torch.tensor([[0.5, 0, 1], [1.0, 0, 1], [1.2, 0, 1], [0, 3, 1], [0, 0.2, -1]], dtype=torch.float64)
    assert project_mesh(points, one).isfinite().all(-1).tolist() == [True, True, False, False, False]
    assert not rasterize_cameras(points, torch.tensor([[0, 2, 3]]), one).mask.any()


def test_missing_vertices__take_their_faces_along():
    vertices, faces = sphere()
    vertices[0] = torch.nan
    found = rasterize_cameras(vertices[None], faces, ring(4))
    assert found.mask.any((-1, -2)).all()
    assert not (faces[found.hits.face] == 0).any()


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_batch_dimensions__follow_the_cameras_rule(batch):
    vertices, faces = sphere()
    views = torch.stack([vertices + 0.1 * k for k in range(3)])
    found = rasterize_cameras(views[None], faces, ring(4))
    assert found.batch_shape == (4, 3)
    one = rasterize_cameras(views[1], faces, ring(4)[2])
    assert torch.equal(found.face[2, 1], one.face)
    several = rasterize_cameras(vertices.expand(4, *batch, -1, -1), faces, ring(4))
    assert several.batch_shape == (4, *batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result__does_not_depend_on_the_split_of_the_batch_nor_on_threads(dtype):
    vertices, faces = sphere(rings=24, sectors=49, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    people = vertices * 0.5 + 0.7 * torch.randn(11, 1, 3, generator=generator, dtype=dtype)
    people[3] -= people.new_tensor((0.0, 0.0, 3.0))  # through a camera
    cameras = ring(3, distortion=(-0.2, 0.05, 0.001, -0.002, 0.0), dtype=dtype)
    threads = torch.get_num_threads()
    try:
        whole = rasterize_cameras(people[None], faces, cameras)
        torch.set_num_threads(3)
        parts = [rasterize_cameras(some[None], faces, cameras) for some in people.split((1, 4, 6))]
        single = rasterize_cameras(people[3], faces, cameras[1])
    finally:
        torch.set_num_threads(threads)
    for name in ("face", "depth", "barycentric"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts], 1)), name
        assert torch.equal(getattr(whole[1, 3], name), getattr(single, name)), name


def test_size__may_differ_from_the_cameras_own():
    vertices, faces = sphere()
    one = replace(camera(translation=(0, 0, 3.0)), image_size=torch.tensor([torch.nan, torch.nan]))
    assert rasterize_cameras(vertices, faces, one, size=(20, 30)).size == (20, 30)
    with pytest.raises(CalibrationError, match="pass size="):
        rasterize_cameras(vertices, faces, one)


def changed(**changes):
    return replace(camera(), **{name: torch.tensor(value, dtype=torch.float64) for name, value in changes.items()})


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (changed(intrinsics=[[torch.nan, 0, 1], [0, 1, 1], [0, 0, 1]]), "intrinsics: expected finite"),
        (changed(intrinsics=[[-50.0, 0, 1], [0, 50, 1], [0, 0, 1]]), "focal lengths above 0 pixels, got -50"),
        (changed(intrinsics=[[50.0, 0, 1], [0, 50, 1], [0, 0, 2]]), "last row 0 0 1"),
        (changed(rotation=[[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]), "a mirrored axis is no rotation"),
        (changed(rotation=[[2.0, 0, 0], [0, 2, 0], [0, 0, 2]]), "orthonormal"),
        (changed(translation=[0, torch.inf, 0]), "translation: expected finite"),
        (changed(image_size=[64.5, 48]), r"image_size: expected one width and height"),
        (changed(image_size=[0, 48]), r"image_size"),
        (Cameras.stack([camera(), camera(size=(20, 30))]), "draw them one by one"),
        (replace(camera(), rotation=None, translation=None), "intrinsics only"),
    ],
)
def test_cameras_that_cannot_be__are_refused(cameras, message):
    vertices, faces = sphere()
    points = vertices if not cameras.batch_shape else vertices[None]
    with pytest.raises(CalibrationError, match=message):
        rasterize_cameras(points, faces, cameras)


def test_what_does_not_belong_together__is_refused():
    vertices, faces = sphere()
    with pytest.raises(ShapeError, match="points"):
        rasterize_cameras(vertices.expand(3, -1, -1), faces, ring(4))
    with pytest.raises(InputError, match="near"):
        rasterize_cameras(vertices, faces, camera(), near=0.0)
