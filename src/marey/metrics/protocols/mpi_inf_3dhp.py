"""MPI-INF-3DHP's test set: as MeTRAbs's first release shipped it, and as it corrected it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.geometry.alignment import align
from marey.io.predictions import PoseRows
from marey.metrics.correct import auc_scores, pck_hits
from marey.metrics.joints import joint_errors, root_relative
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import group_means, paired, texts

JOINTS = skeleton("mpi_inf_3dhp_17").joints
SHIPPED_JOINTS = (*JOINTS[1:14], "head")
"""Without head top, pelvis and spine."""
SCORED = 14
"""The first joints, from head top to the left ankle, that PCK and AUC count."""
NEAR = 0.150
"""Metres."""
GRID = torch.linspace(0, NEAR, 31, dtype=torch.float64)

ACTIVITIES = ("Stand/Walk", "Exercise", "Sit on Chair", "Reach/Crouch", "On Floor", "Sports", "Misc.")
SCENES = ("green-screen", "no-green-screen", "outdoor")


@dataclass(frozen=True, kw_only=True)
class MpiInf3dhp:
    """PCK, AUC and MPJPE of one person a frame; labels have `activity` and `scene`."""

    procrustes: bool = False
    """Whether each pose is brought onto the truth by a similarity first."""
    as_shipped: bool = False
    """Whether to repeat the first release, which took the last joint that it kept, the head, for the root, and scored
    those 14 joints only."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        root = "head" if self.as_shipped else "pelvis"
        turned = "; then a similarity without a reflection for each pose" if self.procrustes else ""
        return ProtocolCard(
            name=f"3dhp{'-shipped' if self.as_shipped else ''}{'-pa' if self.procrustes else ''}",
            source="isarandi/metrabs, eval_3dhp (2020-11)" if self.as_shipped else "isarandi/posepile, 3DHP evaluation",
            joints="14 (neck to left ankle, head)" if self.as_shipped else "PCK and AUC 14, MPJPE 17",
            alignment=f"{root} on {root}{turned}",
            averaging="over all frames and joints of the six sequences, activity and scene alike",
            thresholds="PCK below 150 mm; AUC over 0, 5, ... 150 mm",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, lack a joint, or an activity or scene has another name.
        """
        pair = paired(predictions, labels)
        names = SHIPPED_JOINTS if self.as_shipped else JOINTS
        estimated, truth = self._aligned(*pair.joints(names), names.index("head" if self.as_shipped else "pelvis"))
        errors = 1000 * joint_errors(estimated, truth)
        scored = estimated[:, :SCORED], truth[:, :SCORED]
        near, area = 100 * pck_hits(*scored, threshold=NEAR), 100 * auc_scores(*scored, thresholds=GRID)
        return Scores(
            card=self.card,
            values={"pck": float(near.mean()), "auc": float(area.mean()), "mpjpe_mm": float(errors.mean())},
            groups={
                "pck/activity": group_means(near, texts(pair.labels, "activity", known=ACTIVITIES)),
                "pck/scene": group_means(near, texts(pair.labels, "scene", known=SCENES)),
            },
            per_row={name: found.mean(-1).numpy() for name, found in _by_name(near, area, errors)},
            counts={"rows": len(labels)},
        )

    def _aligned(self, estimated: Tensor, truth: Tensor, root: int) -> tuple[Tensor, Tensor]:
        estimated, truth = root_relative(estimated, root), root_relative(truth, root)
        if self.procrustes:
            estimated = align(estimated, truth, transform="similarity").apply(estimated)
        return estimated, truth


def _by_name(near: Tensor, area: Tensor, errors: Tensor) -> list[tuple[str, Tensor]]:
    return [("pck", near), ("auc", area), ("mpjpe_mm", errors)]
