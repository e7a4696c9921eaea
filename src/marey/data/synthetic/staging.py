"""What a film shows, laid down beforehand: the motion of people, and cameras that stand still."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.core.results import BodyState


@dataclass(frozen=True, kw_only=True, eq=False)
class Staging:
    """People over T frames, and V cameras; double precision."""

    people: BodyState
    """(T, P) in a world whose z points up. Translations say where the root is above the ground; the height is found."""
    fps: float
    """Frames per second of `people`; the first is at time 0."""
    cameras: Cameras
    """(V,)"""

    def __post_init__(self) -> None:
        if len(self.people.batch_shape) != 2 or len(self.cameras.batch_shape) != 1:
            raise ShapeError(
                f"Staging: expected people (T, P) and cameras (V,), got {self.people.batch_shape} and "
                f"{self.cameras.batch_shape}"
            )
        if not self.fps > 0:
            raise InputError(f"Staging.fps: expected frames per second above 0, got {self.fps}")

    def people_at(self, times: Tensor) -> BodyState:
        """The bodies (B, P) in the frames nearest to times (B,) seconds; before and after the film, at its ends."""
        last = self.people.batch_shape[0] - 1
        frame = (times * self.fps).round().long().clamp(0, last)
        return self.people.map(lambda tensor: tensor.to(times.device)[frame])

    def cameras_of(self, count: int) -> Cameras:
        """The same cameras for each of some scenes, (count, V), with the values of single precision."""
        rounded = self.cameras.to(torch.float32).to(torch.float64)
        return rounded.map(lambda tensor: tensor.expand(count, *tensor.shape).clone())
