from dataclasses import replace

import pytest
import torch

from marey.core import skeleton
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.refine.bone_lengths import BoneLengths, measure_bones, rigid_bones
from marey.refine.bones import constrain_bones
from refine.recordings import joints_of, waving


@pytest.fixture(scope="module")
def truth():
    """Joints (400, 2) of figures whose bones are rigid."""
    return make_keypoint_capture(KeypointCaptureConfig(frames=400, people=2, fps=20)).truth.to(torch.float64)


def _noisy(truth, sigma, seed=0):
    noise = torch.randn(truth.positions.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return joints_of(truth.positions + torch.as_tensor(sigma)[..., None] * noise, sigma=sigma, name="body_25b")


def _lengths(joints, bones):
    tail, head = torch.tensor(bones).T
    return (joints.positions[..., head, :] - joints.positions[..., tail, :]).norm(dim=-1)


def _exact(truth):
    bones = rigid_bones(truth.skeleton)
    length = _lengths(truth, bones)[0]
    return BoneLengths(bones=bones, length=length, deviation=torch.zeros_like(length))


@pytest.mark.parametrize(("name", "count"), [("coco_17", 9), ("body_25b", 15), ("h36m_17", 10), ("mediapipe_33", 15)])
def test_rigid_bones__are_limbs_feet_and_hips(name, count):
    names = skeleton(name)
    bones = {frozenset((names.joints[a], names.joints[b])) for a, b in rigid_bones(names)}
    assert {frozenset(("left_hip", "left_knee")), frozenset(("right_elbow", "right_wrist"))} <= bones
    assert frozenset(("left_shoulder", "right_shoulder")) not in bones
    assert len(bones) == count


def test_measured_lengths__are_right_and_as_certain_as_they_say(truth):
    exact = _exact(truth)
    ratios = []
    for seed in range(6):
        found = measure_bones(_noisy(truth, 0.02, seed), asymmetry=float("inf"))
        torch.testing.assert_close(found.length, exact.length, atol=0.008, rtol=0)
        ratios.append((found.length - exact.length) / found.deviation)
    assert 0.7 < torch.stack(ratios).square().mean().sqrt() < 1.4


def _standing_still(truth, sigma, seeds=20):
    """Many recordings (12, seeds) of one still figure, each with one error of size `sigma` that never changes."""
    still = truth.positions[:1, :1].expand(1, seeds, -1, -1)
    error = sigma * torch.randn(still.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return joints_of((still + error).expand(12, -1, -1, -1), sigma=sigma, name="body_25b")


@pytest.mark.parametrize("asymmetry", [0.01, float("inf")])
def test_measured_lengths__of_a_still_figure_doubt_the_error_that_lasts(truth, asymmetry):
    found = measure_bones(_standing_still(truth, 0.01), asymmetry=asymmetry)
    ratio = (found.length - _exact(truth).length[:1]) / found.deviation
    torch.testing.assert_close(found.deviation, torch.full_like(found.deviation, 0.01 * 2**0.5))
    assert (ratio.abs() < 2).double().mean() > 0.93
    assert ratio.square().mean().sqrt() < 1.1


def test_measured_lengths__average_down_what_does_not_last(truth):
    few, many = (measure_bones(_noisy(truth, 0.02)[:frames], asymmetry=float("inf")) for frames in (100, 400))
    assert many.deviation.median() < 0.6 * few.deviation.median()
    assert many.deviation.median() < 0.1 * 0.02 * 2**0.5


def test_constrained__still_figure_gets_no_certainty_from_seeing_the_same_again(truth):
    joints = _standing_still(truth, 0.01)
    held = constrain_bones(joints, measure_bones(joints, asymmetry=float("inf")))
    before, after = (found.covariance.diagonal(dim1=-2, dim2=-1).sum(-1) for found in (joints, held))
    assert (after > 0.92 * before).all()
    error = held.positions - truth.positions[:1, :1]
    distance = (torch.linalg.solve(held.covariance, error) * error).sum(-1)
    assert (distance < 6.251).double().mean() == pytest.approx(0.9, abs=0.02)


def test_measured_lengths__ignore_outliers_and_filled_values(truth):
    joints = _noisy(truth, 0.01)
    spoiled = joints.positions.clone()
    spoiled[::12, :, 10] += 0.6
    filled = joints.filled.clone()
    spoiled[100:250, :, 9] += 0.3
    filled[100:250, :, 9] = True
    found = measure_bones(replace(joints, positions=spoiled, filled=filled))
    torch.testing.assert_close(found.length, _exact(truth).length, atol=0.006, rtol=0)


def test_measured_lengths__draw_left_and_right_together(truth):
    joints = _noisy(truth, 0.03)[:15]
    apart, together = (measure_bones(joints, asymmetry=asymmetry) for asymmetry in (float("inf"), 0.001))
    names = joints.skeleton.joints
    pairs = [
        (place, apart.bones.index(tuple(joints.skeleton.mirror[joint] for joint in bone)))
        for place, bone in enumerate(apart.bones)
        if names[bone[0]].startswith("left_") and names[bone[1]].startswith("left_")
    ]
    assert len(pairs) == 7
    left, right = torch.tensor(pairs).T
    assert (together.length[:, left] - together.length[:, right]).abs().max() < 0.001
    assert (apart.length[:, left] - apart.length[:, right]).abs().mean() > 0.002
    assert (together.deviation <= apart.deviation + 1e-12).all()


def test_measured_lengths__of_a_bone_never_seen_are_nan():
    positions = waving(20)
    positions[:, :, 9] = torch.nan
    found = measure_bones(joints_of(positions))
    names = skeleton("coco_17")
    place = found.bones.index((names.index("left_elbow"), names.index("left_wrist")))
    assert found.length[0, place].isnan()
    assert found.length[0].isfinite().sum() == len(found.bones) - 1


def test_constrained__bones_have_their_length_and_joints_come_closer(truth):
    joints = _noisy(truth, 0.02)
    exact = _exact(truth)
    held = constrain_bones(joints, exact)
    assert (_lengths(held, exact.bones) - exact.length).abs().max() < 0.0005
    moved = sorted({joint for bone in exact.bones for joint in bone})
    error = [(found.positions - truth.positions)[..., moved, :].square().mean().sqrt() for found in (joints, held)]
    assert error[1] < 0.93 * error[0]


def test_constrained__covariance_is_honest(truth):
    generator = torch.Generator().manual_seed(1)
    sigma = 0.004 + 0.03 * torch.rand(truth.score.shape, generator=generator, dtype=torch.float64)
    held = constrain_bones(_noisy(truth, sigma), _exact(truth))
    error = held.positions - truth.positions
    distance = (torch.linalg.solve(held.covariance, error) * error).sum(-1)
    assert (distance < 6.251).double().mean() == pytest.approx(0.9, abs=0.02)


def test_constrained__covariance_counts_the_doubt_about_the_length(truth):
    joints, exact = _noisy(truth, 0.02), _exact(truth)
    sure = constrain_bones(joints, exact)
    unsure = constrain_bones(joints, replace(exact, deviation=torch.full_like(exact.deviation, 0.01)))
    assert torch.equal(sure.positions, unsure.positions)
    growth = (unsure.covariance - sure.covariance).diagonal(dim1=-1, dim2=-2).sum(-1)
    assert (growth > -1e-12).all()
    assert growth[..., joints.skeleton.index("left_knee")].mean() > 1e-6


def test_constrained__uncertain_joint_moves_and_the_certain_one_stays(truth):
    sigma = torch.full(truth.score.shape, 0.001, dtype=torch.float64)
    wrist, elbow = truth.skeleton.indices(["left_wrist", "left_elbow"])
    sigma[..., wrist] = 0.05
    off = truth.positions.clone()
    off[..., wrist, :] += 0.1
    held = constrain_bones(joints_of(off, sigma=sigma, name="body_25b"), _exact(truth))
    change = (held.positions - off).norm(dim=-1)
    assert change[..., elbow].max() < 0.01 * change[..., wrist].max()


def test_constrained__grossly_wrong_joint_converges(truth):
    joints = _noisy(truth, 0.02)
    off = joints.positions.clone()
    off[..., joints.skeleton.index("right_wrist"), :] += 0.3
    exact = _exact(truth)
    held = constrain_bones(replace(joints, positions=off), exact)
    assert (_lengths(held, exact.bones) - exact.length).abs().max() < 0.002


def test_constrained__unknown_joints_stay_unknown_and_hold_no_other(truth):
    joints = _noisy(truth, 0.02)
    knee = joints.skeleton.index("left_knee")
    positions = joints.positions.clone()
    positions[:, :, knee] = torch.nan
    held = constrain_bones(joints_of(positions, sigma=0.02, name="body_25b"), _exact(truth))
    assert held.positions[:, :, knee].isnan().all()
    assert held.positions.isfinite().all(-1).sum() == positions.isfinite().all(-1).sum()


def test_constrained__turns_with_the_world(truth):
    joints, exact = _noisy(truth, 0.02)[:10], _exact(truth)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    turned = replace(joints, positions=joints.positions @ rotation.T + 2)
    torch.testing.assert_close(
        constrain_bones(turned, exact).positions, constrain_bones(joints, exact).positions @ rotation.T + 2
    )
