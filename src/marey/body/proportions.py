"""How long the bones of a person are, and where joints lie in their parents' frames, from a whole recording.

The bones that explain the joints best in the least-squares sense, given an average person's. The poses of some frames
are solved for given bones, then all bones together take a Gauss-Newton step in which every pose may follow: the poses
are eliminated from the normal equations (variable projection; Golub and Pereyra, SIAM J. Numerical Analysis 10, 1973).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.body.fitting import Poses
from marey.body.trees import STATURE, BodyTree, part_of
from marey.geometry.least_squares import LeastSquaresSolution

_LIMBS = ("knee", "ankle", "elbow", "wrist")
_FIXED = 0.0003
"""Statures: across the bones whose direction in the rest pose is a matter of convention."""
_LENGTH = 0.04
_WIDTH = 0.02
_PLACE = 0.025
_PUT_IN = 0.012
"""Statures by which the place of a joint in its parent's frame differs from person to person and from one detector's
idea of a joint to another's: along limbs, along hips and shoulders, for joints that are measured and that are not."""
_MIDDLE = 0.004
"""Statures by which joints of the middle are off it."""
_LOOSE = 1e-6
"""Inverse square metres, inverse square radians: information that changes no result but makes matrices regular."""
INDEPENDENT_FRAMES = 25
"""A recording counts as so many frames at most: neighbouring frames err alike, and some errors never change."""


@dataclass(frozen=True, kw_only=True)
class AveragePerson:
    """What is known of bones before they are measured."""

    offsets: Tensor
    """(P, K, 3) metres."""
    information: Tensor
    """(P, 3 K, 3 K) inverse covariance of the offsets, the likeness of left and right included."""


def average_person(body: BodyTree, places: Tensor, *, asymmetry: float) -> AveragePerson:
    """The average person of the stature that the measured joints (P, N, K, 3) have.

    Args:
        body: with the proportions.
        places: metres, NaN where missing.
        asymmetry: Standard deviation of the difference between left and right, in lengths; inf: they are unrelated.
    """
    rest = body.rest_offsets
    length = rest.norm(dim=-1)
    parents = [max(parent, 0) for parent in body.tree.parents]
    seen = (places - places[:, :, parents]).norm(dim=-1).nanmedian(1).values
    parts = [part_of(joint) for joint in body.tree.joints]
    limb = torch.tensor([part in _LIMBS for part in parts])
    stature = torch.where(limb, seen / length, torch.nan).nanmedian(-1).values
    stature = torch.where(stature.isfinite(), stature, STATURE)
    offsets = rest * stature[:, None, None]
    ratio = torch.where(limb & seen.isfinite(), seen / (length * stature[:, None]), 1.0)
    offsets = offsets * ratio.clamp(0.5, 2.0)[..., None]
    return AveragePerson(offsets=offsets, information=_information(body, offsets, stature=stature, asymmetry=asymmetry))


def _information(body: BodyTree, offsets: Tensor, *, stature: Tensor, asymmetry: float) -> Tensor:
    people, joints = offsets.shape[:2]
    along, across = torch.tensor([_deviations(body, place) for place in range(joints)], dtype=offsets.dtype).T
    direction = torch.nn.functional.normalize(body.rest_offsets, dim=-1)
    outer = direction[..., None] * direction[..., None, :]
    axes = torch.eye(3, dtype=offsets.dtype)
    single = outer / along[:, None, None].square() + (axes - outer) / across[:, None, None].square()
    middle = torch.tensor([place == mate for place, mate in enumerate(body.mirror)])
    single[middle, 0, 0] += 1 / _MIDDLE**2
    system = single / stature[:, None, None, None].square()
    whole = offsets.new_zeros(people, joints, 3, joints, 3)
    each = torch.arange(joints)
    whole[:, each, :, each, :] = system.transpose(0, 1)
    left = torch.tensor([place for place, mate in enumerate(body.mirror) if place < mate])
    if len(left) and math.isfinite(asymmetry):
        right = torch.tensor(body.mirror)[left]
        alike = 1 / (asymmetry * offsets[:, left].norm(dim=-1) + 0.001).square()
        flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=offsets.dtype))
        whole[:, left, :, left, :] += (alike[..., None, None] * axes).transpose(0, 1)
        whole[:, right, :, right, :] += (alike[..., None, None] * axes).transpose(0, 1)
        whole[:, left, :, right, :] -= (alike[..., None, None] * flip).transpose(0, 1)
        whole[:, right, :, left, :] -= (alike[..., None, None] * flip).transpose(0, 1)
    return whole.flatten(3, 4).flatten(1, 2)


