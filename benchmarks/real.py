"""The table `real`: what each method gives on real recordings, none of which it was fitted to.

    python benchmarks/real.py --out FILE [--data FOLDER] [--results FOLDER] [--smoke]

None of the recordings has a truth, so each column says what is compared:

- `balancing_openpose`, `balancing_mediapipe`, `balancing_marey`: four calibrated cameras, 50 frames; the mean distance
  of 17 joints from another tool's triangulation of OpenPose's keypoints, millimetres. From the same keypoints that is a
  matter of how one triangulates; MediaPipe means other points by the same names (hips 57 to 78 mm apart). Nothing is
  smoothed. `trunk_detector.json` has the share of joints that `marey` does not find.
- `cam01` to `cam04`: one of these cameras alone; PA-MPJPE against the same reference, millimetres. `monocular` is
  smoothed, as by default; the landmarks and the lifter on MediaPipe's keypoints are not.
- `seated`: four calibrated cameras, MediaPipe Holistic's keypoints of a seated person; how much the lengths of upper
  arms and forearms vary over the recording (standard deviation, mean of the four), millimetres.
- `walking`: one video of a walking woman whose camera nobody calibrated, MediaPipe's keypoints; how much the lengths of
  her limbs vary, millimetres. Both of these reward who says always the same, so they are no measure of their own.
- `photo`: one photograph; the mean distance of shoulders to ankles from where a human saw them, pixels, of the joints
  that the human says are seen; 1 px is 0.3 % of the person's height in it.

Numbers of `mediapipe_balancing.py`, `trunk_detector.py`, `one_camera.py` and `lifting.py` are taken from their results,
not measured twice.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import marey
from balancing import LIMBS
from marey.core import Cameras, Detections2D, Estimate, Observation, Skeleton
from marey.core import skeleton as skeleton_named
from marey.geometry.projection import project
from marey.geometry.triangulation import triangulate
from marey.methods.classical import MonocularEstimator
from marey.methods.classical.body_size import LIFTED_SIZE, SizePrior
from marey.pipeline.assumed_camera import single_camera
from marey.pipeline.detections import find_detections
from marey.pipeline.monocular_evidence import gather_monocular_evidence
from measure import ROOT, describe, write_json
from mediapipe_balancing import FRAMES, JOINTS, read_reference
from one_camera import VIEWS

RECORDINGS = {
    "balancing_openpose": "balancing, 4 cameras, OpenPose",
    "balancing_mediapipe": "balancing, 4 cameras, MediaPipe",
    "balancing_marey": "balancing, 4 cameras, detector `marey`",
    **{view: f"balancing, {view} alone" for view in VIEWS},
    "seated": "seated, 4 cameras",
    "walking": "walking, one camera",
    "photo": "photograph",
}
"""Columns."""
METHODS = {
    "dlt": "`classical`, linear, cameras as given",
    "as_given": "`classical`, cameras as given",
    "classical": "`classical`",
    "ransac": "`ransac`, shipped weights",
    "algebraic": "`algebraic`, shipped weights",
    "volumetric": "`volumetric`, shipped weights",
    "mediapipe": "MediaPipe's landmarks as they come",
    "monocular": "`monocular`, MediaPipe's guess",
    "lifter_mediapipe": "lifter on MediaPipe's keypoints",
    "lifter_openpose": "`monocular`, lifter on OpenPose's keypoints",
}
"""Rows."""
IN_PICTURES = ("as_given", "ransac", "algebraic", "volumetric")
"""Of the ways to use the detector `marey`, those that its benchmark has by name."""
NOBODY = 100
"""Per cent of the joints missing: no distance."""
ARMS = (("shoulder", "elbow"), ("elbow", "wrist"))
PHOTO, PHOTO_JOINTS = "000000000785", ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")

Column = dict[str, float]
"""By method."""


def main() -> None:
    """Measure, gather, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--smoke", action="store_true", help="few frames, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    columns: dict[str, Column] = {
        "balancing_openpose": four_cameras(options.data),
        **gathered(options.results),
        "seated": seated(options.data),
        "walking": walking(options.data, 20 if options.smoke else None),
        "photo": photo(options.data),
    }
    write_json(
        options.out,
        {
            "recordings": RECORDINGS,
            "methods": [
                {"name": name, "title": title, "numbers": _row(columns, name)} for name, title in METHODS.items()
            ],
            "meta": describe("torch", "mediapipe", threads=1),
        },
    )


def gathered(results: Path) -> dict[str, Column]:
    """Columns that other benchmarks have measured."""
    four, own_detector, one, lifting = (
        json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("mediapipe_balancing", "trunk_detector", "one_camera", "lifting")
    )
    trunk = own_detector["balancing"]
    ways = {"dlt": trunk["plain_dlt"], "classical": trunk, **{name: trunk[name] for name in IN_PICTURES}}
    columns = {
        "balancing_mediapipe": {
            "dlt": four["plain_dlt"]["mean_distance_mm"],
            "as_given": four["as_given"]["mean_distance_mm"],
            "classical": four["mean_distance_mm"],
        },
        "balancing_marey": {
            name: way["mean_distance_mm"] for name, way in ways.items() if way["missing_percent"] < NOBODY
        },
    }
    for view in VIEWS:
        own, lifted = one["views"][view], lifting["balancing"]["views"][view]
        columns[view] = {
            "mediapipe": own["world_landmarks_pa_mpjpe_mm"],
            "monocular": own["pa_mpjpe_mm"],
            "lifter_mediapipe": lifted["lifter_mediapipe_keypoints"],
            "lifter_openpose": lifted["estimate_openpose_keypoints"],
        }
    return columns


