"""From films of a board, or of people, to cameras, their files and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from marey.calibrate.assessment import assess, camera_names
from marey.calibrate.board_agreement import agree_about_boards
from marey.calibrate.board_detection import detect_boards
from marey.calibrate.boards import Board, parse_board
from marey.calibrate.calibration import BoardObservations, Calibration, Finding
from marey.calibrate.extrinsics import ExtrinsicsConfig, calibrate_extrinsics
from marey.calibrate.intrinsics import IntrinsicCalibration, IntrinsicsConfig, calibrate_intrinsics
from marey.calibrate.lens_models import LensModelName
from marey.calibrate.people import PeopleRefinementConfig, refine_with_people
from marey.calibrate.people_agreement import PeopleAgreement, agree_about_people
from marey.calibrate.people_evidence import gather_people
from marey.calibrate.plausibility import camera_heights, check_cameras, check_people, check_stature
from marey.calibrate.report import CalibrationReport, write_calibration_report
from marey.calibrate.rigidity import board_rigidity
from marey.core import CalibrationError, Cameras, InputError, Joints3D, Keypoints2D, Recording
from marey.geometry.triangulation import triangulate
from marey.io.atomic import check_writable
from marey.io.camera_files import read_cameras
from marey.io.camera_parts import Unit
from marey.io.camera_toml import write_camera_toml
from marey.io.recordings import open_recording, with_cameras
from marey.pipeline.detections import find_detections
from marey.pipeline.outputs import DEFAULT_FPS
from marey.pipeline.progress import Stages
from marey.pipeline.world import find_up

PathLike = str | os.PathLike[str]
Inputs = PathLike | Sequence[PathLike]

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
    unit: Unit | None = None
    """Of camera files, where they do not say it."""
    fps: float | None = None
    """Frames per second, where the inputs do not say it."""
    detector: str = "auto"
    """Of people, in videos and images: `auto`, `mediapipe`, or the path of an ONNX model."""
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
    facts = {"Board": board.spec, "Inputs": _listed(inputs)}
    recording = _opened(inputs, config, stages, calibration=intrinsics)
    observations = _search(recording, board, config, stages, simultaneous=config.only == "everything")
    if recording.cameras is not None:
        facts["Intrinsics"] = f"{Path(str(intrinsics))}, {config.given_intrinsics}"
    if config.only == "intrinsics" or len(recording.names) == 1:
        with stages("lenses"):
            lenses = calibrate_intrinsics(observations, config=IntrinsicsConfig(model=config.lens))
        return _finished(_of_lenses(lenses, observations), recording, folder, facts)
    return _everything(observations, recording, folder, facts, config, stages)


def _everything(
    observations: BoardObservations,
    recording: Recording,
    folder: Path | None,
    facts: Mapping[str, str],
    config: CalibrateConfig,
    stages: Stages,
) -> Calibration:
    """Lenses, if they are not given, then the places of the cameras."""
    lenses: Calibration | None = None
    cameras = recording.cameras
    if cameras is None:
        with stages("lenses"):
            found = calibrate_intrinsics(observations, config=IntrinsicsConfig(model=config.lens))
            lenses = _of_lenses(found, observations)
            cameras = found.cameras
    settings = ExtrinsicsConfig(
        intrinsics="adjust" if lenses is not None or config.given_intrinsics == "adjusted" else "hold",
        world_moment=config.ground,
        unconnected=config.unconnected,
        least_shared=min(LEAST_SHARED, len(observations.moments)),
    )
    try:
        with stages("places"):
            placed = calibrate_extrinsics(observations, replace(cameras, names=observations.names), config=settings)
    except CalibrationError as error:
        if lenses is None or folder is None:
            raise
        _finished(lenses, recording, folder, facts)
        raise CalibrationError(f"{error}. The lenses are kept in {folder / CAMERA_FILE}") from error
    placed = _named(placed, recording)
    if lenses is not None:
        # of the lenses' own findings those about how they fit stay true; the numbers are now those of the whole
        placed = replace(placed, findings=(*placed.findings, *lenses.findings), notes=(*placed.notes, *lenses.notes))
    with stages("report"):
        return _finished(placed, recording, folder, facts)


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
    if not _paths(inputs):
        if board is not None:
            raise InputError("a board, but no recording of it; give the videos or image folders that show it")
        cameras = read_cameras(file, unit=config.unit, dtype=torch.float64)
        calibration = Calibration(cameras=cameras)
        report = _report(calibration, facts, findings=check_cameras(cameras), title=f"{Path(file).name}, checked")
    else:
        facts["Inputs"] = _listed(inputs)
        recording = _opened(inputs, config, stages, calibration=file)
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
    observations = _search(recording, board, config, stages, simultaneous=True)
    assert recording.cameras is not None
    with stages("compare"):
        calibration = _named(agree_about_boards(observations, recording.cameras), recording)
    return _report(
        replace(calibration, notes=(*recording.notes, *calibration.notes)),
        {**facts, "Board": board.spec},
        findings=_odd(calibration.cameras),
        title=f"{Path(facts['Calibration']).name}, checked by a board",
    )


def _checked_by_people(
    recording: Recording, facts: Mapping[str, str], folder: Path | None, config: CalibrateConfig, stages: Stages
) -> CalibrationReport:
    keypoints, cameras, notes = _people(recording, folder, config, stages)
    agreement = agree_about_people(keypoints, cameras)
    about, heights = _about_people(keypoints, cameras, agreement)
    reachable = _reachable(keypoints, cameras, recording.fps or DEFAULT_FPS)
    found = check_people(agreement, camera_names(cameras), reachable_px=reachable)
    findings = (*found, *about, *_odd(cameras))
    return _report(
        Calibration(cameras=cameras, notes=(*notes, *heights)),
        facts,
        findings=findings,
        agreement=agreement,
        title=f"{Path(facts['Calibration']).name}, checked by people",
    )


def _reachable(keypoints: Keypoints2D, cameras: Cameras, fps: float) -> float | None:
    """The median error of cameras adjusted to some of the frames, on others; None where people tell too little."""
    try:
        return refine_with_people(keypoints, cameras, fps=fps).after.median_px
    except InputError:
        return None


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
    facts = {"Calibration": str(Path(file)), "Refined with": _listed(inputs)}
    recording = _opened(inputs, config, stages, calibration=file)
    keypoints, cameras, notes = _people(recording, folder, config, stages)
    with stages("adjust"):
        result = refine_with_people(
            keypoints,
            cameras,
            fps=recording.fps or DEFAULT_FPS,
            config=PeopleRefinementConfig(intrinsics=intrinsics),
        )
    calibration = result.calibration
    findings = check_people(result.after if result.refined else result.before, camera_names(calibration.cameras))
    report = _report(
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


def _opened(inputs: Inputs, config: CalibrateConfig, stages: Stages, *, calibration: PathLike | None) -> Recording:
    with stages("open the recording"):
        recording = open_recording(_paths(inputs), fps=config.fps)
        if calibration is None:
            return recording
        return with_cameras(recording, read_cameras(calibration, unit=config.unit, dtype=torch.float64))


def _search(
    recording: Recording, board: Board, config: CalibrateConfig, stages: Stages, *, simultaneous: bool
) -> BoardObservations:
    """Find the board; frames are needed."""
    blind = [name for name, source in zip(recording.names, recording.frames, strict=True) if source is None]
    if blind:
        raise InputError(f"{', '.join(blind)}: keypoints only; a board is found in videos or images")
    with stages.bar("find the board", total=0) as step:
        done = 0

        def advance(count: int, total: int) -> None:
            nonlocal done
            step(count - done)
            done = count

        return detect_boards(
            recording,
            board,
            every=config.every,
            simultaneous=simultaneous,
            progress=advance if stages.enabled else None,
        )


def _people(
    recording: Recording, folder: Path | None, config: CalibrateConfig, stages: Stages
) -> tuple[Keypoints2D, Cameras, tuple[str, ...]]:
    """Keypoints of people, the cameras as they are given, and the notes on the way."""
    if recording.cameras is None or not recording.cameras.has_extrinsics:
        raise CalibrationError("the calibration holds no camera positions: people cannot tell them from nothing")
    if len(recording.names) < 2:
        raise InputError("one view cannot disagree with itself; give the recordings of the other cameras too")
    span = range(recording.length)
    with stages.bar("find keypoints", total=len(span) * len(recording.names)) as step:
        found = find_detections(
            recording, span, detector=config.detector, people=config.people, folder=folder, progress=step
        )
    with stages("who is who"):
        evidence = gather_people(
            found.detections,
            recording.cameras.to(found.detections.keypoints.positions.dtype),
            detector=found.detector,
            fps=recording.fps or DEFAULT_FPS,
            people=config.people,
        )
    return evidence.keypoints, recording.cameras, (*recording.notes, *found.notes, *evidence.notes)


def _about_people(
    keypoints: Keypoints2D, cameras: Cameras, agreement: PeopleAgreement
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Whether people have a human size and cameras stand above the ground; the heights of the cameras."""
    findings = check_stature(keypoints, cameras)
    up, note = find_up(_joints(keypoints, cameras))
    direction = torch.zeros(3, dtype=torch.float64)
    direction["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    heights, _ = camera_heights(cameras.centers, agreement.points, direction)
    names = camera_names(cameras)
    listed = ", ".join(f"{name} {height:.2f} m" for name, height in zip(names, heights.tolist(), strict=True))
    low = [name for name, height in zip(names, heights.tolist(), strict=True) if height < -0.2]
    if low:
        text = f"{', '.join(low)} would stand below the ground that people stand on."
        advice = "The world of the calibration is mirrored or upside down, or its unit is another one."
        findings = (*findings, Finding(severity="notice", text=text, advice=advice))
    return findings, (note, f"Heights above the ground that people stand on: {listed}.")


def _joints(keypoints: Keypoints2D, cameras: Cameras) -> Joints3D:
    found = triangulate(keypoints.positions.double(), cameras.to(torch.float64), method="dlt")
    known = found.positions.isfinite().all(-1)
    return Joints3D(
        positions=found.positions,
        covariance=found.covariance,
        score=known.double(),
        filled=torch.zeros_like(known),
        skeleton=keypoints.skeleton,
    )


def _of_lenses(lenses: IntrinsicCalibration, observations: BoardObservations) -> Calibration:
    """Lenses as a calibration without places; each view has boards of its own."""
    return Calibration(
        cameras=lenses.cameras,
        parameter_names=lenses.parameter_names,
        deviation=lenses.deviation,
        observations=replace(observations, simultaneous=False),
        residuals=lenses.residuals,
        used=lenses.used,
        rejected=lenses.rejected,
        findings=lenses.findings,
        notes=lenses.notes,
    )


def _named(calibration: Calibration, recording: Recording) -> Calibration:
    """With the names of the given cameras, if there were any and no view was left out."""
    given = recording.cameras
    if given is None or not given.names or len(given.names) != len(calibration.cameras.intrinsics):
        return calibration
    return replace(calibration, cameras=replace(calibration.cameras, names=given.names))


def _finished(
    calibration: Calibration, recording: Recording, folder: Path | None, facts: Mapping[str, str]
) -> Calibration:
    """Write the files; the cameras first, as the report needs much more that can go wrong."""
    calibration = replace(calibration, notes=(*recording.notes, *calibration.notes))
    if folder is not None:
        write_camera_toml(folder / CAMERA_FILE, calibration.cameras)
        odd = _odd(calibration.cameras) if calibration.cameras.has_extrinsics else ()
        title = f"Calibration of {len(calibration.cameras.intrinsics)} cameras"
        write_calibration_report(folder, _report(calibration, facts, findings=odd, title=title))
    return calibration


def _report(
    calibration: Calibration,
    facts: Mapping[str, str],
    *,
    title: str,
    findings: tuple[Finding, ...] = (),
    agreement: PeopleAgreement | None = None,
) -> CalibrationReport:
    return CalibrationReport(
        calibration=calibration,
        assessment=assess(calibration, agreement=agreement, findings=findings),
        agreement=agreement,
        rigid_mm=_rigid_mm(calibration),
        title=title,
        facts=facts,
    )


def _rigid_mm(calibration: Calibration) -> float | None:
    """Root mean square distance of triangulated corners from a rigid board; None where no view shares a board."""
    observations, used = calibration.observations, calibration.used
    if observations is None or used is None or not calibration.cameras.has_extrinsics:
        return None
    pixels: Tensor = torch.where(used[..., None], observations.pixels, torch.nan)
    try:
        return board_rigidity(observations, calibration.cameras, pixels=pixels).rms_mm
    except InputError:
        return None


def _odd(cameras: Cameras) -> tuple[Finding, ...]:
    """What the numbers of the cameras alone give reason to say; nothing where they are plausible."""
    return tuple(finding for finding in check_cameras(cameras) if finding.severity != "good")


def _paths(inputs: Inputs) -> list[Path]:
    return [Path(inputs)] if isinstance(inputs, (str, os.PathLike)) else [Path(path) for path in inputs]


def _listed(inputs: Inputs) -> str:
    return ", ".join(map(str, _paths(inputs)))
