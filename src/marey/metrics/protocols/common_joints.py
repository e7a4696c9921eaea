"""Errors on any labels: over the joints that predictions and labels both have, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from marey.core import InputError
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors, root_relative_errors
from marey.metrics.known import mean_over_joints
from marey.metrics.protocols.contract import Array, ProtocolCard, Scores
from marey.metrics.protocols.pairing import group_means, paired, tensor

ROOTS = (("pelvis",), ("left_hip", "right_hip"), ("neck",))
"""What relative errors are relative to: the first of these whose joints are there, the middle of both hips."""
_GROUPS = ("subject", "action", "scene")


@dataclass(frozen=True, kw_only=True)
class CommonJoints:
    """Absolute and root-relative errors over the joints that both name; what either does not know is left out."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="common-joints",
            source="Marey, for data sets without a protocol of their own",
            joints="those that predictions and labels both name, as counted; NaN is left out, and counted",
            alignment="none; relative: pelvis on pelvis, else the middle of the hips, else the neck",
            averaging="over the known joints of each person, then over people and frames",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, no joint has the same name in both, or nothing is known in both.
        """
        pair = paired(predictions, labels)
        names = [name for name in labels.joint_names if name in predictions.joint_names]
        if not names:
            raise InputError(
                f"predictions: every row lacks all joints of the labels, {', '.join(labels.joint_names)}; they have "
                f"{', '.join(predictions.joint_names)}"
            )
        estimated = tensor(pair.predictions, "joints", names, known=False)
        truth = tensor(pair.labels, "joints", names, "labels", known=False)
        errors = _errors(estimated, truth, names)
        found = {name: mean_over_joints(error) for name, error in errors.items()}
        labelled = truth.isfinite().all(-1)
        missing = labelled & errors["mpjpe_mm"].isnan()
        if bool((missing == labelled).all()):
            raise InputError(f"predictions: 'joints' are never known where labels are, in rows 0 to {len(labels) - 1}")
        known = {name: error for name, error in found.items() if not bool(error.isnan().all())}
        return Scores(
            card=self.card,
            values={name: float(error.nanmean()) for name, error in known.items()},
            groups=_groups(pair.labels, known),
            per_row={name: error.numpy() for name, error in known.items()},
            counts={
                "rows": len(labels),
                "joints": len(names),
                "labelled": int(labelled.sum()),
                "missing": int(missing.sum()),
            },
            notes=_notes(pair.predictions, labels.joint_names, names, missing),
        )


def _errors(estimated: Tensor, truth: Tensor, names: list[str]) -> dict[str, Tensor]:
    """(N, J) millimetres."""
    errors = {"mpjpe_mm": 1000 * joint_errors(estimated, truth)}
    root = next((joints for joints in ROOTS if set(joints) <= set(names)), ())
    if root:
        places = [names.index(joint) for joint in root]
        errors["mpjpe_relative_mm"] = 1000 * root_relative_errors(estimated, truth, root=places)
    return errors


def _groups(labels: PoseRows, rows: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Means by sequence and by what else the labels tell; NaN where no row of a group is known."""
    columns: dict[str, Array] = {"sequence": labels.sequence}
    columns |= {key: labels.values[key] for key in _GROUPS if key in labels.values}
    found = {}
    for key, words in columns.items():
        for name, values in rows.items():
            known = ~values.isnan()
            empty = dict.fromkeys(np.unique(words).tolist(), float("nan"))
            found[f"{name}/{key}"] = empty | group_means(values[known], words[known.numpy()])
    return found


def _notes(rows: PoseRows, wanted: tuple[str, ...], names: list[str], missing: Tensor) -> tuple[str, ...]:
    notes = []
    if absent := [name for name in wanted if name not in names]:
        notes.append(f"scored on {len(names)} joints; not predicted: {', '.join(absent)}")
    if missing.any():
        partly = np.flatnonzero(missing.any(1).numpy())
        notes.append(f"{int(missing.sum())} joints are missing (NaN), in {rows.described(partly)}; they do not count")
    return tuple(notes)
