"""Measure an estimator in two phases: predict to a file, then score the file.

Predictions are written in chunks that are kept if the run is interrupted. The labels lie beside them, so that scoring
again needs neither the estimator nor the benchmark, and takes seconds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, runtime_checkable
from typing import Protocol as TypingProtocol

import numpy as np
import numpy.typing as npt

from marey._version import __version__
from marey.core import Estimate, Estimator, FormatError, InputError, MissingAssetError, Observation
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.predictions import PoseRows, read_pose_rows, write_pose_rows
from marey.io.text import read_text_limited
from marey.metrics.comparison import Comparison, paired_bootstrap
from marey.metrics.protocols import Protocol, Scores, protocol
from marey.metrics.protocols.pairing import paired
from marey.metrics.protocols.uncertainty import COVARIANCE, known_in_both

PREDICTIONS, LABELS, SCORES = "predictions.npz", "labels.npz", "scores.json"
"""Files in the folder of a cell."""
CHUNK = 256
"""Samples predicted between two looks at the disk."""
HIGHER_IS_BETTER = ("pck", "auc", "cps", "pcp", "iou", "matched", "predicted", "known", "correct")
"""Starts of the names of metrics of which more is better; coverage has a level to meet, so neither more nor less is."""


class Benchmark(TypingProtocol):
    """What is measured on: cells, each a list of samples that are independent of each other."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def cells(self) -> Mapping[str, Any]:
        """By name."""

    def samples(self, cell: str, start: int = 0, stop: int | None = None) -> Iterable[Observation]:
        """The evidence of samples start..stop, each one person; frame t of an observation is a sample of its own."""

    def labels(self, cell: str) -> PoseRows:
        """One row a sample, in their order; `benchmark` says name and version."""


@runtime_checkable
class DetectionBenchmark(TypingProtocol):
    """A benchmark whose samples may be detections: of labelled people or not, some people in none, some in several.

    Those in which the method finds nobody are not among its predictions.
    """

    def detections(self, cell: str) -> PoseRows:
        """One row a sample, in their order, of frames of the labels; `benchmark` is that of the labels."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of two sets of predictions."""

    name: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """`first beats second`, `second beats first`, or `undecided`: the interval holds zero; `neither`: no order."""
        if self.name.startswith("coverage"):
            return "neither"
        if not self.comparison.decided:
            return "undecided"
        larger = self.comparison.difference > 0
        return "first beats second" if larger == self.name.startswith(HIGHER_IS_BETTER) else "second beats first"


def predict(
    estimator: Estimator,
    benchmark: Benchmark,
    cell: str,
    out: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    limit: int | None = None,
    chunk: int = CHUNK,
    done: Callable[[int], object] = lambda count: None,
) -> Path:
    """Write an estimator's predictions for a cell: `predictions.npz`, with `predictions.npz.json` and `labels.npz`.

    The file is whole or absent. Chunks lie in `OUT/parts` until then; a run that was interrupted goes on from them.

    Args:
        estimator: called with each observation; of its result the joints and their covariance are kept, and keypoints
            of the same joints with their weights.
        benchmark: gives evidence and labels.
        cell: of the benchmark.
        out: folder; it is made if it is absent.
        settings: what the predictions depend on, as JSON can hold it. What was kept by other settings is an error.
        limit: only so many samples, the first.
        chunk: samples between two looks at the disk.
        done: called with the number of samples that are there since it was last called.

    Returns:
        The file.

    Raises:
        InputError: the folder holds predictions by other settings, or the estimator gives other joints or people than
            one a sample; whatever the estimator raises.
    """
    folder = check_writable(out)
    asked, labels = _asked(benchmark, cell, limit)
    card = _card(settings, asked, cell)
    path, parts = folder / PREDICTIONS, folder / "parts"
    if _finished(path, card):
        done(len(asked))
        return path
    _claim(parts, card)
    kept = []
    for start in range(0, len(asked), chunk):
        place = range(start, min(start + chunk, len(asked)))
        kept.append(parts / f"{place.start:08d}-{place.stop:08d}.npz")
        if not kept[-1].exists():
            found = [estimator(observation) for observation in benchmark.samples(cell, place.start, place.stop)]
            write_pose_rows(kept[-1], rows_of(found, asked[np.arange(place.start, place.stop)]))
        done(len(place))
    write_pose_rows(folder / LABELS, labels)
    atomic_write_text(card_path(path), _json(card))
    rows = _joined([read_pose_rows(part) for part in kept])
    write_pose_rows(path, rows if _same_people(asked, labels) else _known(rows))  # last: what is there is whole
    shutil.rmtree(parts)
    return path


