"""Changes to training pictures: colours, objects pasted before people, erased rectangles, other backgrounds.

Pictures are (H, W, 3) red green blue of 8 bits and are left as they are; a changed copy is given. Random numbers come
from a `RandomState`, whose stream NumPy keeps the same in all its versions: the same seed gives the same picture.

Source: specification of MeTRAbs (2020-11), section 2.4; objects as in Sarandi et al. (arXiv:1808.09316), erasing as in
Zhong et al., "Random erasing data augmentation" (arXiv:1708.04896).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image, InputError

Array = npt.NDArray[Any]
Draws = np.random.RandomState

_BRIGHTNESS, _CONTRAST, _HUE, _SATURATION = 0.125, 0.5, 72.0, 0.5
_LEAST_ASPECT = 0.3
_LARGEST_ERASED = 1 / 3
_OBJECTS = (1, 8)
_OBJECT_SCALE = (0.2, 1.0)
_OBJECT_SIDE = 256
"""Pixels along a picture for which objects are stored."""
_BACKGROUND_ZOOM = (1.2, 1.5)
_BACKGROUND_SHIFT = 0.1


class Cutouts(Protocol):
    """Objects that can be pasted, such as `marey.data.prepare.voc_occluders.Occluders`."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, place: int, /) -> tuple[Image, npt.NDArray[np.float32]]:
        """Pixels (h, w, 3) and opacity (h, w) in 0..1 of one."""
        ...


@dataclass(frozen=True, kw_only=True)
class AppearanceOptions:
    """How pictures vary; the defaults are MeTRAbs's (2020)."""

    occlusion: float = 0.7
    """How often something is pasted or erased: of a coin, one side pastes objects and the other erases."""
    occlusion_scale: float = 0.8
    """Times the size of objects, and the area that is erased."""
    colours: bool = True
    colours_need_occlusion: bool = False
    """Colours only change where `occlusion` is above 0, as published."""

    def __post_init__(self) -> None:
        if not 0 <= self.occlusion <= 1 or not 0 < self.occlusion_scale <= 3:
            raise InputError(
                f"occlusion: expected a share in 0..1 and a scale in 0..3, got {self.occlusion}, {self.occlusion_scale}"
            )


def child(draws: Draws) -> Draws:
    """Another stream of random numbers, drawn from one."""
    return np.random.RandomState(draws.randint(2**32, dtype=np.int64))


def change_appearance(image: Image, draws: Draws, options: AppearanceOptions, *, objects: Cutouts | None) -> Image:
    """Change the colours, and perhaps hide parts.

    Objects come before the colours, so that they fit in; noise comes after them, so that it stays uniform.

    Args:
        image: (H, W, 3).
        draws: Random numbers.
        options: How.
        objects: To paste; None: nothing is pasted on that side of the coin.
    """
    hiding, colouring = child(draws), child(draws)
    if options.occlusion == 0:
        unchanged = not options.colours or options.colours_need_occlusion
        return image if unchanged else change_colours(image, colouring)
    pastes = hiding.choice(2) == 0
    hides = hiding.uniform(0.0, 1.0) < options.occlusion
    if pastes and hides and objects is not None:
        image = paste_objects(image, hiding, objects, scale=options.occlusion_scale)
    if options.colours:
        image = change_colours(image, colouring)
    if not pastes and hides:
        image = erase(image, hiding, scale=options.occlusion_scale)
    return image


def change_colours(image: Image, draws: Draws) -> Image:
    """Change brightness, contrast, hue and saturation, in random order."""
    light: Array = (image / np.float32(255)).astype(np.float32)
    order = [*range(len(_CHANGES))]
    draws.shuffle(order)
    in_hues = False
    for place in order:
        change, needs_hues = _CHANGES[place]
        light = _converted(light, in_hues, needs_hues)
        light, in_hues = change(light, draws), needs_hues
    light = _converted(light, in_hues, False)
    changed: Image = (np.clip(light, 0, 1) * 255).astype(np.uint8)
    return changed


def paste_objects(image: Image, draws: Draws, objects: Cutouts, *, scale: float = 0.8) -> Image:
    """Paste one to seven objects at random places.

    Args:
        image: (H, W, 3), H times W about square.
        draws: Random numbers.
        objects: Of which.
        scale: Times their size.
    """
    changed = image.copy()
    for _ in range(draws.randint(*_OBJECTS)):
        pixels, opacity = objects[draws.randint(len(objects))]
        factor = draws.uniform(*_OBJECT_SCALE) * (image.shape[0] / _OBJECT_SIDE) * scale
        pixels, opacity = _resized(pixels, factor), _resized(opacity, factor)
        paste(changed, pixels, opacity, center=draws.uniform(0, image.shape[0], size=2))
    return changed


def paste(image: Image, pixels: Image, opacity: Array, *, center: Array) -> None:
    """Blend an object into a picture, which is changed; what lies outside of it is left out.

    Args:
        image: (H, W, 3).
        pixels: (h, w, 3).
        opacity: (h, w) in 0..1.
        center: (2,) column and row in the picture of the object's middle.
    """
    size, whole = np.array(pixels.shape[1::-1]), np.array(image.shape[1::-1])
    corner = np.round(np.asarray(center, dtype=np.float32)).astype(np.int64) - size // 2
    (left, top), (right, bottom) = np.clip(corner, 0, whole), np.clip(corner + size, 0, whole)
    there = (slice(top, bottom), slice(left, right))
    part = (slice(top - corner[1], bottom - corner[1]), slice(left - corner[0], right - corner[0]))
    weight = opacity[part][..., None]
    image[there] = (weight * pixels[part] + (1 - weight) * image[there]).astype(np.uint8)


