from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares as scipy_least_squares

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.bundle import BundleSettings, CameraPrior, adjust_bundle
from marey.geometry.bundle_cameras import FreeIntrinsics, camera_difference, move_cameras, project_rows
from marey.geometry.bundle_evidence import Evidence
from marey.geometry.bundle_system import Linearisation, NormalEquations
from marey.geometry.projection import project
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix

SPREAD = [0.1, 0.03, 0.002, 0.002, 0.01, 0.05, 0.02, 0.005, 0.002, 0.002, 0.002, 0.002]


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ring(views=4, terms=0, fisheye=False, seed=0):
    """Cameras 4 m from the origin that look at it."""
    around = torch.arange(views, dtype=torch.float64) * (2 * torch.pi / max(views, 3)) + 0.1 * randn(views, seed=seed)
    centers = torch.stack((4 * around.cos(), 0.5 * randn(views, seed=seed + 1), 4 * around.sin()), -1)
    forward = -torch.nn.functional.normalize(centers, dim=-1)
    right = torch.nn.functional.normalize(
        torch.linalg.cross(torch.tensor([[0.0, 1, 0]]).double().expand(views, 3), forward), dim=-1
    )
    rotation = torch.stack((right, torch.linalg.cross(forward, right), forward), 1)
    K = torch.tensor([[1100.0, 0.5, 640], [0, 1080, 360], [0, 0, 1]]).double().repeat(views, 1, 1)
    K[:, :2, 2] += 10 * randn(views, 2, seed=seed + 2)
    return Cameras(
        intrinsics=K,
        distortion=torch.tensor(SPREAD[:terms]).double() * randn(views, terms, seed=seed + 3),
        image_size=torch.tensor([1280.0, 720.0]).double().expand(views, 2),
        rotation=rotation,
        translation=-(rotation @ centers[..., None])[..., 0],
        fisheye=torch.ones(views, dtype=torch.bool) if fisheye else None,
    )


def scene(views=4, count=40, noise=1.0, seed=0, **lens):
    cameras = ring(views, seed=seed, **lens)
    points = 0.6 * randn(count, 3, seed=seed + 5)
    return cameras, points, project(points[None], cameras) + noise * randn(views, count, 2, seed=seed + 6)


def perturbed(cameras, size=0.02, held=(0,), seed=9):
    step = size * randn(len(cameras.intrinsics), 6, seed=seed)
    step[list(held)] = 0
    return move_cameras(cameras, step, FreeIntrinsics())


def levers(cameras):
    return (cameras.centers - cameras.centers[0]).norm(dim=-1)


def rescaled(cameras, points, factor):
    """The world enlarged about the first camera."""
    origin = cameras.centers[0]
    centers = origin + factor * (cameras.centers - origin)
    moved = replace(cameras, translation=-(cameras.rotation @ centers[..., None])[..., 0])
    return moved, origin + factor * (points - origin)


