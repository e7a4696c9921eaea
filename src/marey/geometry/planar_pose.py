"""The pose of a flat target of known points in every picture: both solutions, and the one that all views share.

A plane seen from afar looks almost the same tilted one way and the other: the reprojection error has two minima, and
noise decides which is lower. So both are found (Collins and Bartoli, Infinitesimal Plane-based Pose Estimation, IJCV
2014) and refined; where several placed cameras see the target, they decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.least_squares import levenberg_marquardt
from marey.geometry.projection import (
    pixels_to_normalised,
    project_from_camera,
    project_from_camera_with_jacobian,
    undistort,
    world_to_camera,
)
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import rotation_between, rotvec_to_matrix
from marey.geometry.small import inverse_2x2

LEAST_POINTS = 4
"""That fix a homography."""
FLATNESS = 1e-10
"""Second-smallest eigenvalue of the homography's normal matrix over its largest: below, points lie on a line."""
BLOCK = 2_000_000
"""Projections tried at once when views vote on the pose of a target."""


@dataclass(frozen=True, kw_only=True)
class PlanarPoses:
    """Target to camera, two solutions for each picture, the better one first. They agree where one minimum is left."""

    rotation: Tensor
    """(V, M, 2, 3, 3); NaN where fewer than four points, or only points on a line, were seen."""
    translation: Tensor
    """(V, M, 2, 3) metres, in the camera's frame."""
    rms: Tensor
    """(V, M, 2) root mean square distance of the points seen from where the pose projects them, pixels."""

    def of(self, views: list[int]) -> PlanarPoses:
        """Those of some views."""
        return PlanarPoses(rotation=self.rotation[views], translation=self.translation[views], rms=self.rms[views])


@dataclass(frozen=True, kw_only=True)
class TargetPoses:
    """Target to world at M moments."""

    rotation: Tensor
    """(M, 3, 3); NaN where no view fixes a pose."""
    translation: Tensor
    """(M, 3) metres."""
    rms: Tensor
    """(V, M) of the points that each view saw at this pose, pixels; NaN where it saw none, infinite behind it."""
    order: Tensor
    """(V, M) integer: which of the orders of the points fits what the view saw."""


def planar_poses(pixels: Tensor, target: Tensor, cameras: Cameras, *, iterations: int = 30) -> PlanarPoses:
    """Find a flat target in each picture on its own, in float64.

    Args:
        pixels: (V, ..., C, 2) as seen, lens included; NaN = not seen. Every view may have any further dimensions.
        target: (C, 3) points of the target, metres, with z = 0.
        cameras: (V,), intrinsics suffice.
        iterations: of the refinement, which minimises the reprojection error.

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: the target is not flat.
    """
    _check(pixels, target, cameras)
    cameras, seen, points = cameras.to(torch.float64), pixels.detach().double(), target.detach().double()
    batch = seen.shape[:-2]
    flat = seen.reshape(batch[0], -1, *seen.shape[-2:])
    ideal = undistort(pixels_to_normalised(flat, cameras), cameras)
    start = _two_solutions(ideal, points)
    # both solutions of a picture are problems of their own: (V, M, 2, ...)
    found, rms = _refine(start, flat[:, :, None].expand(-1, -1, 2, -1, -1), points, cameras, iterations)
    order = rms.nan_to_num(torch.inf).argsort(dim=-1, stable=True)
    found = found.gather(2, order[..., None].expand_as(found))
    return PlanarPoses(
        rotation=found[..., :9].reshape(*batch, 2, 3, 3),
        translation=found[..., 9:].reshape(*batch, 2, 3),
        rms=rms.gather(2, order).reshape(*batch, 2),
    )


