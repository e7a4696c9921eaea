"""Bring predictions and labels together: row by row or frame by frame, or say which rows do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.io.predictions import PoseRows, places_in_groups
from marey.metrics.protocols.contract import Array


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Rows of labels, and the prediction of each."""

    predictions: PoseRows
    labels: PoseRows

    def joints(self, names: Sequence[str], key: str = "joints") -> tuple[Tensor, Tensor]:
        """Predicted and true joints of these names, each (N, J, 3), in double precision."""
        return tensor(self.predictions, key, names, "predictions"), tensor(self.labels, key, names, "labels")


def paired(predictions: PoseRows, labels: PoseRows, *, counted: Array | None = None) -> Pair:
    """Each label with its prediction, by sequence, frame and person.

    Args:
        predictions: One row a label, in any order.
        labels: N rows.
        counted: (N,) which labels are scored, the others need no prediction; None: all.

    Raises:
        InputError: there are no rows, some are doubled, missing or without a label, or they are of another version.
    """
    check_rows(predictions, labels)
    counted = np.ones(len(labels), dtype=bool) if counted is None else counted
    if not counted.any():
        raise InputError(f"labels: none of rows 0 to {len(labels) - 1} is scored by this protocol")
    ours, theirs = _codes(predictions, labels)
    order = np.argsort(ours)
    place = np.searchsorted(ours, theirs, sorter=order).clip(max=len(ours) - 1)
    rows = order[place]
    if len(missing := np.flatnonzero((ours[rows] != theirs) & counted)):
        raise InputError(f"predictions: none for {len(missing)} labels, {labels.described(missing)}; predict them too")
    if len(extra := np.flatnonzero(~np.isin(ours, theirs))):
        raise InputError(
            f"predictions: {len(extra)} have no label, {predictions.described(extra)}; "
            "are the labels of another version, or of another split?"
        )
    return Pair(predictions=predictions[rows[counted]], labels=labels[counted])


def check_rows(predictions: PoseRows, labels: PoseRows) -> None:
    """See that both have rows, none twice, and are of one version of the labels.

    Raises:
        InputError: they have not.
    """
    for rows, what in ((labels, "labels"), (predictions, "predictions")):
        if not len(rows):
            raise InputError(f"{what}: no rows; there is nothing to score")
        doubled = np.flatnonzero(places_in_groups(rows.sequence, rows.frame, rows.person))
        if len(doubled):
            raise InputError(f"{what}: {len(doubled)} rows come twice, {rows.described(doubled)}; keep one of each")
    if predictions.benchmark and labels.benchmark and predictions.benchmark != labels.benchmark:
        raise InputError(
            f"predictions: made for the labels '{predictions.benchmark}', rows 0 to {len(predictions) - 1}; "
            f"these labels are '{labels.benchmark}'; predict again, or score with the labels they were made for"
        )


def check_sequences(predictions: PoseRows, labels: PoseRows) -> None:
    """See that detections are of labelled frames, and that every labelled sequence was looked at.

    Detections of single frames may be missing, since a detector may find nobody; of a whole sequence they may not.

    Raises:
        InputError: they are of other frames, or a sequence has none.
    """
    check_rows(predictions, labels)
    if len(absent := np.setdiff1d(labels.sequence, predictions.sequence)):
        rows = np.flatnonzero(np.isin(labels.sequence, absent))
        raise InputError(
            f"predictions: none for the whole of {', '.join(absent)}, {labels.described(rows)}; "
            "predict them, or leave those sequences out of the labels"
        )
    ours, theirs = frame_codes(predictions, labels)
    if len(extra := np.flatnonzero(~np.isin(ours, theirs))):
        raise InputError(
            f"predictions: {len(extra)} are of frames without labels, {predictions.described(extra)}; "
            "are the labels of another version, or of another split?"
        )


def frame_codes(first: PoseRows, second: PoseRows) -> tuple[Array, Array]:
    """(N,) and (M,) integers, equal where sequence and frame are, in the order of sequence and frame."""
    return _joint_codes((first.sequence, first.frame), (second.sequence, second.frame))


def people_slots(codes: Array, *, frames: int = 0) -> Array:
    """(frames, most) rows of each frame in their order, -1 where there are fewer.

    Args:
        codes: (N,) the frame of each row.
        frames: At least so many.
    """
    places = places_in_groups(codes)
    slots = np.full((max(frames, int(codes.max(initial=-1)) + 1), int(places.max(initial=0)) + 1), -1)
    slots[codes, places] = np.arange(len(codes))
    return slots


