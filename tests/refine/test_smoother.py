import math
from dataclasses import replace

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.refine.smoother import SmootherConfig, smooth
from refine.recordings import joints_of, seconds, waving

CHI2_90 = 6.251


def _noisy(frames, people=1, *, sigma=0.01, seed=0):
    truth = waving(frames, people)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed), dtype=truth.dtype)
    return truth, joints_of(truth + sigma * noise, sigma=sigma)


def _coverage(joints, truth, chosen):
    error = (joints.positions - truth)[chosen]
    return (torch.linalg.solve(joints.covariance[chosen], error) * error).sum(-1)


@pytest.mark.parametrize("motion", ["constant_velocity", "constant_acceleration"])
def test_smooth__halves_the_error_and_says_how_large_it_is(motion):
    truth, joints = _noisy(400, 2)
    smoothed = smooth(joints, seconds(400), config=SmootherConfig(motion=motion))
    before, after = ((found.positions - truth).square().sum(-1).mean().sqrt() for found in (joints, smoothed))
    assert after < 0.5 * before
    inside = (_coverage(smoothed, truth, smoothed.score > 0) < CHI2_90).double().mean()
    assert 0.85 < inside < 0.98
    assert not smoothed.filled.float().mean() > 0.01


def test_smooth__keeps_the_speed_of_fast_and_of_slow_joints():
    time = seconds(600)
    fast, slow = 0.25 * torch.sin(2 * torch.pi * 2.5 * time), 0.02 * torch.sin(2 * torch.pi * 0.2 * time)
    truth = torch.zeros(600, 1, 17, 3, dtype=torch.float64)
    truth[:, 0, 9, 2], truth[:, 0, 10, 2] = fast, slow
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    smoothed = smooth(joints_of(truth + 0.01 * noise, sigma=0.03), time)  # stated three times too large
    found = smoothed.positions[:, 0, 9, 2]
    assert found.diff().square().mean().sqrt() == pytest.approx(float(fast.diff().square().mean().sqrt()), rel=0.03)
    assert (smoothed.positions[:, 0, 15] - truth[:, 0, 15]).square().sum(-1).mean().sqrt() < 0.004


def test_smooth__burst_in_a_quiet_recording_is_not_flattened():
    time = seconds(1200)
    window = torch.exp(-(((time - 10) / 0.4) ** 2))
    truth = torch.zeros(1200, 1, 17, 3, dtype=torch.float64)
    truth[:, 0, 10, 0] = 0.25 * window * torch.sin(2 * torch.pi * 2 * time)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    smoothed = smooth(joints_of(truth + 0.005 * noise, sigma=0.005), time)
    error = (smoothed.positions - truth)[:, 0, 10].square().sum(-1).sqrt()
    assert error[540:660].square().mean().sqrt() < 0.0085, "no worse than the measurements"
    peak = truth[:, 0, 10, 0].diff().abs().max()
    assert smoothed.positions[:, 0, 10, 0].diff().abs().max() > 0.9 * peak


def test_smooth__short_gap_is_filled_with_a_covariance_that_grows():
    truth, joints = _noisy(300)
    positions = joints.positions.clone()
    positions[100:112, 0, 9] = torch.nan
    smoothed = smooth(joints_of(positions), seconds(300))
    assert smoothed.filled[100:112, 0, 9].all()
    spread = smoothed.covariance[:, 0, 9].diagonal(dim1=-1, dim2=-2).sum(-1).sqrt()
    assert spread[106] > spread[102] > spread[99]
    assert spread[106] > spread[109] > spread[112]
    error = (smoothed.positions - truth)[100:112, 0, 9].norm(dim=-1)
    assert (error < 3.5 * spread[100:112]).all()
    assert smoothed.score[106, 0, 9] == pytest.approx(0.4)


def test_smooth__filled_values_are_as_uncertain_as_they_say():
    truth, joints = _noisy(600, 2, seed=7)
    positions = joints.positions.clone()
    for start in range(20, 580, 40):
        positions[start : start + 10] = torch.nan
    smoothed = smooth(joints_of(positions), seconds(600))
    distance = _coverage(smoothed, truth, smoothed.filled)
    assert smoothed.filled.float().mean() > 0.2
    assert 0.8 < (distance < CHI2_90).double().mean() <= 0.999


def test_smooth__error_that_changes_slowly_stays_in_the_covariance():
    generator = torch.Generator().manual_seed(8)
    truth = waving(600, 2)
    shocks = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    lasting, keep = torch.empty_like(truth), math.exp(-1 / 60 / 2.0)
    value = shocks[0]
    for frame in range(600):
        value = keep * value + math.sqrt(1 - keep**2) * shocks[frame]
        lasting[frame] = 0.015 * value
    noise = 0.005 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    smoothed = smooth(joints_of(truth + lasting + noise, sigma=math.hypot(0.015, 0.005)), seconds(600))
    inside = (_coverage(smoothed, truth, smoothed.score > 0) < CHI2_90).double().mean()
    assert 0.85 < inside < 0.95