def _deviations(body: BodyTree, place: int) -> tuple[float, float]:
    """Standard deviations of an offset along and across its direction in the rest pose, in statures."""
    part, measured = part_of(body.tree.joints[place]), body.measured[place] >= 0
    if place == 0:
        return _FIXED, _FIXED
    if part in _LIMBS:
        return _LENGTH, _FIXED
    if part == "shoulder" or (part == "hip" and body.measured[0] < 0):
        return _WIDTH, _FIXED
    if part == "collar" or measured:
        return _PLACE, _PLACE
    return _PUT_IN, _PUT_IN


def better_offsets(poses: Poses, solution: LeastSquaresSolution, offsets: Tensor, average: AveragePerson) -> Tensor:
    """One Gauss-Newton step of the bones (P, K, 3), the poses following.

    Args:
        poses: P x N of them, one person after the other, with these bones.
        solution: of the poses.
        offsets: (P, K, 3) metres.
        average: what is known before.
    """
    people = len(offsets)
    values, by_step = poses.linearise(solution.parameters)
    posed = poses.chain.pose(solution.parameters, poses.offsets)
    by_offsets = poses.whitening @ poses.chain.by_offsets(posed, poses.joints).flatten(-2)
    count = len(poses.joints)
    root = solution.weights[:, :count].sqrt()[..., None]
    known = solution.weights[:, :count] > 0
    residual = torch.where(known[..., None], values[:, :count], 0.0) * root
    by_offsets = (torch.where(known[..., None, None], by_offsets, 0.0) * root[..., None]).flatten(1, 2)
    by_step = (torch.where(known[..., None, None], by_step[:, :count], 0.0) * root[..., None]).flatten(1, 2)
    mixed = by_step.mT @ by_offsets
    # of people who are never known nothing tells the place
    loose = _LOOSE * torch.eye(solution.information.shape[-1]).to(solution.information)
    factor = torch.linalg.cholesky(solution.information + loose)
    taken = torch.linalg.solve_triangular(factor, mixed, upper=False)
    system = by_offsets.mT @ by_offsets - taken.mT @ taken
    gradient = (by_offsets.mT @ residual.flatten(1)[..., None])[..., 0]
    share = min(INDEPENDENT_FRAMES * people / len(values), 1.0)
    system = share * system.reshape(people, -1, *system.shape[1:]).sum(1) + average.information
    pull = share * gradient.reshape(people, -1, *gradient.shape[1:]).sum(1)
    pull = pull + (average.information @ (offsets - average.offsets).flatten(1)[..., None])[..., 0]
    step: Tensor = torch.linalg.solve(system, pull[..., None])[..., 0]
    return offsets - step.reshape(offsets.shape)


def with_offsets(poses: Poses, offsets: Tensor) -> Poses:
    """The poses, of P people one after the other, with other bones (P, K, 3)."""
    return replace(poses, offsets=offsets.repeat_interleave(len(poses.offsets) // len(offsets), 0))


def frames_to_measure(known: Tensor, count: int) -> Tensor:
    """Indices (P, N) of N <= `count` frames for each person, evenly among those in which they are known (T, P).

    Somebody has to be known in some frame.

    Frames repeat for people who are known in fewer than others; the first frames stand for who is never known.
    """
    seen = known.sum(0)
    number = min(count, int(seen.max()))
    order = known.to(torch.int8).argsort(dim=0, descending=True, stable=True)
    ranks = (torch.arange(number) + 0.5) / number * seen[:, None]
    return order.T.gather(1, ranks.long())
