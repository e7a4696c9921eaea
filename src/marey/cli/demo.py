"""`marey demo`: the main job on a recording whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from marey.core.results import Estimate, Joints3D
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.metrics.joints import coverage, joint_errors, known_share, mpjpe_mm
from marey.pipeline.config import EstimateConfig
from marey.pipeline.estimation import estimate


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make a synthetic recording, estimate it and compare the result with the truth.

    Four simulated cameras see a moving figure; a simulated detector reports its joints with noise, outliers, exchanged
    sides, occlusion and losses. The files are those a real recording would have, so this is also an example of a
    folder that `marey estimate` takes.
    """

    out: Path = Path("demo")
    """Folder for the recording and the result."""
    frames: int = 300
    """How many; 60 a second."""
    people: int = 1
    """How many figures move through the scene."""
    seed: int = 0
    """Another number is another recording."""


def run(options: Options) -> None:
    """Make, estimate, compare, and say where everything lies."""
    capture = make_keypoint_capture(
        KeypointCaptureConfig(frames=options.frames, people=options.people, seed=options.seed)
    )
    recording = write_keypoint_capture(capture, options.out / "recording")
    print(f"recording: {recording} ({len(capture.cameras.names)} cameras, {options.frames} frames)")
    result_folder = options.out / "result"
    result = estimate(
        recording,
        calibration=recording / CALIBRATION_FILE,
        out=result_folder,
        config=EstimateConfig(people=options.people, fps=capture.fps),
    )
    print(_comparison(result, capture.truth))
    print(f"report:    {result_folder / 'report.html'}")


def _comparison(result: Estimate, truth: Joints3D) -> str:
    """How far the estimate is from the truth, in three lines."""
    true = truth[list(result.frames)].positions
    order = _nearest_people(result.joints.positions, true)
    found, covariance = result.joints.positions[:, order], result.joints.covariance[:, order]
    return (
        f"error:     {mpjpe_mm(found, true):.1f} mm on average\n"
        f"honesty:   {100 * coverage(found, covariance, true, level=0.9):.0f} % of the true joints lie in the 90 % "
        f"ellipsoids\n"
        f"known:     {100 * known_share(found, true):.1f} % of the joints"
    )


def _nearest_people(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """For each true person the place of the estimated person (both (T, P, J, 3)) who is nearest on average."""
    distances = joint_errors(found[:, :, None], true[:, None]).nanmean(dim=(0, 3))
    return distances.nan_to_num(torch.inf).argmin(dim=0)
