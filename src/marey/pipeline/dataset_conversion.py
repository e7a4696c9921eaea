"""Files of data sets (VideoPose3D, HumanData, COCO) as joints or as keypoints of views.

These files do not say everything that a recording has: who is who, the frame rate, or what the joints are called. What
is missing is taken from the user, or assumed with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Estimate, FormatError, InputError, Keypoints2D, Skeleton, skeleton
from marey.core.skeletons import skeleton_names
from marey.io.coco import read_coco_annotations, read_coco_results
from marey.io.human_data import HumanData, human_data_skeleton, read_human_data
from marey.io.keypoint_files import mask_missing
from marey.io.naming import last_number
from marey.io.videopose3d import read_videopose_2d, read_videopose_3d
from marey.pipeline.conversion_parts import NOTHING_SAID, Unstated
from marey.pipeline.dataset_files import ViewKeypoints
from marey.pipeline.joint_conversion import completed, joints_of
from marey.pipeline.motions import DEFAULT_FPS
from marey.pipeline.world import find_up

Track = TypeVar("Track")
Floats = npt.NDArray[np.floating[Any]]

OF_HUMAN36M = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Places of the joints of h36m_17 among the 32 of the data set's own skeleton, whose others repeat them or are ends of
hands and feet (VideoPose3D, `h36m_dataset.py`)."""
_LAYOUTS = {"h36m": "h36m_17", "coco": "coco_17", "openpose": "body_25"}
"""What 2D archives call the orders of joints."""
_SPARSE = 20
"""Times as many places in a table of frames and people as there are people, at most: files of an image with thousands
of people among many with one are broken."""


