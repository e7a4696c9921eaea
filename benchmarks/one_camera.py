"""One camera: each of four real videos alone, placed in space, against a triangulation of all four.

    python benchmarks/one_camera.py --out FILE [--data FOLDER] [--smoke]

The first 50 frames of the balancing trial of the Pose2Sim demonstration recording, each video by itself with its
calibrated intrinsics, through `marey.estimate` with its defaults (detector MediaPipe, method `monocular`, smoothed).
The reference is another tool's triangulation of OpenPose keypoints of all four videos, in the frame of the camera.

Root depth: the distance along the optical axis of the point midway between the hips, as each side defines hips; the
error is relative to the reference. The two detectors mean other points by "hip", 57 to 78 mm apart, which is 2 % of the
distance; `own_hips` therefore gives the error against the hips that MediaPipe's keypoints have when `marey.estimate`
triangulates all four views. PA-MPJPE: the mean distance over the 17 common joints after a similarity alignment in each
frame, for the estimate and, computed in the same way, for MediaPipe's world landmarks as they come (`world_landmarks`).
Depth intervals: the share of the frames whose reference root depth lies within the central 90 % and 50 % of the
estimate's distribution; one error that lasts decides about all frames of a video, so four videos are four samples.

Nothing is fitted to this recording: the prior of the size is adults' stature, 1.70 +- 0.09 m, with textbook
proportions; that of the detector's size, 5 %, is what MediaPipe's guess misses by on two other people (a seated man
seen by four calibrated cameras, a walking woman whose stature is stated).
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import marey
from marey.core import Cameras, Estimate
from marey.core import skeleton as skeleton_named
from marey.geometry.alignment import align
from marey.geometry.projection import world_to_camera
from marey.pipeline.detections import find_detections
from measure import ROOT, describe, write_json
from mediapipe_balancing import JOINTS, read_reference

FRAMES = 50
VIEWS = ("cam01", "cam02", "cam03", "cam04")
HIPS = ("left_hip", "right_hip")
NORMAL_90, NORMAL_50 = 1.6449, 0.6745
"""Half widths of the central intervals in standard deviations."""


def root_depth(joints: Tensor, names: tuple[str, ...]) -> Tensor:
    """Metres (T,) along the optical axis to midway between the hips of joints (T, J, 3) in a camera's frame."""
    return joints[:, [names.index(hip) for hip in HIPS], 2].mean(-1)


def pa_mpjpe(joints: Tensor, reference: Tensor) -> float:
    """Mean distance in millimetres after the best similarity of every frame; all (T, J, 3)."""
    aligned = align(joints, reference, transform="similarity").apply(joints)
    return float(1000 * (aligned - reference).norm(dim=-1).mean())


def depth_errors(depth: Tensor, deviation: Tensor, truth: Tensor) -> dict[str, float]:
    """Of root depths (T,) with standard deviations, metres."""
    error = (depth - truth) / truth
    sigmas = (depth - truth).abs() / deviation
    return {
        "depth_error_percent": float(100 * error.abs().mean()),
        "depth_bias_percent": float(100 * error.mean()),
        "depth_spread_percent": float(100 * error.std()),
        "stated_deviation_percent": float(100 * (deviation / truth).mean()),
        "interval_90": float((sigmas <= NORMAL_90).double().mean()),
        "interval_50": float((sigmas <= NORMAL_50).double().mean()),
    }


def score(result: Estimate, landmarks: Tensor, reference: Tensor, own: Tensor, cameras: Cameras) -> dict[str, Any]:
    """Of one video.

    Args:
        result: (T, 1) in the world.
        landmarks: (T, 33, 3) MediaPipe's world landmarks.
        reference: (T, 17, 3) in the world.
        own: (T, 33, 3) MediaPipe's joints by all four views, in the world.
        cameras: (1,) with extrinsics.
    """
    names = skeleton_named("mediapipe_33").joints
    common = [names.index(joint) for joint in JOINTS]
    joints, truth, triangulated = (
        world_to_camera(points.double()[None], cameras)[0] for points in (result.joints.positions[:, 0], reference, own)
    )
    axis = cameras.extrinsics[0][0, 2].double()
    hips = result.joints.covariance[:, 0, [names.index(hip) for hip in HIPS]].double()
    # both hips share the error of the distance: the deviation of their mean is taken to be the mean of theirs
    deviation = (axis @ hips @ axis).sqrt().mean(-1)
    depth = root_depth(joints, names)
    return {
        **depth_errors(depth, deviation, root_depth(truth, JOINTS)),
        "own_hips": depth_errors(depth, deviation, root_depth(triangulated, names)),
        "distance_m": float(root_depth(truth, JOINTS).mean()),
        "pa_mpjpe_mm": pa_mpjpe(joints[:, common], truth),
        "world_landmarks_pa_mpjpe_mm": pa_mpjpe(landmarks.double()[:, common], truth),
        "absolute_mpjpe_mm": float(1000 * (joints[:, common] - truth).norm(dim=-1).mean()),
        "unknown_joints": int((~joints.isfinite().all(-1)).sum()),
        "notes": list(result.notes),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="five frames, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    frames = 5 if arguments.smoke else FRAMES
    folder = arguments.data / "pose2sim_demo"
    videos, calibration = folder / "balancing" / "videos", folder / "calibration" / "Calib_qualisys.toml"
    reference = read_reference(arguments.data)[:frames]
    config = marey.EstimateConfig(detector="mediapipe", people=1, unit="m", overlay=False, formats=("npz",))

    with tempfile.TemporaryDirectory() as kept:
        every = marey.estimate(videos, calibration=calibration, frames=(0, frames), config=config, out=kept)
        views = {}
        for view in VIEWS:
            video, own_folder = videos / f"{view}.mp4", Path(kept) / view
            result = marey.estimate(video, calibration=calibration, frames=(0, frames), config=config, out=own_folder)
            recording = marey.open_recording([video], calibration=calibration, unit="m")
            found = find_detections(recording, range(frames), detector="mediapipe", people=1, folder=own_folder)
            assert recording.cameras is not None
            assert found.detections.monocular is not None
            landmarks = found.detections.monocular[0, :, 0]
            cameras = recording.cameras.to(torch.float64)
            views[view] = score(result, landmarks, reference, every.joints.positions[:, 0], cameras)
    write_json(arguments.out, {**summary(list(views.values())), "views": views, "meta": _meta(frames)})


def summary(views: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the videos, and in how many of them the pose is at least as good as the landmarks as they come."""
    keys = ("depth_error_percent", "interval_90", "interval_50", "pa_mpjpe_mm", "world_landmarks_pa_mpjpe_mm")
    return {
        **{key: fmean(view[key] for view in views) for key in keys},
        "depth_error_percent_own_hips": fmean(view["own_hips"]["depth_error_percent"] for view in views),
        "worst_depth_error_percent": max(view["depth_error_percent"] for view in views),
        "worst_pa_mpjpe_ratio": max(view["pa_mpjpe_mm"] / view["world_landmarks_pa_mpjpe_mm"] for view in views),
    }


def _meta(frames: int) -> dict[str, Any]:
    return {**describe("torch", "mediapipe", threads=1), "frames": frames}


if __name__ == "__main__":
    main()
