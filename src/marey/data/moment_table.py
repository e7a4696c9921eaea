"""People at moments, and the images that show them: the rows of a data set of several cameras, in its own order.

A sample of such a set is one person at one moment. Which samples a split has, and what their numbers are, is what
published files of predictions (`indexes`) refer to; the rule is `marey.data.multiview_rows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from marey.core import InputError
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.labels.projection import joints_in_world
from marey.data.multiview_rows import first_rows, sample_rows, usable_rows
from marey.data.prepare.cmu_sequences import camera_id
from marey.io.predictions import PoseRows

Split = Literal["train", "val", "test"]

_TEXTS = ("subject", "scene", "gender")


@dataclass(frozen=True, kw_only=True)
class MomentOptions:
    """Which moments are samples, and which views show them; the defaults are Learnable Triangulation's."""

    split: Split = "val"
    """`val`: the images for validation, or those for test where none are for validation, as in Human3.6M."""
    views: tuple[str, ...] = ()
    """Cameras by name, CMU Panoptic's also by number (24 is `00_24`), others also by place, from 0; none: all."""
    ignored_views: tuple[str, ...] = ()
    """Left out, named in the same way."""
    every: int = 1
    """Every so many samples are taken, except of the split `train`."""
    damaged: bool = True
    """Whether the three actions of S9 with displaced labels are among the samples of `val` and `test`."""

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise InputError(f"split: expected one of {', '.join(get_args(Split))}, got '{self.split}'")
        if self.every < 1:
            raise InputError(f"every: expected 1 or more, got {self.every}")


@dataclass(frozen=True, kw_only=True, eq=False)
class MomentTable:
    """N people at moments, seen by V views."""

    labels: Labels
    """Of the split; `rows` are places in it."""
    rows: Array
    """(N, V) rows of the labels, -1 where a view does not show the person."""
    views: tuple[str, ...]
    """Names of the V views; their places where a view has cameras of several names."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Array) -> MomentTable:
        """Some samples, by indices or by a mask."""
        return MomentTable(labels=self.labels, rows=self.rows[places], views=self.views)

    @property
    def first(self) -> Array:
        """(N,) the first row of each sample: what does not depend on the view can be read there."""
        return first_rows(self.rows)


def moment_table(labels: Labels, options: MomentOptions, *, boxed: bool = True) -> MomentTable:
    """The samples of a split, in the order of the data set.

    Args:
        labels: Of any data set with calibrated cameras.
        options: Which.
        boxed: Whether only views count that have a box of the person.

    Raises:
        InputError: the labels have no such split or view, no image files, or nobody is left.
        CalibrationError: the cameras are unknown, or their places are.
    """
    chosen = _of_split(labels, options.split)
    names = view_names(chosen)
    rows = sample_rows(
        chosen,
        usable=usable_rows(chosen, boxed=boxed),
        cameras=_cameras(chosen, names, options.views),
        ignored_cameras=_cameras(chosen, names, options.ignored_views, lenient=True),
        every=options.every,
        damaged=options.damaged,
    )
    return MomentTable(labels=chosen, rows=rows, views=_column_names(chosen, rows))


def _of_split(labels: Labels, split: Split) -> Labels:
    if split == "val":
        return labels.of_split("validation" if (labels.split == "validation").any() else "test")
    return labels.of_split(split)


def view_names(labels: Labels) -> tuple[tuple[str, ...], ...]:
    """The names of the cameras of each of the views that film together."""
    views, names = labels.images.views(), labels.camera_names()
    count = int(views.max(initial=-1)) + 1
    return tuple(tuple(name for name in np.unique(names[views == view]).tolist() if name) for view in range(count))


def _cameras(
    labels: Labels, views: Sequence[tuple[str, ...]], words: Sequence[str], *, lenient: bool = False
) -> tuple[str, ...]:
    """Names of cameras, of words that are names, numbers of CMU Panoptic's, or places of views.

    Lenient: one that is not there is warned of only, since data sets are prepared without bad cameras, too.
    """
    names = {name for view in views for name in view}
    known = names | {str(camera_id(name)) for name in names}
    places = {str(place): view for place, view in enumerate(views)}
    absent = [word for word in words if word not in known and (word not in places or labels.name == "cmu")]
    if absent:
        message = (
            f"views: {labels.name} has no '{absent[0]}'; there are: {', '.join(sorted(names)) or 'none'}, also by place"
            f" from 0 to {len(views) - 1}"
        )
        if not lenient:
            raise InputError(message)
        warnings.warn(message, stacklevel=3)
    there = [word for word in words if word not in absent]
    return tuple(name for word in there for name in ((word,) if word in known else places[word]))


def _column_names(labels: Labels, rows: Array) -> tuple[str, ...]:
    names = labels.camera_names()[labels.image]
    found = [np.unique(names[column[column >= 0]]) for column in rows.T]
    return tuple(str(name[0]) if len(name) == 1 else str(place) for place, name in enumerate(found))


def rows_of_moments(table: MomentTable, *, benchmark: str = "") -> PoseRows:
    """The samples as the rows that protocols score.

    `action` has the trial where it is known, `index` is the number of each sample in the data set, and joints that the
    labels lack are NaN.

    Raises:
        CalibrationError: joints are known in the cameras only, and their places are not.
    """
    labels, first = table.labels, table.first
    image = labels.image[first]
    values = {name: labels.values[name][first] for name in _TEXTS if name in labels.values}
    if actions := [labels.values[name] for name in ("trial", "action") if name in labels.values]:
        values["action"] = actions[0][first]
    known = {"joints", "joints_camera"} & set(labels.values)
    missing = np.full((len(table), len(labels.skeleton), 3), np.nan)
    return PoseRows(
        joint_names=labels.skeleton.joints,
        sequence=labels.images.sequence[image],
        frame=labels.images.frame[image].astype(np.int64),
        person=labels.person[first].astype(np.int64),
        values={
            **values,
            "joints": joints_in_world(labels)[first] if known else missing,
            "index": np.arange(len(table)),
        },
        benchmark=benchmark or f"{labels.name} {labels.version}".strip(),
    )
