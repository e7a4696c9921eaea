"""3DPW over the 24 joints of SMPL: as MeTRAbs scores it, and as the challenge's program does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.geometry.alignment import align
from marey.geometry.rotations import geodesic_angle
from marey.io.predictions import PoseRows
from marey.metrics.aligned import procrustes_errors
from marey.metrics.correct import auc_scores, pck_hits
from marey.metrics.joints import joint_errors, root_relative
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import Pair, group_means, paired, tensor

JOINTS = skeleton("smpl_24").joints
LIMBS = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]
"""Hips, knees, ankles, shoulders, elbows, wrists: what PCK and AUC count."""
TURNED = [0, 1, 2, 4, 5, 16, 17, 18, 19]
"""Pelvis, hips, knees, shoulders, elbows: whose orientations the challenge scores."""
NEAR = 0.050
FARTHEST = 0.199
"""Metres."""


@dataclass(frozen=True, kw_only=True)
class Pw3d:
    """Every annotated person with a valid camera and any 2D label, over 24 joints, pelvis on pelvis.

    With `orientations` (N, 24, 3, 3) in both, of the joints in the camera's frame, the challenge's program also gives
    the errors of nine of them, before and after the rotation that the PA-MPJPE aligns with.
    """

    program: Literal["metrabs", "challenge"] = "metrabs"
    """They differ in the AUC (50 bins, or trapezia between 200 thresholds), and in that the challenge's gives a
    prediction with all joints in one place the mean of the truth before it measures the PA-MPJPE."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        ours = self.program == "metrabs"
        return ProtocolCard(
            name="3dpw-metrabs" if ours else "3dpw-challenge",
            source="isarandi/metrabs, eval_3dpw (2020-11)" if ours else "aymenmir1/3dpw-eval",
            joints="24 of SMPL, camera frame; PCK and AUC 12: hips, knees, ankles, shoulders, elbows, wrists",
            alignment="pelvis on pelvis; pa: a similarity without a reflection over the 24 joints of each pose"
            + ("" if ours else ", the mean of the truth for a pose without extent"),
            averaging="over all people, frames and joints of the split",
            thresholds="PCK up to 50 mm; AUC 0 to 199 mm, " + ("50 bins" if ours else "trapezia over 200 thresholds"),
            units="millimetres; shares in percent" + ("" if ours else "; orientations in degrees"),
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, or lack a joint.
        """
        pair = paired(predictions, labels)
        estimated, truth = (root_relative(joints, 0) for joints in pair.joints(JOINTS))
        errors = 1000 * joint_errors(estimated, truth)
        after = 1000 * procrustes_errors(estimated, truth)
        collapsed = (estimated == 0).all(-1).all(-1)
        if self.program == "challenge":
            spread = 1000 * joint_errors(truth.mean(1, keepdim=True).expand_as(truth), truth)
            after = torch.where(collapsed[:, None], spread, after)
        limbs = estimated[:, LIMBS], truth[:, LIMBS]
        joints = {"mpjpe_mm": errors, "pa_mpjpe_mm": after}
        if self.program == "challenge" and all("orientations" in side.values for side in (predictions, labels)):
            joints |= _turns(pair, estimated, truth, collapsed)
        near = 100 * pck_hits(*limbs, threshold=NEAR, inclusive=True)
        return Scores(
            card=self.card,
            values={
                **{name: float(found.mean()) for name, found in joints.items()},
                "pck": float(near.mean()),
                "auc": 100 * float(self._areas(*limbs).mean()),
            },
            groups={"mpjpe_mm/sequence": group_means(errors, pair.labels.sequence)},
            per_row={name: found.mean(-1).numpy() for name, found in joints.items()},
            counts={"rows": len(labels), "without_extent": int(collapsed.sum())},
        )

    def _areas(self, estimated: Tensor, truth: Tensor) -> Tensor:
        """What each joint adds to the area; MeTRAbs's 50 bins are the trapezia between 51 thresholds."""
        steps = 51 if self.program == "metrabs" else 200
        grid = torch.linspace(0, FARTHEST, steps, dtype=torch.float64)
        return auc_scores(estimated, truth, thresholds=grid, rule="trapezoid", inclusive=steps == 200)


def _turns(pair: Pair, estimated: Tensor, truth: Tensor, collapsed: Tensor) -> dict[str, Tensor]:
    """(N, 9) degrees between orientations, as they are and after the alignment of the joints."""
    ours = tensor(pair.predictions, "orientations", shape=(24, 3, 3))[:, TURNED]
    theirs = tensor(pair.labels, "orientations", what="labels", shape=(24, 3, 3))[:, TURNED]
    rotation = align(estimated, truth, transform="similarity").rotation
    rotation = torch.where(collapsed[:, None, None], torch.eye(3, dtype=rotation.dtype), rotation)
    return {
        "mpjae_deg": torch.rad2deg(geodesic_angle(ours, theirs)),
        "pa_mpjae_deg": torch.rad2deg(geodesic_angle(rotation[:, None] @ ours, theirs)),
    }
