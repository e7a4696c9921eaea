"""What the entry points of MeTRAbs can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, get_args

from marey.core import InputError
from marey.methods.metrabs.augmented import Turns
from marey.methods.metrabs.people_results import Frame, Unit

_OLD_NAMES = {"n_aug": "num_aug"}
"""Of options, in 2020."""
_LEAST = {"internal_batch_size": 0, "antialias_factor": 1, "num_aug": 1, "max_detections": -1}
"""Of options that are whole numbers."""
_MOST_ANTIALIAS = 16
"""A crop of 256 pixels has 4096 on a side then, which is more than most pictures."""
_SWITCHES = ("average_aug", "detector_flip_aug", "suppress_implausible_poses")


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    """What the entry points can be told; the names are the original's."""

    unit: Unit = "m"
    """Of poses, and of the translation in extrinsic matrices. The original's are millimetres."""
    frame: Frame = "world"
    """Of poses; without an extrinsic matrix the camera is the world."""
    world_up_vector: tuple[float, float, float] = (0.0, -1.0, 0.0)
    """Crops are turned so that this is up."""
    default_fov_degrees: float = 55.0
    """Along the larger side, of a camera whose intrinsic matrix is not given. The release of 2020 had 50."""
    internal_batch_size: int = 64
    """Crops in one call of the network, which bounds the memory; 0: all of them."""
    antialias_factor: int = 1
    """Crops are rendered so many times as large and averaged, beyond what the picture's pyramid does."""
    num_aug: int = 5
    """Views of each person; 1: as it is."""
    aug_turns: Turns = "slight"
    """Angles of the views, see `augmentation_table`; the original's options --rot-aug, --rot-aug-360 and -360-half."""
    average_aug: bool = True
    """Whether the views are averaged. Otherwise poses have an axis of views before that of the joints."""
    skeleton: str = ""
    """Name of the joints that are wanted; empty: all that the network has."""
    detector_threshold: float | None = None
    """Of a detection's score; None: the detector's own."""
    detector_nms_iou_threshold: float = 0.7
    """Of two boxes that overlap more, the worse one goes."""
    max_detections: int = -1
    """Of one picture, the best ones; -1: all."""
    detector_flip_aug: bool = False
    """Whether the mirrored picture is searched too."""
    suppress_implausible_poses: bool | None = None
    """Whether poses that cannot be, and doubles, are dropped. None: those of detected boxes."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit) or self.frame not in get_args(Frame):
            raise InputError(
                f"expected a unit {get_args(Unit)} and a frame {get_args(Frame)}, got {self.unit}, {self.frame}"
            )
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise InputError(f"expected a whole number {name} >= {least}, got {value!r}")
        if self.antialias_factor > _MOST_ANTIALIAS:
            raise InputError(f"antialias_factor: expected {_MOST_ANTIALIAS} or less, got {self.antialias_factor}")
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool) and (value is not None or name != "suppress_implausible_poses"):
                raise InputError(f"{name}: expected True or False, got {value!r}")
        if not isinstance(self.skeleton, str):
            raise InputError(f"skeleton: expected a name, got {self.skeleton!r}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("default_fov_degrees", "detector_threshold", "detector_nms_iou_threshold"):
            value = getattr(self, name)
            known = value is not None or name != "detector_threshold"
            if known and (isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value)):
                raise InputError(f"{name}: expected a number, got {value!r}")
        up = self.world_up_vector
        if len(up) != 3 or not all(map(math.isfinite, up)) or not any(up):
            raise InputError(f"world_up_vector: expected three finite numbers that are not all 0, got {up}")

    def changed(self, changes: Mapping[str, Any]) -> PeopleOptions:
        """The options with some of them changed, also by the names of 2020.

        Raises:
            InputError: there is no such option, or no such value.
        """
        named = {_OLD_NAMES.get(name, name): value for name, value in changes.items()}
        known = [option.name for option in fields(self)]
        if unknown := sorted(set(named) - set(known)):
            raise InputError(f"no option '{unknown[0]}'; there are: {', '.join(known)}")
        if "world_up_vector" in named:
            named["world_up_vector"] = _three_numbers(named["world_up_vector"])
        return replace(self, **named)


def _three_numbers(values: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"world_up_vector: expected three finite numbers, got {values!r}") from error
