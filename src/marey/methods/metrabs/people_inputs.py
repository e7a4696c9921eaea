"""What users hand over, checked: pictures of many kinds, boxes, and cameras as matrices."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.core.cameras import DISTORTION_LENGTHS
from marey.geometry.field_of_view import cameras_from_field_of_view
from marey.io.pixels import MAX_PIXELS
from marey.methods.metrabs.people_results import Unit
from marey.methods.metrabs.virtual_crops import LEAST_SIDE

_ROUNDING = 1e-2
"""Of a rotation matrix that was written with few digits."""
_FOCAL_LENGTHS = (1e-3, 1e9)
"""Pixels; beyond, crops of people have no numbers in single precision."""
_LEAST_BOX = 1.0
"""Pixels of the longer side; what is smaller shows nobody."""
_DIM = 4096
"""Of 16-bit values: a picture whose brightest value is below was stored with 12 bits or fewer, or is black."""
_KINDS = "expected 8 or 16 bits without sign or floating point"
MILLIMETRES = 1000.0


def as_picture(image: Any, *, name: str = "image") -> Tensor:
    """A picture (3, H, W), red, green, blue: uint8, or float32 in 0..1 where there was more than 8 bits.

    Args:
        image: A NumPy array (H, W, 3) as everybody reads pictures, or a tensor (3, H, W); also (H, W) or one channel,
            which is grey, and four, of which the last one (alpha) is dropped. uint8, uint16, or floats in 0..1.
        name: In messages.

    Raises:
        ShapeError: it is no picture, or of other numbers.
        InputError: a value is masked, not finite or beyond 0..1, or there are too few pixels or more than 150 million.
    """
    given = image.detach() if isinstance(image, Tensor) else _array(image, name)
    shape = tuple(given.shape)
    channels, (height, width) = _layout(shape, first=isinstance(image, Tensor))
    if channels not in (1, 3, 4):
        raise ShapeError(
            f"{name}: expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor with the channels "
            f"first, got {shape} as {type(image).__name__}"
        )
    if min(height, width) < LEAST_SIDE or height * width > MAX_PIXELS:
        raise InputError(
            f"{name}: expected {LEAST_SIDE} x {LEAST_SIDE} to {MAX_PIXELS} pixels, got {width} x {height}; make it "
            f"{'larger' if min(height, width) < LEAST_SIDE else 'smaller'}"
        )
    tensor = given if isinstance(given, Tensor) else _channels_first(given, name)
    return _colours(_values(tensor[None] if tensor.ndim == 2 else tensor, name))


def _layout(shape: tuple[int, ...], *, first: bool) -> tuple[int, tuple[int, int]]:
    """Channels, height and width; 0 channels for what is no picture."""
    if len(shape) == 2:
        return 1, (shape[0], shape[1])
    if len(shape) != 3:
        return 0, (0, 0)
    return (shape[0], (shape[1], shape[2])) if first else (shape[2], (shape[0], shape[1]))


def _array(image: Any, name: str) -> np.ndarray[Any, Any]:
    if np.ma.is_masked(image):
        raise InputError(f"{name}: {image.mask.sum()} values are masked; fill them in, with 0 for black")
    try:
        return np.asarray(image)
    except (ValueError, TypeError) as error:
        raise ShapeError(f"{name}: expected an array of numbers, got {type(image).__name__} ({error})") from error


def _channels_first(array: np.ndarray[Any, Any], name: str) -> Tensor:
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = array.astype(np.uint16, copy=False)  # files may have the bytes the other way round
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.dtype != np.uint8:
        raise ShapeError(f"{name}: {_KINDS}, got {array.dtype}; convert it")
    if not all(stride >= 0 for stride in array.strides):
        array = np.ascontiguousarray(array)  # tensors have no negative strides, as mirrored arrays do
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor


def _values(picture: Tensor, name: str) -> Tensor:
    if picture.dtype == torch.uint8:
        return picture
    if picture.dtype == torch.uint16:
        return _from_16_bits(picture, name)
    if not picture.is_floating_point():
        raise ShapeError(f"{name}: {_KINDS}, got {picture.dtype}; convert it")
    floats = picture.to(torch.float32)
    least, most = float(floats.amin()), float(floats.amax())
    if not (math.isfinite(least) and math.isfinite(most)):  # a value that is NaN makes both so
        unknown = int((~floats.isfinite()).sum())
        raise InputError(f"{name}: {unknown} of {floats.numel()} values are not finite; fill them in, with 0 for black")
    if least < 0 or most > 1:
        raise InputError(f"{name}: expected floating-point values in 0..1, got {least:g} to {most:g}; divide by 255?")
    return floats


def _from_16_bits(picture: Tensor, name: str) -> Tensor:
    values = picture.to(torch.float32)
    if 0 < (most := int(values.amax())) < _DIM:
        warnings.warn(
            f"{name}: the largest of its 16-bit values is {most} of 65535, so it is seen as nearly black; divide "
            "values of fewer bits by the largest that they could be",
            stacklevel=2,
        )
    return values.div_(65535)


def _colours(picture: Tensor) -> Tensor:
    return picture.expand(3, -1, -1) if picture.shape[0] == 1 else picture[:3]


def as_pictures(images: Any) -> tuple[Tensor, ...]:
    """Pictures of a list, whose sizes may differ, or of an array (I, H, W, 3) or a tensor (I, 3, H, W).

    Raises:
        ShapeError, InputError: as `as_picture`; or these are not several.
    """
    if getattr(images, "ndim", 4) != 4:
        raise ShapeError(f"images: expected several, got {tuple(images.shape)}; add an axis, image[None]")
    return tuple(as_picture(image, name=name) for name, image in _several(images, "images", one="image").items())


def as_boxes_of_pictures(boxes: Any) -> list[Tensor]:
    """Boxes of each of several pictures, see `as_boxes`.

    Raises:
        ShapeError, InputError: as `as_boxes`; or these are not of several pictures.
    """
    return [as_boxes(each, name=name) for name, each in _several(boxes, "boxes", one="boxes").items()]


def _several(values: Any, name: str, *, one: str) -> dict[str, Any]:
    """Each of several by a name for messages, which counts them unless there is one."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise ShapeError(f"{name}: expected a list, one for each picture, got {type(values).__name__}")
    items = list(values)
    return {f"{name}[{place}]" if len(items) > 1 else one: item for place, item in enumerate(items)}