def four_cameras(data: Path) -> Column:
    """Mean distance in millimetres from the reference, which was made of the same keypoints."""
    folder = data / "pose2sim_demo"
    reference = read_reference(data)
    found = triangulated(folder / "balancing" / "pose", folder / "calibration" / "Calib_qualisys.toml", fps=60.0)
    return {
        name: float(1000 * (positions[:FRAMES, names.indices(JOINTS)].double() - reference).norm(dim=-1).nanmean())
        for name, (positions, names) in found.items()
    }


def seated(data: Path) -> Column:
    """How much the lengths of the arms of a seated person vary, millimetres."""
    folder = data / "caliscope_person"
    found = triangulated(folder / "xy_mediapipe_holistic.csv", folder / "config.toml")
    return {name: limb_deviation(positions, names, ARMS) for name, (positions, names) in found.items()}


def triangulated(inputs: Path, calibration: Path, *, fps: float | None = None) -> dict[str, tuple[Tensor, Skeleton]]:
    """Joints (T, J, 3) of the first person by every way of triangulating."""
    recording = marey.open_recording([inputs], calibration=calibration)
    assert recording.detections is not None
    assert recording.cameras is not None
    keypoints = recording.detections.keypoints[:, :, 0]
    linear = triangulate(keypoints.positions, recording.cameras, weights=keypoints.score, method="dlt")
    found = {"dlt": (linear.positions, keypoints.skeleton)}
    for name, cameras in (("as_given", "as-given"), ("classical", "adjusted")):
        config = marey.EstimateConfig(refine="none", cameras=cameras, people=1, fps=fps)
        joints = marey.estimate(inputs, calibration=calibration, config=config).joints
        found[name] = joints.positions[:, 0], joints.skeleton
    return found


def walking(data: Path, frames: int | None) -> Column:
    """How much the lengths of the limbs of a walking woman vary, millimetres."""
    estimates = by_one_camera(data / "sports2d" / "demo.mp4", frames)
    return {
        name: limb_deviation(joints.positions[:, 0], joints.skeleton, LIMBS)
        for name, joints in ((name, estimate.joints) for name, estimate in estimates.items())
    }


def photo(data: Path) -> Column:
    """Mean distance in pixels of joints in a photograph from where a human saw them."""
    folder = data / "images"
    document = json.loads((folder / "coco_annotations.json").read_text(encoding="utf-8"))
    marked = next(entry for entry in document["annotations"] if entry["image_id"] == int(PHOTO))["keypoints"]
    places = torch.tensor(marked, dtype=torch.float64).reshape(-1, 3)
    names = [f"{side}_{part}" for part in PHOTO_JOINTS for side in ("left", "right")]
    truth = places[skeleton_named("coco_17").indices(names)]
    found = {}
    for name, estimate in by_one_camera(folder / f"coco_{PHOTO}.jpg", None).items():
        assert estimate.cameras is not None
        points = project(estimate.joints.positions[None, 0, 0].double(), estimate.cameras.to(torch.float64))[0]
        away = (points[estimate.joints.skeleton.indices(names)] - truth[:, :2]).norm(dim=-1)
        found[name] = float(away[truth[:, 2] == 2].mean())
    return found


def by_one_camera(path: Path, frames: int | None) -> dict[str, Estimate]:
    """The first person of a recording without calibration, by MediaPipe's guess and by the lifter's; not smoothed."""
    recording = marey.open_recording([path])
    known = single_camera(recording, None)
    with tempfile.TemporaryDirectory() as kept:
        count = min(recording.length, frames or recording.length)
        found = find_detections(recording, range(count), detector="mediapipe", people=1, folder=Path(kept))
    detections = {
        "monocular": (found.detections, SizePrior()),
        "lifter_mediapipe": (replace(found.detections, monocular=None), LIFTED_SIZE),
    }
    return {
        name: _placed(each, known.cameras, prior, recording.fps or 1.0, known.focal_deviation)
        for name, (each, prior) in detections.items()
    }


def _placed(
    detections: Detections2D, cameras: Cameras, prior: SizePrior, fps: float, focal_deviation: float
) -> Estimate:
    evidence = gather_monocular_evidence(detections, cameras, detector="mediapipe", fps=fps, people=1)
    observation = Observation(
        keypoints=evidence.keypoints,
        monocular=evidence.monocular,
        monocular_covariance=evidence.monocular_covariance,
        cameras=evidence.cameras,
    )
    return MonocularEstimator(size=prior, focal_deviation=focal_deviation)(observation)


def limb_deviation(positions: Tensor, names: Skeleton, limbs: Sequence[tuple[str, str]]) -> float:
    """Standard deviation of a limb's length over the frames, millimetres: the mean over limbs of both sides."""
    found = []
    for start, end in limbs:
        for side in ("left", "right"):
            ends = positions[:, names.indices((f"{side}_{start}", f"{side}_{end}"))].double()
            length = (ends[:, 0] - ends[:, 1]).norm(dim=-1)
            found.append(float(1000 * length[length.isfinite()].std(correction=0)))
    return fmean(found)


def _row(columns: dict[str, Column], method: str) -> dict[str, Any]:
    units = {"photo": ("px", 1)}
    found = {}
    for name in RECORDINGS:
        if method in columns[name]:
            unit, decimals = units.get(name, ("mm", 1))
            found[name] = {"value": columns[name][method], "unit": unit, "decimals": decimals}
    return found


if __name__ == "__main__":
    main()
