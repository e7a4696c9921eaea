"""From films of a board, or of people, to cameras, their files and a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from marey.calibrate.assessment import camera_names
from marey.calibrate.board_agreement import agree_about_boards
from marey.calibrate.board_findings import what_else
from marey.calibrate.boards import Board, parse_board
from marey.calibrate.calibration import BoardObservations, Calibration
from marey.calibrate.extrinsics import ExtrinsicsConfig, calibrate_extrinsics
from marey.calibrate.intrinsics import IntrinsicsConfig, calibrate_intrinsics
from marey.calibrate.lens_models import LensModelName
from marey.calibrate.people import PeopleRefinementConfig, refine_with_people
from marey.calibrate.people_agreement import agree_about_people
from marey.calibrate.plausibility import check_cameras, check_people
from marey.calibrate.report import CalibrationReport, write_calibration_report
from marey.core import CalibrationError, Cameras, InputError, Recording
from marey.io.atomic import check_writable
from marey.io.camera_files import read_cameras
from marey.io.camera_toml import write_camera_toml
from marey.io.units import Unit
from marey.pipeline.calibration_evidence import (
    Inputs,
    PathLike,
    find_people,
    listed,
    open_views,
    paths_of,
    search_board,
)
from marey.pipeline.calibration_reports import about_people, make_report, odd_numbers, reachable_px, with_given_names
from marey.pipeline.outputs import DEFAULT_FPS
from marey.pipeline.progress import Stages

CAMERA_FILE = "calibration.toml"
"""What a calibration is written to."""
LEAST_SHARED = 3
"""Boards that connect two views, where there are so many moments."""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Settings of a calibration. The defaults suit a board that is carried about before synchronised cameras."""

    only: Literal["everything", "intrinsics"] = "everything"
    """`intrinsics`: photographs that were not taken at the same time tell about the lenses only."""
    given_intrinsics: Literal["held", "adjusted"] = "held"
    """What is done with intrinsics that are given."""
    lens: LensModelName | Literal["auto"] = "auto"
    """Distortion terms to estimate. `auto`: the simplest that predicts boards it was not fitted to."""
    every: int | None = None
    """Search each n-th frame. None: all, or as many as 600 of a long film, evenly spread."""
    ground: int | None = None
    """The frame in which the board lies on the ground: it then defines the world, z up. None: the first camera does."""
    unconnected: Literal["raise", "leave_out"] = "raise"
    """What to do if some views share no boards with the others: an error, or go on with the largest group."""
    unit: Unit | float | None = None
    """Of camera files, where they do not say it."""
    fps: float | None = None
    """Frames per second, where the inputs do not say it."""
    detector: str = "auto"
    """Of people, in videos and images: `auto`, `marey`, `mediapipe`, or the path of an ONNX model."""
    people: int | None = None
    """How many people to follow. None: everyone but bystanders."""

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise InputError(f"every: expected 1 or more, got {self.every}")


_DEFAULTS = CalibrateConfig()


