"""Predicted poses of a data set drawn over its pictures once more, without any model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, Image, InputError, Skeleton, skeleton, skeleton_names
from marey.data.boxes import boxes_of_points
from marey.data.moment_table import MomentTable, moment_table, rows_of_moments
from marey.data.precomputed_centers import PredictionFile, predictions_of_samples
from marey.data.prepare.pelvis import pelvis_of_rows
from marey.data.square_boxes import cut_out
from marey.geometry.projection import project
from marey.io.atomic import check_writable
from marey.io.images import read_image, write_image
from marey.io.predictions import PoseRows
from marey.pipeline.drawn_data import DrawnData
from marey.pipeline.progress import Stages
from marey.viz.views_figure import ViewDrawing, views_figure

Array = npt.NDArray[Any]

TILE = 320
"""Pixels: side of the picture of one view."""
_ROOM = 1.3
"""Times the longer side of the box that is shown."""
_WIDEST = 2.0
"""Times the picture's longer side: where a volume reaches further, near the camera, the whole picture is shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Redrawing:
    """Predictions, each with the sample that it is of."""

    predictions: PoseRows
    """Of the samples only."""
    samples: MomentTable
    """As many, in the same order."""
    data: DrawnData

    def __len__(self) -> int:
        return len(self.predictions)

    def figure(self, place: int) -> Image:
        """Draw one pose: a column for each view, rows of what is known.

        Raises:
            InputError: a picture cannot be read.
            FormatError: a file is no picture.
        """
        views = [view for view in range(self.samples.rows.shape[1]) if self.samples.rows[place, view] >= 0]
        return views_figure(
            [self._drawing(place, view) for view in views],
            self._skeleton,
            labelled=self.samples.labels.skeleton,
            title=self._title(place),
        )

    def name(self, place: int) -> str:
        """Of a pose's file: its number, sequence, frame and person."""
        rows = self.predictions
        words = f"{rows.sequence[place]}_{rows.frame[place]:06d}_{rows.person[place]}"
        return f"{place:06d}_" + "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in words)

    @cached_property
    def _skeleton(self) -> Skeleton:
        return skeleton_of(self.predictions.joint_names)

    @cached_property
    def _truth(self) -> Array:
        """Metres in the world, (N, K, 3)."""
        truth: Array = rows_of_moments(self.samples).values["joints"]
        return truth

    @cached_property
    def _corners(self) -> Array | None:
        """Of each person's volume in the world, (N, 8, 3)."""
        if self.data.cuboid_side is None:
            return None
        bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
        corners: Array = pelvis_of_rows(self.predictions)[:, None] + self.data.cuboid_side * (bits - 0.5)
        return corners

    def _title(self, place: int) -> str:
        rows, truth = self.predictions, self._truth[place]
        names = [name for name in rows.joint_names if name in self.samples.labels.skeleton]
        found = rows.values["joints"][place][[rows.joint_names.index(name) for name in names]]
        errors = np.linalg.norm(found - truth[self.samples.labels.skeleton.indices(names)], axis=-1)
        known = errors[np.isfinite(errors)]
        told = f": {1000 * known.mean():.1f} mm over {len(known)} joints" if len(known) else ""
        return f"{rows.sequence[place]}  frame {rows.frame[place]}  person {rows.person[place]}{told}"

    def _drawing(self, place: int, view: int) -> ViewDrawing:
        labels, row = self.samples.labels, int(self.samples.rows[place, view])
        image = int(labels.image[row])
        picture = read_image(self.data.folder / str(labels.images.path[image]))
        camera = self._camera(image)
        box = labels.values["box"][row].astype(np.float64) if "box" in labels.values else np.full(4, np.nan)
        predicted = _projected(self.predictions.values["joints"][place], camera)
        square = _square(box, predicted, picture.shape)
        shown = {
            "labelled": _projected(self._truth[place], camera) if np.isfinite(self._truth[place]).any() else None,
            "keypoints": self._of_view("view_keypoints", place, view),
        }
        return ViewDrawing(
            name=self.samples.views[view],
            image=_cut(picture, square),
            box=np.concatenate((_in_tile(box[None, :2], square)[0], box[2:] * TILE / square[2])),
            predicted=_in_tile(predicted, square),
            weights=self._of_view("view_weights", place, view),
            **{key: None if points is None else _in_tile(points, square) for key, points in shown.items()},
            **self._volume(place, camera, picture),
        )

    def _volume(self, place: int, camera: Cameras, picture: Image) -> dict[str, Array]:
        """The cuboid, and the part of the picture that shows it; nothing where there is none."""
        if self._corners is None or not np.isfinite(self._corners[place]).all():
            return {}
        corners = _projected(self._corners[place], camera)
        whole = np.full(4, np.nan)
        around = boxes_of_points(corners[None])[0] if np.isfinite(corners).all() else whole
        if np.isfinite(around).all() and around[2:].max() > _WIDEST * max(picture.shape[:2]):
            around = whole
        square = _square(around, whole[None, :2], picture.shape)
        return {"cuboid": _in_tile(corners, square), "surroundings": _cut(picture, square)}

    def _camera(self, image: int) -> Cameras:
        labels = self.samples.labels
        assert labels.cameras is not None  # the table of moments has seen to it
        return replace(labels.cameras, names=())[torch.tensor([int(labels.images.camera[image])])]

    def _camera_name(self, place: int, view: int) -> str:
        labels = self.samples.labels
        camera = int(labels.images.camera[labels.image[self.samples.rows[place, view]]])
        names = () if labels.cameras is None else labels.cameras.names
        return names[camera] if names else str(camera)

    def _of_view(self, key: str, place: int, view: int) -> Array | None:
        """What the predictions tell of one view, by its camera's name, or by its place where they have as many."""
        values = self.predictions.values
        if key not in values:
            return None
        if "view_names" in values:
            columns = np.flatnonzero(values["view_names"][place] == self._camera_name(place, view))
        else:
            columns = np.array([view] if values[key].shape[1] == self.samples.rows.shape[1] else [], dtype=np.int64)
        return values[key][place, columns[0]] if len(columns) else None