def _asked(benchmark: Benchmark, cell: str, limit: int | None) -> tuple[PoseRows, PoseRows]:
    """What is to be predicted, and the labels of it: those of the same frames if samples are detections."""
    labels = benchmark.labels(cell)
    if not isinstance(benchmark, DetectionBenchmark):
        return (first := _first(labels, limit)), first
    asked = _first(whole := benchmark.detections(cell), limit)
    if len(asked) < len(whole):
        labels = labels[np.isin(_frame_names(labels), _frame_names(asked))]
    return asked, labels


def _same_people(first: PoseRows, second: PoseRows) -> bool:
    """Whether both have the same rows in the same order."""
    keys = ("sequence", "frame", "person")
    return all(np.array_equal(getattr(first, key), getattr(second, key)) for key in keys)


def _known(rows: PoseRows) -> PoseRows:
    """Without detections in which the method found nobody."""
    known: npt.NDArray[Any] = np.asarray(np.isfinite(rows.values["joints"]).any((1, 2)))
    return rows[known]


def _frame_names(rows: PoseRows) -> npt.NDArray[Any]:
    return np.char.add(np.char.add(rows.sequence, " "), rows.frame.astype(np.str_))


def _first(labels: PoseRows, limit: int | None) -> PoseRows:
    if limit is not None and limit < 1:
        raise InputError(f"limit: expected 1 or more samples, got {limit}")
    return labels if limit is None else labels[np.arange(min(limit, len(labels)))]


def rows_of(estimates: Sequence[Estimate], labels: PoseRows) -> PoseRows:
    """Predictions in rows: one estimate, or one frame of one, for each label.

    Raises:
        InputError: they are not of one person each, not as many as the labels, or of different joints.
    """
    joints = [estimate.joints for estimate in estimates]
    frames = sum(found.batch_shape[0] for found in joints)
    if frames != len(labels) or any(found.batch_shape[1] != 1 for found in joints):
        raise InputError(
            f"estimates: expected one person in each of {len(labels)} frames, as labelled, got "
            f"{[found.batch_shape for found in joints][:5]}"
        )
    names = joints[0].skeleton.joints
    if other := next((found.skeleton.name for found in joints if found.skeleton.joints != names), None):
        raise InputError(
            f"estimates: expected the joints of {joints[0].skeleton.name} in all, got those of {other} too"
        )
    positions, covariance = (
        np.concatenate([getattr(found, field)[:, 0].detach().cpu().numpy() for found in joints])
        for field in ("positions", "covariance")
    )
    return PoseRows(
        joint_names=names,
        sequence=labels.sequence,
        frame=labels.frame,
        person=labels.person,
        values={"joints": positions, COVARIANCE: covariance, **_of_views(estimates)},
        benchmark=labels.benchmark,
    )


def _of_views(estimates: Sequence[Estimate]) -> dict[str, npt.NDArray[Any]]:
    """For pictures of the result: `view_keypoints` (N, V, J, 2), `view_weights` (N, V, J) and `view_names` (N, V).

    V is the most that any estimate has; the others are filled with NaN and empty names. Nothing where some estimate has
    no keypoints of its own joints, or cameras without names.
    """
    parts = []
    for found in estimates:
        keypoints, told = found.keypoints, found.diagnostics
        if keypoints is None or told is None or keypoints.skeleton.joints != found.joints.skeleton.joints:
            return {}
        names = found.cameras.names if found.cameras is not None else ()
        if len(names) != keypoints.batch_shape[0] or told.weights.shape != keypoints.score.shape:
            return {}
        parts.append(
            {
                "view_keypoints": keypoints.positions[:, :, 0].transpose(0, 1).detach().cpu().float().numpy(),
                "view_weights": told.weights[:, :, 0].transpose(0, 1).detach().cpu().float().numpy(),
                "view_names": np.broadcast_to(np.array(names, dtype=np.str_), (keypoints.batch_shape[1], len(names))),
            }
        )
    return {key: _stacked([part[key] for part in parts]) for key in parts[0]}


