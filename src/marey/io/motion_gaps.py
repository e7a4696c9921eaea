"""Gaps in motions, for the formats that cannot have any."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from marey.core.errors import InputError
from marey.core.motion import Motion
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix


def fill_motion_gaps(motion: Motion, *, kind: str) -> Motion:
    """Make every frame known, with a warning that counts the frames that were not.

    Between two known frames the root moves on a straight line and every joint turns at constant speed the short way
    round; before the first and after the last known frame the person holds still. Motions that are known throughout
    are given back as they are.

    Args:
        motion: With NaN in unknown frames.
        kind: The format for whose sake it is done, such as BVH, named in messages.

    Raises:
        InputError: the person is unknown in every frame.
    """
    known = motion.known
    missing = int((~known).sum())
    if not missing and motion.length:
        return motion
    if missing == motion.length:
        raise InputError(f"{_named(motion)} is known in none of {motion.length} frames: nothing to write as {kind}")
    warnings.warn(
        f"{_named(motion)} is unknown in {missing} of {motion.length} frames, and {kind} has no gaps: they are written "
        "as a steady movement between the known frames",
        stacklevel=3,
    )
    before, after, weight = _neighbours(known)
    weight = weight.to(motion.rotations)
    start, end = motion.rotations[before], motion.rotations[after]
    turn = matrix_to_rotvec(start.mT @ end) * weight[:, None, None]
    place = torch.lerp(motion.translation[before], motion.translation[after], weight[:, None])
    keep = known[:, None]
    return replace(
        motion,
        rotations=torch.where(keep[..., None, None], motion.rotations, start @ rotvec_to_matrix(turn)),
        translation=torch.where(keep, motion.translation, place),
        covariance=None,
    )


def _neighbours(known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each frame the known frames before and after it, or the nearest at the ends, and the way between, 0..1."""
    frames = torch.arange(len(known), device=known.device)
    at = frames[known]
    right = torch.searchsorted(at, frames).clamp(max=len(at) - 1)
    left = (torch.searchsorted(at, frames, right=True) - 1).clamp(min=0)
    before, after = at[left], at[right]
    way = (frames - before) / (after - before).clamp(min=1)
    return before, after, way.clamp(0, 1)


def _named(motion: Motion) -> str:
    return f"motion '{motion.name}'" if motion.name else "the motion"
