"""The steps of learnable triangulation beside the original's, on the same arrays, one thread, one run.

    python benchmarks/learnable_triangulation.py --out FILE [--original DIR] [--runs 5] [--smoke]

`--original` (or MAREY_LEARNABLE_TRIANGULATION, or .venv-peers/learnable-triangulation-pytorch) is a checkout of
karfly/learnable-triangulation-pytorch, which runs with PyTorch as it is here. Without it, plain forms of its steps take
its place (`triangulation_baselines.py`), the whole network is not compared, and `baseline` says so.

- `dlt`: 50 x 20 joints of 4 views, confidence-weighted; ours gives a covariance too.
- `ransac` and `ransac_optimised`: 1000 joints, 3 px of noise, 15 % of them with one view displaced by 120 px, in whole
  pixels; both try the same ten pairs for each joint; `identical_inliers` is the share of joints with the same views.
- `unprojection`: 4 views of 32 channels, 96 x 96, to 64^3, softmax. Its memory is the peak of a fresh process over what
  it holds before the call.
- `network`: the volumetric network, ResNet-152, 4 views of 384 px, one sample, the same weights; ours folded,
  as the estimator `volumetric` runs it. `network_bfloat16`: likewise, ours with `precision="bfloat16"`.

Runs of both alternate. `times_faster` is the ratio of the medians of the processor's seconds that the thread took,
which other programs on the machine disturb least; `wall_times_faster` that of the clock on the wall.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import workloads
from marey.geometry.triangulation import triangulate_projections
from marey.methods.triangulation.model import BackboneConfig, VolumetricConfig, VolumetricNet
from marey.methods.triangulation.quirks import Quirks
from marey.methods.triangulation.ransac import ransac
from marey.nn.folding import folded
from marey.nn.precision import Precision, network_precision
from marey.nn.volumes import cuboid_grid, unproject
from measure import ONE_THREAD, ROOT, describe, pin_to_one_core, write_json
from triangulation_baselines import Found, Original, Plain

VARIABLE = "MAREY_LEARNABLE_TRIANGULATION"
CHECKOUT = ROOT / ".venv-peers" / "learnable-triangulation-pytorch"
BATCH = 50
NOISE, OUTLIERS, DISPLACED = 3.0, 0.15, 120.0
MILLIMETRES = 1000.0
"""The original's unit."""
CHANNELS = 32


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done."""

    points: int = 1000
    maps: int = 96
    volume: int = 64
    depth: int = 152
    image: int = 384
    network_volume: int = 64
    runs: int = 5
    slow_runs: int = 2
    """Of what takes the original some ten seconds."""


SMOKE = Size(points=100, maps=48, volume=64, depth=18, image=128, network_volume=32, runs=2, slow_runs=1)


def main() -> None:
    """Measure both and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--original", type=Path, default=_checkout())
    parser.add_argument("--runs", type=int, default=Size.runs)
    parser.add_argument("--smoke", action="store_true", help="small arrays, few runs: does it work?")
    parser.add_argument("--peak", choices=["ours", "baseline"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    size = SMOKE if options.smoke else Size(runs=options.runs)
    peer = Plain() if options.original is None else Original(options.original)
    with torch.inference_mode():
        if options.peak is not None:
            print(json.dumps(peak(options.peak, peer, size)))
            return
        if options.out is None:
            parser.error("--out is missing")
        results: dict[str, Any] = {
            "baseline": peer.name,
            "dlt": compare_dlt(peer, size),
            "ransac": compare_ransac(peer, size, optimise=False),
            "ransac_optimised": compare_ransac(peer, size, optimise=True),
            "unprojection": compare_unprojection(peer, size) | memory(options),
        }
        if isinstance(peer, Original):
            results["network"] = compare_network(peer, size, "float32")
            results["network_bfloat16"] = compare_network(peer, size, "bfloat16")
    results["meta"] = describe("torch", "numpy", "scipy") | {"smoke": options.smoke}
    write_json(options.out, results)


def compare_dlt(peer: Plain | Original, size: Size) -> dict[str, Any]:
    """Confidence-weighted linear triangulation."""
    work, projections = _rig(size)
    batch = size.points // (size.points // BATCH)
    points = torch.from_numpy(work.pixels).float().view(4, batch, -1, 2)
    matrices = projections.float()[:, None].expand(-1, batch, -1, -1)
    confidences = 0.5 + 0.5 * torch.rand(points.shape[:3], generator=torch.Generator().manual_seed(1))
    items = [part.transpose(0, 1).contiguous() for part in (points, matrices, confidences)]
    timing, (ours, theirs) = alternate(
        lambda: triangulate_projections(points, matrices, weights=confidences).positions,
        lambda: peer.dlt(*items),
        runs=size.runs,
    )
    return timing | {"largest_difference_mm": float((ours - theirs).norm(dim=-1).max())}


def compare_ransac(peer: Plain | Original, size: Size, *, optimise: bool) -> dict[str, Any]:
    """Sample consensus, the same pairs tried."""
    work, projections = _rig(size)
    pixels = work.pixels.round()
    theirs = pixels.transpose(1, 0, 2).astype(np.int64), projections.float().numpy()
    pairs = torch.from_numpy(peer.ransac(*theirs, optimise=False, seed=0).pairs)[None]
    ours = torch.from_numpy(pixels).float()[:, None], projections.float()[:, None]
    timing, (found, expected) = alternate(
        lambda: ransac(*ours, pairs=pairs, refine=optimise),
        lambda: peer.ransac(*theirs, optimise=optimise, seed=0),
        runs=size.slow_runs if optimise else size.runs,
    )
    views = [torch.nonzero(column)[:, 0].tolist() for column in found.inliers[:, 0].T]
    same = np.mean([mine == other for mine, other in zip(views, expected.inliers, strict=True)])
    return timing | {
        "identical_inliers": float(same),
        "error_mm": _errors(found.positions[0].numpy(), work),
        "baseline_error_mm": _errors(expected.positions, work),
        "median_difference_mm": _median_difference(found.positions[0], expected),
    }


def compare_unprojection(peer: Plain | Original, size: Size) -> dict[str, Any]:
    """Features of four views into one volume."""
    arrays = _volume(size)
    timing, (ours, theirs) = alternate(lambda: _filled(size, *arrays), lambda: peer.unproject(*arrays), runs=size.runs)
    return timing | {"largest_difference": float((ours - theirs).abs().max())}


def compare_network(peer: Original, size: Size, precision: Precision) -> dict[str, Any]:
    """The volumetric network from images to joints, the original's in single precision."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(1, 4, 3, size.image, size.image, generator=generator)
    theirs = peer.network(size.depth, size.network_volume)
    backbone = BackboneConfig(depth=size.depth)  # type: ignore[arg-type]
    config = VolumetricConfig(
        backbone=backbone, volume_size=size.network_volume, cuboid_side=2500.0, quirks=Quirks.published()
    )
    ours = VolumetricNet(config).eval()
    ours.load_state_dict(theirs.state_dict())
    ours = folded(ours)
    rig = _around(size.image)
    projections = torch.from_numpy(_matrices(rig)).float()[None]
    call = peer.call(theirs, images, rig)

    def estimated() -> Tensor:
        with network_precision(precision, images.device):
            joints: Tensor = ours(images, projections, torch.zeros(1, 3)).joints
            return joints

    timing, (found, expected) = alternate(estimated, call, runs=size.slow_runs)
    return timing | {
        "seconds_over_baseline": 1 / timing["times_faster"],
        "largest_difference_mm": float((found - expected).norm(dim=-1).max()),
    }


def alternate(
    ours: Callable[[], Any], baseline: Callable[[], Any], *, runs: int
) -> tuple[dict[str, Any], tuple[Any, Any]]:
    """Time two calls in turn; a first run of ours does not count."""
    ours()
    clocks = {"cpu": time.thread_time, "wall": time.perf_counter}
    seconds: dict[str, dict[str, list[float]]] = {clock: {"ours": [], "baseline": []} for clock in clocks}
    results: dict[str, Any] = {}
    for _ in range(runs):
        for name, call in (("ours", ours), ("baseline", baseline)):
            start = {clock: now() for clock, now in clocks.items()}
            results[name] = call()
            for clock, now in clocks.items():
                seconds[clock][name].append(now() - start[clock])
    median = {clock: {name: float(np.median(took)) for name, took in by.items()} for clock, by in seconds.items()}
    timing = {
        "times_faster": median["cpu"]["baseline"] / median["cpu"]["ours"],
        "wall_times_faster": median["wall"]["baseline"] / median["wall"]["ours"],
        "seconds": {clock: {name: _summary(took) for name, took in by.items()} for clock, by in seconds.items()},
    }
    return timing, (results["ours"], results["baseline"])


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of unprojection over that of its inputs, each in a fresh process."""
    command = [sys.executable, __file__] + (["--smoke"] if options.smoke else [])
    command += [] if options.original is None else ["--original", str(options.original)]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT / "benchmarks")}
    over = {}
    for name in ("ours", "baseline"):
        done = subprocess.run([*command, "--peak", name], env=environment, capture_output=True, text=True, check=True)
        over[name] = json.loads(done.stdout.splitlines()[-1]) / 1e6
    return {
        "ours_peak_mb": over["ours"],
        "baseline_peak_mb": over["baseline"],
        "memory_over_baseline": over["ours"] / over["baseline"],
    }


