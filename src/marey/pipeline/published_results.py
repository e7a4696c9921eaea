"""What Learnable Triangulation writes after an evaluation, beside our own files: `results.pkl` and `metric.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from marey.data.precomputed_centers import CENTIMETRES
from marey.data.prepare.h36m_names import ACTIONS, SUBJECTS
from marey.engine.evaluation import read_predicted
from marey.io.atomic import atomic_write_text
from marey.io.predictions_published import write_triangulation_results
from marey.metrics.protocols import Scores

RESULTS, METRIC = "results.pkl", "metric.json"
AVERAGE = "Average"
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
