"""Where the pelvis was predicted, for each row of labels: what a volumetric net is centred on.

Published predictions name their rows by number, so that a set that was thinned or filtered in another way silently
gets another person's pelvis. Here rows are matched by sequence, frame and person.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from marey.core import InputError
from marey.data.labels import Labels
from marey.io.predictions import PoseRows

Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

_HIPS = ("left_hip", "right_hip")


def pelvis_of_rows(predictions: PoseRows) -> Array:
    """The pelvis (N, 3) of predicted poses, metres; half-way between the hips where they have none.

    Raises:
        InputError: they have neither.
    """
    names = predictions.joint_names
    if "joints" not in predictions.values or not ("pelvis" in names or set(_HIPS) <= set(names)):
        raise InputError(f"predictions: no pelvis and no hips among their joints: {', '.join(names) or 'none'}")
    joints = predictions.values["joints"]
    if "pelvis" in names:
        pelvis: Array = joints[:, names.index("pelvis")].astype(np.float64)
        return pelvis
    middle: Array = joints[:, [names.index(hip) for hip in _HIPS]].mean(1, dtype=np.float64)
    return middle


def pelvis_for_labels(
    labels: Labels, predictions: PoseRows, *, sequence: Callable[[str], str] = str, least_share: float = 0.0
) -> Array:
    """The predicted pelvis (R, 3) for each row of labels, metres in the world; NaN where none was predicted.

    Args:
        labels: By their images' sequence and frame, and by person.
        predictions: One row a person at a moment, such as `read_triangulation_results` gives.
        sequence: What the predictions call a sequence of the labels (for Human3.6M's official names:
            `h36m_published.trial_of_sequence`).
        least_share: Less of the rows than this with a prediction is an error, as between sets of another version.

    Raises:
        InputError: a person is predicted twice at one moment, there is no pelvis, or too few rows have one.
    """
    pelvis = pelvis_of_rows(predictions)
    ours, place = np.unique(labels.images.sequence, return_inverse=True)
    theirs = {name: code for code, name in enumerate(np.unique(predictions.sequence).tolist())}
    codes = np.array([theirs.get(sequence(str(name)), -1) for name in ours], dtype=np.int64)
    wanted = np.stack(
        (codes[place.reshape(-1)][labels.image], labels.images.frame[labels.image], labels.person), axis=-1
    )
    known = np.stack(
        (
            np.unique(predictions.sequence, return_inverse=True)[1].reshape(-1),
            predictions.frame.astype(np.int64),
            predictions.person.astype(np.int64),
        ),
        axis=-1,
    )
    rows = _rows_in(wanted, known, predictions)
    share = float((rows >= 0).mean()) if len(rows) else 1.0
    if share < least_share:
        raise InputError(f"predictions: of {len(rows)} rows {share:.0%} have one; are they of other images?")
    if share < 1:
        warnings.warn(f"{(rows < 0).sum()} of {len(rows)} rows of the labels have no predicted pelvis", stacklevel=2)
    padded: Array = np.concatenate((pelvis, np.full((1, 3), np.nan)))
    return padded[rows]


def _rows_in(
    wanted: npt.NDArray[np.int64], known: npt.NDArray[np.int64], predictions: PoseRows
) -> npt.NDArray[np.int64]:
    """(R,) for each of the keys (R, 3) its row among the keys (N, 3), -1 for none."""
    keys, first, counts = np.unique(known, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        doubled = np.flatnonzero((known == keys[counts > 1][0]).all(-1))
        raise InputError(f"predictions: {predictions.described(doubled)} are of one person at one moment")
    both, place = np.unique(np.concatenate((keys, wanted)), axis=0, return_inverse=True)
    place = place.reshape(-1)
    row = np.full(len(both), -1)
    row[place[: len(keys)]] = first
    found: Keys = row[place[len(keys) :]]
    return found
