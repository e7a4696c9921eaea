"""One camera: keypoints and a root-relative guess in, absolute joints with the uncertainty of the distance out."""

import math
from dataclasses import replace

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.core import CalibrationError, InputError, Observation, ShapeError
from marey.core.results import DISTANCE
from marey.detect.noise import NoiseModel, with_noise
from marey.geometry.projection import world_to_camera
from marey.methods.classical import MonocularEstimator, place_people
from marey.methods.classical.body_size import LEG, TRUNK, SizePrior, estimate_size, implied_stature
from marey.methods.classical.monocular import GuessNoise, with_distance_error, without_distance_error

SURE = SizePrior(stature_deviation=0.5, proportion_deviation=0.5, detector_deviation=1e-4, jitter=0.0)
"""Believes the detector's size."""
EXACT = GuessNoise(trunk=(0.001, 0.001), limbs=(0.001, 0.001), shared_depth=0.0)


def observation(frames=5, people=2, *, sigma=0.0, scale=1.0, noise=0.0, seed=0):
    cameras = ring(4)[torch.tensor([1])]
    joints, table = walker(frames, people)
    keypoints = with_noise(seen_by(joints, cameras, table, sigma=sigma, seed=seed), NoiseModel(spread=(0.01,) * 4))
    inside = world_to_camera(joints[None], cameras)
    guess = scale * (inside - inside[..., 11:13, :].mean(-2, keepdim=True))  # about the hips
    guess = guess + noise * torch.randn(guess.shape, generator=torch.Generator().manual_seed(seed + 1)).double()
    return Observation(keypoints=keypoints, monocular=guess, cameras=cameras, start=10), joints


def test_monocular__exact_evidence_in_a_calibrated_world():
    given, truth = observation()
    estimate = MonocularEstimator(size=SURE, noise=EXACT)(given)
    torch.testing.assert_close(estimate.joints.positions, truth, rtol=0, atol=1e-6)
    assert estimate.diagnostics.residuals.max() < 1e-3
    assert estimate.frames == tuple(range(10, 15))
    torch.testing.assert_close(estimate.joints.score, torch.full_like(estimate.joints.score, 0.9))
    assert not estimate.joints.filled.any()


def test_monocular__without_a_place_the_camera_is_the_world():
    given, truth = observation()
    own = replace(given, cameras=replace(given.cameras, rotation=None, translation=None))
    estimate = MonocularEstimator(size=SURE, noise=EXACT)(own)
    inside = world_to_camera(truth[None], given.cameras)[0]
    torch.testing.assert_close(estimate.joints.positions, inside, rtol=0, atol=1e-6)
    assert estimate.cameras.has_extrinsics
    assert torch.equal(estimate.cameras.centers, torch.zeros(1, 3, dtype=torch.float64))


def test_monocular__a_guess_too_small_is_drawn_towards_adults():
    given, truth = observation(frames=4, people=1, scale=0.9)
    inside = world_to_camera(truth[None], given.cameras)[0]
    own = replace(given, cameras=replace(given.cameras, rotation=None, translation=None))
    depth = MonocularEstimator()(own).joints.positions[..., 2].mean()
    ratio = float(depth / inside[..., 2].mean())
    assert 0.9 < ratio < 1.0
    told = MonocularEstimator(stature=float(implied_stature(inside, torch.ones(4, 1, 17), given.keypoints.skeleton)[0]))
    nearer = float(told(own).joints.positions[..., 2].mean() / inside[..., 2].mean())
    assert abs(nearer - 1) < abs(ratio - 1)


def test_monocular__covariance_covers_the_depth():
    cameras = ring(1)
    joints, table = walker(1)
    generator = torch.Generator().manual_seed(4)
    trials = 400
    inside = world_to_camera(joints[None], cameras)[0].expand(1, trials, 17, 3)
    clean = seen_by(joints, cameras, table).positions
    pixels = clean.expand(1, 1, trials, 17, 2) + 3 * torch.randn(1, 1, trials, 17, 2, generator=generator).double()
    keypoints = replace(
        seen_by(joints.expand(1, trials, 17, 3), cameras, table),
        positions=pixels,
        covariance=9 * torch.eye(2).double().expand(1, 1, trials, 17, 2, 2),
        score=torch.ones(1, 1, trials, 17).double(),
    )
    factor = torch.exp(0.05 * torch.randn(1, trials, 1, 1, generator=generator).double())
    noise = torch.tensor([0.03, 0.03, 0.05]).double() * torch.randn(1, trials, 17, 3, generator=generator).double()
    guess = (factor * (inside - inside[..., 11:12, :]) + noise)[None]
    prior = SizePrior(stature_deviation=1e3, proportion_deviation=1e3)  # the detector's size alone, 5 %
    model = GuessNoise(trunk=(0.03, 0.05), limbs=(0.03, 0.05), score_power=0.0, shared_depth=0.0)
    own = replace(cameras, rotation=torch.eye(3).double()[None], translation=torch.zeros(1, 3).double())
    found, _, _ = place_people(keypoints, guess, own, prior=prior, noise=model)
    hip = table.index("left_hip")
    error = found.positions[0, :, hip, 2] - inside[0, :, hip, 2]
    sigmas = (error / found.covariance[0, :, hip, 2, 2].sqrt()).abs()
    assert abs(float((sigmas <= 1.645).double().mean()) - 0.9) < 0.045
    assert abs(float((sigmas <= 0.6745).double().mean()) - 0.5) < 0.075


