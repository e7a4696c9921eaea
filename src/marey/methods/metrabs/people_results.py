"""Who was found in pictures: containers that also unpack as what users of the original program know.

found = model.predict_single_image(picture)
found.poses3d, found["poses3d"], dict(found)["poses3d"]       # the dictionary of 2021 to 2023
detections, poses3d, poses2d = found                           # the triple of 2020
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from marey.core import InputError, Skeleton
from marey.methods.metrabs.plausibility import Dropped

Unit = Literal["m", "mm"]
Frame = Literal["camera", "world"]

KEYS = ("boxes", "poses3d", "poses2d")


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """The n people of one picture, the surest first where they were detected; A views, if they are not averaged."""

    boxes: Tensor
    """(n, 5) left, top, width, height in pixels, and the score in 0..1; 1 for boxes that came without one."""
    poses3d: Tensor
    """(n, J, 3) or (n, A, J, 3) in `unit` in `frame`."""
    poses2d: Tensor
    """(n, J, 2) or (n, A, J, 2) pixels of the picture, lens included; NaN for a joint behind the camera."""
    covariance: Tensor
    """(n, J, 3, 3) or (n, A, J, 3, 3) of poses3d, square units, the spread of augmented views included if they are
    averaged; NaN where nobody states one."""
    indices: Tensor
    """(n,) which of the boxes that were given or detected."""
    dropped: tuple[Dropped, ...]
    """Those of the boxes that are not here, and why."""
    skeleton: Skeleton
    """Of the J joints."""
    unit: Unit
    frame: Frame

    def __iter__(self) -> Iterator[Tensor]:
        """Boxes, 3D poses and 2D poses."""
        return iter((self.boxes, self.poses3d, self.poses2d))

    def __getitem__(self, key: str) -> Tensor:
        """The tensor of one of `keys`."""
        _check_key(key)
        found: Tensor = getattr(self, key)
        return found

    def keys(self) -> tuple[str, ...]:
        """Those of the original's dictionary."""
        return KEYS


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleOfPictures:
    """The people of I pictures."""

    pictures: tuple[People, ...]

    @property
    def boxes(self) -> tuple[Tensor, ...]:
        """Of each picture, (n, 5)."""
        return tuple(people.boxes for people in self.pictures)

    @property
    def poses3d(self) -> tuple[Tensor, ...]:
        """Of each picture, see `People`."""
        return tuple(people.poses3d for people in self.pictures)

    @property
    def poses2d(self) -> tuple[Tensor, ...]:
        """Of each picture, see `People`."""
        return tuple(people.poses2d for people in self.pictures)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Boxes, 3D poses and 2D poses, each of all pictures."""
        return iter((self.boxes, self.poses3d, self.poses2d))

    def __getitem__(self, key: str) -> tuple[Tensor, ...]:
        """The tensors of one of `keys`, one a picture."""
        _check_key(key)
        found: tuple[Tensor, ...] = getattr(self, key)
        return found

    def keys(self) -> tuple[str, ...]:
        """Those of the original's dictionary."""
        return KEYS


def _check_key(key: str) -> None:
    if key not in KEYS:
        raise InputError(f"people: expected one of {', '.join(KEYS)}, got '{key}'")
