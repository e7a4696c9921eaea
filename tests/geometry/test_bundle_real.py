"""Bundle adjustment and scale on real recordings: a board of known size, and a man before four cameras."""

import csv

import numpy as np
import pytest
import torch

from marey.geometry.bundle import BundleSettings, adjust_bundle
from marey.geometry.bundle_cameras import FreeIntrinsics, move_cameras
from marey.geometry.robust import RobustLoss
from marey.geometry.scale import rescale_cameras, scale_from_lengths, segment_lengths
from marey.geometry.triangulation import triangulate
from marey.io.camera_toml import read_camera_toml
from marey.io.openpose import read_openpose_folder

pytestmark = pytest.mark.realdata

SQUARE = 0.054
"""Metres between neighbouring corners of the board."""


@pytest.fixture(scope="module")
def board(shared_data):
    """Cameras, corners (V, T, 12, 2), and pairs of corners with their true distances."""
    folder = shared_data / "caliscope_charuco" / "4_cam_recording"
    with (folder / "calibration" / "extrinsic" / "xy.csv").open(encoding="utf-8") as file:
        rows = [
            (int(row["cam_id"]), int(row["sync_index"]), int(row["keypoint_id"]), row["img_loc_x"], row["img_loc_y"])
            for row in csv.DictReader(file)
        ]
    frames = sorted({row[1] for row in rows})
    pixels = np.full((4, len(frames), 12, 2), np.nan)
    for view, frame, corner, x, y in rows:
        pixels[view, frames.index(frame), corner] = float(x), float(y)
    cameras = read_camera_toml(folder / "camera_array.toml", dtype=torch.float64)
    places = np.stack(np.divmod(np.arange(12), 3), -1) * SQUARE
    pairs = [(a, b) for b in range(12) for a in range(b)]
    known = torch.tensor([np.linalg.norm(places[a] - places[b]) for a, b in pairs])
    return cameras, torch.from_numpy(pixels), pairs, known


def rigid_error(points, pairs, known):
    """Root mean square error of the board's distances after scaling, metres, and the scale."""
    lengths, _ = segment_lengths(points, pairs)
    scale = scale_from_lengths(lengths, known)
    return (scale.factor * lengths - known).square().nanmean().sqrt(), scale


def test_adjust__board_stays_rigid_and_metric(board):
    cameras, pixels, pairs, known = board
    result = adjust_bundle(pixels, cameras, settings=BundleSettings(loss=RobustLoss("huber", 1.0)))
    given, _ = rigid_error(triangulate(pixels, cameras, method="weighted").positions, pairs, known)
    found, scale = rigid_error(result.points, pairs, known)
    assert result.converged
    assert result.residuals.norm(dim=-1).nanmedian() < 0.45
    assert found < given < 0.00081
    assert scale.factor.item() == pytest.approx(1.0, abs=0.005)


def test_adjust__board_brings_moved_cameras_back(board):
    cameras, pixels, _, _ = board
    steps = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.03
    moved = move_cameras(cameras, steps, FreeIntrinsics())
    here, there = adjust_bundle(pixels, cameras), adjust_bundle(pixels, moved)
    assert there.converged
    assert there.cost_history[0] > 100 * here.cost_history[-1]
    assert there.cost_history[-1].item() == pytest.approx(here.cost_history[-1].item(), rel=1e-4)


def test_scale__board_corrects_cameras_of_unknown_scale(board):
    cameras, pixels, pairs, known = board
    shrunk = rescale_cameras(cameras, 0.37)
    points = triangulate(pixels, shrunk, method="weighted").positions
    lengths, _ = segment_lengths(points, pairs)
    scale = scale_from_lengths(lengths, known)
    assert scale.factor.item() == pytest.approx(1 / 0.37, rel=0.005)
    assert rescale_cameras(shrunk, scale.factor).centers.sub(cameras.centers).norm(dim=-1).max() < 0.01


def test_adjust__man_before_four_cameras(shared_data):
    folder = shared_data / "pose2sim_demo"
    cameras = read_camera_toml(folder / "calibration" / "Calib_qualisys.toml", dtype=torch.float64)
    views = [read_openpose_folder(path) for path in sorted((folder / "balancing" / "pose").iterdir()) if path.is_dir()]
    pixels = torch.stack([torch.from_numpy(view.positions[:, 0]) for view in views]).double()
    score = torch.stack([torch.from_numpy(view.score[:, 0]) for view in views]).double()
    score = torch.where(score > 0.3, score, 0.0)
    start = adjust_bundle(pixels, cameras, weights=score, settings=BundleSettings(max_iterations=0))
    result = adjust_bundle(pixels, cameras, weights=score)
    assert result.converged
    assert result.residuals.norm(dim=-1)[score > 0].median() < 7.6
    assert result.cost_history[-1] < 0.5 * start.cost_history[0]
    # the calibration is good to a degree or two, and the adjustment does not run away from it
    assert (result.cameras.centers - cameras.centers).norm(dim=-1).max() < 0.25
