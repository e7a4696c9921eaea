"""Synthetic people looked at closely, and people of whom the picture ends before all of them is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Cameras
from marey.engine.captures import Captures, CaptureStream
from marey.engine.seeding import mixed_seed
from marey.geometry.projection_matrices import pinhole_parts
from marey.methods.metrabs.virtual_cameras import CropRule
from marey.methods.metrabs.virtual_crops import crop_views

_LEFT_OVER = 0.3, 0.9
"""Shares of the keypoints in the picture that stay in it."""
_MARGINS = 1.1, 1.5
"""Side of the crop over the longer side of what is left."""
_FLESH = 0.06
"""Of the picture's side, around the keypoints that are left: what belongs to the body beside them."""
_LEAST_JOINTS = 4
"""In the picture, of somebody who is cut off further."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How views of captures change."""

    cut: float = 0.25
    """Share of the views in which the picture ends before all of the person is shown."""
    close: float = 0.4
    """Share of the views that show the whole person, as large as estimators cut people out."""
    turn: float = 25.0
    """Degrees by which cameras of either kind roll, at most."""


class Cuts(NamedTuple):
    """Where N pictures end, and where what is left of the person is."""

    kept: Tensor
    """(N, 4) left, top, right, bottom between pixels of what is left of the picture."""
    boxes: Tensor
    """(N, 4) left, top, width, height of a square around what is left of the person."""
    possible: Tensor
    """(N,) boolean: enough of the person was in the picture."""


@dataclass(frozen=True, kw_only=True)
class FramedCaptures:
    """Captures as they come, framed anew."""

    stream: CaptureStream
    framing: Framing

    def maker(self) -> FramedMaker:
        """What makes them."""
        return FramedMaker(self.stream, self.framing)


class FramedMaker:
    """Renders the shards of one process; called with the number of a global batch."""

    def __init__(self, stream: CaptureStream, framing: Framing) -> None:
        self.make, self.framing = stream.maker(), framing
        firsts = accumulate((people for _, people in stream.tiers), initial=0)
        self.shard = torch.cat(
            [
                first + torch.arange(stream.rank, people, stream.world)
                for first, (_, people) in zip(firsts, stream.tiers, strict=False)
            ]
        )

    def __call__(self, number: int) -> Captures:
        """The shard of a global batch; what is random does not depend on the number of processes."""
        samples, stream = self.make(number), self.make.stream
        people, views = sum(people for _, people in stream.tiers), samples.images.shape[1]
        draws = torch.Generator().manual_seed(mixed_seed("framing", stream.seed, number))
        random = torch.rand(people, views, 6, generator=draws)[self.shard]
        return framed(samples, random.to(samples.joints.device), self.framing)


def framed(samples: Captures, random: Tensor, framing: Framing) -> Captures:
    """Look at people closely, at some after their picture was cut.

    Virtual cameras turn to them, as where people are looked for in pictures; what the picture does not show is black.

    Args:
        samples: One person each.
        random: (B, V, 6) numbers in 0..1: which views, where they are cut, and how the cameras roll.
        framing: How many of each.
    """
    side, random = samples.images.shape[-1], random.flatten(0, 1)
    pixels = _pixels(samples).flatten(0, 1)
    cut, changed = random[:, 0] < framing.cut, random[:, 0] < framing.cut + framing.close
    cuts = draw_cuts(pixels, side, random[:, 1:5], cut=cut)
    places = (changed & cuts.possible).nonzero()[:, 0]
    if not len(places):
        return samples
    images, projections = samples.images.flatten(0, 1), samples.projections.flatten(0, 1)
    turns = math.radians(framing.turn) * (2 * random[places, 5] - 1)
    left = images[places] * _mask(cuts.kept[places], side)
    shown, looking = _looked_at(left, projections[places], cuts.boxes[places], turns)
    usable = looking.isfinite().flatten(1).all(1)  # not where a wide lens sees beside what a virtual camera can
    places, shown, looking = places[usable], shown[usable], looking[usable]
    seen = samples.seen.flatten(0, 1) & (_within(pixels, cuts.kept) | ~cuts.possible[:, None])
    return replace(
        samples,
        images=images.index_copy(0, places, shown).view_as(samples.images),
        projections=projections.index_copy(0, places, looking).view_as(samples.projections),
        seen=seen.view_as(samples.seen),
    )


