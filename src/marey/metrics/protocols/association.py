"""How well predictions lie on the labels of 3DPW's image: what MeTRAbs hands out tracks by."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import ShapeError
from marey.core.skeletons import skeleton

SMPL = skeleton("smpl_24")
JOINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_hip", "right_hip", "left_knee", "right_knee",
)  # fmt: skip
CONFIDENT = 0.2
"""Least score of a labelled keypoint that counts."""
ENOUGH = 5
"""Such keypoints; with fewer the prediction is compared with the track's last one."""


def track_agreement(keypoints: Tensor, scores: Tensor, predicted: Tensor, *, previous: Tensor | None = None) -> Tensor:
    """Agreement of the labelled tracks of a frame with its predictions, in 0..1: what an assignment makes largest.

    The mean over the joints that count of 1 - distance, not below 0, in units of the prediction's right shoulder to
    left hip.

    Args:
        keypoints: (T, 8, 2) pixels of `JOINTS`, of each track.
        scores: (T, 8) of them.
        predicted: (P, 24, 2) pixels, SMPL.
        previous: (T, 24, 2) what each track was given last, NaN = nothing; None: nothing yet.

    Returns:
        (T, P), 0 where nothing can be compared.

    Raises:
        ShapeError: these are not such joints.
    """
    if keypoints.shape[1:] != (8, 2) or scores.shape != keypoints.shape[:2] or predicted.shape[1:] != (24, 2):
        raise ShapeError(
            f"expected keypoints (T, 8, 2), scores (T, 8) and predicted (P, 24, 2), got {tuple(keypoints.shape)}, "
            f"{tuple(scores.shape)} and {tuple(predicted.shape)}"
        )
    counted = scores >= CONFIDENT
    few = counted.sum(-1) < ENOUGH
    places = SMPL.indices(JOINTS)
    before = torch.full_like(keypoints, torch.nan) if previous is None else previous[:, places]
    target = torch.where(few[:, None, None], before, keypoints)
    counted = torch.where(few[:, None], before.isfinite().all(-1), counted)
    ends = predicted[:, SMPL.index("right_shoulder")] - predicted[:, SMPL.index("left_hip")]
    distances = torch.linalg.vector_norm(target[:, None] - predicted[:, places], dim=-1)
    near = (1 - distances / torch.linalg.vector_norm(ends, dim=-1)[:, None]).clamp_min(0)
    near = torch.where(counted[:, None], near.nan_to_num(), 0.0)
    return near.sum(-1) / counted.sum(-1).clamp_min(1)[:, None]
