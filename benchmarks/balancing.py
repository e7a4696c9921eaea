"""Steadier limbs than a reference tool's on a real recording, and the reference repeated where that is asked for.

    python benchmarks/balancing.py --out FILE [--data ../shared/data/pose2sim_demo]

There is no truth for this recording, so what is measured needs none. On the frames of the balancing trial that the
reference has, with the limbs being thighs, shanks, upper arms and forearms:
- limb deviation: the standard deviation of a limb's length over the frames, mean of the eight limbs;
- left-right: the difference between the median lengths of a left and a right limb, mean of the four pairs;
- wrist speed: root mean square of both wrists, from frame to frame; who smooths too much is slow;
- reprojection: the median distance of keypoints from the estimate, over all views, joints and frames.

`raw` is `marey.estimate` without refinement against the unfiltered reference, `default` without any option and `bones`
(for information) with constant bones, both against the filtered one. `raw_as_given` leaves the cameras as calibrated.
`static` repeats the reference's own method: DLT with rows weighted by the confidences, those up to 0.3 left out, and,
while the mean error exceeds 15 px, without the view that leaves the smallest mean error when it goes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from marey import estimate
from marey.core import Cameras
from marey.geometry.projection import project
from marey.geometry.triangulation import triangulate
from marey.io.recordings import open_recording
from marey.io.trc import read_trc
from marey.pipeline.config import EstimateConfig
from measure import describe

ROOT = Path(__file__).resolve().parents[1]
LIMBS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
FPS = 60.0
LEAST_CONFIDENCE = 0.3
LARGEST_ERROR_PX = 15.0
RUNS = {
    "raw": ("reference_raw", EstimateConfig(refine="none", fps=FPS)),
    "raw_as_given": ("reference_raw", EstimateConfig(refine="none", cameras="as-given", fps=FPS)),
    "default": ("reference_butterworth", EstimateConfig(fps=FPS)),
    "bones": ("reference_butterworth", EstimateConfig(refine="bones", fps=FPS)),
}

Array = npt.NDArray[np.float64]


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "pose2sim_demo")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {"meta": describe("torch", "numpy"), "static": static(options.data)}
    for name, (reference, config) in RUNS.items():
        found[name] = balancing(options.data, reference, config)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def balancing(data: Path, reference: str, config: EstimateConfig) -> dict[str, object]:
    """Scores of one run, of the reference, and their ratios."""
    positions, names = read_reference(data / "balancing" / "pose-3d" / f"{reference}.trc")
    result = estimate(
        data / "balancing" / "pose",
        calibration=data / "calibration" / "Calib_qualisys.toml",
        frames=(0, len(positions)),
        config=config,
    )
    assert result.diagnostics is not None
    ours = scores(result.joints.positions[:, 0].double().numpy(), result.joints.skeleton.joints)
    theirs = scores(positions, names)
    return {
        "limb_deviation_ratio": ours["limb_deviation_mm"] / theirs["limb_deviation_mm"],
        "left_right_ratio": ours["left_right_mm"] / theirs["left_right_mm"],
        "wrist_speed_ratio": ours["wrist_speed_m_s"] / theirs["wrist_speed_m_s"],
        "reprojection_median_px": float(result.diagnostics.residuals.nanmedian()),
        "ours": ours,
        "reference": theirs,
        "notes": result.notes,
    }


def scores(positions: Array, names: Sequence[str]) -> dict[str, float]:
    """Truth-free scores of joints (T, J, 3), metres; NaN counts against nobody but is reported as missing."""
    place = {name: index for index, name in enumerate(names)}
    lengths = np.array(
        [
            [
                np.linalg.norm(positions[:, place[f"{side}_{a}"]] - positions[:, place[f"{side}_{b}"]], axis=-1)
                for a, b in LIMBS
            ]
            for side in ("left", "right")
        ]
    )
    medians = np.nanmedian(lengths, axis=-1)
    steps = np.diff(positions[:, [place["left_wrist"], place["right_wrist"]]], axis=0)
    return {
        "limb_deviation_mm": 1000 * float(np.nanstd(lengths, axis=-1).mean()),
        "left_right_mm": 1000 * float(np.abs(medians[0] - medians[1]).mean()),
        "wrist_speed_m_s": FPS * float(np.sqrt(np.nanmean((steps**2).sum(-1)))),
        "missing": float(np.isnan(lengths).mean()),
    }


def read_reference(path: Path) -> tuple[Array, tuple[str, ...]]:
    """Positions (T, M, 3) in the z-up world of the calibration, metres, and our names of the markers."""
    file = read_trc(path)
    sides = {"R": "right_", "L": "left_"}
    snake = {"BigToe": "big_toe", "SmallToe": "small_toe", "Head": "head_top"}
    names = [
        sides.get(name[0], "") + snake.get(name[1:], name[1:].lower())
        if name[0] in sides
        else snake.get(name, name.lower())
        for name in file.names
    ]
    return file.positions[..., [2, 0, 1]], tuple(names)


def static(data: Path) -> dict[str, float]:
    """Distance of the reference's own method, done with our triangulation, from the reference."""
    positions, names = read_reference(data / "static" / "pose-3d" / "reference_raw.trc")
    recording = open_recording([data / "static" / "pose"], calibration=data / "calibration" / "Calib_qualisys.toml")
    assert recording.detections is not None
    assert recording.cameras is not None
    keypoints = recording.detections.keypoints
    joints = keypoints.skeleton.indices(names)
    found = weighted_dlt(
        keypoints.positions[:, : len(positions), 0, joints].double(),
        keypoints.score[:, : len(positions), 0, joints].double(),
        recording.cameras.to(torch.float64),
    )
    distance = 1000 * np.linalg.norm(found - positions, axis=-1)
    return {
        "median_distance_mm": float(np.median(distance)),
        "mean_distance_mm": float(distance.mean()),
        "largest_distance_mm": float(distance.max()),
    }


def weighted_dlt(pixels: torch.Tensor, confidence: torch.Tensor, cameras: Cameras) -> Array:
    """Triangulate pixels (V, T, J, 2) as the reference was made: (T, J, 3) metres."""
    weights = torch.where(confidence > LEAST_CONFIDENCE, confidence, 0.0)
    points, error = mean_error(pixels, weights, cameras)
    while (excessive := (error > LARGEST_ERROR_PX) & ((weights > 0).sum(0) > 2)).any():
        best, chosen = torch.full_like(error, torch.inf), weights
        for view in range(len(pixels)):
            without = weights.clone()
            without[view] = 0.0
            _, left = mean_error(pixels, without, cameras)
            better = (weights[view] > 0) & (left < best)
            best, chosen = torch.where(better, left, best), torch.where(better, without, chosen)
        weights = torch.where(excessive, chosen, weights)
        points, error = mean_error(pixels, weights, cameras)
    return points.numpy()


def mean_error(pixels: torch.Tensor, weights: torch.Tensor, cameras: Cameras) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (T, J, 3) and the mean distance (T, J) in pixels of the keypoints that count from their projection."""
    points = triangulate(pixels, cameras, weights=weights, method="dlt").positions
    errors = (project(points[None].expand(len(pixels), *points.shape), cameras) - pixels).norm(dim=-1)
    return points, torch.where(weights > 0, errors, torch.nan).nanmean(0)


if __name__ == "__main__":
    main()
