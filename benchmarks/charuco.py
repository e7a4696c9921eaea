"""Cameras calibrated from a moving ChArUco board, held against the board's rigidity, on frames they have not seen.

    python benchmarks/charuco.py --out FILE [--smoke]

Four cameras, 48 moments; everything is fitted on the even sync indices and scored on the odd ones. A score
triangulates every corner that two views or more saw, lays the board of known size over the corners of each moment
(rigidly), and takes the root mean square of all distances: no corner is left out. Three sources of evidence:

- `given`: the recording's own intrinsics, the corners that Marey finds in the videos.
- `given_table`: the same, with the corners that came with the recording (`xy.csv`, another program's, less exact).
- `videos`: everything from the videos: board search, lens model and intrinsics, then extrinsics, then all together.

`reference` scores the calibration that came with the recording on the same odd moments; it was made from all moments.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from marey.calibrate.board_detection import detect_boards
from marey.calibrate.boards import Board, parse_board
from marey.calibrate.calibration import BoardObservations, Calibration
from marey.calibrate.extrinsics import ExtrinsicsConfig, calibrate_extrinsics
from marey.calibrate.intrinsics import calibrate_intrinsics
from marey.calibrate.rigidity import board_rigidity
from marey.core import Cameras
from marey.io.camera_toml import read_camera_toml
from marey.io.recordings import open_recording
from measure import ROOT, describe, write_json

RECORDING = ROOT.parent / "shared" / "data" / "caliscope_charuco" / "4_cam_recording"
BOARD = "charuco:4x5:0.054:DICT_4X4_1000:inverted"
NAMES = ("cam_0", "cam_1", "cam_2", "cam_3")

Result = TypeVar("Result")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="without the intrinsics from videos, the longest part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    board = parse_board(BOARD)
    cameras = read_camera_toml(RECORDING / "camera_array.toml", dtype=torch.float64)
    intrinsics = replace(cameras, rotation=None, translation=None, names=NAMES)
    folder = RECORDING / "calibration" / "extrinsic"
    seconds, found = timed(lambda: detect_boards(open_recording([folder / f"{name}.mp4" for name in NAMES]), board))
    table = corners_of_table(folder / "xy.csv", board, intrinsics)
    results: dict[str, Any] = {
        "given": given(found, intrinsics),
        "given_table": given(table, intrinsics),
        "reference": {"found_corners": score(half(found, 1), cameras), "table_corners": score(half(table, 1), cameras)},
        "seconds": {"detection": seconds},
    }
    if not options.smoke:
        results["videos"] = everything(found)
    results["meta"] = describe("torch", "opencv-python-headless")
    write_json(options.out, results)


def given(observations: BoardObservations, intrinsics: Cameras) -> dict[str, Any]:
    """Extrinsics on the even moments, intrinsics held; scored on the odd ones."""
    seconds, calibration = timed(lambda: calibrate_extrinsics(half(observations, 0), intrinsics))
    return {**score(half(observations, 1), calibration.cameras), **quality(calibration), "seconds": seconds}


def everything(observations: BoardObservations) -> dict[str, Any]:
    """Intrinsics and extrinsics on the even moments; scored on the odd ones before and after the joint adjustment."""
    seen, unseen = half(observations, 0), half(observations, 1)
    intrinsic_seconds, intrinsic = timed(lambda: calibrate_intrinsics(seen))
    seconds, held = timed(lambda: calibrate_extrinsics(seen, intrinsic.cameras))
    joint_seconds, joint = timed(
        lambda: calibrate_extrinsics(seen, intrinsic.cameras, config=ExtrinsicsConfig(intrinsics="adjust"))
    )
    return {
        **score(unseen, joint.cameras),
        **quality(joint),
        "intrinsics_held": {**score(unseen, held.cameras), **quality(held)},
        "lens_models": list(intrinsic.models),
        "seconds": {"intrinsics": intrinsic_seconds, "extrinsics": seconds, "joint": joint_seconds},
    }


def score(observations: BoardObservations, cameras: Cameras) -> dict[str, float]:
    """Rigidity of the board, millimetres, and its size relative to the true one."""
    found = board_rigidity(observations, cameras)
    seen = int((observations.seen.sum(0) >= 2).sum())
    return {
        "rigid_rms_mm": found.rms_mm,
        "rigid_median_mm": found.median_mm,
        "scale": found.scale,
        "scale_deviation": found.scale_deviation,
        "corners": found.corners,
        "corners_not_scored": seen - found.corners,
    }


def quality(calibration: Calibration) -> dict[str, Any]:
    """Reprojection error in pixels, and one deviation of the cameras' centres in millimetres."""
    assert calibration.residuals is not None
    assert calibration.used is not None
    assert calibration.deviation is not None
    distance = calibration.residuals.norm(dim=-1)[calibration.used]
    return {
        "fit_rms_px": float(distance.square().mean().sqrt()),
        "fit_median_px": float(distance.median()),
        "center_deviation_mm": (1000 * calibration.deviation[:, 3:6].norm(dim=-1)).tolist(),
        "boards_left_out": len(calibration.rejected),
    }


def half(observations: BoardObservations, odd: int) -> BoardObservations:
    """The moments with even (0) or odd (1) sync indices."""
    kept = [place for place, moment in enumerate(observations.moments) if moment % 2 == odd]
    places = {place: at for at, place in enumerate(kept)}
    return replace(
        observations,
        pixels=observations.pixels[:, kept],
        moments=tuple(observations.moments[place] for place in kept),
        frame_indices=observations.frame_indices[:, kept],
        rejected=tuple(
            replace(item, moment=places[item.moment]) for item in observations.rejected if item.moment in places
        ),
    )


def corners_of_table(path: Path, board: Board, cameras: Cameras) -> BoardObservations:
    """The corners that came with the recording."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    moments = sorted({int(row["sync_index"]) for row in rows})
    pixels = torch.full((len(NAMES), len(moments), len(board.points), 2), torch.nan, dtype=torch.float64)
    view, moment, corner = (
        torch.tensor([int(row[column]) for row in rows]) for column in ("cam_id", "sync_index", "keypoint_id")
    )
    seen = torch.tensor([[float(row["img_loc_x"]), float(row["img_loc_y"])] for row in rows], dtype=torch.float64)
    pixels[view, torch.searchsorted(torch.tensor(moments), moment), corner] = seen
    return BoardObservations(
        board=board,
        pixels=pixels,
        names=NAMES,
        sizes=cameras.image_size,
        moments=tuple(moments),
        frame_indices=torch.full(pixels.shape[:2], -1),
    )


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of one call, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
