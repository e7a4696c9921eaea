"""Borders to a fraction of a pixel, and their derivatives beside those of the area covered."""

import pytest
import torch

from marey.core import ShapeError
from marey.render import antialias, join_meshes, mesh_edges, project_mesh, rasterize, rasterize_cameras, silhouette
from render.scenes import camera, sphere

SIZE = (64, 80)


def rectangle(left, top, right, bottom, depth=1.0):
    corners = torch.tensor([[left, top], [left, bottom], [right, bottom], [right, top]], dtype=torch.float64)
    return torch.cat((corners, torch.full((4, 1), depth, dtype=torch.float64)), -1), torch.tensor(
        [[0, 1, 2], [0, 2, 3]]
    )


def ball(rings, *, turn=0.3):
    """A sphere in pixels and depth; with many rings its faces are much smaller than pixels."""
    vertices, faces = sphere(rings=rings, sectors=2 * rings + 1)
    cosine, sine = torch.tensor(turn).cos().double(), torch.tensor(turn).sin().double()
    x, y, z = vertices.unbind(-1)
    turned = torch.stack((x, cosine * y - sine * z, sine * y + cosine * z), -1)
    return project_mesh(turned + torch.tensor([0.05, -0.1, 3.0]), camera(size=SIZE, focal=55.0)), faces


def area(vertices, faces, *, finer=16):
    """Pixels covered, counted on a much finer grid."""
    fine = vertices.detach().clone()
    fine[..., :2] = (fine[..., :2] + 0.5) * finer - 0.5
    seen = rasterize(fine, faces, (SIZE[0] * finer, SIZE[1] * finer), cull_back_faces=True).mask
    return seen.sum((-1, -2)).double() / finer**2


