"""The depth of a person whose keypoints, depths from the root and bone lengths are known.

With h_j = (n_j, 1) for normalised keypoints and dz_j for depths from the root, joint j is `X_j = h_j (Z + dz_j)`. A
bone is `v = a Z + b`, a the difference of the h of its ends and b that of the `h dz`; its length l is a convex function
of the depth Z of the root, with the derivative `a.v / l`. Z is the least-squares fit of the lengths, by
Levenberg-Marquardt (the 2.5D model after Iqbal et al., ECCV 2018, as in Sarandi et al., MeTRAbs, T-BIOM 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.geometry.scale import segment_lengths
from marey.methods.metrabs.heatmaps import Places
from marey.methods.metrabs.published_depth import minimise
from marey.methods.metrabs.quirks import Quirks

Bones = Sequence[tuple[int, int]]
"""Indices of the ends of each bone among the joints."""

_ITERATIONS = 25
_START = 2.0
"""Metres."""
_DAMPING = 1e-3
_UNRELIABLE = 1e-4
"""Weight of a bone with an end out of view, over that of others."""
_LEAST_LENGTH = 1e-6
"""Metres."""
_LEAST_CURVATURE = 1e-10
"""Mean square of the bones' angles below which lengths say nothing: bones of 0.3 m at 30 km."""


def mean_bone_lengths(joints: Tensor, bones: Bones) -> Tensor:
    """The mean lengths (E,) of bones in poses (N, J, 3); NaN = missing, which the means leave out.

    Raises:
        ShapeError: the joints are no poses.
        InputError: a bone names a joint that is not there.
    """
    return segment_lengths(joints, bones)[0].nanmean(0)


def depth_from_bone_lengths(
    points: Tensor,
    depths: Tensor,
    lengths: Tensor,
    *,
    bones: Bones,
    reliable: Tensor | None = None,
    quirks: Quirks | None = None,
) -> Tensor:
    """Find the depth of the root at which bones have their lengths.

    Differentiable in points, depths and lengths, by the implicit function theorem; by quirk a constant. Always finite.

    Args:
        points: (B, J, 2) normalised keypoints.
        depths: (B, J) metres from the root.
        lengths: (B, E) or (E,) metres; NaN: the bone does not count.
        bones: E of them.
        reliable: (B, J) boolean, the keypoint is in view; None: all are.
        quirks: None: ours.

    Returns:
        (B,) metres; where the bones say nothing, that of the start, 2 m.

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: there is no bone, or one names a joint that is not there.
    """
    quirks = quirks or Quirks()
    problem = partial(_Problem.of, bones=bones, reliable=reliable, quirks=quirks)
    constant = problem(points.detach(), depths.detach(), lengths.detach())
    if quirks.doubled_bone_slope:
        return minimise(constant.published, torch.full_like(depths[:, 0], _START))
    found = constant.solved()
    # one step of Newton's, which moves nothing and has the derivative of the solution
    state = problem(points, depths, lengths).at(found)
    curvature = state.curvature.detach()
    return found - torch.where(curvature > _LEAST_CURVATURE, state.slope / curvature, 0.0)


def joints_at_depth(points: Tensor, depths: Tensor, root_depth: Tensor) -> Tensor:
    """Joints (B, J, 3), metres, at normalised keypoints (B, J, 2) and depths (B, J) from a root at depth (B,)."""
    ahead = (root_depth[:, None] + depths)[..., None]
    return torch.cat((points * ahead, ahead), -1)


