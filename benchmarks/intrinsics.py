"""Intrinsics from checkerboard photographs (claim 2.2): four cameras, seven photographs each, beside OpenCV.

    python benchmarks/intrinsics.py --out FILE [--smoke]

Three measurements on `pose2sim_demo/calibration/intrinsics`:

`marey`: detection and calibration with the defaults: rms in pixels of each camera and the largest, photographs without
a board, false boards, times, and the largest difference of the four focal lengths (the cameras are of one make).

`false_boards`: OpenCV's sector-based detector alone, which draws random numbers, gives a false grid now and then: more
than 10 px from any picture of a flat one. Grids of several draws, full size and reduced, replace ours; counted are the
false grids that `calibrate_intrinsics` names and leaves out, those it misses, and right grids that it rejects.

`opencv`: `cv2.calibrateCamera` (k1 k2 p1 p2 k3) on the very same corners as ours with that model: rms and seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from marey.calibrate.board_detection import detect_boards
from marey.calibrate.boards import Board, parse_board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.intrinsics import IntrinsicCalibration, IntrinsicsConfig, calibrate_intrinsics
from marey.calibrate.picture_names import observed_name
from marey.io.images import read_image
from marey.io.recordings import open_recording
from measure import ROOT, Timing, describe, pin_to_one_core, write_json

PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "pose2sim_demo" / "calibration" / "intrinsics"
BOARD = "checkerboard:7x4:0.060"
FULL_MODEL = IntrinsicsConfig(model="k1_k2_p1_p2_k3")
DRAWS = 5
REDUCED = 0.5
FALSE = 10.0
"""Pixels from a flat grid, root mean square."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="one draw of OpenCV's detector, timed once")
    smoke = parser.parse_args().smoke
    pin_to_one_core()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    board = parse_board(BOARD)
    detection, seen = Timing.of(
        lambda: detect_boards(open_recording([PHOTOGRAPHS]), board, simultaneous=False),
        warmup=0,
        runs=1 if smoke else 3,
    )
    fit, ours = Timing.of(lambda: calibrate_intrinsics(seen), warmup=0, runs=1 if smoke else 5)
    focal = ours.cameras.intrinsics[:, [0, 1], [0, 1]]
    results = {
        "marey": {
            "rms_px": dict(zip(seen.names, ours.rms.tolist(), strict=True)),
            "rms_px_max": float(ours.rms.max()),
            "models": dict(zip(seen.names, ours.models, strict=True)),
            "boards": dict(zip(seen.names, ours.used.any(-1).sum(-1).tolist(), strict=True)),
            "false_boards": [item.why for item in (*seen.rejected, *ours.rejected)],
            "focal_px": focal.tolist(),
            "focal_spread_px": float(focal.max() - focal.min()),
            "detection_s": detection.asdict(),
            "calibration_s": fit.asdict(),
        },
        "false_boards": _false_boards(seen, 1 if smoke else DRAWS),
        "opencv": _beside_opencv(seen, runs=1 if smoke else 5),
        "meta": {**describe("torch", "numpy", "opencv-python-headless"), "smoke": smoke},
    }
    write_json(results=results, path=parser.parse_args().out)


def _false_boards(seen: BoardObservations, draws: int) -> dict[str, Any]:
    """Put the grids of OpenCV's detector in the place of ours, draw by draw, and see what is rejected."""
    named: list[str] = []
    missed: list[str] = []
    wrongly: list[str] = []
    for draw in range(draws):
        for scale in (1.0, REDUCED):
            grids = _grids_of_opencv(seen, draw, scale)
            false = {place for place, distance in _distances(grids, seen.board).items() if distance > FALSE}
            result = calibrate_intrinsics(replace(seen, pixels=grids, rejected=()))
            rejected = {(item.view, item.moment) for item in result.rejected}
            for places, told in ((false & rejected, named), (false - rejected, missed), (rejected - false, wrongly)):
                told += [observed_name(seen, *place) for place in sorted(places)]
    return {
        "occurred": len(named) + len(missed),
        "named": sorted(named),
        "missed": sorted(missed),
        "missed_count": len(missed),
        "wrongly_rejected": sorted(wrongly),
        "wrongly_rejected_count": len(wrongly),
        "cameras_with_false_boards": len({name.split("_")[0] for name in named + missed}),
        "sets_of_grids": 2 * draws,
    }


def _grids_of_opencv(seen: BoardObservations, draw: int, scale: float) -> torch.Tensor:
    """What `findChessboardCornersSB` alone finds, (V, M, C, 2); NaN where it finds nothing."""
    grids = torch.full_like(seen.pixels, torch.nan)
    for view, source in enumerate(seen.sources):
        for moment, file in enumerate(source.files if source is not None else ()):
            grey = cv2.cvtColor(read_image(file), cv2.COLOR_RGB2GRAY)
            small = grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            cv2.setRNGSeed(draw)
            flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE
            found, corners = cv2.findChessboardCornersSB(small, seen.board.grid, flags=flags)
            if found:
                grids[view, moment] = torch.from_numpy((corners.reshape(-1, 2).astype(np.float64) + 0.5) / scale - 0.5)
    return grids


def _distances(grids: torch.Tensor, board: Board) -> dict[tuple[int, int], float]:
    """Root mean square distance in pixels of each grid from the nearest picture of a flat one."""
    plane = board.points[:, :2].numpy()
    distances = {}
    for view, moment in grids.isfinite().all(-1).all(-1).nonzero().tolist():
        corners = grids[view, moment].numpy()
        homography, _ = cv2.findHomography(plane, corners)
        flat = cv2.perspectiveTransform(plane[None], homography)[0]
        distances[view, moment] = float(np.sqrt(np.square(flat - corners).sum(-1).mean()))
    return distances


def _beside_opencv(seen: BoardObservations, runs: int) -> dict[str, Any]:
    """The model with five coefficients, fitted by both to the same corners."""
    timing, ours = Timing.of(lambda: calibrate_intrinsics(seen, config=FULL_MODEL), warmup=1, runs=runs)
    peer_timing, theirs = Timing.of(lambda: _opencv(seen, ours), warmup=1, runs=runs)
    names = seen.names
    focal = ours.cameras.intrinsics[:, 0, 0].tolist()
    return {
        "ours_rms_px": dict(zip(names, ours.rms.tolist(), strict=True)),
        "opencv_rms_px": {name: rms for name, (rms, _) in zip(names, theirs, strict=True)},
        "rms_ratio_max": max(float(rms) / peer for rms, (peer, _) in zip(ours.rms.tolist(), theirs, strict=True)),
        "focal_difference_px": max(abs(f - peer) for f, (_, peer) in zip(focal, theirs, strict=True)),
        "ours_s": timing.asdict(),
        "opencv_s": peer_timing.asdict(),
    }


def _opencv(seen: BoardObservations, ours: IntrinsicCalibration) -> list[tuple[float, float]]:
    """Root mean square error in pixels and focal length of each view, on the corners that we used."""
    results = []
    points = seen.board.points.numpy().astype(np.float32)
    for view, size in enumerate(seen.sizes.tolist()):
        boards = [used for used in range(len(seen.moments)) if ours.used[view, used].any()]
        kept = [ours.used[view, board].numpy() for board in boards]
        corners = [
            seen.pixels[view, board].numpy().astype(np.float32)[mask] for board, mask in zip(boards, kept, strict=True)
        ]
        rms, K, *_ = cv2.calibrateCamera([points[mask] for mask in kept], corners, size, None, None)
        results.append((float(rms), float(K[0, 0])))
    return results


if __name__ == "__main__":
    main()
