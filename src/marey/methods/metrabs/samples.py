"""Crops of labelled people, of any table of labels, varied as training wants them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError, MissingAssetError, Skeleton
from marey.core.tensors import TensorFields, Trailing
from marey.data.augmentation import (
    AppearanceOptions,
    Cutouts,
    Draws,
    change_appearance,
    child,
    other_background,
    part_of_box,
)
from marey.data.boxes import box_centers, boxes_around
from marey.data.colour import BRIGHTER, balance_white, change_exponent
from marey.data.labels import Labels, joints_in_camera, read_labels
from marey.data.labels.joining import with_skeleton
from marey.data.masks import read_mask
from marey.data.prepare.inria import PERSON_FREE
from marey.data.single_images import DARK, GREEN
from marey.data.training_crops import (
    CropAugmentation,
    CropDraws,
    Interpolation,
    TrainingCrops,
    draw_crop,
    plan_picture_crops,
    plan_training_crops,
    render_training_crop,
)
from marey.io.images import read_image

Array = npt.NDArray[Any]

LABELS = "labels.npz"
_UPS = {
    "x": (1.0, 0, 0),
    "y": (0, 1.0, 0),
    "z": (0, 0, 1.0),
    "-x": (-1.0, 0, 0),
    "-y": (0, -1.0, 0),
    "-z": (0, 0, -1.0),
}
_UP_OF_SET = {"h36m": "z", "3dhp": "y"}
_LOWEST = 0.95
"""Of the height of a picture: labels below are taken for mistakes."""


@dataclass(frozen=True, kw_only=True)
class PeopleSet:
    """Labels that crops are taken from. Paths that are not absolute lie in the folder of the data."""

    labels: str = LABELS
    """What `marey data` wrote, or its folder."""
    images: str = ""
    """Folder at which the labels' paths of images begin; empty: that of `labels`."""
    splits: tuple[str, ...] = ("train",)
    """Those of these that the labels have are used."""
    subjects: tuple[str, ...] = ()
    """Names; none: all."""
    count: int = 32
    """Crops of it in a global batch. Of no effect on validation."""
    up: str = ""
    """Axis of the world that points up, such as `z` or `-y`; `camera`: against the y axis of each camera; empty: what
    is known of the data set by its name, else as `camera`."""
    background: float = 0.0
    """How often people with a mask are shown before another picture."""
    parts: float | None = None
    """How often only a part of the box is shown; None: as the recipe's `crops` say."""

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.background <= 1:
            raise InputError(f"set {self.labels}: expected a count of 1 or more and a background in 0..1")
        if self.up not in ("", "camera", *_UPS):
            raise InputError(f"set {self.labels}: up: expected {', '.join(_UPS)} or camera, got '{self.up}'")


