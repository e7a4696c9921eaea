import dataclasses
import math

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.core import InputError, Keypoints2D, skeleton
from marey.detect.noise import (
    JOINT_CLASSES,
    NoiseModel,
    calibrate_noise,
    default_noise,
    joint_classes,
    mahalanobis_squared,
    person_size,
    predict_from_others,
    with_noise,
)
from marey.geometry.projection import project_with_jacobian
from marey.geometry.triangulation import triangulate

FLAT = NoiseModel(spread=(0.02,) * 4, floor=0.1, score_power=0.0)


def keypoints_at(positions, score, table):
    positions = torch.as_tensor(positions, dtype=torch.float64)
    return Keypoints2D(
        positions=positions,
        covariance=torch.full((*positions.shape, 2), torch.nan, dtype=torch.float64),
        score=torch.as_tensor(score, dtype=torch.float64),
        skeleton=table,
    )


def coverage(keypoints, cameras):
    predicted, spread = predict_from_others(keypoints, cameras)
    distance = mahalanobis_squared(keypoints.positions - predicted, spread + keypoints.covariance)
    return (distance[distance.isfinite()] < 4.6052).double().mean().item()


def test_with_noise__the_formula_of_the_head_by_hand():
    table = skeleton("coco_17").select(["nose", "left_hip", "left_knee", "left_ankle"])
    square = [[[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]]]
    model = NoiseModel(spread=(0.01, 0.02, 0.03, 0.04), scale=(1, 2, 3, 4), score_power=2.0, floor=2.0)
    covariance = with_noise(keypoints_at([square], [[[1.0, 0.5, 0.5, 0.01]]], table), model).covariance[0, 0]
    size = math.sqrt(5000)
    sigmas = [0.01 * size, 0.02 * size * 4, 0.03 * size * 4, 0.03 * size * 100]
    expected = [scale * sigma**2 + 4 for scale, sigma in zip((1, 2, 3, 3), sigmas, strict=True)]
    assert torch.allclose(covariance[:, 0, 0], torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(covariance[:, 0, 0], covariance[:, 1, 1])
    assert (covariance[:, 0, 1] == 0).all()


def test_with_noise__missing_joint_stays_missing():
    joints, table = walker(2)
    seen = seen_by(joints, ring(2), table)
    seen.positions[0, 0, 0, 3] = torch.nan
    seen.score[0, 0, 0, 3] = 0
    covariance = with_noise(seen, FLAT).covariance
    assert covariance[0, 0, 0, 3].isnan().all()
    assert covariance.isnan().sum() == 4


def test_with_noise__detectors_own_covariance_keeps_its_shape():
    joints, table = walker(1)
    seen = seen_by(joints, ring(2), table)
    own = torch.tensor([[9.0, 3.0], [3.0, 4.0]], dtype=torch.float64)
    seen.covariance[0, 0, 0, 5] = own
    model = dataclasses.replace(FLAT, scale=(2.0,) * 4, floor=1.0, view_scale=(3.0, 1.0))
    covariance = with_noise(seen, model).covariance
    assert torch.allclose(covariance[0, 0, 0, 5], 6 * own + torch.eye(2, dtype=torch.float64))
    assert covariance[0, 0, 0, 6, 0, 1] == 0


@pytest.mark.parametrize("batch", [(1, 1), (3, 2, 1)])
def test_with_noise__any_batch(batch):
    table = skeleton("coco_17")
    positions = torch.rand(*batch, 17, 2, dtype=torch.float64) * 300
    assert with_noise(keypoints_at(positions, torch.ones(*batch, 17), table), FLAT).batch_shape == batch


def test_with_noise__scales_with_the_image():
    joints, table = walker(3)
    seen = seen_by(joints, ring(3), table)
    model = dataclasses.replace(FLAT, floor=1e-6)
    twice = dataclasses.replace(seen, positions=seen.positions * 2)
    assert torch.allclose(with_noise(twice, model).covariance, 4 * with_noise(seen, model).covariance)


def test_with_noise__other_number_of_views_is_refused():
    joints, table = walker(1)
    with pytest.raises(InputError, match="calibrated for 2 views, got keypoints of 3"):
        with_noise(seen_by(joints, ring(3), table), dataclasses.replace(FLAT, view_scale=(1.0, 1.0)))


@pytest.mark.parametrize(
    "change", [{"floor": 0.0}, {"spread": (1.0,)}, {"scale": (1.0, math.nan, 1.0, 1.0)}, {"least_score": 0.0}]
)
def test_noise_model__nonsense_is_refused(change):
    with pytest.raises(InputError, match="noise model: "):
        dataclasses.replace(FLAT, **change)


def test_person_size__few_joints_take_the_slots_median():
    positions = torch.full((3, 1, 17, 2), torch.nan)
    positions[:2] = torch.rand(17, 2) * 200
    positions[2, 0, 0] = 5.0
    size = person_size(positions)
    assert size[2] == size[0]
    assert (person_size(torch.full((2, 1, 17, 2), torch.nan)) == 200).all()
    assert person_size(torch.zeros(0, 0, 17, 2)).shape == (0, 0)


def test_joint_classes__every_shipped_skeleton():
    assert [JOINT_CLASSES[i] for i in joint_classes(skeleton("body_25b").select(["nose", "neck", "left_knee"]))] == [
        "head",
        "trunk",
        "limb",
    ]
    assert JOINT_CLASSES[joint_classes(skeleton("mediapipe_33"))[-1]] == "tip"


@pytest.mark.parametrize("views", [3, 4, 6])
def test_predict_from_others__equals_triangulating_without_the_view(views):
    cameras = ring(views)
    joints, table = walker(4)
    seen = with_noise(seen_by(joints, cameras, table, sigma=3.0), dataclasses.replace(FLAT, floor=3.0))
    predicted, spread = predict_from_others(seen, cameras)
    for view in range(views):
        rest = [v for v in range(views) if v != view]
        found = triangulate(seen.positions[rest], cameras[rest], covariance=seen.covariance[rest], method="weighted")
        pixel, jacobian = project_with_jacobian(found.positions[None], cameras[[view]])
        # the downdate is linear; what is left is the curvature of the projection, 1e-2 pixels here
        assert torch.allclose(predicted[view], pixel[0], atol=0.05)
        assert torch.allclose(spread[view], (jacobian @ found.covariance @ jacobian.mT)[0], rtol=0.03, atol=0.5)


def test_predict_from_others__view_that_saw_nothing_and_joint_of_two_views():
    cameras = ring(3)
    joints, table = walker(1)
    seen = with_noise(seen_by(joints, cameras, table), FLAT)
    seen.positions[0, :, :, 4] = torch.nan
    seen.covariance[0, :, :, 4] = torch.nan
    seen.score[0, :, :, 4] = 0
    predicted, _ = predict_from_others(seen, cameras)
    truth = seen_by(joints, cameras, table).positions
    assert torch.allclose(predicted[0, :, :, 4], truth[0, :, :, 4], atol=1e-3)
    assert predicted[1:, :, :, 4].isnan().all()


@pytest.mark.parametrize("sigma", [0.7, 4.0, 20.0])
def test_calibrate_noise__finds_the_noise_that_was_made(sigma):
    cameras = ring(5)
    joints, table = walker(60)
    seen = seen_by(joints, cameras, table, sigma=sigma)
    model = calibrate_noise(FLAT, seen, cameras)
    found = with_noise(seen, model)
    assert found.covariance[..., 0, 0].mean().sqrt().item() == pytest.approx(sigma, rel=0.1)
    assert coverage(found, cameras) == pytest.approx(0.9, abs=0.02)


def test_calibrate_noise__two_views_use_the_epipolar_residual():
    cameras = ring(5)[[0, 1]]
    joints, table = walker(200)
    seen = seen_by(joints, cameras, table, sigma=4.0)
    found = with_noise(seen, calibrate_noise(FLAT, seen, cameras))
    assert found.covariance[..., 0, 0].mean().sqrt().item() == pytest.approx(4.0, rel=0.1)


def test_calibrate_noise__gross_errors_widen_little_and_a_noisy_view_is_found():
    cameras = ring(6)
    joints, table = walker(100)
    seen = seen_by(joints, cameras, table, sigma=4.0)
    wrong = torch.rand(seen.score.shape, generator=torch.Generator().manual_seed(1)) < 0.03
    seen.positions[wrong] += 150
    model = calibrate_noise(FLAT, seen, cameras)
    assert with_noise(seen, model).covariance[..., 0, 0].mean().sqrt().item() == pytest.approx(4.0, rel=0.25)
    noisy = seen_by(joints, cameras, table, sigma=4.0)
    noisy.positions[2] += 4 * torch.randn(noisy.positions[2].shape, generator=torch.Generator().manual_seed(2))
    assert max(model.view_scale) < 1.3
    scales = calibrate_noise(FLAT, noisy, cameras).view_scale
    assert scales.index(max(scales)) == 2
    assert scales[2] > 1.5 * sorted(scales)[-2]


def test_calibrate_noise__exact_keypoints_end_at_the_floor():
    cameras = ring(4)
    joints, table = walker(40)
    seen = seen_by(joints, cameras, table)
    covariance = with_noise(seen, calibrate_noise(FLAT, seen, cameras)).covariance
    assert covariance[..., 0, 0].max() < 2 * FLAT.floor**2


def test_calibrate_noise__too_few_residuals_warn_and_change_nothing():
    cameras = ring(4)
    joints, table = walker(1)
    with pytest.warns(UserWarning, match="68 residuals between views are too few"):
        assert calibrate_noise(FLAT, seen_by(joints, cameras, table), cameras) == FLAT


def test_default_noise__unknown_detector_gets_the_general_model():
    assert default_noise("something") == NoiseModel()
    assert default_noise("openpose") != NoiseModel()