def open_redrawing(result: Path, data: DrawnData) -> Redrawing:
    """Bring predictions and the samples that they are of together.

    Args:
        result: Rows of poses (npz), or a `results.pkl`.
        data: Where the samples are from.

    Raises:
        MissingAssetError: the file is absent.
        InputError: none of the predictions is of these samples.
        FormatError: a file is not what it should be.
    """
    found = predictions_of_samples(data.labels, data.moments, PredictionFile(path=result, joint_names=data.joint_names))
    every = replace(data.moments, every=1, damaged=True)
    table = moment_table(data.labels, every, boxed=False)
    rows = rows_of_moments(table)
    keys = {key: place for place, key in enumerate(zip(rows.sequence, rows.frame, rows.person, strict=True))}
    places = [keys.get(key, -1) for key in zip(found.sequence, found.frame, found.person, strict=True)]
    kept = np.flatnonzero(np.array(places, dtype=np.int64) >= 0)
    if not len(kept):
        raise InputError(
            f"{result}: none of its {len(found)} poses is of the split {every.split} of {data.labels.name}, seen by "
            f"{', '.join(table.views)}; pass --split, or the labels that they were predicted on"
        )
    return Redrawing(predictions=found[kept], samples=table[np.array(places)[kept]], data=data)


def redraw(
    result: Path,
    data: DrawnData,
    save: Path,
    *,
    step: int = 1,
    limit: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Draw every so many poses of a file, each into a PNG of its own that shows all views.

    Args:
        result: Rows of poses (npz), or a `results.pkl`.
        data: That they were predicted on.
        save: Folder; made if it is absent.
        step: Every so many of the poses.
        limit: At most so many figures.
        progress: Show a bar.

    Returns:
        The files.

    Raises:
        InputError: as `open_redrawing`; a picture cannot be read, or `step` or `limit` is not 1 or more.
        MissingAssetError, FormatError: as `open_redrawing`.
    """
    if step < 1 or (limit is not None and limit < 1):
        raise InputError(f"step and limit: expected 1 or more, got {step} and {limit}")
    drawn = open_redrawing(result, data)
    places = range(0, len(drawn), step)[:limit]
    folder, files = check_writable(save), list[Path]()
    with Stages(progress).bar("figures", total=len(places)) as done:
        for path, figure in _figures(drawn, places, folder):
            write_image(path, figure)
            files.append(path)
            done(1)
    return files


def _figures(drawn: Redrawing, places: range, folder: Path) -> Iterator[tuple[Path, Image]]:
    for place in places:
        yield folder / f"{drawn.name(place)}.png", drawn.figure(place)


def skeleton_of(names: tuple[str, ...]) -> Skeleton:
    """The joints with the links that the smallest shipped skeleton with all of them has; without links if none has."""
    known = [found for found in map(skeleton, skeleton_names()) if set(names) <= set(found.joints)]
    if not known:
        return Skeleton("joints", names, ())
    return min(known, key=len).select(names, "joints")


def _projected(points: Array, camera: Cameras) -> Array:
    """Pixels (N, 2) of points (N, 3); NaN behind the camera."""
    found: Array = project(torch.from_numpy(points.astype(np.float64)), camera.to(torch.float64)[0]).numpy()
    return found


def _square(box: Array, points: Array, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Left, top and side, in whole pixels: about the box, else about the pose, else the whole picture."""
    if not np.isfinite(box).all():
        box = boxes_of_points(points[None])[0]
    if not (np.isfinite(box).all() and (box[2:] > 0).all()):
        box = np.array([0, 0, shape[1], shape[0]])
    side = max(round(_ROOM * float(box[2:].max())), 1)
    left, top = np.rint(box[:2] + box[2:] / 2 - side / 2).astype(int).tolist()
    return left, top, side


def _in_tile(points: Array, square: tuple[int, int, int]) -> Array:
    """Pixels of the picture in the tile; pixel centres are integers in both."""
    moved: Array = (points - np.array(square[:2]) + 0.5) * (TILE / square[2]) - 0.5
    return moved


def _cut(picture: Image, square: tuple[int, int, int]) -> Image:
    left, top, side = square
    part = cut_out(picture, np.array([left, top, left + side, top + side]))
    how = cv2.INTER_AREA if side > TILE else cv2.INTER_LINEAR
    cut: Image = cv2.resize(part, (TILE, TILE), interpolation=how)
    return cut