@pytest.mark.parametrize(("terms", "fisheye"), [(0, False), (4, False), (5, False), (8, False), (12, False), (4, True)])
def test_rows__are_the_derivatives_of_the_residuals(terms, fisheye):
    cameras, points, pixels = scene(views=3, count=4, terms=terms, fisheye=fisheye)
    free = FreeIntrinsics(focal=True, aspect=True, principal_point=True, distortion=terms)
    root = randn(3, 4, 2, 2) + 2 * torch.eye(2, dtype=torch.float64)
    whitening = torch.linalg.inv(torch.linalg.cholesky(root @ root.mT))
    entries = torch.stack((whitening[..., 0, 0], whitening[..., 1, 0], whitening[..., 1, 1]))
    evidence = Evidence(pixels.permute(2, 0, 1), entries, torch.ones(3, 4, dtype=torch.float64))
    rows = project_rows(points, cameras, free)
    linear = Linearisation.build(rows, cameras.rotation, evidence, RobustLoss())
    size = 6 + 4 + terms

    def residuals(step, moved):
        seen = project((points + moved)[None], move_cameras(cameras, step, free))
        return (whitening @ (seen - pixels)[..., None])[..., 0].permute(2, 0, 1)

    zero = torch.zeros(3, size, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    torch.testing.assert_close(linear.residuals, residuals(*zero))
    by_camera, by_point = torch.func.jacfwd(residuals, argnums=(0, 1))(*zero)
    views, places = torch.arange(3), torch.arange(4)
    torch.testing.assert_close(linear.camera_rows, by_camera[:, views, :, views].permute(1, 0, 3, 2))
    torch.testing.assert_close(linear.point_rows, by_point[:, :, places, places].transpose(-1, -2))


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_reduced_system__solves_the_full_one(damping):
    cameras, points, pixels = scene(views=3, count=8, terms=5)
    free = FreeIntrinsics(focal=True, distortion=1)
    prior = torch.ones(3, 8, dtype=torch.float64)
    prior[1, 2] = 0
    evidence = Evidence(pixels.permute(2, 0, 1), torch.tensor([1.0, 0, 1]).double()[:, None, None], prior)
    linear = Linearisation.build(project_rows(points, cameras, free), cameras.rotation, evidence, RobustLoss())
    equations = NormalEquations.build(linear)
    J = torch.zeros(2, 3, 8, 3 * 8 + 24, dtype=torch.float64)
    for view in range(3):
        for point in range(8):
            J[:, view, point, 8 * view : 8 * view + 8] = linear.camera_rows[:, view, :, point]
            J[:, view, point, 24 + 3 * point : 27 + 3 * point] = linear.point_rows[:, view, :, point]
    J, r = J.reshape(-1, 48), linear.residuals.reshape(-1)
    basis = torch.linalg.qr(randn(24, 24))[0][:, :14]
    wide = torch.block_diag(basis, torch.eye(24, dtype=torch.float64))
    H = J.T @ J
    full = wide.T @ (H + damping * torch.diag(H.diagonal())) @ wide
    expected = -wide @ torch.linalg.solve(full, wide.T @ J.T @ r)
    reduced = equations.reduce(damping)
    step, moved = reduced.step(basis)
    torch.testing.assert_close(step, expected[:24])
    torch.testing.assert_close(moved.T.flatten(), expected[24:])
    covariance = wide @ torch.linalg.inv(full) @ wide.T
    of_cameras, of_points = reduced.covariance(basis)
    torch.testing.assert_close(of_cameras, covariance[:24, :24])
    for point in range(8):
        place = slice(24 + 3 * point, 27 + 3 * point)
        torch.testing.assert_close(of_points[..., point], covariance[place, place])


@pytest.mark.parametrize("batch", [(40,), (5, 8), (2, 1, 20)])
def test_adjust__recovers_exact_cameras(batch):
    truth, points, pixels = scene(noise=0.0)
    start = perturbed(truth)
    result = adjust_bundle(pixels.reshape(4, *batch, 2), start)
    cameras, points = rescaled(truth, points, levers(start).sum() / levers(truth).sum())
    assert result.converged
    torch.testing.assert_close(result.cameras.rotation, cameras.rotation)
    torch.testing.assert_close(result.cameras.translation, cameras.translation)
    torch.testing.assert_close(result.points, points.reshape(*batch, 3))
    assert result.residuals.abs().max() < 1e-6
    assert result.weights.shape == (4, *batch)
    assert result.point_covariance.shape == (*batch, 3, 3)
    torch.testing.assert_close(levers(result.cameras).sum(), levers(start).sum())
    torch.testing.assert_close(result.cameras.rotation[0], start.rotation[0])


@pytest.mark.parametrize(("terms", "fisheye"), [(5, False), (8, False), (4, True)])
def test_adjust__recovers_exact_intrinsics(terms, fisheye):
    truth, _, pixels = scene(count=300, noise=0.0, terms=terms, fisheye=fisheye)
    free = FreeIntrinsics(focal=True, principal_point=True, distortion=1)
    start = perturbed(truth)
    wrong = start.intrinsics.clone()
    wrong[:, :2, :2] *= 1.04
    wrong[:, :2, 2] += 8
    coefficients = start.distortion.clone()
    coefficients[:, 0] += 0.03
    start = replace(start, intrinsics=wrong, distortion=coefficients)
    result = adjust_bundle(pixels, start, settings=BundleSettings(free=free))
    assert result.converged
    assert result.parameter_names[6:] == ("focal", "cx", "cy", "k1")
    assert result.cost_history[-1] < 1e-6
    torch.testing.assert_close(result.cameras.intrinsics, truth.intrinsics, rtol=1e-4, atol=0.05)
    torch.testing.assert_close(result.cameras.distortion, truth.distortion, rtol=0, atol=1e-4)


def test_adjust__each_view_adjusts_its_own_lens_model():
    truth, _, pixels = scene(count=300, noise=0.0, terms=5)
    coefficients = torch.zeros(4, 5, dtype=torch.float64)
    coefficients[0, :4] = torch.tensor([0.03, 0.01, -0.02, 0.01])
    coefficients[1, :2] = torch.tensor([-0.2, 0.05])
    coefficients[3] = truth.distortion[3]
    truth = replace(truth, distortion=coefficients, fisheye=torch.tensor([True, False, False, False]))
    points = 0.6 * randn(300, 3, seed=5)
    pixels = project(points[None], truth)
    free = FreeIntrinsics(focal=True, aspect=True, distortion=5, terms=(4, 2, 0, 5))
    start = perturbed(truth)
    wrong = start.intrinsics.clone()
    wrong[:, 1, 1] *= 1.02
    start = replace(start, intrinsics=wrong, distortion=coefficients * 0.8)
    result = adjust_bundle(pixels, start, settings=BundleSettings(free=free, max_iterations=500))
    assert result.converged
    torch.testing.assert_close(result.cameras.distortion, coefficients, rtol=0, atol=1e-4)
    torch.testing.assert_close(result.cameras.intrinsics, truth.intrinsics, rtol=1e-5, atol=1e-2)
    variance = result.camera_covariance.flatten(2).flatten(0, 1).diagonal().reshape(4, -1)[:, 8:]
    assert ((variance > 0) == (torch.arange(5) < torch.tensor([[4], [2], [0], [5]]))).all()


def test_adjust__equals_scipy():
    truth, _, pixels = scene(views=3, count=12)
    start = perturbed(truth)
    result = adjust_bundle(pixels, start, settings=BundleSettings(tolerance=1e-14))

    def residuals(x):
        step = torch.from_numpy(x[:18]).reshape(3, 6)
        points = torch.from_numpy(x[18:]).reshape(1, -1, 3)
        return (project(points, move_cameras(start, step, FreeIntrinsics())) - pixels).numpy().ravel()

    x0 = np.concatenate((np.zeros(18), result.points.numpy().ravel()))
    twin = scipy_least_squares(residuals, x0, x_scale="jac", ftol=1e-12)
    assert result.converged
    assert result.cost_history[-1].item() == pytest.approx(twin.cost, rel=1e-7)


@pytest.mark.parametrize("kind", ["huber", "cauchy", "geman_mcclure"])
def test_adjust__ends_where_the_robust_gradient_vanishes(kind):
    truth, _, pixels = scene(count=30)
    pixels[1, 3] += 60.0
    pixels[2, 9] -= 20.0
    start = perturbed(truth, 0.003)
    loss = RobustLoss(kind, 3.0)
    result = adjust_bundle(pixels, start, settings=BundleSettings(loss=loss, tolerance=1e-15, max_iterations=300))

    def cost(step, moved):
        cameras = move_cameras(result.cameras, step, FreeIntrinsics())
        rho, _ = loss((project((result.points + moved)[None], cameras) - pixels).square().sum(-1))
        return rho.sum() / 2

    zero = torch.zeros(4, 6, dtype=torch.float64), torch.zeros(30, 3, dtype=torch.float64)
    torch.testing.assert_close(cost(*zero), result.cost_history[-1])
    for gradient in torch.func.grad(cost, argnums=(0, 1))(*zero):
        assert gradient.abs().max() < 0.1  # per radian or metre, where the curvature is 1e6
    assert result.weights[1, 3] < 0.1


@pytest.mark.parametrize(("loss", "slack"), [(RobustLoss(), 0.15), (RobustLoss("cauchy", 4.5), 0.25)])
def test_adjust__covariance_covers_the_error(loss, slack):
    truth, points, _ = scene(views=4, count=25)
    clean = project(points[None], truth)
    cameras_far, points_far = [], []
    for seed in range(60):
        result = adjust_bundle(clean + 1.5 * randn(4, 25, 2, seed=seed), truth, settings=BundleSettings(loss=loss))
        error = camera_difference(result.cameras, truth, FreeIntrinsics())
        error[:, 3:] = -(truth.rotation @ error[:, 3:, None])[..., 0]
        flat, covariance = error.flatten(), result.camera_covariance.reshape(24, 24)
        cameras_far.append(flat @ torch.linalg.pinv(covariance, rtol=1e-9) @ flat)
        off = result.points - points
        points_far.append((off[:, None] @ torch.linalg.inv(result.point_covariance) @ off[..., None]).mean())
    # 24 parameters less six held and the scale
    assert torch.stack(cameras_far).mean().item() == pytest.approx(17, rel=slack)
    assert torch.stack(points_far).mean().item() == pytest.approx(3, rel=slack)


def test_adjust__given_covariance_is_believed_and_judged():
    truth, _, pixels = scene(count=400, noise=2.0)
    spread = 4 * torch.eye(2, dtype=torch.float64)
    result = adjust_bundle(pixels, truth, covariance=spread)
    assert result.variance_factor.item() == pytest.approx(1.0, abs=0.1)
    scaled = adjust_bundle(pixels, truth)
    torch.testing.assert_close(result.cameras.rotation, scaled.cameras.rotation, rtol=0, atol=1e-6)
    doubled = adjust_bundle(pixels, truth, covariance=2 * spread)
    torch.testing.assert_close(doubled.camera_covariance, 2 * result.camera_covariance, rtol=1e-3, atol=1e-12)
    assert doubled.variance_factor.item() == pytest.approx(result.variance_factor.item() / 2, rel=1e-6)


def test_adjust__center_covariance_is_that_of_the_centres():
    truth, _, pixels = scene(views=3)
    result = adjust_bundle(pixels, truth)
    rotation, block = result.cameras.rotation[1], result.camera_covariance[1, 3:6, 1, 3:6]
    torch.testing.assert_close(result.center_covariance[1], rotation.T @ block @ rotation)
    assert (result.center_covariance[0] == 0).all()


def test_adjust__anisotropic_covariance_decides_what_to_believe():
    truth, points, _ = scene(count=100)
    pixels = project(points[None], truth) + randn(4, 100, 2, seed=3) * torch.tensor([20.0, 0.2]).double()
    spread = torch.diag(torch.tensor([400.0, 0.04])).double()
    start = perturbed(truth)
    plain = adjust_bundle(pixels, start)
    informed = adjust_bundle(pixels, start, covariance=spread)
    errors = [geodesic_angle(found.cameras.rotation, truth.rotation).max() for found in (plain, informed)]
    assert errors[1] < errors[0] / 2


def test_adjust__missing_observations_do_not_count():
    truth, _, pixels = scene()
    pixels[2, 5:9] = torch.nan
    pixels[1:, 11] = torch.nan
    pixels[:, 12] = torch.nan
    result = adjust_bundle(pixels, truth)
    assert (result.weights[2, 5:9] == 0).all()
    assert (result.weights[:, [11, 12]] == 0).all()
    assert result.points[[11, 12]].isnan().all()
    assert result.point_covariance[[11, 12]].isnan().all()
    assert result.residuals[2, 5:9].isnan().all()
    assert result.points.isfinite().all(-1).sum() == 38
    kept = result.points[:, 0].isfinite()
    without = adjust_bundle(pixels[:, kept], truth)
    torch.testing.assert_close(result.cameras.rotation, without.cameras.rotation)
    torch.testing.assert_close(result.rms, without.rms)
    weights = torch.ones(4, 40, dtype=torch.float64)
    weights[2, 5:9] = 0
    weights[1:, 11] = weights[:, 12] = 0
    weighed = adjust_bundle(pixels.nan_to_num(0.0), truth, weights=weights)
    torch.testing.assert_close(weighed.points, result.points, equal_nan=True)


def test_adjust__robust_loss_ignores_outliers():
    truth, points, pixels = scene(count=200)
    wrong = randn(4, 200, seed=8) > 1.5
    pixels = pixels + 150 * wrong[..., None]
    start = perturbed(truth, 0.01)
    plain = adjust_bundle(pixels, start)
    robust = adjust_bundle(pixels, start, settings=BundleSettings(loss=RobustLoss("cauchy", 3.0)))
    cameras, _ = rescaled(truth, points, levers(start).sum() / levers(truth).sum())
    errors = [geodesic_angle(found.cameras.rotation, cameras.rotation).max() for found in (plain, robust)]
    assert errors[1] < 0.002
    assert errors[1] < errors[0] / 10
    assert robust.weights[wrong].mean() < 0.05
    assert robust.weights[~wrong].mean() > 0.7


def test_adjust__moves_with_the_world():
    truth, _, pixels = scene()
    start = perturbed(truth)
    turn, shift, factor = rotvec_to_matrix(randn(3)), randn(3, seed=1), 3.7
    # x' = factor * (turn x + shift)
    rotation = start.rotation @ turn.T
    moved = replace(start, rotation=rotation, translation=factor * (start.translation - (rotation @ shift)))
    here, there = adjust_bundle(pixels, start), adjust_bundle(pixels, moved)
    torch.testing.assert_close(there.points, factor * (here.points @ turn.T + shift), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there.cameras.rotation, here.cameras.rotation @ turn.T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        there.point_covariance, factor**2 * turn @ here.point_covariance @ turn.T, rtol=1e-4, atol=1e-9
    )


def test_adjust__order_of_the_views_does_not_matter():
    truth, _, pixels = scene()
    start = perturbed(truth)
    order = torch.tensor([2, 0, 3, 1])
    here = adjust_bundle(pixels, start)
    there = adjust_bundle(pixels[order], start[order], settings=BundleSettings(held_views=(1,)))
    torch.testing.assert_close(there.points, here.points, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there.cameras.rotation, here.cameras.rotation[order], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there.rms, here.rms[order], rtol=1e-5, atol=1e-5)


def test_adjust__two_held_views_keep_their_places_and_the_scale():
    truth, points, pixels = scene(noise=0.0)
    result = adjust_bundle(pixels, perturbed(truth, held=(0, 2)), settings=BundleSettings(held_views=(0, 2)))
    torch.testing.assert_close(result.cameras.translation, truth.translation)
    torch.testing.assert_close(result.points, points)
    assert (result.camera_covariance[2] == 0).all()


def test_adjust__prior_holds_the_world_in_place():
    truth, points, pixels = scene(noise=0.0)
    prior = CameraPrior(rotation=0.01, center=0.01)
    result = adjust_bundle(pixels, truth, settings=BundleSettings(prior=prior, held_views=()))
    torch.testing.assert_close(result.points, points)
    assert result.converged
    assert result.camera_covariance.diagonal(dim1=0, dim2=2).isfinite().all()


def test_adjust__prior_holds_a_view_that_sees_nothing():
    truth, _, pixels = scene()
    pixels[2] = torch.nan
    settings = BundleSettings(prior=CameraPrior(rotation=0.01, center=0.01), held_views=())
    result = adjust_bundle(pixels, truth, settings=settings)
    assert result.converged
    torch.testing.assert_close(result.cameras.translation[2], truth.translation[2])
    blind = result.camera_covariance[2, :, 2] / result.variance_factor
    torch.testing.assert_close(blind, 1e-4 * torch.eye(6, dtype=torch.float64))
    assert result.rms.isnan().tolist() == [False, False, True, False]


def test_adjust__prior_suffices_where_points_are_few():
    truth, _, pixels = scene(views=2, count=3)
    settings = BundleSettings(prior=CameraPrior(rotation=0.01, center=0.01), held_views=())
    result = adjust_bundle(pixels, truth, settings=settings)
    assert result.converged
    assert (result.cameras.centers - truth.centers).norm(dim=-1).max() < 0.05


def test_adjust__prior_limits_what_little_evidence_can_do():
    truth, _, pixels = scene(count=8, noise=3.0, terms=5)
    free = FreeIntrinsics(focal=True, principal_point=True, distortion=2)
    firm = CameraPrior(focal=1e-3, principal_point=0.1, distortion=1e-3)
    loose = adjust_bundle(pixels, truth, settings=BundleSettings(free=FreeIntrinsics(focal=True)))
    held = adjust_bundle(pixels, truth, settings=BundleSettings(free=free, prior=firm))

    def drift(result):
        return (result.cameras.intrinsics[:, 0, 0] / truth.intrinsics[:, 0, 0]).log().abs().max()

    assert held.converged
    assert drift(held) < 3e-3 < drift(loose)


def test_adjust__prior_and_evidence_meet_where_the_gradient_vanishes():
    truth, _, pixels = scene(count=10)
    start = perturbed(truth, held=())
    prior = CameraPrior(rotation=0.02, center=0.05)
    settings = BundleSettings(prior=prior, held_views=(), tolerance=1e-14)
    result = adjust_bundle(pixels, start, settings=settings)

    def cost(step, moved):
        cameras = move_cameras(result.cameras, step, FreeIntrinsics())
        far = (project((result.points + moved)[None], cameras) - pixels).square().sum()
        away = camera_difference(cameras, start, FreeIntrinsics()) / torch.tensor([0.02] * 3 + [0.05] * 3).double()
        return (far + away.square().sum()) / 2

    zero = torch.zeros(4, 6, dtype=torch.float64), torch.zeros(10, 3, dtype=torch.float64)
    torch.testing.assert_close(cost(*zero), result.cost_history[-1])
    for gradient in torch.func.grad(cost, argnums=(0, 1))(*zero):
        assert gradient.abs().max() < 1e-2  # per radian or metre, where the curvature is 1e7


def test_adjust__float32_in_float32_out():
    truth, _, pixels = scene()
    result = adjust_bundle(pixels.float(), perturbed(truth).to(torch.float32))
    exact = adjust_bundle(pixels, perturbed(truth))
    assert result.points.dtype == result.cameras.rotation.dtype == result.camera_covariance.dtype == torch.float32
    torch.testing.assert_close(result.points.double(), exact.points, rtol=0, atol=1e-4)


def test_adjust__point_that_starts_behind_a_camera_is_left_to_the_others():
    truth, points, pixels = scene()
    start = points.clone()
    start[7] = truth.centers[1] * 1.5
    result = adjust_bundle(pixels, truth, points=start)
    assert result.weights[1, 7] == 0
    assert result.weights[:, :7].all()
    assert result.points[7].isfinite().all()


def test_adjust__out_of_iterations_is_not_converged():
    truth, _, pixels = scene()
    result = adjust_bundle(pixels, perturbed(truth, 0.05), settings=BundleSettings(max_iterations=1))
    assert not result.converged
    assert len(result.cost_history) == 2


def test_adjust__hopeless_start_lowers_the_cost_or_stays():
    truth, _, pixels = scene(count=60)
    result = adjust_bundle(pixels, perturbed(truth, 0.4))
    assert result.cost_history.isfinite().all()
    assert (result.cost_history.diff() <= 0).all()


def test_adjust__names_what_is_wrong():
    truth, _, pixels = scene()
    with pytest.raises(ShapeError, match=r"pixels: expected \(V, \.\.\., 2\)"):
        adjust_bundle(pixels[:3], truth)
    with pytest.raises(CalibrationError, match="intrinsics only"):
        adjust_bundle(pixels, replace(truth, rotation=None, translation=None))
    with pytest.raises(InputError, match="at least two views"):
        adjust_bundle(pixels[:1], truth[:1])
    with pytest.raises(InputError, match="6 usable observations"):
        adjust_bundle(pixels[:3, :2], truth[:3])
    with pytest.raises(InputError, match=r"expected different views of 0\.\.3, got \(4,\)"):
        adjust_bundle(pixels, truth, settings=BundleSettings(held_views=(4,)))
    with pytest.raises(InputError, match="expected different views"):
        adjust_bundle(pixels, truth, settings=BundleSettings(held_views=(1, 1)))
    with pytest.raises(InputError, match=r"views \[2\] share no point"):
        adjust_bundle(torch.where(torch.arange(4)[:, None, None] == 2, torch.nan, pixels), truth)
    with pytest.raises(InputError, match="nothing holds the world"):
        adjust_bundle(pixels, truth, settings=BundleSettings(held_views=()))
    with pytest.raises(ShapeError, match="points: expected"):
        adjust_bundle(pixels, truth, points=torch.zeros(3, 3))
    with pytest.raises(ShapeError, match="covariance: expected a shape that broadcasts"):
        adjust_bundle(pixels, truth, points=torch.zeros(40, 3), covariance=torch.ones(3, 40, 2, 2))
    with pytest.raises(ShapeError, match="weights: expected a shape that broadcasts"):
        adjust_bundle(pixels, truth, points=torch.zeros(40, 3), weights=torch.ones(3, 40))
    with pytest.raises(InputError, match="pad the cameras' coefficients"):
        adjust_bundle(pixels, truth, settings=BundleSettings(free=FreeIntrinsics(distortion=1)))
    with pytest.raises(CalibrationError, match="finite parameters"):
        adjust_bundle(pixels, replace(truth, intrinsics=truth.intrinsics * torch.nan))
    mixed = replace(ring(terms=5), fisheye=torch.tensor([True, False, False, False]))
    with pytest.raises(CalibrationError, match="fisheye cameras have 4 coefficients"):
        adjust_bundle(pixels, mixed, settings=BundleSettings(free=FreeIntrinsics(distortion=5)))
    with pytest.raises(InputError, match=r"terms: expected 4 numbers of 0\.\.2"):
        adjust_bundle(pixels, ring(terms=5), settings=BundleSettings(free=FreeIntrinsics(distortion=2, terms=(2, 3))))
    tilted = replace(truth, distortion=torch.full((4, 14), 0.01).double())
    with pytest.raises(CalibrationError, match="tilted sensor"):
        adjust_bundle(pixels, tilted, settings=BundleSettings(free=FreeIntrinsics(distortion=1)))
