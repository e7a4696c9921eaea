"""MeTRAbs's way through the films of 3DPW: detect, estimate, follow, and write what the challenge reads.

For every sequence `OUT/gtassoc/SPLIT/SEQUENCE.pkl`, or `OUT/nogtassoc/...`, holds `jointPositions`
(people, frames, 24, 3) in the camera's frame, metres. Sequences whose file is there are not done again. (The program of
2020 looked at sequences with `capoeira` in their names only, a leftover of its author's work; all are done here.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError, MissingAssetError, ShapeError
from marey.core.skeletons import skeleton
from marey.data.prepare.pw3d import SPLITS
from marey.data.prepare.pw3d_sequences import Pw3dSequence, read_pw3d_sequence
from marey.geometry.field_of_view import cameras_from_field_of_view
from marey.geometry.projection import project_from_camera
from marey.io.atomic import check_writable
from marey.io.images import ImageFrames
from marey.io.predictions_published import write_pw3d_predictions
from marey.methods.metrabs.plausibility import PlausibilityFilter, has_plausible_bones, suppress_similar
from marey.methods.metrabs.tracks import TrackingRules, Tracks
from marey.metrics.protocols.association import JOINTS
from marey.metrics.protocols.smoothing import completed_track, smoothed_track

FIELD_OF_VIEW = 60.0
"""Degrees along the larger side of the image: what is assumed where the intrinsics are not to be used."""
SMPL = skeleton("smpl_24")

_RULES = TrackingRules()

Smoothing = Literal["none", "causal", "acausal"]
Association = Literal["labels", "first_frame", "none"]


class PersonFinder(Protocol):
    """Finds people in an image."""

    def __call__(self, image: Image) -> Tensor:
        """(N, 5) left, top, width, height in pixels, confidence in 0..1."""
        ...


class PoseFinder(Protocol):
    """Says how the people in boxes of an image stand."""

    def __call__(self, image: Image, boxes: Tensor, cameras: Cameras) -> Tensor:
        """(N, 24, 3) joints of SMPL in the camera's frame, metres, for boxes (N, 4) of left, top, width, height."""
        ...


class Selection(Protocol):
    """Leaves out poses that nobody can take, and the second of two of the same person."""

    def __call__(self, poses: Tensor, scores: Tensor) -> Tensor:
        """Which of the poses (N, 24, 3) stay: places (M,), the surest first."""
        ...


class Bars(Protocol):
    """Shows progress."""

    def __call__(self, name: str, *, total: int) -> AbstractContextManager[Callable[[int], object]]:
        """Within the context, what it gives is called with the number of frames done since it was last called."""
        ...


def _silent(name: str, *, total: int) -> AbstractContextManager[Callable[[int], object]]:
    return nullcontext(lambda count: None)


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How films are worked on; the defaults are the published ones but for what their comments say."""

    association: Association = "first_frame"
    """What tells who is who. `labels`: those of the image in every frame (the published --gt-assoc); `first_frame`:
    only at the start (--no-gt-assoc); `none`: whoever is found first."""
    real_intrinsics: bool = False
    """Whether the camera's own intrinsics are used, and not those of an assumed field of view."""
    field_of_view: float = FIELD_OF_VIEW
    """Degrees along the larger side."""
    smoothing: Smoothing = "none"
    """`causal` looks at two frames before, `acausal` at two after too."""
    missing_start: Literal["first", "nan"] = "first"
    """What somebody has before they are first found: their first pose, or as published NaN, which no program can
    score."""
    rules: TrackingRules = _RULES


_OPTIONS = VideoOptions()


def plausible_people(poses: Tensor, scores: Tensor) -> Tensor:
    """Which of the poses (N, 24, 3) have the bones of people, but for those that stand nearly like a surer one.

    These are the rules of 2020; the bones they are compared with are those of the open body.
    """
    rule = _filter()
    alive = has_plausible_bones(poses, rule.edges, rule.lengths.to(poses)).nonzero()[:, 0]
    return alive[suppress_similar(rule.similarity(poses[alive]), scores[alive])]


@cache
def _filter() -> PlausibilityFilter:
    return PlausibilityFilter.of(SMPL, closest_joints=True)


class Film(NamedTuple):
    """What is known of a film beforehand."""

    frames: Iterable[Image]
    cameras: Cameras
    """()"""
    labelled: Tensor | None = None
    """(T, K, 8, 3) pixels and confidence of the joints that 3DPW's people are known again by; None: nobody is."""


