from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares as scipy_least_squares

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.bundle import BundleSettings, CameraPrior
from marey.geometry.bundle_cameras import FreeIntrinsics, move_cameras
from marey.geometry.projection import project
from marey.geometry.rigid_bundle import adjust_rigid_bundle
from marey.geometry.rigid_shares import likeliest_knock, moment_shares
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(columns=4, rows=3, square=0.06):
    x, y = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
    points = torch.stack((x, y, torch.zeros_like(x)), -1).reshape(-1, 3).double() * square
    return points - points.mean(0)


def ring(views=3, terms=0):
    """Cameras 1.5 m from the origin that look at it, the first behind it at z < 0."""
    angle = 0.5 * torch.arange(views, dtype=torch.float64)
    rotation = rotvec_to_matrix(torch.stack((0.1 * angle, angle, 0 * angle), -1))
    K = torch.tensor([[900.0, 0.0, 640], [0, 920, 360], [0, 0, 1]]).double().repeat(views, 1, 1)
    lens = torch.tensor([-0.1, 0.05, 0.001, -0.001, 0.01]).double()[:terms]
    return Cameras(
        intrinsics=K,
        distortion=lens.repeat(views, 1),
        image_size=torch.tensor([1280.0, 720]).double().expand(views, 2),
        rotation=rotation,
        translation=torch.tensor([0.0, 0.0, 1.5]).double().expand(views, 3),
    )


def poses(moments, seed=0):
    return rotvec_to_matrix(0.5 * randn(moments, 3, seed=seed)), 0.15 * randn(moments, 3, seed=seed + 1)


def scene(views=3, moments=12, noise=0.5, seed=0, terms=0, target=None):
    cameras, target = ring(views, terms), grid() if target is None else target
    rotation, translation = poses(moments, seed)
    world = target @ rotation.mT + translation[:, None]
    noisy = noise * randn(views, moments, len(target), 2, seed=seed + 2)
    return cameras, target, (rotation, translation), project(world[None], cameras) + noisy


def perturbed(cameras, size=0.02, held=(0,), seed=9):
    step = size * randn(len(cameras.intrinsics), 6, seed=seed)
    step[list(held)] = 0
    return move_cameras(cameras, step, FreeIntrinsics())


def test_adjust__recovers_exact_cameras_and_scale():
    truth, target, (rotation, translation), pixels = scene(noise=0.0)
    result = adjust_rigid_bundle(pixels, target, perturbed(truth))
    assert result.converged
    torch.testing.assert_close(result.cameras.rotation, truth.rotation, rtol=0, atol=1e-7)
    torch.testing.assert_close(result.cameras.translation, truth.translation, rtol=0, atol=1e-7)
    torch.testing.assert_close(result.rotation, rotation, rtol=0, atol=1e-6)
    torch.testing.assert_close(result.translation, translation, rtol=0, atol=1e-6)
    assert result.residuals.abs().max() < 1e-5
    assert result.weights.shape == pixels.shape[:-1]


def test_adjust__target_that_is_not_flat():
    solid = grid() + torch.tensor([0.0, 0, 1]).double() * 0.05 * randn(12, 1, seed=3)
    truth, target, start, pixels = scene(noise=0.0, target=solid)
    result = adjust_rigid_bundle(pixels, target, perturbed(truth), poses=start)
    torch.testing.assert_close(result.cameras.translation, truth.translation, rtol=0, atol=1e-7)


def test_adjust__one_view_calibrates_its_lens():
    truth, target, _, pixels = scene(views=1, moments=20, noise=0.0, terms=5)
    wrong = truth.intrinsics.clone()
    wrong[:, :2, :2] *= 1.03
    wrong[:, 1, 1] *= 0.99
    wrong[:, :2, 2] += 6
    start = replace(truth, intrinsics=wrong, distortion=torch.zeros_like(truth.distortion))
    free = FreeIntrinsics(focal=True, aspect=True, principal_point=True, distortion=5)
    result = adjust_rigid_bundle(pixels, target, start, settings=BundleSettings(free=free, tolerance=1e-12))
    assert result.parameter_names[6:] == ("focal", "aspect", "cx", "cy", "k1", "k2", "p1", "p2", "k3")
    torch.testing.assert_close(result.cameras.intrinsics, truth.intrinsics, rtol=0, atol=0.05)
    torch.testing.assert_close(result.cameras.distortion[:, :4], truth.distortion[:, :4], rtol=0, atol=5e-3)
    assert (result.camera_covariance[0, :6] == 0).all()
    assert (result.cameras.rotation == truth.rotation).all()