def joints_covariance(
    places: Places,
    root_depth: Tensor,
    *,
    lengths: Tensor | None = None,
    bones: Bones = (),
    reliable: Tensor | None = None,
) -> Tensor:
    """Carry the covariance of normalised keypoints and depths to the joints, to first order.

    Errors are taken as independent from joint to joint. The depth of the root follows the points as the least-squares
    fit of the lengths does, or is exact.

    Args:
        places: positions (B, J, 3), normalised keypoints and metres from the root, and covariance (B, J, 3, 3).
        root_depth: (B,) metres.
        lengths: as of `depth_from_bone_lengths`, likewise `bones` and `reliable`; None: the depth is given.
        bones: that `lengths` are of.
        reliable: (B, J).

    Returns:
        (B, J, 3, 3) square metres.
    """
    points, depths, spread = places.positions[..., :2], places.positions[..., 2:], places.covariance
    ray = torch.cat((points, torch.ones_like(depths)), -1)
    ahead = (depths + root_depth[:, None, None])[..., None]
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    own = ahead * eye * eye.new_tensor([1.0, 1.0, 0.0]) + ray[..., None] * eye[2]
    if lengths is None:
        return _carried(own, spread)
    problem = _Problem.of(points, depths[..., 0], lengths, bones=bones, reliable=reliable, quirks=Quirks())
    by_place = problem.depth_derivative(root_depth)[..., None, :]  # (B, J, 1, 3)
    share = _carried(by_place, spread)
    others = share.sum(1, keepdim=True) - share
    return others * ray[..., None] * ray[..., None, :] + _carried(own + ray[..., None] * by_place, spread)


def _carried(derivative: Tensor, covariance: Tensor) -> Tensor:
    return derivative @ covariance @ derivative.mT


@dataclass(frozen=True)
class _State:
    """The bones of B people at one depth of the root."""

    vector: Tensor
    """(B, E, 3) from end to end."""
    length: Tensor
    """(B, E)."""
    along: Tensor
    """(B, E): a.v, the derivative of the length times the length."""
    excess: Tensor
    """(B, E) over the known length."""
    slope: Tensor
    """(B,): half the derivative of the weighted sum of squared excesses."""
    curvature: Tensor
    """(B,): that of the slope; positive."""


