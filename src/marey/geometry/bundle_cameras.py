"""What bundle adjustment may change of a camera, and how its pixels answer.

Internal to the room. A step of a camera is (rotation vector w, translation d, intrinsics): a point x in its frame moves
to `exp(w) x + d`, so w turns the camera about its own centre and d alone moves the centre.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.projection import project_from_camera_with_jacobian, world_to_camera
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

EXTRINSIC_NAMES = ("rotation_x", "rotation_y", "rotation_z", "translation_x", "translation_y", "translation_z")
DISTORTION_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4")


@dataclass(frozen=True, kw_only=True)
class FreeIntrinsics:
    """Which intrinsics are adjusted, in each camera on its own. Default: none."""

    focal: bool = False
    """The logarithm of a common factor of fx, fy and the skew."""
    aspect: bool = False
    """The logarithm of a factor of fy alone."""
    principal_point: bool = False
    """cx and cy, pixels."""
    distortion: int = 0
    """How many of the leading coefficients: of 0..12 in OpenCV order, or of k1 k2 k3 k4 where a camera is fisheye."""
    terms: tuple[int, ...] = ()
    """How many of these each view adjusts, where lens models differ. Empty: all of them in every view."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in their order in a step, after the six of the extrinsics."""
        focal = ("focal",) if self.focal else ()
        aspect = ("aspect",) if self.aspect else ()
        return (*focal, *aspect, *(("cx", "cy") if self.principal_point else ()), *DISTORTION_NAMES[: self.distortion])

    def moving(self, cameras: Cameras) -> Tensor:
        """Which entries (V, 6 + K) of a step may differ from zero."""
        views = len(cameras.intrinsics)
        mask = torch.ones(views, 6 + len(self.names), dtype=torch.bool, device=cameras.intrinsics.device)
        if self.terms:
            own = torch.tensor(self.terms, device=mask.device)
            mask[:, mask.shape[1] - self.distortion :] = (
                torch.arange(self.distortion, device=mask.device) < own[:, None]
            )
        return mask

    def check(self, cameras: Cameras) -> None:
        """Say why these cameras cannot be adjusted so, if they cannot.

        Raises:
            InputError: there are fewer coefficients than are to be adjusted, or the terms do not fit the views.
            CalibrationError: a tilted sensor's coefficients, or more than a fisheye camera has, are to be adjusted.
        """
        there = cameras.distortion.shape[-1]
        if not 0 <= self.distortion <= min(there, len(DISTORTION_NAMES)):
            raise InputError(
                f"distortion: expected 0..{min(there, len(DISTORTION_NAMES))} coefficients of these cameras to adjust, "
                f"got {self.distortion}; pad the cameras' coefficients with zeros to adjust more"
            )
        views = len(cameras.intrinsics)
        if self.terms and (len(self.terms) != views or not all(0 <= own <= self.distortion for own in self.terms)):
            raise InputError(
                f"terms: expected {views} numbers of 0..{self.distortion} coefficients, one for each view, "
                f"got {self.terms}"
            )
        if not self.distortion:
            return
        if there == 14 and cameras.distortion[..., 12:].any():
            raise CalibrationError("the distortion of a tilted sensor cannot be adjusted; hold it: distortion=0")
        if cameras.fisheye is None:
            return
        own = self.terms or (self.distortion,) * views
        if any(count > 4 for count, fisheye in zip(own, cameras.fisheye.tolist(), strict=True) if fisheye):
            raise CalibrationError(
                "distortion: fisheye cameras have 4 coefficients; adjust at most 4 of theirs, with terms if other "
                "cameras adjust more"
            )


@dataclass(frozen=True)
class CameraRows:
    """Projections of N points into V cameras and their derivatives, points last."""

    pixels: Tensor
    """(2, V, N); NaN behind the camera."""
    in_camera: Tensor
    """(3, V, N) the points in the frame of each camera, metres."""
    by_position: Tensor
    """(2, 3, V, N) derivative with respect to the point in the camera's frame."""
    by_intrinsics: Tensor
    """(2, K, V, N) derivative with respect to the free intrinsics."""


def project_rows(points: Tensor, cameras: Cameras, free: FreeIntrinsics) -> CameraRows:
    """Project points (N, 3) into cameras (V,) with every derivative that the adjustment needs."""
    in_camera = world_to_camera(points[None], cameras)
    pixels, jacobian = project_from_camera_with_jacobian(in_camera, cameras)
    position = in_camera.permute(2, 0, 1)
    rows = pixels.permute(2, 0, 1)
    return CameraRows(rows, position, jacobian.permute(2, 3, 0, 1), _by_intrinsics(position, rows, cameras, free))


