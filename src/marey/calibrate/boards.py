"""Calibration boards: what they are, and where their corners lie."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from marey.core import InputError

BoardKind = Literal["charuco", "checkerboard"]

GRAMMAR = (
    "expected charuco:COLUMNSxROWS:SQUARE:DICTIONARY[:inverted][:legacy][:marker=SHARE] with the number of squares, or "
    "checkerboard:COLUMNSxROWS:SQUARE with the number of inner corners; SQUARE in metres, e.g. "
    "charuco:4x5:0.054:DICT_4X4_1000 or checkerboard:7x4:0.060"
)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A flat board with corners in a grid. Its frame: origin at the first corner, x along columns, y along rows."""

    kind: BoardKind
    columns: int
    """Squares (ChArUco) or inner corners (checkerboard) along x."""
    rows: int
    """The same along y."""
    square: float
    """Side of a square, metres."""
    dictionary: str | None = None
    """OpenCV's name of the ArUco dictionary, ChArUco only."""
    inverted: bool = False
    """Printed white on black."""
    legacy: bool = False
    """ChArUco pattern of OpenCV before 4.6: boards with an even number of rows begin with another square."""
    marker: float = 0.75
    """Side of a marker relative to its square."""

    def __post_init__(self) -> None:
        least = 3 if self.kind == "charuco" else 2
        if min(self.columns, self.rows) < least:
            raise InputError(
                f"board {self.spec}: expected {least} or more "
                f"{'squares' if self.kind == 'charuco' else 'inner corners'} along both sides"
            )
        if not (math.isfinite(self.square) and 0 < self.square < 10):
            raise InputError(f"board {self.spec}: a square of {self.square} m; give its side in metres, e.g. 0.054")
        if not 0 < self.marker < 1:
            raise InputError(f"board {self.spec}: a marker has to be smaller than its square, got {self.marker} of it")
        if (self.dictionary is None) == (self.kind == "charuco"):
            raise InputError(f"board {self.spec}: a ChArUco board has a dictionary, a checkerboard has none; {GRAMMAR}")

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of the corners that are measured."""
        return (self.columns - 1, self.rows - 1) if self.kind == "charuco" else (self.columns, self.rows)

    @property
    def points(self) -> Tensor:
        """(C, 3) corners in the board's frame, metres, float64, row by row; z is 0."""
        columns, rows = self.grid
        x, y = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
        return torch.stack((x, y, torch.zeros_like(x)), dim=-1).reshape(-1, 3).double() * self.square

    @property
    def orders(self) -> Tensor:
        """(S, C) integer: the orders of the corners that the pattern does not tell apart, the first that of `points`.

        The corners of a ChArUco board have names: S is 1. A checkerboard looks the same after half a turn, except for
        the colours: they decide where one of columns and rows is even and the other odd (S is 1: corner 0 is where the
        enclosed square is dark). Otherwise S is 2, or 4 for a square board with an even number of corners a side, and
        `pixels[..., orders[s], :]` is as good a reading of a picture as `pixels`. Several views of one moment decide.
        """
        columns, rows = self.grid
        grid = torch.arange(rows * columns).reshape(rows, columns)
        turns = [0]
        if self.kind == "checkerboard" and (columns + rows) % 2 == 0:
            turns = [0, 1, 2, 3] if columns == rows and columns % 2 == 0 else [0, 2]
        return torch.stack([torch.rot90(grid, turn).flatten() for turn in turns])

    @property
    def spec(self) -> str:
        """The board in words of the command line."""
        words = [self.kind, f"{self.columns}x{self.rows}", f"{self.square:g}", self.dictionary or ""]
        words += ["inverted"] * self.inverted + ["legacy"] * self.legacy
        words += [f"marker={self.marker:g}"] * (self.kind == "charuco" and self.marker != 0.75)
        return ":".join(word for word in words if word)


def parse_board(text: str) -> Board:
    """Read a board from words such as `charuco:4x5:0.054:DICT_4X4_1000:inverted`.

    Raises:
        InputError: it is something else; the message states the grammar.
    """
    kind, *words = text.strip().split(":")
    size = re.fullmatch(r"(\d{1,3})x(\d{1,3})", words[0]) if words else None
    if kind not in ("charuco", "checkerboard") or size is None or len(words) < 2:
        raise InputError(f"board '{text}': {GRAMMAR}")
    try:
        square = float(words[1])
    except ValueError:
        raise InputError(f"board '{text}': '{words[1]}' is not a length in metres; {GRAMMAR}") from None
    flags = words[2:]
    dictionary = flags.pop(0) if kind == "charuco" and flags and flags[0].startswith("DICT_") else None
    marker = next((flag for flag in flags if re.fullmatch(r"marker=0?\.\d+", flag)), "marker=0.75")
    unknown = set(flags) - {"inverted", "legacy", marker}
    if unknown:
        raise InputError(f"board '{text}': '{sorted(unknown)[0]}' is not understood; {GRAMMAR}")
    return Board(
        kind="charuco" if kind == "charuco" else "checkerboard",
        columns=int(size[1]),
        rows=int(size[2]),
        square=square,
        dictionary=dictionary,
        inverted="inverted" in flags,
        legacy="legacy" in flags,
        marker=float(marker.removeprefix("marker=")),
    )