def residuals_of(x, start, known, free, target, pixels):
    """Residuals of a plain parameter vector: steps of the cameras but the first, then a pose a moment."""
    size = 6 + len(free.names)
    views, moments = pixels.shape[:2]
    steps = torch.zeros(views, size, dtype=torch.float64)
    steps[1:] = torch.from_numpy(x[: (views - 1) * size]).reshape(-1, size)
    rest = torch.from_numpy(x[(views - 1) * size :]).reshape(moments, 6)
    rotation = rotvec_to_matrix(rest[:, :3]) @ known[0]
    world = target @ rotation.mT + (known[1] + rest[:, 3:])[:, None]
    return (project(world[None], move_cameras(start, steps, free)) - pixels).numpy()


@pytest.mark.slow
def test_adjust__equals_scipy():
    truth, target, known, pixels = scene(moments=8)
    start = perturbed(truth)
    result = adjust_rigid_bundle(pixels, target, start, settings=BundleSettings(tolerance=1e-14))

    def plain(x):
        return residuals_of(x, start, known, FreeIntrinsics(), target, pixels).ravel()

    twin = scipy_least_squares(plain, np.zeros(2 * 6 + 8 * 6), x_scale="jac", ftol=1e-13, max_nfev=300)
    assert result.converged
    assert result.cost_history[-1].item() == pytest.approx(twin.cost, rel=1e-7)
    steps = torch.cat((torch.zeros(1, 6, dtype=torch.float64), torch.from_numpy(twin.x[:12]).reshape(2, 6)))
    moved = move_cameras(start, steps, FreeIntrinsics())
    torch.testing.assert_close(result.cameras.translation, moved.translation, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["huber", "cauchy", "geman_mcclure"])
def test_adjust__ends_where_the_robust_gradient_vanishes(kind):
    truth, target, known, pixels = scene(moments=8)
    pixels[1, 3] += 40.0
    loss = RobustLoss(kind, 2.0)
    settings = BundleSettings(loss=loss, tolerance=1e-15, max_iterations=300)
    result = adjust_rigid_bundle(pixels, target, truth, poses=known, settings=settings)

    def cost(step, turn, shift):
        rotation = rotvec_to_matrix(turn) @ result.rotation
        world = target @ rotation.mT + (result.translation + shift)[:, None]
        away = project(world[None], move_cameras(result.cameras, step, FreeIntrinsics())) - pixels
        return loss(away.square().sum(-1))[0].sum() / 2

    zero = torch.zeros(3, 6).double(), torch.zeros(8, 3).double(), torch.zeros(8, 3).double()
    torch.testing.assert_close(cost(*zero), result.cost_history[-1])
    for gradient in torch.func.grad(cost, argnums=(0, 1, 2))(*zero):
        assert gradient.reshape(-1, gradient.shape[-1])[1:].abs().max() < 0.1  # where the curvature is 1e7


def test_adjust__gradient_vanishes_and_covariance_inverts_the_normal_matrix():
    truth, target, _, pixels = scene(views=2, moments=4, terms=4)
    free = FreeIntrinsics(focal=True, distortion=1)
    settings = BundleSettings(free=free, tolerance=1e-14)
    result = adjust_rigid_bundle(pixels, target, perturbed(truth), settings=settings, covariance=torch.eye(2))

    def residuals(step, turn, shift):
        rotation = rotvec_to_matrix(turn) @ result.rotation
        world = target @ rotation.mT + (result.translation + shift)[:, None]
        return (project(world[None], move_cameras(result.cameras, step, free)) - pixels).flatten()

    zero = torch.zeros(2, 8).double(), torch.zeros(4, 3).double(), torch.zeros(4, 3).double()
    blocks = torch.func.jacfwd(residuals, argnums=(0, 1, 2))(*zero)
    J = torch.cat([block.flatten(1) for block in blocks], -1)
    J = J[:, [*range(6, 40)]]  # the first view's place is held
    assert (J.T @ residuals(*zero)).abs().max() < 0.05  # per radian or metre, where the curvature is 1e7
    expected = torch.linalg.inv(J.T @ J)
    free_places = [*range(6, 16)]
    whole = result.camera_covariance.reshape(16, 16)
    torch.testing.assert_close(whole[free_places][:, free_places], expected[:10, :10], rtol=1e-5, atol=1e-13)
    torch.testing.assert_close(result.pose_covariance[2, :3, :3], expected[16:19, 16:19], rtol=1e-5, atol=1e-13)
    torch.testing.assert_close(result.pose_covariance[2, 3:, 3:], expected[28:31, 28:31], rtol=1e-5, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["squared", "huber"])
