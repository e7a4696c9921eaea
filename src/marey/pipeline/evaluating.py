"""The tables of what can be measured on what, and the evaluation of a method by name.

A benchmark is one of `BENCHMARKS`, or a data set that `marey data prepare` or `marey data folder` has prepared.
"""

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
from marey.core import Estimate, Estimator, InputError, MareyError, MissingAssetError, Observation
from marey.data.labelled_benchmark import DataChoice, LabelledBenchmark, prepared_folder
from marey.data.single_images import SingleImageBenchmark
from marey.detect.lifting import lift_keypoints
from marey.engine.evaluation import SCORES, Benchmark, predict, score
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.settings_toml import assigned, changed
from marey.methods.classical import MonocularEstimator
from marey.methods.classical.body_size import LIFTED_SIZE
from marey.metrics.protocols import Scores
from marey.pipeline.progress import Stages
from marey.pipeline.published_results import write_metrabs_results, write_published_results
from marey.pipeline.scoring import SINGLE_IMAGES


class Measure(NamedTuple):
    """A benchmark and the protocols that its predictions are scored by."""

    target: str
    """``module:factory``, which takes nothing and returns a `marey.engine.evaluation.Benchmark`."""
    protocols: tuple[str, ...]


BENCHMARKS: Mapping[str, Measure] = {
    "synthetic": Measure("marey.data.benchmark:Benchmark", ("synthetic", "uncertainty")),
}

DATA_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "h36m": ("h36m", "h36m-valid", "common-joints", "uncertainty"),
    "cmu": ("cmu-panoptic", "common-joints", "uncertainty"),
}
"""Prepared data set -> the protocols that predictions on it are scored by."""
OWN_PROTOCOLS = ("common-joints", "uncertainty")
"""Those of every other data set."""
SINGLE_IMAGE_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "h36m": ("h36m-metrabs", "h36m-metrabs-pa", "common-joints", "uncertainty"),
    "3dhp": ("3dhp", "3dhp-pa", "common-joints", "uncertainty"),
    "mupots": ("mupots",),
    "3dpw": ("3dpw-metrabs", "3dpw-challenge", "common-joints", "uncertainty"),
}
"""Prepared data set -> the protocols for methods that take one view only."""

ESTIMATORS: Mapping[str, str] = {
    "classical": "marey.methods.classical:ClassicalEstimator",
    "monocular": "marey.pipeline.evaluating:LiftedMonocular",
    "algebraic": "marey.methods.triangulation.estimator:AlgebraicEstimator",
    "volumetric": "marey.methods.triangulation.estimator:VolumetricEstimator",
    "ransac": "marey.methods.triangulation.estimator:RansacEstimator",
    "metrabs": "marey.methods.metrabs.estimator:MetrabsEstimator",
}
"""Method -> ``module:factory``, which takes nothing and returns an `Estimator`, a dataclass of its settings."""

CellResult = Mapping[str, Scores | str] | str
"""Scores by protocol, or why it does not fit the predictions; or why the method does not take the cell."""


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
    choice: DataChoice | None = None,
    changes: Sequence[str] = (),
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, CellResult]:
    """Predict and score cells of a benchmark; write `OUT/CELL/` and `OUT/scores.json`.

    On a data set each person at a moment is a sample, seen by all views that the method takes; for a method that takes
    one view only, each person in an image. There are also files of published programs in the folder of the cell:
    `results.pkl` and `metric.json` of Learnable Triangulation, or `predictions_<data set>.npz` of MeTRAbs.

    Args:
        method: of `ESTIMATORS`.
        benchmark: of `BENCHMARKS`, the name of a prepared data set (`h36m`, `cmu`), or the folder of one.
        out: folder. A run that was interrupted goes on from what it kept there.
        cells: which; none: all, and those that the method does not take are told.
        choice: which samples and views of a data set.
        changes: `field=value` with dotted names: settings of the method.
        limit: only so many samples of each, the first.
        progress: show bars.

    Raises:
        InputError: there is no such method, setting, benchmark or cell, or the folder holds other predictions; and what
            the method raises on a cell that was asked for by name, or on the only one.
        MissingAssetError: there is no such data set, or it has no pictures.
    """
    estimator = made_estimator(method, changes)
    ruler, protocols = _ruler(benchmark, choice, views=estimator.requires.views)
    if unknown := [name for name in cells if name not in ruler.cells]:
        raise InputError(f"cell: no {', '.join(unknown)} in {benchmark}; there are: {', '.join(ruler.cells)}")
    settings = {"method": method, "torch": torch.__version__, "estimator": _settings(estimator)}
    if isinstance(ruler, LabelledBenchmark | SingleImageBenchmark):
        settings["data"] = {**_settings(ruler.choice), "least_views": estimator.requires.views[0]}
        settings |= {SINGLE_IMAGES: True} if isinstance(ruler, SingleImageBenchmark) else {}
    folder, found = check_writable(out), dict[str, CellResult]()
    for cell in cells or ruler.cells:
        try:
            with Stages(progress).bar(cell, total=limit or len(ruler.labels(cell))) as done:
                predict(estimator, ruler, cell, folder / cell, settings=settings, limit=limit, done=done)
        except MareyError as error:
            if cells or len(ruler.cells) == 1:
                raise
            found[cell] = str(error)
            continue
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{folder} keeps what is predicted; run the same again to go on") from None
        found[cell] = scores = _scores(folder / cell, protocols)
        if isinstance(ruler, LabelledBenchmark):
            write_published_results(folder / cell, ruler.name, scores, sequences=ruler.sequences)
        elif isinstance(ruler, SingleImageBenchmark):
            write_metrabs_results(folder / cell, ruler)
    write_results(folder / SCORES, method, benchmark, found)
    return found


