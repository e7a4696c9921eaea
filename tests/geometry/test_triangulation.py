"""Triangulation against its slow twins, its own invariances, and what can go wrong."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.projection import project
from marey.geometry.triangulation import triangulate, triangulate_projections

METHODS = ("dlt", "weighted", "robust")


def ring(views: int, *, distortion: int = 0, dtype: torch.dtype = torch.float64) -> Cameras:
    """Cameras on a circle of 4 m around the origin, all looking at it, 1.5 m high; z is up."""
    angle = torch.arange(views, dtype=torch.float64) * 2 * math.pi / (views + 0.5) + 0.2
    center = torch.stack((4 * angle.cos(), 4 * angle.sin(), torch.full_like(angle, 1.5)), -1)
    forward = torch.nn.functional.normalize(-center, dim=-1)
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(views, 3))
    right = torch.nn.functional.normalize(right, dim=-1)
    rotation = torch.stack((right, torch.linalg.cross(forward, right), forward), -2)
    intrinsics = torch.tensor([[1200.0, 0.0, 960.0], [0.0, 1180.0, 540.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    lens = torch.tensor([-0.25, 0.08, 0.001, -0.002, 0.01, 0.02, -0.01, 0.005], dtype=torch.float64)[:distortion]
    return Cameras(
        intrinsics=intrinsics.expand(views, 3, 3).clone(),
        distortion=lens.expand(views, distortion).clone(),
        image_size=torch.tensor([1920.0, 1080.0], dtype=torch.float64).expand(views, 2).clone(),
        rotation=rotation,
        translation=-(rotation @ center[..., None])[..., 0],
    ).to(dtype)


def scene(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, 3, generator=random, dtype=torch.float64) - 0.5).to(dtype)


def noisy(points: torch.Tensor, cameras: Cameras, sigma: float, seed: int = 1) -> torch.Tensor:
    pixels = project(points[None], cameras)
    random = torch.Generator().manual_seed(seed)
    return pixels + sigma * torch.randn(pixels.shape, generator=random, dtype=torch.float64).to(pixels.dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize("distortion", [0, 5, 8])
def test_triangulate__exact_points_of_any_batch_shape(method, shape, distortion):
    cameras, truth = ring(4, distortion=distortion), scene(*shape)
    found = triangulate(project(truth[None], cameras), cameras, method=method)
    assert found.positions.shape == (*shape, 3)
    assert found.covariance.shape == (*shape, 3, 3)
    assert found.weights.shape == (4, *shape)
    torch.testing.assert_close(found.positions, truth, atol=1e-7, rtol=0)
    torch.testing.assert_close(found.weights, torch.ones_like(found.weights))


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__single_precision_is_good_to_ten_micrometres(method):
    cameras, truth = ring(4), scene(500)
    pixels = project(truth[None], cameras).float()
    found = triangulate(pixels, cameras.to(torch.float32), method=method)
    assert found.positions.dtype == torch.float32
    assert (found.positions - truth.float()).norm(dim=-1).max() < 1e-5


def test_dlt__is_the_singular_vector_of_the_rows():
    cameras, truth = ring(3), scene(200)
    pixels = noisy(truth, cameras, 5.0)
    rotation, translation = cameras.extrinsics
    matrix = cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1)
    rows = (matrix[:, None, :2] - pixels[..., None] * matrix[:, None, 2:]).transpose(0, 1).reshape(200, -1, 4)
    vector = torch.linalg.svd(rows).Vh[:, -1]
    expected = vector[:, :3] / vector[:, 3:]
    found = triangulate(pixels, cameras, method="dlt").positions
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_dlt__weights_multiply_the_rows():
    cameras, truth = ring(4), scene(50)
    pixels = noisy(truth, cameras, 5.0)
    weights = torch.rand(4, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rotation, translation = cameras.extrinsics
    matrix = cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1)
    rows = weights[..., None, None] * (matrix[:, None, :2] - pixels[..., None] * matrix[:, None, 2:])
    vector = torch.linalg.svd(rows.transpose(0, 1).reshape(50, -1, 4)).Vh[:, -1]
    found = triangulate(pixels, cameras, weights=weights, method="dlt").positions
    torch.testing.assert_close(found, vector[:, :3] / vector[:, 3:], atol=2e-6, rtol=0)


def test_weighted__minimises_the_mahalanobis_reprojection_error():
    cameras, truth = ring(3), scene(10)
    pixels = noisy(truth, cameras, 5.0)
    random = torch.Generator().manual_seed(5)
    root = torch.randn(3, 10, 2, 2, generator=random, dtype=torch.float64)
    covariance = root @ root.mT + 2 * torch.eye(2)
    found = triangulate(pixels, cameras, covariance=covariance, method="weighted")
    factor = torch.linalg.inv(torch.linalg.cholesky(covariance)).numpy()

    for index in range(10):

        def residual(point, index=index):
            offset = project(torch.from_numpy(point)[None], cameras).numpy() - pixels[:, index].numpy()
            return np.einsum("vij,vj->vi", factor[:, index], offset).ravel()

        best = least_squares(residual, truth[index].numpy(), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(found.positions[index].numpy(), best.x, atol=2e-6)
        np.testing.assert_allclose(
            found.covariance[index].numpy(), np.linalg.inv(best.jac.T @ best.jac), rtol=2e-3, atol=1e-8
        )


def test_weighted__a_prior_weight_is_a_smaller_covariance():
    cameras, truth = ring(4), scene(30)
    pixels, weights = noisy(truth, cameras, 4.0), torch.tensor([1.0, 0.5, 0.25, 0.1], dtype=torch.float64)
    by_weight = triangulate(pixels, cameras, weights=weights[:, None], method="weighted")
    by_covariance = triangulate(
        pixels, cameras, covariance=torch.eye(2) / weights[:, None, None, None], method="weighted"
    )
    torch.testing.assert_close(by_weight.positions, by_covariance.positions, atol=1e-6, rtol=0)
    torch.testing.assert_close(by_weight.covariance, by_covariance.covariance, rtol=1e-4, atol=0)


@pytest.mark.parametrize("views", [2, 4, 8])
@pytest.mark.parametrize("method", METHODS)
def test_triangulate__covariance_holds_what_it_says(views, method):
    cameras, truth = ring(views), scene(20_000)
    found = triangulate(noisy(truth, cameras, 2.0), cameras, covariance=4 * torch.eye(2), method=method)
    error = found.positions - truth
    squared = (error * torch.linalg.solve(found.covariance, error)).sum(-1)
    for level, bound in ((0.5, 2.366), (0.9, 6.251), (0.99, 11.345)):  # chi-squared quantiles, 3 degrees of freedom
        assert (squared < bound).double().mean() == pytest.approx(level, abs=0.01)


def test_robust__equals_weighted_without_outliers():
    cameras, truth = ring(4), scene(200)
    pixels = noisy(truth, cameras, 1.0)
    robust = triangulate(pixels, cameras, covariance=4 * torch.eye(2))
    weighted = triangulate(pixels, cameras, covariance=4 * torch.eye(2), method="weighted")
    torch.testing.assert_close(robust.positions, weighted.positions)


def test_robust__comes_within_a_percent_of_knowing_the_outliers():
    cameras, truth = ring(5), scene(5000)
    pixels = noisy(truth, cameras, 2.0)
    random = torch.Generator().manual_seed(7)
    bad = torch.zeros(5, 5000, dtype=torch.bool)
    bad[torch.randint(5, (5000,), generator=random), torch.arange(5000)] = True
    angle = 2 * math.pi * torch.rand(5, 5000, generator=random, dtype=torch.float64)
    pixels = pixels + 80 * bad[..., None] * torch.stack((angle.cos(), angle.sin()), -1)
    covariance = 4 * torch.eye(2)
    robust = triangulate(pixels, cameras, covariance=covariance)
    oracle = triangulate(pixels, cameras, covariance=covariance, weights=(~bad).double(), method="weighted")
    errors = [(result.positions - truth).norm(dim=-1).mean() for result in (robust, oracle)]
    assert errors[0] < 1.02 * errors[1]
    assert robust.weights[bad].mean() < 0.01
    assert robust.weights[~bad].mean() > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__missing_views_do_not_count(method):
    cameras, truth = ring(4), scene(20)
    pixels = noisy(truth, cameras, 3.0)
    holed = pixels.clone()
    holed[1] = torch.nan
    found = triangulate(holed, cameras, method=method)
    some = torch.tensor([0, 2, 3])
    expected = triangulate(pixels[some], cameras[some], method=method)
    torch.testing.assert_close(found.positions, expected.positions)
    torch.testing.assert_close(found.covariance, expected.covariance)
    assert (found.weights[1] == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", ["positions", "infinite", "covariance", "weights"])
def test_triangulate__one_view_left_gives_nan(method, missing):
    cameras, truth = ring(3), scene(4)
    pixels = project(truth[None], cameras)
    covariance = torch.eye(2, dtype=torch.float64).expand(3, 4, 2, 2).clone()
    weights = torch.ones(3, 4, dtype=torch.float64)
    if missing == "positions":
        pixels[1:] = torch.nan
    elif missing == "infinite":
        pixels[1:] = torch.inf
    elif missing == "covariance":
        covariance[1:] = torch.nan
    else:
        weights[1:] = 0
    found = triangulate(pixels, cameras, covariance=covariance, weights=weights, method=method)
    assert found.positions.isnan().all()
    assert found.covariance.isnan().all()


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__a_missing_view_has_no_covariance_either(method):
    cameras, truth = ring(4), scene(20)
    pixels = noisy(truth, cameras, 2.0)
    covariance = (4 * torch.eye(2, dtype=torch.float64)).expand(4, 20, 2, 2).clone()
    pixels[2, :9], covariance[2, :9] = torch.nan, torch.nan
    found = triangulate(pixels, cameras, covariance=covariance, method=method)
    assert (found.positions - truth).norm(dim=-1).max() < 0.05
    assert found.covariance.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__a_weight_that_is_nan_is_a_view_that_does_not_count(method):
    cameras, truth = ring(4), scene(10)
    pixels, weights = noisy(truth, cameras, 2.0), torch.ones(4, 10, dtype=torch.float64)
    weights[1] = torch.nan
    found = triangulate(pixels, cameras, weights=weights, method=method)
    assert (found.positions - truth).norm(dim=-1).max() < 0.05
    assert (found.weights[1] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__points_behind_the_cameras_are_unknown(method):
    one = ring(1)
    rotation, translation = one.extrinsics
    aside = replace(one, translation=translation + torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64))
    cameras = Cameras.cat([one, aside])
    behind = (rotation[0].T @ (torch.tensor([0.1, 0.2, -4.0], dtype=torch.float64) - translation[0]))[None]
    moved = behind @ rotation[0].T + torch.stack((translation[0], aside.extrinsics[1][0]))[:, None]
    pixels = (moved @ one.intrinsics[0].T)[..., :2] / moved[..., 2:]
    found = triangulate(pixels, cameras, method=method)
    assert found.positions.isnan().all()
    assert (found.weights == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__parallel_rays_are_unknown_or_admit_it(method):
    one = ring(1)
    cameras = Cameras.cat([one, one])
    pixels = torch.tensor([[[900.0, 500.0]], [[900.0, 500.0]]], dtype=torch.float64)
    found = triangulate(pixels, cameras, method=method)
    spread = found.covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (found.positions.isnan().any(-1) | (spread > 1e3)).all()


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__follows_a_rigid_motion_of_the_world(method):
    cameras, truth = ring(4), scene(30)
    pixels = noisy(truth, cameras, 2.0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    turn = turn * torch.linalg.det(turn)
    shift = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    rotation, translation = cameras.extrinsics
    moved = replace(cameras, rotation=rotation @ turn.T, translation=translation - rotation @ turn.T @ shift)
    here, there = (triangulate(pixels, these, method=method) for these in (cameras, moved))
    # dlt has unit norm in homogeneous coordinates, which depends on the origin
    torch.testing.assert_close(
        there.positions, here.positions @ turn.T + shift, atol=1e-3 if method == "dlt" else 1e-7, rtol=0
    )


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__order_of_views_does_not_matter(method):
    cameras, truth = ring(5), scene(30)
    pixels, order = noisy(truth, cameras, 2.0), torch.tensor([3, 0, 4, 1, 2])
    first = triangulate(pixels, cameras, method=method)
    second = triangulate(pixels[order], cameras[order], method=method)
    torch.testing.assert_close(first.positions, second.positions)
    torch.testing.assert_close(first.weights[order], second.weights)


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__blocks_change_nothing(method):
    cameras, truth = ring(4), scene(10_001)
    pixels = noisy(truth, cameras, 2.0)
    covariance = (4 * torch.eye(2, dtype=torch.float64)).expand(4, 10_001, 2, 2)
    whole = triangulate(pixels, cameras, covariance=covariance, method=method)
    part = triangulate(pixels[:, 9_000:9_100], cameras, covariance=covariance[:, :100], method=method)
    torch.testing.assert_close(whole.positions[9_000:9_100], part.positions)


@pytest.mark.parametrize("method", METHODS)
def test_triangulate__gradients(method):
    cameras, truth = ring(3, distortion=5), scene(2)
    pixels = noisy(truth, cameras, 2.0).requires_grad_()
    covariance = (4 * torch.eye(2, dtype=torch.float64)).requires_grad_()

    def positions(pixels, covariance):
        return triangulate(pixels, cameras, covariance=covariance, method=method).positions

    assert torch.autograd.gradcheck(positions, (pixels, covariance), eps=1e-4, atol=1e-5)


def test_triangulate__covariance_broadcasts():
    cameras, truth = ring(3), scene(4, 5)
    pixels = noisy(truth, cameras, 2.0)
    whole = torch.rand(3, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    whole = whole * torch.eye(2)
    single = triangulate(pixels, cameras, covariance=whole)
    spread = triangulate(pixels, cameras, covariance=whole.expand(3, 4, 5, 2, 2))
    torch.testing.assert_close(single.positions, spread.positions)
    per_point = torch.rand(5, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * torch.eye(2)
    a = triangulate(pixels, cameras, covariance=per_point + torch.eye(2))
    b = triangulate(pixels, cameras, covariance=(per_point + torch.eye(2)).expand(3, 4, 5, 2, 2))
    torch.testing.assert_close(a.positions, b.positions)


def test_triangulate__bad_arguments_say_what_is_wrong():
    cameras, truth = ring(3), scene(4)
    pixels = project(truth[None], cameras)
    with pytest.raises(ShapeError, match="views come first"):
        triangulate(pixels.transpose(0, 1), cameras)
    with pytest.raises(ShapeError, match="broadcasts"):
        triangulate(pixels, cameras, covariance=torch.eye(2).expand(3, 7, 2, 2))
    with pytest.raises(ShapeError, match="floating-point"):
        triangulate(pixels.round().long(), cameras)
    with pytest.raises(InputError, match="expected one of dlt"):
        triangulate(pixels, cameras, method="ransac")
    with pytest.raises(CalibrationError, match="intrinsics only"):
        triangulate(pixels, replace(cameras, rotation=None, translation=None))


def test_triangulate__no_points():
    found = triangulate(torch.zeros(3, 0, 2, dtype=torch.float64), ring(3))
    assert found.positions.shape == (0, 3)
    assert found.weights.shape == (3, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_triangulate__compiled_equals_eager(method):
    cameras, truth = ring(4, dtype=torch.float32), scene(300, dtype=torch.float32)
    pixels = noisy(truth, cameras, 2.0)
    pixels[2, :50] = torch.nan
    eager = triangulate(pixels, cameras, covariance=4 * torch.eye(2), method=method)
    compiled = triangulate(pixels, cameras, covariance=4 * torch.eye(2), method=method, compiled=True)
    torch.testing.assert_close(compiled.positions, eager.positions, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(compiled.covariance, eager.covariance, atol=1e-8, rtol=1e-3)
    torch.testing.assert_close(compiled.weights, eager.weights, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distortion", [0, 5])
def test_triangulate__cameras_of_its_own_for_every_item(method, distortion):
    rigs = [ring(4, distortion=distortion), ring(4, distortion=distortion)]
    rigs[1] = replace(rigs[1], translation=rigs[1].translation + torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))
    truth = scene(2, 3, 5)
    pixels = torch.stack([noisy(points, rig, 2.0) for points, rig in zip(truth, rigs, strict=True)], dim=1)
    found = triangulate(pixels, Cameras.stack(rigs, dim=1), method=method)
    for place, rig in enumerate(rigs):
        alone = triangulate(pixels[:, place], rig, method=method)
        torch.testing.assert_close(found.positions[place], alone.positions)
        torch.testing.assert_close(found.covariance[place], alone.covariance)
        torch.testing.assert_close(found.weights[:, place], alone.weights)


def test_triangulate_projections__equals_triangulate_where_rays_meet():
    cameras, truth = ring(4), scene(3, 5)
    pixels = noisy(truth, cameras, 2.0)
    rotation, translation = cameras.extrinsics
    matrix = cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1)
    found = triangulate_projections(pixels, matrix[:, None].expand(-1, 3, -1, -1))
    expected = triangulate(pixels, cameras, method="dlt")
    torch.testing.assert_close(found.positions, expected.positions, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sigma", [100.0, 400.0])
def test_triangulate_projections__rays_that_miss_by_hundreds_of_pixels(sigma):
    cameras, truth = ring(4), scene(200, 1)
    rotation, translation = cameras.extrinsics
    matrix = (cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1))[:, None].expand(-1, 200, -1, -1)
    pixels = noisy(truth, cameras, sigma)
    rows = pixels[..., 0, :, None] * matrix[..., 2:, :] - matrix[..., :2, :]
    _, _, right = torch.linalg.svd(rows.transpose(0, 1).reshape(200, 8, 4))
    expected = right[:, -1, :3] / right[:, -1, 3:]
    found = triangulate_projections(pixels, matrix).positions[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_triangulate_projections__no_covariance_is_one_square_pixel():
    cameras, truth = ring(3), scene(2, 4)
    rotation, translation = cameras.extrinsics
    matrix = (cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1))[:, None].expand(-1, 2, -1, -1)
    pixels, weights = noisy(truth, cameras, 3.0), torch.rand(3, 2, 4, dtype=torch.float64)
    found = triangulate_projections(pixels, matrix, weights=weights)
    expected = triangulate_projections(
        pixels, matrix, weights=weights, covariance=torch.eye(2, dtype=torch.float64).expand(3, 2, 4, 2, 2)
    )
    torch.testing.assert_close(found.covariance, expected.covariance)
    torch.testing.assert_close(found.positions, expected.positions)


def test_triangulate_projections__finite_derivatives_of_a_view_without_weight():
    cameras, truth = ring(4), scene(1, 2)
    pixels = noisy(truth, cameras, 2.0).requires_grad_()
    weights = torch.ones(4, 1, 2, dtype=torch.float64)
    weights[2] = 0
    weights.requires_grad_()
    rotation, translation = cameras.extrinsics
    matrix = (cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1))[:, None]
    triangulate_projections(pixels, matrix, weights=weights).positions.square().sum().backward()
    assert pixels.grad.isfinite().all()
    assert weights.grad.isfinite().all()


def test_triangulate_projections__what_nothing_determines_has_no_derivative():
    facing = torch.tensor(
        [
            [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 5.0]],
            [[-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 5.0]],
        ]
    )[:, None]
    points = torch.zeros(2, 1, 3, 2)  # anywhere between the cameras, or seen by one of them, or by both
    points[:, :, 1:] = torch.tensor([0.1, 0.2])
    points[0, 0, 1] = torch.nan
    weights, covariance = torch.full((2, 1, 3), 0.5), torch.eye(2).repeat(2, 1, 3, 1, 1)
    given = [part.requires_grad_() for part in (points, weights, covariance)]
    found = triangulate_projections(given[0], facing, weights=given[1], covariance=given[2])
    assert found.positions[0].isnan().all(-1).tolist() == [True, True, False]
    (found.positions[0, 2].sum() + found.covariance[0, 2].sum()).backward()
    for part in given:
        assert part.grad.isfinite().all()
        assert (part.grad[:, 0, :2] == 0).all()
        assert part.grad[:, 0, 2].abs().sum() > 0


def test_triangulate_projections__points_behind_the_cameras_are_found_too():
    cameras = ring(4)
    rotation, translation = cameras.extrinsics
    matrix = (cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1))[:2, None]
    behind = cameras.centers[:2].mean(0) * 3  # of both
    homogeneous = matrix[:, 0, :, :3] @ behind + matrix[:, 0, :, 3]
    assert (homogeneous[:, 2] < 0).all()
    pixels = (homogeneous[:, :2] / homogeneous[:, 2:])[:, None, None]
    found = triangulate_projections(pixels, matrix).positions[0, 0]
    torch.testing.assert_close(found, behind, rtol=0, atol=1e-6)


def test_triangulate_projections__other_shapes():
    with pytest.raises(ShapeError, match=r"projections \(V, B, 3, 4\)"):
        triangulate_projections(torch.zeros(4, 2, 5, 2), torch.zeros(4, 3, 3, 4))
