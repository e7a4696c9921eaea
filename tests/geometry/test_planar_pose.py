from dataclasses import replace

import pytest
import torch

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.planar_pose import locate_target, planar_poses
from marey.geometry.projection import project, project_from_camera
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(columns=5, rows=4, square=0.05):
    x, y = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
    return torch.stack((x, y, torch.zeros_like(x)), -1).reshape(-1, 3).double() * square


def cameras(views=3, fisheye=False):
    K = torch.tensor([[900.0, 0.3, 640], [0, 910, 360], [0, 0, 1]]).double().repeat(views, 1, 1)
    distortion = torch.tensor([-0.1, 0.03, 0.001, -0.002]).double().repeat(views, 1)
    return Cameras(
        intrinsics=K,
        distortion=distortion * (torch.tensor([1.0, 1, 0, 0]) if fisheye else 1),
        image_size=torch.tensor([1280.0, 720]).double().expand(views, 2),
        fisheye=torch.ones(views, dtype=torch.bool) if fisheye else None,
    )


def boards(*batch, seed=0, tilt=0.5, away=1.2):
    """Rotations and translations of boards in front of a camera."""
    rotation = rotvec_to_matrix(tilt * randn(*batch, 3, seed=seed))
    place = 0.1 * randn(*batch, 3, seed=seed + 1)
    place[..., 2] += away
    return rotation, place


def seen_by(lenses, rotation, translation, target):
    return project_from_camera(target @ rotation.mT + translation[..., None, :], lenses)


@pytest.mark.parametrize("batch", [(3, 1), (3, 7), (3, 2, 1, 3)])
@pytest.mark.parametrize("fisheye", [False, True])
def test_planar_poses__exact_pixels_give_the_pose(batch, fisheye):
    lenses, target = cameras(fisheye=fisheye), grid()
    rotation, translation = boards(*batch)
    pixels = seen_by(lenses, rotation, translation, target)
    found = planar_poses(pixels, target, lenses)
    assert found.rotation.shape == (*batch, 2, 3, 3)
    torch.testing.assert_close(found.rotation[..., 0, :, :], rotation, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.translation[..., 0, :], translation, rtol=0, atol=1e-6)
    assert found.rms[..., 0].max() < 1e-5
    assert (found.rms[..., 1] >= found.rms[..., 0]).all()


def test_planar_poses__second_solution_is_the_board_tilted_the_other_way():
    lenses, target = cameras(1), grid()
    target = target - target.mean(0)
    rotation = rotvec_to_matrix(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))[None, None]
    translation = torch.tensor([0.0, 0.0, 6.0], dtype=torch.float64)[None, None]
    found = planar_poses(seen_by(lenses, rotation, translation, target), target, lenses)
    mirrored = rotvec_to_matrix(torch.tensor([0.0, -0.4, 0.0], dtype=torch.float64))
    assert geodesic_angle(found.rotation[0, 0, 0], rotation[0, 0]) < 1e-5
    assert geodesic_angle(found.rotation[0, 0, 1], mirrored) < 0.05
    assert 0.001 < found.rms[0, 0, 1] < 1.0


def test_planar_poses__refined_pose_minimises_the_reprojection_error():
    lenses, target = cameras(), grid()
    rotation, translation = boards(3, 5)
    pixels = seen_by(lenses, rotation, translation, target) + 0.5 * randn(3, 5, 20, 2, seed=4)
    found = planar_poses(pixels, target, lenses)

    def cost(turn, shift):
        moved = rotvec_to_matrix(turn) @ found.rotation[..., 0, :, :]
        seen = seen_by(lenses, moved, found.translation[..., 0, :] + shift, target)
        return (seen - pixels).square().sum() / 2

    zero = torch.zeros(3, 5, 3, dtype=torch.float64)
    for gradient in torch.func.grad(cost, argnums=(0, 1))(zero, zero):
        assert gradient.abs().max() < 1.0  # per radian or metre, where the curvature is 1e5
    expected = (2 * cost(zero, zero) / 300).sqrt()
    torch.testing.assert_close(found.rms[..., 0].square().mean().sqrt(), expected)


