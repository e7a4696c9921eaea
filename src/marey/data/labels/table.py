"""The table of labels: images, the people in them, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from marey.core import Cameras, InputError, ShapeError, Skeleton
from marey.data.labels.columns import Array, check_integers, check_numbers, check_text, rows_named
from marey.io.predictions import places_in_groups

SPLITS = ("train", "validation", "test")

_TEXTS = ("subject", "action", "scene", "gender", "mask")
_BODY = {"smpl_orientation": 3, "smpl_pose": 69, "smpl_shape": 10, "smpl_translation": 3}


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """I images. Those of one `moment` were taken at the same time of the same scene."""

    path: Array
    """(I,) text: file below the labels' folder, with forward slashes; empty: the data set has no file of it."""
    size: Array
    """(I, 2) integers, width and height in pixels; 0 where unknown."""
    camera: Array
    """(I,) integers, place among the cameras of the labels; -1 unknown."""
    sequence: Array
    """(I,) text: the take. All cameras of a take share it; with `frame` and `camera` it names one image."""
    frame: Array
    """(I,) integers, 0 the first of the take."""
    moment: Array
    """(I,) integers; each image its own where nothing is simultaneous."""
    view: Array | None = None
    """(I,) integers, which of the cameras that film together took it. None: the rank of its camera among those."""

    def __post_init__(self) -> None:
        count = len(self)
        check_text("images.path", self.path, count)
        check_text("images.sequence", self.sequence, count)
        if self.size.shape != (count, 2) or self.size.dtype.kind not in "iu":
            raise ShapeError(f"images.size: expected ({count}, 2) integers, got {self.size.shape} of {self.size.dtype}")
        if len(wrong := np.flatnonzero((self.size < 0).any(axis=1))):
            raise InputError(f"images.size: negative in {rows_named(wrong)}; 0 is unknown")
        check_integers("images.camera", self.camera, count, least=-1)
        check_integers("images.frame", self.frame, count)
        check_integers("images.moment", self.moment, count)
        if self.view is not None:
            check_integers("images.view", self.view, count)
        rooted = np.char.startswith(self.path, "/") | (np.char.find(self.path, "\\") >= 0)
        if len(wrong := np.flatnonzero(rooted)):
            raise InputError(
                f"images.path: expected a path relative to the labels, with forward slashes, got "
                f"'{self.path[wrong[0]]}' in {rows_named(wrong)}"
            )

    def __len__(self) -> int:
        return len(self.path)

    def __getitem__(self, places: Array) -> Images:
        """Some images, by indices or by a mask."""
        return Images(
            path=self.path[places],
            size=self.size[places],
            camera=self.camera[places],
            sequence=self.sequence[places],
            frame=self.frame[places],
            moment=self.moment[places],
            view=None if self.view is None else self.view[places],
        )

    def views(self) -> Array:
        """(I,) which of the cameras that film together took each image.

        Cameras film together if a chain of shared moments links them. An image of an unknown camera has its place
        among those of its moment.
        """
        if self.view is not None:
            return self.view
        views = places_in_groups(self.moment)
        known = self.camera >= 0
        if known.any():
            cameras, place = np.unique(self.camera[known], return_inverse=True)
            rig = _linked(place, np.unique(self.moment[known], return_inverse=True)[1], len(cameras))
            views[known] = places_in_groups(rig)[place]
        return views


