"""The rasteriser against brute force, and what it promises."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from marey.body.open_body import open_body
from marey.core import InputError, ShapeError
from marey.geometry.rotations import euler_to_matrix
from marey.render import coverage, rasterize, visible_faces
from render.brute_force import nearest_faces
from render.ray_casting import cast, pinhole_rays

SIZE = (48, 64)


def soup(seed, *, faces=60, extent=20.0, size=SIZE, dtype=torch.float32, grid=None):
    """Separate random triangles in and around a picture; corners on a grid of 1 / grid pixels where asked."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = size
    centre = torch.rand(faces, 1, 2, generator=generator, dtype=dtype) * torch.tensor((columns + 10.0, rows + 10.0)) - 5
    xy = (centre + torch.randn(faces, 3, 2, generator=generator, dtype=dtype) * extent / 2).reshape(-1, 2)
    if grid:
        xy = (xy * grid).round() / grid
    z = 0.5 + 4 * torch.rand(len(xy), 1, generator=generator, dtype=dtype)
    return torch.cat((xy, z), -1), torch.arange(3 * faces).view(faces, 3)


def grid_mesh(seed, *, cells=12, size=SIZE, jitter=0.4):
    """A sheet of triangles that share vertices and edges, larger than the picture, at random depths."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = size
    along = torch.linspace(-0.5, 1.5, cells + 1)
    y, x = torch.meshgrid(along * rows, along * columns, indexing="ij")
    xy = torch.stack((x, y), -1) + jitter * torch.randn(cells + 1, cells + 1, 2, generator=generator)
    z = 1 + torch.rand(cells + 1, cells + 1, 1, generator=generator)
    index = torch.arange((cells + 1) ** 2).view(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat((torch.stack((a, d, c), -1).view(-1, 3), torch.stack((a, c, b), -1).view(-1, 3)))
    return torch.cat((xy, z), -1).view(-1, 3), faces


def assert_as_brute_force(vertices, faces, size, **options):
    found = rasterize(vertices, faces, size, **options)
    face, depth = nearest_faces(vertices.numpy(), faces.numpy(), size, **options)
    np.testing.assert_array_equal(found.face.numpy(), face)
    np.testing.assert_allclose(found.depth.numpy(), depth, rtol=1e-6)
    alone = visible_faces(vertices, faces, size, **options)
    np.testing.assert_array_equal(alone[0].numpy(), face)
    np.testing.assert_allclose(alone[1].numpy(), depth, rtol=1e-6)
    return found


@pytest.mark.parametrize("cull_back_faces", [False, True])
@pytest.mark.parametrize("extent", [0.3, 1.0, 3.0, 8.0, 25.0, 70.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_faces__are_those_of_brute_force(extent, dtype, cull_back_faces):
    covered = 0
    for seed in range(4):
        vertices, faces = soup(seed, faces=100, extent=extent, dtype=dtype)
        found = assert_as_brute_force(vertices, faces, SIZE, cull_back_faces=cull_back_faces)
        covered += len(found.hits)
    assert covered


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_faces__are_those_of_brute_force_with_corners_and_edges_on_pixel_centres(grid):
    for seed in range(6):
        assert_as_brute_force(*soup(seed, extent=6, grid=grid), SIZE)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 3), (33, 31), (64, 129)])
def test_faces__are_those_of_brute_force_in_pictures_smaller_than_a_tile(size):
    for extent in (2.0, 20.0, 200.0):
        assert_as_brute_force(*soup(7, extent=extent, size=size), size)


def test_faces__are_those_of_brute_force_where_a_side_of_the_picture_cuts_them():
    for seed in range(3):
        vertices, faces = soup(seed, extent=12)
        for shift in ((-60.0, 0.0), (60.0, 0.0), (0.0, -45.0), (0.0, 45.0)):
            assert_as_brute_force(vertices + torch.tensor((*shift, 0.0)), faces, SIZE)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-6, 38), st.integers(-6, 38), st.integers(1, 3)), min_size=3, max_size=12),
    st.lists(st.tuples(*[st.integers(0, 11)] * 3), min_size=1, max_size=12),
    st.booleans(),
)
def test_faces__are_those_of_brute_force_with_repeated_corners_edges_and_depths(points, faces, cull):
    # half pixels and few depths: shared edges, faces of no area, the same face twice, equal depths
    vertices = torch.tensor(points, dtype=torch.float32) * torch.tensor((0.5, 0.5, 1.0))
    table = torch.tensor(faces) % len(points)
    assert_as_brute_force(vertices, table, (16, 16), cull_back_faces=cull)


@pytest.mark.parametrize("cells", [3, 12, 60])
def test_sheet_of_shared_edges__has_no_gap_and_no_overlap(cells):
    vertices, faces = grid_mesh(0, cells=cells, jitter=12 / cells)
    found = assert_as_brute_force(vertices, faces, SIZE)
    assert found.mask.all()
    # drawn backwards, another face would win a pixel that two of them cover
    flat = torch.cat((vertices[:, :2], torch.ones(len(vertices), 1)), -1)
    one, other = rasterize(flat, faces, SIZE).face, rasterize(flat, faces.flip(0), SIZE).face
    assert torch.equal(one, len(faces) - 1 - other)


def test_fan_around_a_pixel_centre__covers_it_once():
    angles = torch.arange(7) * 2 * torch.pi / 7 + 0.1
    rim = torch.stack((8 + 6 * angles.cos(), 8 + 6 * angles.sin(), torch.ones(7)), -1)
    vertices = torch.cat((torch.tensor([[8.0, 8.0, 1.0]]), rim))
    around = torch.arange(7)
    faces = torch.stack((torch.zeros(7, dtype=torch.int64), 1 + around, 1 + (around + 1) % 7), -1)
    owners = [int(rasterize(vertices, faces[i : i + 1], (17, 17)).face[8, 8]) for i in range(7)]
    assert owners.count(0) == 1


def test_slivers__are_those_of_brute_force_and_seen_from_one_side_only():
    # areas of a few square sub-pixels between products that float32 cannot tell apart
    generator = torch.Generator().manual_seed(3)
    ends = (torch.rand(400, 2, generator=generator) * 31 * 256).round()
    beside = (ends * torch.rand(400, 1, generator=generator)).round() + torch.randint(
        -1, 2, (400, 2), generator=generator
    )
    xy = torch.stack((torch.zeros(400, 2), ends, beside), 1) / 256 + 10
    vertices = torch.cat((xy, torch.full((400, 3, 1), 2.0)), -1).view(-1, 3)
    faces = torch.arange(1200).view(400, 3)
    for cull in (False, True):
        assert_as_brute_force(vertices, faces, SIZE, cull_back_faces=cull)


def test_corners_far_beyond_the_picture__leave_the_picture_whole():
    inside = torch.tensor([[10.0, 12.0, 1.0], [50.3, 20.0, 1.0]])
    for far in (1e3, 1e5, 2e6):
        vertices = torch.cat((inside, torch.tensor([[0.3 * far, far, 1.0]])))
        assert_as_brute_force(vertices, torch.tensor([[0, 1, 2]]), SIZE)
    # beyond 2^21 pixels the corner comes nearer along the line to the origin, which turns the edges a little
    vertices = torch.cat((inside, torch.tensor([[0.3e9, 1e9, 1.0]])))
    found = rasterize(vertices, torch.tensor([[0, 1, 2]]), SIZE).mask
    assert (found.numpy() != (nearest_faces(vertices.numpy(), [[0, 1, 2]], SIZE)[0] == 0)).sum() <= 1
    assert found.any()


def test_equal_depth__shows_the_lowest_face():
    vertices = torch.tensor([[2.0, 2, 1], [2, 12, 1], [12, 2, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 2], [0, 1, 2]])
    assert set(rasterize(vertices, faces, (16, 16)).face.unique().tolist()) == {-1, 0}
    assert set(rasterize(vertices, faces, (16, 16), cull_back_faces=True).face.unique().tolist()) == {-1, 1}


def test_back_faces__are_those_clockwise_to_the_eye():
    # y points down: from the corner to below to the right is counter-clockwise
    vertices = torch.tensor([[2.0, 2, 1], [2, 12, 1], [12, 2, 1]])
    assert rasterize(vertices, torch.tensor([[0, 1, 2]]), (16, 16), cull_back_faces=True).mask.any()
    assert not rasterize(vertices, torch.tensor([[0, 2, 1]]), (16, 16), cull_back_faces=True).mask.any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("component", [0, 1, 2])
def test_missing_vertex__takes_its_faces_along_and_no_others(bad, component):
    vertices, faces = grid_mesh(1)
    broken = vertices.clone()
    broken[84, component] = bad
    without = faces[(faces != 84).all(-1)]
    found = rasterize(broken, faces, SIZE)
    expected = rasterize(vertices, without, SIZE)
    assert torch.equal(found.depth, expected.depth)
    assert found.depth.isinf().any()
    assert torch.equal(faces[found.hits.face], without[expected.hits.face])


def test_faces_at_the_near_plane_or_behind__are_not_drawn():
    vertices, faces = soup(2)
    vertices[::5, 2] -= 3
    for near in (1e-3, 1.0, 2.5):
        assert_as_brute_force(vertices, faces, SIZE, near=near)
    exactly = torch.tensor([[2.0, 2, 1], [2, 12, 1], [12, 2, 1]])
    assert not rasterize(exactly, torch.tensor([[0, 1, 2]]), (16, 16), near=1.0).mask.any()


def test_weights_and_depth__are_those_of_rays_cast_into_space():
    generator = torch.Generator().manual_seed(5)
    focal, centre = 40.0, (31.5, 23.5)
    vertices, faces = soup(5, faces=30, extent=30, dtype=torch.float64, grid=256)
    vertices[:, 2] = 0.3 + 5 * torch.rand(len(vertices), generator=generator, dtype=torch.float64)
    found = rasterize(vertices, faces, SIZE)
    xy = (vertices[:, :2] - torch.tensor(centre, dtype=torch.float64)) / focal
    space = torch.cat((xy, torch.ones_like(xy[:, :1])), -1) * vertices[:, 2:]
    hits = found.hits
    rays = pinhole_rays(SIZE, focal, centre)[hits.pixel.numpy()]
    triangles = space[faces[hits.face]].numpy()
    distance, weights = zip(
        *(cast(np.zeros(3), ray[None], triangle[None]) for ray, triangle in zip(rays, triangles, strict=True)),
        strict=True,
    )
    np.testing.assert_allclose(hits.depth.numpy(), np.concatenate(distance)[:, 0], rtol=1e-9)
    np.testing.assert_allclose(hits.barycentric.numpy(), np.concatenate(weights)[:, 0], atol=1e-9)
    np.testing.assert_allclose(hits.interpolate(space, faces).numpy(), rays * hits.depth.numpy()[:, None], atol=1e-9)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3), (0,)])
def test_batch_dimensions__are_kept(batch):
    vertices, faces = soup(0)
    found = rasterize(vertices.expand(*batch, -1, -1), faces, SIZE)
    assert found.batch_shape == batch
    assert found.barycentric.shape == (*batch, *SIZE, 3)
    one = rasterize(vertices, faces, SIZE)
    assert (found.face == one.face).all()
    face, depth = visible_faces(vertices.expand(*batch, -1, -1), faces, SIZE)
    assert torch.equal(face, found.face)
    torch.testing.assert_close(depth, found.depth)


def test_result__does_not_depend_on_the_split_of_the_batch_nor_on_threads():
    vertices, faces = soup(0, faces=3000, extent=5)
    generator = torch.Generator().manual_seed(1)
    views = vertices + torch.randn(13, 1, 3, generator=generator) * torch.tensor((4.0, 4.0, 0.05))
    threads = torch.get_num_threads()
    try:
        whole = rasterize(views, faces, SIZE)
        torch.set_num_threads(3)
        parts = [rasterize(some, faces, SIZE) for some in (views[:1], views[1:8], views[8:])]
        alone = [visible_faces(some, faces, SIZE) for some in (views[:1], views[1:8], views[8:])]
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole.face, torch.cat([face for face, _ in alone]))
    torch.testing.assert_close(whole.depth, torch.cat([depth for _, depth in alone]))
    for name in ("face", "depth", "barycentric"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name


def test_result__does_not_depend_on_how_much_is_done_at_once(monkeypatch):
    cases = [soup(0, faces=200, extent=extent) for extent in (2.0, 20.0, 150.0)]
    before = [rasterize(*case, SIZE) for case in cases]
    monkeypatch.setitem(coverage._CANDIDATES_AT_ONCE, "cpu", 2**11)
    monkeypatch.setitem(sys.modules["marey.render.rasterize"]._AT_ONCE, "cpu", (1000, 4 * 48 * 64))
    for (vertices, faces), expected in zip(cases, before, strict=True):
        found = rasterize(vertices.expand(9, -1, -1), faces, SIZE)
        assert torch.equal(visible_faces(vertices.expand(9, -1, -1), faces, SIZE)[0], found.face)
        found = found[-1]
        assert torch.equal(found.face, expected.face)
        assert torch.equal(found.barycentric, expected.barycentric)


def test_memory__stays_bounded_with_many_huge_faces():
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(3 * 60, 2, generator=generator) * 450 - 100
    vertices = torch.cat((xy, 1 + torch.rand(len(xy), 1, generator=generator)), -1)
    faces = torch.arange(len(xy)).view(-1, 3)
    with LargestTensor() as watched:
        found = rasterize(vertices, faces, (256, 256))
    assert found.mask.float().mean() > 0.9
    # every pixel of every box at once would be some 60 x 256^2 x 3 x 8 bytes, 94 MB
    assert watched.size < 20e6


class LargestTensor(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [part for part in tree_leaves(result) if isinstance(part, torch.Tensor)]
        self.size = max([self.size, *(part.untyped_storage().nbytes() for part in made)])
        return result


def test_derivative__is_that_of_the_triangle_in_space_through_the_ray():
    vertices = torch.tensor([[3.0, 4.5, 1.5], [25.25, 6.0, 3.0], [9.0, 28.5, 2.0]], dtype=torch.float64)
    faces = torch.tensor([[0, 2, 1]])
    leaf = vertices.clone().requires_grad_()
    found = rasterize(leaf, faces, (32, 32))
    row, column = 12, 11
    values = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    loss = found.depth[row, column] + (found.barycentric[row, column] * values).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)

    def expected(corners):
        # the plane through the corners in (x z, y z, z), met by the ray (column, row, 1)
        space = torch.cat((corners[:, :2] * corners[:, 2:], corners[:, 2:]), -1)[faces[0]]
        share = torch.linalg.solve(space.T, torch.tensor([column, row, 1.0], dtype=torch.float64))
        return 1 / share.sum() + (share / share.sum() * values).sum()

    reference = vertices.clone().requires_grad_()
    value = expected(reference)
    torch.testing.assert_close(loss, value)
    torch.testing.assert_close(gradient, torch.autograd.grad(value, reference)[0])


def test_nothing_to_draw__is_an_empty_picture():
    for vertices, faces in (
        (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)),
        (torch.zeros(5, 3), torch.zeros(0, 3, dtype=torch.int64)),
        (torch.full((5, 3), torch.nan), torch.tensor([[0, 1, 2]])),
    ):
        found = rasterize(vertices, faces, (4, 6))
        assert not found.mask.any()
        assert (found.depth == torch.inf).all()
        assert (found.barycentric == 0).all()


GOOD = (torch.zeros(4, 3), torch.tensor([[0, 1, 2]]), (8, 8))


@pytest.mark.parametrize(
    ("vertices", "faces", "size", "error", "message"),
    [
        (torch.zeros(4, 2), GOOD[1], GOOD[2], ShapeError, r"vertices: expected \(\.\.\., N, 3\)"),
        (torch.zeros(4, 3, dtype=torch.float16), GOOD[1], GOOD[2], ShapeError, "float32 or float64"),
        (GOOD[0], torch.tensor([0, 1, 2]), GOOD[2], ShapeError, r"faces: expected \(F, 3\) int64"),
        (GOOD[0], GOOD[1].int(), GOOD[2], ShapeError, "int32"),
        (GOOD[0], torch.tensor([[0, 1, 4]]), GOOD[2], InputError, r"expected rows of 4 vertices, got 0\.\.4"),
        (GOOD[0], torch.tensor([[0, 1, -1]]), GOOD[2], InputError, r"got -1\.\.1"),
        (GOOD[0], GOOD[1], (0, 8), InputError, "size: expected rows and columns"),
        (GOOD[0], GOOD[1], (8, 20000), InputError, r"1\.\.16384"),
        (GOOD[0], GOOD[1], (8.0, 8), InputError, "size"),
        (GOOD[0], GOOD[1], (8, 8, 3), InputError, "size"),
    ],
)
def test_what_cannot_be_drawn__is_refused(vertices, faces, size, error, message):
    with pytest.raises(error, match=message):
        rasterize(vertices, faces, size)


@pytest.mark.parametrize("near", [0.0, -1.0, torch.nan, torch.inf])
def test_near_plane_that_cannot_be__is_refused(near):
    with pytest.raises(InputError, match="near: expected a positive number of metres"):
        rasterize(*GOOD, near=float(near))


def body_pictures(level, size, count):
    """The open body at rest in pixels and depth, seen from all sides, and its faces."""
    body = open_body(level)
    yaw = torch.arange(count) * 2 * torch.pi / count + 0.1
    turns = euler_to_matrix(torch.stack((torch.full((count,), torch.pi), yaw, torch.zeros(count)), -1), "xyz")
    placed = body.template @ turns.mT
    placed = placed - placed.mean(1, keepdim=True) + torch.tensor([0.0, 0.0, 3.0])
    pixels = placed[..., :2] / placed[..., 2:] * (1.2 * size) + (size - 1) / 2
    return torch.cat((pixels, placed[..., 2:]), -1), body.faces


@pytest.mark.parametrize("cull_back_faces", [False, True])
def test_body__shows_the_faces_of_brute_force(cull_back_faces):
    views, faces = body_pictures("small", 64, 2)
    for view in views:
        found = assert_as_brute_force(view, faces, (64, 64), cull_back_faces=cull_back_faces)
        assert 0.05 < found.mask.float().mean() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("level", ["full", "medium", "small"])
def test_body__shows_the_faces_of_brute_force_at_full_size(level):
    views, faces = body_pictures(level, 256, 1)
    for view in views:
        for cull in (False, True):
            assert_as_brute_force(view, faces, (256, 256), cull_back_faces=cull)