def as_boxes(boxes: Any, *, name: str = "boxes") -> Tensor:
    """Boxes (n, 5) left, top, width, height and score, double precision.

    Args:
        boxes: (n, 4), whose score is 1, or (n, 5); an empty list: none.
        name: In messages.

    Raises:
        ShapeError: of another shape.
        InputError: a box is not finite, has no area, or is smaller than a pixel.
    """
    tensor = _numbers(boxes, name)
    if tensor.numel() == 0 and tensor.ndim <= 2:
        return tensor.new_zeros(0, 5)
    if tensor.ndim != 2 or tensor.shape[1] not in (4, 5):
        raise ShapeError(f"{name}: expected (n, 4) left, top, width, height [, score], got {tuple(tensor.shape)}")
    sides = tensor[:, 2:4]
    good = tensor.isfinite().all(-1) & (sides > 0).all(-1) & (sides.amax(-1) >= _LEAST_BOX)
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise InputError(
            f"{name}: {int((~good).sum())} of {len(tensor)} are none; row {row} is {tensor[row].tolist()}: expected "
            "finite numbers, a width and height above 0, and one of them of a pixel or more"
        )
    return torch.cat((tensor, torch.ones_like(tensor[:, :1])), -1)[:, :5]


def _numbers(values: Any, name: str) -> Tensor:
    """In double precision, on the CPU."""
    try:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    except (ValueError, TypeError) as error:
        raise ShapeError(f"{name}: expected an array of numbers, got {type(values).__name__} ({error})") from error
    if tensor.is_complex():
        raise ShapeError(f"{name}: expected real numbers, got {tensor.dtype}")
    return tensor.detach().cpu().double()


