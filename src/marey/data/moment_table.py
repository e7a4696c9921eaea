"""People at moments, and the images that show them: the rows of a data set of several cameras, in its own order.

A sample of such a set is one person at one moment, seen by those of the cameras that have a box of the person. Which
samples a split has, and what their numbers are, is what published files of predictions (`indexes`) refer to.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from marey.core import InputError
from marey.data.labels import Labels, joints_in_world
from marey.data.labels.columns import Array
from marey.data.prepare.cmu_sequences import camera_id
from marey.data.prepare.h36m_names import DAMAGED
from marey.io.predictions import PoseRows

Split = Literal["train", "val", "test"]

_TEXTS = ("subject", "scene", "gender")


@dataclass(frozen=True, kw_only=True)
class MomentOptions:
    """Which moments are samples, and which views show them; the defaults are Learnable Triangulation's."""

    split: Split = "val"
    """`val`: the images for validation, or those for test where none are for validation, as in Human3.6M."""
    views: tuple[str, ...] = ()
    """Cameras by name, CMU Panoptic's also by number, others by place counted from 0; none: all."""
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
    index: Array
    """(N,) numbers of the samples in the data set: those that no view shows are counted and not among the N."""
    views: tuple[str, ...]
    """Names of the V views; their places where a view has cameras of several names."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Array) -> MomentTable:
        """Some samples, by indices or by a mask."""
        return MomentTable(labels=self.labels, rows=self.rows[places], index=self.index[places], views=self.views)

    def first(self) -> Array:
        """(N,) the first row of each sample."""
        return self.rows[np.arange(len(self)), (self.rows >= 0).argmax(1)]


def moment_table(labels: Labels, options: MomentOptions) -> MomentTable:
    """The samples of a split, in the order of the data set.

    Raises:
        InputError: the labels have no such split, view or moment, or a person comes twice in one view at one moment.
    """
    chosen = _of_split(labels, options.split)
    rows = chosen.by_moment()
    names = view_names(chosen)
    if options.split != "train":
        rows = rows[_kept(chosen, rows, options)][:: options.every]
    places = chosen_views(names, options.views) if options.views else list(range(len(names)))
    ignored = [place for word in options.ignored_views for place in _there(names, word)]
    places = [place for place in places if place not in ignored]
    if not places:
        raise InputError(f"views: none is left of {', '.join(names) or 'none'}")
    rows = rows[:, places]
    index = np.flatnonzero((rows >= 0).any(1))
    if not len(index):
        raise InputError(f"{labels.name}: no sample of the split {options.split} is seen by the chosen views")
    return MomentTable(labels=chosen, rows=rows[index], index=index, views=tuple(names[place] for place in places))


def _of_split(labels: Labels, split: Split) -> Labels:
    if split == "val":
        return labels.of_split("validation" if (labels.split == "validation").any() else "test")
    return labels.of_split(split)


def _kept(labels: Labels, rows: Array, options: MomentOptions) -> Array:
    """(N,) whether a sample is not of the actions whose labels are displaced, or these are wanted."""
    if options.damaged or "subject" not in labels.values:
        return np.ones(len(rows), dtype=bool)
    subject, action = labels.values["subject"], trials(labels)
    wrong = np.zeros(len(labels), dtype=bool)
    for name, actions in DAMAGED.items():
        wrong |= (subject == name) & np.isin(action, actions)
    kept: Array = ~wrong[rows.max(1)]
    return kept


def trials(labels: Labels) -> Array:
    """(R,) the action of each row, `Greeting-2` where it is told which trial it is; empty where nothing is."""
    nothing = np.zeros(len(labels), dtype="U1")
    return labels.values.get("trial", labels.values.get("action", nothing))


def view_names(labels: Labels) -> tuple[str, ...]:
    """Names of the V columns of `Labels.by_moment`."""
    views = labels.images.views()
    names = labels.camera_names()
    found = [np.unique(names[views == view]) for view in range(int(views.max(initial=-1)) + 1)]
    return tuple(str(name[0]) if len(name) == 1 and name[0] else str(place) for place, name in enumerate(found))


def chosen_views(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Places of views among `names`, given by name, by CMU Panoptic's number (24 is `00_24`), or by place.

    Raises:
        InputError: there is none of one of them.
    """
    numbers = {str(camera_id(name)): place for place, name in enumerate(names) if camera_id(name) >= 0}
    known = {name: place for place, name in enumerate(names)}
    by_place = {str(place): place for place in range(len(names))}
    found = {**(numbers or by_place), **known}
    if absent := [word for word in wanted if word not in found]:
        raise InputError(f"views: no '{absent[0]}'; there are: {', '.join(names)}, by name or by number")
    return [found[word] for word in wanted]


def _there(names: Sequence[str], word: str) -> list[int]:
    """The place of a view, with a warning if there is none: sequences differ in the cameras that they lack."""
    try:
        return chosen_views(names, (word,))
    except InputError as error:
        warnings.warn(f"ignored {error}", stacklevel=2)
        return []


def rows_of_moments(table: MomentTable, *, benchmark: str = "") -> PoseRows:
    """The samples as the rows that protocols score.

    `action` has the trial where it is known, `index` is the number of each sample in the data set, and joints that the
    labels lack are NaN.

    Raises:
        CalibrationError: joints are known in the cameras only, and their places are not.
    """
    labels, first = table.labels, table.first()
    image = labels.image[first]
    values = {name: labels.values[name][first] for name in _TEXTS if name in labels.values}
    if {"trial", "action"} & set(labels.values):
        values["action"] = trials(labels)[first]
    known = {"joints", "joints_camera"} & set(labels.values)
    missing = np.full((len(table), len(labels.skeleton), 3), np.nan)
    return PoseRows(
        joint_names=labels.skeleton.joints,
        sequence=labels.images.sequence[image],
        frame=labels.images.frame[image].astype(np.int64),
        person=labels.person[first].astype(np.int64),
        values={**values, "joints": joints_in_world(labels)[first] if known else missing, "index": table.index},
        benchmark=benchmark or f"{labels.name} {labels.version}".strip(),
    )
