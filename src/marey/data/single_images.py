"""A prepared data set as a benchmark of single images: each person in each image is a sample of its own.

MuPoTS-3D is measured as its protocol wants it, in the boxes of a person detector (`detections.npz` of its
preparation), whoever they show; all other sets in the boxes of their labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from marey.core import Boxes, Cameras, Image, InputError, MissingAssetError, Observation
from marey.data.colour import BRIGHTER, balance_white, change_exponent
from marey.data.labelled_benchmark import LONGEST, DataChoice
from marey.data.labels import Labels, read_labels, rows_to_score
from marey.data.labels.columns import Array
from marey.data.moment_table import view_names
from marey.data.multiview_rows import damaged_rows
from marey.data.prepare.mupots import DETECTIONS, protocol_rows
from marey.data.prepare.work import LABELS
from marey.geometry.projection import world_to_camera
from marey.io.images import ImageFrames
from marey.io.predictions import PoseRows

DETECTED = ("mupots",)
"""Data sets whose samples are detections."""
IMAGE_PATHS: Mapping[str, str] = {
    "h36m": "h36m/{subject}/Images/{take}.{camera}/frame_{frame:06d}.jpg",
    "3dhp": "3dhp/{sequence}/imageSequence/img_{following:06d}.jpg",
    "mupots": "mupots/{sequence}/img_{frame:06d}.jpg",
}
"""How MeTRAbs calls the images of a data set; `following` counts frames from 1."""

DARK: Mapping[str, int] = {"mupots": 5, "3dhp": 4}
"""Data sets of whose test sequences TS1, TS2, ... so many are shown brighter, as MeTRAbs evaluates them."""
GREEN = "3dhp"
"""Of these, the one whose cast of green light is taken out, too."""


class BrighterFrames(ImageFrames):
    """Images with their values raised by MeTRAbs's exponent and, if they have a cast of green light, without it."""

    def __init__(self, paths: Sequence[Path], *, green: bool) -> None:
        super().__init__(paths)
        self.green = green

    def _decoded(self, start: int, stop: int) -> Iterator[Image]:
        for image in super()._decoded(start, stop):
            brighter = change_exponent(image, BRIGHTER)
            yield balance_white(brighter) if self.green else brighter