def _codes(first: PoseRows, second: PoseRows) -> tuple[Array, Array]:
    return _joint_codes((first.sequence, first.frame, first.person), (second.sequence, second.frame, second.person))


def _joint_codes(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    code = np.zeros(len(first[0]) + len(second[0]), dtype=np.int64)
    for ours, theirs in zip(first, second, strict=True):
        found = np.unique(np.concatenate((ours, theirs)), return_inverse=True)[1].reshape(-1)
        code = np.unique(code * (found.max(initial=0) + 1) + found, return_inverse=True)[1].reshape(-1)
    return code[: len(first[0])], code[len(first[0]) :]


def tensor(
    rows: PoseRows,
    key: str,
    names: Sequence[str] = (),
    what: str = "predictions",
    *,
    known: bool = True,
    shape: tuple[int, ...] | None = None,
) -> Tensor:
    """One array of rows in double precision, joints of these names in this order.

    Args:
        rows: N rows.
        key: Of the array.
        names: Joints; none: the array is not of joints, or all are meant.
        what: Whose rows they are, for messages.
        known: Whether NaN is an error. Infinite values always are.
        shape: What each row must have; None: not told.

    Raises:
        ShapeError: it is not of numbers, or of another shape.
        InputError: the rows lack the array or some joint, or values are not finite; the message names the rows.
    """
    array = value(rows, key, what)
    if names:
        array = _of_joints(array, rows.names_of(key), names, f"{what}: '{key}'", samples=key.endswith("_samples"))
    if shape is not None and array.shape[1:] != shape:
        raise ShapeError(f"{what}: '{key}': expected {(len(array), *shape)}, got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"{what}: '{key}' is of {array.dtype} in every row; expected numbers")
    if array.dtype.kind == "f":
        _check_finite(array, rows, key, what, known=known)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _of_joints(array: Array, theirs: Sequence[str], names: Sequence[str], where: str, *, samples: bool) -> Array:
    if absent := [name for name in names if name not in theirs]:
        raise InputError(
            f"{where}: every row lacks the joints {', '.join(absent)}; they have "
            f"{', '.join(theirs) or 'none that are named'}; name or convert the joints as the protocol wants them"
        )
    axis = 2 if samples else 1
    if array.ndim <= axis or array.shape[axis] != len(theirs):
        raise ShapeError(f"{where}: expected {len(theirs)} joints, as are named, got {array.shape}")
    return array.take([theirs.index(name) for name in names], axis=axis)


def _check_finite(array: Array, rows: PoseRows, key: str, what: str, *, known: bool) -> None:
    wrong = ~np.isfinite(array) if known else np.isinf(array)
    bad = np.flatnonzero(wrong.reshape(len(array), -1).any(1))
    if len(bad) and known:
        raise InputError(
            f"{what}: '{key}' is not finite in {len(bad)} rows, {rows.described(bad)}; a missing pose cannot be "
            "scored: predict it, or leave the row out of both files and say so"
        )
    if len(bad):
        raise InputError(
            f"{what}: '{key}' is infinite in {len(bad)} rows, {rows.described(bad)}; what is not known is NaN"
        )


def value(rows: PoseRows, key: str, what: str = "labels") -> Array:
    """One array of rows.

    Raises:
        InputError: the rows lack it.
    """
    if key not in rows.values:
        raise InputError(
            f"{what}: every row lacks '{key}', which this protocol needs; "
            f"they have: {', '.join(rows.values) or 'nothing'}"
        )
    return rows.values[key]


def texts(rows: PoseRows, key: str, *, known: Sequence[str] = ()) -> Array:
    """(N,) text of the labels, each one of `known` if that is given.

    Raises:
        InputError: the labels lack it, or hold another word.
    """
    words = value(rows, key).astype(np.str_)
    if known and len(bad := np.flatnonzero(~np.isin(words, known))):
        raise InputError(f"labels: '{key}' is none of {', '.join(known)} in {rows.described(bad)}: '{words[bad[0]]}'")
    return words


def group_means(values: Tensor, groups: Array) -> dict[str, float]:
    """Mean of values (N, ...) over the rows of each group, sorted by its name."""
    names, place = np.unique(groups, return_inverse=True)
    flat = values.numpy().reshape(len(values), -1).mean(1)
    means = np.bincount(place.reshape(-1), weights=flat) / np.bincount(place.reshape(-1))
    return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}
