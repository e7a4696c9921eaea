import dataclasses

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.detect.noise import NoiseModel, mahalanobis_squared, with_noise
from marey.detect.prepare import prepare_keypoints
from marey.detect.swaps import apply_swaps

MODEL = NoiseModel(spread=(0.03,) * 4, score_power=0.0)


def test_prepare_keypoints__exchange_bad_view_and_noise_in_one_go():
    cameras = ring(5)
    joints, table = walker(60)
    truth = seen_by(joints, cameras, table)
    seen = seen_by(joints, cameras, table, sigma=5.0)
    halves = torch.zeros(5, 60, 1, 2, dtype=torch.bool)
    halves[0, 10:30] = True
    seen = apply_swaps(seen, halves)
    positions = seen.positions.clone()
    positions[3, 20:50] += torch.tensor([-70.0, 130.0], dtype=positions.dtype)
    prepared = prepare_keypoints(dataclasses.replace(seen, positions=positions), cameras, MODEL)
    assert torch.equal(prepared.swapped, halves.any(-1))
    assert prepared.rejected[3, 22:48].all()
    assert len(prepared.notes) == 3
    distance = mahalanobis_squared(prepared.keypoints.positions - truth.positions, prepared.keypoints.covariance)
    inside = (distance < 4.6052) | distance.isnan()
    assert inside.double().mean().item() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("cameras", [None, ring(1)])
def test_prepare_keypoints__nothing_to_compare_with(cameras):
    joints, table = walker(3)
    seen = seen_by(joints, ring(1), table)
    prepared = prepare_keypoints(seen, cameras, MODEL)
    assert torch.equal(prepared.keypoints.covariance, with_noise(seen, MODEL).covariance)
    assert prepared.noise == MODEL
    assert prepared.notes == ()
