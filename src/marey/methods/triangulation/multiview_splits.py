"""The samples of a split: labels of any data set, the network's joints in its order, and where cuboids are put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from marey.core import FormatError, InputError, MissingAssetError, Skeleton
from marey.data.labels import Labels, read_labels
from marey.data.labels.joining import with_skeleton
from marey.data.multiview import MultiViewLabels, MultiViewOptions
from marey.data.prepare.cmu import read_published_cmu_labels
from marey.data.prepare.cmu_frames import FORK, FrameLists, read_frame_lists, with_frame_lists
from marey.data.prepare.cmu_sequences import camera_id
from marey.data.prepare.h36m_published import dataset_rows, moment_rows, read_published_labels, trial_of_sequence
from marey.io.h36m_labels import read_h36m_labels
from marey.io.predictions import PoseRows, read_pose_rows
from marey.io.predictions_published import read_triangulation_results
from marey.methods.triangulation.recipe import SplitOptions

Item = TypeVar("Item")
Made = TypeVar("Made")

FORK_FRAMES = "cmu_frames.yaml"
"""A list of frames that is known without its file."""
_PUBLISHED = ".npy"


def find_file(path: str, data: Path | None, *, what: str, hint: str) -> Path:
    """The path in the folder of the data, or else in the current one.

    Raises:
        MissingAssetError: it is in neither.
    """
    places = [folder / path for folder in (data, Path()) if folder is not None]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise MissingAssetError(f"{what}: expected {' or '.join(map(str, dict.fromkeys(places)))}; {hint}")
    return found


def open_split(
    options: SplitOptions, data: Path | None, *, joints: Sequence[str], centers: Sequence[str] = ()
) -> MultiViewLabels:
    """The samples of a split, their joints in the network's order.

    Args:
        options: Which, and how they are shown.
        data: Folder of the data.
        joints: Of the network; none: those of the labels.
        centers: Labelled joints that are needed beside; they come after the network's.

    Raises:
        MissingAssetError: the labels are not there.
        FormatError: they are malformed.
        InputError: they have none of the splits or joints, or nothing is left of them.
    """
    hint = "pass the folder that marey data wrote with --data, or name the file in 'labels'"
    path = find_file(options.labels, data, what="labels", hint=hint)
    labels = _read(path, options)
    if options.frames:
        labels = with_frame_lists(labels, _frame_lists(options.frames, data))
    split = next((name for name in options.splits if (labels.split == name).any()), None)
    if split is None:
        there = ", ".join(np.unique(labels.split).tolist()) or "none"
        raise InputError(f"{path}: no images of the splits {', '.join(options.splits)}; there are: {there}")
    if joints and not set(joints) & set(labels.skeleton.joints):
        raise InputError(f"joints: {path} has none of them; it has: {', '.join(labels.skeleton.joints)}")
    wanted = _with_joints(labels.of_split(split), joints, centers)
    folder = find_file(options.images, data, what="images", hint="see 'images'") if options.images else path.parent
    return MultiViewLabels(wanted, folder, _with_known_cameras(options.samples, wanted))


def predicted_centers(samples: MultiViewLabels, options: SplitOptions, data: Path | None) -> np.ndarray[Any, Any]:
    """The predicted pelvis (N, 3) of each sample, metres; matched by sequence, frame and person, NaN where none is.

    Raises:
        MissingAssetError: there are no predictions.
        FormatError: they are malformed.
        InputError: they have no pelvis, or two for one person at a moment.
    """
    hint = (
        "predict the split's poses with the algebraic network and name the file in 'pelvis', or set use_gt_pelvis=true"
    )
    path = find_file(options.pelvis, data, what="predicted pelvis", hint=hint) if options.pelvis else None
    if path is None or path.is_dir():
        raise MissingAssetError(f"predicted pelvis: expected a file of predictions, got none; {hint}")
    rows = read_pose_rows(path) if path.suffix == ".npz" else _published_results(path, options, data)
    return samples.centers_of(rows, sequence=trial_of_sequence)


def labelled_centers(samples: MultiViewLabels, joints: Sequence[str]) -> np.ndarray[Any, Any]:
    """The middle (N, 3) of labelled joints, NaN where one of them is unknown."""
    skeleton = samples.labels.skeleton
    middle: np.ndarray[Any, Any] = samples.joints[:, skeleton.indices(joints)].mean(1)
    return middle


def ahead(make: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """Make something of every item, in order, while threads work on the next ones; 0 workers: when it is asked for."""
    if not workers:
        yield from map(make, items)
        return
    left = iter(items)
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = [pool.submit(make, item) for item in islice(left, workers)]
        while waiting:
            made = waiting.pop(0).result()
            waiting += [pool.submit(make, item) for item in islice(left, 1)]
            yield made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(path: Path, options: SplitOptions) -> Labels:
    if path.suffix != _PUBLISHED:
        return read_labels(path / "labels.npz" if path.is_dir() else path)
    try:
        return read_published_labels(path, undistorted=options.samples.undistort)
    except FormatError as error:
        try:
            return read_published_cmu_labels(path)
        except FormatError as other:
            raise FormatError(f"{error}; nor the fork's for CMU Panoptic: {other}") from other


def _frame_lists(path: str, data: Path | None) -> FrameLists:
    try:
        found = find_file(path, data, what="list of frames", hint="see 'frames'")
    except MissingAssetError:
        if Path(path).name == FORK_FRAMES:
            return FORK
        raise
    return read_frame_lists(found)


def _with_joints(labels: Labels, joints: Sequence[str], centers: Sequence[str]) -> Labels:
    own = labels.skeleton
    if absent := [name for name in centers if name not in own]:
        raise InputError(
            f"cuboid_center: {labels.name} labels no joint '{absent[0]}'; there are: {', '.join(own.joints)}"
        )
    names = (*(joints or own.joints),)
    names += tuple(name for name in centers if name not in names)
    places = {name: place for place, name in enumerate(names)}
    pairs = ((own.joints[a], own.joints[b]) for a, b in own.links)
    links = tuple((places[a], places[b]) for a, b in pairs if a in places and b in places)
    return with_skeleton(labels, Skeleton(own.name, names, links))


def _with_known_cameras(options: MultiViewOptions, labels: Labels) -> MultiViewOptions:
    """Without those to be ignored that the labels do not have anyway: data sets are prepared without them, too."""
    names = np.unique(labels.camera_names()).tolist()
    known = {*names, *(str(camera_id(name)) for name in names)}
    return replace(options, ignore_cameras=tuple(name for name in options.ignore_cameras if name in known))


def _published_results(path: Path, options: SplitOptions, data: Path | None) -> PoseRows:
    """`results.pkl`, whose indices count the rows of a label file of the original."""
    place = options.pelvis_labels or options.labels
    if not place.endswith(_PUBLISHED):
        raise InputError(
            f"{path}: its indices count the rows of a label file of the original (.npy): name it in 'pelvis_labels', "
            "or take the predictions.npz that marey evaluate writes, which says whose poses they are"
        )
    hint = "the indices of results.pkl count its rows; name it in 'pelvis_labels'"
    found = read_h36m_labels(find_file(place, data, what="label file of the original", hint=hint))
    train = options.splits[:1] == ("train",)
    rows = dataset_rows(found, train=train, test=not train)
    return read_triangulation_results(path, moment_rows(found, rows))
