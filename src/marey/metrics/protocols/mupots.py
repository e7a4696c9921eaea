"""MuPoTS-3D: several people a frame, matched in the image, in all eight variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows, intrinsics_by_sequence, places_in_groups, project_by_sequence
from marey.metrics.correct import auc_scores, pck_hits
from marey.metrics.joints import joint_errors, root_relative
from marey.metrics.known import mean_over_joints
from marey.metrics.protocols.contract import Array, ProtocolCard, Scores
from marey.metrics.protocols.pairing import check_sequences, frame_codes, people_slots, tensor

JOINTS = skeleton("mpi_inf_3dhp_17").joints
ROOT = JOINTS.index("pelvis")
SUBSETS = {"14": list(range(14)), "16": [*range(14), 15, 16], "17": list(range(17))}
"""From head top to the left ankle; with spine and head too; with the pelvis too."""
MATCHED_JOINTS = slice(1, 14)
"""From the neck to the left ankle."""
NEAR_PX = 40.0
NEAR = 0.150
"""Metres."""
GRID = torch.linspace(0, NEAR, 31, dtype=torch.float64)

PARENTS = (1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, 14, 14, 1)
"""Of each joint, on the ways from the pelvis outwards; the pelvis is its own."""

VARIANTS = tuple(product(("universal", "metric"), ("relative", "absolute"), ("rescaled", "raw")))
"""Skeleton of the truth; whether pelvis on pelvis; whether predicted bones get the truth's lengths."""


@dataclass(frozen=True, kw_only=True)
class MuPoTS:
    """Both have `joints` and `keypoints`; labels also `joints_universal`. Values are `variant/metric`.

    Predictions without keypoints have them where their joints fall in the image by the labels' `intrinsics`.

    Each annotated person of a frame, in the order of the rows, takes the free detection with most of 13 joints within
    40 pixels; detections that are left cost nothing. A frame without annotated people is one row of the labels with
    `person` -1, so that detections there are known to be of the benchmark.
    """

    unmatched: Literal["refuse", "leave_out"] = "refuse"
    """What to do with a sequence in which nobody was found: its mean error does not exist. Left out, the averages are
    over the other sequences, and a note names it."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="mupots",
            source="isarandi/metrabs, eval_mupots (2020-11)",
            joints="PCK and AUC 14; MPJPE of 14, 16 and 17 of MPI-INF-3DHP; camera frame",
            alignment="none (absolute) or pelvis on pelvis (relative); rescaled: predicted bones get true lengths",
            averaging="mean of each sequence over people and joints, then over sequences; recall over all people",
            matching="greedy in the order of the labels: most of 13 joints closer than 40 px along both axes, at least "
            "one; *_all: matched times the share of people matched",
            thresholds="PCK below 150 mm; AUC over 0, 5, ... 150 mm",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score detections in rows with the labels' sequence and frame.

        Raises:
            InputError: rows do not fit, lack a joint or an array, or (unless they are left out) nobody was found in a
                sequence.
        """
        check_sequences(predictions, labels)
        predictions = _in_the_image(predictions, labels)
        labels = labels[labels.person >= 0]
        if not len(labels):
            raise InputError("labels: nobody is annotated in any frame; there is nothing to score")
        match = match_people(predictions, labels)
        truth_rows = np.flatnonzero(match >= 0)
        sequences, place = np.unique(labels.sequence, return_inverse=True)
        found, annotated = place[truth_rows], np.bincount(place)
        matched = np.bincount(found, minlength=len(sequences))
        notes = self._check(sequences, matched, labels)
        estimated = tensor(predictions, "joints", JOINTS)[match[truth_rows]]
        truths = {
            "universal": tensor(labels, "joints_universal", JOINTS, "labels")[truth_rows],
            "metric": tensor(labels, "joints", JOINTS, "labels")[truth_rows],
        }
        estimates = {("raw", name): estimated for name in truths}
        estimates |= {("rescaled", name): rescale_bones(estimated, truth) for name, truth in truths.items()}
        groups: dict[str, dict[str, float]] = {}
        for skeleton_name, root, scale in VARIANTS:
            poses = estimates[scale, skeleton_name], truths[skeleton_name]
            if root == "relative":
                poses = root_relative(poses[0], ROOT), root_relative(poses[1], ROOT)
            for metric, means in _metrics(*poses, found, matched=matched, annotated=annotated).items():
                names = zip(sequences.tolist(), means.tolist(), strict=True)
                groups[f"{skeleton_name}/{root}/{scale}/{metric}"] = dict(names)
        return Scores(
            card=self.card,
            values={name: float(np.nanmean(list(means.values()))) for name, means in groups.items()}
            | {"recall": 100 * float(matched.sum() / annotated.sum())},
            groups=groups,
            per_row={"matched": (match >= 0).astype(np.float64)},
            counts={"people": len(labels), "matched": int(matched.sum()), "detections": len(predictions)},
            notes=notes,
        )

    def _check(self, sequences: Array, matched: Array, labels: PoseRows) -> tuple[str, ...]:
        empty = sequences[matched == 0]
        if not len(empty):
            return ()
        rows = np.flatnonzero(np.isin(labels.sequence, empty))
        if self.unmatched == "refuse" or len(empty) == len(sequences):
            raise InputError(
                f"predictions: nobody was found in {', '.join(empty)}, {labels.described(rows)}, so there is no mean "
                "error; are the keypoints those of the full image? MuPoTS(unmatched='leave_out') averages the others"
            )
        return (f"left out of the averages, since nobody was found in them: {', '.join(empty)}",)


