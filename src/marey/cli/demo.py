"""`marey demo`: the main job on a rendered recording whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from marey.core.results import Estimate, Joints3D
from marey.metrics.joints import joint_errors, known_share, mpjpe_mm
from marey.metrics.uncertainty import coverage

_SKELETONS = {"simulated": "body_25b", "marey": "halpe_26", "mediapipe": "mediapipe_33"}
"""Of each detector: what the truth is given for."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Render a synthetic recording, estimate it and compare the result with the truth.

    Four cameras film people who walk about; a simulated detector reports their joints with noise, outliers, exchanged
    sides, occlusion and losses. The files are those a real recording would have, so this is also an example of a
    folder that `marey estimate` takes.
    """

    out: Path = Path("demo")
    """Folder for the recording and the result."""
    frames: int = 90
    """How many; 30 a second."""
    people: int = 1
    """How many move through the scene, 1 to 4."""
    views: int = 4
    """Cameras; 2 or more."""
    size: str = "480x360"
    """Width and height of the pictures, pixels."""
    detector: Literal["simulated", "marey", "mediapipe"] = "simulated"
    """marey and mediapipe look at the pictures, the latter if it is installed."""
    seed: int = 9
    """Another number is another recording; in this one somebody walks, stops and waves."""


def run(options: Options) -> None:
    """Make, estimate, compare, and say where everything lies."""
    from marey.cli.synth import parse_size, render
    from marey.data.synthetic.recording import CALIBRATION_FILE, RecordingConfig
    from marey.pipeline.config import EstimateConfig
    from marey.pipeline.estimation import estimate

    simulated = options.detector == "simulated"
    config = RecordingConfig(
        skeleton=_SKELETONS[options.detector],
        frames=options.frames,
        people=options.people,
        views=options.views,
        image_size=parse_size(options.size),
        seed=options.seed,
    )
    recording, result_folder = options.out / "recording", options.out / "result"
    truth = render(config, recording, keypoints=simulated)
    print(f"recording: {recording} ({config.views} cameras, {config.frames} frames, with the truth)")
    result = estimate(
        recording,
        calibration=recording / CALIBRATION_FILE,
        out=result_folder,
        config=EstimateConfig(people=options.people, detector="auto" if simulated else options.detector),
    )
    print(_comparison(result, truth.joints))
    print(f"report:    {result_folder / 'report.html'}")
    print(f"overlay:   {result_folder / 'overlay.mp4'}")


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
