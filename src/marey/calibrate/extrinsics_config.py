"""What a calibration of extrinsics from boards adjusts, believes and calls the world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from marey.geometry.bundle import CameraPrior

TIMES_MEDIAN = 6.0
"""A picture is doubted when it is so many times worse than the median picture."""


@dataclass(frozen=True, kw_only=True)
class ExtrinsicsConfig:
    """What is adjusted, what is believed, and what defines the world."""

    intrinsics: Literal["hold", "adjust"] = "hold"
    """`adjust`: focal lengths, principal points and the distortion terms that the given cameras have, jointly with the
    extrinsics and from the same boards. Needs boards all over every view's image, or a prior."""
    prior: CameraPrior = field(default_factory=CameraPrior)
    """How far intrinsics that are adjusted may be from those given. Default: anywhere."""
    world_moment: int | None = None
    """None: the first camera is the world. Else one of `BoardObservations.moments`: the board that lay on the ground
    then, its first corner the origin, x along its columns, z up, on the side from which the cameras see it."""
    unconnected: Literal["raise", "leave_out"] = "raise"
    """What to do if some views share no boards with the others: `leave_out` goes on with the largest group."""
    least_shared: int = 3
    """Boards that connect two views."""
    least_corners: int = 6
    """Corners without which a picture of the board does not count."""
    false_board: float = 5.0
    """Pixels, root mean square: a picture that fits the flat board no better than this alone, and 6 times worse than
    the view's median picture, shows something else."""
    contradiction: float = 3.0
    """Pixels, root mean square: a picture farther off than this from where the other views see the board, and 6 times
    farther than the median picture, contradicts them."""
    huber: float = 2.0
    """Standard deviations beyond which a corner pulls no harder."""
    time_offsets: bool = True
    """Whether to look for views whose clocks are off, where the board moves from moment to moment."""
