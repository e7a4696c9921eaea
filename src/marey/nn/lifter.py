"""From the 2D keypoints of a person to its joints in 3D with covariance: a residual network on one frame.

After Martinez et al., "A simple yet effective baseline for 3d human pose estimation", ICCV 2017, with three changes:
the network sees the person through a virtual camera (`marey.nn.person_view`), any of its joints may be missing, and
each joint comes with the covariance of its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from marey.core import InputError, Skeleton

_PAIRED = (
    "eye", "eye_inner", "eye_outer", "ear", "mouth", "collar", "shoulder", "elbow", "wrist", "hand", "thumb", "index",
    "pinky", "hip", "knee", "ankle", "heel", "foot", "big_toe", "small_toe",
)  # fmt: skip
_MIDDLE = ("head_top", "head", "nose", "neck", "spine4", "spine3", "spine2", "spine1", "spine", "pelvis")
JOINTS: tuple[str, ...] = (*_MIDDLE, *(f"{side}_{part}" for side in ("left", "right") for part in _PAIRED))
"""Every joint of the shipped skeletons that the network takes and gives, by name. Where skeletons mean other points by
a name, what comes out is the point that the skeleton means whose keypoints went in."""
HIPS = (JOINTS.index("left_hip"), JOINTS.index("right_hip"))
"""The origin of what comes out is midway between them."""

_DEVIATION = (-3.0, 2.0)
"""Of the logarithm to base e of the deviation, bounds of what the network is told."""
_LEAST_DEVIATION = 0.002
"""Metres."""
_UNIT = 0.1
"""Metres that one unit of the network's numbers for the factor is."""


@dataclass(frozen=True, kw_only=True)
class LifterConfig:
    """How large the network is."""

    width: int = 384
    blocks: int = 2
    """Of two layers each."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 0:
            raise InputError(f"LifterConfig: expected a width of 1 or more and 0 or more blocks, got {self}")


class LiftedJoints(NamedTuple):
    """Joints in the frame of the virtual camera."""

    positions: Tensor
    """(..., J, 3) metres from midway between the hips."""
    factor: Tensor
    """(..., J, 3, 3) lower triangular Cholesky factor of the covariance, metres."""


class Lifter(nn.Module):
    """The network; J is the number of `JOINTS`."""

    covariance_scale: Tensor
    """(J,) factor on the covariances, set on data that the network was not trained on."""

    def __init__(self, config: LifterConfig | None = None) -> None:
        super().__init__()
        self.config = config or LifterConfig()
        width, joints = self.config.width, len(JOINTS)
        self.entry = nn.Sequential(nn.Linear(5 * joints + 1, width), nn.LayerNorm(width), nn.GELU())
        self.blocks = nn.ModuleList(_Block(width) for _ in range(self.config.blocks))
        self.mean = nn.Linear(width, 3 * joints)
        self.spread = nn.Linear(width, 6 * joints)
        self.register_buffer("covariance_scale", torch.ones(joints))

    def forward(
        self, points: Tensor, deviation: Tensor, score: Tensor, size: Tensor, *, told: Tensor | None = None
    ) -> LiftedJoints:
        """Lift people of any batch shape.

        Args:
            points: (..., J, 2) of a `PersonView`; anything where not seen.
            deviation: (..., J) of the points; anything where not seen.
            score: (..., J) in 0..1; 0 = not seen.
            size: (...) focal lengths.
            told: (..., width) of what else is known, added to the first layer's output.
        """
        seen = score > 0
        sure = torch.where(seen, deviation, 1.0).log().clamp(*_DEVIATION) - _DEVIATION[0]
        parts = (
            torch.where(seen[..., None], points, 0.0).flatten(-2),
            torch.where(seen, sure, 0.0),
            torch.where(seen, score, 0.0),
            seen.to(points.dtype),
            size.log()[..., None],
        )
        hidden = self.entry(torch.cat(parts, -1))
        if told is not None:
            hidden = hidden + told
        for block in self.blocks:
            hidden = block(hidden)
        positions = self.mean(hidden).reshape(*size.shape, len(JOINTS), 3)
        hips = (positions[..., HIPS[0], :] + positions[..., HIPS[1], :]) / 2
        factor = _factor(self.spread(hidden).reshape(*size.shape, len(JOINTS), 6))
        return LiftedJoints(positions - hips[..., None, :], factor * self.covariance_scale.sqrt()[:, None, None])


class _Block(nn.Module):
    """Two layers and a way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU()) for _ in range(2)]
        self.layers = nn.Sequential(*(part for layer in layers for part in layer))

    def forward(self, hidden: Tensor) -> Tensor:
        lifted: Tensor = self.layers(hidden)
        return hidden + lifted


def slots_of(skeleton: Skeleton) -> tuple[int | None, ...]:
    """For each joint of a skeleton its place in `JOINTS`, by name; None for a joint that the network does not know."""
    places = {joint: place for place, joint in enumerate(JOINTS)}
    return tuple(places.get(joint) for joint in skeleton.joints)


def _factor(raw: Tensor) -> Tensor:
    """Lower triangular (..., 3, 3), metres, of any six numbers."""
    diagonal = nn.functional.softplus(raw[..., :3]) * _UNIT + _LEAST_DEVIATION
    a, b, c = diagonal.unbind(-1)
    d, e, f = (raw[..., 3:] * _UNIT).unbind(-1)
    zero = torch.zeros_like(a)
    return torch.stack((a, zero, zero, d, b, zero, e, f, c), -1).reshape(*a.shape, 3, 3)