def as_cameras(
    sizes: Sequence[tuple[int, int]],
    *,
    intrinsics: Any = None,
    distortion: Any = None,
    extrinsics: Any = None,
    field_of_view: float = 55.0,
    unit: Unit = "m",
) -> Cameras:
    """Cameras (I,) of pictures of so many widths and heights, double precision, with places in the world.

    Args:
        sizes: I of them.
        intrinsics: (3, 3), or (1 or I, 3, 3); None or all -1: unknown, from the field of view.
        distortion: (D,) or (1 or I, D) in OpenCV's order, 4 to 14 coefficients; None: no lens.
        extrinsics: (4, 4) or (3, 4), or (1 or I, ...), from the world to the camera; None: the camera is the world.
        field_of_view: Degrees along the larger side, of cameras that are unknown.
        unit: Of the extrinsic matrix's translation.

    Raises:
        ShapeError: of other shapes.
        CalibrationError: these are no cameras: not finite, without an inverse, or not a rotation.
        InputError: the field of view is not between 0 and 180 degrees.
    """
    count = len(sizes)
    image_size = torch.tensor(sizes, dtype=torch.float64).reshape(count, 2)
    guessed = cameras_from_field_of_view(image_size, field_of_view).intrinsics
    given = _each(intrinsics, count, ((3, 3),), "intrinsic_matrix")
    unknown = torch.ones(count, dtype=torch.bool) if given is None else (given == -1).flatten(1).all(-1)
    known = guessed if given is None else torch.where(unknown[:, None, None], guessed, given)
    _check_intrinsics(known)
    rotation, translation = _places(_each(extrinsics, count, ((4, 4), (3, 4)), "extrinsic_matrix"), count)
    return Cameras(
        intrinsics=known,
        distortion=_lenses(distortion, count),
        image_size=image_size,
        rotation=rotation,
        translation=translation / (MILLIMETRES if unit == "mm" else 1.0),
    )


def _each(values: Any, count: int, shapes: Sequence[tuple[int, ...]], name: str) -> Tensor | None:
    """A value (count, ...) for each picture, of one of some shapes; one is shared."""
    if values is None:
        return None
    tensor = _numbers(values, name)
    tensor = tensor[None] if tuple(tensor.shape) in shapes else tensor
    if tuple(tensor.shape[1:]) not in shapes or tensor.shape[0] not in (1, count):
        wanted = " or ".join(map(str, shapes))
        raise ShapeError(
            f"{name}: expected {wanted}, one for all {count} pictures or for each, got {tuple(tensor.shape)}"
        )
    return tensor.expand(count, *tensor.shape[1:])


def _check_intrinsics(matrices: Tensor) -> None:
    upper = (matrices[:, 1, 0] == 0) & (matrices[:, 2] == matrices.new_tensor([0.0, 0.0, 1.0])).all(-1)
    focal = torch.stack((matrices[:, 0, 0], matrices[:, 1, 1]), -1)
    least, most = _FOCAL_LENGTHS
    possible = ((focal >= least) & (focal <= most)).all(-1) & (matrices[:, :2].abs().amax((1, 2)) <= most)
    good = matrices.isfinite().flatten(1).all(-1) & upper & possible
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise CalibrationError(
            f"intrinsic_matrix: number {row} is {matrices[row].tolist()}; expected finite [[fx, s, cx], [0, fy, cy], "
            f"[0, 0, 1]] in pixels, with focal lengths above 0 ({least:g} to {most:g}), or all -1 for an unknown camera"
        )


def _lenses(values: Any, count: int) -> Tensor:
    """(count, D), D = 0 where no picture has a lens."""
    lenses = _each(values, count, [(length,) for length in range(DISTORTION_LENGTHS[-1] + 1)], "distortion_coeffs")
    if lenses is None or not bool(lenses.any()):
        return torch.zeros(count, 0, dtype=torch.float64)
    if not bool(lenses.isfinite().all()):
        raise CalibrationError(f"distortion_coeffs: expected finite numbers, got {lenses.tolist()}")
    length = next(known for known in DISTORTION_LENGTHS if known >= lenses.shape[1])
    return torch.nn.functional.pad(lenses, (0, length - lenses.shape[1]))


def _places(matrices: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    eye = torch.eye(3, dtype=torch.float64)
    if matrices is None:
        return eye.expand(count, 3, 3), eye.new_zeros(count, 3)
    rotation, translation = matrices[:, :3, :3], matrices[:, :3, 3]
    off = (rotation @ rotation.mT - eye).abs().amax((1, 2))
    last = (matrices[:, 3:] == matrices.new_tensor([0.0, 0.0, 0.0, 1.0])).all(-1).all(-1)
    good = (off < _ROUNDING) & (torch.linalg.det(rotation) > 0) & translation.isfinite().all(-1) & last
    if not bool(good.all()):
        raise CalibrationError(
            f"extrinsic_matrix: expected rotations and finite translations, and [0, 0, 0, 1] below, got "
            f"{matrices.tolist()}; it takes points of the world, as columns, to the camera"
        )
    return rotation, translation
