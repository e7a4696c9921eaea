"""The parts of the report that are text and tables: complete without JavaScript, and on paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from itertools import groupby
from math import isfinite
from typing import Any

from marey._version import __version__
from marey.core import Estimate
from marey.viz.style import PEOPLE_COLORS
from marey.viz.summary import KEPT_WEIGHT, Headline, Length, LimbSummary, ViewSummary

MANY_NOTES = 400
"""Notes beyond this are counted, not listed; `estimate.npz` holds all of them."""


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number for people; a dash where there is none."""
    if value is None or not isfinite(value):
        return "\u2013"
    return f"{value:,.{digits}f}" + (f"&nbsp;{unit}" if unit else "")


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage."""
    return number(100 * share, digits, "%")


def plural(count: int, one: str, many: str) -> str:
    """`1 person`, `2 people`."""
    return f"{count:,} {one if count == 1 else many}"


def lead(numbers: Headline, estimate: Estimate, views: int) -> str:
    """One sentence on what was estimated."""
    seconds = f" ({numbers.frames / numbers.fps:,.1f} s)" if numbers.fps else ""
    source = f" from {plural(views, 'view', 'views')}" if views else ""
    return (
        f"{plural(len(estimate.joints.skeleton), 'joint', 'joints')} of "
        f"{plural(numbers.people, 'person', 'people')} in {plural(numbers.frames, 'frame', 'frames')}"
        f"{seconds}{source}, in metres, each with its covariance."
    )


def facts(estimate: Estimate, made: datetime) -> str:
    """Method, inputs, version and date as a list of terms."""
    provenance = estimate.provenance
    inputs = provenance.get("inputs", ())
    texts = {
        "Method": provenance.get("method"),
        "Why": provenance.get("method_reason"),
        "Inputs": ", ".join(map(str, inputs)) if isinstance(inputs, (list, tuple)) else inputs,
        "Calibration": provenance.get("calibration"),
        "Skeleton": f"{estimate.joints.skeleton.name}, {len(estimate.joints.skeleton)} joints",
        "Up axis": provenance.get("world_up", "z"),
        "Made by": f"marey {provenance.get('marey', __version__)}",
        "Written": f"{made:%Y-%m-%d %H:%M}",
    }
    return "".join(f"<div><dt>{term}</dt><dd>{escape(str(text))}</dd></div>" for term, text in texts.items() if text)


def cards(numbers: Headline) -> str:
    """The headline numbers."""
    items = [
        (f"{numbers.people:,}", "person" if numbers.people == 1 else "people"),
        (f"{numbers.frames:,}", f"frames at {number(numbers.fps, 0)} per second" if numbers.fps else "frames"),
        (percent(numbers.measured), "of the joints measured"),
        (percent(numbers.filled), "filled in from other frames"),
        (number(numbers.residual_px, 1, "px"), "median reprojection error"),
        (number(numbers.sigma_mm, 1, "mm"), "median 1 \u03c3 of a joint, per axis"),
    ]
    return "".join(f"<li><b>{value}</b><span>{label}</span></li>" for value, label in items)


def legend(people: int) -> str:
    """The colours of the people."""
    shown = min(people, len(PEOPLE_COLORS))
    rows = [
        f'<li><span class="swatch" style="background:{PEOPLE_COLORS[person]}"></span> person {person}</li>'
        for person in range(shown)
    ]
    return "\n".join(rows + (["<li>\u2026 and again from the first colour</li>"] if people > shown else []))


def views_section(views: Sequence[ViewSummary]) -> str:
    """Table and heat map of the views."""
    if not views:
        return ""
    head = ["View", "Image", "Joints seen", "Rejected", "Error, median", "Error, 90th percentile", "Error of rejected"]
    rows = [
        [
            escape(view.name),
            f"{view.size[0]} \u00d7 {view.size[1]}" if view.size else "\u2013",
            percent(view.seen),
            percent(view.rejected),
            number(view.residual_px, 1, "px"),
            number(view.residual_px_90, 1, "px"),
            number(view.rejected_px, 1, "px"),
        ]
        for view in views
    ]
    caption = (
        "Error: distance in the image between a keypoint and the projected estimate, over the keypoints that counted; "
        f"a keypoint whose weight is below {KEPT_WEIGHT:g} is called rejected. The map below takes in all keypoints."
    )
    return f"""<section aria-labelledby="h-views">
