"""What the benchmark of one camera computes, on numbers that can be checked by hand."""

import importlib
import sys

import pytest
import torch

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
one_camera = importlib.import_module("one_camera")


def test_root_depth__midway_between_the_hips():
    joints = torch.tensor([[[0.0, 0, 9], [0, 0, 2], [0, 0, 4]]])
    assert one_camera.root_depth(joints, ("nose", "right_hip", "left_hip")).tolist() == [3.0]


def test_depth_errors__by_hand():
    truth = torch.full((4,), 2.0, dtype=torch.float64)
    depth = torch.tensor([2.1, 1.9, 2.2, 2.0], dtype=torch.float64)
    errors = one_camera.depth_errors(depth, torch.full_like(truth, 0.1), truth)
    assert errors["depth_error_percent"] == pytest.approx(5.0)
    assert errors["depth_bias_percent"] == pytest.approx(2.5)
    assert errors["stated_deviation_percent"] == pytest.approx(5.0)
    assert errors["interval_90"] == 0.75
    assert errors["interval_50"] == 0.25


def test_pa_mpjpe__blind_to_similarity_only():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(3, 17, 3, generator=generator, dtype=torch.float64)
    turned = 1.3 * truth[..., [1, 2, 0]] + 5.0
    assert one_camera.pa_mpjpe(turned, truth) < 1e-9
    bent = turned.clone()
    bent[:, 3] += 0.2
    assert one_camera.pa_mpjpe(bent, truth) > 1


def test_summary__means_and_the_worst():
    views = [
        {
            "depth_error_percent": error,
            "interval_90": 1.0,
            "interval_50": 0.5,
            "pa_mpjpe_mm": 80.0,
            "world_landmarks_pa_mpjpe_mm": landmarks,
            "own_hips": {"depth_error_percent": error + 1},
        }
        for error, landmarks in ((1.0, 100.0), (3.0, 64.0))
    ]
    found = one_camera.summary(views)
    assert found["depth_error_percent"] == 2.0
    assert found["worst_depth_error_percent"] == 3.0
    assert found["depth_error_percent_own_hips"] == 3.0
    assert found["worst_pa_mpjpe_ratio"] == 1.25
