"""Relative joints placed by the pixels of one camera: exact, equivariant, and as uncertain as it says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.absolute import absolute_joints, place_by_projection
from marey.geometry.field_of_view import cameras_from_field_of_view, field_of_view_of_film
from marey.geometry.projection import project_from_camera, undistort_pixels

JOINTS = 17


def camera(batch=(), *, lens=False):
    intrinsics = torch.tensor([[1500.0, 0.0, 620.0], [0.0, 1510.0, 350.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    distortion = torch.tensor([-0.2, 0.08, 0.001, -0.0015, 0.0] if lens else [], dtype=torch.float64)
    return Cameras(
        intrinsics=intrinsics.expand(*batch, 3, 3),
        distortion=distortion.expand(*batch, -1),
        image_size=torch.tensor([1280.0, 720.0], dtype=torch.float64).expand(*batch, 2),
    )


def body(shape=(), *, joints=JOINTS, seed=0):
    """Relative joints the size of a person and places in front of the camera."""
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([0.25, 0.45, 0.2], dtype=torch.float64)
    relative = extent * torch.randn(*shape, joints, 3, generator=generator, dtype=torch.float64)
    place = torch.randn(*shape, 3, generator=generator, dtype=torch.float64) * 0.3
    return relative, place + torch.tensor([0.1, 0.2, 4.0], dtype=torch.float64)


def seen(relative, place, cameras):
    return project_from_camera(relative + place[..., None, :], cameras)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize("lens", [False, True])
@pytest.mark.parametrize("perspective", ["full", "weak"])
def test_place_by_projection__exact_without_noise(shape, lens, perspective):
    relative, place = body(shape)
    cameras = camera(lens=lens)
    found = place_by_projection(relative, seen(relative, place, cameras), cameras, perspective=perspective)
    torch.testing.assert_close(found.translation, place, rtol=0, atol=1e-8)
    assert found.covariance.shape == (*shape, 3, 3)
    assert found.residuals.shape == found.weights.shape == (*shape, JOINTS)
    assert found.residuals.max() < 1e-5
    assert (found.weights == 1).all()


def test_place_by_projection__one_camera_a_body():
    relative, place = body((2, 3))
    cameras = camera((2,))
    intrinsics = cameras.intrinsics.clone()
    intrinsics[1, :2] *= 0.5
    cameras = replace(cameras, intrinsics=intrinsics)
    found = place_by_projection(relative, seen(relative, place, cameras), cameras)
    torch.testing.assert_close(found.translation, place, rtol=0, atol=1e-8)


@pytest.mark.parametrize("distance", [1.0, 8.0, 60.0])
def test_place_by_projection__single_precision(distance):
    relative, place = body((50,))
    place[:, 2] = distance
    pixels = seen(relative, place, camera())
    found = place_by_projection(relative.float(), pixels.float(), camera().to(torch.float32))
    # pixels are rounded to 6e-5, of a body some 900 / distance pixels in extent
    bound = 2e-6 * distance * max(1.0, distance)
    assert ((found.translation.double() - place).norm(dim=-1) / distance).max() < bound


def test_place_by_projection__linear_solution_without_steps():
    relative, place = body((4,))
    found = place_by_projection(relative, seen(relative, place, camera()), camera(), steps=0)
    torch.testing.assert_close(found.translation, place, rtol=0, atol=1e-9)


def test_place_by_projection__weak_start_is_near():
    relative, place = body((20,))
    found = place_by_projection(relative, seen(relative, place, camera()), camera(), perspective="weak", steps=0)
    off = (found.translation - place).norm(dim=-1) / place[:, 2]
    assert 0.001 < off.mean() < 0.1  # an approximation, and nothing worse


def test_place_by_projection__equals_scipy():
    generator = torch.Generator().manual_seed(3)
    relative, place = body((3,))
    cameras = camera(lens=True)
    pixels = seen(relative, place, cameras)
    pixels = pixels + 3 * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    covariance = torch.diag_embed(1 + 20 * torch.rand(pixels.shape, generator=generator, dtype=torch.float64))
    ideal = replace(cameras, distortion=cameras.distortion[:0])
    points, warp = undistort_pixels(pixels, cameras)
    root = torch.linalg.cholesky(torch.linalg.inv(warp @ covariance @ warp.mT)).mT
    found = place_by_projection(relative, pixels, cameras, pixel_covariance=covariance, robust=False, steps=10)
    for index in range(3):

        def residuals(t, index=index):
            projected = project_from_camera(relative[index] + torch.from_numpy(t), ideal)
            return (root[index] @ (projected - points[index])[..., None]).flatten().numpy()

        twin = least_squares(residuals, place[index].numpy(), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(found.translation[index], twin.x, atol=1e-7)
        np.testing.assert_allclose(found.covariance[index], np.linalg.inv(twin.jac.T @ twin.jac), rtol=1e-5)


def test_place_by_projection__covariance_covers():
    generator = torch.Generator().manual_seed(5)
    relative, place = body((4000,))
    spread = torch.tensor([0.02, 0.03, 0.06], dtype=torch.float64)
    pixels = seen(relative, place, camera())
    noisy = relative + spread * torch.randn(relative.shape, generator=generator, dtype=torch.float64)
    pixels = pixels + 4 * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    found = place_by_projection(
        noisy,
        pixels,
        camera(),
        pixel_covariance=16 * torch.eye(2),
        relative_covariance=torch.diag(spread.square()),
    )
    off = found.translation - place
    distance = (off[:, None] @ torch.linalg.solve(found.covariance, off[..., None]))[:, 0, 0]
    assert abs(float((distance <= 6.251).double().mean()) - 0.9) < 0.025  # 90 % of chi squared, 3 degrees of freedom
    assert abs(float((distance <= 2.366).double().mean()) - 0.5) < 0.035


def test_place_by_projection__outliers_count_little():
    relative, place = body((30,))
    pixels = seen(relative, place, camera())
    pixels[:, 3] += torch.tensor([250.0, -180.0])
    options = {"pixel_covariance": 9 * torch.eye(2)}
    robust = place_by_projection(relative, pixels, camera(), **options)
    plain = place_by_projection(relative, pixels, camera(), robust=False, **options)
    assert (robust.translation - place).norm(dim=-1).max() < 0.02
    assert (plain.translation - place).norm(dim=-1).mean() > 0.1
    assert (robust.weights[:, 3] < 0.01).all()


def test_place_by_projection__principal_point_moves_nothing():
    relative, place = body((3,))
    shift = torch.tensor([[0.0, 0, 33], [0, 0, -21], [0, 0, 0]], dtype=torch.float64)
    moved = replace(camera(), intrinsics=camera().intrinsics + shift)
    pixels = seen(relative, place, camera()) + torch.randn(3, JOINTS, 2, dtype=torch.float64)
    one = place_by_projection(relative, pixels, camera())
    other = place_by_projection(relative, pixels + shift[:2, 2], moved)
    torch.testing.assert_close(one.translation, other.translation)
    torch.testing.assert_close(one.covariance, other.covariance)


def test_place_by_projection__turns_with_the_camera():
    square = replace(camera(), intrinsics=torch.tensor([[1500.0, 0, 0], [0, 1500, 0], [0, 0, 1]]).double())
    cosine, sine = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
    relative, place = body((3,))
    pixels = seen(relative, place, square) + torch.randn(3, JOINTS, 2, dtype=torch.float64)
    one = place_by_projection(relative, pixels, square)
    other = place_by_projection(relative @ turn.T, pixels @ turn[:2, :2].T, square)
    torch.testing.assert_close(one.translation @ turn.T, other.translation)
    torch.testing.assert_close(turn @ one.covariance @ turn.T, other.covariance)


def test_place_by_projection__a_body_twice_as_large_stands_twice_as_far():
    relative, place = body((3,))
    pixels = seen(relative, place, camera()) + torch.randn(3, JOINTS, 2, dtype=torch.float64)
    one = place_by_projection(relative, pixels, camera())
    other = place_by_projection(2 * relative, pixels, camera())
    torch.testing.assert_close(2 * one.translation, other.translation)


def test_place_by_projection__order_of_joints_does_not_matter():
    relative, place = body()
    pixels = seen(relative, place, camera()) + torch.randn(JOINTS, 2, dtype=torch.float64)
    order = torch.randperm(JOINTS)
    one, other = place_by_projection(relative, pixels, camera()), None
    other = place_by_projection(relative[order], pixels[order], camera())
    torch.testing.assert_close(one.translation, other.translation)
    torch.testing.assert_close(one.weights[order], other.weights)


def test_place_by_projection__missing_joints_do_not_count():
    relative, place = body((2,))
    pixels = seen(relative, place, camera())
    pixels[0, 2], relative[0, 5] = torch.nan, torch.nan
    weights = torch.ones(2, JOINTS, dtype=torch.float64)
    pixels[1, 7] += 300
    weights[1, 7] = 0
    found = place_by_projection(relative, pixels, camera(), weights=weights)
    torch.testing.assert_close(found.translation, place, rtol=0, atol=1e-8)
    assert found.weights[0, [2, 5]].tolist() == [0, 0]
    assert found.weights[1, 7] == 0
    assert found.residuals[0, [2, 5]].isnan().all()
    assert found.residuals[1, 7] > 300


@pytest.mark.parametrize("case", ["nothing", "one joint", "one pixel", "one point", "behind"])
@pytest.mark.parametrize("perspective", ["full", "weak"])
def test_place_by_projection__degenerate_is_nan_and_leaves_the_rest(case, perspective):
    relative, place = body((2,))
    pixels = seen(relative, place, camera())
    if case == "nothing":
        pixels[0] = torch.nan
    if case == "one joint":
        pixels[0, 1:] = torch.nan
    if case == "one pixel":
        pixels[0] = torch.tensor([600.0, 300.0])
    if case == "one point":
        relative[0] = 0.3
    if case == "behind":  # upside down and mirrored: the projection of the body at -z
        pixels[0] = 2 * camera().intrinsics[:2, 2] - pixels[0]
    found = place_by_projection(relative, pixels, camera(), perspective=perspective, steps=0 if case == "behind" else 6)
    torch.testing.assert_close(found.translation[1], place[1], rtol=0, atol=0.3 if case == "behind" else 1e-8)
    if case == "behind" and perspective == "weak":
        return  # spreads have no sign: the residuals tell
    assert found.translation[0].isnan().all()
    assert found.covariance[0].isnan().all()
    assert (found.weights[0] == 0).all()


def test_place_by_projection__two_joints_suffice():
    relative, place = body((5,), joints=2)
    found = place_by_projection(relative, seen(relative, place, camera()), camera())
    torch.testing.assert_close(found.translation, place, rtol=0, atol=1e-6)


def test_place_by_projection__gradient():
    relative, place = body(joints=5)
    pixels = seen(relative, place, camera()) + torch.randn(5, 2, generator=torch.Generator().manual_seed(1)).double()
    pixels[4] = torch.nan

    def place_of(joints, points):
        return place_by_projection(joints, torch.cat((points, pixels[4:])), camera()).translation

    inputs = (relative.requires_grad_(), pixels[:4].clone().requires_grad_())
    assert torch.autograd.gradcheck(place_of, inputs)


def test_absolute_joints__exact_without_noise():
    relative, place = body((2, 3))
    covariance = 0.01 * torch.eye(3)
    found = absolute_joints(relative, seen(relative, place, camera()), camera(), relative_covariance=covariance)
    torch.testing.assert_close(found.positions, relative + place[..., None, :], rtol=0, atol=1e-7)


def test_absolute_joints__sure_pixels_are_met_and_sure_joints_stay():
    relative, place = body()
    pixels = seen(relative, place, camera())
    pixels[3] += 5.0
    sure = absolute_joints(
        relative,
        pixels,
        camera(),
        relative_covariance=0.01 * torch.eye(3),
        pixel_covariance=0.0001 * torch.eye(2),
        robust=False,
    )
    assert (project_from_camera(sure.positions, camera()) - pixels).abs().max() < 0.02
    stiff = absolute_joints(relative, pixels, camera(), relative_covariance=1e-10 * torch.eye(3))
    moved = stiff.positions - stiff.placement.translation
    torch.testing.assert_close(moved, relative, rtol=0, atol=1e-5)


def test_absolute_joints__unseen_joint_keeps_its_place_in_the_body():
    relative, place = body()
    pixels = seen(relative, place, camera())
    pixels[4] = torch.nan
    covariance = torch.diag(torch.tensor([0.01, 0.02, 0.03]).double())
    found = absolute_joints(relative, pixels, camera(), relative_covariance=covariance)
    torch.testing.assert_close(found.positions[4], relative[4] + place, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.covariance[4], covariance + found.placement.covariance)
    # a joint that is seen is known better across the line of sight
    assert found.covariance[5, 0, 0] < 0.1 * found.covariance[4, 0, 0]


def test_absolute_joints__covariance_covers():
    generator = torch.Generator().manual_seed(8)
    relative, place = body((3000,))
    spread = torch.tensor([0.03, 0.03, 0.08], dtype=torch.float64)
    truth = relative + place[:, None]
    pixels = project_from_camera(truth, camera())
    factor = torch.exp(0.05 * torch.randn(3000, 1, 1, generator=generator, dtype=torch.float64))
    guess = factor * relative + spread * torch.randn(relative.shape, generator=generator, dtype=torch.float64)
    pixels = pixels + 4 * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    found = absolute_joints(
        guess,
        pixels,
        camera(),
        relative_covariance=torch.diag(spread.square()),
        pixel_covariance=16 * torch.eye(2),
        distance_deviation=0.05,
    )
    off = found.positions - truth
    distance = (off[..., None, :] @ torch.linalg.solve(found.covariance, off[..., None]))[..., 0, 0]
    assert abs(float((distance <= 6.251).double().mean()) - 0.9) < 0.025
    root = found.placement.translation[:, 2] - place[:, 2]
    deviation = (found.placement.covariance[:, 2, 2] + (0.05 * place[:, 2]).square()).sqrt()
    assert abs(float((root.abs() <= 1.645 * deviation).double().mean()) - 0.9) < 0.025


def test_absolute_joints__distance_deviation_lies_along_the_ray():
    relative, place = body()
    options = {"relative_covariance": 0.001 * torch.eye(3)}
    pixels = seen(relative, place, camera())
    sharp = absolute_joints(relative, pixels, camera(), **options)
    blurred = absolute_joints(relative, pixels, camera(), distance_deviation=0.1, **options)
    joints = sharp.positions
    torch.testing.assert_close(blurred.covariance - sharp.covariance, 0.01 * joints[..., None] * joints[..., None, :])


def test_absolute_joints__gradient():
    relative, place = body(joints=4)
    pixels = seen(relative, place, camera()) + torch.randn(4, 2, generator=torch.Generator().manual_seed(1)).double()

    def positions_of(joints, points):
        return absolute_joints(joints, points, camera(), relative_covariance=0.01 * torch.eye(3)).positions

    assert torch.autograd.gradcheck(positions_of, (relative.requires_grad_(), pixels.requires_grad_()))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"pixels": torch.zeros(JOINTS - 1, 2)}, ShapeError, "of the same shape"),
        ({"relative": torch.zeros(JOINTS, 3, dtype=torch.long)}, ShapeError, "floating-point metres"),
        ({"perspective": "strong"}, InputError, "one of full, weak"),
        ({"weights": torch.ones(4)}, ShapeError, "broadcast to the joints"),
        ({"pixel_covariance": torch.ones(3, 2, 2)}, ShapeError, "broadcast to the joints"),
    ],
)
def test_place_by_projection__errors(change, error, match):
    relative, place = body()
    arguments = {"relative": relative, "pixels": seen(relative, place, camera()), "cameras": camera()} | change
    with pytest.raises(error, match=match):
        place_by_projection(**arguments)


def test_cameras_from_field_of_view__edges_lie_at_half_the_angle():
    cameras = cameras_from_field_of_view(torch.tensor([[1920.0, 1080.0], [720.0, 1280.0]]), 60.0)
    assert cameras.batch_shape == (2,)
    half = math.tan(math.radians(30))
    edges = torch.tensor([[half, 0.0, 1.0], [0.0, half, 1.0]])
    torch.testing.assert_close(
        project_from_camera(edges, cameras), torch.tensor([[1919.5, 539.5], [359.5, 1279.5]]), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("degrees", [0.0, 180.0, -5.0, math.nan])
def test_cameras_from_field_of_view__impossible(degrees):
    with pytest.raises(InputError, match="between 0 and 180"):
        cameras_from_field_of_view(torch.tensor([640.0, 480.0]), degrees)


def test_field_of_view_of_film__the_film_itself():
    # 36 mm wide behind 18 mm: 45 degrees to each side
    assert field_of_view_of_film((3600, 2400), 18.0) == pytest.approx(90.0, abs=1e-3)
    assert field_of_view_of_film((2400, 3600), 18.0) == pytest.approx(90.0, abs=1e-3)
    with pytest.raises(InputError, match="above 0"):
        field_of_view_of_film((3600, 2400), 0.0)
