"""Whom an observation shows where: what methods need that look at people's crops.

Boxes are those observed, or else around the keypoints; frames are read once and in order, none is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from marey.core import (
    CalibrationError,
    Cameras,
    FrameSource,
    Image,
    InputError,
    Keypoints2D,
    Observation,
    ShapeError,
    Skeleton,
)
from marey.data.boxes import boxes_of_points, expand_boxes

KEYPOINT_ROOM = 1.2
"""Sides of a person's box over those of the box around the keypoints."""
_LEAST_SIDE = 4.0
"""Pixels of the longer side of a box around keypoints; a single point shows nobody."""


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


def keypoints_of_skeleton(keypoints: Keypoints2D, joints: Skeleton) -> Keypoints2D:
    """Keypoints in another skeleton, matched by name; NaN for joints that they lack."""
    if keypoints.skeleton.joints == joints.joints:
        return replace(keypoints, skeleton=joints)
    own = keypoints.skeleton
    places = [own.index(name) if name in own else 0 for name in joints.joints]
    there = torch.tensor([name in own for name in joints.joints])
    return Keypoints2D(
        positions=torch.where(there[:, None], keypoints.positions[..., places, :], torch.nan),
        covariance=torch.where(there[:, None, None], keypoints.covariance[..., places, :, :], torch.nan),
        score=torch.where(there, keypoints.score[..., places], 0.0),
        skeleton=joints,
    )
