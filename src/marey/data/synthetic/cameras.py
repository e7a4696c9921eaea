"""Cameras of synthetic captures: phones, rings, wide angles, fisheyes, pan-tilt-zoom cameras; and the crop of each.

The world has z up; the first person stands at its origin. A crop changes the intrinsic matrix and nothing else, so the
lens of the whole picture bends a crop as it bends the crop of a photograph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import Cameras
from marey.data.synthetic.config import Range, SyntheticConfig
from marey.data.synthetic.random import Draws
from marey.geometry.distortion import fold_radius, lens_of
from marey.geometry.projection import project_from_camera, world_to_camera
from marey.geometry.rotations import rotvec_to_matrix

Radial = tuple[Range, Range, Range, Range]

_FILLING = (2.3, 3.4)
"""Metres that the height of the picture of a whole scene spans where the people are."""
_ASIDE = 0.22
"""Share of the field of view by which a person may be beside the middle of the whole picture, across and down."""
_MARGIN = (1.08, 1.6)
"""Sides of a crop that holds the whole person, in the person's own."""
_ZOOM = (0.8, 1.2)
"""Of a crop that cuts the person off."""
_LOST = (0.1, 0.5)
"""Share of the person's box beyond the edge of such a crop."""
_LEAST_DEPTH = 0.05
"""Metres in front of the lens; what is nearer is not seen."""
_FOLD_SHARE = 0.97
"""Of the radius up to which a lens is one; beyond it, two points share one pixel."""


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Ranges of what cameras of one kind are like."""

    field_of_view: Range
    """Degrees across the width."""
    height: Range
    """Metres above the ground."""
    distortion: Radial
    """k1 k2 p1 p2; of a fisheye k1 k2 k3 k4."""
    distance: float = 1.0
    """Factor of the tier's distance."""
    fisheye: bool = False


_STRAIGHT = (-0.001, 0.001)
LENSES = {
    "phone": Lens(
        field_of_view=(50, 72),
        height=(1.0, 1.8),
        distortion=((-0.03, 0.05), (-0.05, 0.02), _STRAIGHT, _STRAIGHT),
    ),
    "ring": Lens(
        field_of_view=(45, 80), height=(1.2, 2.8), distortion=((-0.14, 0.02), (0.0, 0.06), _STRAIGHT, _STRAIGHT)
    ),
    "wide": Lens(
        field_of_view=(88, 112),
        height=(1.2, 3.0),
        distortion=((-0.16, -0.08), (0.012, 0.02), _STRAIGHT, _STRAIGHT),
        distance=0.7,
    ),
    "fisheye": Lens(
        field_of_view=(110, 150),
        height=(1.5, 3.2),
        distortion=((-0.04, 0.04), (-0.01, 0.01), (-0.003, 0.003), (-0.001, 0.001)),
        distance=0.6,
        fisheye=True,
    ),
    "ptz": Lens(
        field_of_view=(6, 22),
        height=(2.5, 6.0),
        distortion=((-0.2, 0.1), (0.0, 0.1), _STRAIGHT, _STRAIGHT),
        distance=3.0,
    ),
}


