"""What virtual cameras see: crops of people, sampled from a picture and its halves in linear light.

The three levels of a picture lie in one sheet, two black pixels apart, so that one bilinear sampling serves every crop,
whatever level and whatever picture it reads::

    picture 0, whole              the sheet goes on below with the other pictures
    half | quarter

A crop that shows the picture 2 or 4 times smaller reads the half or the quarter: nothing aliases, and nobody loops.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.data.colour import to_linear
from marey.geometry.distortion import distort_components, fold_radius, lens_of
from marey.methods.metrabs.augmented import Augmentations
from marey.methods.metrabs.virtual_cameras import LEVELS, CropRule, VirtualCameras, look_at_people

LEAST_SIDE = 1 << LEVELS
"""Pixels of a picture; the quarter of a smaller one would be nothing."""
_AT_ONCE = 1 << 17
"""Pixels of crops sampled at a time outside of graphs: coordinates and colours stay in the cache."""
_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}
_OUTSIDE = -9.0
"""Left of every level."""
_NEAR = 1e-6
"""Depth along the real camera's axis, in that of the virtual one's; what is nearer or behind lies outside."""


class CropViews(NamedTuple):
    """N A crops of N boxes, the A views of a box in a row."""

    images: Tensor
    """(N A, 3, S, S) red, green, blue in 0..1, black where the picture shows nothing."""
    intrinsics: Tensor
    """(N A, 3, 3) of the crops."""
    rotation: Tensor
    """(N A, 3, 3) from the camera of the picture to the crop's, see `VirtualCameras`."""
    boxes: Tensor
    """(N A,) which box."""