def test_adjust__covariances_hold_what_they_say(kind):
    """Standardised errors of 150 repetitions along six axes: their mean square is 1 +- 0.07 or less."""
    truth, target, known, exact = scene(moments=40, noise=0.0)
    settings = BundleSettings(loss=RobustLoss(kind, 1.5))
    ratios = {"model": [], "clustered": []}
    for seed in range(150):
        noisy = exact + 0.7 * randn(*exact.shape, seed=100 + seed)
        result = adjust_rigid_bundle(noisy, target, truth, poses=known, settings=settings)
        error = (result.cameras.centers - truth.centers)[1:]
        rotation, views = result.cameras.rotation, torch.arange(3)
        for name, whole in (("model", result.camera_covariance), ("clustered", result.clustered_covariance)):
            block = rotation.mT @ whole[views, 3:6, views, 3:6] @ rotation
            ratios[name].append(error.square() / block.diagonal(dim1=-2, dim2=-1)[1:])
    for name, values in ratios.items():
        assert 0.85 < torch.stack(values).mean() < 1.2, name


def test_adjust__errors_that_belong_together_widen_the_clustered_covariance():
    truth, target, known, pixels = scene(moments=40, noise=0.2)
    # every picture of the board is off as a whole: blur, or a clock
    pixels = pixels + 1.5 * randn(3, 40, 1, 2, seed=7)
    result = adjust_rigid_bundle(pixels, target, truth, poses=known)
    model = result.camera_covariance[1, :6, 1, :6].diagonal().sqrt()
    clustered = result.clustered_covariance[1, :6, 1, :6].diagonal().sqrt()
    assert (clustered / model).median() > 1.5
    few = adjust_rigid_bundle(pixels[:, :8], target, truth, poses=(known[0][:8], known[1][:8]))
    assert few.clustered_covariance.isnan().all()
    assert (result.center_covariance[0] == 0).all()
    assert (torch.linalg.eigvalsh(result.center_covariance[1:]) > 0).all()


def test_adjust__robust_loss_ignores_outliers():
    truth, target, known, pixels = scene(moments=25, noise=0.3)
    wrong = randn(3, 25, 12, seed=8) > 1.6
    pixels = pixels + 60 * wrong[..., None]
    robust = adjust_rigid_bundle(
        pixels, target, truth, poses=known, settings=BundleSettings(loss=RobustLoss("cauchy", 1.0))
    )
    plain = adjust_rigid_bundle(pixels, target, truth, poses=known)
    errors = [(found.cameras.centers - truth.centers).norm(dim=-1).max() for found in (plain, robust)]
    assert errors[1] < 0.004
    assert errors[1] < errors[0] / 5
    assert robust.weights[wrong].mean() < 0.01


def test_adjust__order_of_views_and_moments_does_not_matter():
    truth, target, known, pixels = scene()
    start = perturbed(truth)
    here = adjust_rigid_bundle(pixels, target, start, poses=known)
    views, moments = torch.tensor([2, 0, 1]), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    there = adjust_rigid_bundle(
        pixels[views][:, moments],
        target,
        start[views],
        poses=(known[0][moments], known[1][moments]),
        settings=BundleSettings(held_views=(1,)),
    )
    torch.testing.assert_close(there.cameras.rotation, here.cameras.rotation[views], rtol=0, atol=1e-6)
    torch.testing.assert_close(there.translation, here.translation[moments], rtol=0, atol=1e-6)
    torch.testing.assert_close(there.rms, here.rms[views], rtol=1e-5, atol=1e-6)


