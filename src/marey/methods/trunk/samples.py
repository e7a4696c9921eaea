"""What the trunk learns from: synthetic pictures of one person in the middle, and of whole scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.core.skeletons import skeleton
from marey.core.tensors import TensorFields, Trailing
from marey.data.synthetic import SyntheticBatch
from marey.nn.trunk import KEYPOINTS, STRIDE

_NEAR_SHARE = 0.05
"""Of a keypoint's regressor; parts with less of it are not around the keypoint."""
_LEAST_SEEN = 0.2
"""Of a person in the picture and not covered, to be looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrunkSamples(TensorFields):
    """N pictures and what they show; P people at most, K keypoints."""

    images: Annotated[Tensor, Trailing(3, "H", "W")]
    """uint8."""
    keypoints: Annotated[Tensor, Trailing("K", 2)]
    """Of the person in the middle, pixels; NaN where there is none to learn: scenes, and what no lens could see."""
    seen: Annotated[Tensor, Trailing("K")]
    """Boolean: in the picture, and nothing before it."""
    parts: Annotated[Tensor, Trailing("h", "w")]
    """int64 at the resolution of the maps; the part that is seen, or the number of parts for none."""
    boxes: Annotated[Tensor, Trailing("P", 4)]
    """Left, top, right, bottom in pixels of everybody to be found; NaN for the others."""


def keypoint_parts(model: BodyModel) -> Tensor:
    """(K, parts) boolean: which parts of the body are around each keypoint, those next to them in the tree included."""
    regressor = model.regressors[KEYPOINTS].double()
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


def trunk_samples(batch: SyntheticBatch, near: Tensor, *, whole_scene: bool) -> TrunkSamples:
    """Targets of pictures of one view each.

    Args:
        batch: Labelled with the skeleton of the keypoints.
        near: (K, parts) of `keypoint_parts`.
        whole_scene: The pictures show scenes: no person is in the middle.
    """
    keypoints = batch.skeletons_2d[KEYPOINTS][:, 0, 0]
    pixels = batch.pixels
    parts = near.shape[1]
    shown = torch.where(pixels.visible[:, 0] >= 0, pixels.part[:, 0].long(), parts)
    seen = _seen(keypoints, pixels.visible[:, 0], pixels.part[:, 0].long(), near)
    if whole_scene:
        keypoints, seen = torch.full_like(keypoints, torch.nan), torch.zeros_like(seen)
    views = batch.views
    share = (1 - views.truncated[:, 0]) * (1 - views.occluded[:, 0])
    boxes = torch.where((batch.people.present & (share > _LEAST_SEEN))[..., None], views.box[:, 0], torch.nan)
    middle = STRIDE // 2
    return TrunkSamples(
        images=batch.images[:, 0],
        keypoints=keypoints,
        seen=seen,
        parts=shown[:, middle::STRIDE, middle::STRIDE],
        boxes=boxes,
    )


def _seen(keypoints: Tensor, person: Tensor, part: Tensor, near: Tensor) -> Tensor:
    """(N, K): the pixel of the keypoint shows the first person, and a part of it around the keypoint."""
    height, width = person.shape[-2:]
    x, y = keypoints.round().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = torch.where(inside, y * width + x, 0.0).long()
    owner, place = person.flatten(1).gather(1, flat), part.flatten(1).gather(1, flat)
    joint = torch.arange(keypoints.shape[1], device=keypoints.device)
    return inside & (owner == 0) & near[joint, place.clamp_min(0)] & (place >= 0)


def keypoint_names() -> tuple[str, ...]:
    """Of the keypoints, in order."""
    return skeleton(KEYPOINTS).joints