def joints_from_videopose(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """The joints of the one action of an archive; its subjects are the people.

    Raises:
        InputError: there are several actions, or what the joints are is unknown.
        FormatError: the subjects' tracks do not go together.
    """
    stated.only(path, "skeleton", "fps")
    tracks = _one_action(path, read_videopose_3d(path))
    shapes = {track.shape for track in tracks.values()}
    if len(shapes) != 1:
        raise FormatError(f"{path}: subjects of one action that differ in frames or joints: {sorted(shapes)}")
    positions = torch.from_numpy(np.stack(list(tracks.values()), axis=1)).double()
    if positions.shape[2] == 32 and stated.skeleton is None:
        positions = positions[:, :, list(OF_HUMAN36M)]
    joints = joints_of(positions, _skeleton_of(path, positions.shape[2], stated.skeleton))
    return completed(Estimate(joints=joints), fps=_rate(path, stated), up=find_up(joints)[0])


def views_from_videopose(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The keypoints of the one action of an archive; views that end earlier are padded with unknown ones.

    Of Human3.6M the subjects are people and their tracks have views; of one's own videos each is a view of one person.

    Raises:
        InputError: there are several actions, or what the joints are is unknown.
        FormatError: the subjects' views do not go together.
    """
    stated.only(path, "skeleton")
    file = read_videopose_2d(path)
    tracks = _one_action(path, file.positions)
    if tracks.keys() == file.sizes.keys():  # the user's own videos, each of which VideoPose3D calls a subject
        tracks = {"": tuple(view for video in file.sizes for view in tracks[video])}
    pixels = _padded(path, tracks)
    layout = file.layout if file.layout in skeleton_names() else _LAYOUTS.get(file.layout)
    named = len(file.sizes) == len(pixels)
    return _views(
        pixels,
        np.isfinite(pixels[..., 0]).astype(np.float32),
        _skeleton_of(path, pixels.shape[3], stated.skeleton or layout),
        names=tuple(file.sizes) if named else tuple(f"view_{view}" for view in range(len(pixels))),
        sizes=tuple(file.sizes.values()) if named else (),
    )


def _padded(path: Path, tracks: Mapping[str, Sequence[Floats]]) -> Floats:
    """Keypoints (V, T, P, K, 2) of P subjects, T being the length of the longest view."""
    shapes = {tuple(view.shape for view in views) for views in tracks.values()}
    lengths = {shape[0] for views in shapes for shape in views}
    counts = {shape[1] for views in shapes for shape in views}
    if len(shapes) != 1 or len(counts) != 1 or max(lengths) > 2 * min(lengths) + 10:
        raise FormatError(f"{path}: views that differ in number, frames or joints: {sorted(shapes)[:4]}")
    pixels: Floats = np.full((len(next(iter(shapes))), max(lengths), len(tracks), counts.pop(), 2), np.nan, np.float32)
    for person, views in enumerate(tracks.values()):
        for place, view in enumerate(views):
            pixels[place, : len(view), person] = view
    return pixels


def joints_from_human_data(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """The joints of the people in the images of one sequence, in the camera's frame.

    Raises:
        InputError: the images are of several sequences.
        FormatError: there are no joints in space, or too many people in some image.
    """
    stated.only(path, "fps")
    data = read_human_data(path)
    values, joints = _human_joints(path, data.keypoints3d, "3D")
    frames, frame, slot = _human_frames(path, data, len(values))
    table = np.full((len(frames), slot.max(initial=-1) + 1, *values.shape[1:]), np.nan)
    table[frame, slot] = values
    content = torch.from_numpy(table)
    known = content[..., 3] > 0
    places = torch.where(known[..., None], content[..., :3], torch.nan)
    result = joints_of(places, joints, content[..., 3].nan_to_num(0.0).clamp(0, 1))
    return completed(
        Estimate(joints=result, frames=frames), fps=_rate(path, stated), up=find_up(result, otherwise="-y")[0]
    )


def views_from_human_data(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The keypoints of the people in the images of one sequence.

    Raises:
        InputError: the images are of several sequences.
        FormatError: there are no keypoints in images, or too many people in some image.
    """
    stated.only(path)
    data = read_human_data(path)
    values, joints = _human_joints(path, data.keypoints2d, "2D")
    frames, frame, slot = _human_frames(path, data, len(values))
    return _one_view(path, values[..., :2], values[..., 2], joints, (frames, frame, slot))


def views_from_coco(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The people of a list of results, the image ids as frames. Where no joint has a score, the person's counts.

    Raises:
        FormatError: too many people in some image.
    """
    stated.only(path)
    results = read_coco_results(path)
    scores = results.joint_scores
    if not (scores > 0).any():
        scores = np.where((results.positions != 0).any(-1), results.scores[:, None], 0.0)
    return _one_view(path, results.positions, scores, skeleton("coco_17"), _in_frames(path, results.image_ids))


def views_from_coco_annotations(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The annotated people, the image ids as frames; hidden joints that are annotated count as seen.

    Raises:
        FormatError: too many people in some image.
    """
    stated.only(path)
    file = read_coco_annotations(path)
    places = _in_frames(path, file.image_ids)
    seen = (file.visibility > 0).astype(np.float64)
    sizes = {(width, height) for _, width, height in file.images.values()}
    size = sizes.pop() if len(sizes) == 1 else (0, 0)
    return _one_view(path, file.positions, seen, skeleton("coco_17"), places, size=size)


def _one_action(path: Path, tracks: Mapping[str, Mapping[str, Track]]) -> dict[str, Track]:
    """Subject -> track of the one action."""
    actions = sorted({action for subject in tracks.values() for action in subject})
    if len(actions) != 1:
        listed = ", ".join(actions[:5]) + (", ..." if len(actions) > 5 else "")
        raise InputError(
            f"{path}: {len(actions)} actions ({listed}), and a recording is one; read it in Python with "
            "marey.io.videopose3d and write the one that is wanted to a file of its own"
        )
    return {name: subject[actions[0]] for name, subject in tracks.items() if subject}


def _skeleton_of(path: Path, count: int, name: str | None) -> Skeleton:
    """The skeleton that the user or the file names, or that a number of joints can only mean."""
    if name is not None:
        chosen = skeleton(name)
        if len(chosen) != count:
            raise InputError(f"{path}: {count} joints, but skeleton {name} has {len(chosen)}")
        return chosen
    fits = [known for known in skeleton_names() if len(skeleton(known)) == count]
    fits = ["h36m_17"] if "h36m_17" in fits else fits
    if len(fits) != 1:
        raise InputError(
            f"{path}: does not name its {count} joints; say with --skeleton what they are: "
            f"{' or '.join(fits) or 'no skeleton that is known has as many'}"
        )
    return skeleton(fits[0])


def _rate(path: Path, stated: Unstated) -> float:
    if stated.fps is None:
        warnings.warn(
            f"{path}: does not state its frame rate; {DEFAULT_FPS:g} per second are taken, --fps gives another",
            stacklevel=4,
        )
    return stated.fps or DEFAULT_FPS


def _human_joints(path: Path, keypoints: Mapping[str, Floats], kind: str) -> tuple[Floats, Skeleton]:
    """Values (N, J, D) of the joints that a HumanData archive uses, and what they are."""
    name = next((name for name in ("original", "", "smpl", "smplx") if name in keypoints), None)
    values = keypoints[name] if name is not None else next(iter(keypoints.values()), None)
    used = [] if values is None else np.flatnonzero(np.isfinite(values).all(-1).any(0)).tolist()
    if values is None or not used:
        raise FormatError(f"{path}: no {kind} keypoints in it")
    joints, places = human_data_skeleton(used)
    return values[:, places], joints


def _human_frames(
    path: Path, data: HumanData, count: int
) -> tuple[tuple[int, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the frames, and frame and slot of each entry: entries of one image are the people of one frame."""
    if not data.image_paths:
        return tuple(range(count)), np.arange(count), np.zeros(count, np.int64)
    folders = sorted({name.rpartition("/")[0] for name in data.image_paths})
    if len(folders) > 1:
        listed = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        raise InputError(f"{path}: images of {len(folders)} folders ({listed}), and a recording is one sequence")
    images = sorted(set(data.image_paths))
    order = {name: place for place, name in enumerate(images)}
    _, frame, slot = _in_frames(path, np.array([order[name] for name in data.image_paths], dtype=np.int64))
    if slot.max(initial=0):
        warnings.warn(
            f"{path}: does not say who is who; the n-th entry of each image is taken for one person", stacklevel=4
        )
    numbers = [last_number(name.rpartition("/")[2].rpartition(".")[0] or name) for name in images]
    known = [number for number in numbers if number is not None and number < 2**31]
    rising = len(known) == len(images) and all(a < b for a, b in pairwise(known))
    return tuple(known) if rising else tuple(range(len(images))), frame, slot


def _in_frames(
    path: Path, ids: npt.NDArray[np.int64]
) -> tuple[tuple[int, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The frames that occur, ascending; and for each entry the place of its frame and its place among those there."""
    frames, frame = np.unique(ids, return_inverse=True)
    order = np.argsort(frame, kind="stable")
    first = np.searchsorted(frame[order], np.arange(len(frames)))
    slot = np.empty_like(frame)
    slot[order] = np.arange(len(ids)) - first[frame[order]]
    people = int(slot.max(initial=-1)) + 1
    if len(frames) * people > _SPARSE * len(ids) + 1000:
        raise FormatError(
            f"{path}: {people} people in one image, and {len(ids)} in {len(frames)} images; is it broken?"
        )
    return tuple(frames.tolist()), frame, slot


def _one_view(
    path: Path,
    positions: Floats,
    scores: Floats,
    joints: Skeleton,
    places: tuple[tuple[int, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    *,
    size: tuple[int, int] = (0, 0),
) -> ViewKeypoints:
    """Entries (N, J, 2) and (N, J) as the keypoints of one view, named by the file."""
    frames, frame, slot = places
    shape = (1, len(frames), int(slot.max(initial=-1)) + 1, len(joints))
    pixels, score = np.full((*shape, 2), np.nan, np.float32), np.zeros(shape, np.float32)
    pixels[0, frame, slot], score[0, frame, slot] = mask_missing(
        positions.astype(np.float32), scores.astype(np.float32)
    )
    return _views(pixels, score, joints, names=(path.stem,), sizes=(size,), frames=frames)


def _views(
    pixels: Floats,
    score: Floats,
    joints: Skeleton,
    *,
    names: tuple[str, ...],
    sizes: Sequence[tuple[int, int]] = (),
    frames: tuple[int, ...] = (),
) -> ViewKeypoints:
    """Keypoints (V, T, P, J, 2) without covariance."""
    positions = torch.from_numpy(pixels)
    return ViewKeypoints(
        keypoints=Keypoints2D(
            positions=positions,
            covariance=positions.new_full((*positions.shape, 2), torch.nan),
            score=torch.from_numpy(score),
            skeleton=joints,
        ),
        names=names,
        frames=frames or tuple(range(pixels.shape[1])),
        sizes=tuple(sizes) or ((0, 0),) * len(names),
    )
