"""Why a view shows no board: another dictionary, inverted colours, another size, or nothing at all."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from marey.calibrate.boards import Board
from marey.calibrate.charuco import CharucoFinder, Grey
from marey.calibrate.checkerboard import CheckerboardFinder
from marey.core import FrameSource

PICTURES = 5
"""Of a view that are looked at again."""
LEAST_MARKERS = 4
"""Different markers of one dictionary in these pictures that make it the board's."""


def why_no_board(source: FrameSource, indices: npt.NDArray[np.int64], board: Board) -> str:
    """Look at some frames again, with other boards in mind; a clause for people.

    Args:
        source: of the view.
        indices: frames that showed no board.
        board: what was looked for.
    """
    import cv2

    spread = indices[np.unique(np.linspace(0, len(indices) - 1, PICTURES).round().astype(int))]
    greys = [
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for index in spread.tolist()
        for image in source.frames(index, index + 1)
    ]
    if board.kind == "checkerboard":
        return _why_no_checkerboard(greys, board)
    return _why_no_charuco(greys, board)


def _why_no_charuco(greys: list[Grey], board: Board) -> str:
    best, markers = _most_markers(greys, board)
    dictionary, inverted = best
    if len(markers) < LEAST_MARKERS:
        return (
            "no marker of any dictionary was recognised; is the board in the picture, in focus, well lit, and large "
            "enough (10 px a square or more)?"
        )
    found = replace(board, dictionary=dictionary, inverted=inverted)
    if (dictionary, inverted) != (board.dictionary, board.inverted):
        colours = "white on black" if inverted else "black on white"
        return f"its markers are of {dictionary}, {colours}, not those of the board given; try --board {found.spec}"
    last = board.columns * board.rows // 2 - 1
    if max(markers) > last:
        return (
            f"it shows the markers {_listed(markers)}, but a board of {board.columns}x{board.rows} squares has only 0 "
            f"to {last}; give its number of columns and rows"
        )
    for other in (replace(board, columns=board.rows, rows=board.columns), replace(board, legacy=not board.legacy)):
        if _shows(greys, other):
            return f"its markers are arranged otherwise; try --board {other.spec}"
    return (
        f"the markers {_listed(markers)} were recognised but no corner between them; check the columns, rows and "
        f"marker size of {board.spec}"
    )


def _most_markers(greys: list[Grey], board: Board) -> tuple[tuple[str, bool], set[int]]:
    """The dictionary and colours under which most different markers of a board are seen, and their numbers.

    Dictionaries of one kind (`DICT_4X4_50`, `_100`, ...) begin with the same markers: only the largest is tried, and
    then the given one is named if it is of that kind, else the smallest with enough markers for the board.
    """
    given = board.dictionary or ""
    kinds: dict[str, list[str]] = {}
    for name in _dictionaries():
        kinds.setdefault(_kind(name), []).append(name)
    seen: dict[str, set[int]] = {}
    for kind, names in kinds.items():
        seen[kind] = _markers(greys, names[-1], board, both=True)
        if len(seen[kind]) > board.columns * board.rows // 4:  # most of a board's markers cannot be a mistake
            break
    best = max(seen, key=lambda kind: (len(seen[kind]), kind == _kind(given)))
    if len(seen[best]) < LEAST_MARKERS:
        return (given, board.inverted), seen[best]
    colours = {inverted: _markers(greys, kinds[best][-1], board, inverted=inverted) for inverted in (False, True)}
    inverted = max(colours, key=lambda inverted: len(colours[inverted]))
    enough = [name for name in kinds[best] if _size(name) > max(seen[best])]
    return (given if best == _kind(given) else enough[0], inverted), colours[inverted]


def _dictionaries() -> list[str]:
    """OpenCV's names, small dictionaries first; of two spellings of one name the first."""
    import cv2

    names = {name.upper(): name for name in sorted(dir(cv2.aruco), reverse=True) if name.startswith("DICT_")}
    return sorted(names.values(), key=lambda name: (_size(name), name))


def _size(dictionary: str) -> int:
    """How many markers it has."""
    import cv2

    return len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary)).bytesList)


def _kind(dictionary: str) -> str:
    """What dictionaries that begin with the same markers have in common, as in `DICT_4X4`."""
    head, _, tail = dictionary.rpartition("_")
    return head if tail.isdecimal() else dictionary


def _markers(
    greys: list[Grey], dictionary: str, board: Board, *, inverted: bool = False, both: bool = False
) -> set[int]:
    """The numbers of the markers seen in any of the pictures, straight or mirrored; `both`: in either colouring."""
    import cv2

    settings = cv2.aruco.DetectorParameters()
    settings.detectInvertedMarker = both
    whole = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    # a board's markers are numbered from 0; far numbers would be mistakes, and cost most of the time
    likely = whole.bytesList[: 2 * board.columns * board.rows]
    begin = cv2.aruco.Dictionary(likely, whole.markerSize, whole.maxCorrectionBits)
    detector = cv2.aruco.ArucoDetector(begin, settings)
    found: tuple[set[int], set[int]] = (set(), set())
    for grey, (mirrored, markers) in itertools.product(greys, enumerate(found)):
        image = 255 - grey if inverted else grey
        _, names, _ = detector.detectMarkers(np.ascontiguousarray(image[:, ::-1]) if mirrored else image)
        markers.update(() if names is None else names.ravel().tolist())
    return max(found, key=len)


def _why_no_checkerboard(greys: list[Grey], board: Board) -> str:
    """Try other numbers of corners near those given: squares counted instead of corners, one more or one fewer."""
    near = ((0, 0), (-1, -1), (1, 1), (-1, 0), (0, -1), (1, 0), (0, 1))
    for inverted, (more_columns, more_rows) in itertools.product((board.inverted, not board.inverted), near):
        columns, rows = board.columns + more_columns, board.rows + more_rows
        if min(columns, rows) < 3:
            continue
        other = replace(board, columns=columns, rows=rows, inverted=inverted)
        if other != board and _shows(greys, other):
            hint = " (inner corners are counted, not squares)" if (more_columns, more_rows) == (-1, -1) else ""
            return f"it shows a board of {columns}x{rows} inner corners; try --board {other.spec}{hint}"
    return (
        f"no grid of {board.columns}x{board.rows} inner corners was recognised; is the whole board in the picture, "
        "flat, in focus, and with a white border?"
    )


def _shows(greys: list[Grey], board: Board) -> bool:
    find = CharucoFinder(board) if board.kind == "charuco" else CheckerboardFinder(board)
    return any(bool(find(grey).seen.any()) for grey in greys)


def _listed(markers: set[int]) -> str:
    shown = sorted(markers)
    return ", ".join(map(str, shown[:12])) + (" ..." if len(shown) > 12 else "")
