"""Score files of predictions by a published protocol, the second of the two phases of an evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, get_args

from marey.core.errors import InputError, MissingAssetError
from marey.engine.evaluation import PREDICTIONS, Metric, compare, read_card
from marey.io.atomic import atomic_write_text
from marey.io.predictions import PoseRows, intrinsics_by_sequence, read_pose_rows
from marey.io.predictions_published import (
    MetrabsData,
    read_coco_labels,
    read_coco_predictions,
    read_metrabs_predictions,
    read_pw3d_predictions,
    read_triangulation_results,
)
from marey.metrics.protocols import Scores, protocol

PredictionFormat = Literal["marey", "metrabs", "triangulation", "3dpw", "coco"]

_METRABS: dict[str, MetrabsData] = {"h36m": "h36m", "3dhp": "3dhp", "mupots": "mupots"}


FIRST_SEED = "seed1"
"""What in the path of predictions is replaced by `seed2`, `seed3`, ..."""
SINGLE_IMAGES = "single_images"
"""In the settings of a card."""
_CENTIMETRES = ("cmu-panoptic", "panoptic-ap")
"""Protocols of the data set whose results.pkl is in centimetres; of all others it is in millimetres."""


def score_predictions(
    predictions: str | os.PathLike[str],
    *,
    protocol_name: str,
    labels: str | os.PathLike[str] | None = None,
    format: PredictionFormat | None = None,  # noqa: A002 - as the command line has it
) -> Scores:
    """Score a file of predictions.

    Args:
        predictions: Rows of poses (`marey.io.predictions`), or a file of a published program: MeTRAbs's
            `predictions_*.npz`, Learnable Triangulation's `results.pkl`, 3DPW's folder of pickles, COCO's results.
        protocol_name: See `marey.metrics.protocols.PROTOCOLS`.
        labels: Rows of poses, or COCO's annotations. MeTRAbs's files of Human3.6M and MPI-INF-3DHP hold their own.
        format: Of the predictions; None: as the file's name and the protocol tell.

    Raises:
        InputError: there is no such protocol or format, or rows do not fit; the message names them.
        MissingAssetError: a file is absent.
        FormatError: a file is not what its format demands.
    """
    chosen = protocol(protocol_name)
    return chosen.score(*read_both(predictions, protocol_name=protocol_name, labels=labels, format=format))


@dataclass(frozen=True, kw_only=True)
class SeedScores:
    """What a protocol found in the predictions of networks that were trained alike from different random numbers."""

    mean: Mapping[str, float]
    """Of every value that all seeds have."""
    deviation: Mapping[str, float]
    """Sample standard deviation over the seeds."""
    seeds: tuple[Scores, ...]

    def asdict(self) -> dict[str, Any]:
        """What JSON can hold."""
        seeds = [scores.asdict() for scores in self.seeds]
        return {"mean": dict(self.mean), "deviation": dict(self.deviation), "seeds": seeds}


def score_seeds(
    predictions: str | os.PathLike[str],
    count: int,
    *,
    protocol_name: str,
    labels: str | os.PathLike[str] | None = None,
    format: PredictionFormat | None = None,  # noqa: A002 - as the command line has it
) -> SeedScores:
    """Score several files of predictions and average: in the path `seed1` stands for seed1, seed2, ... seed{count}.

    Args:
        predictions: With `seed1` somewhere in its path.
        count: At least 2.
        protocol_name: as in `score_predictions`.
        labels: as in `score_predictions`; a `seed1` in their path is replaced, too.
        format: as in `score_predictions`.

    Raises:
        InputError: there is no `seed1` in the path, or fewer than two seeds; and as in `score_predictions`.
        MissingAssetError: a file is absent.
        FormatError: a file is not what its format demands.
    """
    if count < 2 or FIRST_SEED not in str(predictions):
        raise InputError(
            f"seeds: expected two or more, and '{FIRST_SEED}' in the path, which is replaced by those of the other "
            f"seeds, got {count} and {predictions}"
        )
    names = [f"seed{seed}" for seed in range(1, count + 1)]
    found = [
        score_predictions(
            str(predictions).replace(FIRST_SEED, name),
            protocol_name=protocol_name,
            labels=None if labels is None else str(labels).replace(FIRST_SEED, name),
            format=format,
        )
        for name in names
    ]
    common = [name for name in found[0].values if all(name in scores.values for scores in found)]
    table = {name: [scores.values[name] for scores in found] for name in common}
    return SeedScores(
        mean={name: fmean(values) for name, values in table.items()},
        deviation={name: stdev(values) for name, values in table.items()},
        seeds=tuple(found),
    )


def read_both(
    predictions: str | os.PathLike[str],
    *,
    protocol_name: str,
    labels: str | os.PathLike[str] | None = None,
    format: PredictionFormat | None = None,  # noqa: A002 - as the command line has it
) -> tuple[PoseRows, PoseRows]:
    """Predictions and the labels that they are scored against; arguments and errors as in `score_predictions`.

    Predictions of `marey evaluate METHOD` have their labels beside them and need none.
    """
    path = Path(predictions)
    path = path / PREDICTIONS if (path / PREDICTIONS).exists() else path
    for given in (path, *([] if labels is None else [Path(labels)])):
        if not given.exists():
            raise MissingAssetError(f"{given} does not exist; give a file of predictions or labels")
    kind = format or guessed_format(path, protocol_name)
    if kind not in get_args(PredictionFormat):
        raise InputError(f"format: expected one of {', '.join(get_args(PredictionFormat))}, got '{kind}'")
    beside = labels_beside(path) if labels is None else Path(labels)
    truth = None if beside is None else _labels(beside)
    found, own = _predictions(path, kind, protocol_name, truth)
    truth = own if truth is None else truth
    if truth is None:
        raise InputError(
            f"labels: '{protocol_name}' of a file of the format {kind} needs them; pass the file of labels"
        )
    return found, truth


def labels_beside(path: Path) -> Path | None:
    """The labels that the card of a file of predictions names, if they lie beside it."""
    card = read_card(path)
    name = None if card is None else card.get("labels")
    beside = path.with_name(name) if isinstance(name, str) and Path(name).name == name else None
    return beside if beside is not None and beside.exists() else None


def benchmark_of(path: str | os.PathLike[str]) -> str:
    """Name and version of the benchmark that predictions were made for; empty if their card does not say."""
    path = Path(path)
    card = read_card(path / PREDICTIONS if path.is_dir() else path)
    return "" if card is None else str(card.get("benchmark", ""))


def of_single_images(path: str | os.PathLike[str]) -> bool:
    """Whether predictions were made with each image as a sample of its own, as their card says."""
    path = Path(path)
    card = read_card(path / PREDICTIONS if path.is_dir() else path) or {}
    settings = card.get("settings")
    return isinstance(settings, dict) and settings.get(SINGLE_IMAGES) is True


def compare_predictions(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    protocol_name: str,
    labels: str | os.PathLike[str] | None = None,
    format: PredictionFormat | None = None,  # noqa: A002 - as the command line has it
) -> tuple[Metric, ...]:
    """Compare two files of predictions of the same labels, metric by metric: a paired bootstrap over the rows.

    Args:
        first: as in `score_predictions`.
        second: as in `score_predictions`.
        protocol_name: see `marey.metrics.protocols.PROTOCOLS`.
        labels: as in `score_predictions`; None: those beside `first`.
        format: of both; None: as their names tell.

    Raises:
        InputError, MissingAssetError, FormatError: as `score_predictions`; and the protocol has no number for each row.
    """
    ours, truth = read_both(first, protocol_name=protocol_name, labels=labels, format=format)
    theirs, other = read_both(second, protocol_name=protocol_name, labels=labels, format=format)
    if ours.benchmark != theirs.benchmark or len(truth) != len(other):
        raise InputError(
            f"predictions: made for {len(truth)} rows of '{ours.benchmark}' and {len(other)} of '{theirs.benchmark}'; "
            "compare what was predicted for the same samples"
        )
    return compare(ours, theirs, truth, ruler=protocol(protocol_name))


def guessed_format(path: Path, protocol_name: str) -> PredictionFormat:
    """The format that a file's name and the protocol tell."""
    if path.suffix == ".json":
        return "coco"
    if path.is_dir() or path.suffix in (".pkl", ".pickle"):
        return "3dpw" if protocol_name.startswith("3dpw") else "triangulation"
    return "metrabs" if path.name.startswith("predictions_") and _metrabs_data(protocol_name) else "marey"