def erase(image: Image, draws: Draws, *, scale: float = 0.8) -> Image:
    """Put noise into a rectangle of up to a third of the picture, times `scale`.

    Args:
        image: (S, S, 3).
        draws: Random numbers.
        scale: Times its area.
    """
    side = image.shape[0]
    while True:
        area = draws.uniform(0, _LARGEST_ERASED) * side**2 * scale
        aspect = draws.uniform(_LEAST_ASPECT, 1 / _LEAST_ASPECT)
        size = np.array([(area / aspect) ** 0.5, (area * aspect) ** 0.5])
        corner = draws.uniform(0, side, size=2)
        if np.all(corner + size < side):
            break
    (left, top), (right, bottom) = corner.astype(int), (corner + size).astype(int)
    changed = image.copy()
    changed[top:bottom, left:right] = draws.randint(0, 255, size=(bottom - top, right - left, 3), dtype=np.uint8)
    return changed


def other_background(
    image: Image, mask: Array, background: Image, draws: Draws, *, interpolation: int = cv2.INTER_NEAREST
) -> Image:
    """Show a person before another picture, which is enlarged and moved at random.

    Args:
        image: (S, S, 3) of the person.
        mask: (S, S) share of each pixel that is the person's, 0..1.
        background: (H, W, 3).
        draws: Random numbers.
        interpolation: Of the background, as OpenCV calls it.
    """
    height, width = image.shape[:2]
    fit = max(height / background.shape[0], width / background.shape[1])
    zoom = draws.uniform(*_BACKGROUND_ZOOM) * fit
    middle = np.array([width, height]) / 2 + point_in_disc(draws) * height * _BACKGROUND_SHIFT
    source = np.array(background.shape[1::-1]) / 2
    # where a pixel of the result lies in the background
    shift = (source - middle / zoom).astype(np.float32)
    maps = np.indices((height, width), dtype=np.float32)[::-1] / np.float32(zoom) + shift[:, None, None]
    behind = cv2.remap(background, maps[0], maps[1], interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    weight = mask.astype(np.float32)[..., None]
    blended: Image = (behind.astype(np.float32) * (1 - weight) + image.astype(np.float32) * weight).astype(np.uint8)
    return blended


def point_in_disc(draws: Draws) -> Array:
    """A point (2,) of the unit disc, all alike likely."""
    angle = draws.uniform(-np.pi, np.pi)
    radius = np.sqrt(draws.uniform(0, 1))
    point: Array = radius * np.array([np.cos(angle), np.sin(angle)])
    return point


def part_of_box(box: Array, draws: Draws) -> Array:
    """A random square (4,) within a square box (4,) left, top, width, height, of more than half its side."""
    while True:
        left = draws.uniform(0, 0.5)
        right, bottom = draws.uniform(0.5, 1, size=2)
        side = right - left
        if 0.5 < side < bottom:
            break
    part: Array = np.concatenate([box[:2] + np.array([left, bottom - side]) * box[2:], side * box[2:]])
    return part


def _brighter(light: Array, draws: Draws) -> Array:
    return light + np.float32(draws.uniform(-_BRIGHTNESS, _BRIGHTNESS))


def _contrasted(light: Array, draws: Draws) -> Array:
    half = np.float32(0.5)
    return (light - half) * np.float32(draws.uniform(1 - _CONTRAST, 1 + _CONTRAST)) + half


def _other_hue(colours: Array, draws: Draws) -> Array:
    hue = colours[..., 0] + np.float32(draws.uniform(-_HUE, _HUE))
    hue[hue < 0] += 360
    hue[hue > 360] -= 360
    colours[..., 0] = hue
    return colours


def _saturated(colours: Array, draws: Draws) -> Array:
    factor = np.float32(draws.uniform(1 - _SATURATION, 1 + _SATURATION))
    colours[..., 1] = np.minimum(colours[..., 1] * factor, 1)
    return colours


_CHANGES: Sequence[tuple[Callable[[Array, Draws], Array], bool]] = (
    (_brighter, False),
    (_contrasted, False),
    (_other_hue, True),
    (_saturated, True),
)
"""And whether they work on hue, saturation and value."""


def _converted(light: Array, in_hues: bool, needs_hues: bool) -> Array:
    """Red, green, blue in 0..1 or hue in degrees, saturation and value, as needed."""
    if in_hues == needs_hues:
        return light
    if needs_hues:
        return np.asarray(cv2.cvtColor(np.clip(light, 0, 1), cv2.COLOR_RGB2HSV))
    return np.asarray(cv2.cvtColor(light, cv2.COLOR_HSV2RGB))


def _resized(image: Array, factor: float) -> Array:
    size = tuple(max(1, round(length * factor)) for length in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if factor > 1 else cv2.INTER_AREA))
