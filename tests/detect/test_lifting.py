"""The shipped lifter: a 3D guess with covariance where there are keypoints only."""

import dataclasses
import math
import shutil

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.core import Detections2D, FormatError, InputError, Skeleton
from marey.detect.lifting import WEIGHTS, lift_keypoints, shipped_lifter, with_lifted_guess
from marey.detect.noise import NoiseModel, default_noise, with_noise
from marey.geometry.projection import project, world_to_camera
from marey.io.weights import load_weights, read_card
from marey.nn.lifter import Lifter, LifterConfig

QUIET = NoiseModel(spread=(0.02,) * 4)


def seen(frames=10, people=1, views=4, sigma=0.0):
    """Keypoints (V, T, P) with covariance, the cameras, and the root-relative truth in their axes."""
    cameras = ring(views)
    joints, table = walker(frames, people)
    keypoints = with_noise(seen_by(joints, cameras, table, sigma=sigma), QUIET)
    inside = world_to_camera(joints[None].expand(views, *joints.shape), cameras)
    hips = inside[..., table.indices(("left_hip", "right_hip")), :].mean(-2, keepdim=True)
    return keypoints, cameras, inside - hips


def error(found, truth):
    return float((found - truth).norm(dim=-1).mean())


def test_lift__people_from_all_sides():
    keypoints, cameras, truth = seen()
    found, covariance = lift_keypoints(keypoints, cameras)
    assert found.shape == truth.shape
    assert found.dtype == torch.float64
    mean = truth.mean((0, 1, 2))
    assert error(found, truth) < 0.12
    assert error(found, truth) < error(mean, truth) / 1.5
    residual = (found - truth)[..., None]
    squared = (residual.mT @ torch.linalg.inv(covariance) @ residual)[..., 0, 0]
    assert (squared < 6.25).double().mean() > 0.7  # a figure of sticks, unlike those it learnt from


def test_lift__an_untrained_network_does_not():
    torch.manual_seed(0)
    keypoints, cameras, truth = seen()
    untrained = Lifter(LifterConfig(width=32, blocks=1))
    found, covariance = lift_keypoints(keypoints, cameras, lifter=untrained)
    assert error(found, truth) > 0.3
    assert not found.requires_grad
    assert not covariance.requires_grad


@pytest.mark.parametrize("angle", [-0.5, 0.4])
def test_lift__turning_the_camera_turns_joints_and_covariance(angle):
    keypoints, cameras, _ = seen(views=1)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).double()
    panned = dataclasses.replace(
        cameras, rotation=turn @ cameras.rotation, translation=(turn @ cameras.translation[..., None])[..., 0]
    )
    joints, _ = walker(10)
    pixels = project(joints[None], panned)
    focal = 1000.0

    def jacobian(at):
        """Of normalised coordinates in the panned camera by those in the first."""
        u, v = ((at - torch.tensor([640.0, 480.0]).double()) / focal).unbind(-1)
        depth = turn[2, 0] * u + turn[2, 2]
        x, y = (turn[0, 0] * u + turn[0, 2]) / depth, v / depth
        zero = torch.zeros_like(u)
        return torch.stack(
            (
                torch.stack(((turn[0, 0] - x * turn[2, 0]) / depth, zero), -1),
                torch.stack((-y * turn[2, 0] / depth, 1 / depth), -1),
            ),
            -2,
        )

    carry = jacobian(keypoints.positions)
    there = dataclasses.replace(keypoints, positions=pixels, covariance=carry @ keypoints.covariance @ carry.mT)
    found, covariance = lift_keypoints(keypoints, cameras)
    moved, spread = lift_keypoints(there, panned)
    torch.testing.assert_close(moved, found @ turn.mT, rtol=0, atol=2e-5)
    torch.testing.assert_close(spread, turn @ covariance @ turn.mT, rtol=1e-3, atol=1e-6)


def test_lift__the_resolution_of_the_image_does_not_matter():
    keypoints, cameras, _ = seen(views=2)
    scale = torch.tensor([2.0, 2.0, 1.0]).double()
    fine = dataclasses.replace(cameras, intrinsics=scale[:, None] * cameras.intrinsics)
    large = dataclasses.replace(keypoints, positions=2 * keypoints.positions, covariance=4 * keypoints.covariance)
    for here, there in zip(lift_keypoints(keypoints, cameras), lift_keypoints(large, fine), strict=True):
        torch.testing.assert_close(there, here, rtol=0, atol=1e-5)