def test_planar_poses__few_or_collinear_corners_give_nan():
    lenses, target = cameras(1), grid()
    rotation, translation = boards(1, 4)
    pixels = seen_by(lenses, rotation, translation, target)
    pixels[0, 0, 3:] = torch.nan  # three corners
    pixels[0, 1, 5:] = torch.nan  # the first row alone
    pixels[0, 2] = torch.nan
    found = planar_poses(pixels, target, lenses)
    assert found.rotation[0, :3].isnan().all()
    assert found.rms[0, :3].isnan().all()
    assert found.rotation[0, 3].isfinite().all()
    corners = torch.isin(torch.arange(20), torch.tensor([0, 4, 15, 19]))
    four = torch.where(corners[:, None], seen_by(lenses, rotation, translation, target), torch.nan)
    found = planar_poses(four, target, lenses)
    torch.testing.assert_close(found.rotation[:, :, 0], rotation, rtol=0, atol=1e-5)


def test_planar_poses__names_what_is_wrong():
    lenses, target = cameras(2), grid()
    with pytest.raises(ShapeError, match=r"pixels: expected \(V, \.\.\., C, 2\)"):
        planar_poses(torch.zeros(3, 4, 20, 2), target, lenses)
    with pytest.raises(ShapeError, match="four points or more"):
        planar_poses(torch.zeros(2, 4, 3, 2), target[:3], lenses)
    with pytest.raises(InputError, match="flat"):
        planar_poses(torch.zeros(2, 4, 20, 2), target + 1, lenses)


def placed(views=3):
    lenses = cameras(views)
    turns = rotvec_to_matrix(torch.stack([torch.tensor([0.0, 0.5 * v, 0.0]) for v in range(views)]).double())
    shift = torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64)
    return replace(lenses, rotation=turns, translation=shift.expand(views, 3))


def scene(moments=12, noise=0.0):
    there, target = placed(), grid()
    target = target - target.mean(0)
    rotation = rotvec_to_matrix(0.4 * randn(moments, 3, seed=2))
    translation = 0.1 * randn(moments, 3, seed=3)
    world = target @ rotation.mT + translation[:, None]
    return there, target, rotation, translation, project(world[None], there) + noise * randn(3, moments, 20, 2, seed=4)


def test_locate_target__views_choose_the_right_one_of_two_solutions():
    there, target, rotation, translation, pixels = scene(moments=60, noise=2.0)
    alone = planar_poses(pixels, target, there)
    first = geodesic_angle(there.rotation[:, None].mT @ alone.rotation[:, :, 0], rotation.expand(3, -1, -1, -1))
    together = locate_target(pixels, target, there)
    angle = geodesic_angle(together.rotation, rotation)
    # one view alone takes the wrong one now and then; the others know better
    assert (first > 0.25).sum() >= 3
    assert (angle > 0.25).sum() == 0
    assert (together.translation - translation).norm(dim=-1).max() < 0.1


def test_locate_target__false_board_of_one_view_is_outvoted():
    there, target, rotation, _, pixels = scene(noise=0.2)
    pixels[1, 4] = pixels[1, 9]
    found = locate_target(pixels, target, there)
    assert geodesic_angle(found.rotation[4], rotation[4]) < 0.1
    assert found.rms[1, 4] > 20
    assert found.rms[[0, 2], 4].max() < 5


def test_locate_target__tells_the_order_of_the_corners():
    there, target, _, _, pixels = scene(noise=0.1)
    orders = torch.stack((torch.arange(20), torch.arange(20).flip(0)))
    turned = pixels.clone()
    turned[2, ::2] = pixels[2, ::2].flip(1)
    found = locate_target(turned, target, there, orders=orders)
    relative = found.order[2] != found.order[0]
    assert relative.tolist() == [True, False] * 6
    assert found.rms.max() < 5


def test_locate_target__moment_that_nobody_saw_is_nan():
    there, target, _, _, pixels = scene()
    pixels[:, 5] = torch.nan
    pixels[1:, 6] = torch.nan
    found = locate_target(pixels, target, there)
    assert found.rotation[5].isnan().all()
    assert found.rms[:, 5].isnan().all()
    assert found.rotation[6].isfinite().all()
    assert found.rms[:, 6].isnan().tolist() == [False, True, True]