@dataclass(frozen=True, kw_only=True)
class CropStyle:
    """How crops are made of images."""

    side: int
    crops: CropAugmentation | None
    """None: as they are."""
    appearance: AppearanceOptions | None
    """None: as they are."""
    interpolation: Interpolation
    antialias: int
    background: float = 0.0
    longest_box_number: bool = False
    """Pictures are cut by the largest of all four numbers of a box, as published."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CropSamples(TensorFields):
    """B crops and what is known of the person in each; NaN where it is not."""

    images: Annotated[Tensor, Trailing(3, "S", "S")]
    """Red green blue, uint8."""
    intrinsics: Annotated[Tensor, Trailing(3, 3)]
    joints: Annotated[Tensor, Trailing("J", 3)]
    """Metres in the frame of the crop's camera; of the universal skeleton where that is learned."""
    keypoints: Annotated[Tensor, Trailing("K", 2)]
    """Pixels of the crop; of people in space the metric joints, J of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenery:
    """What training puts before and behind people."""

    objects: Cutouts | None = None
    backgrounds: Sequence[Path] = ()
    """Pictures without people."""


class _Made(NamedTuple):
    """A row with its image, and the random numbers of each kind of change."""

    row: int
    image: Image
    appearance: Draws
    background: Draws


@dataclass(frozen=True, kw_only=True, eq=False)
class CropSet:
    """N people of a table of labels that can be cropped, their joints in the order of a skeleton."""

    labels: Labels
    folder: Path
    skeleton: Skeleton
    flat: bool
    """People are only known in pictures: no cameras, no joints in space."""
    rows: Array
    """(N,) rows of the labels."""
    joints: Array
    """(R, J, 3) metric joints in the frames of the cameras; NaN, or no rows, where there are none."""
    targets: Array
    """(R, J, 3) what is learned: those, or those of the universal skeleton."""
    ups: Array | None
    """(R, 3) what is up, in the frames of the cameras; None: against their y axes."""
    scenery: Scenery = field(default_factory=Scenery)

    def __len__(self) -> int:
        return len(self.rows)

    def samples(self, places: Tensor, seeds: Sequence[int], style: CropStyle, *, threads: int = 4) -> CropSamples:
        """The crops of some people.

        Args:
            places: (B,) which of the N.
            seeds: (B,) of all that is random in each crop.
            style: How they are made.
            threads: That read and render at once.

        Raises:
            InputError: an image cannot be read.
            FormatError: an image is damaged.
        """
        rows = self.rows[places.numpy()]
        streams = [_streams(seed, flat=self.flat) for seed in seeds]
        boxes = self.labels.values["box"][rows].astype(np.float64)
        draws = CropDraws.none(len(rows))
        if style.crops is not None:
            boxes = _parts(boxes, [stream.parts for stream in streams], style.crops.parts)
            draws = CropDraws.stack([draw_crop(stream.geometry, style.crops) for stream in streams])
        with ThreadPoolExecutor(threads) as pool:
            images = list(pool.map(self._image, rows.tolist()))
            sizes = np.array([image.shape[1::-1] for image in images], dtype=np.float64)
            crops = self._planned(rows, boxes, sizes, draws, style)
            jobs = [
                _Made(row, image, stream.appearance, stream.background)
                for row, image, stream in zip(rows.tolist(), images, streams, strict=True)
            ]
            pixels = list(pool.map(lambda place: self._pixels(jobs[place], crops, place, style), range(len(rows))))
        return CropSamples(
            images=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(),
            intrinsics=crops.cameras.intrinsics.float(),
            joints=self._joints(self.targets, rows, crops).float(),
            keypoints=self._keypoints(rows, sizes, crops).float(),
        )

    def _image(self, row: int) -> Image:
        return read_image(self.folder / str(self.labels.images.path[self.labels.image[row]]))

    def _planned(self, rows: Array, boxes: Array, sizes: Array, draws: CropDraws, style: CropStyle) -> TrainingCrops:
        if self.flat:
            extent = boxes.max(-1) if style.longest_box_number else None
            return plan_picture_crops(sizes, boxes, draws, side=style.side, extent=extent)
        up = None if self.ups is None else torch.from_numpy(self.ups[rows])
        cameras = replace(_cameras(self.labels, rows), image_size=torch.from_numpy(sizes))
        return plan_training_crops(cameras, boxes, draws, side=style.side, up=up)

    def _pixels(self, made: _Made, crops: TrainingCrops, place: int, style: CropStyle) -> Image:
        way, antialias = style.interpolation, style.antialias
        pixels = render_training_crop(made.image, crops, place, interpolation=way, antialias=antialias)
        pixels = self._brightened(pixels, made.row)
        mask = self._mask(made, style)
        if mask is not None:
            share = render_training_crop(mask, crops, place, interpolation=way, antialias=antialias)
            backgrounds = self.scenery.backgrounds
            behind = read_image(backgrounds[made.background.randint(len(backgrounds))])
            pixels = other_background(pixels, share, behind, made.background)
        if style.appearance is not None:
            pixels = change_appearance(pixels, made.appearance, style.appearance, objects=self.scenery.objects)
        return pixels

    def _mask(self, made: _Made, style: CropStyle) -> Array | None:
        """Of a person who is to be shown elsewhere, (H, W) float32."""
        path = str(self.labels.values["mask"][made.row]) if "mask" in self.labels.values else ""
        if not path or not self.scenery.backgrounds or not style.background:
            return None
        if made.background.rand() >= style.background:
            return None
        return read_mask(self.folder / path).astype(np.float32)

    def _brightened(self, pixels: Image, row: int) -> Image:
        """Dark test sequences as the published loader shows them; stored crops of training are bright already."""
        name, sequence = self.labels.name, str(self.labels.images.sequence[self.labels.image[row]])
        if sequence not in {f"TS{number + 1}" for number in range(DARK.get(name, 0))}:
            return pixels
        pixels = change_exponent(pixels, BRIGHTER)
        return balance_white(pixels) if name == GREEN else pixels

    def _joints(self, joints: Array, rows: Array, crops: TrainingCrops) -> Tensor:
        """Joints in the frames of the crops' cameras (B, J, 3); left and right changed where they are mirrored."""
        if self.flat:
            return torch.full((len(rows), len(self.skeleton), 3), torch.nan, dtype=torch.float64)
        rotation, translation = crops.cameras.extrinsics
        moved = torch.from_numpy(joints[rows]).double() @ rotation.mT + translation[:, None]
        return self._mirrored(moved, crops)

    def _keypoints(self, rows: Array, sizes: Array, crops: TrainingCrops) -> Tensor:
        """(B, J, 2) pixels of the crops: projected metric joints, or labels of the pictures."""
        if not self.flat:
            joints = self._joints(self.joints, rows, crops)
            plane = joints[..., :2] / torch.where(joints[..., 2:] > 0, joints[..., 2:], torch.nan)
            intrinsics = crops.cameras.intrinsics
            return plane @ intrinsics[:, :2, :2].mT + intrinsics[:, None, :2, 2]
        labelled = self.labels.values["keypoints"][rows].astype(np.float64)
        low = labelled[..., 1] > _LOWEST * sizes[:, None, 1]
        labelled[low] = np.nan
        return self._mirrored(torch.from_numpy(crops.pixels(labelled)), crops)

    def _mirrored(self, points: Tensor, crops: TrainingCrops) -> Tensor:
        mirrored = torch.from_numpy(crops.mirrored)[:, None, None]
        return torch.where(mirrored, points[:, list(self.skeleton.mirror)], points)


