"""The tables of what can be measured on what, and the evaluation of a method by name."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from marey._version import __version__
from marey.core import Estimate, Estimator, InputError, MareyError, Observation
from marey.detect.lifting import lift_keypoints
from marey.engine.evaluation import SCORES, Benchmark, predict, score
from marey.io.atomic import atomic_write_text, check_writable
from marey.methods.classical import MonocularEstimator
from marey.methods.classical.body_size import LIFTED_SIZE
from marey.metrics.protocols import Scores
from marey.pipeline.progress import Stages


class Measure(NamedTuple):
    """A benchmark and the protocols that its predictions are scored by."""

    target: str
    """``module:factory``, which takes nothing and returns a `marey.engine.evaluation.Benchmark`."""
    protocols: tuple[str, ...]


BENCHMARKS: Mapping[str, Measure] = {
    "synthetic": Measure("marey.data.benchmark:Benchmark", ("synthetic", "uncertainty")),
}

ESTIMATORS: Mapping[str, str] = {
    "classical": "marey.methods.classical:ClassicalEstimator",
    "monocular": "marey.pipeline.evaluating:LiftedMonocular",
}
"""Method -> ``module:factory``, which takes nothing and returns an `Estimator`, a dataclass of its settings."""

CellResult = Mapping[str, Scores] | str
"""Scores by protocol, or why the method does not take the cell."""


@dataclass(frozen=True, kw_only=True)
class LiftedMonocular:
    """The method `monocular`, with the lifter's 3D guess where the evidence has keypoints only."""

    estimator: MonocularEstimator = dataclasses.field(default_factory=MonocularEstimator)

    requires = MonocularEstimator.requires

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate from one view; errors are those of the two steps."""
        keypoints, cameras = observation.keypoints, observation.cameras
        if observation.monocular is not None or keypoints is None or cameras is None:
            return self.estimator(observation)
        guess, covariance = lift_keypoints(keypoints, cameras)
        lifted = replace(observation, monocular=guess, monocular_covariance=covariance)
        return replace(self.estimator, size=LIFTED_SIZE)(lifted)


def evaluate_method(
    method: str,
    benchmark: str,
    out: str | os.PathLike[str],
    *,
    cells: Sequence[str] = (),
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, CellResult]:
    """Predict and score cells of a benchmark; write `OUT/CELL/` and `OUT/scores.json`.

    Args:
        method: of `ESTIMATORS`.
        benchmark: of `BENCHMARKS`.
        out: folder. A run that was interrupted goes on from what it kept there.
        cells: which; none: all, and those that the method does not take are told.
        limit: only so many samples of each, the first.
        progress: show bars.

    Raises:
        InputError: there is no such method, benchmark or cell, or the folder holds other predictions; and what the
            method raises on a cell that was asked for by name.
    """
    estimator, measure = _made(ESTIMATORS, method, "method"), _measure(benchmark)
    ruler: Benchmark = _load(measure.target)()
    if unknown := [name for name in cells if name not in ruler.cells]:
        raise InputError(f"cell: no {', '.join(unknown)} in {benchmark}; there are: {', '.join(ruler.cells)}")
    folder, found = check_writable(out), dict[str, CellResult]()
    for cell in cells or ruler.cells:
        settings = {"method": method, "torch": torch.__version__, "estimator": _settings(estimator)}
        try:
            with Stages(progress).bar(cell, total=limit or len(ruler.labels(cell))) as done:
                predict(estimator, ruler, cell, folder / cell, settings=settings, limit=limit, done=done)
        except MareyError as error:
            if cells:
                raise
            found[cell] = str(error)
            continue
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{folder} keeps what is predicted; run the same again to go on") from None
        found[cell] = score(folder / cell, measure.protocols)
    write_results(folder / SCORES, method, benchmark, found)
    return found


def write_results(path: Path, method: str, benchmark: str, found: Mapping[str, CellResult]) -> None:
    """Write the scores of all cells as JSON."""
    cells = {
        cell: {"not_run": result}
        if isinstance(result, str)
        else {name: scores.asdict() for name, scores in result.items()}
        for cell, result in found.items()
    }
    document = {"marey": __version__, "method": method, "benchmark": benchmark, "cells": cells}
    atomic_write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def protocols_of(benchmark: str) -> tuple[str, ...]:
    """The protocols for predictions that say they were made for `NAME vVERSION`; none: it is no benchmark of ours."""
    name = benchmark.partition(" ")[0]
    return BENCHMARKS[name].protocols if name in BENCHMARKS else ()


def _measure(name: str) -> Measure:
    if name not in BENCHMARKS:
        raise InputError(f"benchmark: expected one of {', '.join(BENCHMARKS)}, got '{name}'")
    return BENCHMARKS[name]


def _made(table: Mapping[str, str], name: str, what: str) -> Estimator:
    if name not in table:
        raise InputError(f"{what}: expected one of {', '.join(table)}, got '{name}'")
    made: Estimator = _load(table[name])()
    return made


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _settings(estimator: Any) -> Any:
    """The fields of a dataclass; the words for anything else."""
    return dataclasses.asdict(estimator) if dataclasses.is_dataclass(type(estimator)) else repr(estimator)
