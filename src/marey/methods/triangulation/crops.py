"""Crops of the people of an observation, a few at a time, with the cameras that see them.

Frames are read once and in order, none is kept. The lens is taken out of what is cut; the camera keeps its direction
(`marey.data.view_crops`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image
from marey.data.observed_people import People
from marey.data.view_crops import crop_edges, crop_projections, cut_view
from marey.geometry.projection import distort, normalised_to_pixels, pixels_to_normalised, undistort_pixels
from marey.geometry.small import inverse_2x2
from marey.methods.triangulation.networks import ImageConvention

Array = npt.NDArray[Any]

_CHUNK = 128
"""Frames whose crops are planned together."""


class CropBatch(NamedTuple):
    """Crops of B people at a moment each, all of them seen by n views, though not by the same ones."""

    images: Tensor
    """(B, n, 3, H, W) uint8, red green blue."""
    projections: Tensor
    """(B, n, 3, 4) from the world to pixels of the crops, double precision."""
    edges: Tensor
    """(B, n, 4) left, top, right, bottom of what is shown, whole pixels of the picture without its lens."""
    views: Tensor
    """(B, n) which of the V."""
    frames: Tensor
    """(B,) which of the T."""
    people: Tensor
    """(B,) which of the P."""

    def pick(self, rows: Tensor) -> CropBatch:
        """Some of the people."""
        return CropBatch(*(part[rows] for part in self))


def crop_batches(
    people: People, convention: ImageConvention, *, at_once: int, least_views: int, wanted: Tensor | None = None
) -> Iterator[CropBatch]:
    """Cut people out, those together whom equally many views see.

    Memory: the pictures of one moment, and for every number of views at most `at_once` people's crops.

    Args:
        people: Of an observation.
        convention: Of the network.
        at_once: People in a batch.
        least_views: Who is seen by fewer is left out.
        wanted: (T, P) boolean, others are left out; None: everybody.
    """
    _, count, slots = people.shape
    waiting: dict[int, list[CropBatch]] = {}
    plan = _Plan.empty()
    for frame, pictures in enumerate(people.pictures()):
        if frame % _CHUNK == 0:
            plan = _planned(people, convention, range(frame, min(frame + _CHUNK, count)))
        for person in range(slots):
            edges = plan.edges[:, frame % _CHUNK, person]
            views = torch.nonzero((edges[:, 2:] > edges[:, :2]).all(-1))[:, 0]
            if len(views) < least_views or (wanted is not None and not wanted[frame, person]):
                continue
            row = _cut(people.cameras, pictures, views, edges, convention)._replace(
                projections=plan.projections[views, frame % _CHUNK, person][None],
                frames=torch.tensor([frame]),
                people=torch.tensor([person]),
            )
            rows = waiting.setdefault(len(views), [])
            rows.append(row)
            if len(rows) == at_once:
                yield _joined(waiting.pop(len(views)))
    for rows in waiting.values():
        yield _joined(rows)


class _Plan(NamedTuple):
    """What is cut out of some frames."""

    edges: Tensor
    """(V, T, P, 4); no area where nobody is."""
    projections: Tensor
    """(V, T, P, 3, 4)"""

    @classmethod
    def empty(cls) -> _Plan:
        return cls(torch.empty(0), torch.empty(0))


def _planned(people: People, convention: ImageConvention, frames: range) -> _Plan:
    corners = people.corners[:, frames.start : frames.stop]
    shape = corners.shape[:-1]
    cameras = replace(people.cameras, names=())[torch.arange(shape[0]).repeat_interleave(shape[1] * shape[2])]
    # edges of labels lie between pixels, the first at 0
    spans = torch.cat((corners[..., :2] + 0.5, corners[..., 2:] - corners[..., :2]), dim=-1).reshape(-1, 4).numpy()
    edges = crop_edges(spans, cameras, convention.rule)
    if convention.inside:
        whole = _whole(people, convention)
        edges = _moved_inside(edges, whole.repeat(len(edges) // len(whole), axis=0), convention.box_scale)
    projections = crop_projections(cameras, edges, convention.rule)
    return _Plan(torch.from_numpy(edges).reshape(*shape, 4), projections.reshape(*shape, 3, 4))


def _whole(people: People, convention: ImageConvention) -> Array:
    """(V, 4) of the pictures without their lenses; no area where a lens cannot be undone up to the edge."""
    sizes = np.array([source.size for source in people.frames], dtype=np.float64)
    spans = np.concatenate((np.zeros_like(sizes), sizes), axis=-1)
    return crop_edges(spans, replace(people.cameras, names=()), replace(convention.rule, square=False, scale=1.0))


def _moved_inside(edges: Array, whole: Array, margin: float) -> Array:
    """Squares (R, 4) with a margin about people, made to fit into pictures (R, 4) by moving, or by less of a margin."""
    low, high = edges[:, :2], edges[:, 2:]
    side, room = (high - low)[:, :1], whole[:, 2:] - whole[:, :2]
    least = np.ceil(side / margin).astype(np.int64)
    side = np.minimum(side, np.maximum(least, room.min(-1, keepdims=True)))
    low = (low + high - side) // 2
    fits = (side > 0) & (side <= room)
    shift = np.maximum(whole[:, :2] - low, 0) + np.minimum(whole[:, 2:] - low - side, 0)
    low = low + np.where(fits, shift, 0)
    return np.concatenate((low, low + side), axis=-1)


def _cut(
    cameras: Cameras, pictures: list[Image], views: Tensor, edges: Tensor, convention: ImageConvention
) -> CropBatch:
    """One person; projections, frame and person are to be filled in."""
    shown = edges.numpy()
    crops = [cut_view(pictures[view], shown[view], cameras[view], convention.rule) for view in views.tolist()]
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    nothing = torch.empty(0)
    return CropBatch(images[None], nothing, edges[views][None], views[None], nothing, nothing)


def _joined(rows: list[CropBatch]) -> CropBatch:
    return CropBatch(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def to_pictures(
    points: Tensor, covariance: Tensor, batch: CropBatch, cameras: Cameras, convention: ImageConvention
) -> tuple[Tensor, Tensor]:
    """Points (B, n, J, 2) of crops and their covariance (B, n, J, 2, 2), in pixels of the pictures with their lenses.

    Args:
        points: Pixels of the crops.
        covariance: Square pixels of the crops.
        batch: The crops.
        cameras: (V,) of the pictures.
        convention: Of the network.
    """
    edges = batch.edges.double()
    scale = (edges[..., 2:] - edges[..., :2]) / edges.new_tensor(convention.side)
    half = 0.5 if convention.half_pixels else 0.0
    ideal = (points.double() + half) * scale[..., None, :] - half + edges[..., None, :2]
    spread = scale[..., None, :, None] * covariance.double() * scale[..., None, None, :]
    own = replace(cameras.to(torch.float64), names=())[batch.views]
    pixels = normalised_to_pixels(distort(pixels_to_normalised(ideal, own), own), own)
    _, straightening = undistort_pixels(pixels, own)
    bending = inverse_2x2(straightening)
    return pixels, bending @ spread @ bending.mT
