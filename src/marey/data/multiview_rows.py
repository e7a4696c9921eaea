"""Which rows of labels make the samples of a multi-view data set: a person at a moment, one column a view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marey.core import CalibrationError, InputError
from marey.data.labels import SPLITS, Labels
from marey.data.labels.columns import Array
from marey.data.prepare.cmu_sequences import camera_id
from marey.data.prepare.h36m_names import DAMAGED


def sample_rows(
    labels: Labels,
    *,
    usable: Array,
    cameras: Sequence[str] = (),
    ignored_cameras: Sequence[str] = (),
    every: int = 1,
    damaged: bool = True,
) -> Array:
    """(N, V) rows of labels by sample and view, -1 where the view has nothing to show.

    Samples come in the published order: of the training split, then of the others, each by moment and person. First
    the damaged scenes are left out, then moments between, then cameras; a sample that no camera is left of goes.

    Args:
        labels: Of any data set.
        usable: (R,) which rows can be cut out of an image.
        cameras: Names of those that are used, or numbers of CMU Panoptic's (`24` is `00_24`); none: all.
        ignored_cameras: Likewise; those that are not.
        every: Of the moments for validation and test, every so many.
        damaged: Whether the three scenes of Human3.6M's S9 with displaced labels stay.

    Raises:
        InputError: there is no such camera, `every` is not 1 or more, or nothing is left.
    """
    if every < 1:
        raise InputError(f"retain_every_n: expected 1 or more, got {every}")
    table = labels.by_moment()
    first = first_rows(table)
    table = table[np.argsort(_rank(labels)[first], kind="stable")]
    first = first_rows(table)
    if not damaged:
        kept = ~(damaged_rows(labels) & (_rank(labels) > 0))[first]
        table, first = table[kept], first[kept]
    table = table[_retained(labels, first, every)]
    used = chosen_cameras(labels, cameras, ignored_cameras)[labels.image] & usable
    table = np.where((table >= 0) & used[table], table, -1)
    table = table[(table >= 0).any(1)][:, (table >= 0).any(0)]
    if not table.size:
        raise InputError(
            f"{labels.name}: nobody is left whom one of these cameras shows; see splits, cameras and boxes"
        )
    return table


def usable_rows(labels: Labels, *, boxed: bool) -> Array:
    """(R,) rows that have an image file, a camera whose place is known and, if people are cut out, a box.

    Args:
        labels: Of any data set.
        boxed: Whether people are cut out.

    Raises:
        CalibrationError: the cameras are unknown, or the places of all of them.
        InputError: there are no boxes although they are needed, or no image files at all.
    """
    if labels.cameras is None or not labels.cameras.has_extrinsics:
        raise CalibrationError(f"{labels.name}: several views are brought together by cameras whose places are known")
    if boxed and "box" not in labels.values:
        raise InputError(f"{labels.name}: these labels have no boxes to cut people out by; pass crop=False")
    filed = labels.images.path != ""
    if not filed.any():
        raise InputError(
            f"{labels.name}: these labels have no image files; prepare them with images (marey data folder --images)"
        )
    rotation, _ = labels.cameras.extrinsics
    placed = np.append((rotation.isfinite() & labels.cameras.intrinsics.isfinite()).all(-1).all(-1).numpy(), False)
    usable = (filed & placed[labels.images.camera])[labels.image]
    if boxed:
        box = labels.values["box"]
        usable &= np.isfinite(box).all(-1) & (box[:, 2:] >= 1).all(-1)
    return np.asarray(usable)


def first_rows(table: Array) -> Array:
    """(N,) the first row of each sample; what does not depend on the view can be read there."""
    first: Array = np.take_along_axis(table, (table >= 0).argmax(1)[:, None], axis=1)[:, 0]
    return first


def _rank(labels: Labels) -> Array:
    """(R,) place of each row's split."""
    place = np.argmax(labels.split[:, None] == np.array(SPLITS), axis=1)
    rank: Array = place[labels.image]
    return rank


def damaged_rows(labels: Labels) -> Array:
    """(R,) rows of the scenes of Human3.6M's S9 whose joints are displaced in the world."""
    if not {"subject", "trial"} <= set(labels.values):
        return np.zeros(len(labels), dtype=bool)
    found = np.zeros(len(labels), dtype=bool)
    for subject, trials in DAMAGED.items():
        found |= (labels.values["subject"] == subject) & np.isin(labels.values["trial"], trials)
    return found


def _retained(labels: Labels, first: Array, every: int) -> Array:
    """(N,) all samples for training, and those of every so many moments of the others."""
    held_out = _rank(labels)[first] > 0
    moments = labels.images.moment[labels.image[first]]
    _, start, place = np.unique(moments[held_out], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(start))[place.reshape(-1)]  # moments counted as they come
    kept = np.ones(len(first), dtype=bool)
    kept[held_out] = order % every == 0
    return kept


def chosen_cameras(labels: Labels, cameras: Sequence[str], ignored: Sequence[str]) -> Array:
    """(I,) which images are of a camera that is used.

    Raises:
        InputError: there is no such camera.
    """
    names = labels.camera_names()
    there, place = np.unique(names, return_inverse=True)
    aliases = [{str(name), str(camera_id(str(name)))} if str(name) else set() for name in there]
    known = set().union(*aliases) - {"-1"}
    if absent := [str(camera) for camera in (*cameras, *ignored) if str(camera) not in known]:
        have = ", ".join(filter(None, there.tolist())) or "none"
        raise InputError(f"cameras: {labels.name} has no {', '.join(absent)}; there are: {have}")
    used = [
        (not cameras or bool(alias & set(map(str, cameras)))) and not alias & set(map(str, ignored))
        for alias in aliases
    ]
    found: Array = np.array(used, dtype=bool)[place.reshape(-1)]
    return found
