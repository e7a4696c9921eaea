"""Your own recordings as a data set: a folder of images or videos, calibration and labels, whatever of it there is.

Layout of a recording (everything but one of `views` and `keypoints` may be missing)::

    views/CAMERA.mp4, views/CAMERA/*.jpg     frames of each camera
    calibration.toml, cameras.json, ...      cameras, any format that `marey convert` reads; also beside the recordings
    labels.csv, labels.npz, *.trc, *.c3d     3D joints in the world of the calibration; TRC and C3D have y up instead,
                                             and one file a person
    keypoints/CAMERA/*.json                  OpenPose, one file a frame
    keypoints/CAMERA.json                    or COCO annotations, one file a camera

A data set is one such folder, or several in one; `splits.toml` in it names the recordings of `train`, `validation` and
`test`. Frames count from 0 in all views, which were started together. What is given and what is missing is in the card.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from marey.core import FormatError, InputError, Skeleton
from marey.core.skeletons import skeleton as known_skeleton
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.folder_axes import Axis, turned
from marey.data.folder_people import PeopleInViews, people_in_views
from marey.data.folder_recording import FolderRecording, find_recordings, image_sizes, open_folder_recording
from marey.data.labels import SPLITS, Images, Labels, join_labels, with_keypoints
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.sources import DataSource
from marey.data.prepare.stored_crops import write_jpeg
from marey.data.prepare.work import Work
from marey.io.image_headers import IMAGE_SUFFIXES
from marey.io.naming import file_stem
from marey.io.text import read_text_limited

VERSION = "1"
JOINT_BOX = 1.25
"""Times the box around a person's joints."""
SPLITS_FILE = "splits.toml"

