"""Where people were predicted to be, for the samples of a data set: what volumes are put around.

Published files of predictions number their rows by the place in a split that was thinned and filtered in a way that the
file does not tell. Here samples are matched by sequence (subject and action), frame and person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from marey.core import InputError, MissingAssetError
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.moment_table import MomentOptions, MomentTable, moment_table, rows_of_moments
from marey.data.prepare.h36m_published import dataset_rows, moment_rows, trial_of_sequence
from marey.data.prepare.pelvis import pelvis_for_labels
from marey.io.h36m_labels import read_h36m_labels
from marey.io.predictions import PoseRows, read_pose_rows
from marey.io.predictions_published import read_triangulation_file, read_triangulation_results

CENTIMETRES = ("cmu",)
"""Data sets whose published predictions are in centimetres; those of the others are in millimetres."""


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """Predicted poses of a data set."""

    path: Path
    """Rows of poses (npz), as `marey evaluate` writes them, or a `results.pkl` of Learnable Triangulation."""
    labels: Path | None = None
    """Human3.6M: the label file (npy) that a `results.pkl` was predicted with; None: the prepared labels."""
    joint_names: tuple[str, ...] = ()
    """Of a `results.pkl`; none: as `read_triangulation_results` tells them."""


def centers_of_samples(labels: Labels, table: MomentTable, options: MomentOptions, file: PredictionFile) -> Array:
    """The predicted pelvis (N, 3) of each sample, metres in the world; NaN, with a warning, where none was predicted.

    Args:
        labels: The whole data set.
        table: Its samples.
        options: By which they were chosen.
        file: The predictions.

    Raises:
        MissingAssetError: a file is absent.
        InputError: the predictions are of other samples, or have neither pelvis nor hips.
        FormatError: a file is not what it should be.
    """
    for path in (file.path, *([] if file.labels is None else [file.labels])):
        if not path.is_file():
            raise MissingAssetError(f"{path} does not exist; give a file of predicted poses for the centers")
    found = predictions_of_samples(labels, options, file)
    asked = table.labels[table.first]
    same_names = bool(set(found.sequence.tolist()) & set(asked.images.sequence.tolist()))
    centers: Array = pelvis_for_labels(asked, found, sequence=str if same_names else trial_of_sequence)
    if not np.isfinite(centers).any():
        raise InputError(f"{file.path}: none of the {len(centers)} samples is predicted; is it of another split?")
    return centers


def predictions_of_samples(labels: Labels, options: MomentOptions, file: PredictionFile) -> PoseRows:
    """A file of predictions as rows with sequence, frame and person.

    The numbers in a `results.pkl` are places in a split: all of it, or without the damaged actions, or thinned as the
    options say; which, its number of poses tells.

    Raises:
        InputError: the file cannot be read, or has as many poses as no such way to choose samples gives.
        FormatError: it is not what it should be.
    """
    if file.path.suffix == ".npz":
        return read_pose_rows(file.path)
    count = len(read_triangulation_file(file.path).indices)
    numbered = _of_published(file.labels, options) if file.labels else _of_prepared(labels, options)
    fitting = [rows for rows in numbered if len(rows) == count]
    if not fitting:
        counts = ", ".join(sorted({str(len(rows)) for rows in numbered}))
        raise InputError(
            f"{file.path}: {count} poses, but {options.split} of {file.labels or 'these labels'} has {counts} "
            "samples, so their numbers mean other ones; give the label file that they were predicted with, or rows of "
            "poses (npz), which are matched by name"
        )
    return read_triangulation_results(
        file.path, fitting[0], millimetres=labels.name not in CENTIMETRES, joint_names=file.joint_names
    )


def _of_prepared(labels: Labels, options: MomentOptions) -> list[PoseRows]:
    """The ways to number the samples of the prepared labels, the original's own first."""
    plain = MomentOptions(split=options.split)
    ways = (plain, replace(plain, damaged=False), replace(plain, every=options.every), replace(options, views=()))
    return [rows_of_moments(moment_table(labels, way, boxed=False)) for way in dict.fromkeys(ways)]


def _of_published(path: Path, options: MomentOptions) -> list[PoseRows]:
    """The ways to number the samples of a label file."""
    found, train = read_h36m_labels(path), options.split == "train"
    ways = dict.fromkeys((damaged, every) for every in (1, options.every) for damaged in (True, False))
    return [
        moment_rows(found, dataset_rows(found, train=train, test=not train, damaged=damaged, every=every))
        for damaged, every in ways
    ]