def peak(what: str, peer: Plain | Original, size: Size) -> int:
    """Most bytes that filling a volume adds to those of this process."""
    features, projections, grid = _volume(size)
    small = features[..., :8, :8].contiguous(), projections, grid[:, :2, :2, :2]
    fill = peer.unproject if what == "baseline" else lambda *arrays: _filled(size, *arrays)
    fill(*small)  # what a first call brings along
    with contextlib.suppress(OSError):  # Linux: forget the peak of the imports
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _peak_bytes()
    fill(features, projections, grid)
    return _peak_bytes() - before


def _peak_bytes() -> int:
    try:  # of a process that another started, getrusage tells the other's peak if that was higher
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _checkout() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return CHECKOUT if CHECKOUT.is_dir() else None


def _rig(size: Size) -> tuple[workloads.Workload, Tensor]:
    """Points in four views, and projections (V, 3, 4) from millimetres."""
    work = workloads.triangulation(
        points=size.points, noise=NOISE, outlier_share=OUTLIERS, outlier_size=DISPLACED, seed=2
    )
    rig = {"intrinsics": work.intrinsics, "rotation": work.rotation, "translation": MILLIMETRES * work.translation}
    return work, torch.from_numpy(_matrices(rig))


def _around(image: int) -> dict[str, np.ndarray]:
    """Four cameras whose square images hold the cuboid's middle part, millimetres."""
    angle = 0.3 + np.arange(4) * np.pi / 2
    zero, one = np.zeros(4), np.ones(4)
    rows = (-np.sin(angle), np.cos(angle), zero, zero, zero, -one, -np.cos(angle), -np.sin(angle), zero)
    focal, middle = 1.4 * image, (image - 1) / 2
    lens = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    return {
        "intrinsics": np.tile(lens, (4, 1, 1)),
        "rotation": np.stack(rows, axis=-1).reshape(4, 3, 3),
        "translation": np.tile([0.0, 0.0, 4000.0], (4, 1)),
    }