def test_upright_border__covers_its_share_of_each_pixel():
    # pixel columns span i - 0.5 .. i + 0.5; rows 4 .. 9 are crossed
    vertices, faces = rectangle(4.75, 3.5, 9.25, 9.5)
    found = silhouette(rasterize(vertices, faces, (16, 16)), vertices, faces)
    torch.testing.assert_close(found[5, 3:12], torch.tensor([0, 0, 0.75, 1, 1, 1, 0.75, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(found[:, 7], torch.tensor([0.0] * 4 + [1] * 6 + [0] * 6, dtype=torch.float64))
    assert found.sum() == pytest.approx(4.5 * 6)


def test_shallow_border__covers_its_share_of_each_pixel():
    vertices, faces = rectangle(3.5, 4.25, 9.5, 9.125)
    found = silhouette(rasterize(vertices, faces, (16, 16)), vertices, faces)
    torch.testing.assert_close(found[3:11, 6], torch.tensor([0, 0.25, 1, 1, 1, 1, 0.625, 0], dtype=torch.float64))


def test_slanted_border__has_the_area_of_the_triangle():
    vertices = torch.tensor([[10.3, 8.2, 2.0], [22.4, 55.6, 2.0], [62.7, 20.1, 2.0]], dtype=torch.float64)
    vertices.requires_grad_()
    faces = torch.tensor([[0, 1, 2]])

    def exact(corners):
        a, b, c = corners[:, :2]
        return ((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])).abs() / 2

    found = silhouette(rasterize(vertices, faces, SIZE), vertices, faces).sum()
    assert found.item() == pytest.approx(exact(vertices).item(), rel=3e-3)
    (derivative,) = torch.autograd.grad(found, vertices)
    (expected,) = torch.autograd.grad(exact(vertices), vertices)
    torch.testing.assert_close(derivative[:, :2], expected[:, :2], atol=1.5, rtol=0)  # corners are half a pixel's worth
    assert (derivative[:, 2] == 0).all()


@pytest.mark.parametrize("rings", [8, 30, 120])
def test_area_and_its_derivative__are_those_of_finite_differences(rings):
    vertices, faces = ball(rings)
    edges = mesh_edges(faces)
    leaf = vertices.clone().requires_grad_()
    found = silhouette(rasterize(leaf, faces, SIZE), leaf, faces, edges)
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9
    assert found.sum().item() == pytest.approx(float(area(vertices, faces)), rel=2e-3)
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    centre = vertices.mean(0)
    away = vertices - centre
    zero = torch.zeros_like(away[:, 0])
    bend = (away[:, 1] / 9).sin() * 3
    for name, change in {
        "larger": torch.stack((away[:, 0], away[:, 1], zero), -1) / 20,
        "wider": torch.stack((away[:, 0], zero, zero), -1) / 20,
        "taller": torch.stack((zero, away[:, 1], zero), -1) / 20,
        "one side out": torch.stack((away[:, 0].clamp(min=0) / 10, zero, zero), -1),
        "a quarter": torch.stack((zero, torch.where(away[:, 0] < 0, away[:, 1].clamp(max=0), 0) / 5, zero), -1),
    }.items():
        step = 0.5
        difference = (area(vertices + step * change, faces) - area(vertices - step * change, faces)) / (2 * step)
        assert float((gradient * change).sum()) == pytest.approx(float(difference), rel=0.03), name
    moved = torch.stack((bend, zero, zero), -1)  # every row moves along itself: the area stays
    assert abs(float((gradient * moved).sum())) < 0.03 * found.sum().item()


def test_shift__moves_the_middle_of_the_silhouette():
    vertices, faces = ball(40)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    moved = torch.cat((vertices[:, :2] + shift, vertices[:, 2:]), -1)
    found = silhouette(rasterize(moved, faces, SIZE), moved, faces)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    for pixels, expected in ((column, (1.0, 0.0)), (row, (0.0, 1.0))):
        middle = (found * pixels).sum() / found.sum()
        (derivative,) = torch.autograd.grad(middle, shift, retain_graph=True)
        torch.testing.assert_close(derivative, torch.tensor(expected, dtype=torch.float64), atol=0.02, rtol=0)


def test_descent__moves_a_ball_onto_another():
    vertices, faces = ball(24)
    edges = mesh_edges(faces)
    target = silhouette(rasterize(vertices, faces, SIZE), vertices, faces, edges)
    unknown = torch.tensor([6.0, -4.0, 0.8], dtype=torch.float64, requires_grad=True)  # shift and size
    optimiser = torch.optim.Adam([unknown], lr=0.3)
    middle = vertices[:, :2].mean(0)
    for step in range(80):
        xy = middle + unknown[:2] + (vertices[:, :2] - middle) * (0.5 + 0.5 * unknown[2])
        moved = torch.cat((xy, vertices[:, 2:]), -1)
        loss = (
            (silhouette(rasterize(moved, faces, SIZE, cull_back_faces=True), moved, faces, edges) - target)
            .square()
            .sum()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        optimiser.param_groups[0]["lr"] = 0.3 * (1 - step / 80)
    torch.testing.assert_close(unknown.detach(), torch.tensor([0.0, 0, 1], dtype=torch.float64), atol=0.05, rtol=0)


def test_border_before_something_else__blends_the_two_colours():
    near, far = rectangle(4.75, 2.0, 20.0, 12.0, depth=1.0), rectangle(0.0, 0.0, 9.25, 14.0, depth=3.0)
    vertices, faces, owner = join_meshes([near[0], far[0]], [near[1], far[1]])
    fragments = rasterize(vertices, faces, (16, 16))
    image = torch.where(fragments.mask, owner[fragments.face.clamp(min=0)] * 10.0 + 10, 0.0).double()[..., None]
    found = antialias(image, fragments, (vertices, faces))[..., 0]
    # the far border at 9.25 is hidden behind the near one and changes nothing
    torch.testing.assert_close(found[6, 2:12], torch.tensor([20.0, 20, 20, 12.5, 10, 10, 10, 10, 10, 10]).double())


def test_hidden_and_inner_edges__change_nothing():
    vertices, faces = ball(12)
    fragments = rasterize(vertices, faces, SIZE)
    inside = torch.nn.functional.conv2d(
        fragments.mask[None, None].double(), torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1
    )[0, 0].eq(9)
    image = torch.rand(*SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = antialias(image, fragments, (vertices, faces))
    assert torch.equal(found[inside], image[inside])
    assert not torch.equal(found, image)


def test_picture__is_differentiable_in_its_colours():
    vertices, faces = rectangle(4.75, 3.5, 9.25, 9.5)
    fragments = rasterize(vertices, faces, (16, 16))
    image = torch.rand(16, 16, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(antialias(image, fragments, (vertices, faces)).sum(), image)
    # what one pixel gives, its neighbour takes
    assert gradient.sum() == pytest.approx(16 * 16 * 2)
    assert gradient[5, 5].tolist() == [0.75, 0.75]
    assert gradient[5, 4].tolist() == [1.25, 1.25]


@pytest.mark.parametrize("batch", [(1,), (2, 1, 3)])
def test_batches__are_blended_one_by_one(batch):
    vertices, faces = ball(10)
    shifts = torch.arange(max(1, torch.Size(batch).numel())).view(*batch, 1, 1) * torch.tensor([0.37, 0.21, 0.0])
    views = vertices + shifts
    found = silhouette(rasterize(views, faces, SIZE), views, faces)
    last = (slice(-1, None),) * len(batch)
    one = views[last].reshape(-1, 3)
    torch.testing.assert_close(found[last].reshape(SIZE), silhouette(rasterize(one, faces, SIZE), one, faces))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_sheet__is_smooth_at_its_end_from_both_sides(order):
    vertices, faces = rectangle(4.75, 3.5, 9.25, 9.5)
    faces = faces[:, list(order)]
    found = silhouette(rasterize(vertices, faces, (16, 16)), vertices, faces)
    torch.testing.assert_close(found[5, 3:12], torch.tensor([0, 0, 0.75, 1, 1, 1, 0.75, 0, 0], dtype=torch.float64))


def test_missing_vertices__are_a_hole_with_finite_derivatives():
    vertices, faces = ball(12)
    broken = vertices.clone()
    broken[100:105] = torch.nan
    broken.requires_grad_()
    found = silhouette(rasterize(broken, faces, SIZE), broken, faces)
    assert found.isfinite().all()
    (gradient,) = torch.autograd.grad(found.sum(), broken)
    assert gradient.isfinite().all()


def test_cameras__give_the_same_picture_of_the_projected_mesh():
    vertices, faces = sphere(rings=16, sectors=30)
    one = camera(size=SIZE, translation=(0.0, 0.0, 3.0), distortion=(-0.1, 0.0, 0.0, 0.0))
    leaf = vertices.clone().requires_grad_()
    fragments = rasterize_cameras(leaf, faces, one)
    found = silhouette(fragments, project_mesh(leaf, one), faces)
    assert found.sum().item() == pytest.approx(float(area(project_mesh(vertices, one), faces)), rel=2e-3)
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    assert float((gradient * vertices).sum()) > 0  # a larger ball covers more
    assert float(gradient[:, 2].sum()) < 0  # one farther away less


def test_edges__join_the_faces_on_their_sides():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [5, 4, 3]])
    edges = mesh_edges(faces)
    rows = {
        tuple(v): (tuple(f), tuple(o))
        for v, f, o in zip(*(x.tolist() for x in (edges.vertex, edges.face, edges.opposite)), strict=True)
    }
    assert rows == {
        (0, 1): ((0, -1), (2, -1)),
        (0, 2): ((0, -1), (1, -1)),
        (1, 2): ((0, 1), (0, 3)),
        (1, 3): ((1, -1), (2, -1)),
        (2, 3): ((1, -1), (1, -1)),
        (3, 4): ((2, -1), (5, -1)),
        (3, 5): ((2, -1), (4, -1)),
        (4, 5): ((2, -1), (3, -1)),
    }


def test_edges__of_a_closed_surface_have_two_faces_and_those_of_nothing_are_none():
    _, faces = sphere()
    edges = mesh_edges(faces)
    assert len(edges.vertex) == 3 * len(faces) // 2
    assert (edges.face >= 0).all()
    assert len(mesh_edges(faces[:0]).vertex) == 0
    # three faces at one edge: two are neighbours, the third ends there
    three = mesh_edges(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))
    assert sorted(three.face[(three.vertex == torch.tensor([0, 1])).all(-1)].tolist()) == [[0, 1], [2, -1]]


@pytest.mark.parametrize("at", [5.0, 5.0 - 1 / 600, 5.0 + 1 / 600])
def test_border_on_a_pixel_centre__covers_half_of_the_pixel(at):
    # corners are rounded to 1/256 pixel, so the centre may lie on the other side of the border as given
    for left, top, right, bottom, half in (
        (at, 2.0, 9.5, 12.5, (7, 5)),
        (1.5, 2.0, at, 12.5, (7, 5)),
        (2.0, at, 12.5, 9.5, (5, 7)),
        (2.0, 1.5, 12.5, at, (5, 7)),
    ):
        vertices, faces = rectangle(left, top, right, bottom)
        vertices.requires_grad_()
        found = silhouette(rasterize(vertices, faces, (16, 16)), vertices, faces)
        assert found[half].item() == pytest.approx(0.5, abs=1 / 256)
        assert torch.autograd.grad(found[half], vertices)[0].abs().sum() == pytest.approx(1)


def test_vertices_of_another_batch__are_refused():
    vertices, faces = rectangle(4.75, 3.5, 9.25, 9.5)
    fragments = rasterize(vertices.expand(3, -1, -1), faces, (16, 16))
    for wrong in (vertices.expand(2, -1, -1), vertices.expand(1, 3, -1, -1)):
        with pytest.raises(ShapeError, match=r"vertices: expected \(N, 3\) or \(3, 'N', 3\)"):
            silhouette(fragments, wrong, faces)


def test_image_of_another_size__is_refused():
    vertices, faces = rectangle(4.75, 3.5, 9.25, 9.5)
    with pytest.raises(ShapeError, match=r"image: expected \(16, 16, 'C'\)"):
        antialias(torch.zeros(3, 16, 16), rasterize(vertices, faces, (16, 16)), (vertices, faces))