def locate_target(
    pixels: Tensor,
    target: Tensor,
    cameras: Cameras,
    *,
    poses: PlanarPoses | None = None,
    orders: Tensor | None = None,
    loss: RobustLoss | None = None,
) -> TargetPoses:
    """Find a flat target in the world at each moment: the one of the views' solutions that all views like best.

    Each view proposes its two solutions; each view judges every proposal by its own reprojection error, robustly, so a
    view that saw something else is outvoted. No refinement across views: see `adjust_rigid_bundle`.

    Args:
        pixels: (V, M, C, 2), lens included; NaN = not seen.
        target: (C, 3) metres, z = 0.
        cameras: (V,) with extrinsics.
        poses: (V, M, 2) if they are known already.
        orders: (S, C) integer, the first the identity: orders in which a view may have listed the points, where the
            target looks the same turned (a checkerboard); `pixels[v, m, orders[s]]` is then in the order of the target.
            A proposal defines the order for the others. None: the points have identities.
        loss: of the distance of each point, pixels; None: Geman and McClure's with the scale 20.
    """
    poses = poses or planar_poses(pixels, target, cameras)
    cameras, seen, points = cameras.to(torch.float64), pixels.detach().double(), target.detach().double()
    loss = loss or RobustLoss("geman_mcclure", 20.0)
    if orders is None:
        orders = torch.arange(len(points), device=points.device)[None]
    rotation, translation = cameras.extrinsics
    back = rotation.mT[:, None, None]
    turns = (back @ poses.rotation).transpose(0, 1).flatten(1, 2)
    places = (back @ (poses.translation - translation[:, None, None])[..., None])[..., 0].transpose(0, 1).flatten(1, 2)
    views, moments, count = seen.shape[:3]
    size = max(1, BLOCK // (turns.shape[1] * views * len(orders) * count))
    blocks = [slice(at, at + size) for at in range(0, moments, size)]
    votes = [_vote(seen[:, at], points, cameras, turns[at], places[at], orders, loss) for at in blocks]
    chosen, rms, order = (torch.cat(parts, dim=-1) for parts in zip(*votes, strict=True))
    rows = torch.arange(moments, device=chosen.device)
    return TargetPoses(rotation=turns[rows, chosen], translation=places[rows, chosen], rms=rms, order=order)


def _vote(
    seen: Tensor, points: Tensor, cameras: Cameras, turns: Tensor, places: Tensor, orders: Tensor, loss: RobustLoss
) -> tuple[Tensor, Tensor, Tensor]:
    """The proposal chosen (M,) of (M, H), and each view's error (V, M) and order (V, M) there."""
    world = points @ turns.mT + places[..., None, :]
    projected = project_from_camera(world_to_camera(world[None], cameras), cameras)
    listed = seen[:, :, orders]
    squared = (projected[:, :, :, None] - listed[:, :, None]).square().sum(-1)
    there = listed.isfinite().all(-1)[:, :, None]
    # behind the camera counts as far away
    squared = torch.where(there, squared.nan_to_num(torch.inf), 0.0)
    rho = torch.where(there, loss(squared)[0].nan_to_num(loss.scale**2), 0.0).sum(-1)
    cost, order = rho.min(-1)
    total = torch.where(turns.isfinite().all(-1).all(-1), cost.sum(0), torch.inf)
    chosen = total.argmin(-1)
    rows = torch.arange(len(chosen), device=chosen.device)
    order = order[:, rows, chosen]
    mean = (squared.sum(-1) / there.sum(-1))[:, rows, chosen]
    mean = mean.gather(-1, order[..., None])[..., 0]
    return chosen, mean.sqrt(), order


def _two_solutions(ideal: Tensor, points: Tensor) -> Tensor:
    """Rotations and translations (V, M, 2, 12) of the target from ideal normalised coordinates (V, M, C, 2)."""
    seen = ideal.isfinite().all(-1)
    share = seen.to(points.dtype) / seen.sum(-1, keepdim=True).clamp_min(1)
    middle = share @ points
    centred = torch.where(seen[..., None], points - middle[..., None, :], 0.0)
    homography, solid = _homography(torch.where(seen[..., None], ideal, 0.0), centred[..., :2], share)
    rotations = _rotations(homography)
    turned = centred[..., None, :, :] @ rotations.mT
    translation = _translation(turned, torch.where(seen[..., None], ideal, 0.0)[..., None, :, :], share[..., None, :])
    translation = translation - (rotations @ middle[..., None, :, None])[..., 0]
    both = torch.cat((rotations.flatten(-2), translation), -1)
    return torch.where((solid & (seen.sum(-1) >= LEAST_POINTS))[..., None, None], both, torch.nan)


def _homography(image: Tensor, plane: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """From the plane to the image, (..., 3, 3), and whether it is fixed: the normalised direct linear transformation.

    Hartley and Zisserman, Multiple View Geometry, 2nd ed., algorithm 4.2.
    """
    x, shrink_x = _normalised(plane, share)
    u, shrink_u = _normalised(image, share)
    one, zero = torch.ones_like(x[..., :1]), torch.zeros_like(x)
    row = torch.cat((x, one), -1)
    blank = torch.cat((zero, zero[..., :1]), -1)
    top = torch.cat((row, blank, -u[..., :1] * row), -1)
    low = torch.cat((blank, row, -u[..., 1:] * row), -1)
    rows = torch.stack((top, low), -2) * share[..., None, None]
    normal = rows.flatten(-3, -2).mT @ torch.stack((top, low), -2).flatten(-3, -2)
    values, vectors = torch.linalg.eigh(normal.nan_to_num(0.0))
    H = vectors[..., 0].reshape(*values.shape[:-1], 3, 3)
    H = torch.linalg.solve(shrink_u, H @ shrink_x)
    # the centre of the target lies in front of the camera
    H = H / H[..., 2:, 2:]
    return H, (values[..., 1] > FLATNESS * values[..., -1]) & H.isfinite().all(-1).all(-1)


def _normalised(points: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Points (..., C, 2) about their mean at unit spread, and the matrix (..., 3, 3) that does it."""
    mean = (share[..., None, :] @ points)[..., 0, :]
    away = points - mean[..., None, :]
    scale = (share * away.square().sum(-1)).sum(-1).clamp_min(torch.finfo(points.dtype).tiny).rsqrt()
    matrix = torch.zeros(*mean.shape[:-1], 3, 3, dtype=points.dtype, device=points.device)
    matrix[..., 0, 0] = matrix[..., 1, 1] = scale
    matrix[..., :2, 2] = -scale[..., None] * mean
    matrix[..., 2, 2] = 1
    return away * scale[..., None, None], matrix


def _rotations(homography: Tensor) -> Tensor:
    """Both rotations (..., 2, 3, 3) of a plane whose origin is mapped like this (Collins and Bartoli, section 4).

    With the origin seen at p and R = R_p Q, R_p turning the optical axis towards p, the derivative of the image by the
    plane is `[I | -p] R_p[:, :2] Q[:2, :2] / depth`; the largest singular value of Q[:2, :2] is 1.
    """
    H = homography
    p = H[..., :2, 2]
    derivative = H[..., :2, :2] - p[..., None] * H[..., 2:, :2]
    axis = torch.nn.functional.normalize(torch.nn.functional.pad(p, (0, 1), value=1.0), dim=-1)
    forward = torch.zeros_like(axis)
    forward[..., 2] = 1
    towards = rotation_between(forward, axis)
    view = towards[..., :2, :2] - p[..., None] * towards[..., 2:, :2]
    A = inverse_2x2(view) @ derivative
    a, b, c = A[..., 0].square().sum(-1), (A[..., 0] * A[..., 1]).sum(-1), A[..., 1].square().sum(-1)
    largest = ((a + c + ((a - c).square() + 4 * b * b).sqrt()) / 2).sqrt()
    Q = A / largest[..., None, None]
    # the third row completes the columns to orthonormal ones; its sign is the ambiguity
    low = (1 - Q.square().sum(-2)).clamp_min(0.0).sqrt()
    sign = torch.where((Q[..., 0] * Q[..., 1]).sum(-1) > 0, -1.0, 1.0)
    low = low * torch.stack((torch.ones_like(sign), sign), -1)
    both = torch.stack((low, -low), -2)
    columns = torch.cat((Q[..., None, :, :].expand(*both.shape[:-1], 2, 2), both[..., None, :]), -2)
    third = torch.linalg.cross(columns[..., 0], columns[..., 1])
    return towards[..., None, :, :] @ torch.cat((columns, third[..., None]), -1)


def _translation(turned: Tensor, ideal: Tensor, share: Tensor) -> Tensor:
    """The translation (..., 3) that best puts turned points (..., C, 3) on their rays, linear least squares."""
    u, v = ideal.unbind(-1)
    one, zero = torch.ones_like(u), torch.zeros_like(u)
    rows = torch.stack((torch.stack((one, zero, -u), -1), torch.stack((zero, one, -v), -1)), -2)
    right = ideal * turned[..., 2:] - turned[..., :2]
    weighted = (rows * share[..., None, None]).flatten(-3, -2).mT
    normal = (weighted @ rows.flatten(-3, -2)).nan_to_num(0.0)
    # pictures without points: any finite system will do, the caller masks them
    normal = normal + torch.eye(3, dtype=u.dtype, device=u.device) * (share.sum(-1) == 0)[..., None, None]
    solved: Tensor = torch.linalg.solve_ex(normal, weighted @ right.flatten(-2)[..., None])[0]
    return solved[..., 0]


def _refine(start: Tensor, seen: Tensor, points: Tensor, cameras: Cameras, iterations: int) -> tuple[Tensor, Tensor]:
    """Minimise the reprojection error from poses (V, M, 2, 12); the poses, and their errors (V, M, 2)."""

    def residuals(pose: Tensor) -> Tensor:
        return project_from_camera(_placed(pose, points)[0], cameras) - seen

    def linearise(pose: Tensor) -> tuple[Tensor, Tensor]:
        inside, arm = _placed(pose, points)
        projected, slope = project_from_camera_with_jacobian(inside, cameras)
        turning = torch.linalg.cross(arm[..., None, :].expand_as(slope), slope)
        return projected - seen, torch.cat((turning, slope), -1)

    found = levenberg_marquardt(
        residuals, start.nan_to_num(0.0), linearise=linearise, retract=_moved, steps=6, max_iterations=iterations
    )
    used = found.weights > 0
    rms = (2 * found.cost / used.sum(-1)).sqrt()
    known = start.isfinite().all(-1) & (used.sum(-1) >= LEAST_POINTS)
    poses = torch.where(known[..., None], found.parameters, torch.nan)
    return poses, torch.where(known, rms, torch.nan)


def _placed(pose: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Points in the frame of the camera, and turned only, (..., C, 3) each."""
    arm = points @ pose[..., :9].reshape(*pose.shape[:-1], 3, 3).mT
    return arm + pose[..., None, 9:], arm


def _moved(pose: Tensor, step: Tensor) -> Tensor:
    """Turn about the target's own origin, and shift."""
    rotation = rotvec_to_matrix(step[..., :3]) @ pose[..., :9].reshape(*pose.shape[:-1], 3, 3)
    return torch.cat((rotation.flatten(-2), pose[..., 9:] + step[..., 3:]), -1)


def _check(pixels: Tensor, target: Tensor, cameras: Cameras) -> None:
    views = cameras.batch_shape
    count = len(target)
    if target.shape != (count, 3) or count < LEAST_POINTS:
        raise ShapeError(f"target: expected (C, 3) with four points or more, got {tuple(target.shape)}")
    if len(views) != 1 or pixels.ndim < 3 or (pixels.shape[0], *pixels.shape[-2:]) != (*views, count, 2):
        raise ShapeError(
            f"pixels: expected (V, ..., C, 2) with V views as in the cameras {views} and C = {count} points, "
            f"got {tuple(pixels.shape)}"
        )
    if (target[:, 2] != 0).any():
        raise InputError("target: expected a flat one, all z = 0")
