"""Whom to look at in a picture: virtual cameras at people's boxes, and the boxes that none can be aimed at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Cameras
from marey.methods.metrabs.augmented import Augmentations
from marey.methods.metrabs.looks import with_margin
from marey.methods.metrabs.plausibility import Dropped
from marey.methods.metrabs.virtual_cameras import CropRule, VirtualCameras, look_at_people

_LEAST_SEEN = 8
"""Pixels of the crop that the picture covers, along its longer side."""


class Aims(NamedTuple):
    """Of n people in one picture, A views each."""

    boxes: Tensor
    """(n, 5) left, top, width, height, score."""
    indices: Tensor
    """(n,) of the boxes that were given."""
    cameras: Cameras
    """(n,) of the picture."""
    seen: VirtualCameras
    """n A virtual cameras, the views of a person in a row."""
    dropped: tuple[Dropped, ...]
    """Those of the boxes that are not here."""

    @property
    def crops(self) -> int:
        """How many there are."""
        return self.seen.scale.shape[0]


def aimed(
    boxes: Tensor,
    camera: Cameras,
    size: tuple[int, int],
    *,
    margin: float,
    up: tuple[float, float, float],
    augmentations: Augmentations,
    rule: CropRule,
) -> Aims:
    """Aim at the boxes of a picture.

    Args:
        boxes: (n, 5) left, top, width, height, score.
        camera: () of the picture.
        size: Width and height of the picture.
        margin: How many times as large the boxes are shown.
        up: What is up, in the world if the camera has a place there, else in its own frame.
        augmentations: Views of each person.
        rule: Of the crops.
    """
    cameras = camera.map(lambda values: values.expand(len(boxes), *values.shape)).to(torch.float64)
    upwards = boxes.new_tensor(up).expand(len(boxes), 3)
    if cameras.rotation is not None:
        upwards = (cameras.rotation @ upwards[..., None])[..., 0]
    larger = with_margin(boxes[:, :4], margin)
    seen = look_at_people(larger, cameras, up=upwards, augmentations=augmentations, rule=rule)
    views = len(augmentations)
    scale = seen.scale.reshape(-1, views)
    inside, possible = _within(boxes, size), (scale.isfinite() & (scale > 0)).all(-1)
    visible = (scale * max(size) >= _LEAST_SEEN).all(-1)
    bent = bool(camera.distortion.any())
    blind = "the lens cannot be undone at the box" if bent else "the box spans too wide an angle"
    dropped = [
        *(_outside(row, "the box lies outside of the picture") for row in _rows(~inside)),
        *(_outside(row, blind) for row in _rows(inside & ~possible)),
        *(_outside(row, "the box is far larger than the picture") for row in _rows(inside & possible & ~visible)),
    ]
    good = (inside & possible & visible).nonzero()[:, 0]
    rows = (good[:, None] * views + torch.arange(views)).reshape(-1)
    return Aims(boxes[good], good, cameras[good], VirtualCameras(*(part[rows] for part in seen)), tuple(dropped))


def _within(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(n,) which boxes have a part in the picture."""
    limit = boxes.new_tensor(size) - 0.5
    return ((boxes[:, :2] < limit) & (boxes[:, :2] + boxes[:, 2:4] > -0.5)).all(-1)


def _rows(where: Tensor) -> list[int]:
    rows: list[int] = where.nonzero()[:, 0].tolist()
    return rows


def _outside(index: int, detail: str) -> Dropped:
    return Dropped(index=index, reason="outside", detail=detail)
