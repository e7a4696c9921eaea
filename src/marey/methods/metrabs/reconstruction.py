"""From keypoints in the crop and joints in metres of no known place to joints before the camera.

The camera sees joint j at `n_j = pi(P_j + t)`: P_j are the metric joints, n_j the keypoints with the intrinsics taken
out, and t is asked for. Multiplied out this is linear in t,

    t_x - n_x t_z = n_x P_z - P_x,    t_y - n_y t_z = n_y P_z - P_y

(Sarandi et al., MeTRAbs, T-BIOM 2021, section 3.3). With w_j for the trust in a keypoint, c the weighted mean of the
n_j and b_j the right-hand sides, least squares come apart into one division and a mean:

    t_z = sum w_j (c - n_j).(b_j - b) / sum w_j |c - n_j|^2,    t_xy = b + c t_z

`marey.geometry.absolute` solves the same problem for evidence with covariances, by Gauss-Newton steps, with NaN where
it has no solution. Networks are trained through the equations here: always finite, and one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.geometry.small import inverse_2x2, solve_3x3_symmetric
from marey.methods.metrabs.heatmaps import Places
from marey.methods.metrabs.quirks import Quirks

Perspective = Literal["full", "weak"]
"""How the place is found: `full` by the equations of perspective, `weak` by means and spreads only."""

_UNRELIABLE = 1e-4
"""Trust in a keypoint at the border or beyond, over that in others."""
_LEAST_EXTENT, _LEAST_SIZE = 1e-5, 1e-8
"""Spread of the keypoints, normalised, and of the joints, metres, in weak perspective."""


@dataclass(frozen=True, kw_only=True)
class Placing:
    """How joints are placed before the camera."""

    perspective: Perspective = "full"
    regulariser: float = 0.1
    """Spread of the keypoints, in pixels of the crop, below which the depth is not trusted and tends to 0."""
    mix: float = 0.5
    """Share of the metric joint against the keypoint at the same depth in a joint whose keypoint is reliable. Published
    in 2020: 0; from 2021 on 0.5, in training drawn anew for each person."""
    quirks: Quirks = field(default_factory=Quirks)

    def __post_init__(self) -> None:
        if self.perspective not in get_args(Perspective):
            raise InputError(f"perspective: expected {' or '.join(get_args(Perspective))}, got '{self.perspective}'")


def normalised_keypoints(keypoints: Tensor, intrinsics: Tensor) -> Tensor:
    """Where a camera of focal length 1 sees keypoints (B, J, 2), given intrinsics (B, 3, 3) without distortion."""
    centered = keypoints - intrinsics[:, None, :2, 2]
    return centered @ inverse_2x2(intrinsics[:, :2, :2]).mT


def reconstruct_absolute(
    keypoints: Tensor,
    relative: Tensor,
    intrinsics: Tensor,
    *,
    reliable: Tensor,
    placing: Placing | None = None,
    mix: Tensor | None = None,
) -> Tensor:
    """Place metric joints where their keypoints are.

    Differentiable in keypoints, joints and intrinsics; finite whatever is reliable. One person's result does not depend
    on the others of the batch, unless by quirk.

    Args:
        keypoints: (B, J, 2) pixels of the crop.
        relative: (B, J, 3) metres along the axes of the crop's camera, of any origin.
        intrinsics: (B, 3, 3) of the crop.
        reliable: (B, J) boolean, the keypoint is in view; see `heatmaps.is_reliable`.
        placing: None: the defaults.
        mix: (B,), overrules that of `placing`.

    Returns:
        (B, J, 3) metres in the frame of the crop's camera. Reliable joints are mixtures of the keypoint, put into the
        depth of the joint, and of the metric joint; others the metric joint.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    placing = placing or Placing()
    points = _checked_points(keypoints, relative, intrinsics, reliable)
    place = _place(points, relative, reliable, _least_spread(intrinsics, placing), placing)
    return _mixed(points, relative + place[:, None], _shares(reliable, placing, mix))