class SingleImageBenchmark:
    """A split of a prepared data set as a benchmark of one cell, whose samples are people in images.

    Observations hold one view: pictures, boxes and the camera, with its place if that is known; joints are in the world
    then, else in the camera's frame. People of one camera's take that follow each other come as the frames of one
    observation, at most 16.

    Args:
        folder: With `labels.npz`; paths of pictures begin there.
        choice: Which. Centres are of no use here.

    Raises:
        InputError: there are no labels, or none of the split or the cameras, no pictures, or no boxes.
        MissingAssetError: the samples are detections, and there is no file of them.
        FormatError: the labels are damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], choice: DataChoice | None = None) -> None:
        self.folder, self.choice = Path(folder), choice or DataChoice()
        if self.choice.centers is not None or self.choice.labelled_centers:
            raise InputError("centers: a method for single images finds by itself where people are; leave them out")
        whole = read_labels(self.folder / LABELS)
        self.name, self._whole = whole.name, self._chosen(whole)
        picked = self._chosen(self._detections()) if whole.name in DETECTED else self._whole
        self._labels = picked[self._order(picked)]
        if not len(self._labels):
            raise InputError(f"{self.folder / LABELS}: nobody with a picture and a box is left; see split and views")

    @property
    def cells(self) -> Mapping[str, Labels]:
        """One: the split, with the views where they were chosen."""
        moments = self.choice.moments
        views = f"_views_{'-'.join(moments.views)}" if moments.views else ""
        return {f"{moments.split}{views}": self._labels}

    @property
    def sequences(self) -> tuple[str, ...]:
        """All of the split."""
        return tuple(np.unique(self._whole.images.sequence).tolist())

    @property
    def known_place(self) -> bool:
        """Whether the cameras' places are known, and joints are in the world."""
        return self._labels.cameras is not None and self._labels.cameras.has_extrinsics

    def labels(self, cell: str) -> PoseRows:
        """What is scored against: one row a sample; of detections, everybody who is annotated.

        Raises:
            InputError: there is no such cell.
        """
        self._check(cell)
        return protocol_rows(self._whole) if self.name in DETECTED else self._rows()

    def detections(self, cell: str) -> PoseRows:
        """One row a sample, in their order; `image_path` is what MeTRAbs calls its image, where it has a name.

        Raises:
            InputError: there is no such cell.
        """
        self._check(cell)
        rows = self._rows()
        return replace(rows, benchmark=f"{self._whole.name} {self._whole.version}".strip())

    def samples(self, cell: str, start: int = 0, stop: int | None = None) -> Iterator[Observation]:
        """The evidence of samples start..stop.

        Raises:
            InputError: there is no such cell, or a picture is absent.
            FormatError: a file is no picture.
        """
        self._check(cell)
        labels = self._labels
        places = np.arange(len(labels))[start:stop]
        if not len(places):
            return
        images = labels.image[places]
        keys = (labels.images.sequence[images], labels.images.camera[images], labels.person[places])
        same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
        for run in np.split(places, np.flatnonzero(~same) + 1):
            for part in np.split(run, range(LONGEST, len(run), LONGEST)):
                yield self._observation(part)

    def in_cameras(self, joints: Array, places: Array) -> Array:
        """Joints (N, J, 3) of N samples (N,), as they are scored, in the frames of their cameras."""
        if not self.known_place:
            return joints
        labels = self._labels
        assert labels.cameras is not None  # _order has seen to it
        camera = labels.images.camera[labels.image[places]].astype(np.int64)
        cameras = labels.cameras[torch.from_numpy(camera)]
        found: Array = world_to_camera(torch.from_numpy(joints).double(), cameras).numpy()
        return found

    def _check(self, cell: str) -> None:
        if cell not in self.cells:
            raise InputError(f"cell: no '{cell}' in {self.name}; there is: {', '.join(self.cells)}")

    def _detections(self) -> Labels:
        path = self.folder / DETECTIONS
        if not path.exists():
            raise MissingAssetError(
                f"{path} does not exist: {self.name} is measured in the boxes of a person detector; give them to "
                f"`marey data prepare {self.name} --detections FILE`"
            )
        return read_labels(path)

    def _chosen(self, labels: Labels) -> Labels:
        """Those of the split and the cameras; every so many images, without damaged labels if they shall go."""
        moments = self.choice.moments
        held_out = "validation" if (labels.split == "validation").any() else "test"
        found = labels.of_split(held_out if moments.split == "val" else moments.split)
        if moments.views or moments.ignored_views:
            used = np.isin(found.camera_names(), _names(found, moments.views)) | (not moments.views)
            found = found.of_images(used & ~np.isin(found.camera_names(), _names(found, moments.ignored_views)))
        if moments.every > 1:
            _, place = np.unique(found.images.moment, return_inverse=True)
            found = found.of_images(place.reshape(-1) % moments.every == 0)
        return found if moments.damaged else found[~damaged_rows(found)]

    def _order(self, labels: Labels) -> Array:
        """Rows with a picture, a camera and a box: by take, camera, person and frame."""
        images = labels.images
        if labels.cameras is None or "box" not in labels.values:
            raise InputError(
                f"{self.folder / LABELS}: single images need cameras and boxes, and these labels lack some"
            )
        if not (images.path != "").any():
            raise InputError(f"{self.folder / LABELS}: these labels have no image files; prepare them with images")
        box = labels.values["box"]
        usable = np.isfinite(box).all(-1) & (box[:, 2:] >= 1).all(-1)
        usable &= ((images.path != "") & (images.camera >= 0))[labels.image]
        usable &= labels.values.get("labelled", np.ones(len(labels), dtype=bool))
        rows = np.flatnonzero(usable)
        image = labels.image[rows]
        keys = (images.frame[image], labels.person[rows], images.camera[image], images.sequence[image])
        return np.asarray(rows[np.lexsort(keys)])

    def _rows(self) -> PoseRows:
        labels = self._labels
        rows = rows_to_score(labels, "world" if self.known_place else "camera")
        paths = self._image_paths()
        return replace(rows, values={**rows.values, **({} if paths is None else {"image_path": paths})})

    def _image_paths(self) -> Array | None:
        """(N,) as MeTRAbs calls them; None: it has no name for them."""
        if self.name not in IMAGE_PATHS:
            return None
        images, cameras = self._labels.images, self._labels.camera_names()
        template, image = IMAGE_PATHS[self.name], self._labels.image
        parts = zip(images.sequence[image].tolist(), images.frame[image].tolist(), cameras[image], strict=True)
        return np.array([_path(template, *part) for part in parts], dtype=np.str_)

    def _observation(self, places: Array) -> Observation:
        """T images of one camera's take, with the box of one person in each."""
        labels = self._labels
        images = labels.image[places]
        spans = labels.values["box"][places]
        corners = np.concatenate((spans[:, :2], spans[:, :2] + spans[:, 2:]), axis=-1)
        return Observation(
            frames=(self._pictures(images),),
            boxes=Boxes(corners=torch.from_numpy(corners)[None, :, None], score=torch.ones(1, len(places), 1)),
            cameras=self._camera(int(images[0])),
            start=int(places[0]),
        )

    def _pictures(self, images: Array) -> ImageFrames:
        paths = [self.folder / path for path in self._labels.images.path[images].tolist()]
        dark = {f"TS{number + 1}" for number in range(DARK.get(self.name, 0))}
        if str(self._labels.images.sequence[images[0]]) in dark:
            return BrighterFrames(paths, green=self.name == GREEN)
        return ImageFrames(paths)

    def _camera(self, image: int) -> Cameras:
        """(1,) with the size that the picture has."""
        labels = self._labels
        assert labels.cameras is not None  # _order has seen to it
        cameras = labels.cameras[torch.tensor([int(labels.images.camera[image])])]
        size = torch.from_numpy(labels.images.size[image : image + 1]).to(cameras.dtype)
        names = (str(labels.camera_names()[image]),)
        return replace(cameras, image_size=torch.where(size > 0, size, cameras.image_size), names=names)


def _path(template: str, sequence: str, frame: int, camera: str) -> str:
    subject, _, take = sequence.partition("/")
    return template.format(
        sequence=sequence, subject=subject, take=take, camera=camera, frame=frame, following=frame + 1
    )


def _names(labels: Labels, words: tuple[str, ...]) -> list[str]:
    """Cameras that are named so, or by the place of their view from 0."""
    views, names = view_names(labels), set(labels.camera_names().tolist())
    places = {str(place): view for place, view in enumerate(views)}
    if absent := [word for word in words if word not in names and word not in places]:
        raise InputError(f"views: {labels.name} has no '{absent[0]}'; there are: {', '.join(sorted(names - {''}))}")
    return [name for word in words for name in ((word,) if word in names else places[word])]