<h2 id="h-views">The views against the estimate</h2>
<div class="scroll">{table(caption, head, rows)}</div>
<div class="controls" style="margin:14px 0 8px">
<label>Over time <select id="heat-kind"><option value="residual">median error</option>\
<option value="weight">mean weight</option></select></label>
</div>
<div class="plot"><canvas id="heat" role="img" \
aria-label="Error or weight of every view over time; click to go to a frame"></canvas></div>
</section>
"""


def limbs_table(limbs: Sequence[LimbSummary]) -> str:
    """Lengths of the links with their standard deviation, both sides beside each other."""
    if not limbs:
        return "<p>No link has both of its ends measured in any frame.</p>"
    people = {limb.person for limb in limbs}
    body = []
    for person, group in groupby(limbs, key=lambda limb: limb.person):
        if len(people) > 1:
            body.append(f'<tr class="person"><th colspan="4" scope="rowgroup">Person {person}</th></tr>')
        body += [_limb_row(limb) for limb in group]
    caption = "Mean \u00b1 standard deviation over the measured frames, mm. A rigid link has a deviation of zero."
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Link", "Left", "Right", "Left \u2212 right"))
    rows = "".join(body)
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _limb_row(limb: LimbSummary) -> str:
    name = escape(limb.name)
    if limb.middle is not None and limb.left is None and limb.right is None:
        middle = f'<td class="middle" colspan="2">{_length(limb.middle)}</td>'
        return f'<tr><th scope="row">{name}</th>{middle}<td></td></tr>'
    difference = "\u2013" if limb.difference is None else f"{limb.difference:+.0f}"
    return table_row([name, _length(limb.left), _length(limb.right), difference])


def _length(length: Length | None) -> str:
    return "\u2013" if length is None else f"{length.mean:.0f} <small>\u00b1 {length.deviation:.1f}</small>"


def notes_list(notes: Sequence[str]) -> str:
    """What was rejected, corrected or assumed."""
    if not notes:
        return "<p>Nothing is on record.</p>"
    items = "".join(f"<li>{escape(note)}</li>" for note in notes[:MANY_NOTES])
    rest = len(notes) - MANY_NOTES
    more = f"<p>\u2026 and {rest:,} more, which estimate.npz holds.</p>" if rest > 0 else ""
    return f'<div class="scroll"><ol class="notes">{items}</ol>{more}</div>'


def provenance_text(estimate: Estimate) -> str:
    """The provenance as indented JSON."""
    return escape(json.dumps(dict(estimate.provenance), indent=2, sort_keys=True, default=str, ensure_ascii=False))


def overlay_section(source: str) -> str:
    """A player for the overlay video, found by its path relative to the report; nothing without one."""
    if not source:
        return ""
    return f"""<section aria-labelledby="h-overlay">
<h2 id="h-overlay">The estimate over the images</h2>
<p class="hint">The video lies beside this file: <a href="{escape(source)}">{escape(source)}</a></p>
<video controls preload="metadata" src="{escape(source)}" aria-label="Every view with the estimate drawn over it">\
</video>
</section>
"""


def embedded_json(value: Any) -> str:
    """JSON that cannot end the script element it lies in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def table(caption: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells; the first of each row names it."""
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(table_row(cells) for cells in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"


def table_row(cells: Sequence[str]) -> str:
    """One row of HTML cells; the first is its heading."""
    rest = "".join(f"<td>{cell}</td>" for cell in cells[1:])
    return f'<tr><th scope="row">{cells[0]}</th>{rest}</tr>'