@pytest.mark.parametrize("deviation", [0.0, 0.25])
def test_monocular__unknown_focal_length_is_uncertain_distance(deviation):
    given, _ = observation(people=1)
    own = replace(given, cameras=replace(given.cameras, rotation=None, translation=None))
    joints = MonocularEstimator(focal_deviation=deviation)(own).joints
    relative = (joints.covariance[..., 2, 2].sqrt() / joints.positions[..., 2]).mean()
    assert (0.2 < relative < 0.3) if deviation else (0.03 < relative < 0.06)


def test_monocular__who_is_not_there_stays_unknown():
    given, truth = observation()
    given.keypoints.positions[0, 2, 1] = torch.nan
    given.keypoints.covariance[0, 2, 1] = torch.nan
    given.monocular[0, 2, 1] = torch.nan
    joints = MonocularEstimator(size=SURE, noise=EXACT)(given).joints
    assert joints.positions[2, 1].isnan().all()
    assert joints.covariance[2, 1].isnan().all()
    assert (joints.score[2, 1] == 0).all()
    torch.testing.assert_close(joints.positions[2, 0], truth[2, 0], rtol=0, atol=1e-6)


def test_monocular__notes_say_how_tall_everybody_is():
    given, _ = observation()
    notes = MonocularEstimator()(given).notes
    assert len(notes) == 2
    assert "m tall" in notes[0]
    assert "uncertain by 4 %" in notes[0]
    given.keypoints.score[:, :, 1, 11:13] = 0.2
    assert "trunk is not seen" in MonocularEstimator()(given).notes[1]


def test_monocular__what_is_missing():
    given, _ = observation()
    with pytest.raises(InputError, match="3D guess"):
        MonocularEstimator()(replace(given, monocular=None))
    with pytest.raises(CalibrationError, match="cameras_from_field_of_view"):
        MonocularEstimator()(replace(given, cameras=None))
    with pytest.raises(InputError, match="got 2 views"):
        MonocularEstimator()(replace(given, keypoints=type(given.keypoints).cat([given.keypoints] * 2)))
    with pytest.raises(ShapeError, match="guess: expected"):
        MonocularEstimator()(replace(given, monocular=given.monocular[:, :, :1]))


def test_implied_stature__of_an_average_body():
    joints, table = walker(3)
    score = torch.ones(3, 1, 17).double()
    trunk, leg = 1.4 - 0.92, math.hypot(0.12, 0.01, 0.42) + math.hypot(0.12, 0.42)
    still = joints[:1]  # nothing swings at the start
    assert float(implied_stature(still, score[:1], table)) == pytest.approx((trunk + leg) / (TRUNK + LEG), abs=1e-6)
    score[..., table.index("left_ankle")] = 0.1  # the other leg is enough
    assert float(implied_stature(still, score[:1], table)) == pytest.approx((trunk + leg) / (TRUNK + LEG), abs=1e-6)
    score[..., table.index("right_knee")] = 0.1  # no leg: the trunk
    assert float(implied_stature(still, score[:1], table)) == pytest.approx(trunk / TRUNK, abs=1e-6)


def test_estimate_size__between_the_detector_and_adults():
    joints, table = walker(3)
    score = torch.ones(3, 1, 17).double()
    for scale in (0.85, 1.0, 1.15):
        size = estimate_size(scale * joints, score, table, SizePrior())
        low, high = sorted((float(size.measured), 1.70))
        assert low < float(size.stature) < high
        assert float(size.deviation) < 0.05


def test_estimate_size__a_child_is_believed():
    joints, table = walker(3)
    size = estimate_size(0.55 * joints, torch.ones(3, 1, 17).double(), table, SizePrior())
    assert float(size.measured) < 1.0
    assert float(size.stature / size.measured) < 1.12
    assert float(size.deviation) > 0.045


def test_estimate_size__jitter_of_the_size_is_halved():
    joints, table = walker(5)
    wobble = torch.tensor([1.0, 1.1, 1.0, 1.0, 1.0]).double()[:, None, None, None]
    size = estimate_size(joints[:1] * wobble, torch.ones(5, 1, 17).double(), table, SizePrior())
    torch.testing.assert_close(size.factor[1] / size.factor[0], torch.tensor([1.1**-0.5]).double())


@pytest.mark.parametrize("change", [{"stature": 0.0}, {"stature": 170.0}, {"jitter": 1.5}, {"detector_deviation": -1}])
def test_size_prior__impossible(change):
    with pytest.raises(InputError, match="size prior"):
        SizePrior(**change)


def test_distance_error__taken_out_and_put_back():
    given, _ = observation(noise=0.02)
    estimate = MonocularEstimator(focal_deviation=0.25)(given)
    deviation = torch.tensor(estimate.provenance[DISTANCE]).double()
    assert deviation.shape == (2,)
    assert (deviation > 0.25).all()
    center = estimate.cameras.centers[0]
    passing = without_distance_error(estimate.joints, center, deviation)
    away = (estimate.joints.positions - center).norm(dim=-1)
    along = (estimate.joints.positions - center) / away[..., None]

    def spread(joints):
        return (along[..., None, :] @ joints.covariance @ along[..., None])[..., 0, 0].sqrt()

    assert (spread(passing) < 0.15).all()
    assert (spread(passing) > 0.01).all()
    torch.testing.assert_close(
        spread(estimate.joints), (spread(passing) ** 2 + (deviation[:, None] * away) ** 2) ** 0.5
    )
    again = with_distance_error(passing, center, deviation)
    torch.testing.assert_close(again.covariance, estimate.joints.covariance)
