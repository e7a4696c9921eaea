"""How MeTRAbs smooths the tracks that it submitted to the challenge of 3DPW."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError

CAUSAL = (6 / 9, 2 / 9, 1 / 9)
"""Weights of this frame, the one before, the one before that."""
ACAUSAL = (1 / 12, 2 / 12, 6 / 12, 2 / 12, 1 / 12)
"""Weights from two frames before to two after."""


def smoothed_track(track: Tensor, *, causal: bool = False) -> Tensor:
    """Average each joint with the same in neighbouring frames; the ends see their track mirrored, the end repeated.

    Args:
        track: (..., T, J, 3), at least two frames.
        causal: Whether to look back only.

    Raises:
        ShapeError: there are no frames and joints.
        InputError: there are fewer than two frames.
    """
    if track.ndim < 3:
        raise ShapeError(f"track: expected (..., T, J, 3), got {tuple(track.shape)}")
    frames = track.shape[-3]
    if frames < 2:
        raise InputError(f"track: expected at least two frames to mirror, got {frames}")
    weights = dict(zip((0, -1, -2), CAUSAL, strict=True)) if causal else dict(zip(range(-2, 3), ACAUSAL, strict=True))
    places = torch.arange(frames, device=track.device)
    total = torch.zeros_like(track)
    for shift, weight in weights.items():
        total = total + weight * track.index_select(-3, _mirrored(places + shift, frames))
    return total


def _mirrored(places: Tensor, frames: int) -> Tensor:
    places = torch.where(places < 0, -1 - places, places)
    return torch.where(places >= frames, 2 * frames - 1 - places, places)


def completed_track(track: Tensor) -> Tensor:
    """Fill frames in which every joint is missing with the last pose before them; those before the first stay missing.

    Args:
        track: (..., T, J, 3); NaN = missing.
    """
    known = track.isfinite().flatten(-2).any(-1)
    places = torch.arange(track.shape[-3], device=track.device)
    last = torch.where(known, places, 0).cummax(-1).values
    return track.gather(-3, last[..., None, None].expand(track.shape))
