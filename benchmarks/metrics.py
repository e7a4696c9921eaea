"""Procrustes-aligned errors: how many poses a second, beside roma and NumPy on the same arrays.

    python benchmarks/metrics.py --out FILE [--poses 65536] [--runs 15] [--smoke]

One thread on one core. The work: arrays of poses of 17 joints in, the error of every pose after the best similarity out
(millimetres, the mean over its joints). roma registers by PyTorch's singular value decomposition, NumPy by its own,
both batched, in a few lines as people write them. `wall` is timed by the clock, `cpu` by the processor's seconds of the
thread, which say more when other programs run beside. Ours also with a joint unknown in each tenth pose (`missing`),
with reflections allowed and with the backward pass. `difference_mm`: largest difference to NumPy in double precision.
`tally_values_per_second`: values into sums that merge exactly.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from torch import Tensor

from marey.metrics.accumulate import Total
from marey.metrics.aligned import procrustes_errors
from measure import Timing, describe, pin_to_one_core, write_json

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
JOINTS = 17
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--poses", type=int, default=65536)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="few poses, three runs: does it work?")
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    count, runs = (5000, 3) if options.smoke else (options.poses, options.runs)
    results: dict[str, Any] = {clock: {} for clock in CLOCKS} | {"difference_mm": {}}
    for name, dtype in DTYPES.items():
        estimated, truth = (points.to(dtype) for points in poses(count))
        found = measured(estimated, truth, runs)
        for clock in CLOCKS:
            results[clock][name] = found[clock]
        results["difference_mm"][name] = difference(estimated, truth)
    write_json(options.out, results | {"poses": count, "meta": describe("torch", "numpy", "roma")})


def poses(count: int) -> tuple[Tensor, Tensor]:
    """Poses the size of people three metres away, and the truth, seen from another side and 50 mm off."""
    source = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.25, 0.45, 0.15], dtype=torch.float64)
    truth = spread * torch.randn(count, JOINTS, 3, generator=source, dtype=torch.float64)
    rotation = roma.random_rotmat(count, generator=source).double()
    noise = 0.05 * torch.randn(count, JOINTS, 3, generator=source, dtype=torch.float64)
    return (truth + noise) @ rotation.mT + torch.tensor([0.3, 0.2, 3.0], dtype=torch.float64), truth


def measured(estimated: Tensor, truth: Tensor, runs: int) -> dict[str, dict[str, Any]]:
    """By clock: poses a second, ratios, quartiles of the seconds."""
    count = len(truth)
    holes = estimated.clone()
    holes[::10, 3] = torch.nan
    arrays = estimated.numpy(), truth.numpy()
    work: dict[str, Callable[[], Any]] = {
        "marey": partial(ours, estimated, truth),
        "roma": partial(by_roma, estimated, truth),
        "numpy": partial(by_numpy, *arrays),
        "marey_missing": partial(ours, holes, truth),
        "marey_reflection": partial(ours, estimated, truth, reflection=True),
        "marey_gradient": partial(gradient, estimated, truth),
    }
    values = procrustes_errors(estimated, truth)
    found = {}
    for clock, read in CLOCKS.items():
        timings = {name: Timing.of(function, runs=runs, clock=read)[0] for name, function in work.items()}
        rate = {name: timing.per_second(count) for name, timing in timings.items()}
        tally = Timing.of(partial(Total.of, values), runs=min(runs, 5), clock=read)[0]
        found[clock] = {
            "poses_per_second": rate,
            "over_roma": rate["marey"] / rate["roma"],
            "over_numpy": rate["marey"] / rate["numpy"],
            "tally_values_per_second": tally.per_second(values.numel()),
            "seconds": {name: timing.asdict() for name, timing in timings.items()},
        }
    return found


def difference(estimated: Tensor, truth: Tensor) -> float:
    """To NumPy in double precision on the same points, in millimetres."""
    expected = by_numpy(estimated.double().numpy(), truth.double().numpy())
    return float(np.abs(ours(estimated, truth).double().numpy() - expected).max())


@torch.inference_mode()
def ours(estimated: Tensor, truth: Tensor, *, reflection: bool = False) -> Tensor:
    """Errors (N,) in millimetres."""
    return 1000 * procrustes_errors(estimated, truth, reflection=reflection).mean(-1)


def gradient(estimated: Tensor, truth: Tensor) -> Tensor:
    """The derivative of the mean error by the estimate."""
    points = estimated.detach().requires_grad_()
    procrustes_errors(points, truth).mean().backward()
    assert points.grad is not None
    return points.grad


@torch.inference_mode()
def by_roma(estimated: Tensor, truth: Tensor) -> Tensor:
    """Errors (N,) in millimetres."""
    rotation, translation, scale = roma.rigid_points_registration(estimated, truth, compute_scaling=True)
    moved = scale[:, None, None] * (estimated @ rotation.mT) + translation[:, None]
    return 1000 * (moved - truth).norm(dim=-1).mean(-1)


def by_numpy(estimated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors (N,) in millimetres."""
    x, y = estimated - estimated.mean(1, keepdims=True), truth - truth.mean(1, keepdims=True)
    u, s, vh = np.linalg.svd(y.transpose(0, 2, 1) @ x)
    signs = np.ones_like(s)
    signs[:, 2] = np.sign(np.linalg.det(u @ vh))
    rotation = u * signs[:, None] @ vh
    scale = (s * signs).sum(-1) / np.square(x).sum((1, 2))
    moved = scale[:, None, None] * (x @ rotation.transpose(0, 2, 1))
    return 1000 * np.linalg.norm(moved - y, axis=-1).mean(-1)


if __name__ == "__main__":
    main()