class _Streams(NamedTuple):
    appearance: Draws
    background: Draws
    geometry: Draws
    parts: Draws


def _streams(seed: int, *, flat: bool) -> _Streams:
    """Random numbers of one crop for each kind of change, from one seed, in the published order."""
    draws = np.random.RandomState(seed)
    appearance = child(draws)
    background = None if flat else child(draws)
    geometry, parts = child(draws), child(draws)
    return _Streams(appearance, background or child(draws), geometry, parts)


def _parts(boxes: Array, draws: Sequence[Draws], share: float) -> Array:
    """The boxes (B, 4), or a part of the square about each, as often as asked."""
    if not share:
        return boxes
    squares = boxes_around(box_centers(boxes), boxes[:, 2:].max(-1, keepdims=True))
    return np.stack(
        [
            part_of_box(square, stream) if share == 1 or stream.rand() < share else box
            for box, square, stream in zip(boxes, squares, draws, strict=True)
        ]
    )


def open_people(chosen: PeopleSet, data: Path | None, skeleton: Skeleton, *, universal: bool = False) -> CropSet:
    """Open a set of people whose joints are known in space.

    Args:
        chosen: Which.
        data: Folder of the data.
        skeleton: Joints, matched by name; what the labels lack is unknown.
        universal: Whether joints of the universal skeleton are learned.

    Raises:
        MissingAssetError: the labels are not there.
        FormatError: they are malformed.
        InputError: they have no cameras, joints or boxes, none of the splits, or nobody is left.
    """
    labels, folder = _opened(chosen, data)
    if not {"joints", "joints_camera"} & set(labels.values) or labels.cameras is None:
        raise InputError(f"{labels.name}: expected labels with joints in space and cameras; is it a set of pictures?")
    if universal and "joints_universal" not in labels.values:
        raise InputError(f"{labels.name}: has no joints of the universal skeleton; set universal_skeleton=false")
    joints = with_skeleton(labels, skeleton)
    metric = joints_in_camera(joints).astype(np.float32)
    targets = _universal(joints) if universal else metric
    known = np.isfinite(targets).all(-1).any(-1) & _boxed(labels) & (labels.images.camera[labels.image] >= 0)
    return CropSet(
        labels=joints,
        folder=folder,
        skeleton=skeleton,
        flat=False,
        rows=_some(known, chosen, labels),
        joints=metric,
        targets=targets,
        ups=_ups(labels, chosen.up or _UP_OF_SET.get(labels.name, "camera")),
    )