def _in_the_image(predictions: PoseRows, labels: PoseRows) -> PoseRows:
    """With `keypoints`."""
    intrinsics = intrinsics_by_sequence(labels)
    if "keypoints" in predictions.values or "joints" not in predictions.values or intrinsics is None:
        return predictions
    keypoints = project_by_sequence(predictions.values["joints"], predictions.sequence, intrinsics)
    return replace(predictions, values={**predictions.values, "keypoints": keypoints}, keypoint_names=())


def match_people(predictions: PoseRows, labels: PoseRows) -> Array:
    """For each label the row of its detection, -1 where there is none.

    All frames go at once: the first person of every frame takes a detection, then the second, and so on.
    """
    theirs, ours = tensor(labels, "keypoints", JOINTS, "labels"), tensor(predictions, "keypoints", JOINTS)
    detected, annotated = frame_codes(predictions, labels)
    slots = people_slots(detected, frames=int(annotated.max()) + 1)
    free = slots >= 0
    match = np.full(len(labels), -1)
    turns = places_in_groups(annotated)
    for turn in range(int(turns.max()) + 1):
        rows = np.flatnonzero(turns == turn)
        frame = annotated[rows]
        offsets = ours[slots[frame]][..., MATCHED_JOINTS, :] - theirs[rows][:, None, MATCHED_JOINTS]
        near = (offsets.abs().amax(-1) < NEAR_PX).sum(-1).numpy()
        near = np.where(free[frame], near, 0)
        best = near.argmax(1)  # the first of equals
        taken = near[np.arange(len(rows)), best] >= 1
        match[rows[taken]] = slots[frame, best][taken]
        free[frame[taken], best[taken]] = False
    return match


def rescale_bones(estimated: Tensor, truth: Tensor) -> Tensor:
    """Poses (..., 17, 3) of MPI-INF-3DHP with the bone lengths of the truth, their directions and pelvis kept."""
    parents = list(PARENTS)
    bones = estimated - estimated[..., parents, :]
    lengths = torch.linalg.vector_norm(bones, dim=-1, keepdim=True)
    wanted = torch.linalg.vector_norm(truth - truth[..., parents, :], dim=-1, keepdim=True)
    bones = bones * torch.where(lengths > 0, wanted / lengths, 0.0)
    return estimated[..., ROOT : ROOT + 1, :] + _ways().to(bones) @ bones


def _ways() -> Tensor:
    """(17, 17) which bones, named by their ends, lie between the pelvis and a joint."""
    step = torch.zeros(len(PARENTS), len(PARENTS))
    step[torch.arange(len(PARENTS)), torch.tensor(PARENTS)] = 1
    step[ROOT, ROOT] = 0
    ways, further = torch.eye(len(PARENTS)), step
    while further.any():
        ways, further = ways + further, further @ step
    return ways


def _metrics(
    estimated: Tensor, truth: Tensor, sequence: Array, *, matched: Array, annotated: Array
) -> Mapping[str, Array]:
    """(S,) of each sequence, NaN without a match."""
    scored = estimated[:, SUBSETS["14"]], truth[:, SUBSETS["14"]]
    shares = {
        "pck": 100 * mean_over_joints(pck_hits(*scored, threshold=NEAR)),
        "auc": 100 * mean_over_joints(auc_scores(*scored, thresholds=GRID)),
    }
    errors = 1000 * joint_errors(estimated, truth)
    people = {f"mpjpe{name}_mm": mean_over_joints(errors[:, joints]) for name, joints in SUBSETS.items()}
    people |= {f"{name}_matched": share for name, share in shares.items()}
    with np.errstate(invalid="ignore"):
        found = {
            name: np.bincount(sequence, weights=mean.numpy(), minlength=len(matched)) / matched
            for name, mean in people.items()
        }
        return found | {f"{name}_all": found[f"{name}_matched"] * matched / annotated for name in shares}
