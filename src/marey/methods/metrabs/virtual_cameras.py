"""Virtual cameras that look at people: at the place of the real camera, turned towards a box, upright, without a lens.

A network that was trained on people in the middle of the picture sees them there, free of the perspective distortion
that people at the rim of a wide picture have. Poses that it tells in the virtual camera's frame are turned back.

Source: Sarandi et al., MeTRAbs (2021), and the code of 2021 to 2023; what November 2020 did is in `CropRule`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.distortion import distort_components, lens_of
from marey.geometry.projection import pixels_to_normalised, undistort
from marey.methods.metrabs.augmented import Augmentations, augmentation_table
from marey.methods.metrabs.quirks import Quirks

LEVELS = 3
"""Of the pyramid of a picture: whole, half and quarter sides."""
_ROUNDS = 5
"""Of the fixed-point iteration by which the published code takes a lens out."""


@dataclass(frozen=True, kw_only=True)
class CropRule:
    """How people are cut out; the defaults are ours."""

    side: int = 256
    """Pixels of the crop."""
    gamma: float = 2.2
    """The exponent from stored values to light, in which is interpolated; 1: stored values."""
    antialias: int = 1
    """Rendered so many times as large, then averaged, on top of the pyramid."""
    pyramid: bool = True
    """Whether crops that shrink the picture by 2 or 4 read one that was averaged. November 2020: no."""
    squeezed: bool = False
    """The virtual camera's axes across are not brought to unit length: boxes above or below the optical axis are zoomed
    a little. November 2020."""
    flat_size: bool = False
    """The person's size is that of the box in the picture, not as the virtual camera sees it. November 2020."""
    whole_values: bool = False
    """Values of crops are cut off to 8 bits. November 2020."""
    misplaced_antialias: bool = False
    """Where a crop is rendered larger, it is moved by half of what it gains, in pixels of the picture. November 2020,
    whose release stops with an error there."""
    rounded_lens: bool = False
    """The lens is taken out of boxes by five rounds of an iteration that has not converged. 2021 to 2023."""

    def __post_init__(self) -> None:
        if self.side < 1 or self.antialias < 1 or not 0 < self.gamma < float("inf"):
            raise InputError(
                "crops: expected a side and an antialias factor of 1 or more and a gamma above 0, got "
                f"{self.side}, {self.antialias} and {self.gamma}"
            )

    @classmethod
    def of(cls, quirks: Quirks, *, side: int = 256, antialias: int = 1) -> CropRule:
        """The rule of some published behaviour."""
        rule = cls(side=side, antialias=antialias, rounded_lens=quirks.rounded_lens)
        if not quirks.plain_crops:
            return rule
        return replace(
            rule,
            gamma=1.0,
            pyramid=False,
            squeezed=True,
            flat_size=True,
            whole_values=True,
            misplaced_antialias=True,
        )


class VirtualCameras(NamedTuple):
    """Cameras of N crops."""

    rotation: Tensor
    """(N, 3, 3) from the camera of the picture to the crop's, mirrored where the crop is; perpendicular rows, of length
    1 but for `CropRule.squeezed`."""
    intrinsics: Tensor
    """(N, 3, 3) pixels of the crop."""
    scale: Tensor
    """(N,) pixels of the crop per pixel of the picture, about."""
    gamma: Tensor
    """(N,) exponent of the crop's values."""


def look_at_people(
    boxes: Tensor,
    cameras: Cameras,
    *,
    up: Tensor | None = None,
    augmentations: Augmentations | None = None,
    rule: CropRule | None = None,
) -> VirtualCameras:
    """Turn virtual cameras to the middles of boxes and zoom so that the boxes fill their pictures.

    Exportable; NaN where a box is NaN, where the lens cannot be undone at its middle or at the middle of a side, and
    where a side is behind the virtual camera.

    Args:
        boxes: (N, 4) left, top, width, height in pixels of the pictures.
        cameras: (N,) of the pictures.
        up: (N, 3) what is up, in the cameras' frames; None: against y. Where a person lies in that direction the
            picture's own x axis stays level instead.
        augmentations: A views of each; None: one as it is.
        rule: Of the crops.

    Returns:
        Of N A crops, the views of one box in a row.

    Raises:
        ShapeError: there are not as many boxes as cameras.
    """
    rule, dtype = rule or CropRule(), cameras.dtype
    if boxes.ndim != 2 or boxes.shape[1] != 4 or cameras.batch_shape != boxes.shape[:1]:
        raise ShapeError(
            f"boxes: expected (N, 4) left, top, width, height, one for each camera, got {tuple(boxes.shape)} for "
            f"cameras {cameras.batch_shape}"
        )
    views = augmentation_table(1) if augmentations is None else augmentations
    views = views.map(lambda values: values.to(cameras.device, dtype if values.is_floating_point() else values.dtype))
    rays = _rays(_box_points(boxes.to(dtype)), cameras, rule)
    turn = _upright(rays[:, 0], up, rule)
    scale = rule.side / _seen_size(boxes.to(dtype), rays, turn, cameras, rule)
    scales = (scale[:, None] * views.scales).reshape(-1)
    return VirtualCameras(
        rotation=(views.turns @ turn[:, None]).reshape(-1, 3, 3),
        intrinsics=_zoomed(cameras.intrinsics.repeat_interleave(len(views), dim=0), scales, rule.side),
        scale=scales,
        gamma=views.gammas.expand(boxes.shape[0], -1).reshape(-1),
    )


