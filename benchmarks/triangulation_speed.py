"""Triangulation beside its peers, same arrays: 4 views, 2 px noise, an 80 px outlier in one view of 10 % of the points.

    python benchmarks/triangulation_speed.py --out FILE [--points 100000] [--runs 7]

One thread on one core; peers in an environment of their own, in the same run. Every figure of ours is of one call,
`triangulate(pixels, cameras, covariance=...)`, whose positions give the error and whose covariance gives the coverage;
`compiled` is the same call with `compiled=True`. The plain torch normal equations (no covariance, no robustness) are
the floor that the eager DLT is compared with. Writes the ratios that the claims read under `compiled` and `eager`, and
a table of everybody's points per second and mean error under `table`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import workloads
from marey.core import Cameras
from marey.geometry.triangulation import Triangulation, triangulate
from marey.metrics.uncertainty import coverage
from measure import Timing, describe, pin_to_one_core, run_peer, write_json

NOISE = 2.0
FRAME = 17
"""Joints of the single frame."""


def main() -> None:
    """Measure everyone and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    work = workloads.triangulation(points=options.points, noise=NOISE)
    peers, peer_meta, found = _peers(work)
    rows = {name: _row(entry["points_per_second"], found[name], work) for name, entry in peers.items()}
    cameras, pixels = as_torch(work)
    with torch.inference_mode():
        rows["torch_normal_equations"] = _row(*_normal_equations(pixels, cameras, options.runs), work)
        ours = {kind: _ours(pixels, cameras, kind == "compiled", options.runs, work) for kind in ("eager", "compiled")}
    for kind, results in ours.items():
        rows |= {f"marey_{name}_{kind}": row for name, row in results["rows"].items()}
    fewest = len(found["pycolmap_ransac"])  # errors are compared on the points that the slowest peer did
    write_json(
        options.out,
        _claims(ours, rows, work, fewest) | {"table": rows, "meta": describe("torch", "numpy") | {"peers": peer_meta}},
    )


def _claims(ours: dict[str, Any], rows: dict[str, Any], work: workloads.Workload, fewest: int) -> dict[str, Any]:
    """The figures that claims read."""
    rate = {name: row["points_per_second"] for name, row in rows.items()}
    error = rows["pycolmap_ransac"]["mean_error_mm"]
    results: dict[str, Any] = {}
    for kind, measured in ours.items():
        robust = rate[f"marey_robust_{kind}"]
        results[kind] = {
            "dlt_over_aniposelib": rate[f"marey_dlt_{kind}"] / rate["aniposelib_dlt"],
            "dlt_over_normal_equations": rate[f"marey_dlt_{kind}"] / rate["torch_normal_equations"],
            "robust_over_pycolmap": robust / rate["pycolmap_ransac"],
            "robust_error_over_pycolmap": _error(measured["robust"].positions[:fewest], work)[0] / error,
            "robust_coverage_90": measured["coverage_90"],
            "one_frame_us": measured["one_frame_us"],
        }
    return results


def _peers(work: workloads.Workload) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "work.npz", Path(folder) / "peers.npz"
        work.save(given)
        run_peer("triangulate.py", given, got)
        report = json.loads(got.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(got, allow_pickle=False) as arrays:
            return report["peers"], report["meta"], {name: arrays[name] for name in arrays.files}


def _ours(pixels: Tensor, cameras: Cameras, compiled: bool, runs: int, work: workloads.Workload) -> dict[str, Any]:
    covariance = NOISE**2 * torch.eye(2)
    frame = pixels[:, :FRAME].contiguous()

    def call(points: Tensor, method: Any) -> Callable[[], Triangulation]:
        return lambda: triangulate(points, cameras, covariance=covariance, method=method, compiled=compiled)

    rows: dict[str, Any] = {}
    results: dict[str, Any] = {"rows": rows}
    for method in ("dlt", "robust"):
        timing, results[method] = Timing.of(call(pixels, method), runs=runs)
        rows[method] = _row(timing.per_second(pixels.shape[1]), results[method].positions, work)
    single, _ = Timing.of(call(frame, "robust"), warmup=50, runs=2000)
    results["one_frame_us"] = 1e6 * single.median
    truth = torch.from_numpy(work.points).float()
    robust = results["robust"]
    results["coverage_90"] = 100 * float(coverage(robust.positions, robust.covariance, truth, level=0.9))
    return results


def _normal_equations(pixels: Tensor, cameras: Cameras, runs: int) -> tuple[float, Tensor]:
    """What one writes in five lines of torch: inhomogeneous least squares, solved by LAPACK."""
    rotation, translation = cameras.extrinsics
    projection = cameras.intrinsics @ torch.cat((rotation, translation[..., None]), -1)

    def solve() -> Tensor:
        rows = projection[:, None, :2] - pixels[..., None] * projection[:, None, 2:]
        rows = rows.transpose(0, 1).reshape(pixels.shape[1], -1, 4)
        left, right = rows[..., :3], -rows[..., 3:]
        return torch.linalg.solve(left.mT @ left, left.mT @ right)[..., 0]

    timing, points = Timing.of(solve, runs=runs)
    return timing.per_second(pixels.shape[1]), points


def as_torch(work: workloads.Workload) -> tuple[Cameras, Tensor]:
    """The cameras and the pixels (V, N, 2), single precision."""
    cameras = Cameras(
        intrinsics=torch.from_numpy(work.intrinsics),
        distortion=torch.from_numpy(work.distortion),
        image_size=torch.from_numpy(work.image_size),
        rotation=torch.from_numpy(work.rotation),
        translation=torch.from_numpy(work.translation),
    )
    return cameras.to(torch.float32), torch.from_numpy(work.pixels).float().contiguous()


def _row(rate: float, points: Tensor | np.ndarray, work: workloads.Workload) -> dict[str, float]:
    mean, known = _error(points, work)
    return {"points_per_second": rate, "mean_error_mm": mean, "known_share": known}


def _error(points: Tensor | np.ndarray, work: workloads.Workload) -> tuple[float, float]:
    """Mean distance to the truth in millimetres over the points given, and their share of those asked for."""
    found = np.asarray(points, dtype=np.float64)
    distance = np.linalg.norm(found - work.points[: len(found)], axis=-1)
    return 1000 * float(np.nanmean(distance)), float(np.isfinite(distance).mean())


if __name__ == "__main__":
    main()