def test_lift__a_lens_is_taken_out():
    keypoints, cameras, _ = seen(views=2)
    bent = dataclasses.replace(cameras, distortion=torch.tensor([[-0.2, 0.05, 0.0, 0.0]] * 2).double())
    joints, _ = walker(10)
    through = dataclasses.replace(keypoints, positions=project(joints[None].expand(2, *joints.shape), bent))
    found, _ = lift_keypoints(through, bent)
    torch.testing.assert_close(found, lift_keypoints(keypoints, cameras)[0], rtol=0, atol=0.01)


def test_lift__a_missing_joint_is_guessed_with_less_certainty():
    keypoints, cameras, truth = seen()
    wrist = keypoints.skeleton.index("left_wrist")
    whole, sure = lift_keypoints(keypoints, cameras)
    hidden = keypoints.map(torch.clone)
    hidden.positions[..., wrist, :] = torch.nan
    hidden.covariance[..., wrist, :, :] = torch.nan
    hidden.score[..., wrist] = 0
    found, unsure = lift_keypoints(hidden, cameras)
    assert found.isfinite().all()
    volume = torch.linalg.det(unsure) / torch.linalg.det(sure)
    assert volume[..., wrist].median() > 3
    assert error(found[..., wrist, :], truth[..., wrist, :]) > error(whole[..., wrist, :], truth[..., wrist, :])


def test_lift__who_is_not_there_stays_unknown():
    keypoints, cameras, _ = seen(people=2)
    alone, _ = lift_keypoints(keypoints[:, :, :1], cameras)
    keypoints.positions[:, :, 1] = torch.nan
    keypoints.score[:, :, 1] = 0
    found, covariance = lift_keypoints(keypoints, cameras)
    torch.testing.assert_close(found[:, :, :1], alone, rtol=0, atol=1e-5)
    assert found[:, :, 1].isnan().all()
    assert covariance[:, :, 1].isnan().all()


def test_lift__three_joints_are_too_few():
    keypoints, cameras, _ = seen(frames=1)
    keypoints.positions[..., 3:, :] = torch.nan
    assert lift_keypoints(keypoints, cameras)[0].isnan().all()


def test_lift__noisier_keypoints_make_wider_covariances():
    keypoints, cameras, _ = seen()
    noisy = dataclasses.replace(keypoints, covariance=16 * keypoints.covariance)
    quiet, loud = (torch.linalg.det(lift_keypoints(points, cameras)[1]) for points in (keypoints, noisy))
    assert (loud > quiet).double().mean() > 0.8
    assert (loud / quiet).median() > 1.5


def test_lift__joints_of_other_names():
    keypoints, cameras, _ = seen()
    names = list(keypoints.skeleton.joints)
    tail, odd = ["tail", *names[1:]], [f"marker_{place}" for place in range(14)] + names[14:]
    renamed = dataclasses.replace(keypoints, skeleton=Skeleton("with_tail", tuple(tail), ()))
    found, covariance = lift_keypoints(renamed, cameras)
    assert found[..., 0, :].isnan().all()
    assert covariance[..., 0, :, :].isnan().all()
    assert found[..., 1:, :].isfinite().all()
    with pytest.raises(InputError, match="knows 3 of these"):
        lift_keypoints(dataclasses.replace(keypoints, skeleton=Skeleton("odd", tuple(odd), ())), cameras)


def test_with_lifted_guess__fills_detections():
    keypoints, cameras, _ = seen()
    bare = dataclasses.replace(keypoints, covariance=torch.full_like(keypoints.covariance, torch.nan))
    found = with_lifted_guess(Detections2D(keypoints=bare), cameras, detector="openpose")
    expected = lift_keypoints(with_noise(bare, default_noise("openpose")), cameras)
    assert torch.equal(found.monocular, expected[0])
    assert torch.equal(found.monocular_covariance, expected[1])
    assert found.keypoints is bare


def test_weights__are_small_and_say_where_they_come_from():
    card = read_card(WEIGHTS)
    assert card["method"] == "lifting"
    assert card["recipe"] == "default"
    assert card["steps"] == card["steps_of_run"]
    assert len(card["calibration"]["covariance_factor"]) == 50
    assert sum(part.numel() for part in shipped_lifter().parameters()) < 1_000_000
    assert sum(len(WEIGHTS.joinpath(name).read_bytes()) for name in card["shards"]) < 2_000_000


def test_weights__damaged_ones_are_refused(tmp_path):
    copied = shutil.copytree(str(WEIGHTS), tmp_path / "lifter")
    shard = next(copied.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-10] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(FormatError, match="SHA-256"):
        load_weights(Lifter(LifterConfig(**read_card(copied)["network"])), copied)
