"""What association may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from marey.core import InputError


@dataclass(frozen=True, kw_only=True)
class AssociationConfig:
    """Assumptions about people, cameras and detector. The defaults suit people who walk, run and dance."""

    fps: float = 30.0
    """Frames per second of the recording: turns the speeds and times below into frames."""
    agility: float = 1.5
    """Metres per second: standard deviation of the change of a joint's velocity from one frame to the next."""
    slack: float = 0.03
    """Metres: standard deviation by which views disagree about a joint beyond the covariances of the keypoints."""
    outlier: float = 0.05
    """Share of keypoints that are grossly wrong on the right person."""
    swap_odds: float = 0.1
    """Odds that a detector exchanges a pair of left and right joints."""
    least_joints: int = 4
    """A detection with fewer joints is nobody."""
    confirmation: int = 3
    """Frames in which two views or more must see a new person."""
    patience: float = 0.7
    """Seconds that a person is expected where nobody is seen."""
    separation: float = 0.2
    """Metres: closer than this, two bodies' centres are one body."""
    persistence: float = 0.3
    """Seconds that somebody must have been seen by two views or more to count as a person."""
    bystander_ratio: float = 0.6
    """Without a number of people: whoever is seen by fewer views, on average, than this share of the views that see the
    best seen person is a bystander."""
    memory: float = 5.0
    """Seconds after which somebody who was lost and somebody who appears are no longer taken for one person."""
    pace: float = 1.5
    """Metres per second that a person who was lost may have walked, one standard deviation."""
    stature: float = 0.08
    """Relative standard deviation of bone lengths measured twice on one person."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"AssociationConfig.{field.name}: expected a positive number, got {value}")
        if self.outlier >= 1 or self.swap_odds >= 1:
            raise InputError(
                f"AssociationConfig: expected outlier and swap_odds below 1, got {self.outlier} and {self.swap_odds}"
            )

    def fitted(self, frames: int) -> AssociationConfig:
        """The same for a recording of so many frames: what must last may last no more than half of it."""
        return replace(
            self,
            confirmation=max(1, min(self.confirmation, frames // 2)),
            persistence=min(self.persistence, max(1, frames // 2) / self.fps),
        )

    def frames(self, seconds: float) -> int:
        """Number of frames in a time, at least 1."""
        return max(1, round(seconds * self.fps))
