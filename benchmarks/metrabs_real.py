"""One camera: a method for single images on four real videos, beside a detector with a solver, and MediaPipe's guess.

    python benchmarks/metrabs_real.py --out FILE [--method NAME] [--set FIELD=VALUE ...] [--data FOLDER] [--smoke]

The first 50 frames of each video of the balancing trial of the Pose2Sim demonstration recording, by itself, with its
calibrated intrinsics. `marey.estimate` with its defaults; ways are:

- `method`: the method for images, with the detector `marey`, which says where somebody is, and nothing else;
- `detector_marey`, `detector_mediapipe`: the method `monocular` on the keypoints of a detector;
- `landmarks`: MediaPipe's world landmarks as they come, without a place in space.

The reference is another tool's triangulation of OpenPose's keypoints of all four videos, in the frame of the camera; no
way was fitted to it. `pa_mpjpe_mm` is the mean distance after a similarity of every frame over the 13 joints that all
have, `pa_mpjpe_17_mm` over those with toes and heels where a way has them. `root_depth_percent`: the error of the
distance along the optical axis of the point midway between the hips; what two detectors mean by a hip differs by 2 % of
it (`one_camera.py`). `interval_90`: frames in which the reference's depth is within the central 90 % of what is stated.
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
from marey.core import Cameras, Estimate, InputError
from marey.core import skeleton as skeleton_named
from marey.geometry.projection import world_to_camera
from marey.metrics.aligned import procrustes_errors
from marey.pipeline.detections import find_detections
from measure import ROOT, describe, write_json
from mediapipe_balancing import FRAMES, JOINTS, read_reference
from one_camera import HIPS, NORMAL_90, VIEWS, root_depth

SHARED = tuple(name for name in JOINTS if not name.endswith(("big_toe", "heel")))
"""Joints of COCO too."""
SMOKE = 8

Scores = dict[str, Any]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", default="metrabs", help="one that marey.estimate takes for one camera")
    parser.add_argument("--weights", type=Path, help="of the method's network; those that are shipped if not given")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} frames, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    frames = SMOKE if options.smoke else FRAMES
    reference = read_reference(options.data)[:frames]
    views = {view: measure_view(view, reference, options) for view in VIEWS}
    ways = {way: summary([views[view][way] for view in VIEWS]) for way in views[VIEWS[0]]}
    placed = [way["root_depth_percent"] for way in ways.values() if way["root_depth_percent"] is not None]
    own, usual = (ways[name]["pa_mpjpe_mm"] for name in ("method", "landmarks"))
    write_json(
        options.out,
        {
            "method": options.method,
            "ways": ways,
            "views": views,
            "least_root_depth_percent": min(placed),
            "method_over_landmarks": None if own is None else own / usual,
            "meta": {**describe("torch", "mediapipe", threads=1), "frames": frames},
        },
    )


def measure_view(view: str, reference: Tensor, options: argparse.Namespace) -> dict[str, Scores]:
    """Every way on one video."""
    folder = options.data / "pose2sim_demo"
    video, calibration = folder / "balancing" / "videos" / f"{view}.mp4", folder / "calibration" / "Calib_qualisys.toml"
    span = (0, len(reference))
    recording = marey.open_recording([video], calibration=calibration, unit="m")
    assert recording.cameras is not None
    cameras = recording.cameras.to(torch.float64)
    truth = world_to_camera(reference.double()[None], cameras)[0]
    found: dict[str, Scores] = {}
    with tempfile.TemporaryDirectory() as kept:
        for way, method, detector in (
            ("method", options.method, "marey"),
            ("detector_marey", "monocular", "marey"),
            ("detector_mediapipe", "monocular", "mediapipe"),
        ):
            config = marey.EstimateConfig(
                detector=detector,
                people=1,
                unit="m",
                overlay=False,
                formats=("npz",),
                weights=options.weights if way == "method" else None,
            )
            try:
                result = marey.estimate(
                    video, calibration=calibration, frames=span, method=method, config=config, out=Path(kept) / way
                )
            except InputError as error:  # nobody was found
                found[way] = {"not_run": str(error)}
                continue
            found[way] = score(result, truth, cameras)
        own = Path(kept) / "detector_mediapipe"
        detected = find_detections(recording, range(*span), detector="mediapipe", people=1, folder=own).detections
    assert detected.monocular is not None
    names = skeleton_named("mediapipe_33").joints
    found["landmarks"] = aligned(detected.monocular[0, :, 0].double(), names, truth)
    print(view, {way: scores.get("pa_mpjpe_mm") for way, scores in found.items()}, flush=True)
    return found


def score(result: Estimate, truth: Tensor, cameras: Cameras) -> Scores:
    """Of an estimate of one person in the world against joints (T, 17, 3) in the frame of the camera."""
    names = result.joints.skeleton.joints
    joints = world_to_camera(result.joints.positions[:, 0].double()[None], cameras)[0]
    axis = cameras.extrinsics[0][0, 2].double()
    hips = result.joints.covariance[:, 0, [names.index(hip) for hip in HIPS]].double()
    # both hips share the error of the distance: the deviation of their mean is taken to be the mean of theirs
    deviation = (axis @ hips @ axis).sqrt().mean(-1)
    distance = root_depth(truth, JOINTS)
    apart = root_depth(joints, names) - distance
    within = torch.where(apart.isfinite(), (apart.abs() <= NORMAL_90 * deviation).double(), torch.nan)
    return {
        **aligned(joints, names, truth),
        "root_depth_percent": 100 * float((apart / distance).abs().nanmean()),
        "root_depth_bias_percent": 100 * float((apart / distance).nanmean()),
        "interval_90": float(within.nanmean()),
        "notes": list(result.notes),
    }


def aligned(joints: Tensor, names: tuple[str, ...], truth: Tensor) -> Scores:
    """PA-MPJPE in millimetres of joints (T, J, 3), and the share of those that are not known."""
    found: Scores = {"pa_mpjpe_17_mm": None, "root_depth_percent": None}
    for key, wanted in (("pa_mpjpe_mm", SHARED), ("pa_mpjpe_17_mm", JOINTS)):
        if set(wanted) <= set(names):
            picked = joints[:, [names.index(name) for name in wanted]]
            errors = procrustes_errors(picked, truth[:, [JOINTS.index(name) for name in wanted]])
            found[key] = 1000 * float(errors.nanmean())
    known = joints[:, [names.index(name) for name in SHARED]].isfinite().all(-1)
    return {**found, "unknown": 1 - float(known.double().mean())}


def summary(views: list[Scores]) -> Scores:
    """Means over the videos in which somebody was found, None where a way has no such number; and the worst."""
    keys = ("pa_mpjpe_mm", "pa_mpjpe_17_mm", "root_depth_percent", "interval_90", "unknown")
    rows = {key: [view[key] for view in views if view.get(key) is not None] for key in keys}
    means: Scores = {key: fmean(values) if values else None for key, values in rows.items()}
    return {**means, "worst_pa_mpjpe_mm": max(rows["pa_mpjpe_mm"], default=None), "videos": len(rows["pa_mpjpe_mm"])}


if __name__ == "__main__":
    main()
