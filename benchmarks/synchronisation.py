"""Views of a real recording, shifted by known offsets and one resampled to 50 frames per second, synchronised again.

    python benchmarks/synchronisation.py --out FILE [--data ../shared/data/pose2sim_demo] [--seeds 40] [--smoke]

MediaPipe's keypoints of the four balancing videos (60 frames per second, 100 frames) are cut as if every camera had
been started at a moment of its own: with each seed every view begins -20 to 20 frames (drawn anew) from the others and
ends up to 10 frames early. The last view is resampled to 50 frames per second, linearly in time, from a random fraction
of a frame. `calibrated` is the default call with the calibration, `uncalibrated` the call without.

- `offset_error_frames`: of the three views against the first, in the middle of the view, in frames of 1/60 s. The
  recording's own synchronisation is taken as exact; mean and worst over seeds and views.
- `rate_error_percent`: of the resampled view. `stated`: its file says 50; `unstated`: it claims 60, and the rate has to
  be found.
- `own_offset_frames`: what is found for the recording as it is; `same_rate`: shifted only, nothing resampled.
- `speed`: seconds for 4 views of 1000 synthetic frames, one thread.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import marey
from marey.calibrate.synchronise import synchronise
from marey.core import Cameras, Detections2D, Keypoints2D
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.detect.resample import resample_detections
from marey.pipeline.detections import find_detections
from measure import ROOT, Timing, describe, write_json

FPS = 60.0
OTHER_FPS = 50.0
LARGEST_SHIFT = 20
LARGEST_CUT = 10

Case = Literal["same_rate", "stated", "unstated"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "pose2sim_demo")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--smoke", action="store_true", help="two seeds, no timing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    seeds = 2 if arguments.smoke else arguments.seeds
    keypoints, cameras = read(arguments.data)
    results: dict[str, Any] = {}
    for name, known in (("calibrated", cameras), ("uncalibrated", None)):
        own = synchronise(
            separate(keypoints), [torch.arange(keypoints.batch_shape[1]) / FPS] * len(keypoints.score), cameras=known
        )
        cases: tuple[Case, ...] = ("same_rate", "stated", "unstated")
        results[name] = {case: measure(keypoints, known, case, seeds) for case in cases}
        results[name]["own_offset_frames"] = (FPS * own.offset).tolist()
    speed = {} if arguments.smoke else {"speed": time_it().asdict()}
    meta = {**describe("torch", "mediapipe"), "seeds": [0, seeds], "smoke": arguments.smoke}
    write_json(arguments.out, {**results, **speed, "meta": meta})


def read(data: Path) -> tuple[Keypoints2D, Cameras]:
    """MediaPipe's keypoints (V, T, 1) of the videos, and the cameras fitted to them."""
    recording = marey.open_recording(
        [data / "balancing" / "videos"], calibration=data / "calibration" / "Calib_qualisys.toml", unit="m"
    )
    assert recording.cameras is not None
    found = find_detections(recording, range(recording.length), detector="mediapipe", people=1, folder=None)
    return found.detections.keypoints[:, :, :1], recording.cameras


def separate(keypoints: Keypoints2D) -> list[Keypoints2D]:
    """The views of (V, T, P)."""
    return [keypoints[view] for view in range(len(keypoints.score))]


def measure(keypoints: Keypoints2D, cameras: Cameras | None, case: Case, seeds: int) -> dict[str, Any]:
    """Errors over all seeds."""
    errors, deviations, rates, confidences = [], [], [], []
    for seed in range(seeds):
        views, times, offset, rate = shifted(keypoints, case, torch.Generator().manual_seed(seed))
        found = synchronise(views, times, cameras=cameras)
        middle = torch.stack([(own[0] + own[-1]) / 2 for own in times])
        error = (found.offset + found.rate * middle) - (offset + rate * middle)
        errors.append(FPS * error[1:])
        deviations.append(FPS * found.offset_deviation[1:])
        rates.append(100 * (found.rate / rate - 1).abs().max())
        confidences.append(found.confidence.min())
    error, deviation = torch.stack(errors), torch.stack(deviations)
    return {
        "offset_error_frames": {
            "mean": error.abs().mean(),
            "worst": error.abs().max(),
            "share_within_half_a_frame": (error.abs() <= 0.5).double().mean(),
            "per_view_worst": error.abs().amax(0).tolist(),
        },
        "share_within_two_deviations": (error.abs() <= 2 * deviation).double().mean(),
        "rate_error_percent": {
            "worst": torch.stack(rates).max(),
            "share_within_a_tenth": (torch.stack(rates) <= 0.1).double().mean(),
        },
        "least_confidence": torch.stack(confidences).min(),
    }


def shifted(
    keypoints: Keypoints2D, case: Case, random: torch.Generator
) -> tuple[list[Keypoints2D], list[Tensor], Tensor, Tensor]:
    """Views (T_v, 1) with clocks of their own that begin at 0, and the true offsets and rates (V,) of these clocks."""
    views, frames = keypoints.batch_shape[:2]
    shift = torch.randint(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (views,), generator=random)
    first = (shift - shift.min()).tolist()
    last = (frames - torch.randint(0, LARGEST_CUT + 1, (views,), generator=random)).tolist()
    parts = [keypoints[view, first[view] : last[view]] for view in range(views)]
    times = [torch.arange(len(part.score)).double() / FPS for part in parts]
    offset = torch.tensor(first).double() / FPS
    rate = torch.ones(views, dtype=torch.float64)
    if case != "same_rate":
        begin = float(torch.rand((), generator=random)) / OTHER_FPS
        count = int((float(times[-1][-1]) - begin) * OTHER_FPS) + 1
        moments = begin + torch.arange(count).double() / OTHER_FPS
        parts[-1] = resample_detections(Detections2D(keypoints=parts[-1]), times[-1], moments).keypoints
        offset[-1] += begin
        times[-1] = torch.arange(count).double() / (OTHER_FPS if case == "stated" else FPS)
        rate[-1] = 1.0 if case == "stated" else FPS / OTHER_FPS
    return parts, times, offset - offset[0], rate


def time_it() -> Timing:
    """Of the default call for a recording that is synchronous already."""
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=1000))
    views, times = separate(capture.detections.keypoints), [torch.arange(1000) / capture.fps] * 4
    timing, _ = Timing.of(lambda: synchronise(views, times, cameras=capture.cameras), warmup=1, runs=5)
    return timing


if __name__ == "__main__":
    main()