def _metrabs_data(protocol_name: str) -> MetrabsData | None:
    return _METRABS.get(protocol_name.split("-")[0])


def _labels(path: Path) -> PoseRows:
    return read_coco_labels(path) if path.suffix == ".json" else read_pose_rows(path)


def _predictions(
    path: Path, kind: PredictionFormat, protocol_name: str, labels: PoseRows | None
) -> tuple[PoseRows, PoseRows | None]:
    """Predictions, and the labels that came in the same file."""
    if kind == "marey":
        return read_pose_rows(path), None
    if kind == "coco":
        return read_coco_predictions(path), None
    if kind == "3dpw":
        return read_pw3d_predictions(path, labels=labels), None
    if kind == "triangulation":
        if labels is None:
            raise InputError(f"labels: {path} holds indices into the labels; pass the file of labels")
        millimetres = protocol_name not in _CENTIMETRES
        return read_triangulation_results(path, labels, millimetres=millimetres), None
    data = _metrabs_data(protocol_name)
    if data is None:
        raise InputError(
            f"format: MeTRAbs's files are scored by the protocols of {', '.join(_METRABS)}, got '{protocol_name}'"
        )
    intrinsics = None if labels is None else intrinsics_by_sequence(labels)
    if intrinsics is None and data == "mupots":
        raise InputError(
            f"labels: {path} holds no pixels, by which MuPoTS matches, so the labels need 'intrinsics' (3, 3) a row; "
            "protocols/mupots.npz of `marey data prepare mupots` has them"
        )
    return read_metrabs_predictions(path, data, intrinsics=intrinsics)


def write_scores(path: str | os.PathLike[str], *scores: Scores) -> None:
    """Write scores with their cards as JSON; those of several protocols as an object of them, by name.

    Raises:
        InputError: the file cannot be written.
    """
    found = {entry.card.name: entry.asdict() for entry in scores}
    document = next(iter(found.values())) if len(found) == 1 else found
    atomic_write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
