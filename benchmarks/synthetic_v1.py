"""The table `synthetic` v1: every method on every cell of the benchmark that it can do.

    python benchmarks/synthetic_v1.py --out FILE [--labels FOLDER] [--predictions FOLDER] [--smoke]

Methods that take keypoints get those of the benchmark's simulated detector. Errors are those of the protocol
`synthetic`, coverage that of `uncertainty`, both over all 2,000 samples of a cell. One method beats another in a cell
if the 95 % interval of the paired bootstrap of their MPJPE excludes zero.

Predictions are kept in a folder (METHOD/CELL), where they are found the next time; those of a method that has changed
must be removed, those of other weights are refused.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.core import Estimate, Estimator, Observation
from marey.data.benchmark import CELLS, Benchmark, Cell
from marey.data.benchmark.mean_pose import predict_mean_pose
from marey.detect.lifting import WEIGHTS
from marey.engine.evaluation import predict, read_predicted
from marey.geometry.field_of_view import cameras_from_field_of_view
from marey.io.predictions import PoseRows
from marey.methods.classical import ClassicalEstimator, MonocularEstimator
from marey.metrics.comparison import paired_bootstrap
from marey.metrics.protocols import protocol
from marey.pipeline.evaluating import LiftedMonocular
from measure import describe, write_json

PROTOCOL, NUMBER = "synthetic", "mpjpe_mm"
"""What decides who beats whom."""
COVERAGE = "coverage_90_percent"
CROP_DEGREES = 20.0
"""Field of view of a crop whose camera is not known: somebody 1.7 m tall fills it 5 m away."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table."""

    name: str
    title: str
    can: Callable[[Cell], bool]
    estimator: Callable[[], Estimator] | None = None
    """None: the mean pose, which looks at nothing."""
    weights: Callable[[], str] = str
    """Names the weights that it was measured with, if it has any."""


@dataclass(frozen=True, kw_only=True)
class FirstViewAssumed:
    """The method for one camera on the first view, whose camera nobody knows: what several views have to better."""

    said: dict[bytes, Estimate] = field(default_factory=dict)
    """By keypoints: all cells of uncalibrated views have the same first view."""

    requires = replace(MonocularEstimator.requires, views=(1, None), calibration="none")

    def __call__(self, observation: Observation) -> Estimate:
        """Take the picture for one of a narrow lens."""
        source = observation.frames[0]
        assert source is not None
        assert observation.keypoints is not None
        keypoints = observation.keypoints[:1]
        key = keypoints.positions.numpy().tobytes()
        if key not in self.said:
            assumed = cameras_from_field_of_view(torch.tensor([source.size], dtype=torch.float32), CROP_DEGREES)
            self.said[key] = LiftedMonocular()(
                Observation(keypoints=keypoints, cameras=assumed, start=observation.start)
            )
        return self.said[key]


FIRST_VIEW = FirstViewAssumed()


def lifter_weights() -> str:
    """SHA-256 of the card of the lifter's weights, which has those of the weights."""
    return hashlib.sha256((WEIGHTS / "card.json").read_bytes()).hexdigest()


def _calibrated(cell: Cell) -> bool:
    return cell.cameras == "full"


METHODS = (
    Method(name="mean_pose", title="mean pose", can=lambda cell: True),
    Method(
        name="dlt",
        title="`classical`, linear",
        can=_calibrated,
        estimator=lambda: ClassicalEstimator(triangulation="dlt"),
    ),
    Method(name="classical", title="`classical`", can=_calibrated, estimator=ClassicalEstimator),
    Method(
        name="monocular",
        title="`monocular` with the lifter",
        can=lambda cell: len(cell.views) == 1,
        estimator=LiftedMonocular,
        weights=lifter_weights,
    ),
    Method(
        name="first_view",
        title="the same, first view, camera assumed",
        can=lambda cell: cell.cameras == "none",
        estimator=lambda: FIRST_VIEW,
        weights=lifter_weights,
    ),
)


def main() -> None:
    """Predict, score, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="folder of the label files; made there if absent")
    parser.add_argument("--predictions", type=Path, help="folder to keep predictions in")
    parser.add_argument("--smoke", action="store_true", help="the first samples of each cell")
    options = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = Benchmark(options.labels, quick=options.smoke)
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.predictions or Path(temporary)
        cells = {name: measure_cell(benchmark, name, kept) for name in CELLS}
    write_json(
        options.out,
        {
            "benchmark": str(benchmark),
            "protocol": PROTOCOL,
            "methods": {method.name: method.title for method in METHODS},
            "cells": cells,
            **headlines(cells),
            "meta": describe("torch", "numpy"),
        },
    )


def measure_cell(benchmark: Benchmark, name: str, kept: Path) -> dict[str, Any]:
    """The numbers of every method in a cell, and who beats whom."""
    methods, by_sample = {}, {}
    for method in METHODS:
        if method.can(CELLS[name]):
            began = time.perf_counter()
            predictions, labels = predicted(method, benchmark, name, kept)
            scores = protocol(PROTOCOL).score(predictions, labels)
            methods[method.name] = dict(scores.values)
            if CELLS[name].cameras != "none":  # else nobody can know where in space somebody is
                methods[method.name] |= _honesty(predictions, labels)
            by_sample[method.name] = scores.per_row[NUMBER]
            print(
                f"{name} {method.name}: {scores.values[NUMBER]:.1f} mm, {time.perf_counter() - began:.1f} s", flush=True
            )
    return {
        "title": CELLS[name].title,
        "samples": benchmark.count(name),
        "methods": methods,
        "pairs": pairs(by_sample),
    }


def predicted(method: Method, benchmark: Benchmark, cell: str, kept: Path) -> tuple[PoseRows, PoseRows]:
    """What a method says of a cell, and the labels."""
    if method.estimator is None:
        return predict_mean_pose(benchmark, cell), benchmark.labels(cell)
    folder = kept / method.name / cell
    settings = {"method": method.name, "weights": method.weights()}
    predict(method.estimator(), benchmark, cell, folder, settings=settings)
    return read_predicted(folder)


def pairs(by_sample: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Every two methods, the better one first: by how much, and whether it beats the other."""
    found = []
    for first, second in combinations(sorted(by_sample, key=lambda name: by_sample[name].mean()), 2):
        compared = paired_bootstrap(by_sample[first], by_sample[second])
        found.append(
            {
                "first": first,
                "second": second,
                "difference_mm": compared.difference,
                "interval_mm": [compared.low, compared.high],
                "beats": compared.decided,
            }
        )
    return found


def headlines(cells: dict[str, Any]) -> dict[str, Any]:
    """What claims are made of."""
    beaten = [
        pair["beats"] and pair["second"] == "mean_pose"
        for cell in cells.values()
        for pair in cell["pairs"]
        if "mean_pose" in (pair["first"], pair["second"])
    ]
    return {
        "cells_measured": len(cells),
        "least_samples": min(cell["samples"] for cell in cells.values()),
        "not_beating_the_mean_pose": beaten.count(False),
    }


def _honesty(predictions: PoseRows, labels: PoseRows) -> dict[str, float]:
    """How often the truth lies in the ellipsoids of 90 %."""
    if "joints_covariance" not in predictions.values:
        return {}
    return {COVERAGE: protocol("uncertainty").score(predictions, labels).values[COVERAGE]}


if __name__ == "__main__":
    main()
