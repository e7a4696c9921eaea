"""How long the bones of a person are, measured over a whole recording."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Joints3D, Skeleton
from marey.refine.smoother import LASTING
from marey.refine.timeline import measured

RIGID = frozenset(
    {
        ("hip", "knee"),
        ("knee", "ankle"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("ankle", "heel"),
        ("ankle", "big_toe"),
        ("heel", "big_toe"),
        ("big_toe", "small_toe"),
        ("hip", "hip"),
        ("pelvis", "hip"),
    }
)
"""Links that a bone spans. The trunk bends, the shoulders shrug, and a head's keypoints wander on the skin."""
OUTLIER_SPREADS = 3.0
"""Frames farther from the median length than so many robust standard deviations do not count."""


@dataclass(frozen=True, kw_only=True)
class BoneLengths:
    """Lengths of B bones of P people."""

    bones: tuple[tuple[int, int], ...]
    """Pairs of joint indices."""
    length: Tensor
    """(P, B) metres; NaN where the bone was never seen."""
    deviation: Tensor
    """(P, B) standard deviation of the length, metres, lasting errors included."""


def rigid_bones(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """The links of a skeleton whose length does not change."""
    parts = [joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints]
    return tuple(link for link in skeleton.links if (parts[link[0]], parts[link[1]]) in RIGID)


def measure_bones(joints: Joints3D, *, asymmetry: float = 0.01) -> BoneLengths:
    """Measure the rigid bones of every person.

    A frame counts by the uncertainty of the length in it plus the spread that the lengths really have; frames far from
    the median do not count. Noise makes every distance too long, by half the variance across the bone over the length:
    that is taken off. Neighbouring frames err alike, so their number counts as (1 - r) / (1 + r) of it, r being the
    correlation from frame to frame. What the joints' covariances state along the bone and the lengths do not show as
    scatter is error that lasts (of the calibration, of a detector's idea of a joint): no number of frames averages it
    out. Left and right are then drawn together as far as their uncertainties allow.

    Args:
        joints: (T, P); values that were filled in do not count, unless there are no others.
        asymmetry: Standard deviation of the difference between left and right, in lengths; inf: they are unrelated.
    """
    bones = rigid_bones(joints.skeleton)
    index = torch.tensor(bones, dtype=torch.long, device=joints.device).reshape(-1, 2)
    positions, covariance = joints.positions.double(), joints.covariance.double()
    span = positions[..., index[:, 1], :] - positions[..., index[:, 0], :]
    noise = covariance[..., index[:, 1], :, :] + covariance[..., index[:, 0], :, :]
    distance = span.square().sum(-1).sqrt()
    along = span / distance[..., None]
    variance = (along * (noise @ along[..., None])[..., 0]).sum(-1)
    across = noise.diagonal(dim1=-2, dim2=-1).sum(-1) - variance
    observed = distance - across / (2 * distance)
    seen = measured(joints)
    both = seen[..., index[:, 0]] & seen[..., index[:, 1]]
    usable = observed.isfinite() & (both | ~both.any(0))
    length, passing, lasting = _robust_mean(torch.where(usable, observed, torch.nan), variance)
    length, passing = _drawn_together(length, passing, lasting, _partners(joints.skeleton, bones), asymmetry)
    return BoneLengths(bones=bones, length=length, deviation=(passing + lasting).sqrt())


def _robust_mean(values: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of values (T, P, B) with NaN, each with its own stated variance.

    Returns:
        The mean, its variance by errors that pass from frame to frame, and its variance by errors that last; (P, B).
        The latter is the stated variance less that of the values; where little is missing, chance may be why: none.
    """
    middle = values.nanmedian(0).values
    spread = 1.4826 * (values - middle).abs().nanmedian(0).values.clamp_min(1e-6)
    offset = values - middle
    weight = torch.where(offset.abs() <= OUTLIER_SPREADS * spread, 1 / (variance + spread.square()), 0.0)
    weight = torch.where(weight.isfinite(), weight, 0.0)
    total = weight.sum(0)
    mean = middle + (weight * offset.nan_to_num()).sum(0) / total
    rest = torch.where(weight > 0, values - mean, 0.0)
    power = (weight * rest.square()).sum(0) / total
    pairs = (weight[1:] > 0) & (weight[:-1] > 0)
    product = torch.where(pairs, rest[1:] * rest[:-1], 0.0).sum(0) / pairs.sum(0).clamp_min(1)
    correlation = (product / power).nan_to_num().clamp(0.0, 0.99)
    effective = (total.square() / weight.square().sum(0) * (1 - correlation) / (1 + correlation)).clamp_min(1.0)
    stated = torch.where(weight > 0, weight * variance, 0.0).sum(0) / total
    lasting = torch.where(power < (1 - LASTING) * stated, stated - power, 0.0)
    return mean, power / effective, lasting


def _partners(skeleton: Skeleton, bones: tuple[tuple[int, int], ...]) -> list[int]:
    """For each bone the place of its counterpart on the other side, or its own place."""
    places = {frozenset(bone): place for place, bone in enumerate(bones)}
    return [places.get(frozenset(skeleton.mirror[joint] for joint in bone), place) for place, bone in enumerate(bones)]


def _drawn_together(
    length: Tensor, passing: Tensor, lasting: Tensor, partner: list[int], asymmetry: float
) -> tuple[Tensor, Tensor]:
    """Lengths (P, B) given that each pair differs by about `asymmetry` lengths: the Gaussian update of two numbers.

    Returns the lengths and the variance of their passing errors. A lasting error may be the same on both sides, so that
    of a pair's mean is taken to be no smaller.
    """
    variance = passing + lasting
    other = variance[:, partner]
    difference = length - length[:, partner]
    allowed = (asymmetry * 0.5 * (length + length[:, partner])).square()
    gain = variance / (variance + other + allowed)
    paired = torch.tensor([mate != place for place, mate in enumerate(partner)], device=length.device)
    known = paired & gain.isfinite()
    drawn = torch.where(known, length - gain * difference, length)
    return drawn, torch.where(known, passing * (1 - gain), passing)
