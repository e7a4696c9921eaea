"""`marey calibrate`, `marey calibrate check` and `marey calibrate board`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from marey.calibrate.assessment import Assessment, assess
from marey.calibrate.board_print import write_board
from marey.calibrate.boards import parse_board
from marey.calibrate.lens_models import LensModelName
from marey.core import InputError
from marey.io.units import Unit
from marey.pipeline.calibration import (
    CAMERA_FILE,
    CalibrateConfig,
    calibrate,
    check_calibration,
    refine_calibration,
)

_DEFAULTS = CalibrateConfig()
BOARDS = "boards"
"""Folder in the output folder for the calibration by boards, where people refine it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Calibrate cameras from films or photographs of a board.

    Print a board with `marey calibrate board`; look at an existing calibration with `marey calibrate check`.
    """

    inputs: Positional[tuple[Path, ...]] = ()
    """Videos or image folders that show the board, one a camera; or one folder that holds them."""
    out: Path
    """Folder for calibration.toml, report.html and report.json; made if it is not there."""
    board: str | None = None
    """charuco:COLUMNSxROWS:SQUARE:DICTIONARY[:inverted][:legacy] counts squares, checkerboard:COLUMNSxROWS:SQUARE inner
    corners; SQUARE in metres. For instance charuco:7x5:0.04:DICT_4X4_50."""
    intrinsics: Path | None = None
    """Camera file whose lenses are used; if not given, they are calibrated from the same inputs."""
    only: Literal["everything", "intrinsics"] = _DEFAULTS.only
    """intrinsics: the pictures were not taken at the same time and tell about the lenses only."""
    given_intrinsics: Literal["held", "adjusted"] = _DEFAULTS.given_intrinsics
    """What is done with lenses that are given."""
    lens: LensModelName | Literal["auto"] = _DEFAULTS.lens
    """Distortion terms to estimate; auto chooses."""
    every: int | None = _DEFAULTS.every
    """Search each n-th frame only."""
    ground: int | None = _DEFAULTS.ground
    """Frame in which the board lies on the ground: it then is the world, z up."""
    unconnected: Literal["raise", "leave_out"] = _DEFAULTS.unconnected
    """What to do with cameras that never share the board with the others."""
    calibration: Path | None = None
    """Existing camera file to refine with people, instead of inputs with a board."""
    refine_with_people: tuple[Path, ...] = ()
    """Recording of people by the same cameras (keypoint folders, videos or images): the cameras are then adjusted until
    the views agree about the people, if they do better on frames that took no part."""
    refine_intrinsics: bool = False
    """With people: adjust focal lengths and principal points too."""
    unit: Unit | float | None = _DEFAULTS.unit
    """Of camera files, if they do not say it."""
    fps: float | None = _DEFAULTS.fps
    """Frames per second, if the inputs do not say it."""
    detector: str = _DEFAULTS.detector
    """Of people: auto, marey, mediapipe, or POSE.onnx, or POSE.onnx,PERSON.onnx."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Say what an existing calibration is worth, without changing it.

    From the file alone: lenses, fields of view, distances, unit. With a recording: how well the views agree, about the
    board if --board is given, else about the people.
    """

    file: Positional[Path]
    """Camera file."""
    inputs: Positional[tuple[Path, ...]] = ()
    """A recording by these cameras: videos, image folders or keypoint folders; or one folder that holds them."""
    board: str | None = None
    """The board that the recording shows; see marey calibrate --help. If not given, people are looked for."""
    out: Path | None = None
    """Folder for report.html and report.json."""
    every: int | None = _DEFAULTS.every
    """Search each n-th frame only for the board."""
    unit: Unit | float | None = _DEFAULTS.unit
    """Of the camera file, if it does not say it."""
    fps: float | None = _DEFAULTS.fps
    """Frames per second, if the inputs do not say it."""
    detector: str = _DEFAULTS.detector
    """Of people: auto, marey, mediapipe, or POSE.onnx, or POSE.onnx,PERSON.onnx."""


@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """Write a calibration board to print: as PDF in its true size."""

    board: Positional[str]
    """Such as charuco:7x5:0.04:DICT_4X4_50; see marey calibrate --help."""
    out: Path = Path("board.pdf")
    """A .pdf or .png."""


def run(options: Options) -> None:
    """Calibrate, refine, and say what came of it and where it lies.

    Raises:
        InputError: the words contradict each other.
    """
    _check(options)
    config = CalibrateConfig(
        only=options.only,
        given_intrinsics=options.given_intrinsics,
        lens=options.lens,
        every=options.every,
        ground=options.ground,
        unconnected=options.unconnected,
        unit=options.unit,
        fps=options.fps,
        detector=options.detector,
    )
    file = options.calibration
    if options.inputs:
        assert options.board is not None
        folder = options.out / BOARDS if options.refine_with_people else options.out
        found = calibrate(
            options.inputs, options.board, intrinsics=options.intrinsics, out=folder, config=config, progress=True
        )
        _say(assess(found))
        _say_files(folder)
        file = folder / CAMERA_FILE
    if options.refine_with_people:
        assert file is not None
        report = refine_calibration(
            file,
            options.refine_with_people,
            out=options.out,
            intrinsics=options.refine_intrinsics,
            config=config,
            progress=True,
        )
        _say(report.assessment)
        _say_files(options.out)


def check(options: CheckOptions) -> None:
    """Check, and say what was found."""
    config = CalibrateConfig(every=options.every, unit=options.unit, fps=options.fps, detector=options.detector)
    report = check_calibration(
        options.file, options.inputs, board=options.board, out=options.out, config=config, progress=bool(options.inputs)
    )
    _say(report.assessment)
    if options.out is not None:
        _say_files(options.out)


def board(options: BoardOptions) -> None:
    """Write the board and say how large it is."""
    asked = parse_board(options.board)
    width, height = write_board(options.out, asked)
    print(f"{options.out}: a sheet of {1000 * width:.0f} x {1000 * height:.0f} mm, to be printed at 100 %")
    print(f"measure a square: it has to be {1000 * asked.square:g} mm wide; if not, say what it is in --board")


def _check(options: Options) -> None:
    if options.inputs and options.calibration is not None:
        raise InputError("give inputs with a board, or --calibration to refine with people, not both")
    if options.inputs and options.board is None:
        raise InputError("which board? say --board, for instance --board charuco:7x5:0.04:DICT_4X4_50")
    if not options.inputs and not (options.calibration and options.refine_with_people):
        raise InputError(
            "nothing to calibrate from: give videos or image folders that show a board, or --calibration FILE with "
            "--refine-with-people RECORDING"
        )


def _say(assessment: Assessment) -> None:
    """The verdict, a line a camera, and what there is to know."""
    width = max(len(view.name) for view in assessment.views)
    for view in assessment.views:
        parts = [f"{view.error_px:.2f} px"] if math.isfinite(view.error_px) else []
        parts += [f"{view.error_mm:.1f} mm"] if math.isfinite(view.error_mm) else []
        if not parts and math.isfinite(view.field_of_view[0]):
            parts = ["sees {:.0f} x {:.0f} degrees".format(*view.field_of_view)]
        print(f"  {view.name:<{width}}  {'  '.join(parts)}".rstrip())
    for finding in assessment.findings:
        if finding.severity != "good":
            print(f"- {finding.text} {finding.advice}".rstrip())
    print(assessment.verdict)


def _say_files(folder: Path) -> None:
    for name in (CAMERA_FILE, "report.html", "report.json"):
        if (folder / name).is_file():
            print(f"wrote {folder / name}")
