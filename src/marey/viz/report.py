"""The HTML report: one file that opens from disk, without a network and without anybody else's scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from urllib.parse import quote

from marey.core import Estimate, ShapeError
from marey.io.atomic import atomic_path
from marey.viz import report_fragments as fragments
from marey.viz.page import Page, asset
from marey.viz.payload import Payload, build_payload
from marey.viz.summary import headline, limb_summaries, view_summaries

SCRIPTS = (
    "decode.js",
    "geometry.js",
    "theme.js",
    "figures.js",
    "scene.js",
    "player.js",
    "charts.js",
    "bands.js",
    "heatmap.js",
    "main.js",
)
"""In the order in which they are joined into one."""

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:"
)
_WITHOUT_SCRIPTS = (
    '<noscript><p class="alert">The tables below are complete; the moving pictures need JavaScript, which is switched '
    "off.</p></noscript>\n"
)

PathLike = str | os.PathLike[str]


def write_report(
    path: PathLike,
    estimate: Estimate,
    *,
    recording_names: Sequence[str] = (),
    overlay: PathLike | None = None,
    title: str | None = None,
) -> None:
    """Write the report of an estimate: playback in 3D, error bands, the views, what was rejected, lengths, provenance.

    The numbers and tables come from every frame; the playback of long recordings shows every few frames and says so,
    so that the file stays below 15 MB. The world axis that points up is `provenance["world_up"]`, by default z.

    Args:
        path: The file.
        estimate: T frames, P people. Cameras, keypoints and diagnostics add what they can show.
        recording_names: Of the V views; by default those of the cameras.
        overlay: A video that lies beside the report or below, shown in it by its relative path.
        title: Heading; by default made of the inputs' names.

    Raises:
        ShapeError: there is not one name for each view.
        InputError: the file cannot be written, or the provenance names an up axis that does not exist.
    """
    path = Path(path)
    names = _view_names(estimate, tuple(recording_names))
    payload = build_payload(estimate, names)
    content, scripts = asset("marey.viz", "report_template.html").split("$payload")
    texts = _texts(estimate, names) | {
        "playback_note": _playback_note(payload),
        "overlay_section": fragments.overlay_section(_relative(overlay, path)),
    }
    before, after = _page(estimate, names, title, Template(content).substitute(texts).removesuffix("\n"))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        file.writelines(_payload_elements(payload))
        file.write(Template(scripts).substitute(texts) + after)


def _page(estimate: Estimate, names: tuple[str, ...], title: str | None, content: str) -> tuple[str, str]:
    """The page before and after its data and scripts."""
    numbers, now = headline(estimate), datetime.now(UTC)
    page = Page(
        title=title or _title(estimate),
        mark="Marey report",
        lead=f"<p>{fragments.lead(numbers, estimate, len(names))}</p>",
        facts=fragments.facts(estimate, now),
        cards=fragments.cards(numbers),
        cards_label="The result in numbers",
        content=content,
        policy=_POLICY,
        alert=_WITHOUT_SCRIPTS,
    )
    return page.parts(now)


def _texts(estimate: Estimate, names: tuple[str, ...]) -> dict[str, str]:
    """What replaces the names in the template."""
    numbers = headline(estimate)
    return {
        "people": fragments.plural(numbers.people, "person", "people"),
        "legend": fragments.legend(numbers.people),
        "views_section": fragments.views_section(view_summaries(estimate, names)),
        "notes": fragments.notes_list(estimate.notes),
        "limbs": fragments.limbs_table(limb_summaries(estimate)),
        "provenance": fragments.provenance_text(estimate),
        "scripts": "\n".join(asset("marey.viz", f"assets/{name}") for name in SCRIPTS),
    }


def _view_names(estimate: Estimate, given: tuple[str, ...]) -> tuple[str, ...]:
    """One name for each view of the estimate's evidence.

    Raises:
        ShapeError: the number of names given is another than that of the views.
    """
    parts = (estimate.diagnostics, estimate.keypoints, estimate.cameras)
    views = next((part.batch_shape[0] for part in parts if part is not None and part.batch_shape), 0)
    known = () if estimate.cameras is None else estimate.cameras.names
    names = given or known or tuple(f"view {view + 1}" for view in range(views))
    if len(names) != views:
        raise ShapeError(f"recording_names: expected one for each of the {views} views, got {len(names)}")
    return names


def _title(estimate: Estimate) -> str:
    """The end of the path that the inputs have in common."""
    inputs = estimate.provenance.get("inputs", ())
    paths = [Path(str(text)).with_suffix("") for text in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    if not paths:
        return "3D pose estimate"
    parts = paths[0].parts
    for path in paths[1:]:
        parts = tuple(one for one, other in zip(parts, path.parts, strict=False) if one == other)
    names = [part for part in parts if part not in (".", "..", paths[0].anchor)]
    return " / ".join(names[-2:]) or "3D pose estimate"


def _playback_note(payload: Payload) -> str:
    stride, frames = payload.manifest["stride"], payload.manifest["frameCount"]
    if stride == 1:
        return "Every frame of the result."
    shown = len(payload.blocks["frames"].values)
    return (
        f"The recording is long: the playback and the bands show one frame in {stride} ({shown:,} of {frames:,}); the "
        "numbers and tables are those of all frames."
    )


def _payload_elements(payload: Payload) -> Iterator[str]:
    """The data as script elements that nobody runs."""
    yield f'<script type="application/json" id="marey-manifest">{fragments.embedded_json(payload.manifest)}</script>\n'
    for name, block in payload.blocks.items():
        yield f'<script type="application/octet-stream" id="marey-{name}">'
        yield from block.base64()
        yield "</script>\n"


def _relative(overlay: PathLike | None, report: Path) -> str:
    """The overlay's address as seen from the report."""
    if overlay is None:
        return ""
    return quote(Path(os.path.relpath(overlay, report.parent)).as_posix())