def open_pictures(chosen: PeopleSet, data: Path | None, skeleton: Skeleton) -> CropSet:
    """Open a set of people who are only known in pictures.

    Args:
        chosen: Which.
        data: Folder of the data.
        skeleton: Joints, matched by name; what the labels lack is unknown.

    Raises:
        MissingAssetError: the labels are not there.
        FormatError: they are malformed.
        InputError: they have no keypoints or boxes, none of the splits, or nobody is left.
    """
    labels, folder = _opened(chosen, data)
    if "keypoints" not in labels.values:
        raise InputError(f"{labels.name}: expected labels with keypoints")
    labels = with_skeleton(labels, skeleton)
    known = np.isfinite(labels.values["keypoints"]).all(-1).any(-1) & _boxed(labels)
    none = np.empty((0, len(skeleton), 3), dtype=np.float32)
    return CropSet(
        labels=labels,
        folder=folder,
        skeleton=skeleton,
        flat=True,
        rows=_some(known, chosen, labels),
        joints=none,
        targets=none,
        ups=None,
    )


def labelled_joints(chosen: PeopleSet, data: Path | None) -> Skeleton:
    """The joints that a set labels.

    Raises:
        MissingAssetError: the labels are not there.
        FormatError: they are malformed.
    """
    return read_labels(_labels_path(chosen, data)).skeleton


def person_free_pictures(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder that `marey data prepare inria` wrote in which nobody is.

    Raises:
        MissingAssetError: the folder or its list is not there.
    """
    listed = folder / PERSON_FREE
    if not listed.is_file():
        raise MissingAssetError(
            f"backgrounds: expected {listed}; run `marey data prepare inria`, or set backgrounds=''"
        )
    names = sorted(listed.read_text(encoding="utf-8").split("\n"))
    return tuple(folder / "images" / name for name in names if name)


def _labels_path(chosen: PeopleSet, data: Path | None) -> Path:
    place = Path(chosen.labels) if data is None else data / chosen.labels
    path = place / LABELS if place.is_dir() else place
    if not path.exists():
        raise MissingAssetError(
            f"labels: expected {path}; run `marey data prepare`, pass its folder with --data, or name the file in "
            "'labels' of the recipe's set"
        )
    return path


def _opened(chosen: PeopleSet, data: Path | None) -> tuple[Labels, Path]:
    """Labels of the splits and subjects, and the folder of their images."""
    path = _labels_path(chosen, data)
    labels = read_labels(path)
    there = [split for split in chosen.splits if (labels.split == split).any()]
    if not there:
        found = ", ".join(np.unique(labels.split).tolist()) or "none"
        raise InputError(f"{path}: no images of the splits {', '.join(chosen.splits)}; there are: {found}")
    labels = labels.of_split(*there)
    if chosen.subjects:
        labels = labels.of_subjects(*chosen.subjects)
    if "box" not in labels.values:
        raise InputError(f"{path}: these labels have no boxes of people, which crops need")
    folder = path.parent if not chosen.images else (Path(chosen.images) if data is None else data / chosen.images)
    return labels, folder


def _boxed(labels: Labels) -> Array:
    """(R,) whether a row has a box with an area, and an image."""
    box = labels.values["box"]
    sized = np.isfinite(box).all(-1) & (box[:, 2:] > 0).all(-1)
    return np.asarray(sized & (labels.images.path[labels.image] != ""))


def _some(known: Array, chosen: PeopleSet, labels: Labels) -> Array:
    rows = np.flatnonzero(known)
    if not len(rows):
        raise InputError(
            f"{labels.name}: nobody of the {len(labels)} people of {', '.join(chosen.splits)} has an image, a box and "
            "one of the network's joints"
        )
    return rows


def _universal(labels: Labels) -> Array:
    """(R, J, 3) joints of the universal skeleton in the frames of the cameras."""
    own = "joints" if "joints" in labels.values else "joints_camera"
    values = {own: labels.values["joints_universal"]}
    return joints_in_camera(replace(labels, values=values)).astype(np.float32)


def _ups(labels: Labels, up: str) -> Array | None:
    """(R, 3) the axis of the world in the frames of the cameras."""
    if up == "camera" or labels.cameras is None or not labels.cameras.has_extrinsics:
        return None
    rotation = labels.cameras.extrinsics[0].double().numpy()[labels.images.camera[labels.image]]
    turned: Array = rotation @ np.array(_UPS[up])
    return np.where(np.isfinite(turned), turned, np.array([0.0, -1.0, 0.0]))


def _cameras(labels: Labels, rows: Array) -> Cameras:
    """(B,) of the images of rows, each in its own frame."""
    assert labels.cameras is not None
    cameras = replace(labels.cameras, names=())[torch.from_numpy(labels.images.camera[labels.image[rows]]).long()]
    return replace(cameras, rotation=None, translation=None).to(torch.float64)
