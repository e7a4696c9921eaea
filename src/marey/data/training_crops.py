"""Crops of people as training shows them: square, upright but for a random turn, moved, zoomed and mirrored at random.

The camera of a crop stands where that of the image does, so that it sees every joint exactly where the crop shows it.
Where the image's camera is known it turns towards the person and its lens is taken out; where it is not, the image is
taken for one of a narrow field of view, and cut without perspective.

    draws = [draw_crop(np.random.RandomState(seed), options) for seed in seeds]
    crops = plan_training_crops(cameras, boxes, CropDraws.stack(draws), side=256, up=(0, 0, 1))
    pixels = render_training_crop(image, crops, 0, interpolation="linear")

Source: specification of MeTRAbs, section 2.3. Boxes are left, top, width, height in pixels whose centres are integers;
as in the original the principal point of a crop lies at half its side, not at the middle of its pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError
from marey.core.tensors import TensorFields, Trailing
from marey.data.augmentation import Draws, point_in_disc
from marey.data.boxes import box_centers
from marey.data.crops import Up, moved_pixels, placed, source_places, upright_towards

Array = npt.NDArray[Any]
Interpolation = Literal["nearest", "linear", "cubic"]

PICTURE_FIELD = 8.0
"""Degrees along the longer side of an image whose camera is unknown."""
_WAYS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, kw_only=True)
class CropAugmentation:
    """How crops vary; the defaults are MeTRAbs's."""

    geometric: bool = True
    """False: neither moved, zoomed nor turned."""
    shift: float = 0.10
    """Most by which the middle is off, times the longer side of the box."""
    zoom_out: float = 0.25
    zoom_in: float = 0.25
    """Scales are drawn from 1 - `zoom_out` to 1 + `zoom_in`."""
    turn: float = 20.0
    """Degrees, to either side."""
    full_turn: float = 0.0
    """How often a crop may be turned by any angle instead."""
    mirrored: float = 0.5
    """How often left and right are exchanged, also where nothing else is `geometric`."""
    parts: float = 0.0
    """How often only a square part of the box is shown, of more than half its side."""

    def __post_init__(self) -> None:
        for name in ("full_turn", "mirrored", "parts"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a share in 0..1, got {getattr(self, name)}")
        if not 0 <= self.shift < 1 or not 0 <= self.zoom_out < 1 or self.zoom_in < 0:
            raise InputError(
                "crops: expected a shift and zoom_out in 0..1 and zoom_in of 0 or more, got "
                f"{self.shift}, {self.zoom_out}, {self.zoom_in}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CropDraws(TensorFields):
    """What was drawn for R crops."""

    shift: Annotated[Tensor, Trailing(2)]
    """Of the middle, times the longer side of the box."""
    zoom: Annotated[Tensor, Trailing()]
    turn: Annotated[Tensor, Trailing()]
    """Radians: the camera turns clockwise about its axis, the picture against it."""
    mirrored: Annotated[Tensor, Trailing()]
    """Boolean."""

    @classmethod
    def none(cls, count: int) -> CropDraws:
        """Crops as they are."""
        zeros = torch.zeros(count, dtype=torch.float64)
        return cls(shift=zeros.new_zeros(count, 2), zoom=zeros + 1, turn=zeros, mirrored=zeros.bool())


def draw_crop(draws: Draws, options: CropAugmentation) -> CropDraws:
    """Draw how one crop varies, batch shape ().

    Args:
        draws: Random numbers, taken in the published order: shift, zoom, turn, mirror.
        options: How.
    """
    shift, zoom, turn = np.zeros(2), 1.0, 0.0
    if options.geometric:
        shift = point_in_disc(draws) * options.shift
        zoom = draws.uniform(1 - options.zoom_out, 1 + options.zoom_in)
        most = math.pi if options.full_turn and draws.rand() < options.full_turn else math.radians(options.turn)
        turn = draws.uniform(-most, most)
    mirrored = bool(options.mirrored) and draws.rand() < options.mirrored
    wide = {name: torch.tensor(value, dtype=torch.float64) for name, value in (("zoom", zoom), ("turn", turn))}
    return CropDraws(shift=torch.from_numpy(shift), mirrored=torch.tensor(mirrored), **wide)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCrops:
    """R crops to be rendered."""

    sources: Cameras
    """(R,) of the images."""
    cameras: Cameras
    """(R,) of the crops, at the same places, without a lens; the rotation of a mirrored one has determinant -1."""
    mirrored: Array
    """(R,) boolean: joints of the left are shown where those of the right would be."""
    side: int

    def pixels(self, keypoints: Array) -> Array:
        """Where pixels (R, N, 2) of the images lie in the crops, NaN where unknown; left stays left."""
        return moved_pixels(keypoints, self.sources, self.cameras)


def picture_cameras(sizes: Array) -> Cameras:
    """Cameras (R,) for images of widths and heights (R, 2) whose real ones are unknown: a narrow field of view."""
    size = torch.as_tensor(np.asarray(sizes), dtype=torch.float64)
    focal = size.amax(-1) / 2 / math.tan(math.radians(PICTURE_FIELD) / 2)
    intrinsics = torch.diag_embed(torch.stack((focal, focal, torch.ones_like(focal)), -1))
    intrinsics[:, :2, 2] = size / 2
    return Cameras(
        intrinsics=intrinsics,
        distortion=size[:, :0],
        image_size=size,
        rotation=torch.eye(3, dtype=torch.float64).repeat(len(size), 1, 1),
        translation=torch.zeros(len(size), 3, dtype=torch.float64),
    )


def plan_training_crops(
    cameras: Cameras, boxes: Array, draws: CropDraws, *, side: int, up: Up | Tensor | None = None
) -> TrainingCrops:
    """Say what crops of images with known cameras show.

    Args:
        cameras: (R,) of the images, with intrinsics or more.
        boxes: (R, 4) in the images.
        draws: (R,) how they vary.
        side: Of the crops, pixels.
        up: What is up in the world, one for all or (R, 3); None: against the y axis of each camera.
    """
    sources = placed(replace(cameras.to(torch.float64), names=()))
    boxes = np.asarray(boxes, dtype=np.float64)
    size = boxes[:, 2:]
    longer = size.max(-1, keepdims=True)
    middle = box_centers(boxes) + draws.shift.numpy() * longer
    half = np.where((size[:, :1] < size[:, 1:]), (0.0, 0.5), (0.5, 0.0)) * longer
    turned = upright_towards(sources, middle, up=up)
    square = turned.intrinsics.clone()
    focal = square[:, (0, 1), (0, 1)]
    square[:, :2] *= (focal.mean(-1, keepdim=True) / focal)[..., None]
    turned = replace(turned, intrinsics=square)
    ends = moved_pixels(np.stack((middle - half, middle + half), axis=1), sources, turned)
    seen = torch.from_numpy(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1))
    return _varied(sources, turned, side / seen * draws.zoom, draws, side=side)


def plan_picture_crops(
    sizes: Array, boxes: Array, draws: CropDraws, *, side: int, extent: Array | None = None
) -> TrainingCrops:
    """Say what crops of images show whose cameras are unknown; they are cut, scaled and turned without perspective.

    Args:
        sizes: (R, 2) width and height of the images.
        boxes: (R, 4) in the images.
        draws: (R,) how they vary.
        side: Of the crops, pixels.
        extent: (R,) pixels of the images that a side shows before it varies, and that shifts are measured in; None:
            the longer side of the box.
    """
    sources = picture_cameras(sizes)
    boxes = np.asarray(boxes, dtype=np.float64)
    extent = boxes[:, 2:].max(-1) if extent is None else extent
    middle = box_centers(boxes) + draws.shift.numpy() * extent[:, None]
    crops = _varied(sources, sources, side / torch.from_numpy(extent) * draws.zoom, draws, side=side)
    shown = torch.from_numpy(crops.pixels(middle[:, None])[:, 0])
    intrinsics = crops.cameras.intrinsics.clone()
    intrinsics[:, :2, 2] += side / 2 - shown
    return replace(crops, cameras=replace(crops.cameras, intrinsics=intrinsics))


def render_training_crop(
    image: Image, crops: TrainingCrops, row: int, *, interpolation: Interpolation = "linear", antialias: int = 1
) -> Image:
    """The pixels (side, side, 3) of one crop, or (side, side) of one channel; black where the image has none.

    Args:
        image: (H, W, 3) or (H, W).
        crops: R crops.
        row: Which of them.
        interpolation: Between pixels of the image, in stored values.
        antialias: Rendered so many times as large, then averaged.
    """
    side = crops.side
    x, y = source_places(crops.sources[row], crops.cameras[row], size=(side, side), antialias=antialias)
    pixels = cv2.remap(image, x, y, _WAYS[interpolation], borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    if antialias > 1:
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(pixels)


def _varied(sources: Cameras, cameras: Cameras, zoom: Tensor, draws: CropDraws, *, side: int) -> TrainingCrops:
    """Cameras (R,) zoomed by factors (R,), turned about their axes and mirrored; the axis meets the middle."""
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, :2, :2] *= zoom[:, None, None]
    intrinsics[:, :2, 2] = side / 2
    sign = torch.where(draws.mirrored, -1.0, 1.0).to(zoom)
    cosine, sine, none = draws.turn.cos(), draws.turn.sin(), torch.zeros_like(zoom)
    rows = (sign * cosine, sign * sine, none, -sine, cosine, none, none, none, none + 1)
    turn = torch.stack(rows, -1).view(-1, 3, 3)
    rotation, translation = cameras.extrinsics
    varied = Cameras(
        intrinsics=intrinsics,
        distortion=cameras.distortion[..., :0],
        image_size=torch.full_like(cameras.image_size, side),
        rotation=turn @ rotation,
        translation=(turn @ translation[..., None])[..., 0],
    )
    return TrainingCrops(sources=sources, cameras=varied, mirrored=draws.mirrored.numpy(), side=side)
