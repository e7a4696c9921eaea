"""What a calibration is made from, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from marey.calibrate.boards import Board
from marey.core import Cameras, FrameSource, ShapeError


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A board in a picture that was left out, and why."""

    view: int
    moment: int
    """Place in `BoardObservations.moments`."""
    why: str
    """A sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know about a calibration, and what to do about it."""

    severity: Literal["good", "notice", "problem"]
    text: str
    """What is so, with numbers and names."""
    advice: str = ""
    """What to do, empty where there is nothing to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardObservations:
    """The corners of a board as V views saw them at M moments. At one moment the board has one place in the world."""

    board: Board
    pixels: Tensor
    """(V, M, C, 2) float64, lens included; NaN = not seen. C are the corners of `board.points`."""
    names: tuple[str, ...]
    """Of the V views."""
    sizes: Tensor
    """(V, 2) width and height of the images in pixels."""
    moments: tuple[int, ...]
    """Of the M moments: the frame index (videos, after synchronisation) or the number of the picture."""
    frame_indices: Tensor
    """(V, M) integer: index of the frame in the view's source, for pictures in the report; -1 where it has none."""
    sources: tuple[FrameSource | None, ...] = ()
    """Of the V views, where the pictures can be had again; empty where only corners are known."""
    simultaneous: bool = True
    """Whether the views' pictures of one moment were taken at the same time. False: photographs for intrinsics only."""
    rejected: tuple[Rejection, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What is odd about the pictures, whatever is made of them."""
    notes: tuple[str, ...] = ()
    """What was skipped or assumed on the way, in plain sentences."""

    def __post_init__(self) -> None:
        views, moments = len(self.names), len(self.moments)
        expected = (views, moments, len(self.board.points), 2)
        if tuple(self.pixels.shape) != expected:
            raise ShapeError(f"BoardObservations.pixels: expected {expected}, got {tuple(self.pixels.shape)}")

    @property
    def seen(self) -> Tensor:
        """(V, M, C) boolean."""
        return self.pixels.isfinite().all(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Cameras, how well they are known, and how well they agree with what was seen."""

    cameras: Cameras
    """(V,) full, or with intrinsics only."""
    parameter_names: tuple[str, ...] = ()
    """Of the K parameters of a camera: rx ry rz (radians, camera frame), x y z (centre in the world, metres), then
    fx fy cx cy (pixels) and distortion coefficients, as far as they were estimated."""
    deviation: Tensor | None = None
    """(V, K) one standard deviation of each parameter; zero for what was held, NaN where undetermined."""
    observations: BoardObservations | None = None
    board_rotation: Tensor | None = None
    """(M, 3, 3) board to world; NaN: not used. None where only intrinsics were estimated."""
    board_translation: Tensor | None = None
    """(M, 3) metres."""
    residuals: Tensor | None = None
    """(V, M, C, 2) seen minus projected, pixels; NaN where nothing was seen."""
    used: Tensor | None = None
    """(V, M, C) boolean: the corners that the estimate rests on."""
    rejected: tuple[Rejection, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
