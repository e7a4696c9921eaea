"""What is made: tiers of difficulty, splits, sizes. A capture is a pure function of this, a seed and an index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from marey.core import InputError

SPLITS = ("training", "benchmark")
"""They share no random number, no clip, and no family of textures or backgrounds."""

MOTIONS = ("limits", "prior")
"""Sources of poses."""
LENS_KINDS = ("phone", "ring", "wide", "fisheye", "ptz")
"""Kinds of cameras; `marey.data.synthetic.cameras.LENSES` says what they are like."""
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Tier:
    """How difficult the samples are."""

    yaw: float
    """Radians by which the body may be turned from facing the first camera, to either side."""
    tilt: float
    """Standard deviation in radians of the lean of the whole body."""
    lying: float
    """Share of the people whose body has any orientation at all."""
    joint_range: float
    """Share of the limits of the joints that poses use."""
    motions: Mapping[str, float]
    """Weights of the sources of poses: `limits` (anything that joints allow) and `prior` (what people do)."""
    children: float
    """Share of the people younger than 16 years."""
    people: tuple[int, int]
    """Fewest and most in a scene."""
    distance: Range
    """Metres from the camera to the first person."""
    lenses: Mapping[str, float]
    """Weights of `phone`, `ring`, `wide`, `fisheye` and `ptz` cameras."""
    roll: float
    """Standard deviation in radians of the camera's roll."""
    occlusion: Range
    """Least and largest share of the first person's pixels that occluders cover."""
    occluded: float
    """Share of the pictures with an occluder."""
    truncated: float
    """Share of the pictures that cut the first person off."""
    degradation: float
    """In 0..1, how strong blur, noise, colour casts and JPEG are."""

    def __post_init__(self) -> None:
        for name, known in (("motions", MOTIONS), ("lenses", LENS_KINDS)):
            weights: Mapping[str, float] = getattr(self, name)
            if not weights or set(weights) - set(known) or min(weights.values()) < 0 or not sum(weights.values()) > 0:
                raise InputError(f"Tier.{name}: expected weights >= 0 of {', '.join(known)}, got {dict(weights)}")
        for name in ("joint_range", "lying", "children", "occluded", "truncated", "degradation"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Tier.{name}: expected a share in 0..1, got {getattr(self, name)}")
        for name, least, most in (("people", 1, 64), ("distance", 0.5, 1000), ("occlusion", 0, 1)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError(f"Tier.{name}: expected {least} <= low <= high <= {most}, got {low} and {high}")


TIERS: Mapping[str, Tier] = {
    "easy": Tier(
        yaw=math.radians(60),
        tilt=0.05,
        lying=0.0,
        joint_range=0.5,
        motions={"limits": 1.0},
        children=0.0,
        people=(1, 1),
        distance=(2.5, 6.0),
        lenses={"phone": 0.5, "ring": 0.5},
        roll=0.02,
        occlusion=(0.0, 0.0),
        occluded=0.0,
        truncated=0.0,
        degradation=0.3,
    ),
    "medium": Tier(
        yaw=math.pi,
        tilt=0.12,
        lying=0.02,
        joint_range=0.7,
        motions={"limits": 0.35, "prior": 0.65},
        children=0.15,
        people=(1, 1),
        distance=(1.8, 9.0),
        lenses={"phone": 0.4, "ring": 0.3, "wide": 0.15, "ptz": 0.15},
        roll=0.06,
        occlusion=(0.02, 0.3),
        occluded=0.6,
        truncated=0.2,
        degradation=0.6,
    ),
    "hard": Tier(
        yaw=math.pi,
        tilt=0.35,
        lying=0.3,
        joint_range=1.0,
        motions={"limits": 0.8, "prior": 0.2},
        children=0.2,
        people=(1, 3),
        distance=(1.4, 14.0),
        lenses={"phone": 0.3, "ring": 0.2, "wide": 0.2, "fisheye": 0.1, "ptz": 0.2},
        roll=0.2,
        occlusion=(0.05, 0.8),
        occluded=0.75,
        truncated=0.35,
        degradation=1.0,
    ),
}
"""By name; the two lower ones are meant to be learnt on a small budget."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What a generator makes."""

    tier: str | Tier = "medium"
    """A name of `TIERS`, or one's own."""
    split: Literal["training", "benchmark"] = "training"
    image_size: tuple[int, int] = (256, 256)
    """Width and height, pixels."""
    views: int = 1
    """Cameras around each scene."""
    people: int | None = None
    """In every scene; None: as many as the tier draws."""
    framing: Literal["person", "scene"] = "person"
    """`person`: the picture is a crop around the first person. `scene`: it is all that the camera sees."""
    level: Literal["full", "medium", "small"] = "small"
    """Of the open body's mesh."""
    skeletons: tuple[str, ...] = ("coco_17",)
    """Skeletons to label beside the body's own joints."""
    motions: str | None = None
    """A folder of motions (BVH, ASF with AMC, clips of the DeepMimic humanoid): half of the people move as there."""
    backgrounds: str | None = None
    """A folder of images to use behind the people instead of procedural backgrounds."""
    surface_detail: bool = True
    """Clothing and hair that stand off the body; else they are paint."""

    def __post_init__(self) -> None:
        if isinstance(self.tier, str) and self.tier not in TIERS:
            raise InputError(f"tier: expected one of {', '.join(TIERS)} or a Tier, got '{self.tier}'")
        if self.split not in SPLITS:
            raise InputError(f"split: expected one of {', '.join(SPLITS)}, got '{self.split}'")
        if min(self.image_size) < 16 or max(self.image_size) > 8192:
            raise InputError(f"image_size: expected 16 to 8192 pixels a side, got {self.image_size}")
        if self.views < 1 or (self.people is not None and self.people < 1):
            raise InputError(f"expected one or more views and people, got {self.views} and {self.people}")
        if self.framing not in ("person", "scene"):
            raise InputError(f"framing: expected person or scene, got '{self.framing}'")

    @property
    def difficulty(self) -> Tier:
        """The tier itself."""
        return self.tier if isinstance(self.tier, Tier) else TIERS[self.tier]

    @property
    def slots(self) -> int:
        """P: the places for people in every sample, filled or not."""
        return self.people or self.difficulty.people[1]