class Sheet(NamedTuple):
    """All levels of I pictures."""

    light: Tensor
    """(1, 3, I * height, width)"""
    height: int
    """Of one picture's part."""
    size: tuple[int, int]
    """Width and height of the pictures."""

    def place(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Column and row (N,) of the first pixel of levels (N,) in a picture's part, and their sizes (N, 2)."""
        width, height = self.size
        down = torch.where(level == 0, 1, height + 3)
        right = torch.where(level == 2, width // 2 + 3, 1)
        times = 2**level
        return torch.stack((right, down), -1), torch.stack((width // times, height // times), -1)


def crop_views(
    images: Tensor,
    boxes: Tensor,
    cameras: Cameras,
    *,
    pictures: Tensor | None = None,
    up: Tensor | None = None,
    augmentations: Augmentations | None = None,
    rule: CropRule | None = None,
) -> CropViews:
    """Cut people out of pictures by virtual cameras that look at them.

    Exportable, with any number of pictures and boxes. Not meant to be differentiated: black has no derivative.

    Args:
        images: (I, 3, H, W), red, green, blue: uint8, uint16, or floating point in 0..1.
        boxes: (N, 4) left, top, width, height in pixels.
        cameras: (N,) of the boxes' pictures; double precision keeps far pixels in place.
        pictures: (N,) which picture each box is in; None: the first one.
        up: (N, 3) or None, as in `look_at_people`.
        augmentations: A views; None: one as it is.
        rule: Of the crops.

    Raises:
        ShapeError: of pictures or boxes.
        InputError: pictures of fewer than 8 x 8 pixels.
    """
    rule = rule or CropRule()
    seen = look_at_people(boxes, cameras, up=up, augmentations=augmentations, rule=rule)
    views = 1 if augmentations is None else len(augmentations)
    box = torch.arange(boxes.shape[0], device=boxes.device).repeat_interleave(views)
    pictures = torch.zeros_like(box) if pictures is None else pictures[box]
    sheet = draw_sheet(images, rule, most=_highest(seen, rule))
    crops = render_views(sheet, seen, cameras.map(lambda values: values[box]), pictures=pictures, rule=rule)
    return CropViews(crops, seen.intrinsics, seen.rotation, box)


def render_views(
    sheet: Sheet, seen: VirtualCameras, cameras: Cameras, *, rule: CropRule, pictures: Tensor | None = None
) -> Tensor:
    """Crops (M, 3, S, S) of virtual cameras, red, green, blue in 0..1.

    Args:
        sheet: Of the pictures, with the same rule.
        seen: M virtual cameras.
        cameras: (M,) of the pictures.
        rule: Of the crops.
        pictures: (M,) which picture each sees; None: the first one.
    """
    level = _levels(seen, rule)
    parts = _Crops(
        to_ray=_to_rays(seen, rule),
        to_level=_level_matrices(cameras.intrinsics, level),
        gamma=seen.gamma.to(torch.float32) / rule.gamma,
        bounds=_bounds(sheet, level, torch.zeros_like(level) if pictures is None else pictures),
    )
    if torch.compiler.is_compiling():
        return _sampled(sheet, parts, cameras, rule)
    crops = torch.empty((level.shape[0], rule.side, rule.side, 3), device=sheet.light.device).permute(0, 3, 1, 2)
    flat = _are_flat(sheet, parts, cameras, rule)
    if flat.any():
        _warp(sheet, parts.pick(flat), level[flat], None if pictures is None else pictures[flat], crops, flat)
    runs = max(1, _AT_ONCE // (rule.side * rule.antialias) ** 2)
    for run in torch.split((~flat).nonzero()[:, 0], runs):
        crops[run] = _sampled(sheet, parts.pick(run), cameras[run], rule)
    return crops


class _Crops(NamedTuple):
    """M crops to be sampled."""

    to_ray: Tensor
    """(M, 3, 3) from pixels of the crop to rays of the real camera."""
    to_level: Tensor
    """(M, 3, 3) intrinsic matrices of the levels."""
    gamma: Tensor
    """(M,) from light to values."""
    bounds: Tensor
    """(M, 2, 4): of x and y the scale and the shift from pixels of a level to the sheet's -1..1, the least and most."""

    def pick(self, rows: Tensor) -> _Crops:
        return _Crops(*(part[rows] for part in self))


def _check(images: Tensor) -> None:
    known = images.dtype in _WHITE or images.is_floating_point()
    if images.ndim != 4 or images.shape[1] != 3 or not known:
        raise ShapeError(
            "images: expected (I, 3, H, W) of 8 or 16 bits or floating point in 0..1, got "
            f"{tuple(images.shape)} of {images.dtype}"
        )
    if min(images.shape[2:]) < LEAST_SIDE:
        raise InputError(
            f"images: expected {LEAST_SIDE} x {LEAST_SIDE} pixels or more, got {images.shape[3]} x {images.shape[2]}"
        )


def _levels(seen: VirtualCameras, rule: CropRule) -> Tensor:
    """Which level (M,) each crop reads: 0, 1 or 2."""
    if not rule.pyramid:
        return torch.zeros_like(seen.scale, dtype=torch.int64)
    shrinks = -(seen.scale * rule.antialias).log2()
    return shrinks.nan_to_num(0.0).floor().clamp(0, LEVELS - 1).long()


def _highest(seen: VirtualCameras, rule: CropRule) -> int:
    """The highest level that is read; in graphs all are there."""
    none = torch.compiler.is_compiling() or not seen.scale.shape[0]
    return LEVELS - 1 if none else int(_levels(seen, rule).amax())


def draw_sheet(images: Tensor, rule: CropRule, *, most: int = LEVELS - 1) -> Sheet:
    """Lay out pictures in light.

    Args:
        images: (I, 3, H, W), see `crop_views`.
        rule: Of the crops.
        most: Higher levels may stay black.

    Raises:
        ShapeError, InputError: as `crop_views`.
    """
    _check(images)
    height, width = images.shape[2:]
    fast = images.device.type == "cpu" and not torch.compiler.is_compiling() and not images.requires_grad
    light = _drawn_sheet(images, rule, most) if fast else _computed_sheet(images, rule)
    return Sheet(light, height + height // 2 + 4, (width, height))


def _computed_sheet(images: Tensor, rule: CropRule) -> Tensor:
    """(1, 3, I h, w) by tensor operations alone, all levels."""
    white = _WHITE.get(images.dtype, 1.0)
    whole = (images.to(torch.float32) / white) ** rule.gamma
    half = torch.nn.functional.avg_pool2d(whole, 2)
    quarter = torch.nn.functional.avg_pool2d(half, 2)
    whole = torch.nn.functional.pad(whole, (1, 1, 1, 2))
    quarter = torch.nn.functional.pad(quarter, (2, 1, 0, half.shape[2] - quarter.shape[2]))
    below = torch.nn.functional.pad(torch.cat((half, quarter), -1), (1, 0, 0, 1))
    sheet = torch.cat((whole, torch.nn.functional.pad(below, (0, whole.shape[3] - below.shape[3]))), 2)
    return sheet.transpose(0, 1).reshape(1, 3, -1, sheet.shape[3])


def _drawn_sheet(images: Tensor, rule: CropRule, most: int) -> Tensor:
    """The same on the CPU, faster and with fewer copies; levels above `most` stay black."""
    count, _, height, width = images.shape
    sheet = np.zeros((count, height + height // 2 + 4, width + 2, 3), np.float32)
    for image, part in zip(images.permute(0, 2, 3, 1), sheet, strict=True):
        whole = part[1 : height + 1, 1 : width + 1]
        half = part[height + 3 :, 1:][: height // 2, : width // 2]
        quarter = part[height + 3 :, width // 2 + 3 :][: height // 4, : width // 4]
        _draw_light(image, rule.gamma, whole)
        for larger, smaller in ((whole, half), (half, quarter))[:most]:
            high, wide = smaller.shape[:2]
            cv2.resize(larger[: 2 * high, : 2 * wide], (wide, high), dst=smaller, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(sheet).reshape(1, -1, width + 2, 3).permute(0, 3, 1, 2)


def _draw_light(image: Tensor, gamma: float, out: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Put the light of a picture (H, W, 3) into `out`."""
    if image.dtype == torch.uint8:
        to_linear(image.contiguous().numpy(), gamma, out=out)
        return
    place = torch.from_numpy(out)
    torch.div(image.to(torch.float32), _WHITE.get(image.dtype, 1.0), out=place)
    place.pow_(gamma)


def _to_rays(seen: VirtualCameras, rule: CropRule) -> Tensor:
    """(M, 3, 3) from pixels of crops, as large as they are rendered, to rays of the real cameras."""
    back = (seen.rotation / seen.rotation.square().sum(-1, keepdim=True)).mT
    rays = back @ _inverse(seen.intrinsics)
    if rule.antialias == 1:
        return rays
    times = 1 / rule.antialias
    shift = 0.0 if rule.misplaced_antialias else (times - 1) / 2
    return rays @ rays.new_tensor([[times, 0, shift], [0, times, shift], [0, 0, 1]])


def _inverse(intrinsics: Tensor) -> Tensor:
    """Of intrinsic matrices (M, 3, 3)."""
    (fx, skew, cx), (_, fy, cy) = intrinsics[:, 0].unbind(-1), intrinsics[:, 1].unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = ((1 / fx, -skew / (fx * fy), (skew * cy / fy - cx) / fx), (zero, 1 / fy, -cy / fy), (zero, zero, one))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _level_matrices(intrinsics: Tensor, level: Tensor) -> Tensor:
    """The intrinsic matrices (M, 3, 3) of pictures made 2^level times smaller, whose edges stay where they are."""
    times = (0.5 ** level.to(intrinsics.dtype))[:, None]
    first = times[..., None] * intrinsics[:, :2]
    shifted = torch.cat((first[..., :2], first[..., 2:] + (times[..., None] - 1) / 2), -1)
    return torch.cat((shifted, intrinsics[:, 2:]), 1)


def _bounds(sheet: Sheet, level: Tensor, pictures: Tensor) -> Tensor:
    """What `_Crops.bounds` is: two pixels beside a level are black, and what lies farther off is read between them."""
    place, size = sheet.place(level)
    place = place + torch.stack((torch.zeros_like(pictures), pictures * sheet.height), -1)
    scale = 2.0 / torch.tensor(sheet.light.shape[:1:-1], dtype=torch.float64, device=level.device)
    start = (place + 0.5) * scale - 1
    least, most = start - 1.5 * scale, start + (size + 0.5) * scale
    return torch.stack((scale.expand_as(start), start, least, most), -1)


def _are_flat(sheet: Sheet, crops: _Crops, cameras: Cameras, rule: CropRule) -> Tensor:
    """Which crops (M,) are homographies of the picture that OpenCV may warp: no lens, nothing behind the camera."""
    own, light = len(crops.gamma), sheet.light
    as_it_lies = light.device.type == "cpu" and light.permute(0, 2, 3, 1).is_contiguous() and not light.requires_grad
    if not as_it_lies or rule.antialias > 1 or rule.whole_values or cameras.fisheye is not None:
        return torch.zeros(own, dtype=torch.bool, device=light.device)
    ends = crops.to_ray.new_tensor([[0, 0, 1], [0, rule.side, 1], [rule.side, 0, 1], [rule.side, rule.side, 1]])
    depth = ((crops.to_level @ crops.to_ray)[:, 2:] @ ends.T)[:, 0]
    return (depth > _NEAR).all(1) & ~cameras.distortion.any(-1)


def _warp(sheet: Sheet, crops: _Crops, level: Tensor, pictures: Tensor | None, out: Tensor, chosen: Tensor) -> None:
    """Put crops into `out` (N, 3, S, S) where chosen (N,): OpenCV is twice as fast, one crop at a time."""
    picture, kept = sheet.light[0].permute(1, 2, 0).numpy(), out.permute(0, 2, 3, 1).numpy()
    (place, size), side = sheet.place(level), out.shape[-1]
    lower = place[:, 1] if pictures is None else place[:, 1] + pictures * sheet.height
    matrices = (crops.to_level @ crops.to_ray).double().numpy()
    rows = zip(chosen.nonzero()[:, 0].tolist(), place[:, 0].tolist(), lower.tolist(), size.tolist(), strict=True)
    for (row, left, top, (width, height)), matrix, gamma in zip(rows, matrices, crops.gamma.tolist(), strict=True):
        cv2.warpPerspective(
            picture[top : top + height, left : left + width],
            matrix,
            (side, side),
            dst=kept[row],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        cv2.pow(kept[row], gamma, dst=kept[row])


def _sampled(sheet: Sheet, crops: _Crops, cameras: Cameras, rule: CropRule) -> Tensor:
    """Crops (M, 3, S, S) of some virtual cameras."""
    wide = rule.side * rule.antialias
    bent = cameras.distortion.shape[-1] > 0
    places = _lens_places(crops, cameras, wide) if bent else _pinhole_places(crops, rule, wide)
    bounds = crops.bounds.to(places.dtype)[..., None, None]
    grid = places.clamp_(bounds[:, :, 2], bounds[:, :, 3]).permute(0, 2, 3, 1)  # the kernel reads it as it lies
    light = _looked_up(sheet.light, grid)
    if rule.antialias > 1:
        light = torch.nn.functional.avg_pool2d(light, rule.antialias)
    if rule.whole_values:
        light = (255 * light).floor() / 255
    return light.log2().mul_(crops.gamma[:, None, None, None]).exp2_()  # faster than a power, and 0 stays 0


def _looked_up(sheet: Tensor, grid: Tensor) -> Tensor:
    """(M, 3, H, W) of a sheet (1, 3, h, w) at places (M, H, W, 2)."""
    if not torch.compiler.is_compiling():
        many = sheet.expand(grid.shape[0], -1, -1, -1)  # a view
        return torch.nn.functional.grid_sample(many, grid, align_corners=False)
    # in a file the view would be copies: all crops become one
    count, height, width, _ = grid.shape
    tall = torch.nn.functional.grid_sample(sheet, grid.reshape(1, -1, width, 2), align_corners=False)
    return tall.reshape(3, count, height, width).transpose(0, 1)


def _pinhole_places(crops: _Crops, rule: CropRule, wide: int) -> Tensor:
    """Where in the sheet, -1..1, the pixels (M, 2, wide, wide) of crops lie; far off if they lie behind the camera."""
    to_pixels = crops.to_level @ crops.to_ray
    if rule.misplaced_antialias and rule.antialias > 1:
        shift = (rule.antialias - 1) / 2
        to_pixels = to_pixels / to_pixels[:, 2:, 2:] - to_pixels.new_tensor([[0, 0, shift], [0, 0, shift], [0, 0, 0]])
    rows = _onto_sheet(to_pixels, crops.bounds)
    return _divided(torch.cat((rows, to_pixels[:, 2:]), 1).to(torch.float32), wide)[:, :2]


def _lens_places(crops: _Crops, cameras: Cameras, wide: int) -> Tensor:
    """The same where there are lenses; to the left of everything where no lens can see."""
    seen = _divided(crops.to_ray.to(torch.float32), wide)
    x, y, near = seen.flatten(2).unbind(1)
    lens = lens_of(cameras, x.dtype)
    visible = (near < 1 / _NEAR) & (x.square() + y.square() < fold_radius(lens).square())
    x, y = distort_components(x, y, lens)
    rows = _onto_sheet(crops.to_level, crops.bounds).to(x.dtype)[..., None]
    places = torch.stack([rows[:, i, 0] * x + rows[:, i, 1] * y + rows[:, i, 2] for i in (0, 1)], 1)
    return torch.where(visible[:, None], places, _OUTSIDE).reshape(-1, 2, wide, wide)


def _onto_sheet(matrices: Tensor, bounds: Tensor) -> Tensor:
    """Rows (M, 2, 3) that give places in the sheet, of matrices (M, 3, 3) that give pixels of levels."""
    scale, start = bounds[..., :1].to(matrices), bounds[..., 1:2].to(matrices)
    return scale * matrices[:, :2] + start * matrices[:, 2:]


def _divided(matrices: Tensor, wide: int) -> Tensor:
    """Give x / z, y / z and 1 / z, (M, 3, wide, wide), of homographies (M, 3, 3) at the pixels of crops."""
    at = torch.arange(wide, dtype=matrices.dtype, device=matrices.device)
    across, down = matrices[..., :1] * at, matrices[..., 1:2] * at + matrices[..., 2:]
    found = across[:, :, None, :] + down[..., None]
    near = found[:, 2:].clamp_min_(_NEAR).reciprocal_()
    found[:, :2] *= near
    return found
