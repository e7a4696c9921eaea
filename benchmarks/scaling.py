"""Claim 1.7: long recordings fit a laptop, and cost grows linearly with frames, views and people.

Synthetic keypoint recordings are written as OpenPose JSON folders, and `marey.estimate` runs on each in a process of
its own, from the files to the files. Peak memory is that of the process, torch and all. Time is that of the process's
processor, in one thread, after a first run on a few frames. A cost c(n) ~ n^e has the growth exponent e: the slope of
log c over log n of three sizes, fitted by least squares; 1 is linear, and fixed costs lower it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from measure import ONE_THREAD, describe, write_json

REPEATS = 3
WARM_UP_FRAMES = 32


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a recording is."""

    frames: int = 2_500
    views: int = 4
    people: int = 2


LARGEST = Size(frames=10_000)
SERIES: Mapping[str, Sequence[Size]] = {
    "frames": (Size(frames=2_500), Size(frames=5_000), LARGEST),
    "views": (Size(views=2), Size(views=4), Size(views=8)),
    "people": (Size(people=1), Size(people=2), Size(people=4)),
}


def record(size: Size, folder: Path) -> None:
    """Write a synthetic recording; in a process of its own, so that its memory is not counted."""
    from marey.data.detector_faults import DetectorFaults
    from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
    from marey.data.keypoint_capture_files import write_keypoint_capture

    config = KeypointCaptureConfig(frames=size.frames, views=size.views, people=size.people, faults=DetectorFaults())
    write_keypoint_capture(make_keypoint_capture(config), folder)


def estimate(size: Size, folder: Path) -> dict[str, float]:
    """Estimate a recording and report the cost."""
    import resource
    import time
    import warnings

    import torch

    from marey.pipeline.config import EstimateConfig
    from marey.pipeline.estimation import estimate as run

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    config = EstimateConfig(people=size.people, fps=60.0, overlay=False)
    common = {"calibration": folder / "cameras.toml", "config": config}
    run(folder, frames=(0, WARM_UP_FRAMES), **common)
    start = time.process_time()
    result = run(folder, out=folder / "result", **common)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    known = result.joints.positions.isfinite().all(dim=-1).float().mean()
    return {"seconds": seconds, "peak_memory_gb": peak / 1e9, "known_share": float(known)}


def measure(size: Size, *, repeats: int) -> dict[str, Any]:
    """Record and estimate in child processes; the median time and the largest memory of the repeats."""
    with tempfile.TemporaryDirectory() as folder:
        _child("record", size, folder)
        runs = [json.loads(_child("estimate", size, folder).splitlines()[-1]) for _ in range(repeats)]
    seconds = [run["seconds"] for run in runs]
    return {
        **asdict(size),
        "seconds": statistics.median(seconds),
        "seconds_spread": max(seconds) - min(seconds),
        "frames_per_second": size.frames / statistics.median(seconds),
        "peak_memory_gb": max(run["peak_memory_gb"] for run in runs),
        "known_share": runs[0]["known_share"],
    }


def _child(task: str, size: Size, folder: str) -> str:
    command = [sys.executable, __file__, "--task", task, "--size", json.dumps(asdict(size)), "--folder", folder]
    environment = {**os.environ, **ONE_THREAD}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The growth exponent of a cost."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def main() -> None:
    """Measure every size once and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="a hundredth of the frames, once")
    parser.add_argument("--task", choices=("record", "estimate"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task == "record":
        record(Size(**arguments.size), arguments.folder)
    elif arguments.task == "estimate":
        print(json.dumps(estimate(Size(**arguments.size), arguments.folder)))
    else:
        report(arguments.out, smoke=arguments.smoke)


def report(out: Path, *, smoke: bool) -> None:
    """Run the three series and write what they cost."""
    shrink = 100 if smoke else 1
    series = {
        name: [replace(size, frames=max(size.frames // shrink, 2 * WARM_UP_FRAMES)) for size in sizes]
        for name, sizes in SERIES.items()
    }
    measured = {
        size: measure(size, repeats=1 if smoke else REPEATS)
        for size in dict.fromkeys(chain.from_iterable(series.values()))
    }
    exponents = {
        name: exponent([getattr(size, name) for size in sizes], [measured[size]["seconds"] for size in sizes])
        for name, sizes in series.items()
        if len({getattr(size, name) for size in sizes}) > 1
    }
    document = {
        "peak_memory_gb": measured[series["frames"][-1]]["peak_memory_gb"],
        "exponents": exponents,
        "sizes": list(measured.values()),
        "meta": {**describe("torch", "numpy"), "smoke": smoke, "repeats": 1 if smoke else REPEATS},
    }
    write_json(out, document)


if __name__ == "__main__":
    main()
