"""How well predictions lie on the labels of 3DPW's image, or on each other: what MeTRAbs hands out tracks by."""

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


def pose_agreement(first: Tensor, second: Tensor, *, reach: float = 0.3, closest: int = 5) -> Tensor:
    """Agreement of poses with poses, in 0..1: what doubles are found by, and people in the next frame.

    The mean over the joints that are closest to each other of 1 - distance / reach, not below 0. MeTRAbs takes the
    defaults for doubles within a frame, and 0.5 metres and 20 joints for the next frame.

    Args:
        first: (A, J, 3) metres.
        second: (B, J, 3) metres.
        reach: Metres from which on two joints have nothing in common.
        closest: How many joints count.

    Returns:
        (A, B), 0 where a joint of one of the two is not known.

    Raises:
        ShapeError: these are not poses of the same joints.
    """
    if first.ndim != 3 or first.shape[1:] != second.shape[1:] or first.shape[-1] != 3:
        raise ShapeError(f"expected poses (A, J, 3) and (B, J, 3), got {tuple(first.shape)} and {tuple(second.shape)}")
    distances = torch.linalg.vector_norm(first[:, None] - second, dim=-1)
    near = distances.sort(-1).values[..., :closest]
    known = first.isfinite().flatten(1).all(-1)[:, None] & second.isfinite().flatten(1).all(-1)
    return torch.where(known, (1 - near / reach).clamp_min(0).mean(-1), 0.0)
