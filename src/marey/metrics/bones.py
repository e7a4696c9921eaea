"""Bones: their lengths, how much they change over time, and how alike left and right are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError, Skeleton
from marey.core.skeletons import check_joints
from marey.geometry.scale import segment_lengths
from marey.metrics.known import check_pairs, mean_of_known


@dataclass(frozen=True, kw_only=True, eq=False)
class BoneStatistics:
    """What the links of a skeleton do over a sequence."""

    mean: Tensor
    """(..., L) metres over the frames that know both ends; NaN where none does."""
    deviation: Tensor
    """(..., L) metres, standard deviation over frames (divided by their number); a skeleton of bone has 0."""
    known: Tensor
    """(..., L) how many frames were counted."""

    @property
    def variation(self) -> Tensor:
        """(..., L) deviation over mean: a share, so bones of different length compare."""
        return self.deviation / self.mean


def bone_lengths(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Lengths of the links of a skeleton.

    Args:
        joints: (..., J, 3) metres; NaN = unknown.
        skeleton: of those J joints; its L links are the bones.

    Returns:
        (..., L) metres, NaN where an end is unknown.

    Raises:
        ShapeError: the joints are not those of the skeleton.
    """
    check_joints(joints, skeleton)
    return segment_lengths(joints, skeleton.links)[0]


def bone_statistics(joints: Tensor, skeleton: Skeleton) -> BoneStatistics:
    """Describe the lengths over time of the links of a skeleton.

    Args:
        joints: (..., T, J, 3) metres; NaN = unknown.
        skeleton: of those J joints.

    Raises:
        ShapeError: the joints are not those of the skeleton.
        InputError: there are no frames.
    """
    lengths = bone_lengths(joints, skeleton)
    if lengths.ndim < 2 or not lengths.shape[-2]:
        raise InputError(f"joints: expected frames (..., T, J, 3), got {tuple(joints.shape)}")
    mean = lengths.nanmean(-2)
    deviation = (lengths - mean[..., None, :]).square().nanmean(-2).sqrt()
    return BoneStatistics(mean=mean, deviation=deviation, known=(~lengths.isnan()).sum(-2))


def bone_length_error_mm(estimated: Tensor, truth: Tensor, skeleton: Skeleton) -> Tensor:
    """Mean absolute error of the lengths in millimetres, a scalar.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres.
        skeleton: of those J joints.

    Raises:
        ShapeError: the joints are not those of the skeleton.
        InputError: no bone is known in both.
    """
    check_pairs(estimated, truth)
    difference = bone_lengths(estimated, skeleton) - bone_lengths(truth, skeleton)
    return 1000.0 * mean_of_known(difference.abs(), "bone_length_error_mm")


def side_difference_mm(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Mean difference between the mean lengths of left and right bones, in millimetres, a scalar.

    Args:
        joints: (..., T, J, 3) metres; NaN = unknown.
        skeleton: of those J joints, with sides in their names.

    Raises:
        ShapeError: the joints are not those of the skeleton.
        InputError: the skeleton has no pair of bones, or none was ever seen on both sides.
    """
    places = {frozenset(link): place for place, link in enumerate(skeleton.links)}
    mirror = skeleton.mirror
    pairs = {
        tuple(sorted((place, places[other])))
        for link, place in places.items()
        if (other := frozenset(mirror[end] for end in link)) in places and other != link
    }
    if not pairs:
        raise InputError(f"skeleton {skeleton.name}: expected bones with a left and a right side, got none")
    one, two = torch.tensor(sorted(pairs), device=joints.device).unbind(-1)
    mean = bone_statistics(joints, skeleton).mean
    return 1000.0 * mean_of_known((mean[..., one] - mean[..., two]).abs(), "side_difference_mm")
