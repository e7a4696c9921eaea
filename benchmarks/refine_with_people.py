"""Cameras refined by the person of a real recording, judged on frames that took no part.

    python benchmarks/refine_with_people.py --out FILE [--data ../shared/data/pose2sim_demo] [--smoke]

The cameras of the balancing trial are adjusted to OpenPose's keypoints of the even frames, evidence gathered from
these frames alone, and judged on the odd ones. The error is the distance between a keypoint and the projection of its
joint, triangulated linearly with equal weights from all views that see it; it counts joints of the person with a
confidence above 0.5 in at least 3 views. `given` are the cameras as calibrated, `refined` those adjusted, both on
`odd` and on `even` frames; `intrinsics` (for information) adjusts focal lengths and principal points too.

`deviation` holds one standard deviation of every parameter: of the orientation about the camera's axes in degrees, of
the place in millimetres. `repeatability` says how far the cameras that the first and the second half of the frames give
lie apart, after the best similarity, over the root of the sum of their stated variances: about 1 if those are right.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.calibrate.people import PeopleRefinement, PeopleRefinementConfig, refine_with_people
from marey.calibrate.people_evidence import gather_people
from marey.core import Cameras, Recording
from marey.geometry.alignment import align
from marey.geometry.projection import reprojection_error
from marey.geometry.triangulation import triangulate
from marey.io.recordings import open_recording
from measure import describe, write_json

ROOT = Path(__file__).resolve().parents[1]
FPS = 60.0
CONFIDENCE = 0.5
LEAST_VIEWS = 3


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "pose2sim_demo")
    parser.add_argument("--smoke", action="store_true", help="the first 30 frames only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recording = open_recording(
        [options.data / "balancing" / "pose"], calibration=options.data / "calibration" / "Calib_qualisys.toml"
    )
    length = 30 if options.smoke else recording.length
    even, odd = (slice(first, length, 2) for first in (0, 1))
    fitted = refined(recording, even, PeopleRefinementConfig(spacing=0.0))
    lenses = refined(recording, even, PeopleRefinementConfig(spacing=0.0, intrinsics=True))
    assert recording.cameras is not None
    found = {
        "meta": describe("torch", "numpy"),
        "frames": length,
        "given": {"odd": errors(recording, odd, recording.cameras), "even": errors(recording, even, recording.cameras)},
        "refined": {
            "odd": errors(recording, odd, fitted.calibration.cameras),
            "even": errors(recording, even, fitted.calibration.cameras),
        },
        "intrinsics": {"odd": errors(recording, odd, lenses.calibration.cameras)},
        "deviation": deviations(fitted),
        "repeatability": repeatability(recording, length),
    }
    write_json(options.out, found)


def refined(recording: Recording, frames: slice, config: PeopleRefinementConfig) -> PeopleRefinement:
    """Refine the cameras on some frames, of which nothing else is known.

    With a spacing of 0 every second of these frames is fitted and the others judge inside; none is outside of `frames`.
    """
    assert recording.detections is not None
    assert recording.cameras is not None
    rate = FPS / (frames.step or 1)
    evidence = gather_people(
        recording.detections[:, frames], recording.cameras, detector="openpose", fps=rate, people=1
    )
    return refine_with_people(evidence.keypoints, recording.cameras, fps=rate, config=config)


def errors(recording: Recording, frames: slice, cameras: Cameras) -> dict[str, float]:
    """Pixels between confident keypoints and the projections of their joints."""
    pixels = confident(recording)[:, frames]
    cameras = cameras.to(pixels.dtype)
    points = triangulate(pixels, cameras, method="dlt").positions
    error = reprojection_error(points[None], pixels, cameras)
    return {
        "median_px": float(error.nanmedian()),
        "mean_px": float(error.nanmean()),
        "keypoints": int(error.isfinite().sum()),
    }


def confident(recording: Recording) -> Tensor:
    """(V, T, P, J, 2) keypoints as the files have them, NaN where unsure or seen by too few views."""
    assert recording.detections is not None
    keypoints = recording.detections.keypoints
    pixels = torch.where((keypoints.score > CONFIDENCE)[..., None], keypoints.positions.double(), torch.nan)
    enough = pixels.isfinite().all(-1).sum(0) >= LEAST_VIEWS
    return torch.where(enough[None, ..., None], pixels, torch.nan)


def deviations(result: PeopleRefinement) -> dict[str, Any]:
    """Stated uncertainty of every camera."""
    calibration = result.calibration
    assert calibration.deviation is not None
    return {
        name: {
            parameter: value * (57.29577951308232 if parameter[0] == "r" else 1000)
            for parameter, value in zip(calibration.parameter_names, row.tolist(), strict=True)
        }
        for name, row in zip(calibration.cameras.names, calibration.deviation, strict=True)
    }


def repeatability(recording: Recording, length: int) -> dict[str, float]:
    """How far two independent halves of the frames put the cameras apart, in stated standard deviations."""
    config = PeopleRefinementConfig(spacing=0.0)
    first, second = (refined(recording, half, config) for half in (slice(0, length // 2), slice(length // 2, length)))
    one, other = (result.calibration.cameras.centers for result in (first, second))
    apart = align(one, other, transform="similarity").apply(one) - other
    assert first.calibration.deviation is not None
    assert second.calibration.deviation is not None
    variance = first.calibration.deviation[:, 3:6].square() + second.calibration.deviation[:, 3:6].square()
    return {
        "apart_mm": 1000 * float(apart.square().sum(-1).mean().sqrt()),
        "over_stated": float((apart.square() / variance).mean().sqrt()),
    }


if __name__ == "__main__":
    main()