def place_cameras(draws: Draws, config: SyntheticConfig, target: Tensor) -> Cameras:
    """Put V cameras around a point, evenly but for a few degrees; the first at the azimuth `first_azimuth`.

    Args:
        draws: of the samples, (B,).
        config: how many cameras, of which tier, and the size of their pictures.
        target: (B, 3) metres, what the cameras look at: near it, not exactly.

    Returns:
        (B, V) float64, each with a sensor of `image_size`, named cam_1, cam_2, ...
    """
    draws = draws.within("cameras")
    tier, views = config.difficulty, config.views
    kinds = list(tier.lenses)
    kind = draws.choice("kind", [tier.lenses[name] for name in kinds])
    lenses = [LENSES[name] for name in kinds]
    of_kind = _Picker(kind, draws)
    factor = of_kind.number([lens.distance for lens in lenses])
    distance = factor * draws.uniform("distance", views, low=tier.distance[0], high=tier.distance[1])
    height = of_kind.between("height", [lens.height for lens in lenses], views)
    fov = of_kind.between("fov", [lens.field_of_view for lens in lenses], views).deg2rad()
    if config.framing == "scene":
        aspect = config.image_size[0] / config.image_size[1]
        filling = draws.uniform("filling", views, low=_FILLING[0], high=_FILLING[1]) * aspect / (2 * (fov / 2).tan())
        distance = torch.minimum(torch.maximum(filling, factor * tier.distance[0]), factor * tier.distance[1])
    center = _centers(draws, views, target, distance, height)
    focal = 0.5 * config.image_size[0] / (fov / 2).tan()
    rotation = _looking(draws, center, target, fov, tier.roll, centred=config.framing == "scene")
    distortion = [of_kind.between(f"k{k}", [lens.distortion[k] for lens in lenses], views) for k in range(4)]
    fisheye = of_kind.number([float(lens.fisheye) for lens in lenses]).expand_as(focal) > 0
    return Cameras(
        intrinsics=_intrinsics(focal, config.image_size),
        distortion=torch.stack((*distortion, torch.zeros_like(focal)), -1),
        image_size=torch.tensor(config.image_size).to(focal).expand(*focal.shape, 2).clone(),
        rotation=rotation,
        translation=-(rotation @ center[..., None])[..., 0],
        fisheye=fisheye,
        names=tuple(f"cam_{view + 1}" for view in range(views)),
    )


def first_azimuth(draws: Draws) -> Tensor:
    """(B,) radians: the direction in which the first camera stands, seen from the origin."""
    return draws.uniform("cameras/azimuth", high=2 * math.pi)