def follow_people(
    film: Film,
    find_people: PersonFinder,
    find_poses: PoseFinder,
    *,
    select: Selection = plausible_people,
    options: VideoOptions = _OPTIONS,
    done: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """Estimate and follow the people in a film, a frame in memory at a time.

    Args:
        film: With labels if the association is by labels.
        find_people: In an image.
        find_poses: In boxes of it.
        select: Which poses stay.
        options: How.
        done: Called with 1 for each frame, as `tqdm.update`.

    Returns:
        (K, T, 24, 3) metres in the camera's frame, NaN where somebody was not found. K is the number of labelled
        people, or of those in the first frame that shows anybody.

    Raises:
        InputError: the association needs labels, and there are none for a frame.
        ShapeError: poses are not of the 24 joints of SMPL.
    """
    if options.association != "none" and film.labelled is None:
        raise InputError(f"labelled: the association by {options.association} needs labels of the image; or take none")
    known = None if options.association == "none" or film.labelled is None else film.labelled.shape[1]
    tracks, count = Tracks(len(SMPL), people=known, rules=options.rules), 0
    for frame, image in enumerate(film.frames):
        boxes = tracks.boxes(frame, find_people(image), film.cameras)
        poses, scores = _selected(find_poses(image, boxes[:, :4], film.cameras), boxes[:, 4], select)
        by_labels = options.association == "labels" or (options.association == "first_frame" and frame == 0)
        if by_labels:
            assert film.labelled is not None  # checked above
            if frame >= len(film.labelled):
                raise InputError(f"labelled: the film has more frames than the {len(film.labelled)} that are labelled")
            tracks.by_labels(frame, poses, project_from_camera(poses, film.cameras), film.labelled[frame])
        else:
            tracks.by_motion(frame, poses, scores)
        count = frame + 1
        done(1)
    return tracks.finished(count)


def _selected(poses: Tensor, scores: Tensor, select: Selection) -> tuple[Tensor, Tensor]:
    if poses.shape != (len(scores), len(SMPL), 3):
        raise ShapeError(f"poses: expected {(len(scores), len(SMPL), 3)}, joints of smpl_24, got {tuple(poses.shape)}")
    kept = select(poses, scores)
    return poses[kept].double(), scores[kept]


def completed_poses(poses: Tensor, options: VideoOptions = _OPTIONS) -> Tensor:
    """Poses (K, T, J, 3) with a pose in every frame, as the challenge wants them, and smoothed if that is asked for.

    Who was never found stays NaN.
    """
    found = completed_track(poses)
    if options.missing_start == "first":
        found = completed_track(found.flip(-3)).flip(-3)
    if options.smoothing != "none" and found.shape[-3] > 1:
        found = smoothed_track(found, causal=options.smoothing == "causal")
    return found


def predict_pw3d(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    find_people: PersonFinder,
    find_poses: PoseFinder,
    *,
    select: Selection = plausible_people,
    options: VideoOptions = _OPTIONS,
    splits: Sequence[str] = SPLITS,
    sequences: Sequence[str] = (),
    bars: Bars = _silent,
) -> list[Path]:
    """Predict the sequences of 3DPW and write the challenge's files.

    Args:
        root: Of the download: `imageFiles` and `sequenceFiles`.
        out: Folder.
        find_people: In an image.
        find_poses: In boxes of it.
        select: Which poses stay.
        options: How.
        splits: Of the official ones.
        sequences: By name; none: all.
        bars: Shows the progress of a sequence.

    Returns:
        The files of all asked sequences, those too that were there.

    Raises:
        MissingAssetError: labels or pictures are absent.
        InputError: there is no such sequence.
        FormatError: a file of labels is damaged.
    """
    found = _sequence_files(Path(root), splits, sequences)
    folder = Path(out) / ("gtassoc" if options.association == "labels" else "nogtassoc")
    written = []
    for split, path in found:
        written.append(folder / split / f"{path.stem}.pkl")
        if written[-1].exists():
            continue
        labels = read_pw3d_sequence(path)
        film = open_film(Path(root), labels, options)
        with bars(path.stem, total=len(labels)) as done:
            poses = follow_people(film, find_people, find_poses, select=select, options=options, done=done)
        check_writable(folder / split)
        write_pw3d_predictions(written[-1], completed_poses(poses, options))
    return written


def _sequence_files(root: Path, splits: Sequence[str], names: Sequence[str]) -> list[tuple[str, Path]]:
    if unknown := [split for split in splits if split not in SPLITS]:
        raise InputError(f"splits: expected some of {', '.join(SPLITS)}, got {', '.join(unknown)}")
    files = [(split, path) for split in splits for path in sorted((root / "sequenceFiles" / split).glob("*.pkl"))]
    if not files:
        raise MissingAssetError(
            f"{root / 'sequenceFiles'}: no labels of the splits {', '.join(splits)}; `marey data list 3dpw` says what "
            "to download"
        )
    if absent := set(names) - {path.stem for _, path in files}:
        raise InputError(f"sequences: no {', '.join(sorted(absent))} in the splits {', '.join(splits)}")
    return [(split, path) for split, path in files if not names or path.stem in names]


def open_film(root: Path, sequence: Pw3dSequence, options: VideoOptions = _OPTIONS) -> Film:
    """The pictures of a sequence of 3DPW, its camera, and its people's joints in the image.

    Raises:
        MissingAssetError: a picture is absent.
    """
    paths = [root / "imageFiles" / sequence.name / f"image_{frame:05d}.jpg" for frame in range(len(sequence))]
    if absent := next((path for path in paths if not path.exists()), None):
        raise MissingAssetError(f"{absent} does not exist; `marey data list 3dpw` says what to download")
    source = ImageFrames(paths)
    cameras = default_camera(source.size, options.field_of_view)
    if options.real_intrinsics:
        cameras = replace(cameras, intrinsics=torch.from_numpy(sequence.intrinsics))
    places = skeleton("coco_18").indices(JOINTS)
    labelled = torch.from_numpy(sequence.keypoints[:, :, places]).transpose(0, 1)
    return Film(source.frames(), cameras, labelled)


def default_camera(size: tuple[int, int], degrees: float = FIELD_OF_VIEW, *, published: bool = False) -> Cameras:
    """The camera () that is assumed for images (width, height) whose intrinsics are not known, in double precision.

    Args:
        size: Pixels.
        degrees: Along the larger side.
        published: Whether the optical axis is half a pixel right and below of the image's middle, as the original has
            it, which takes half the width where pixel centres are at integers.

    Raises:
        InputError: the angle is not between 0 and 180 degrees.
    """
    cameras = cameras_from_field_of_view(torch.tensor(size, dtype=torch.float64), degrees)
    if not published:
        return cameras
    shift = torch.zeros(3, 3, dtype=torch.float64)
    shift[:2, 2] = 0.5
    return replace(cameras, intrinsics=cameras.intrinsics + shift)