def test_adjust__held_moment_defines_the_world():
    truth, target, known, pixels = scene()
    by_view = adjust_rigid_bundle(pixels, target, truth, poses=known, settings=BundleSettings(tolerance=1e-12))
    by_moment = adjust_rigid_bundle(
        pixels,
        target,
        by_view.cameras,
        poses=(by_view.rotation, by_view.translation),
        held_moment=4,
        settings=BundleSettings(held_views=(), tolerance=1e-12),
    )
    assert by_moment.cost_history[-1].item() == pytest.approx(by_view.cost_history[-1].item(), rel=1e-8)
    torch.testing.assert_close(by_moment.translation[4], by_view.translation[4])
    assert (by_moment.pose_covariance[4] == 0).all()
    assert by_moment.camera_covariance[0, :, 0].diagonal().min() > 0
    torch.testing.assert_close(by_moment.variance_factor, by_view.variance_factor, rtol=1e-6, atol=0)
    # what does not depend on the world is known as well as before: the turn from the first to the second view
    relative = by_moment.cameras.rotation[1] @ by_moment.cameras.rotation[0].T
    torch.testing.assert_close(relative, by_view.cameras.rotation[1] @ by_view.cameras.rotation[0].T, atol=1e-6, rtol=0)


def test_adjust__prior_on_given_intrinsics_limits_what_few_boards_can_do():
    truth, target, known, pixels = scene(moments=4, terms=4)
    free = FreeIntrinsics(focal=True, principal_point=True, distortion=2)
    loose = adjust_rigid_bundle(pixels, target, truth, poses=known, settings=BundleSettings(free=free))
    firm = CameraPrior(focal=1e-3, principal_point=0.5, distortion=1e-3)
    held = adjust_rigid_bundle(pixels, target, truth, poses=known, settings=BundleSettings(free=free, prior=firm))

    def drift(result):
        return (result.cameras.intrinsics - truth.intrinsics).abs().max()

    assert drift(held) < 3 < drift(loose)


def test_adjust__moments_whose_pose_nothing_fixes_are_left_out():
    truth, target, known, pixels = scene(moments=12)
    pixels[:, 3] = torch.nan
    pixels[1:, 5] = torch.nan
    pixels[0, 5, 1:] = torch.nan  # one corner
    pixels[:, 7, 4:] = torch.nan
    pixels[:, 7, [1, 2]] = torch.nan  # two corners in three views: the board can turn about them
    pixels[1:, 9] = torch.nan
    pixels[0, 9, 3:] = torch.nan  # three corners of one row in one view
    result = adjust_rigid_bundle(pixels, target, perturbed(truth, 0.005), poses=known)
    assert result.converged
    assert result.rotation.isnan().flatten(1).any(1).tolist() == [moment in (3, 5, 7, 9) for moment in range(12)]
    assert (result.weights[:, [3, 5, 7, 9]] == 0).all()
    kept = [moment for moment in range(12) if moment not in (3, 5, 7, 9)]
    without = adjust_rigid_bundle(
        pixels[:, kept], target, perturbed(truth, 0.005), poses=(known[0][kept], known[1][kept])
    )
    torch.testing.assert_close(result.cameras.translation, without.cameras.translation, rtol=0, atol=1e-9)
    torch.testing.assert_close(result.variance_factor, without.variance_factor)


def test_adjust__board_behind_a_camera_is_left_to_the_others():
    truth, target, known, pixels = scene()
    start = known[0], known[1].clone()
    start[1][2] = truth.centers[1] * 1.5
    result = adjust_rigid_bundle(pixels, target, truth, poses=start)
    assert (result.weights[1, 2] == 0).all()
    assert (result.weights[1, 3] > 0).all()
    assert result.cameras.translation.isfinite().all()


def test_adjust__float32_in_float32_out():
    truth, target, known, pixels = scene()
    result = adjust_rigid_bundle(pixels.float(), target.float(), truth.to(torch.float32), poses=known)
    exact = adjust_rigid_bundle(pixels, target, truth, poses=known)
    assert result.translation.dtype == result.clustered_covariance.dtype == torch.float32
    torch.testing.assert_close(result.translation.double(), exact.translation, rtol=0, atol=1e-4)


