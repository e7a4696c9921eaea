"""Crops of the people of an observation, a few at a time, with the cameras that see them.

Frames are read once and in order, none is kept. The lens is taken out of what is cut; the camera keeps its direction
(`marey.data.view_crops`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, FrameSource, Image, InputError, Keypoints2D, Observation, ShapeError
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.view_crops import crop_edges, crop_projections, cut_view
from marey.geometry.projection import distort, normalised_to_pixels, pixels_to_normalised, undistort_pixels
from marey.geometry.small import inverse_2x2
from marey.methods.triangulation.networks import ImageConvention

Array = npt.NDArray[Any]

KEYPOINT_ROOM = 1.2
"""Sides of a person's box over those of the box around the keypoints."""
_LEAST_SIDE = 4.0
"""Pixels of the longer side of a box around keypoints; a single point shows nobody."""
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


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Whom an observation shows where: checked, with a box wherever somebody is."""

    cameras: Cameras
    """(V,) full."""
    frames: tuple[FrameSource, ...]
    """(V,)."""
    start: int
    """First frame."""
    corners: Tensor
    """(V, T, P, 4) of the boxes' parts within the pictures, pixels; NaN where somebody is not seen."""

    @classmethod
    def of(cls, observation: Observation, method: str) -> People:
        """Check an observation.

        Raises:
            InputError: views have no images, or there are neither boxes nor keypoints.
            CalibrationError: the cameras or their places are unknown, or the images have another size. The place of a
                single camera need not be known: its own frame is the world then.
            ShapeError: the parts have different shapes.
        """
        sources, cameras = _sources(observation, method), _calibrated(observation.cameras, method)
        corners = person_corners(observation)
        views = corners.shape[0]
        if cameras.batch_shape != (views,) or len(sources) != views:
            raise ShapeError(
                f"expected cameras, frames and people of the same views, got {cameras.batch_shape}, {len(sources)} and "
                f"{views}"
            )
        sizes = _checked_sizes(cameras, sources)
        within = _within(corners, sizes[:, None, None])
        return cls(cameras=cameras.to(torch.float64), frames=sources, start=observation.start, corners=within)

    @property
    def shape(self) -> tuple[int, int, int]:
        """V, T and P."""
        views, frames, people, _ = self.corners.shape
        return views, frames, people

    @property
    def seen(self) -> Tensor:
        """(V, T, P) boolean: who has a box."""
        return self.corners.isfinite().all(-1)

    def pictures(self) -> Iterator[list[Image]]:
        """The V pictures of each of the T frames.

        Raises:
            InputError: a source ends before.
        """
        count = self.shape[1]
        # a source holds the whole recording, or just these frames
        first = [0 if len(source.timestamps) == count else self.start for source in self.frames]
        readers = [source.frames(at, at + count) for source, at in zip(self.frames, first, strict=True)]
        for frame in range(count):
            pictures = [next(reader, None) for reader in readers]
            read = [picture for picture in pictures if picture is not None]
            if len(read) < len(pictures):
                view = [picture is None for picture in pictures].index(True)
                raise InputError(
                    f"view {view}: its images end at frame {self.start + frame} of {self.start + count}; ask for fewer "
                    "frames"
                )
            yield read


def _sources(observation: Observation, method: str) -> tuple[FrameSource, ...]:
    """(V,) all of them there."""
    missing = [view for view, source in enumerate(observation.frames) if source is None]
    if not observation.frames or missing:
        which = f"view {missing[0]} has" if missing else "there are"
        raise InputError(
            f"the method {method} looks at images, and {which} none; give videos or images of every view, or use the "
            "method classical"
        )
    return tuple(source for source in observation.frames if source is not None)


def _calibrated(cameras: Cameras | None, method: str) -> Cameras:
    if cameras is None:
        raise CalibrationError(
            f"the method {method} needs calibrated cameras; pass a calibration file, or make one with marey calibrate"
        )
    if not cameras.has_extrinsics and cameras.batch_shape == (1,):  # its own frame is the world
        eye = torch.eye(3, dtype=cameras.dtype, device=cameras.device)[None]
        return replace(cameras, rotation=eye, translation=torch.zeros_like(eye[:, 0]))
    if not cameras.has_extrinsics:
        raise CalibrationError(
            f"the method {method} needs the places of the cameras, and these have intrinsics only; calibrate them with "
            "marey calibrate"
        )
    return cameras


def person_corners(observation: Observation) -> Tensor:
    """Boxes (V, T, P, 4) of left, top, right, bottom: those observed, else around the keypoints; NaN where none is.

    Raises:
        InputError: there are neither boxes nor keypoints.
    """
    boxes, keypoints = observation.boxes, observation.keypoints
    if boxes is None and keypoints is None:
        raise InputError("the people's boxes or keypoints are needed to cut them out; run a detector")
    around = None if keypoints is None else _around(keypoints)
    if boxes is None:
        assert around is not None
        return around
    corners = boxes.corners.double()
    there = corners.isfinite().all(-1, keepdim=True) & (boxes.score > 0)[..., None]
    return torch.where(there, corners, torch.nan if around is None else around)


def _around(keypoints: Keypoints2D) -> Tensor:
    spans = expand_boxes(boxes_of_points(keypoints.positions.double().cpu().numpy()), KEYPOINT_ROOM)
    spans = np.where(spans[..., 2:].max(-1, keepdims=True) >= _LEAST_SIDE, spans, np.nan)
    return torch.from_numpy(np.concatenate((spans[..., :2], spans[..., :2] + spans[..., 2:]), axis=-1))


def _within(corners: Tensor, sizes: Tensor) -> Tensor:
    """The parts of boxes (..., 4) within pictures of sizes (..., 2); NaN where there is none."""
    low = corners[..., :2].clamp_min(-0.5)
    high = torch.minimum(corners[..., 2:], sizes - 0.5)
    return torch.where((high > low).all(-1, keepdim=True), torch.cat((low, high), dim=-1), torch.nan)


def _checked_sizes(cameras: Cameras, sources: tuple[FrameSource, ...]) -> Tensor:
    """Widths and heights (V, 2)."""
    sizes = torch.tensor([source.size for source in sources], dtype=torch.float64)
    calibrated = cameras.image_size.double()
    for view, other in enumerate(((sizes != calibrated) & calibrated.isfinite()).any(-1).tolist()):
        if other:
            given, expected = (tuple(int(side) for side in size[view]) for size in (sizes, calibrated))
            raise CalibrationError(
                f"view {view}: its images are {given[0]}x{given[1]} and its calibration is for "
                f"{expected[0]}x{expected[1]}; adapt it with marey.geometry.views.fit_to_image or resize_cameras"
            )
    return sizes


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
