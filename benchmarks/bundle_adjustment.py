"""Bundle adjustment against aniposelib: 4 cameras, 200 frames, 17 joints, extrinsics only, squared loss, one thread.

    python benchmarks/bundle_adjustment.py --out FILE [--frames 200] [--runs 7] [--peer-runs 3]

Both start from the same perturbed cameras and minimise the same sum of squared reprojection errors; one function
evaluates both ends. Writes `speed_over_aniposelib` (ratio of medians), `cost_ratio` (ours over theirs; 1 or less: at
least as good an optimum), `error_over_aniposelib` (the same of the root mean square), `rms_px`, the times and the meta.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import workloads
from marey.core import Cameras
from marey.geometry.bundle import BundleAdjustment, adjust_bundle
from measure import Timing, describe, pin_to_one_core, run_peer, write_json


def main() -> None:
    """Measure both sides and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peer-runs", type=int, default=3)
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    work = workloads.bundle(frames=options.frames)
    rotation, translation = workloads.perturbed_extrinsics(work)
    start = replace(work, rotation=rotation, translation=translation)
    timing, ours = _ours(start, options.runs)
    peer_seconds, peer_meta, peer_cost = _peer(start, options.peer_runs)
    rotation, translation = (part.numpy() for part in ours.cameras.extrinsics)
    cost = _cost(start, rotation, translation, ours.points.numpy())
    results = {
        "speed_over_aniposelib": peer_seconds["median"] / timing.median,
        "cost_ratio": cost / peer_cost,
        "error_over_aniposelib": (cost / peer_cost) ** 0.5,
        "rms_px": {"ours": _rms(cost, work), "aniposelib": _rms(peer_cost, work)},
        "converged": ours.converged,
        "ours_s": timing.asdict(),
        "peer_s": peer_seconds,
        "work": {"views": 4, "frames": options.frames, "joints": 17},
        "meta": {**describe("torch", "numpy"), "peer": peer_meta},
    }
    write_json(options.out, results)


def _ours(start: workloads.Workload, runs: int) -> tuple[Timing, BundleAdjustment]:
    cameras = Cameras(
        intrinsics=start.intrinsics,
        distortion=start.distortion,
        image_size=start.image_size,
        rotation=start.rotation,
        translation=start.translation,
    )
    pixels = torch.from_numpy(start.pixels)
    return Timing.of(lambda: adjust_bundle(pixels, cameras), runs=runs)


def _peer(start: workloads.Workload, runs: int) -> tuple[dict[str, float], dict[str, object], float]:
    """Times, versions and the cost at its end."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "workload.npz", Path(folder) / "peer.npz"
        start.save(source)
        run_peer("bundle.py", source, target, "--runs", str(runs))
        report = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(target, allow_pickle=False) as end:
            cost = _cost(start, end["rotation"], end["translation"], end["points"])
    return report["seconds"], report["meta"], cost


def _cost(
    work: workloads.Workload, rotation: workloads.Array, translation: workloads.Array, points: workloads.Array
) -> float:
    """Half the sum of squared reprojection errors."""
    moved = {**vars(work), "rotation": rotation, "translation": translation}
    moved.pop("points")
    projected = workloads.project(points, **moved)
    return float(np.square(projected - work.pixels).sum() / 2)


def _rms(cost: float, work: workloads.Workload) -> float:
    """Root mean square of the reprojection distances, pixels."""
    return float(np.sqrt(2 * cost / work.pixels[..., 0].size))


if __name__ == "__main__":
    main()
