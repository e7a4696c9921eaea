"""How large a person is: what one camera cannot see, from the detector's own idea and from how tall people are.

Two sources, independent of each other: the length of trunk, thigh and shank in the detector's 3D guess, measured over
all frames in which one person is seen; and the distribution of adults' stature. Both err by about as much, so the
estimate lies between them, in the logarithm of the size; who is far from any adult (a child) is believed to be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError, Skeleton

TRUNK = 0.818 - 0.530
"""Shoulder to hip, in statures (Drillis and Contini, Body Segment Parameters, 1966: heights of the joints above the
floor, as tabulated in Winter, Biomechanics and Motor Control of Human Movement)."""
LEG = 0.530 - 0.039
"""Hip to knee to ankle, in statures."""
_SEEN = 0.5
"""Least score of the joints that a length is measured on."""
_CONTRADICTION = 9.0
"""Squared distance in sigmas between the two sources up to which both count fully."""


@dataclass(frozen=True, kw_only=True)
class SizePrior:
    """What is known of a person's size before it is measured."""

    stature: float = 1.70
    """Metres: the mean of adults, both sexes together."""
    stature_deviation: float = 0.09
    """Metres; 0 if the person's own stature is given."""
    proportion_deviation: float = 0.04
    """Relative: people's trunks are longer or shorter for their stature (0.026), and detectors mean points by hip,
    shoulder and ankle that lie some centimetres from the anatomists' (0.03)."""
    detector_deviation: float = 0.05
    """Relative: by how much the size of a detector's 3D guess errs for one person in one view."""
    detector_ratio: float = 1.0
    """The stature that trunk and legs of the guess imply, in people's own; it leaves the guess as it is."""
    jitter: float = 0.5
    """Share of the change of the measured size from frame to frame that is the detector's and not its pose's: a pose
    that is foreshortened wrongly changes the measured lengths without changing the scale."""

    def __post_init__(self) -> None:
        values = (self.stature, self.proportion_deviation, self.detector_deviation, self.detector_ratio)
        if not all(math.isfinite(value) and value > 0 for value in values) or not 0.3 <= self.stature <= 2.8:
            raise InputError(f"size prior: expected a stature of 0.3 to 2.8 m and positive deviations, got {self}")
        if not 0 <= self.stature_deviation < math.inf or not 0 <= self.jitter <= 1:
            raise InputError(f"size prior: expected stature_deviation >= 0 and a jitter in 0..1, got {self}")


LIFTED_SIZE = SizePrior(stature_deviation=1000.0, detector_deviation=0.08, detector_ratio=0.92, jitter=0.0)
"""With a 3D guess that a lifter made of keypoints (`marey.detect.lifting`). The stature of adults is in it already, for
it learnt from adults; what it does not know makes its limbs shorter than they are, so its size is that of the whole.
Deviation and ratio are measured on synthetic people (`benchmarks/lifting.py`)."""


@dataclass(frozen=True, kw_only=True)
class BodySize:
    """How far the detector's joints must be scaled."""

    factor: Tensor
    """(T, P) to multiply the detector's relative joints with."""
    deviation: Tensor
    """(P,) relative standard deviation of the size that they then have; it is one error for all frames."""
    measured: Tensor
    """(P,) metres, the stature that the detector's joints imply; NaN where the trunk was never seen."""
    stature: Tensor
    """(P,) metres, the stature that was settled on; NaN where the trunk was never seen."""


def estimate_size(relative: Tensor, score: Tensor, skeleton: Skeleton, prior: SizePrior) -> BodySize:
    """Estimate one size for every person.

    Args:
        relative: (T, P, J, 3) metres, a detector's root-relative joints; NaN = missing.
        score: (T, P, J) in 0..1.
        skeleton: without shoulders or hips nothing is measured.
        prior: of everyone.
    """
    implied = implied_stature(relative, score, skeleton) / prior.detector_ratio
    measured = implied.nanmedian(dim=0).values
    known = measured.isfinite()
    own = prior.detector_deviation**2
    general = (prior.stature_deviation / prior.stature) ** 2 + prior.proportion_deviation**2
    gap = torch.where(known, prior.stature / measured, 1.0).log()
    trust = (_CONTRADICTION * (own + general) / gap.square().clamp_min(_CONTRADICTION * (own + general))) ** 1.5
    general_information = torch.where(known, trust / general, 0.0)
    information = 1 / own + general_information
    shift = torch.where(known, (general_information / information * gap).exp(), 1.0)
    steady = (measured / implied) ** prior.jitter
    return BodySize(
        factor=shift * torch.where(steady.isfinite(), steady, 1.0),
        deviation=information.rsqrt(),
        measured=measured,
        stature=measured * shift,
    )


def implied_stature(relative: Tensor, score: Tensor, skeleton: Skeleton) -> Tensor:
    """The stature (T, P), metres, of an average body with trunk and legs as long as those of joints (T, P, J, 3).

    From the trunk alone for people whose legs are never seen. The arms are left out: detectors see shoulders lower than
    anatomists, and there is no telling by how much. NaN where the trunk is not seen.
    """
    seen = torch.where((score >= _SEEN)[..., None], relative, torch.nan)
    trunk = _length(_middle(seen, skeleton, "shoulder"), _middle(seen, skeleton, "hip"))
    sides = [_leg(seen, skeleton, side) for side in ("left", "right")]
    whole = (trunk + torch.stack(sides).nanmean(0)) / (TRUNK + LEG)
    return torch.where(whole.isfinite().any(0), whole, trunk / TRUNK)


def _leg(joints: Tensor, skeleton: Skeleton, side: str) -> Tensor:
    hip, knee, ankle = (_joint(joints, skeleton, f"{side}_{part}") for part in ("hip", "knee", "ankle"))
    return _length(hip, knee) + _length(knee, ankle)


def _middle(joints: Tensor, skeleton: Skeleton, part: str) -> Tensor:
    return (_joint(joints, skeleton, f"left_{part}") + _joint(joints, skeleton, f"right_{part}")) / 2


def _joint(joints: Tensor, skeleton: Skeleton, name: str) -> Tensor:
    if name not in skeleton:
        return torch.full_like(joints[..., 0, :], torch.nan)
    return joints[..., skeleton.index(name), :]


def _length(start: Tensor, end: Tensor) -> Tensor:
    return (end - start).square().sum(-1).sqrt()