SOURCE = DataSource(
    name="folder",
    title="your own recordings",
    home="this computer",
    licence="yours",
    files=("see docs/howto/own_data.md",),
    writes="labels of everything that the folder holds; images of videos if asked for",
    target="marey.data.folder:prepare",
)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a folder of recordings becomes a data set."""

    images: bool = False
    """Write the frames of videos as images, which methods that look at images need for training."""
    step: int = 1
    """Every so many frames."""
    unit: str | float | None = None
    """Of the calibration and of C3D files, if they do not state it: m, cm, mm, or the metres in one unit."""
    skeleton: str | None = None
    """Joints of the labels; None: those of the 3D joints, or else of the keypoints."""
    keypoint_skeleton: str | None = None
    """What OpenPose files hold, if their count of joints does not say it."""
    fps: float | None = None
    """Frames per second of image folders."""
    up: Axis | None = None
    """Which axis of the calibration's world points up, to turn the joints of TRC and C3D files, which have y up. None:
    with which they fit the keypoints best, or as they are where there are none."""

    def __post_init__(self) -> None:
        if self.step < 1:
            raise InputError(f"step: expected 1 or more, got {self.step}")


def prepare(root: Path, out: Path, options: FolderOptions, work: Work) -> Labels:
    """Make labels of a folder.

    Raises:
        InputError: there is no recording, or what is there does not go together.
        CalibrationError: a calibration is of other cameras.
        FormatError: a file is not what it should be.
    """
    found = find_recordings(root)
    splits = read_splits(root / SPLITS_FILE, [name for name, _ in found])
    parts: list[Labels] = []
    for name, folder in found:
        held = open_folder_recording(
            name,
            folder,
            parent=root,
            unit=_unit(options.unit),
            skeleton=options.keypoint_skeleton,
            fps=options.fps,
        )
        held = turned(held, options.up)
        for note in held.notes:
            work.note(f"{name}: {note}")
        joints = _skeleton(held, options) if not parts or options.skeleton else parts[0].skeleton
        parts.append(_labels(held, joints, splits[name], options, work))
    name = root.resolve().name
    joined = replace(join_labels(parts, skeleton=parts[0].skeleton, name=name), version=VERSION)
    return _with_boxes(joined)


def _unit(given: str | float | None) -> Any:
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def read_splits(path: Path, recordings: Sequence[str]) -> dict[str, str]:
    """The split of each recording by `splits.toml`; those that it does not name, and all without it, are for training.

    Raises:
        InputError: it names a recording that is not there, or one twice.
        FormatError: it is no such file.
    """
    splits = dict.fromkeys(recordings, SPLITS[0])
    if not path.exists():
        return splits
    try:
        table: Mapping[str, Any] = tomllib.loads(read_text_limited(path))
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: not TOML: {error}") from error
    named: set[str] = set()
    for split, names in table.items():
        if split not in SPLITS or not isinstance(names, list):
            raise FormatError(f"{path}: expected lists called {', '.join(SPLITS)}, got '{split}'")
        for name in names:
            if name not in splits or name in named:
                why = "comes twice" if name in named else f"is not there; there are: {', '.join(recordings)}"
                raise InputError(f"{path}: the recording '{name}' {why}")
            named.add(name)
            splits[name] = split
    return splits


def _skeleton(held: FolderRecording, options: FolderOptions) -> Skeleton:
    if options.skeleton:
        return known_skeleton(options.skeleton)
    if held.joints is not None:
        return held.joints.skeleton
    return held.keypoints.skeleton if held.keypoints is not None else Skeleton("none", (), ())


def _labels(held: FolderRecording, joints: Skeleton, split: str, options: FolderOptions, work: Work) -> Labels:
    """Labels of one recording: V images a frame, in the order of frames."""
    recording = held.recording
    views = len(recording.names)
    frames = np.arange(0, recording.length, options.step)
    people = people_in_views(held, frames, joints)
    for note in people.notes:
        work.note(f"{held.name}: {note}")
    place = np.full(recording.length, -1)
    place[frames] = np.arange(len(frames))
    return Labels(
        name="own",
        version=VERSION,
        skeleton=joints,
        images=Images(
            path=_paths(held, frames, options, work),
            size=np.tile(image_sizes(recording), (len(frames), 1)),
            camera=np.tile(np.arange(views) if recording.cameras is not None else np.full(views, -1), len(frames)),
            sequence=np.full(views * len(frames), held.name),
            frame=np.repeat(frames, views),
            moment=np.repeat(np.arange(len(frames)), views),
            view=np.tile(np.arange(views), len(frames)),
        ),
        split=np.full(views * len(frames), split),
        image=place[people.frame] * views + people.view,
        person=people.person,
        values=_values(people),
        cameras=None if recording.cameras is None else replace(recording.cameras, names=recording.names),
    )


def _values(people: PeopleInViews) -> dict[str, Array]:
    columns = {"joints": people.joints, "keypoints": people.keypoints}
    return {name: column for name, column in columns.items() if column is not None}


def _paths(held: FolderRecording, frames: Array, options: FolderOptions, work: Work) -> Array:
    """(T * V,) the file of each image; empty for frames of videos that are not written."""
    columns = [_paths_of_view(held, view, frames, options, work) for view in range(len(held.recording.names))]
    texts = np.array(columns, dtype=np.str_).reshape(len(columns), len(frames))
    return texts.T.reshape(-1)


def _paths_of_view(
    held: FolderRecording, view: int, frames: Array, options: FolderOptions, work: Work
) -> Sequence[str]:
    source = held.recording.frames[view]
    if source is None:
        return [""] * len(frames)
    if source.files[0].suffix.lower() in IMAGE_SUFFIXES:
        return [relative_path(source.files[frame], work.out) for frame in frames.tolist()]
    if not options.images:
        work.note(f"{held.name}: the frames of {source.files[0].name} were not written as images.")
        return [""] * len(frames)
    folder = f"images/{file_stem(held.name)}/{file_stem(held.recording.names[view])}"
    names = [f"{folder}/{frame:06d}.jpg" for frame in frames.tolist()]
    _write_frames(held, view, dict(zip(frames.tolist(), names, strict=True)), work)
    return names


def _write_frames(held: FolderRecording, view: int, names: Mapping[int, str], work: Work) -> None:
    """Write some frames of a view as JPEG, once."""
    source, key = held.recording.frames[view], f"images of {held.name}/{held.recording.names[view]}"
    if source is None or not names:
        return
    work.record(source.files[0])
    if work.done(key):
        return
    last = max(names) + 1
    for frame, image in enumerate(work.progress(source.frames(0, last), last, key)):
        if frame in names:
            write_jpeg(work.out / names[frame], image)
    work.finish(key)


def _with_boxes(labels: Labels) -> Labels:
    """The labels with projected joints where keypoints are missing, and the box of each person's keypoints."""
    if labels.cameras is not None and labels.cameras.has_extrinsics:
        labels = with_keypoints(labels)
    if "keypoints" not in labels.values:
        return labels
    boxes = expand_boxes(boxes_of_points(labels.values["keypoints"]), JOINT_BOX)
    return replace(labels, values={**labels.values, "box": boxes})
