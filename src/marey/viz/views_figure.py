"""One person at one moment in all views: picture, keypoints, projected joints, cuboid and confidences in rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image, InputError, Skeleton
from marey.viz.label_sheet import PersonMarks, labelled_picture
from marey.viz.overlay import label_tile
from marey.viz.style import joint_label, person_color

Array = npt.NDArray[Any]

CUBOID_EDGES = tuple((a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit)
"""Between corners that differ in one of three bits."""

_FOUND, _PREDICTED, _LABELLED = 5, 4, 2
"""Numbers of the people's colours: sky blue, orange and green."""
_GROUND, _INK, _PAPER = (24, 29, 36), (235, 240, 245), (38, 45, 55)
_GAP, _HEAD = 4, 30
_LARGEST = 1e4
"""Pixels beyond which no line of a cuboid is drawn: OpenCV's coordinates overflow far out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewDrawing:
    """What is shown of one view; points are pixels of `image`, NaN where there is nothing."""

    name: str
    image: Image
    """(S, S, 3) red green blue; all views have one size."""
    box: Array
    """(4,) left, top, width, height."""
    predicted: Array
    """(J, 2) the estimate, projected."""
    keypoints: Array | None = None
    """(J, 2) what was found in this view."""
    weights: Array | None = None
    """(J,) in 0..1, what they counted."""
    labelled: Array | None = None
    """(K, 2) the truth, projected."""
    cuboid: Array | None = None
    """(8, 2) corners of the volume, projected, pixels of `surroundings`; see `CUBOID_EDGES`."""
    surroundings: Image | None = None
    """(S, S, 3) so much of the picture that the volume is in it; None: `image`."""


def views_figure(
    views: Sequence[ViewDrawing], skeleton: Skeleton, *, labelled: Skeleton | None = None, title: str = ""
) -> Image:
    """Draw a column for each view, and a row for each kind of thing that any view has.

    Args:
        views: One or more.
        skeleton: Of the J joints that were estimated.
        labelled: Of the K labelled ones; None: the same.
        title: Written above.

    Raises:
        InputError: there is no view, or pictures differ in size.
    """
    if not views or len({view.image.shape for view in views}) > 1:
        raise InputError(f"views: expected one or more of one size, got {[view.image.shape for view in views]}")
    rows: list[tuple[str, bool, Callable[[ViewDrawing], Image]]] = [
        ("", True, lambda view: _joints(view, None, skeleton, _FOUND)),
        ("found in 2D", _any(views, "keypoints"), lambda view: _joints(view, view.keypoints, skeleton, _FOUND)),
        ("estimate", True, lambda view: _joints(view, view.predicted, skeleton, _PREDICTED)),
        (
            "label",
            _any(views, "labelled"),
            lambda view: _joints(view, view.labelled, labelled or skeleton, _LABELLED),
        ),
        ("volume", _any(views, "cuboid"), _volume),
        ("confidence", _any(views, "weights"), lambda view: _bars(view, skeleton)),
    ]
    lines = [[_named(draw(view), f"{view.name}  {words}") for view in views] for words, there, draw in rows if there]
    return _laid_out(lines, title)


def _any(views: Sequence[ViewDrawing], name: str) -> bool:
    return any(getattr(view, name) is not None for view in views)


def _joints(view: ViewDrawing, points: Array | None, skeleton: Skeleton, color: int) -> Image:
    """The picture with the box and, if there are any, joints."""
    found = np.full((len(skeleton), 2), np.nan) if points is None else points
    marks = PersonMarks(
        keypoints=found,
        visible=np.ones(len(skeleton), dtype=bool),
        box=view.box if points is None else np.full(4, np.nan),
        color=color,
    )
    return labelled_picture(view.image, [marks], skeleton, size=(view.image.shape[1], view.image.shape[0]))


def _volume(view: ViewDrawing) -> Image:
    image = (view.image if view.surroundings is None else view.surroundings).copy()
    if view.cuboid is not None:
        lines = view.cuboid[np.array(CUBOID_EDGES)]
        for line in lines[(np.abs(lines) < _LARGEST).all((1, 2))]:
            start, end = np.rint(16 * line).astype(int).tolist()
            cv2.line(image, start, end, person_color(_PREDICTED), 1, cv2.LINE_AA, 4)
    return image


def _bars(view: ViewDrawing, skeleton: Skeleton) -> Image:
    """A bar for each joint, in the order of the skeleton; none where nothing is known."""
    height, width = view.image.shape[:2]
    sheet: Image = np.full((height, width, 3), _PAPER, np.uint8)
    weights = np.full(len(skeleton), np.nan) if view.weights is None else view.weights
    pitch = (height - 30) / len(skeleton)
    size = min(0.42, 0.026 * pitch)
    for place, (joint, weight) in enumerate(zip(skeleton.joints, weights.tolist(), strict=True)):
        bottom = round(30 + (place + 1) * pitch)
        cv2.putText(sheet, joint_label(joint), (6, bottom - 3), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
        if weight == weight:
            left, room = round(0.45 * width), 0.5 * width
            right = left + round(room * min(max(weight, 0.0), 1.0))
            top = round(bottom - 0.75 * pitch)
            cv2.rectangle(sheet, (left, top), (max(right, left + 1), bottom - 2), person_color(_FOUND), -1)
    return sheet


def _named(tile: Image, words: str) -> Image:
    named = tile.copy()
    label_tile(named, words.strip())
    return named


def _laid_out(lines: Sequence[Sequence[Image]], title: str) -> Image:
    """Tiles of one size in rows, with gaps, below a title."""
    height, width = lines[0][0].shape[:2]
    figure: Image = np.full(
        (_HEAD + len(lines) * (height + _GAP), len(lines[0]) * (width + _GAP) - _GAP, 3), _GROUND, np.uint8
    )
    cv2.putText(figure, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    for row, tiles in enumerate(lines):
        for column, tile in enumerate(tiles):
            top, left = _HEAD + row * (height + _GAP), column * (width + _GAP)
            figure[top : top + height, left : left + width] = tile
    return figure