def test_adjust__names_what_is_wrong():
    truth, target, known, pixels = scene()
    with pytest.raises(ShapeError, match=r"pixels: expected \(V, M, C, 2\)"):
        adjust_rigid_bundle(pixels[:2], target, truth)
    with pytest.raises(ShapeError, match=r"target: expected \(C, 3\)"):
        adjust_rigid_bundle(pixels, target[:, :2], truth)
    with pytest.raises(InputError, match="target: expected finite points"):
        adjust_rigid_bundle(pixels, target * torch.nan, truth)
    with pytest.raises(ShapeError, match=r"poses: expected rotations \(12, 3, 3\)"):
        adjust_rigid_bundle(pixels, target, truth, poses=(known[0][:3], known[1][:3]))
    with pytest.raises(CalibrationError, match="intrinsics only"):
        adjust_rigid_bundle(pixels, target, replace(truth, rotation=None, translation=None))
    with pytest.raises(CalibrationError, match="finite parameters"):
        adjust_rigid_bundle(pixels, target, replace(truth, intrinsics=truth.intrinsics * torch.nan), poses=known)
    with pytest.raises(InputError, match=r"expected different views of 0\.\.2, got \(3,\)"):
        adjust_rigid_bundle(pixels, target, truth, settings=BundleSettings(held_views=(3,)))
    with pytest.raises(InputError, match="nothing holds the world"):
        adjust_rigid_bundle(pixels, target, truth, settings=BundleSettings(held_views=()))
    with pytest.raises(InputError, match=r"held_moment: expected one of 0\.\.11, got 12"):
        adjust_rigid_bundle(pixels, target, truth, held_moment=12)
    alone = pixels.clone()
    alone[2, :6] = torch.nan
    alone[:2, 6:] = torch.nan
    with pytest.raises(InputError, match=r"views \[2\] share no moment"):
        adjust_rigid_bundle(alone, target, truth, poses=known)
    with pytest.raises(InputError, match="0 usable observations"):
        adjust_rigid_bundle(pixels * torch.nan, target, truth[:3], settings=BundleSettings(held_views=(0, 1, 2)))


def knocked_scene():
    truth, target, known, pixels = scene(moments=30, noise=0.3)
    step = torch.zeros(3, 6, dtype=torch.float64)
    step[2] = torch.tensor([0.004, -0.003, 0.002, 0.003, 0.002, -0.004])
    moved = move_cameras(truth, step, FreeIntrinsics())
    world = target @ known[0].mT + known[1][:, None]
    pixels[2, 18:] = project(world[None], moved)[2, 18:] + 0.3 * randn(12, 12, 2, seed=5)
    return truth, target, known, pixels, step[2]


def test_likeliest_knock__finds_camera_moment_and_size():
    truth, target, known, pixels, step = knocked_scene()
    result = adjust_rigid_bundle(pixels, target, truth, poses=known)
    shares = moment_shares(
        pixels, target, result.cameras, (result.rotation, result.translation), weights=result.weights
    )
    knock = likeliest_knock(shares, (result.weights > 0).any(-1))
    assert (knock.view, knock.moment) == (2, 18)
    torch.testing.assert_close(knock.step, step, rtol=0, atol=1.5e-3)
    # the gain it promises is what a camera of its own for the later moments gains
    split = torch.cat((pixels, pixels[2:3]))
    split[2, 18:] = torch.nan
    split[3, :18] = torch.nan
    freer = adjust_rigid_bundle(split, target, truth[[0, 1, 2, 2]], poses=known)
    actual = 2 * (result.cost_history[-1] - freer.cost_history[-1])
    assert knock.gain == pytest.approx(float(actual), rel=0.05)
    assert geodesic_angle(freer.cameras.rotation[2], freer.cameras.rotation[3]) == pytest.approx(
        float(knock.step[:3].norm()), rel=0.1
    )


def test_likeliest_knock__needs_moments_on_both_sides():
    truth, target, known, pixels, _ = knocked_scene()
    result = adjust_rigid_bundle(pixels, target, truth, poses=known)
    shares = moment_shares(
        pixels, target, result.cameras, (result.rotation, result.translation), weights=result.weights
    )
    assert likeliest_knock(shares, (result.weights > 0).any(-1), least_moments=16) is None


def test_moment_shares__add_up_to_the_adjustment():
    truth, target, known, pixels = scene()
    result = adjust_rigid_bundle(pixels, target, truth, poses=known, settings=BundleSettings(tolerance=1e-14))
    shares = moment_shares(
        pixels, target, result.cameras, (result.rotation, result.translation), weights=result.weights
    )
    free = torch.arange(6, 18)
    information = shares.matrix.sum(0)[free][:, free]
    covariance = result.camera_covariance.reshape(18, 18)[free][:, free] / result.variance_factor
    torch.testing.assert_close(torch.linalg.inv(information), covariance, rtol=1e-4, atol=1e-12)
    assert shares.gradient.sum(0)[free].abs().max() < 0.1
    with pytest.raises(ShapeError, match=r"velocity: expected \(12, 6\)"):
        moment_shares(
            pixels,
            target,
            result.cameras,
            (result.rotation, result.translation),
            weights=result.weights,
            velocity=torch.zeros(3, 6),
        )
