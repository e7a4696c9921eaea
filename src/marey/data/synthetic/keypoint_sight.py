"""Which keypoints of any skeleton a synthetic picture shows, by the parts of the body that its pixels show."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.data.synthetic.labels import PixelLabels

_NEAR_SHARE = 0.05
"""Of a keypoint's regressor; parts with less of it are not around the keypoint."""


def keypoint_parts(model: BodyModel, keypoints: str) -> Tensor:
    """(K, parts) boolean: which parts of the body are around each keypoint, those next to them in the tree included.

    Args:
        model: With a regressor of the keypoints.
        keypoints: Their skeleton.
    """
    regressor = model.regressors[keypoints].double()
    parts = model.vertex_parts["joints24"]
    count = len(model.tree.parents)
    share = torch.zeros(len(regressor), count, dtype=torch.float64)
    share.index_add_(1, parts, regressor.abs())
    near = share / share.sum(1, keepdim=True) > _NEAR_SHARE
    linked = torch.eye(count, dtype=torch.bool)
    for child, parent in enumerate(model.tree.parents):
        if parent >= 0:
            linked[child, parent] = linked[parent, child] = True
    return (near.double() @ linked.double()) > 0


def keypoints_seen(keypoints: Tensor, pixels: PixelLabels, near: Tensor) -> Tensor:
    """Whether the pixel of a keypoint shows the first person, and a part of it around the keypoint.

    Args:
        keypoints: (B, V, K, 2) of the first person, pixels.
        pixels: (B, V).
        near: (K, parts) of `keypoint_parts`.

    Returns:
        (B, V, K) boolean.
    """
    height, width = pixels.person.shape[-2:]
    x, y = keypoints.round().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = torch.where(inside, y * width + x, 0.0).long()
    owner, place = (found.flatten(2).gather(2, flat) for found in (pixels.visible, pixels.part.long()))
    joint = torch.arange(keypoints.shape[2], device=keypoints.device)
    return inside & (owner == 0) & near[joint, place.clamp_min(0)] & (place >= 0)