def _matrices(rig: dict[str, np.ndarray]) -> np.ndarray:
    return rig["intrinsics"] @ np.concatenate((rig["rotation"], rig["translation"][..., None]), axis=-1)


def _volume(size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, projections to them and the grid."""
    features = torch.randn(1, 4, CHANNELS, size.maps, size.maps, generator=torch.Generator().manual_seed(0))
    projections = torch.from_numpy(_matrices(_around(size.maps))).float()[None]
    return features, projections, cuboid_grid(torch.zeros(1, 3), side=2500.0, size=size.volume)


def _filled(size: Size, features: Tensor, projections: Tensor, grid: Tensor) -> Tensor:
    """Ours, sampled as the original does."""
    stretch = torch.full((2,), (size.maps - 1) / size.maps)
    return unproject(features, projections, grid, map_scale=stretch, skip_unseen=False)


def _errors(positions: np.ndarray, work: workloads.Workload) -> dict[str, float]:
    apart = np.linalg.norm(positions - MILLIMETRES * work.points, axis=-1)
    return {"mean": float(apart.mean()), "median": float(np.median(apart))}


def _median_difference(positions: Tensor, expected: Found) -> float:
    return float(np.median(np.linalg.norm(positions.numpy() - expected.positions, axis=-1)))


def _summary(seconds: list[float]) -> dict[str, float]:
    return {"median": float(np.median(seconds)), "least": min(seconds), "most": max(seconds)}


if __name__ == "__main__":
    main()
