"""What the files of motion share: units of length, names that may repeat, bones that are meant to be of one length."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
"""In one unit of length."""
_PERSON = (0.5, 2.6)
"""Metres from end to end of a skeleton that is plausibly a person's, from a child's to a giant's with raised arms."""
_STEADY = 0.001
"""Metres by which the place of a joint in its parent's frame may change before it is told."""


def metres_per_unit(unit: str | float) -> float:
    """The metres in a unit given by name (m, cm, mm, in) or as that number itself.

    Raises:
        InputError: it is neither.
    """
    metres = METRES.get(unit, math.nan) if isinstance(unit, str) else float(unit)
    if not (math.isfinite(metres) and metres > 0):
        raise InputError(f"unit: expected one of {', '.join(METRES)} or the metres in one unit, got {unit!r}")
    return metres


def plausible_unit(path: str | os.PathLike[str], places: npt.NDArray[np.float64], *, custom: str) -> float:
    """The metres in the unit of a file that does not say: that of m, cm, mm in which its skeleton is a person.

    Args:
        path: The file, for the warning where no unit fits.
        places: (K, 3) joints of the rest pose, in the file's unit.
        custom: The unit to take where none fits: the usual one of the format.
    """
    extent = float(np.ptp(places, axis=0).max()) if len(places) else 0.0
    for unit in ("m", "cm", "mm"):
        if _PERSON[0] <= extent * METRES[unit] <= _PERSON[1]:
            return METRES[unit]
    warnings.warn(
        f"{path}: does not state its unit, and its skeleton of {extent:.4g} units is no person's in m, cm or mm; read "
        f"as {custom}; pass unit= with a name or with the metres in one unit",
        stacklevel=3,
    )
    return METRES[custom]


def unique_names(path: str | os.PathLike[str], names: Sequence[str]) -> tuple[str, ...]:
    """Number names that repeat (`Site`, `Site_2`, ...), with a warning that lists them."""
    taken = set(names)
    seen: set[str] = set()
    counts: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        new = name
        while new in seen or (new != name and new in taken):
            counts[name] = counts.get(name, 1) + 1
            new = f"{name}_{counts[name]}"
        seen.add(new)
        unique.append(new)
    if counts:
        listed = ", ".join(list(counts)[:8])
        warnings.warn(f"{path}: joint names repeat and are numbered: {listed}", stacklevel=3)
    return tuple(unique)


def steady_offsets(
    path: str | os.PathLike[str], places: npt.NDArray[np.float64], names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """One place (K, 3) for joints (T, K, 3) metres that a file moves within their parents: their median over time.

    Bones that change their length by more than a millimetre are told with a warning: what hangs on them is then
    somewhat elsewhere than in the file.
    """
    if not len(places):
        return np.zeros(places.shape[1:])
    offsets: npt.NDArray[np.float64] = np.median(places, axis=0)
    change = np.abs(places - offsets).max(axis=(0, 2)) if places.size else np.zeros(len(names))
    worst = int(change.argmax()) if len(change) else 0
    if len(change) and change[worst] > _STEADY:
        warnings.warn(
            f"{path}: {int((change > _STEADY).sum())} joints move within their parents ({names[worst]} by up to "
            f"{change[worst] * 1000:.0f} mm), which a motion of constant bones cannot hold; their median place is kept",
            stacklevel=3,
        )
    return offsets