def calibrate(
    inputs: Inputs,
    board: Board | str,
    *,
    intrinsics: PathLike | None = None,
    out: PathLike | None = None,
    config: CalibrateConfig = _DEFAULTS,
    progress: bool = False,
) -> Calibration:
    """Calibrate cameras from films or photographs of a board.

    Args:
        inputs: videos or image folders, one a view; or one folder that holds them. Pictures of one number (frame, place
            in the folder) were taken at the same moment unless `config.only` is `intrinsics`.
        board: what is seen, or its words: `charuco:7x5:0.04:DICT_4X4_50`, `checkerboard:7x4:0.060`.
        intrinsics: camera file whose intrinsics are used; views match its cameras by name, else by natural order. None:
            they are estimated from the same inputs, and adjusted together with the places of the cameras.
        out: folder for calibration.toml, report.html and report.json. None: no files.
        config: everything else that can be set.
        progress: show bars.

    Returns:
        The cameras with the deviation of every parameter, what they were made from, and what there is to know.

    Raises:
        InputError, CalibrationError, FormatError: each says what to do. If the lenses could be calibrated but not the
            places of the cameras, the lenses are written before the error is raised.
    """
    folder = None if out is None else check_writable(out)
    board = parse_board(board) if isinstance(board, str) else board
    stages = Stages(progress)
    recording = open_views(inputs, stages, calibration=intrinsics, unit=config.unit, fps=config.fps)
    facts = {"Board": board.spec, "Inputs": listed(inputs)}
    if recording.cameras is not None:
        facts["Intrinsics"] = f"{Path(str(intrinsics))}, {config.given_intrinsics}"
    task = _Task(recording=recording, folder=folder, facts=facts, config=config, stages=stages)
    together = config.only == "everything" and len(recording.names) > 1
    observations = search_board(recording, board, stages, every=config.every, simultaneous=config.only == "everything")
    lenses = None if together and recording.cameras is not None else _lenses(observations, task)
    if lenses is not None and not together:
        return _finished(lenses, task)
    return _finished(_placed(observations, lenses, task), task)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is calibrated, how, and where it goes."""

    recording: Recording
    folder: Path | None
    facts: Mapping[str, str]
    config: CalibrateConfig
    stages: Stages


def _lenses(observations: BoardObservations, task: _Task) -> Calibration:
    """Lenses as a calibration without places; each view has boards of its own."""
    with task.stages("lenses"), _telling(observations):
        found = calibrate_intrinsics(observations, config=IntrinsicsConfig(model=task.config.lens))
    return Calibration(
        cameras=found.cameras,
        parameter_names=found.parameter_names,
        deviation=found.deviation,
        observations=replace(observations, simultaneous=False),
        residuals=found.residuals,
        used=found.used,
        rejected=found.rejected,
        findings=(*found.findings, *observations.findings),
        notes=found.notes,
    )


def _placed(observations: BoardObservations, lenses: Calibration | None, task: _Task) -> Calibration:
    """Place the cameras; lenses that were estimated are adjusted with the places, and are not lost if that fails."""
    config, cameras = task.config, task.recording.cameras if lenses is None else lenses.cameras
    assert cameras is not None
    settings = ExtrinsicsConfig(
        intrinsics="adjust" if lenses is not None or config.given_intrinsics == "adjusted" else "hold",
        world_moment=config.ground,
        unconnected=config.unconnected,
        least_shared=min(LEAST_SHARED, len(observations.moments)),
    )
    try:
        with task.stages("places"), _telling(observations, cameras):
            placed = calibrate_extrinsics(observations, replace(cameras, names=observations.names), config=settings)
    except (CalibrationError, InputError) as error:
        if lenses is None or task.folder is None:
            raise
        _finished(lenses, task)
        raise type(error)(f"{error} The lenses are kept in {task.folder / CAMERA_FILE}") from error
    placed = with_given_names(placed, task.recording)
    if lenses is None:
        return placed
    # of the lenses' own findings those about how they fit stay true; the numbers are now those of the whole
    findings = tuple(dict.fromkeys((*placed.findings, *lenses.findings)))
    return replace(placed, findings=findings, notes=(*placed.notes, *lenses.notes))


@contextmanager
def _telling(observations: BoardObservations, cameras: Cameras | None = None) -> Iterator[None]:
    """Let errors also say what is known to be wrong with the pictures and with lenses that were given."""
    try:
        yield
    except (CalibrationError, InputError) as error:
        lenses = () if cameras is None else odd_numbers(replace(cameras, rotation=None, translation=None))
        wrong = [f"{finding.text} {finding.advice}" for finding in lenses if finding.severity == "problem"]
        told = " ".join([f"{str(error).rstrip('.')}.", *wrong, what_else(observations)])
        raise type(error)(told.rstrip()) from error


def _finished(calibration: Calibration, task: _Task) -> Calibration:
    """Write the files; the cameras first, as the report needs much more that can go wrong."""
    calibration = replace(calibration, notes=(*task.recording.notes, *calibration.notes))
    if task.folder is not None:
        with task.stages("report"):
            write_camera_toml(task.folder / CAMERA_FILE, calibration.cameras)
            odd = odd_numbers(calibration.cameras) if calibration.cameras.has_extrinsics else ()
            title = f"Calibration of {len(calibration.cameras.intrinsics)} cameras"
            report = make_report(calibration, task.facts, findings=odd, title=title)
            write_calibration_report(task.folder, report)
    return calibration


def check_calibration(
    file: PathLike,
    inputs: Inputs = (),
    *,
    board: Board | str | None = None,
    out: PathLike | None = None,
    config: CalibrateConfig = _DEFAULTS,
    progress: bool = False,
) -> CalibrationReport:
    """Say what an existing calibration is worth, without changing it.

    Args:
        file: camera file.
        inputs: a recording by these cameras: of a board, or of people. Empty: the file alone is looked at.
        board: what is seen in the inputs. None: people are.
        out: folder for report.html and report.json; keypoints that a detector has found are kept there. None: no files.
        config: everything else that can be set.
        progress: show bars.

    Raises:
        InputError, CalibrationError, FormatError: each says what to do.
    """
    folder = None if out is None else check_writable(out)
    stages = Stages(progress)
    facts = {"Calibration": str(Path(file))}
    if not paths_of(inputs):
        if board is not None:
            raise InputError("a board, but no recording of it; give the videos or image folders that show it")
        cameras = read_cameras(file, unit=config.unit, dtype=torch.float64)
        calibration = Calibration(cameras=cameras)
        report = make_report(calibration, facts, findings=check_cameras(cameras), title=f"{Path(file).name}, checked")
    else:
        facts["Inputs"] = listed(inputs)
        recording = open_views(inputs, stages, calibration=file, unit=config.unit, fps=config.fps)
        if recording.cameras is None or not recording.cameras.has_extrinsics:
            raise CalibrationError(
                f"{file}: no camera positions in it; check it without a recording, or calibrate them"
            )
        if board is None:
            report = _checked_by_people(recording, facts, folder, config, stages)
        else:
            report = _checked_by_board(recording, board, facts, config, stages)
    if folder is not None:
        write_calibration_report(folder, report)
    return report


def _checked_by_board(
    recording: Recording, board: Board | str, facts: Mapping[str, str], config: CalibrateConfig, stages: Stages
) -> CalibrationReport:
    board = parse_board(board) if isinstance(board, str) else board
    observations = search_board(recording, board, stages, every=config.every, simultaneous=True)
    assert recording.cameras is not None
    with stages("compare"):
        calibration = with_given_names(agree_about_boards(observations, recording.cameras), recording)
    return make_report(
        replace(calibration, notes=(*recording.notes, *calibration.notes)),
        {**facts, "Board": board.spec},
        findings=odd_numbers(calibration.cameras),
        title=f"{Path(facts['Calibration']).name}, checked by a board",
    )


def _checked_by_people(
    recording: Recording, facts: Mapping[str, str], folder: Path | None, config: CalibrateConfig, stages: Stages
) -> CalibrationReport:
    keypoints, cameras, notes = find_people(recording, folder, stages, detector=config.detector, people=config.people)
    agreement = agree_about_people(keypoints, cameras)
    about, heights = about_people(keypoints, cameras, agreement)
    reachable = reachable_px(keypoints, cameras, recording.fps or DEFAULT_FPS)
    found = check_people(agreement, camera_names(cameras), reachable_px=reachable)
    findings = (*found, *about, *odd_numbers(cameras))
    return make_report(
        Calibration(cameras=cameras, notes=(*notes, *heights)),
        facts,
        findings=findings,
        agreement=agreement,
        title=f"{Path(facts['Calibration']).name}, checked by people",
    )


def refine_calibration(
    file: PathLike,
    inputs: Inputs,
    *,
    out: PathLike | None = None,
    intrinsics: bool = False,
    config: CalibrateConfig = _DEFAULTS,
    progress: bool = False,
) -> CalibrationReport:
    """Refine a calibration by the people in a recording (bundle adjustment on their keypoints).

    The report's errors are of frames that took no part. If the refined cameras are no better there, those given are
    kept.

    Args:
        file: camera file.
        inputs: recording of people by these cameras: keypoint folders, videos or images.
        out: folder for calibration.toml, report.html and report.json. None: no files.
        intrinsics: adjust the focal lengths and principal points too.
        config: everything else that can be set.
        progress: show bars.

    Raises:
        InputError, CalibrationError, FormatError: each says what to do.
    """
    folder = None if out is None else check_writable(out)
    stages = Stages(progress)
    facts = {"Calibration": str(Path(file)), "Refined with": listed(inputs)}
    recording = open_views(inputs, stages, calibration=file, unit=config.unit, fps=config.fps)
    keypoints, cameras, notes = find_people(recording, folder, stages, detector=config.detector, people=config.people)
    with stages("adjust"):
        result = refine_with_people(
            keypoints,
            cameras,
            fps=recording.fps or DEFAULT_FPS,
            config=PeopleRefinementConfig(intrinsics=intrinsics),
        )
    calibration = result.calibration
    findings = check_people(result.after if result.refined else result.before, camera_names(calibration.cameras))
    report = make_report(
        replace(calibration, notes=(*notes, *calibration.notes)),
        facts,
        findings=findings,
        agreement=result.after if result.refined else result.before,
        title=f"{Path(file).name}, refined with people",
    )
    if folder is not None:
        write_camera_toml(folder / CAMERA_FILE, calibration.cameras)
        write_calibration_report(folder, report)
    return report