def _stacked(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Arrays (n, V, ...) of views one after another; all get as many views as the widest has."""
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        nothing = "" if parts[0].dtype.kind == "U" else np.nan
        parts = [
            np.pad(
                part,
                [(0, 0), (0, max(widths) - part.shape[1]), *[(0, 0)] * (part.ndim - 2)],
                constant_values=nothing,
            )
            for part in parts
        ]
    return np.concatenate(parts)


def score(folder: str | os.PathLike[str], protocols: Sequence[str]) -> dict[str, Scores]:
    """Score the predictions in a folder that `predict` wrote, by protocol.

    Raises:
        MissingAssetError: there are none.
        InputError: rows do not fit, or there is no such protocol.
    """
    predictions, labels = read_predicted(folder)
    return {name: protocol(name).score(predictions, labels) for name in protocols}


def read_predicted(folder: str | os.PathLike[str]) -> tuple[PoseRows, PoseRows]:
    """The predictions and the labels in a folder that `predict` wrote.

    Raises:
        MissingAssetError: a file is absent; an interrupted prediction leaves none.
    """
    paths = [Path(folder) / name for name in (PREDICTIONS, LABELS)]
    for path in paths:
        if not path.exists():
            raise MissingAssetError(
                f"{path} does not exist; predict first, or finish a prediction that was interrupted"
            )
    return read_pose_rows(paths[0]), read_pose_rows(paths[1])


def compare(
    first: PoseRows,
    second: PoseRows,
    labels: PoseRows,
    *,
    ruler: Protocol,
    clusters: npt.NDArray[Any] | None = None,
    seed: int = 0,
) -> tuple[Metric, ...]:
    """Compare two sets of predictions by every metric of a protocol that has a number a row.

    Args:
        first: predictions.
        second: predictions of the same labels.
        labels: what both are scored against.
        ruler: a protocol. By `uncertainty` both are scored on the joints that both know.
        clusters: (N,) in the order of the labels, which rows depend on each other; None: the sequences, or each row
            alone where there is one sequence only.
        seed: of the bootstrap.

    Raises:
        InputError: the protocol has no numbers by row, or leaves out some rows, or rows do not fit.
    """
    if ruler.card.name == "uncertainty":
        for rows in (first, second):
            paired(rows, labels)
        first, second = known_in_both(first, second)
    ours, theirs = (ruler.score(rows, labels).per_row for rows in (first, second))
    if not ours or any(len(values) != len(labels) for values in (*ours.values(), *theirs.values())):
        raise InputError(f"{ruler.card.name}: has not one number for each label, so two methods cannot be paired by it")
    groups = clusters if clusters is not None else natural_clusters(labels)
    return tuple(
        Metric(name=name, comparison=paired_bootstrap(ours[name], theirs[name], clusters=groups, seed=seed))
        for name in ours
        if name in theirs and _compared(ours[name], theirs[name])
    )


def natural_clusters(labels: PoseRows) -> npt.NDArray[Any] | None:
    """The sequences, whose frames depend on each other; None, each row for itself, where there is only one."""
    return labels.sequence if len(np.unique(labels.sequence)) > 1 else None


def _compared(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> bool:
    return int((~np.isnan(first) & ~np.isnan(second)).sum()) > 1


def card_path(path: Path) -> Path:
    """Of what a file of predictions was made with."""
    return path.with_name(f"{path.name}.json")


def read_card(path: Path) -> dict[str, Any] | None:
    """What a file of predictions was made with; None: nothing is told.

    Raises:
        FormatError: the card is damaged.
    """
    beside = card_path(path)
    if not beside.exists():
        return None
    try:
        card = json.loads(read_text_limited(beside))
    except ValueError as error:
        raise FormatError(f"{beside}: not JSON: {error}; predict again") from error
    if not isinstance(card, dict):
        raise FormatError(f"{beside}: expected an object, got {type(card).__name__}; predict again")
    return card


def _card(settings: Mapping[str, Any], labels: PoseRows, cell: str) -> dict[str, Any]:
    card = {"marey": __version__, "benchmark": labels.benchmark, "cell": cell, "samples": len(labels), "labels": LABELS}
    document: dict[str, Any] = json.loads(_json({**card, "settings": dict(settings)}))
    return document


def _finished(path: Path, card: Mapping[str, Any]) -> bool:
    """Whether the predictions are there already; InputError if they are others."""
    if not path.exists():
        return False
    if read_card(path) != card:
        raise InputError(f"{path} was made with other settings, see {card_path(path).name}; choose another --out")
    return True


def _claim(parts: Path, card: Mapping[str, Any]) -> None:
    """Make the folder of chunks, or see that what it holds was made with the same settings."""
    note = parts / "settings"
    parts.mkdir(exist_ok=True)
    if not card_path(note).exists():
        for stray in parts.glob("*.npz"):
            stray.unlink()  # nothing tells what they were made with
        atomic_write_text(card_path(note), _json(card))
    elif read_card(note) != card:
        raise InputError(
            f"{parts} holds a prediction that was interrupted and had other settings; remove it, or choose another "
            "--out"
        )


def _joined(parts: Sequence[PoseRows]) -> PoseRows:
    first = parts[0]
    return PoseRows(
        joint_names=first.joint_names,
        sequence=np.concatenate([part.sequence for part in parts]),
        frame=np.concatenate([part.frame for part in parts]),
        person=np.concatenate([part.person for part in parts]),
        values={
            key: (_stacked if key.startswith("view_") else np.concatenate)([part.values[key] for part in parts])
            for key in first.values
            if all(key in part.values for part in parts)
        },
        benchmark=first.benchmark,
    )


def comparison_document(metrics: Sequence[Metric]) -> dict[str, Any]:
    """What JSON can hold of a comparison, by metric."""
    return {metric.name: {**asdict(metric.comparison), "verdict": metric.verdict} for metric in metrics}


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
