"""SHA-256 of labels, equal on processors that round differently.

Arrays of numbers are hashed as whole numbers of steps: floor(value / step - phase). The step is coarse (a centimetre)
and the phase is chosen, once, so that no value of the array lies near a border between two whole numbers. Another
processor, whose last bits differ, then finds the same whole numbers; a change of the labels that moves a thousand
values by a hundredth of a step does not (with 1 - (1 - 1/100)^1000 = 99.996 % certainty).

What is read off pixels (whether a joint is seen, and what a detector makes of that) has no border to keep away from: a
pixel at the rim of an arm may turn out otherwise elsewhere. Such arrays are hashed as they are, and where the hash
differs their sums decide, which may differ by one in a thousand of what they would be if all changed by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

_PIXELS = ("box", "camera_intrinsics")
_STEP, _STEP_PX = 1e-2, 10.0
"""In metres, elements of rotations, coefficients, shares; and in pixels. So coarse that the margin of 150,000 values
is some times the rounding of float32."""
FROM_PIXELS = ("visible", "hidden", "occluded", "detected", "detected_sigma", "detected_score")
_ALLOWED = 1e-3
_DECIMALS = 9
_MISSING = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What an array must be."""

    sha256: str
    step: float = 0.0
    """0: hashed as it is."""
    phase: float = 0.0
    """In steps."""
    margin: float = 0.0
    """In steps: the distance of the nearest value from a border."""
    sums: tuple[float, ...] = ()
    """Over all but the last dimension, of what is read off pixels."""

    def fits(self, name: str, array: Array) -> bool:
        """Whether an array of this name is the one that the digest was made of."""
        if self.sha256 == hash_of(name, array, step=self.step, phase=self.phase):
            return True
        if not self.sums:
            return False
        found = np.array(sums_of(array))
        allowed = _ALLOWED * array.size / max(1, len(found))
        return found.shape == (len(self.sums),) and bool((np.abs(found - self.sums) <= allowed).all())


def digest_of(name: str, array: Array) -> Digest:
    """Make the digest of an array, choosing the phase."""
    if array.dtype.kind != "f" or name in FROM_PIXELS:
        sums = tuple(sums_of(array)) if name in FROM_PIXELS else ()
        return Digest(sha256=hash_of(name, array), sums=sums)
    step = _STEP_PX if name in _PIXELS else _STEP
    phase, margin = _phase(array, step)
    return Digest(sha256=hash_of(name, array, step=step, phase=phase), step=step, phase=phase, margin=margin)


def hash_of(name: str, array: Array, *, step: float = 0.0, phase: float = 0.0) -> str:
    """SHA-256 of the name, the shape and the values of an array, as whole numbers of steps if there is a step."""
    values: Array = array
    if step:
        numbers = array.astype(np.float64)
        known = np.isfinite(numbers)
        values = np.where(known, np.floor(np.where(known, numbers, 0.0) / step - phase), _MISSING).astype("<i8")
    elif array.dtype.kind == "i":
        values = array.astype("<i8")
    elif array.dtype.kind == "f":
        values = array.astype("<f4")
    head = f"{name}|{','.join(map(str, array.shape))}|{values.dtype.str}|"
    return hashlib.sha256(head.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()


def sums_of(array: Array) -> list[float]:
    """Of a share one number; of booleans one for each of the last dimension."""
    known = np.nan_to_num(array.astype(np.float64))
    return [float(known.sum())] if array.dtype.kind == "f" else known.reshape(-1, array.shape[-1]).sum(0).tolist()


def _phase(array: Array, step: float) -> tuple[float, float]:
    """The middle of the widest gap between the values as shares of a step, and how far it is from the nearest."""
    numbers = array.astype(np.float64)
    places = np.unique(np.mod(numbers[np.isfinite(numbers)] / step, 1.0))
    if not len(places):
        return 0.0, 0.5
    gaps = np.diff(places, append=places[0] + 1)
    widest = int(gaps.argmax())
    return round(float(places[widest] + gaps[widest] / 2), _DECIMALS), round(float(gaps[widest] / 2), _DECIMALS)