def reconstruct_with_covariance(
    keypoints: Places,
    relative: Places,
    intrinsics: Tensor,
    *,
    reliable: Tensor,
    placing: Placing | None = None,
    combination: Tensor | None = None,
    distance_deviation: float = 0.0,
) -> Places:
    """Place metric joints where their keypoints are, and say how surely.

    The covariance is carried through the equations of full perspective to first order. With a_k the two rows of joint k
    and r_k what they leave, `sum_k w_k a_k^T r_k = 0` at the place found; by the implicit function theorem
    `dt = -M^-1 sum_k w_k d(a_k^T r_k)`, `M = sum_k w_k a_k^T a_k`. Errors are taken as independent from joint to joint
    and between keypoints and metric joints. Keypoints that are not reliable have a hundred times the deviation that
    their heatmaps show. Results of weak perspective get the same covariance.

    Args:
        keypoints: (B, J, 2) pixels of the crop.
        relative: (B, J, 3) metres.
        intrinsics: as of `reconstruct_absolute`, likewise `reliable` and `placing`.
        reliable: (B, J).
        placing: None: the defaults.
        combination: (J, J') whose columns sum to 1: asked for are these affine combinations of the joints.
        distance_deviation: relative standard deviation of the distance by what no heatmap shows: the size of the whole
            person. Adds `d^2 X X^T`.

    Returns:
        (B, J', 3) metres in the frame of the crop's camera.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    placing = placing or Placing()
    points = _checked_points(keypoints.positions, relative.positions, intrinsics, reliable)
    least = _least_spread(intrinsics, placing)
    placed = relative.positions + _place(points, relative.positions, reliable, least, placing)[:, None]
    shares = _shares(reliable, placing, None).to(placed.dtype)
    scale = inverse_2x2(intrinsics[:, None, :2, :2])
    noise = _carried(scale, keypoints.covariance / torch.where(reliable, 1.0, _UNRELIABLE)[..., None, None])
    system = _System.at(points, placed, _normalised(_trust(reliable, placing).to(placed.dtype)), least)
    joints = combined(_mixed(points, placed, shares), combination)
    covariance = system.covariance(noise, relative.covariance, shares, combination)
    return Places(joints, covariance + distance_deviation**2 * joints[..., None] * joints[..., None, :])


def combined(values: Tensor, combination: Tensor | None) -> Tensor:
    """Sums (B, J', ...) of what joints (B, J, ...) have, weighted by columns of a matrix (J, J'); None: as it is."""
    return values if combination is None else torch.einsum("bj...,jk->bk...", values, combination)


@dataclass(frozen=True)
class _System:
    """The equations of full perspective at their solution; B people, J joints."""

    rows: Tensor
    """(B, J, 2, 3): a_k."""
    points: Tensor
    """(B, J, 2)."""
    placed: Tensor
    """(B, J, 3)."""
    weights: Tensor
    """(B, J), their sum is 1."""
    inverse: Tensor
    """(B, 3, 3): M^-1."""

    @classmethod
    def at(cls, points: Tensor, placed: Tensor, weights: Tensor, least: Tensor) -> _System:
        center = (weights[..., None] * points).sum(1)
        extent = (weights[..., None] * (points - center[:, None]).square()).sum((1, 2))
        one = torch.ones_like(extent)
        turn = torch.diag_embed(one[:, None].expand(-1, 3))
        turn = turn + torch.nn.functional.pad(center[..., None], (2, 0, 0, 1))
        return cls(
            rows=_rows(points),
            points=points,
            placed=placed,
            weights=weights,
            inverse=(turn * torch.stack((one, one, 1 / (extent + least)), -1)[:, None]) @ turn.mT,
        )

    def covariance(self, noise: Tensor, spread: Tensor, shares: Tensor, combination: Tensor | None) -> Tensor:
        """Of combined joints (B, J', 3, 3), given that of the points (B, J, 2, 2) and of the joints (B, J, 3, 3)."""
        eye = torch.eye(3, dtype=noise.dtype, device=noise.device)
        by_joint, by_point = self._shifts()
        ray = torch.cat((self.points, torch.ones_like(self.points[..., :1])), -1)
        along = shares[..., None, None]
        joint = along * eye + (1 - along) * ray[..., None] * eye[2]
        point = (1 - along) * self.placed[..., 2:, None] * eye[:, :2]
        place = (_carried(by_joint, spread) + _carried(by_point, noise)).sum(1, keepdim=True)
        whole = combined(joint, combination)
        own = _carried(joint, spread) + _carried(point, noise)
        own = combined(own, None if combination is None else combination.square())
        both = combined(joint @ spread @ by_joint.mT + point @ noise @ by_point.mT, combination) @ whole.mT
        return own + both + both.mT + _carried(whole, place)

    def _shifts(self) -> tuple[Tensor, Tensor]:
        """The derivative of the place by each metric joint (B, J, 3, 3) and by each point (B, J, 3, 2)."""
        missed = (self.rows @ self.placed[..., None]).mT  # (B, J, 1, 2)
        depth = self.placed[..., 2:, None]
        by_point = depth * self.rows.mT + torch.nn.functional.pad(missed, (0, 0, 2, 0))
        weighted = self.weights[..., None, None] * self.inverse[:, None]
        return -weighted @ self.rows.mT @ self.rows, weighted @ by_point


def _least_spread(intrinsics: Tensor, placing: Placing) -> Tensor:
    """Squared, of normalised keypoints, (B,)."""
    focal = intrinsics.diagonal(dim1=-2, dim2=-1)[:, :2].mean(-1)
    return (placing.regulariser / focal).square()


def _checked_points(keypoints: Tensor, relative: Tensor, intrinsics: Tensor, reliable: Tensor) -> Tensor:
    if keypoints.ndim != 3 or relative.shape != (*keypoints.shape[:2], 3) or reliable.shape != keypoints.shape[:2]:
        raise ShapeError(
            "expected keypoints (B, J, 2), joints (B, J, 3) and reliable (B, J), got "
            f"{tuple(keypoints.shape)}, {tuple(relative.shape)} and {tuple(reliable.shape)}"
        )
    if intrinsics.shape != (keypoints.shape[0], 3, 3):
        raise ShapeError(f"intrinsics: expected {(keypoints.shape[0], 3, 3)}, got {tuple(intrinsics.shape)}")
    return normalised_keypoints(keypoints, intrinsics)


def _place(points: Tensor, relative: Tensor, reliable: Tensor, least: Tensor, placing: Placing) -> Tensor:
    """The translation (B, 3)."""
    trust = _trust(reliable, placing).to(points.dtype)
    weights = _normalised(trust)
    if placing.perspective == "weak":
        return _weak(points, relative, weights)
    if placing.quirks.batch_regulariser is not None:
        return _by_batch(points, relative, trust, placing.quirks.batch_regulariser)
    right = points * relative[..., 2:] - relative[..., :2]
    center, middle = ((weights[..., None] * values).sum(1) for values in (points, right))
    offset = points - center[:, None]
    extent = (weights[..., None] * offset.square()).sum((1, 2)) + least
    depth = -(weights[..., None] * offset * (right - middle[:, None])).sum((1, 2)) / extent
    return torch.cat((middle + center * depth[:, None], depth[:, None]), -1)


def _weak(points: Tensor, relative: Tensor, weights: Tensor) -> Tensor:
    """The translation (B, 3) by which mean and spread across the optical axis agree with those of the points."""
    mean, center = ((weights[..., None] * values).sum(1) for values in (relative, points))
    size, extent = (
        ((weights[..., None] * (values - middle[:, None]).square()).sum((1, 2)) + least**2).sqrt()
        for values, middle, least in ((relative[..., :2], mean[:, :2], _LEAST_SIZE), (points, center, _LEAST_EXTENT))
    )
    ray = torch.cat((center, torch.ones_like(center[:, :1])), -1)
    return ray * (size / extent)[:, None] - mean


def _by_batch(points: Tensor, relative: Tensor, weights: Tensor, regulariser: float) -> Tensor:
    """The translation (B, 3) as published: unknowns and right-hand sides scaled by what the whole batch holds."""
    right = points * relative[..., 2:] - relative[..., :2]
    tiny = torch.finfo(points.dtype).tiny
    extent, length = (values.square().mean().clamp_min(tiny).sqrt() for values in (points, right))
    rows = _rows(points / extent)
    pull = weights[..., None, None] * rows
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    normal = (pull.mT @ rows).sum(1) + regulariser * eye
    found = solve_3x3_symmetric(normal, (pull.mT @ (right / length)[..., None]).sum(1)[..., 0])
    return torch.cat((found[:, :2], found[:, 2:] / extent), -1) * length


def _mixed(points: Tensor, placed: Tensor, shares: Tensor) -> Tensor:
    ray = torch.cat((points, torch.ones_like(points[..., :1])), -1)
    return torch.lerp(ray * placed[..., 2:], placed, shares[..., None].to(placed.dtype))


def _shares(reliable: Tensor, placing: Placing, mix: Tensor | None) -> Tensor:
    """Of the metric joint in each joint, (B, J)."""
    return torch.where(reliable, placing.mix if mix is None else mix[:, None], 1.0)


def _trust(reliable: Tensor, placing: Placing) -> Tensor:
    """Weights of the squared errors of each keypoint, (B, J)."""
    if not placing.quirks.uneven_reliability:
        return torch.where(reliable, 1.0, _UNRELIABLE)
    if placing.perspective == "weak":
        return reliable.float()
    return (reliable + _UNRELIABLE).square()


def _normalised(trust: Tensor) -> Tensor:
    return trust / trust.sum(1, keepdim=True).clamp_min(_UNRELIABLE**2)


def _rows(points: Tensor) -> Tensor:
    """Coefficients (B, J, 2, 3) of the translation in the equations of the module's head."""
    eye = torch.eye(2, dtype=points.dtype, device=points.device)
    return torch.cat((eye.expand(*points.shape, 2), -points[..., None]), -1)


def _carried(derivative: Tensor, covariance: Tensor) -> Tensor:
    return derivative @ covariance @ derivative.mT
