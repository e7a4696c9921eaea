"""The report of a calibration: one HTML file that opens without a network, and the same numbers as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from marey._version import __version__
from marey.calibrate import report_tables as tables
from marey.calibrate.assessment import Assessment, all_rejections, as_numbers, board_corners, camera_names, used_corners
from marey.calibrate.calibration import Calibration
from marey.calibrate.people_agreement import PeopleAgreement
from marey.calibrate.report_maps import residual_map
from marey.calibrate.report_pictures import rejected_pictures, worst_pictures
from marey.calibrate.report_plans import board_outlines, pair_graph, plan
from marey.io.atomic import atomic_write_text
from marey.viz.page import Page, asset
from marey.viz.report_fragments import notes_list

PathLike = str | os.PathLike[str]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationReport:
    """All that a report shows."""

    calibration: Calibration
    assessment: Assessment
    agreement: PeopleAgreement | None = None
    """Of the cameras about people."""
    rigid_mm: float | None = None
    """Root mean square distance of the board's corners, triangulated by the cameras, from a rigid board."""
    title: str = "Calibration"
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was given: term and text."""
    notes: tuple[str, ...] = ()


def write_calibration_report(folder: PathLike, report: CalibrationReport) -> tuple[Path, Path]:
    """Write `report.html` and `report.json`, each whole or not at all.

    The pictures of boards are read again from `observations.sources`; the HTML stays below a few megabytes.

    Returns:
        Both files.

    Raises:
        InputError: the folder cannot be written.
    """
    page, numbers = Path(folder) / "report.html", Path(folder) / "report.json"
    atomic_write_text(numbers, json.dumps(report_numbers(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    atomic_write_text(page, "".join(_page(report).parts()))
    return page, numbers


def report_numbers(report: CalibrationReport) -> dict[str, Any]:
    """Everything that the report says, for JSON."""
    names = camera_names(report.calibration.cameras)
    observations = report.calibration.observations
    moments = () if observations is None else observations.moments
    rigid = report.rigid_mm
    return {
        "marey": __version__,
        "facts": dict(report.facts),
        **as_numbers(report.assessment),
        "rigid_board_rms_mm": rigid if rigid is not None and math.isfinite(rigid) else None,
        "rejected": [
            {"view": names[rejection.view], "frame": moments[rejection.moment], "why": rejection.why}
            for rejection in all_rejections(report.calibration)
        ],
        "notes": list(_notes(report)),
    }


def _page(report: CalibrationReport) -> Page:
    facts = {**report.facts, "Made by": f"marey {__version__}", "Written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    content = Template(asset("marey.calibrate", "report_template.html")).substitute(
        findings=tables.findings_list(report.assessment.findings),
        sections="\n".join(filter(None, _sections(report))),
        notes=notes_list(_notes(report)),
    )
    return Page(
        title=report.title,
        mark="Marey calibration",
        lead=tables.verdict(report.assessment),
        facts="".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in facts.items()),
        cards=tables.cards(report.assessment, report.rigid_mm),
        cards_label="The calibration in numbers",
        content=content.removesuffix("\n"),
        styles=asset("marey.calibrate", "report.css"),
    )


def _notes(report: CalibrationReport) -> tuple[str, ...]:
    observations = report.calibration.observations
    found = () if observations is None else observations.notes
    return tuple(dict.fromkeys((*report.notes, *found, *report.calibration.notes)))


def _sections(report: CalibrationReport) -> list[str]:
    assessment = report.assessment
    parameters = "Parameters and how well they are known" if _has_deviation(report) else "Parameters"
    return [
        _section("cameras", "The cameras", f'<div class="scroll tall">{tables.cameras_table(assessment)}</div>'),
        _section("plans", "Where they stand", _plans(report)),
        _section("pairs", "Who sees what together", _pairs(report)),
        _section("maps", "Where in the image, and how it missed", _maps(report)),
        _section("worst", "The worst pictures", _worst(report)),
        _section("parameters", parameters, f'<div class="scroll tall">{tables.parameters_table(assessment)}</div>'),
        _section("rejected", "Boards left out", _rejected(report)),
    ]


def _section(key: str, heading: str, content: str) -> str:
    if not content:
        return ""
    return f'<section aria-labelledby="h-{key}">\n<h2 id="h-{key}">{heading}</h2>\n{content}\n</section>'


def _has_deviation(report: CalibrationReport) -> bool:
    return report.calibration.deviation is not None


def _plans(report: CalibrationReport) -> str:
    cameras = report.calibration.cameras
    if not cameras.has_extrinsics:
        return ""
    outlines, points = np.zeros((0, 4, 3)), np.zeros((0, 3))
    shown = ""
    observations = report.calibration.observations
    if observations is not None and report.calibration.board_rotation is not None:
        outlines = board_outlines(board_corners(report.calibration), observations.board.grid)
        shown = " Orange: places of the board, some of them."
    if report.agreement is not None:
        points = report.agreement.points.double().numpy()
        shown = " Orange: people's joints, some of them."
    figures = [
        f"<figure>{plan(report.assessment, cameras, outlines=outlines, points=points, side=side, label=label)}"
        f"<figcaption>{label}.</figcaption></figure>"
        for side, label in ((False, "Cameras and what they saw, from above"), (True, "The same from the side"))
    ]
    hint = f"A wedge shows where a camera looks and how wide.{shown} Up is how the cameras are held on average."
    return f'<p class="hint">{hint}</p><div class="drawings">{"".join(figures)}</div>'


def _pairs(report: CalibrationReport) -> str:
    assessment, cameras = report.assessment, report.calibration.cameras
    if not assessment.pairs:
        return ""
    caption = "Cameras from above; the thicker a line, the more the two share. Dashed red: nothing."
    drawing = (
        f"<figure>{pair_graph(assessment, cameras)}<figcaption>{caption}</figcaption></figure>"
        if cameras.has_extrinsics
        else ""
    )
    numbers = f'<div class="scroll">{tables.pairs_table(assessment)}</div>{tables.missing_pairs(assessment)}'
    return f'<div class="drawings">{drawing}<div>{numbers}</div></div>'


def _maps(report: CalibrationReport) -> str:
    evidence = _map_evidence(report)
    if not evidence:
        return ""
    what = "joints" if report.agreement is not None else "corners"
    figures = []
    for view, (pixels, residuals, left_out) in zip(report.assessment.views, evidence, strict=True):
        label = f"{what} that {view.name} saw, and their residuals"
        drawing, factor = residual_map(pixels, residuals, left_out=left_out, size=view.size, label=label)
        figures.append(
            f"<figure>{drawing}<figcaption>{escape(view.name)}: arrows {factor} times longer than the residuals"
            "</figcaption></figure>"
        )
    hint = (
        f"Blue: {what} that counted. Orange arrows: from there the way that the corner was missed, seen minus "
        "projected; arrows that point the same way in one part of the image mean that the lens is not well described. "
        "Red: left out. Empty parts of an image tell nothing about the lens there."
        if what == "corners"
        else "Blue: joints seen. Orange arrows: seen minus projected."
    )
    return f'<p class="hint">{hint}</p><div class="maps">{"".join(figures)}</div>'


def _map_evidence(report: CalibrationReport) -> list[tuple[Array, Array, Array]]:
    """Of each view: pixels and residuals of what counted, and pixels of what did not."""
    nothing = np.zeros((0, 2))
    if report.agreement is not None:
        return [
            (pixels, residuals, nothing)
            for pixels, residuals in zip(
                report.agreement.pixels.double().numpy(), report.agreement.residuals.double().numpy(), strict=True
            )
        ]
    calibration = report.calibration
    if calibration.observations is None or calibration.residuals is None:
        return []
    used = used_corners(calibration).numpy()
    pixels = calibration.observations.pixels.double().numpy()
    residuals = calibration.residuals.double().numpy()
    out = calibration.observations.seen.numpy() & ~used
    return [
        (pixels[view][used[view]], residuals[view][used[view]], pixels[view][out[view]]) for view in range(len(used))
    ]


def _worst(report: CalibrationReport) -> str:
    shown = tables.figures(worst_pictures(report.calibration))
    if not shown:
        return ""
    hint = (
        'The used boards with the largest errors. <span class="ring-seen">Rings</span>: corners as seen; '
        '<span class="cross-projected">crosses</span>: where the calibration puts them.'
    )
    return f'<p class="hint">{hint}</p>{shown}'


def _rejected(report: CalibrationReport) -> str:
    observations = report.calibration.observations
    if observations is None:
        return ""
    rejected = all_rejections(report.calibration)
    listed = tables.rejections_list(rejected, observations, camera_names(report.calibration.cameras))
    return tables.figures(rejected_pictures(report.calibration, rejected)) + listed
