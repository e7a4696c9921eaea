"""CMU Panoptic: one person as the fork of Learnable Triangulation scores, everybody as VoxelPose does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors, root_relative_errors
from marey.metrics.known import mean_over_joints
from marey.metrics.protocols.contract import Array, Floats, ProtocolCard, Scores
from marey.metrics.protocols.pairing import check_sequences, frame_codes, group_means, paired, people_slots, tensor

JOINTS = skeleton("panoptic_19").joints
BODY = JOINTS[:15]
"""Without eyes and ears."""
THRESHOLDS_MM = (25, 50, 75, 100, 125, 150)
FARTHEST_MM = 500.0
"""What a detection may be off to count for the error and the recall."""
ROUNDING = 1e-5
"""Added to counts before they divide, as VoxelPose does."""


@dataclass(frozen=True, kw_only=True)
class CmuPanoptic:
    """Errors of one person, absolute and relative to the neck; joints that the labels miss (NaN) are left out."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="cmu-panoptic",
            source="Samleo8/learnable-triangulation-pytorch, CMUPanopticDataset.evaluate",
            joints="19 of CMU Panoptic, world frame",
            alignment="none; relative: neck on neck",
            averaging="over the labelled joints of each person, then over people and frames",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, lack a joint, or a label has no joint or no neck.
        """
        pair = paired(predictions, labels)
        estimated = tensor(pair.predictions, "joints", JOINTS)
        truth = tensor(pair.labels, "joints", JOINTS, "labels", known=False)
        if len(bad := (~truth[:, 0].isfinite().all(-1)).nonzero()[:, 0].numpy()):
            raise InputError(f"labels: the neck is missing in {pair.labels.described(bad)}; leave those rows out")
        errors = {
            "mpjpe_mm": 1000 * mean_over_joints(joint_errors(estimated, truth)),
            "mpjpe_relative_mm": 1000 * mean_over_joints(root_relative_errors(estimated, truth, root=0)),
        }
        return Scores(
            card=self.card,
            values={name: float(found.mean()) for name, found in errors.items()},
            groups={f"{name}/sequence": group_means(found, pair.labels.sequence) for name, found in errors.items()},
            per_row={name: found.numpy() for name, found in errors.items()},
            counts={"rows": len(labels), "joints": int(truth.isfinite().all(-1).sum())},
        )


@dataclass(frozen=True, kw_only=True)
class PanopticAP:
    """Average precision of 3D people; predictions have `score`, and labels NaN for joints below 0.1 of confidence.

    Every detection goes to the nearest person of its frame, several may want the same; the one with the highest score
    gets them. Equal scores keep the order of the rows.
    """

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="panoptic-ap",
            source="microsoft/voxelpose-pytorch, Panoptic.evaluate",
            joints="15 of CMU Panoptic (no eyes, no ears), world frame",
            alignment="none",
            averaging="AP over all people of all frames; mpjpe over matched people only, so it means nothing without "
            "the recall",
            matching="each detection to the nearest person of its frame (not an assignment), by falling score",
            thresholds="mean joint error below 25, 50, ... 150 mm; mpjpe and recall below 500 mm",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score detections in rows with the labels' sequence and frame.

        Raises:
            InputError: rows do not fit, lack a joint or a score, or a label has no joint.
        """
        check_sequences(predictions, labels)
        errors, person = _nearest(predictions, labels)
        order = np.argsort(-tensor(predictions, "score", shape=()).numpy(), kind="stable")
        errors, person = errors[order], person[order]
        values: dict[str, float] = {}
        for threshold in THRESHOLDS_MM:
            precision, recall = _average_precision(_first_below(errors, person, threshold), len(labels))
            values |= {f"ap{threshold}": 100 * precision, f"recall{threshold}": 100 * recall}
        values["ap"] = float(np.mean([values[f"ap{threshold}"] for threshold in THRESHOLDS_MM]))
        hits = _first_below(errors, person, FARTHEST_MM)
        values["recall"] = 100 * hits.sum() / len(labels)
        if hits.any():
            values["mpjpe_mm"] = float(errors[hits].mean())
        found = np.full(len(labels), np.nan)
        found[person[hits]] = errors[hits]
        return Scores(
            card=self.card,
            values=values,
            per_row={"mpjpe_mm": found},
            counts={"people": len(labels), "matched": int(hits.sum()), "detections": len(predictions)},
            notes=() if hits.any() else ("nobody was found within 500 mm, so there is no mean error",),
        )


def _nearest(predictions: PoseRows, labels: PoseRows) -> tuple[Floats, Array]:
    """(N,) the mean error of each detection to the nearest person of its frame in millimetres, and their row."""
    ours, theirs = frame_codes(predictions, labels)
    slots = people_slots(theirs)[ours]
    estimated = tensor(predictions, "joints", BODY)
    truth = tensor(labels, "joints", BODY, "labels", known=False)
    if len(bad := (~truth.isfinite().all(-1)).all(1).nonzero()[:, 0].numpy()):
        raise InputError(f"labels: no joint is known in {labels.described(bad)}; leave those rows out")
    distances = 1000 * mean_over_joints(joint_errors(estimated[:, None], truth[slots]))
    distances = torch.where(torch.from_numpy(slots >= 0), distances, torch.inf)
    least, place = distances.min(-1)
    return least.numpy(), slots[np.arange(len(slots)), place.numpy()]


def _first_below(errors: Floats, person: Array, threshold: float) -> Array:
    """(N,) whether a detection is below, and the first such of its person."""
    below = np.flatnonzero(errors < threshold)
    hits = np.zeros(len(errors), dtype=bool)
    hits[below[np.unique(person[below], return_index=True)[1]]] = True
    return hits


def _average_precision(hits: Array, people: int) -> tuple[float, float]:
    """The area under precision over recall, precision never rising; and the recall reached. In 0..1."""
    true = hits.cumsum()
    recall = true / (people + ROUNDING)
    precision = true / (np.arange(1, len(hits) + 1) + ROUNDING)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * falling).sum()), float(recall[-1])
