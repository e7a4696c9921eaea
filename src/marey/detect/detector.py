"""Detectors: images in, keypoints out; each lives in a module of its own that is loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from marey.core import (
    Boxes,
    Detections2D,
    FrameSource,
    Image,
    InputError,
    Keypoints2D,
    MissingDependencyError,
    Recording,
    ShapeError,
    Skeleton,
)

DETECTORS = {
    "marey": "marey.detect.trunk:MareyPose",
    "mediapipe": "marey.detect.mediapipe:MediaPipePose",
    "onnx": "marey.detect.onnx:OnnxPose",
}
"""Name -> where it is."""


class Detector(Protocol):
    """Finds people and their joints in the images of one camera."""

    name: str
    """Chooses the noise model, see `default_noise`."""
    skeleton: Skeleton

    def __call__(self, frames: Iterable[Image], boxes: Boxes | None = None) -> Iterator[Detections2D]:
        """Yield the detections (P,) of each frame, best first; P differs from frame to frame.

        Frames are taken one by one and not kept. Keypoints have a covariance only if the detector knows one, else NaN.

        Args:
            frames: of one view, in order.
            boxes: (T, P) where to look for people; None: the detector looks by itself.
        """
        ...


def open_detector(spec: str, **options: Any) -> Detector:
    """Open a detector by its name in `DETECTORS`, or by the path of an ONNX file.

    Args:
        spec: `marey`; or `mediapipe`; or `pose.onnx`; or `pose.onnx,person.onnx`, the second one finding the people.
        **options: of the detector's class.

    Raises:
        InputError: there is no such detector.
        MissingAssetError: the file is not there.
        MissingDependencyError: what the detector needs is not installed.
    """
    first, _, second = spec.partition(",")
    if first.lower().endswith(".onnx"):
        if second:
            options = {"person": Path(second.strip()), **options}
        return cast(Detector, _load("onnx")(Path(first), **options))
    if spec not in DETECTORS or spec == "onnx":
        raise InputError(
            f"no detector '{spec}'; expected marey, mediapipe, or the path of a pose model that ends in .onnx"
        )
    return cast(Detector, _load(spec)(**options))


def default_detector() -> str:
    """Name of what `open_default_detector` opens: `mediapipe` if it is installed, otherwise `marey`."""
    return "mediapipe" if find_spec("mediapipe") else "marey"


def open_default_detector() -> tuple[Detector, tuple[str, ...]]:
    """Open `mediapipe` if it is installed, otherwise `marey`, which needs nothing; and say so in a note."""
    try:
        return open_detector("mediapipe"), ()
    except MissingDependencyError:
        note = (
            "MediaPipe is not installed: Marey's own detector was taken, which was trained on synthetic pictures "
            "alone; --detector chooses another one."
        )
        return open_detector("marey"), (note,)


def detect_recording(
    recording: Recording,
    detector: Detector,
    *,
    span: tuple[int, int] | None = None,
    people: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Detections2D:
    """Run a detector over all views of a recording, one frame in memory at a time.

    Args:
        recording: with frames in every view.
        detector: opened.
        span: first frame and the one after the last; None: all that every view has.
        people: the most detections to keep of a frame, the best ones; None: all.
        progress: called with the number of frames done since it was last called, as `tqdm.update`.

    Returns:
        (V, T, P), P the most that were found in any frame, at least 1; empty slots are NaN with score 0.

    Raises:
        InputError: a view has no frames to look at, or fewer than the span asks for.
    """
    start, stop = span if span is not None else (0, recording.length)
    views = [
        _detect_view(_frames_of(recording, view), detector, (start, stop), progress)
        for view in range(len(recording.names))
    ]
    for name, found in zip(recording.names, views, strict=True):
        if len(found) != stop - start:
            raise InputError(
                f"{name}: expected the frames {start} to {stop - 1}, got {len(found)}; the video is shorter than its "
                "header says, ask for fewer frames"
            )
    return pack_detections(views, detector.skeleton, people)


def pack_detections(
    views: Sequence[Sequence[Detections2D]], skeleton: Skeleton, people: int | None = None
) -> Detections2D:
    """Lay the detections (P,) of V views times T frames into one container (V, T, P).

    Args:
        views: of each view the detections of each frame; all have the same optional fields, where they are not empty.
        skeleton: of the keypoints, also where there are none.
        people: the most slots to keep, the first ones.

    Raises:
        ShapeError: the views have different numbers of frames.
    """
    frames = {len(view) for view in views}
    if len(frames) != 1:
        raise ShapeError(f"detections: expected the same number of frames in every view, got {sorted(frames)}")
    flat = [found for view in views for found in view]
    most = max((found.batch_shape[0] for found in flat), default=0)
    slots = max(1, most if people is None else min(most, people))
    shape = (len(views), frames.pop(), slots)
    joints = len(skeleton)

    def laid(pick: Callable[[Detections2D], Tensor | None], trailing: tuple[int, ...], missing: float) -> Tensor | None:
        found = [pick(detections) for detections in flat]
        if found and all(values is None for values in found):
            return None
        out = torch.full((len(flat), slots, *trailing), missing)
        for row, values in zip(out, found, strict=True):
            if values is not None:
                row[: len(values)] = values[:slots]
        return out.reshape(*shape, *trailing)

    def kept(pick: Callable[[Detections2D], Tensor], trailing: tuple[int, ...], missing: float) -> Tensor:
        return cast(Tensor, laid(pick, trailing, missing))

    corners = laid(lambda d: None if d.boxes is None else d.boxes.corners, (4,), torch.nan)
    box_score = laid(lambda d: None if d.boxes is None else d.boxes.score, (), 0.0)
    return Detections2D(
        keypoints=Keypoints2D(
            positions=kept(lambda d: d.keypoints.positions, (joints, 2), torch.nan),
            covariance=kept(lambda d: d.keypoints.covariance, (joints, 2, 2), torch.nan),
            score=kept(lambda d: d.keypoints.score, (joints,), 0.0),
            skeleton=skeleton,
        ),
        boxes=None if corners is None or box_score is None else Boxes(corners=corners, score=box_score),
        monocular=laid(lambda d: d.monocular, (joints, 3), torch.nan),
    )


def _detect_view(
    source: FrameSource, detector: Detector, span: tuple[int, int], progress: Callable[[int], object] | None
) -> list[Detections2D]:
    found = []
    for detections in detector(source.frames(*span)):
        found.append(detections)
        if progress is not None:
            progress(1)
    return found


def _frames_of(recording: Recording, view: int) -> FrameSource:
    source = recording.frames[view]
    if source is None:
        raise InputError(
            f"{recording.names[view]}: expected a video or images to detect people in, got keypoints only; "
            "estimate from the keypoints, without a detector"
        )
    return source


def _load(name: str) -> Any:
    module, _, attribute = DETECTORS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