def move_cameras(cameras: Cameras, step: Tensor, free: FreeIntrinsics) -> Cameras:
    """Apply a step (V, 6 + K)."""
    rotation, translation = cameras.extrinsics
    turn = rotvec_to_matrix(step[:, :3])
    moved = (turn @ translation[..., None])[..., 0] + step[:, 3:6]
    intrinsics, distortion = cameras.intrinsics, cameras.distortion
    at = 6
    if free.focal:
        factor = torch.ones_like(intrinsics)
        factor[:, :2, :2] = step[:, at, None, None].exp()
        intrinsics, at = intrinsics * factor, at + 1
    if free.aspect:
        factor = torch.ones_like(intrinsics)
        factor[:, 1, 1] = step[:, at].exp()
        intrinsics, at = intrinsics * factor, at + 1
    if free.principal_point:
        shift = torch.zeros_like(intrinsics)
        shift[:, :2, 2] = step[:, at : at + 2]
        intrinsics, at = intrinsics + shift, at + 2
    if free.distortion:
        held = distortion.shape[-1] - free.distortion
        distortion = distortion + torch.nn.functional.pad(step[:, at:], (0, held))
    return replace(cameras, rotation=turn @ rotation, translation=moved, intrinsics=intrinsics, distortion=distortion)


def camera_difference(cameras: Cameras, reference: Cameras, free: FreeIntrinsics) -> Tensor:
    """How far cameras are from others: (V, 6 + K) rotation vector, centre in the world, then the free intrinsics."""
    rotation, _ = cameras.extrinsics
    start, _ = reference.extrinsics
    parts = [matrix_to_rotvec(rotation @ start.transpose(-1, -2)), cameras.centers - reference.centers]
    if free.focal:
        parts.append((cameras.intrinsics[:, 0, :1] / reference.intrinsics[:, 0, :1]).log())
    if free.aspect:
        ratio = cameras.intrinsics / reference.intrinsics
        parts.append((ratio[:, 1, 1:2] / ratio[:, 0, :1]).log())
    if free.principal_point:
        parts.append(cameras.intrinsics[:, :2, 2] - reference.intrinsics[:, :2, 2])
    if free.distortion:
        parts.append((cameras.distortion - reference.distortion)[:, : free.distortion])
    return torch.cat(parts, dim=-1)


def _by_intrinsics(position: Tensor, pixels: Tensor, cameras: Cameras, free: FreeIntrinsics) -> Tensor:
    """The derivative of the pixels with respect to the free intrinsics, (2, K, V, N)."""
    K = cameras.intrinsics
    columns = []
    if free.focal:
        columns.append(pixels - K[:, :2, 2].T[..., None])
    if free.aspect:
        columns.append(torch.stack((torch.zeros_like(pixels[1]), pixels[1] - K[:, 1, 2, None])))
    if free.principal_point:
        one, zero = torch.ones_like(pixels[0]), torch.zeros_like(pixels[0])
        columns += [torch.stack((one, zero)), torch.stack((zero, one))]
    if free.distortion:
        x, y = position[0] / position[2], position[1] / position[2]
        warps = _lens_terms(x, y, cameras, free.distortion)
        fx, skew, fy = K[:, 0, 0, None], K[:, 0, 1, None], K[:, 1, 1, None]
        columns += [torch.stack((fx * u + skew * v, fy * v)) for u, v in warps]
    return torch.stack(columns, dim=1) if columns else pixels.new_empty(2, 0, *pixels.shape[1:])


def _lens_terms(x: Tensor, y: Tensor, cameras: Cameras, count: int) -> list[tuple[Tensor, Tensor]]:
    """Derivatives of the distorted point with respect to the first coefficients of each camera's own lens model."""
    polynomial = _polynomial_terms(x, y, cameras.distortion)[:count]
    if cameras.fisheye is None or not cameras.fisheye.any():
        return polynomial
    zero = torch.zeros_like(x)
    angular = (_fisheye_terms(x, y) + [(zero, zero)] * len(DISTORTION_NAMES))[:count]
    mask = cameras.fisheye[:, None]
    return [
        (torch.where(mask, u, a), torch.where(mask, v, b)) for (u, v), (a, b) in zip(angular, polynomial, strict=True)
    ]


def _polynomial_terms(x: Tensor, y: Tensor, distortion: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Derivatives of the distorted point (x_d, y_d) with respect to k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4."""
    zero = torch.zeros_like(x)
    k1, k2, _, _, k3, k4, k5, k6 = torch.nn.functional.pad(distortion, (0, 8))[:, :8, None].unbind(1)
    s = x * x + y * y
    below = 1 + s * (k4 + s * (k5 + s * k6))
    gain = s / below
    # of the rational gain N / D: dN gives s^i / D, dD gives -N s^i / D^2
    fall = -gain * (1 + s * (k1 + s * (k2 + s * k3))) / below
    xy = 2 * x * y
    terms = [(x * gain, y * gain), (x * gain * s, y * gain * s), (xy, s + 2 * y * y), (s + 2 * x * x, xy)]
    terms += [(x * gain * s * s, y * gain * s * s)]
    terms += [(x * fall * power, y * fall * power) for power in (1, s, s * s)]
    return [*terms, (s, zero), (s * s, zero), (zero, s), (zero, s * s)]


def _fisheye_terms(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Derivatives of the distorted point with respect to k1 k2 k3 k4: theta^(2 i + 1) along the radius."""
    radius = (x * x + y * y).sqrt()
    theta = radius.atan()
    along = theta / radius.clamp_min(torch.finfo(x.dtype).tiny)
    powers = [along * theta ** (2 * order) for order in range(1, 5)]
    return [(x * power, y * power) for power in powers]