def draw_cuts(pixels: Tensor, side: int, random: Tensor, *, cut: Tensor) -> Cuts:
    """Cut pictures at a side of the person, so that a share of the keypoints is left, and find boxes.

    Args:
        pixels: (N, K, 2) of the keypoints.
        side: Of the pictures, pixels.
        random: (N, 4) numbers in 0..1: axis, end, share that is left, margin.
        cut: (N,) boolean, which are cut; boxes of the others are around the whole person.
    """
    count = len(pixels)
    whole = pixels.new_tensor([-0.5, -0.5, side - 0.5, side - 0.5]).expand(count, 4)
    inside = _within(pixels, whole)
    number = inside.sum(1)
    axis, sign = (random[:, 0] < 0.5).long(), torch.where(random[:, 1] < 0.5, 1.0, -1.0)
    along = sign[:, None] * pixels.take_along_dim(axis[:, None, None], dim=2)[..., 0]
    order = torch.where(inside, along, torch.inf).sort(dim=1).values
    low, high = _LEFT_OVER
    last = ((low + (high - low) * random[:, 2]) * number).long().clamp(min=1) - 1
    line = sign * (order.take_along_dim(last[:, None], dim=1)[:, 0] + 0.5)
    parts = whole.scatter(1, (axis + torch.where(sign > 0, 2, 0))[:, None], line[:, None])
    kept = torch.where(cut[:, None], parts, whole)
    left = inside & _within(pixels, kept)
    corners = [
        torch.where(left[..., None], pixels, torch.inf).amin(1) - _FLESH * side,
        torch.where(left[..., None], pixels, -torch.inf).amax(1) + _FLESH * side,
    ]
    lowest, highest = torch.maximum(corners[0], kept[:, :2]), torch.minimum(corners[1], kept[:, 2:])
    margin = _MARGINS[0] + (_MARGINS[1] - _MARGINS[0]) * random[:, 3]
    size = (highest - lowest).amax(1) * margin
    boxes = torch.cat(((lowest + highest) / 2 + 0.5 - size[:, None] / 2, size[:, None].expand(-1, 2)), dim=1)
    return Cuts(kept, boxes, (number >= _LEAST_JOINTS) & (size > 0))


def _pixels(samples: Captures) -> Tensor:
    """(B, V, K, 2); NaN behind the camera."""
    projections = samples.projections
    moved = torch.einsum("bvij,bkj->bvki", projections[..., :3], samples.joints) + projections[..., None, :, 3]
    return moved[..., :2] / torch.where(moved[..., 2:] > 0, moved[..., 2:], torch.nan)


def _looked_at(images: Tensor, projections: Tensor, boxes: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and projections of virtual cameras that look at the boxes and roll by turns (N,)."""
    inverse, _ = pinhole_parts(projections)
    side = images.shape[-1]
    cameras = Cameras(
        intrinsics=torch.linalg.inv(inverse),
        distortion=projections.new_zeros(len(projections), 0),
        image_size=projections.new_full((len(projections), 2), side),
    )
    up = torch.stack((turns.sin(), -turns.cos(), torch.zeros_like(turns)), dim=-1)
    own = torch.arange(len(images), device=images.device)
    seen = crop_views(images, boxes, cameras, pictures=own, up=up, rule=CropRule(side=side))
    moved = seen.rotation @ inverse @ projections
    return (255 * seen.images).round().to(torch.uint8), seen.intrinsics @ moved


def _mask(kept: Tensor, side: int) -> Tensor:
    """(N, 1, side, side) uint8: 1 in the rectangles."""
    at = torch.arange(side, device=kept.device)
    across, down = ((at > kept[:, None, axis]) & (at < kept[:, None, axis + 2]) for axis in (0, 1))
    return (down[:, None, :, None] & across[:, None, None, :]).to(torch.uint8)


def _within(pixels: Tensor, corners: Tensor) -> Tensor:
    """(N, K) of pixels (N, K, 2) and rectangles (N, 4)."""
    return ((pixels > corners[:, None, :2]) & (pixels < corners[:, None, 2:])).all(-1)