def _scores(folder: Path, protocols: Sequence[str]) -> dict[str, Scores | str]:
    """By protocol, or why it does not fit; raises the first error if none fits."""
    found, errors = dict[str, Scores | str](), list[MareyError]()
    for name in protocols:
        try:
            found |= score(folder, (name,))
        except MareyError as error:
            found[name] = str(error)
            errors.append(error)
    if len(errors) == len(protocols):
        raise errors[0]
    return found


def made_estimator(method: str, changes: Sequence[str] = ()) -> Estimator:
    """A method of `ESTIMATORS` with some of its settings changed by `field=value`.

    Raises:
        InputError: there is no such method or setting, or a value does not fit.
    """
    made = _made(ESTIMATORS, method, "method")
    for change in changes:
        made = changed(made, assigned(change), where=f"{method}: --set {change}")
    return made


def _ruler(name: str, choice: DataChoice | None, *, views: tuple[int, int | None]) -> tuple[Benchmark, tuple[str, ...]]:
    """What is measured on, and by which protocols."""
    if name not in BENCHMARKS:
        try:
            folder = prepared_folder(name)
        except MissingAssetError as error:
            raise MissingAssetError(f"{error}. Benchmarks of their own: {', '.join(BENCHMARKS)}") from None
        if views[1] == 1:
            images = SingleImageBenchmark(folder, choice)
            return images, SINGLE_IMAGE_PROTOCOLS.get(images.name, OWN_PROTOCOLS)
        ruler = LabelledBenchmark(folder, choice, least_views=views[0])
        return ruler, DATA_PROTOCOLS.get(ruler.name, OWN_PROTOCOLS)
    if choice is not None and choice != DataChoice():
        raise InputError(f"{name}: split, views and centers are those of a data set; this benchmark has cells instead")
    measure = BENCHMARKS[name]
    made: Benchmark = _load(measure.target)()
    return made, measure.protocols


def write_results(path: Path, method: str, benchmark: str, found: Mapping[str, CellResult]) -> None:
    """Write the scores of all cells as JSON."""
    cells = {
        cell: {"not_run": result}
        if isinstance(result, str)
        else {
            name: {"not_scored": scores} if isinstance(scores, str) else scores.asdict()
            for name, scores in result.items()
        }
        for cell, result in found.items()
    }
    document = {"marey": __version__, "method": method, "benchmark": benchmark, "cells": cells}
    atomic_write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def protocols_of(benchmark: str, *, single_images: bool = False) -> tuple[str, ...]:
    """The protocols for predictions that say they were made for `NAME vVERSION`; none: it is no benchmark of ours.

    Args:
        benchmark: Name and version.
        single_images: Whether each image was a sample of its own.
    """
    name = benchmark.partition(" ")[0]
    if name in BENCHMARKS:
        return BENCHMARKS[name].protocols
    return (SINGLE_IMAGE_PROTOCOLS if single_images else DATA_PROTOCOLS).get(name, ())


def _made(table: Mapping[str, str], name: str, what: str) -> Estimator:
    if name not in table:
        raise InputError(f"{what}: expected one of {', '.join(table)}, got '{name}'")
    made: Estimator = _load(table[name])()
    return made


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _settings(settings: Any) -> Any:
    """The fields of a dataclass as JSON can hold them; the words for anything else."""
    if not dataclasses.is_dataclass(type(settings)):
        return repr(settings)
    return json.loads(json.dumps(dataclasses.asdict(settings), default=str))
