"""What cameras are calibrated or checked by, found in a recording: a board, or people."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from marey.calibrate.board_detection import detect_boards
from marey.calibrate.boards import Board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.people_evidence import gather_people
from marey.core import CalibrationError, Cameras, InputError, Keypoints2D, Recording
from marey.io.camera_files import read_cameras
from marey.io.recordings import open_recording, with_cameras
from marey.io.units import Unit
from marey.pipeline.detections import find_detections
from marey.pipeline.outputs import DEFAULT_FPS
from marey.pipeline.progress import Stages

PathLike = str | os.PathLike[str]
Inputs = PathLike | Sequence[PathLike]


def paths_of(inputs: Inputs) -> list[Path]:
    """One path or several, as a list."""
    return [Path(inputs)] if isinstance(inputs, (str, os.PathLike)) else [Path(path) for path in inputs]


def listed(inputs: Inputs) -> str:
    """The paths for people."""
    return ", ".join(map(str, paths_of(inputs)))


def open_views(
    inputs: Inputs, stages: Stages, *, calibration: PathLike | None, unit: Unit | float | None, fps: float | None
) -> Recording:
    """Open a recording and give its views their cameras, in double precision."""
    with stages("open the recording"):
        recording = open_recording(paths_of(inputs), fps=fps)
        if calibration is None:
            return recording
        return with_cameras(recording, read_cameras(calibration, unit=unit, dtype=torch.float64))


def search_board(
    recording: Recording, board: Board, stages: Stages, *, every: int | None, simultaneous: bool
) -> BoardObservations:
    """Find the board in the frames of all views.

    Raises:
        InputError: a view has keypoints only, or no view shows the board.
    """
    blind = [name for name, source in zip(recording.names, recording.frames, strict=True) if source is None]
    if blind:
        raise InputError(f"{', '.join(blind)}: keypoints only; a board is found in videos or images")
    with ExitStack() as shown:
        step: Callable[[int], object] | None = None
        done = 0

        def advance(count: int, total: int) -> None:
            nonlocal done, step
            step = step or shown.enter_context(stages.bar("find the board", total=total))
            step(count - done)
            done = count

        return detect_boards(
            recording,
            board,
            every=every,
            simultaneous=simultaneous,
            progress=advance if stages.enabled else None,
        )


def find_people(
    recording: Recording, folder: Path | None, stages: Stages, *, detector: str, people: int | None
) -> tuple[Keypoints2D, Cameras, tuple[str, ...]]:
    """Find the keypoints of people (V, T, P) in all frames.

    Returns:
        The keypoints, the cameras as they are given, and the notes on the way.

    Raises:
        CalibrationError: the cameras have no places.
        InputError: there is one view only, or nobody is found.
    """
    if recording.cameras is None or not recording.cameras.has_extrinsics:
        raise CalibrationError("the calibration holds no camera positions: people cannot tell them from nothing")
    if len(recording.names) < 2:
        raise InputError("one view cannot disagree with itself; give the recordings of the other cameras too")
    span = range(recording.length)
    with stages.bar("find keypoints", total=len(span) * len(recording.names)) as step:
        found = find_detections(recording, span, detector=detector, people=people, folder=folder, progress=step)
    with stages("who is who"):
        evidence = gather_people(
            found.detections,
            recording.cameras.to(found.detections.keypoints.positions.dtype),
            detector=found.detector,
            fps=recording.fps or DEFAULT_FPS,
            people=people,
        )
    return evidence.keypoints, recording.cameras, (*recording.notes, *found.notes, *evidence.notes)
