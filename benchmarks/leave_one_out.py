"""Do the covariances hold on real footage? Leave one view out, predict its keypoints, count how many are inside.

    python benchmarks/leave_one_out.py --out FILE [--data FOLDER]

The OpenPose keypoints of both trials of the Pose2Sim demonstration recording (four cameras) go the pipeline's way:
sides, bad views, noise measured on the recording. Then, for each view in turn, the other three are triangulated, the
point and its covariance are projected into the view, the keypoint's own covariance is added, and its keypoints are
counted that lie in the 90 % ellipse.

`coverage_90` is the percentage over both trials and all views. `trials` gives it for each view, and with the noise
measured on other data than it is tested on: `noise_from_first_half` on the first half of the frames, tested on the
second; `noise_from_other_views` on the other three views alone, which know nothing of the calibration of the fourth.
`noise_not_measured` is the detector's default.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import Cameras, Keypoints2D
from marey.detect.association import associate, take_slots
from marey.detect.noise import NoiseModel, calibrate_noise, default_noise, mahalanobis_squared, with_noise
from marey.detect.swaps import apply_swaps, correct_swaps
from marey.detect.views import apply_rejection, reject_views
from marey.geometry.projection import project_with_jacobian
from marey.geometry.triangulation import triangulate
from marey.io.recordings import open_recording
from measure import ROOT, describe, write_json

TRIALS = ("static", "balancing")
ELLIPSE_90 = 4.605170
"""90 % quantile of the chi-squared distribution with two degrees of freedom."""


def load(data: Path, trial: str) -> tuple[Keypoints2D, Cameras]:
    """Keypoints (V, T, 1) of one man, sides and bad views dealt with, and the cameras as given, in double precision.

    Two of the views of one trial show a second man, who is not taken.
    """
    folder = data / "pose2sim_demo"
    recording = open_recording(
        [folder / trial / "pose"], calibration=folder / "calibration" / "Calib_qualisys.toml", unit="m", fps=60
    )
    assert recording.detections is not None
    assert recording.cameras is not None
    cameras = recording.cameras.to(torch.float64)
    detections = recording.detections.to(torch.float64)
    stated = with_noise(detections.keypoints, default_noise("openpose"))
    people = associate(dataclasses.replace(detections, keypoints=stated), cameras, people=1)
    detected = take_slots(detections.keypoints, people.slots)
    stated, swaps = correct_swaps(with_noise(detected, default_noise("openpose")), cameras)
    _, views = reject_views(stated, cameras)
    return apply_rejection(apply_swaps(detected, swaps.halves), views.rejected), cameras


def inside(keypoints: Keypoints2D, cameras: Cameras, view: int) -> Tensor:
    """Which keypoints (N,) of one view lie in the 90 % ellipse predicted from the other views."""
    others = [other for other in range(keypoints.batch_shape[0]) if other != view]
    found = triangulate(keypoints.positions[others], cameras[others], covariance=keypoints.covariance[others])
    pixels, jacobian = project_with_jacobian(found.positions[None], cameras[[view]])
    spread = jacobian @ found.covariance @ jacobian.mT + keypoints.covariance[[view]]
    distance = mahalanobis_squared(keypoints.positions[[view]] - pixels, spread)
    return distance[distance.isfinite()] <= ELLIPSE_90


def percentage(hits: list[Tensor]) -> float:
    """Of true values."""
    return 100 * torch.cat(hits).double().mean().item()


def from_other_views(keypoints: Keypoints2D, cameras: Cameras, view: int) -> Tensor:
    """`inside` with the noise measured without the view; its own scale is then that of the average view."""
    others = [other for other in range(keypoints.batch_shape[0]) if other != view]
    model = calibrate_noise(default_noise("openpose"), keypoints[others], cameras[others])
    scales = list(model.view_scale)
    scales.insert(view, 1.0)
    return inside(with_noise(keypoints, dataclasses.replace(model, view_scale=tuple(scales))), cameras, view)


def measure(keypoints: Keypoints2D, cameras: Cameras) -> tuple[dict[str, Any], list[Tensor]]:
    """All numbers of one trial, and the hits of each view."""
    views = range(keypoints.batch_shape[0])
    model = calibrate_noise(default_noise("openpose"), keypoints, cameras)
    hits = [inside(with_noise(keypoints, model), cameras, view) for view in views]
    stated = [inside(with_noise(keypoints, default_noise("openpose")), cameras, view) for view in views]
    half = keypoints.batch_shape[1] // 2
    early = calibrate_noise(default_noise("openpose"), keypoints[:, :half], cameras)
    late = [inside(with_noise(keypoints[:, half:], early), cameras, view) for view in views]
    foreign = [from_other_views(keypoints, cameras, view) for view in views]
    return {
        "coverage_90": percentage(hits),
        "views": {name: percentage([hit]) for name, hit in zip(cameras.names, hits, strict=True)},
        "keypoints": sum(len(hit) for hit in hits),
        "noise_from_first_half": percentage(late),
        "noise_from_other_views": percentage(foreign),
        "noise_not_measured": percentage(stated),
        "noise": summary(model),
    }, hits


def summary(model: NoiseModel) -> dict[str, Any]:
    """The measured factors on the variances."""
    return {"class_scale": list(model.scale), "view_scale": list(model.view_scale)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    trials, hits = {}, []
    for trial in TRIALS:
        trials[trial], found = measure(*load(arguments.data, trial))
        hits.extend(found)
    write_json(arguments.out, {"coverage_90": percentage(hits), "trials": trials, "meta": describe("torch", threads=1)})


if __name__ == "__main__":
    main()
