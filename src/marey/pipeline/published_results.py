"""What published programs write after an evaluation, beside our own files.

Learnable Triangulation: `results.pkl` and `metric.json`; MeTRAbs: `predictions_<data set>.npz`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from marey.data.precomputed_centers import CENTIMETRES
from marey.data.prepare.h36m_names import ACTIONS, SUBJECTS
from marey.data.single_images import DETECTED, SingleImageBenchmark
from marey.engine.evaluation import read_predicted
from marey.io.atomic import atomic_write_text
from marey.io.predictions import rows_with_keys
from marey.io.predictions_published import (
    METRABS_JOINTS,
    MetrabsData,
    write_metrabs_predictions,
    write_triangulation_results,
)
from marey.metrics.protocols import Scores

RESULTS, METRIC = "results.pkl", "metric.json"
AVERAGE = "Average"
METRABS_NAMES: Mapping[str, str] = {"3dhp": "mpi_inf_3dhp"}
"""Data set -> what MeTRAbs calls it, where that is something else."""
PROTOCOLS: Mapping[str, str] = {"h36m": "h36m", "cmu": "cmu-panoptic"}
"""Data set -> the protocol whose numbers `metric.json` holds; of other data sets it is `common-joints`."""

Table = dict[str, dict[str, float]]


def write_published_results(
    folder: Path, data_set: str, scores: Mapping[str, Scores | str], *, sequences: Sequence[str]
) -> list[Path]:
    """Write `results.pkl`, in the order and with the numbers of the data set, and `metric.json`, in millimetres.

    `metric.json` is as the original writes it: `per_pose_error` and `per_pose_error_relative`, each by subject and
    action (both trials as one) with `Average` for all, NaN where there are no frames. Of data sets without subjects
    it is `Average` only, by sequence.

    Args:
        folder: Where the predictions and labels of a cell are.
        data_set: Its name.
        scores: By protocol; a sentence where a protocol does not fit.
        sequences: All of the data set's.

    Returns:
        The files; there is no `metric.json` where the data set's protocol does not fit the predictions.
    """
    predictions, labels = read_predicted(folder)
    millimetres = data_set not in CENTIMETRES
    write_triangulation_results(folder / RESULTS, predictions, labels.values["index"], millimetres=millimetres)
    found = scores.get(PROTOCOLS.get(data_set, "common-joints"), "")
    if isinstance(found, str):
        return [folder / RESULTS]
    names = {"per_pose_error": "mpjpe_mm", "per_pose_error_relative": "mpjpe_relative_mm"}
    tables = {key: _table(found, name, sequences) for key, name in names.items() if name in found.values}
    atomic_write_text(folder / METRIC, json.dumps(tables, indent=4, sort_keys=True) + "\n")
    return [folder / RESULTS, folder / METRIC]


def write_metrabs_results(folder: Path, ruler: SingleImageBenchmark) -> Path | None:
    """Write `predictions_h36m.npz`, `predictions_mpi_inf_3dhp.npz` or `predictions_mupots.npz`, as MeTRAbs names them.

    Args:
        folder: Where the predictions and labels of a cell are.
        ruler: What they are of.

    Returns:
        The file; None where the data set has none, or the predictions lack a joint.
    """
    predictions, labels = read_predicted(folder)
    names = METRABS_JOINTS.get(cast(MetrabsData, ruler.name), ())
    if not names or set(names) - set(predictions.joint_names):
        return None
    asked = next(ruler.detections(cell) for cell in ruler.cells)
    places = rows_with_keys(asked, predictions)
    asked = asked[places]
    found = predictions.values["joints"][:, [predictions.joint_names.index(name) for name in names]]
    truth = np.full_like(found, np.nan)
    if ruler.name not in DETECTED:
        truth = labels.values["joints"][:, [labels.joint_names.index(name) for name in names]]
    words = {"activity_name": ("action", "activity"), "scene_name": ("scene",)}
    about = {
        theirs: next((asked.values[name].tolist() for name in ours if name in asked.values), None)
        for theirs, ours in words.items()
    }
    path = folder / f"predictions_{METRABS_NAMES.get(ruler.name, ruler.name)}.npz"
    write_metrabs_predictions(
        path,
        asked.values["image_path"].tolist(),
        camera=(ruler.in_cameras(found, places), ruler.in_cameras(truth, places)),
        world=(found, truth),
        **about,
    )
    return path


def _table(scores: Scores, metric: str, sequences: Sequence[str]) -> Table:
    """Means by subject and action, or by sequence; NaN for those without frames."""
    if cells := scores.groups.get(f"{metric}/subject/action"):
        actions = [AVERAGE, *dict.fromkeys(action.rpartition("-")[0] for action in ACTIONS)]
        return {
            subject: {action: cells.get(f"{subject}/{action}", math.nan) for action in actions}
            for subject in (AVERAGE, *SUBJECTS)
        }
    means = scores.groups[f"{metric}/sequence"]
    return {
        AVERAGE: {AVERAGE: scores.values[metric]} | {sequence: means.get(sequence, math.nan) for sequence in sequences}
    }
