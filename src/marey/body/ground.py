"""Where the ground is under a body: how high joints are above what they would rest on."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from marey.body.smpl_tree import SMPL_TREE
from marey.body.trees import part_of

_HEIGHTS = {"ankle": 0.08, "foot": 0.025}
"""Metres from a joint to the ground that it stands on, about."""
_RADIUS = 0.05
"""Of the other joints: what they lie on."""
_SOFTNESS = 0.01
"""Metres: joints that are so little higher than the lowest one bear nearly as much."""


def clearances(places: Tensor) -> Tensor:
    """Heights (..., 24) of what joints (..., 24, 3) would rest on, above y = 0, metres."""
    return places[..., 1] - _sizes().to(places)


def support(places: Tensor) -> tuple[Tensor, Tensor]:
    """How high (...) a pose stands above y = 0, and how much (..., 24) each joint bears, which sums to 1.

    Smooth, so that a motion does not jerk where another foot becomes the lowest.
    """
    above = clearances(places)
    share = torch.softmax(-above / _SOFTNESS, -1)
    return (share * above).sum(-1), share


@cache
def _sizes() -> Tensor:
    return torch.tensor([_HEIGHTS.get(part_of(joint), _RADIUS) for joint in SMPL_TREE.joints], dtype=torch.float64)