def _box_points(boxes: Tensor) -> Tensor:
    """(N, 5, 2) the middle, and the middles of the upper, right, lower and left side."""
    unit = boxes.new_tensor([[0.5, 0.5], [0.5, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 0.5]])
    return boxes[:, None, :2] + unit * boxes[:, None, 2:]


def _rays(pixels: Tensor, cameras: Cameras, rule: CropRule) -> Tensor:
    """(N, K, 3) with z = 1, lens taken out."""
    seen = pixels_to_normalised(pixels, cameras)
    if cameras.distortion.shape[-1]:
        seen = _by_rounds(seen, cameras) if rule.rounded_lens else undistort(seen, cameras)
    return torch.cat((seen, torch.ones_like(seen[..., :1])), -1)


def _by_rounds(distorted: Tensor, cameras: Cameras) -> Tensor:
    """Take a lens out as the published code does: (distorted - shift(x)) / radial(x), again and again."""
    lens = lens_of(cameras, distorted.dtype)
    k1, k2, _, _, k3, k4, k5, k6 = torch.nn.functional.pad(cameras.distortion, (0, 8))[:, None, :8, None].unbind(-2)
    ideal = distorted
    for _ in range(_ROUNDS):
        s = ideal.square().sum(-1, keepdim=True)
        radial = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))
        whole = torch.stack(distort_components(ideal[..., 0], ideal[..., 1], lens), -1)
        ideal = (distorted - (whole - radial * ideal)) / radial
    return ideal


def _upright(ahead: Tensor, up: Tensor | None, rule: CropRule) -> Tensor:
    """Rotations (N, 3, 3) whose z axes are along rays (N, 3)."""
    z = torch.nn.functional.normalize(ahead, dim=-1)
    zero = torch.zeros_like(z[:, 0])
    level = torch.stack((z[:, 2], zero, -z[:, 0]), -1)
    if rule.squeezed:
        return torch.stack((level, torch.linalg.cross(z, level), z), -2)
    across = level if up is None else torch.linalg.cross(z, up.to(z).expand_as(z))
    lost = across.square().sum(-1, keepdim=True) < 1e-12
    x = torch.nn.functional.normalize(torch.where(lost, level, across), dim=-1)
    return torch.stack((x, torch.linalg.cross(z, x), z), -2)


def _seen_size(boxes: Tensor, rays: Tensor, turn: Tensor, cameras: Cameras, rule: CropRule) -> Tensor:
    """The longer side (N,) of boxes in pixels."""
    if rule.flat_size:
        return boxes[:, 2:].amax(-1)
    seen = rays[:, 1:] @ (cameras.intrinsics.to(rays) @ turn).mT
    ahead = torch.where(seen[..., 2:] > 0, seen[..., 2:], torch.nan)
    top, right, bottom, left = (seen[..., :2] / ahead).unbind(1)
    return torch.maximum((top - bottom).square().sum(-1), (left - right).square().sum(-1)).sqrt()


def _zoomed(intrinsics: Tensor, scale: Tensor, side: int) -> Tensor:
    """(N, 3, 3) with the optical axis in the middle of the crop."""
    scaled = intrinsics[:, :2, :2] * scale[:, None, None]
    middle = torch.full_like(intrinsics[:, :2, 2:], side / 2)
    return torch.cat((torch.cat((scaled, middle), -1), intrinsics[:, 2:]), 1)
