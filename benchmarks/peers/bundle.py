"""Adjust one workload with aniposelib, timed on one thread. Runs in the peers' environment.

    python bundle.py WORKLOAD.npz OUT.npz [--runs 3]

WORKLOAD.npz: what `workloads.Workload.save` wrote, rotation and translation being the start. Extrinsics only and the
linear loss, aniposelib's defaults otherwise. OUT.npz: `rotation` (V, 3, 3), `translation` (V, 3) and `points` (N, 3) at
its end. OUT.json beside it: {"meta": {...}, "seconds": {median, low, high, runs}}.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import aniposelib.cameras
import cv2
import numpy as np
from aniposelib_cameras import camera_group

from measure import Timing, describe, pin_to_one_core, write_json
from workloads import Workload


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    pin_to_one_core()
    cv2.setNumThreads(1)
    work = Workload.load(options.workload)
    ends = _recorded_ends()

    def run() -> Any:
        group = camera_group(work)
        group.bundle_adjust(work.pixels, loss="linear", only_extrinsics=True, verbose=False)
        return group

    timing, group = Timing.of(run, warmup=1, runs=options.runs)
    rotation = np.stack([cv2.Rodrigues(camera.get_rotation())[0] for camera in group.cameras])
    translation = np.stack([np.ravel(camera.get_translation()) for camera in group.cameras])
    points = ends[-1][6 * len(rotation) :].reshape(-1, 3)
    np.savez(options.out, rotation=rotation, translation=translation, points=points)
    meta = describe("numpy", "scipy", "aniposelib", "jax", "numba")
    write_json(options.out.with_suffix(".json"), {"meta": meta, "seconds": timing.asdict()})


def _recorded_ends() -> list[np.ndarray]:
    """A list that collects the parameters of every solve: aniposelib keeps the cameras and drops the points."""
    ends: list[np.ndarray] = []
    solve = aniposelib.cameras.optimize.least_squares

    def recording(*arguments: Any, **keywords: Any) -> Any:
        solution = solve(*arguments, **keywords)
        ends.append(solution.x)
        return solution

    aniposelib.cameras.optimize.least_squares = recording
    return ends


if __name__ == "__main__":
    main()