def image_of(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project world points (B, 1 or V, ..., 3) into cameras (B, V).

    Returns:
        Pixels (B, V, ..., 2) and depth (B, V, ...) in metres; NaN where the lens cannot see: behind or beside it, or
        beyond the fold of its polynomial, where the formula would give a second image.
    """
    local = world_to_camera(points, cameras)
    depth = local[..., 2]
    fold = fold_radius(lens_of(cameras, local.dtype)) * _FOLD_SHARE
    fold = fold.reshape(*cameras.batch_shape, *(1,) * (depth.ndim - 2))
    radius = local[..., :2].square().sum(-1).sqrt()
    seen = (depth > _LEAST_DEPTH) & (radius < fold * depth)
    pixels = project_from_camera(local, cameras)
    return torch.where(seen[..., None], pixels, torch.nan), torch.where(seen, depth, torch.nan)


def crop_to_people(draws: Draws, config: SyntheticConfig, cameras: Cameras, pixels: Tensor) -> Cameras:
    """Turn each camera's picture into a crop around a person.

    The whole person is inside, but for the tier's share of pictures, which cut some part off.

    Args:
        draws: of the samples, (B,).
        config: the size of the pictures, and how many are cut.
        cameras: (B, V) of the whole pictures.
        pixels: (B, V, N, 2) of the person's surface in the whole pictures, NaN where not seen.
    """
    draws = draws.within("crop")
    views, size = config.views, torch.tensor(config.image_size, device=pixels.device, dtype=pixels.dtype)
    low, high = _least(pixels), -_least(-pixels)
    box = high - low
    extent = (box / size).amax(-1, keepdim=True).clamp_min(1e-3)
    cut = (draws.uniform("cut", views) < config.difficulty.truncated)[..., None]
    zoom = draws.uniform("zoom", views, 1, low=_ZOOM[0], high=_ZOOM[1])
    side = torch.where(cut, zoom, draws.uniform("margin", views, 1, low=_MARGIN[0], high=_MARGIN[1])) * extent * size
    room = 0.5 * (side - box)
    shift = draws.uniform("shift", views, 2, low=-1.0, high=1.0) * 0.95 * room.clamp_min(0)
    # along one axis, a share of the person's box lies beyond the edge
    lost = draws.uniform("lost", views, 1, low=_LOST[0], high=_LOST[1]) * box
    beyond = (room + lost) * torch.where(draws.uniform("end", views, 1) < 0.5, -1.0, 1.0)
    upright = draws.uniform("axis", views, 1) < 0.6
    along = torch.cat((~upright, upright), -1) & cut
    middle = 0.5 * (low + high) + torch.where(along, beyond, shift)
    scale = (size / side)[..., :1]
    origin = middle - 0.5 * (size - 1) / scale
    return replace(cameras, intrinsics=_cropped(cameras.intrinsics, origin, scale[..., 0]))


def _least(pixels: Tensor) -> Tensor:
    return torch.where(pixels.isnan(), torch.inf, pixels).amin(-2).nan_to_num(posinf=0.0)


def _cropped(intrinsics: Tensor, origin: Tensor, scale: Tensor) -> Tensor:
    """The matrix after `pixel -> (pixel - origin) * scale`, with origin (..., 2) and scale (...)."""
    result = intrinsics.clone()
    result[..., :2, 2] -= origin
    result[..., :2, :] *= scale[..., None, None]
    return result


class _Picker:
    """Draws of which the range depends on the kind of each sample."""

    def __init__(self, kind: Tensor, draws: Draws) -> None:
        self.kind, self.draws = kind, draws

    def number(self, values: list[float]) -> Tensor:
        """Of each sample, (B, 1)."""
        return torch.tensor(values, dtype=torch.float64, device=self.kind.device)[self.kind][:, None]

    def between(self, purpose: str, ranges: list[Range], count: int) -> Tensor:
        """Draw (B, count)."""
        low, high = self.number([pair[0] for pair in ranges]), self.number([pair[1] for pair in ranges])
        return low + (high - low) * self.draws.uniform(purpose, count)


def _centers(draws: Draws, views: int, target: Tensor, distance: Tensor, height: Tensor) -> Tensor:
    """Where the cameras are, (B, V, 3)."""
    turn = torch.arange(views, device=target.device) + draws.uniform("jitter", views, low=-0.15, high=0.15)
    turn = turn * (torch.arange(views, device=target.device) > 0)
    azimuth = draws.uniform("azimuth", 1, high=2 * math.pi) + 2 * math.pi / views * turn
    rise = height - target[:, None, 2]
    level = (distance.square() - rise.square()).clamp_min((0.5 * distance).square()).sqrt()
    ground = level[..., None] * torch.stack((azimuth.cos(), azimuth.sin()), -1)
    return torch.cat((target[:, None, :2] + ground, height[..., None]), -1)


def _looking(draws: Draws, center: Tensor, target: Tensor, fov: Tensor, roll: float, *, centred: bool) -> Tensor:
    """World-to-camera rotations (B, V, 3, 3) that look at the target, up to a turn of the camera, and rolled."""
    views = center.shape[1]
    forward = target[:, None] - center
    forward = forward / forward.norm(dim=-1, keepdim=True)
    up = torch.tensor((0.0, 0.0, 1.0)).to(forward).expand_as(forward)
    right = torch.linalg.cross(forward, up)
    right = right / right.norm(dim=-1, keepdim=True)
    upright = torch.stack((right, torch.linalg.cross(forward, right), forward), -2)
    share = 0.02 if centred else _ASIDE
    aside = draws.uniform("aside", views, 2, low=-share, high=share) * fov[..., None]
    turned = torch.cat((aside, roll * draws.normal("roll", views, 1)), -1)
    return rotvec_to_matrix(turned) @ upright


def _intrinsics(focal: Tensor, image_size: tuple[int, int]) -> Tensor:
    width, height = image_size
    matrix = torch.zeros(*focal.shape, 3, 3, dtype=focal.dtype, device=focal.device)
    matrix[..., 0, 0] = matrix[..., 1, 1] = focal
    matrix[..., 0, 2], matrix[..., 1, 2] = (width - 1) / 2, (height - 1) / 2
    matrix[..., 2, 2] = 1
    return matrix
