"""The parts of a calibration's report that are text and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from marey.calibrate.assessment import Assessment, Parameter, ViewAssessment
from marey.calibrate.calibration import BoardObservations, Finding, Rejection
from marey.calibrate.report_pictures import BoardPicture, rejection_text
from marey.viz.report_fragments import number, percent, plural, table

MANY_REJECTIONS = 200
"""Beyond this they are counted by reason only; `report.json` holds all of them."""
_SIGNS = {"good": "\u2713", "notice": "!", "problem": "\u2717"}
_WORDS = {"good": "good", "notice": "to know", "problem": "problem"}
_LEVELS = {"good": "good", "usable": "notice", "not usable": "problem"}


def verdict(assessment: Assessment) -> str:
    """The answer, before everything else."""
    return (
        f'<p class="verdict {_LEVELS[assessment.level]}"><span class="sign" aria-hidden="true">'
        f"{_SIGNS[_LEVELS[assessment.level]]}</span> {escape(assessment.verdict)}</p>"
    )


def findings_list(findings: Sequence[Finding]) -> str:
    """What was found and what to do, problems first."""
    order = ("problem", "notice", "good")
    items = []
    for finding in sorted(findings, key=lambda found: order.index(found.severity)):
        advice = f'<br><span class="advice">{escape(finding.advice)}</span>' if finding.advice else ""
        items.append(
            f'<li class="{finding.severity}"><span class="sign" role="img" aria-label="{_WORDS[finding.severity]}">'
            f"{_SIGNS[finding.severity]}</span><span>{escape(finding.text)}{advice}</span></li>"
        )
    return f'<ul class="findings">{"".join(items)}</ul>' if items else "<p>Nothing stood out.</p>"


def cards(assessment: Assessment, rigid_mm: float | None) -> str:
    """The headline numbers."""
    rejected = sum(view.rejected for view in assessment.views)
    used = sum(view.pictures for view in assessment.views)
    median = "median " if assessment.evidence == "people" else ""
    items = [
        (f"{len(assessment.views)}", plural(len(assessment.views), "camera", "cameras").split()[-1]),
        (number(assessment.error_px, 2, "px"), f"{median}reprojection error{'' if median else ', rms'}"),
    ]
    if math.isfinite(assessment.error_mm):
        items.append((number(assessment.error_mm, 1, "mm"), f"the same at {'their' if median else 'its'} distance"))
    if rigid_mm is not None:
        items.append((number(rigid_mm, 2, "mm"), "board found again, rigid, rms"))
    if assessment.evidence == "boards":
        items += [(f"{used:,}", "boards used"), (f"{rejected:,}", "boards left out")]
    if assessment.evidence == "file":
        items = items[:1]
    return "".join(f"<li><b>{value}</b><span>{label}</span></li>" for value, label in items)


def cameras_table(assessment: Assessment) -> str:
    """One row a camera."""
    columns = {
        "boards": ["Error, rms", "at the board", "Boards", "Corners", "Left out", "Image covered"],
        "people": ["Error, median", "at the person", "Against the others", "Joints"],
        "file": [],
    }[assessment.evidence]
    head = ["Camera", "Image", "Field of view", *columns]
    rows = [[*_lens_cells(view), *_evidence_cells(view, assessment)] for view in assessment.views]
    caption = {
        "boards": "Error: distance in the image between the corners as seen and as projected, and the same at the "
        "distance of the board.",
        "people": "Error: distance in the image between keypoints and the joint that all views agree on. Against the "
        "others: from where the other views alone say that the joint is.",
        "file": "Field of view: between the middles of opposite sides, lens taken out.",
    }[assessment.evidence]
    return table(caption, head, rows)


def parameters_table(assessment: Assessment) -> str:
    """Every parameter of every camera with one standard deviation."""
    names = list(dict.fromkeys(parameter.name for view in assessment.views for parameter in view.parameters))
    placed = "x" in names
    coefficients = [name for name in names if name not in ("rx", "ry", "rz", "x", "y", "z", "fx", "fy", "cx", "cy")]
    head = ["Camera", "Focal length, px", "Principal point, px"]
    head += ["Distortion"] if coefficients else []
    head += ["Place in the world, m", "Orientation, degrees"] if placed else []
    rows = []
    for view in assessment.views:
        by_name = {parameter.name: parameter for parameter in view.parameters}
        cells = [_lines(by_name, ("fx", "fy"), 1), _lines(by_name, ("cx", "cy"), 1)]
        cells += [_lines(by_name, coefficients, 4)] if coefficients else []
        cells += [_lines(by_name, ("x", "y", "z"), 3), _lines(by_name, ("rx", "ry", "rz"), 2)] if placed else []
        rows.append([_name(view.name), *cells])
    caption = (
        "Value \u00b1 one standard deviation. Held: taken as it was given. The orientation is the rotation vector from "
        "world to camera, its deviation about the camera's own axes (right, down, forward)."
    )
    return table(caption, head, rows)


def pairs_table(assessment: Assessment) -> str:
    """How much each pair of views shares, as a triangle."""
    if not assessment.pairs:
        return ""
    people = assessment.evidence == "people"
    shared = {pair.views: pair for pair in assessment.pairs}
    names = [view.name for view in assessment.views]
    head = ["", *(_name(name) for name in names[1:])]
    rows = []
    for row, name in enumerate(names[:-1]):
        cells = [""] * row
        for column in range(row + 1, len(names)):
            pair = shared[row, column]
            if not pair.pictures:
                cells.append('<span class="none">none</span>')
            elif people:
                cells.append(f"{number(pair.epipolar_px, 1, 'px')} <small>{pair.pictures:,}</small>")
            else:
                cells.append(f"{pair.pictures:,} <small>{pair.points:,}</small>")
        rows.append([_name(name), *cells])
    caption = (
        "Median distance from the epipolar line that the other view gives, and the number of joints both saw."
        if people
        else "Boards that both cameras saw at the same moment, and corners that both saw."
    )
    return table(caption, head, rows)


def missing_pairs(assessment: Assessment) -> str:
    """The pairs that share nothing, by name."""
    missing = assessment.missing_pairs
    if not missing:
        return "<p>Every pair of cameras shares some.</p>"
    named = "; ".join(f"{escape(first)} and {escape(second)}" for first, second in missing)
    return (
        f"<p><b>Nothing shared by:</b> {named}. That is no harm while each camera is linked to the others over a third "
        "one, but the link is then only as good as its weakest part.</p>"
    )


def figures(pictures: Iterable[BoardPicture]) -> str:
    """Embedded pictures with captions."""
    shown = "".join(
        f'<figure><img src="data:image/jpeg;base64,{picture.data}" width="{picture.size[0]}" '
        f'height="{picture.size[1]}" alt=""><figcaption>{escape(picture.caption)}</figcaption></figure>'
        for picture in pictures
    )
    return f'<div class="pictures">{shown}</div>' if shown else ""


def rejections_list(rejected: Sequence[Rejection], observations: BoardObservations, names: Sequence[str]) -> str:
    """Boards left out: how many for which reason, then each of them."""
    if not rejected:
        return "<p>No board was left out.</p>"
    listed = "".join(
        f"<li>{escape(rejection_text(rejection, observations, names))}</li>" for rejection in rejected[:MANY_REJECTIONS]
    )
    rest = len(rejected) - MANY_REJECTIONS
    more = f"<p>\u2026 and {rest:,} more, which report.json holds.</p>" if rest > 0 else ""
    return (
        f"<details><summary>{plural(len(rejected), 'board', 'boards')} left out</summary>"
        f'<div class="scroll"><ol class="notes">{listed}</ol></div>{more}</details>'
    )


def _lens_cells(view: ViewAssessment) -> list[str]:
    size = f"{view.size[0]} \u00d7 {view.size[1]}" if view.size else "\u2013"
    across, down = view.field_of_view
    angle = f"{across:.0f}\u00b0 \u00d7 {down:.0f}\u00b0" if math.isfinite(across + down) else "\u2013"
    return [_name(view.name), size, angle]


def _evidence_cells(view: ViewAssessment, assessment: Assessment) -> list[str]:
    error = [number(view.error_px, 2, "px"), number(view.error_mm, 1, "mm")]
    if assessment.evidence == "people":
        return [*error, number(view.unseen_px, 1, "px"), f"{view.points:,}"]
    if assessment.evidence == "boards":
        return [*error, f"{view.pictures:,}", f"{view.points:,}", f"{view.rejected:,}", percent(view.coverage, 0)]
    return []


def _lines(parameters: dict[str, Parameter], names: Iterable[str], digits: int) -> str:
    """One parameter a line."""
    return "<br>".join(_parameter(parameters[name], digits) for name in names if name in parameters)


def _parameter(parameter: Parameter, digits: int) -> str:
    value, deviation = parameter.value, parameter.deviation
    if parameter.unit == "rad":
        value = math.degrees(value)
        deviation = None if deviation is None else math.degrees(deviation)
    name = {"rx": "right", "ry": "down", "rz": "forward"}.get(parameter.name, parameter.name)
    shown = f"{round(value, digits) + 0.0:.{digits}f}"  # no minus before a zero
    return f"<small>{name}</small> {shown} <small>{_spread(parameter, deviation)}</small>"


def _spread(parameter: Parameter, deviation: float | None) -> str:
    if deviation is None:
        return ""
    if math.isnan(deviation):
        return '<span class="none">undetermined</span>'
    if deviation == 0:
        return "held"
    if parameter.unit == "m":
        return f"\u00b1 {1000 * deviation:.1f} mm"
    return f"\u00b1 {deviation:.2g}"


def _name(name: str) -> str:
    """A camera's name that may be broken anywhere."""
    return f'<span class="camera">{escape(name)}</span>'