@dataclass(frozen=True)
class _Problem:
    """Bones as functions of the depth of the root."""

    rays: Tensor
    """(B, J, 3): h."""
    depths: Tensor
    """(B, J)."""
    slopes: Tensor
    """(B, E, 3): a."""
    offsets: Tensor
    """(B, E, 3): b."""
    lengths: Tensor
    """(B, E)."""
    weights: Tensor
    """(B, E), their sum is 1."""
    ends: tuple[list[int], list[int]]

    @classmethod
    def of(
        cls,
        points: Tensor,
        depths: Tensor,
        lengths: Tensor,
        *,
        bones: Bones,
        reliable: Tensor | None,
        quirks: Quirks,
    ) -> _Problem:
        _check(points, depths, lengths, bones, reliable)
        ends = [first for first, _ in bones], [second for _, second in bones]
        rays = torch.cat((points, torch.ones_like(points[..., :1])), -1)
        at = rays * depths[..., None]
        lengths = lengths.to(points).expand(points.shape[0], -1)
        weights = torch.ones_like(lengths)
        if reliable is not None and not quirks.unseen_bones_count:
            weights = torch.where(reliable[:, ends[0]] & reliable[:, ends[1]], weights, _UNRELIABLE)
        known = lengths.isfinite()
        weights = torch.where(known, weights, 0.0)
        return cls(
            rays=rays,
            depths=depths,
            slopes=rays[:, ends[0]] - rays[:, ends[1]],
            offsets=at[:, ends[0]] - at[:, ends[1]],
            lengths=torch.where(known, lengths, 0.0),
            weights=weights / weights.sum(1, keepdim=True).clamp_min(_UNRELIABLE),
            ends=ends,
        )

    def cost(self, depth: Tensor) -> Tensor:
        """(B,) at depths (B,)."""
        return (self.weights * self._excess(depth)[1].square()).sum(1)

    def at(self, depth: Tensor) -> _State:
        vector, excess, length = self._excess(depth)
        along = (self.slopes * vector).sum(-1)
        bend = self.slopes.square().sum(-1) - (along / length).square()
        gauss_newton = (self.weights * (along / length).square()).sum(1)
        curvature = gauss_newton + (self.weights * excess * bend / length).sum(1)
        return _State(
            vector=vector,
            length=length,
            along=along,
            excess=excess,
            slope=(self.weights * excess * along / length).sum(1),
            curvature=torch.maximum(curvature, 0.1 * gauss_newton).clamp_min(_LEAST_CURVATURE),
        )

    def solved(self) -> Tensor:
        """The depth (B,) of the least squares."""
        depth = torch.full_like(self.lengths[:, 0], _START)
        damping = torch.full_like(depth, _DAMPING)
        cost = self.cost(depth)
        for _ in range(_ITERATIONS):
            step = self._step(depth, damping)
            lower = self.cost(depth + step)
            better = lower < cost
            depth, cost = torch.where(better, depth + step, depth), torch.where(better, lower, cost)
            damping = torch.where(better, damping / 10, damping * 10)
        return depth

    def depth_derivative(self, depth: Tensor) -> Tensor:
        """That of the fitted depth by (n_x, n_y, dz) of each joint, (B, J, 3)."""
        state = self.at(depth)
        slope, rate = self.slopes / state.length[..., None], state.vector / state.length[..., None]
        growth = (state.along / state.length)[..., None]
        # of excess * along / length by the vector of the bone, and by the difference of rays alone
        by_vector = growth * rate + state.excess[..., None] * (slope - growth * rate / state.length[..., None])
        by_slope = state.excess[..., None] * rate
        by_joint = self.rays.new_zeros(self.rays.shape)
        for ends, sign in zip(self.ends, (1.0, -1.0), strict=True):
            ahead = (self.depths[:, ends] + depth[:, None])[..., None]
            across = (ahead * by_vector + by_slope)[..., :2]
            away = (by_vector * self.rays[:, ends]).sum(-1, keepdim=True)
            change = sign * self.weights[..., None] * torch.cat((across, away), -1)
            by_joint = by_joint.index_add(1, torch.tensor(ends, device=depth.device), change)
        return -by_joint / state.curvature[:, None, None]

    def published(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Errors of the lengths and what the published program takes for their derivative, (B, E) each, weighted."""
        vector, excess, length = self._excess(depth)
        along = (self.slopes * (vector + self.offsets)).sum(-1) / length
        root = self.weights.sqrt()
        return root * excess, root * along

    def _step(self, depth: Tensor, damping: Tensor) -> Tensor:
        vector, excess, length = self._excess(depth)
        along = (self.slopes * vector).sum(-1) / length
        normal = (self.weights * along.square()).sum(1) * (1 + damping)
        return -(self.weights * along * excess).sum(1) / normal.clamp_min(torch.finfo(depth.dtype).tiny)

    def _excess(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bones, by how much each is too long, and their lengths."""
        vector = self.slopes * depth[:, None, None] + self.offsets
        length = (vector.square().sum(-1) + _LEAST_LENGTH**2).sqrt()
        return vector, length - self.lengths, length


def _check(points: Tensor, depths: Tensor, lengths: Tensor, bones: Bones, reliable: Tensor | None) -> None:
    seen = depths if reliable is None else reliable
    if points.ndim != 3 or depths.shape != points.shape[:2] or seen.shape != depths.shape:
        raise ShapeError(
            f"expected points (B, J, 2) with depths and reliable (B, J), got {tuple(points.shape)}, "
            f"{tuple(depths.shape)} and {tuple(seen.shape)}"
        )
    if lengths.shape[-1:] != (len(bones),) or lengths.shape[:-1] not in ((), points.shape[:1]):
        raise ShapeError(f"lengths: expected one for each of {len(bones)} bones, got {tuple(lengths.shape)}")
    joints = points.shape[1]
    if not bones or any(not 0 <= end < joints for bone in bones for end in bone):
        raise InputError(f"bones: expected pairs of indices 0..{joints - 1}, got {list(bones)}")