def test_smooth__long_gap_and_ends_stay_unknown_and_part_the_trajectory():
    _, joints = _noisy(200)
    positions = joints.positions.clone()
    positions[:10], positions[80:120], positions[190:] = torch.nan, torch.nan, torch.nan
    positions[120:] += 5.0
    smoothed = smooth(joints_of(positions), seconds(200))
    unknown = torch.zeros(200, dtype=torch.bool)
    unknown[:10] = unknown[80:120] = unknown[190:] = True
    assert torch.equal(smoothed.positions.isnan().all((-1, -2, -3)), unknown)
    assert torch.equal(smoothed.covariance.isnan().flatten(1).all(-1), unknown)
    assert (smoothed.score[unknown] == 0).all()
    alone = smooth(joints_of(positions[120:190]), seconds(70))
    torch.testing.assert_close(smoothed.positions[120:190], alone.positions, atol=0.01, rtol=0)


def test_smooth__outlier_is_replaced_and_flagged():
    truth, joints = _noisy(300)
    positions = joints.positions.clone()
    positions[150, 0, 5] += 0.5
    smoothed = smooth(joints_of(positions), seconds(300))
    assert smoothed.filled[150, 0, 5]
    assert (smoothed.positions[150, 0, 5] - truth[150, 0, 5]).norm() < 0.02
    plain = smooth(joints_of(positions), seconds(300), config=SmootherConfig(robust_passes=0))
    assert (plain.positions[150, 0, 5] - truth[150, 0, 5]).norm() > 0.03


def test_smooth__turns_with_the_world():
    _, joints = _noisy(120)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    spread = torch.diag(torch.tensor([1.0, 4.0, 25.0]).double()) * 1e-4
    joints = replace(joints, covariance=spread.expand_as(joints.covariance))
    turned = replace(
        joints,
        positions=joints.positions @ rotation.T + 3,
        covariance=rotation @ joints.covariance @ rotation.T,
    )
    first, second = smooth(joints, seconds(120)), smooth(turned, seconds(120))
    torch.testing.assert_close(second.positions, first.positions @ rotation.T + 3, atol=1e-8, rtol=0)
    torch.testing.assert_close(second.covariance, rotation @ first.covariance @ rotation.T, atol=1e-10, rtol=0)


def test_smooth__uneven_times_count():
    generator = torch.Generator().manual_seed(5)
    times = (torch.rand(300, generator=generator).double() * 0.03 + 0.002).cumsum(0)
    truth = torch.zeros(300, 1, 17, 3, dtype=torch.float64)
    truth[..., 0] = (1.5 * torch.sin(2 * times))[:, None, None]
    noise = 0.01 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    error = (smooth(joints_of(truth + noise), times).positions - truth).square().sum(-1).mean().sqrt()
    blind = (smooth(joints_of(truth + noise), seconds(300)).positions - truth).square().sum(-1).mean().sqrt()
    assert error < 0.006
    assert error < 0.8 * blind


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth__keeps_the_type_and_the_input(dtype):
    joints = joints_of(waving(30).to(dtype))
    before = joints.positions.clone()
    smoothed = smooth(joints, seconds(30))
    assert smoothed.positions.dtype == smoothed.covariance.dtype == smoothed.score.dtype == dtype
    assert torch.equal(joints.positions, before)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_smooth__few_frames(frames):
    joints = joints_of(waving(frames))
    smoothed = smooth(joints, seconds(frames))
    torch.testing.assert_close(smoothed.positions, joints.positions, atol=0.02, rtol=0)


def test_smooth__nothing_known_stays_nothing():
    smoothed = smooth(joints_of(torch.full((20, 2, 17, 3), math.nan, dtype=torch.float64)), seconds(20))
    assert smoothed.positions.isnan().all()
    assert not smoothed.filled.any()


def test_smooth__nobody():
    joints = joints_of(torch.zeros(5, 0, 17, 3, dtype=torch.float64))
    assert smooth(joints, seconds(5)).batch_shape == (5, 0)


def test_smooth__bad_times_are_refused():
    joints = joints_of(waving(4))
    with pytest.raises(ShapeError, match="times: expected"):
        smooth(joints, seconds(5))
    with pytest.raises(InputError, match="ascend"):
        smooth(joints, torch.tensor([0.0, 0.1, 0.1, 0.2]))
    with pytest.raises(ShapeError, match="batch shape"):
        smooth(joints[0], seconds(4))


@pytest.mark.slow
def test_smooth__ten_thousand_frames_of_two_people_take_seconds():
    import time

    joints = joints_of(waving(10_000, 2, joints=25), name="body_25b").to(torch.float32)
    start = time.process_time()
    smooth(joints, seconds(10_000))
    assert time.process_time() - start < 40
