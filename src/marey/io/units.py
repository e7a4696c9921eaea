"""Units of length in files; inside, every length is metres."""

from __future__ import annotations

import math
from typing import Literal

from marey.core.errors import InputError

Unit = Literal["m", "cm", "mm", "in"]
"""Their names."""
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
"""In one unit of length."""


def metres_per_unit(unit: str | float) -> float:
    """The metres in a unit given by name (m, cm, mm, in) or as that number itself.

    Raises:
        InputError: it is neither.
    """
    metres = METRES.get(unit, math.nan) if isinstance(unit, str) else float(unit)
    if not (math.isfinite(metres) and metres > 0):
        raise InputError(f"unit: expected one of {', '.join(METRES)}, or the metres in one unit, got {unit!r}")
    return metres
