"""What the trunk learns from: synthetic pictures of one person in the middle, and of whole scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.core.tensors import TensorFields, Trailing
from marey.data.synthetic import SyntheticBatch
from marey.data.synthetic.keypoint_sight import keypoints_seen
from marey.nn.trunk import KEYPOINTS, STRIDE

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


def trunk_samples(batch: SyntheticBatch, near: Tensor, *, whole_scene: bool) -> TrunkSamples:
    """Targets of pictures of one view each.

    Args:
        batch: Labelled with the skeleton of the keypoints.
        near: (K, parts) of `keypoint_parts`.
        whole_scene: The pictures show scenes: no person is in the middle.
    """
    pixels, keypoints = batch.pixels, batch.skeletons_2d[KEYPOINTS][:, :, 0]
    parts = near.shape[1]
    shown = torch.where(pixels.visible[:, 0] >= 0, pixels.part[:, 0].long(), parts)
    keypoints, seen = keypoints[:, 0], keypoints_seen(keypoints, pixels, near)[:, 0]
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


def keypoint_names() -> tuple[str, ...]:
    """Of the keypoints, in order."""
    return skeleton(KEYPOINTS).joints