def _linked(first: Array, second: Array, count: int) -> Array:
    """(count,) for each of the first kind the least of those linked with it through members (N,) of the second."""
    label = np.arange(count)
    while True:
        shared = np.full(int(second.max()) + 1, count)
        np.minimum.at(shared, second, label[first])
        found = label.copy()
        np.minimum.at(found, first, shared[second])
        if (found == label).all():
            return label
        label = found


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """R rows, each one person in one image, of I images. What is not known is NaN, or its array is absent.

    Known names in `values`: `joints` (R, J, 3) metres in the world, `joints_camera` in the camera's frame,
    `joints_universal` of the universal skeleton; `keypoints` (R, J, 2) pixels of the image; `visible` (R, J) booleans;
    `box` (R, 4) left, top, width, height in pixels; `score` (R,); `subject`, `action`, `scene`, `gender` (R,) text;
    `mask` (R,) text, path of a PNG as the images' paths; `smpl_orientation` (R, 3) and `smpl_pose` (R, 69) radians,
    axis-angle, `smpl_shape` (R, 10), `smpl_translation` (R, 3) metres. Other arrays of R entries may stand beside them.
    """

    name: str
    """Of the data set, such as `h36m`."""
    version: str
    """Of these labels: another one means other numbers."""
    skeleton: Skeleton
    """J joints."""
    images: Images
    split: Array
    """(I,) text: train, validation or test."""
    image: Array
    """(R,) integers: which image."""
    person: Array
    """(R,) integers: who it is within the sequence; nobody comes twice in an image."""
    values: Mapping[str, Array] = field(default_factory=dict)
    cameras: Cameras | None = None
    """(C,)"""

    def __post_init__(self) -> None:
        count = len(self.image)
        check_text("split", self.split, len(self.images), allowed=SPLITS)
        check_integers("image", self.image, count, below=len(self.images))
        check_integers("person", self.person, count)
        if self.cameras is not None and len(self.cameras.batch_shape) != 1:
            raise ShapeError(f"cameras: expected (C,), got {self.cameras.batch_shape}")
        cameras = 0 if self.cameras is None else self.cameras.batch_shape[0]
        check_integers("images.camera", self.images.camera, len(self.images), least=-1, below=cameras)
        if len(doubled := np.flatnonzero(places_in_groups(self.image, self.person))):
            raise InputError(f"person: {rows_named(doubled)} come twice: the same person in the same image")
        for name, column in self.values.items():
            self._check_value(name, column, count)

    def _check_value(self, name: str, column: Array, count: int) -> None:
        joints = len(self.skeleton)
        shapes = {
            **dict.fromkeys(("joints", "joints_camera", "joints_universal"), (count, joints, 3)),
            "keypoints": (count, joints, 2),
            "box": (count, 4),
            "score": (count,),
            **{body: (count, size) for body, size in _BODY.items()},
        }
        if name in _TEXTS:
            check_text(name, column, count)
        elif name == "visible":
            check_numbers(name, column, (count, joints), kinds="b")
        elif name in shapes:
            check_numbers(name, column, shapes[name])
        elif column.ndim == 0 or len(column) != count or column.dtype.kind not in "fiubU":
            raise ShapeError(
                f"{name}: expected {count} numbers, booleans or texts, one a row, got {column.shape} of {column.dtype}"
            )

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Array) -> Labels:
        """Some rows, by indices or by a mask, and the images they are in."""
        picked = np.arange(len(self))[rows]
        used, image = np.unique(self.image[picked], return_inverse=True)
        return replace(
            self,
            images=self.images[used],
            split=self.split[used],
            image=image.reshape(-1),
            person=self.person[picked],
            values={name: column[picked] for name, column in self.values.items()},
        )

    def of_images(self, images: Array) -> Labels:
        """Some images, by indices or by a mask, with or without people, and everybody in them."""
        picked = np.arange(len(self.images))[images]
        place = np.full(len(self.images), -1)
        place[picked] = np.arange(len(picked))
        rows = np.flatnonzero(place[self.image] >= 0)
        return replace(
            self,
            images=self.images[picked],
            split=self.split[picked],
            image=place[self.image[rows]],
            person=self.person[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )

    def of_split(self, *splits: str) -> Labels:
        """The images of some splits.

        Raises:
            InputError: there are none of one of them.
        """
        return self.of_images(self._chosen("split", self.split, splits))

    def of_cameras(self, *names: str) -> Labels:
        """The images of some cameras, by name.

        Raises:
            InputError: there are none of one of them.
        """
        return self.of_images(self._chosen("camera", self.camera_names(), names))

    def of_subjects(self, *subjects: str) -> Labels:
        """The rows of some subjects, and their images.

        Raises:
            InputError: there are none of one of them, or the labels name no subjects.
        """
        if "subject" not in self.values:
            raise InputError(f"{self.name}: these labels do not say who is who; pick people by sequence or camera")
        return self[self._chosen("subject", self.values["subject"], subjects)]

    def _chosen(self, what: str, column: Array, wanted: tuple[str, ...]) -> Array:
        there = np.unique(column)
        if absent := [name for name in wanted if name not in there]:
            raise InputError(f"{self.name}: no {what} '{absent[0]}'; there are: {', '.join(there.tolist()) or 'none'}")
        return np.isin(column, wanted)

    def camera_names(self) -> Array:
        """(I,) text: the name of each image's camera, its place where it has no name, empty where unknown."""
        count = 0 if self.cameras is None else self.cameras.batch_shape[0]
        names = self.cameras.names if self.cameras is not None and self.cameras.names else map(str, range(count))
        return np.array([*names, ""], dtype=np.str_)[self.images.camera]

    def by_moment(self) -> Array:
        """(M, V) rows of each person at each moment, one column a view; -1 where the person is not labelled there.

        Raises:
            InputError: a person comes twice in one view at one moment.
        """
        moment, view = self.images.moment[self.image], self.images.views()[self.image]
        if len(doubled := np.flatnonzero(places_in_groups(moment, self.person, view))):
            raise InputError(f"images: {rows_named(doubled)} show a person twice in one view at one moment")
        moments = np.unique(moment, return_inverse=True)[1].reshape(-1)
        people, person = np.unique(self.person, return_inverse=True)
        group = np.unique(moments * max(len(people), 1) + person.reshape(-1), return_inverse=True)[1].reshape(-1)
        table = np.full((int(group.max(initial=-1)) + 1, int(view.max(initial=-1)) + 1), -1)
        table[group, view] = np.arange(len(self))
        return table
