"""Which frames of each view are searched, and which frames of different views belong to the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core import FrameSource, InputError
from marey.io.caliscope_times import find_caliscope_times, read_caliscope_moments
from marey.io.naming import last_number

SHARED = 0.5
"""Share of the smallest view's numbers that another must have for pictures to be matched by their numbers."""
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of one view that are searched."""

    indices: Indices
    """Of the frames in their source, ascending."""
    moments: Indices
    """Of each frame, ascending."""


def choose_frames(
    sources: Sequence[FrameSource], names: Sequence[str], *, every: int | None, most: int, simultaneous: bool
) -> tuple[list[Frames], list[str]]:
    """Give each frame its moment and keep each n-th moment; and say in sentences what was done.

    Args:
        sources: of the views.
        names: of the views.
        every: n; None: such that at most `most` moments are left.
        most: moments.
        simultaneous: False: each view counts its own pictures.

    Raises:
        InputError: `every` is below 1, or a view has no frames.
    """
    if every is not None and every < 1:
        raise InputError(f"every: expected 1 (all frames) or more, got {every}")
    counts = [len(source.timestamps) for source in sources]
    if not all(counts):
        raise InputError(f"the view {names[counts.index(0)]} has no pictures")
    moments, notes = _moments(sources, names, counts) if simultaneous else ([np.arange(n) for n in counts], [])
    union = np.unique(np.concatenate(moments))
    stride = every or max(1, -(-len(union) // most))
    if stride > 1:
        notes.append(f"Of {len(union)} moments every {_ordinal(stride)} was searched.")
    chosen = union[::stride]
    kept = [np.flatnonzero(np.isin(own, chosen)) for own in moments]
    return [Frames(indices=keep, moments=own[keep]) for keep, own in zip(kept, moments, strict=True)], notes


def _moments(
    sources: Sequence[FrameSource], names: Sequence[str], counts: Sequence[int]
) -> tuple[list[Indices], list[str]]:
    """The moment of each frame of each view."""
    if all(len(source.files) == 1 for source in sources):
        table = find_caliscope_times([source.files[0] for source in sources])
        if table is not None:
            own = read_caliscope_moments(table, [source.files[0] for source in sources])
            notes = [
                f"Frames of one sync index in {table.name}, which lies beside the videos, are taken as one moment."
            ]
            for name, moments, count in zip(names, own, counts, strict=True):
                if len(moments) != count:
                    notes.append(
                        f"View {name} has {count} frames but {len(moments)} rows in {table.name}; the first "
                        f"{min(len(moments), count)} of both are used."
                    )
            return [moments[:count] for moments, count in zip(own, counts, strict=True)], notes
    numbers = [numbers_of_pictures(source) for source in sources]
    shared = [_shared(numbers[0], other) for other in numbers[1:]]
    if any(not np.array_equal(numbers[0], other) for other in numbers[1:]) and min(shared) >= SHARED:
        return numbers, ["Pictures with the same number in their names are taken as one moment."]
    if len(set(counts)) > 1:
        told = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
        return [np.arange(count) for count in counts], [
            f"The views have different numbers of frames ({told}); they are aligned at the first frame."
        ]
    return [np.arange(count) for count in counts], []


def numbers_of_pictures(source: FrameSource) -> Indices:
    """The numbers in the names of a view's pictures; empty where they are not ascending or it is a video."""
    if len(source.files) == 1:
        return np.zeros(0, np.int64)
    found = [last_number(file.stem) for file in source.files]
    numbers = np.array([-1 if number is None else number for number in found], np.int64)
    return numbers if (numbers >= 0).all() and (np.diff(numbers) > 0).all() else np.zeros(0, np.int64)


def _shared(first: Indices, second: Indices) -> float:
    """Share of the smaller set of numbers that the other has too."""
    smaller = min(len(first), len(second))
    return len(np.intersect1d(first, second)) / smaller if smaller else 0.0


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
