"""What is behind the people: places, collages, noise, or a folder of the user's images. Linear colours.

The families of the two splits are disjoint, and so are the images of a folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import InputError
from marey.data.synthetic.collages import (
    draw_collages,
    draw_noises,
    paint_boxes,
    paint_discs,
    paint_marble,
    paint_waves,
)
from marey.data.synthetic.places import draw_rooms, draw_yards, paint_rooms, paint_yards
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows
from marey.data.synthetic.views import Views

BACKGROUND_FAMILIES = {
    "training": ("room", "boxes", "waves"),
    "benchmark": ("yard", "discs", "marble"),
}
"""By split. The first are places."""
_WEIGHTS = (0.5, 0.25, 0.25)
_BENCHMARK_SHARE = 0.2
"""Of the images of a folder."""

_DRAW: Mapping[str, Callable[[Draws, Draws, Tensor], Rows]] = {
    "room": lambda scenes, pictures, centers: _spread(draw_rooms(scenes, centers), centers.shape[1]),
    "yard": lambda scenes, pictures, centers: _spread(draw_yards(scenes), centers.shape[1]),
    "boxes": lambda scenes, pictures, centers: draw_collages(pictures, "boxes"),
    "discs": lambda scenes, pictures, centers: draw_collages(pictures, "discs"),
    "waves": lambda scenes, pictures, centers: draw_noises(pictures, "waves", steep=1.3),
    "marble": lambda scenes, pictures, centers: draw_noises(pictures, "marble", steep=1.6),
}
_PAINT: Mapping[str, Callable[[Any, Views], Tensor]] = {
    "room": paint_rooms,
    "yard": paint_yards,
    "boxes": paint_boxes,
    "discs": paint_discs,
    "waves": paint_waves,
    "marble": paint_marble,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Backgrounds:
    """The backgrounds of M pictures, drawn and not yet painted."""

    family: Tensor
    """(M,) int64, place in `names`."""
    names: tuple[str, ...]
    kinds: tuple[Rows, ...]
    """Of each family for all pictures."""

    def __getitem__(self, index: slice | Tensor) -> Backgrounds:
        """Some of the pictures."""
        kinds = tuple(kind[index] for kind in self.kinds)
        return Backgrounds(family=self.family[index], names=self.names, kinds=kinds)


def draw_backgrounds(scenes: Draws, pictures: Draws, centers: Tensor, *, places: bool = False) -> Backgrounds:
    """Draw the backgrounds of the B V pictures of cameras at (B, V, 3) metres; only `places` that all of them see."""
    names = BACKGROUND_FAMILIES[scenes.split]
    family = scenes.within("background").choice("family", (1.0, 0.0, 0.0) if places else _WEIGHTS)
    return Backgrounds(
        family=family.repeat_interleave(centers.shape[1]),
        names=names,
        kinds=tuple(_DRAW[name](scenes, pictures, centers) for name in names),
    )


def paint_backgrounds(backgrounds: Backgrounds, views: Views) -> Tensor:
    """(M, 3, H, W) float32 linear."""
    present = sorted(set(backgrounds.family.tolist()))
    if len(present) == 1:
        return _PAINT[backgrounds.names[present[0]]](backgrounds.kinds[present[0]], views)
    result = torch.zeros(len(views.rays), 3, *views.size, device=views.rays.device)
    for number in present:
        chosen = backgrounds.family == number
        result[chosen] = _PAINT[backgrounds.names[number]](backgrounds.kinds[number][chosen], views[chosen])
    return result


def folder_images(folder: str | os.PathLike[str], split: str) -> tuple[Path, ...]:
    """The images of a folder that a split uses: which one is a matter of the file's name alone.

    Raises:
        InputError: there is no folder, or no image in it for the split.
    """
    from marey.io.image_headers import IMAGE_SUFFIXES

    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"backgrounds: {place} is no folder; expected a folder of images")
    found = sorted(path for path in place.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    mine = tuple(path for path in found if _is_benchmark(path.name) == (split == "benchmark"))
    if not mine:
        raise InputError(
            f"backgrounds: {place} holds {len(found)} images, none of them of the {split} split; a fifth of the names "
            "is kept for the benchmark: give more images"
        )
    return mine


def folder_backgrounds(pictures: Draws, files: tuple[Path, ...], size: tuple[int, int]) -> Tensor:
    """Crops of images, (M, 3, H, W) float32 linear."""
    draws = pictures.within("folder")
    chosen = (draws.uniform("file") * len(files)).long().tolist()
    corners = draws.uniform("corner", 3).tolist()
    crops = [_crop(_loaded(files[k]), corner, size) for k, corner in zip(chosen, corners, strict=True)]
    return torch.stack(crops).to(pictures.indices.device)


def _spread(rows: Rows, views: int) -> Rows:
    """What scenes have, for each of their pictures."""
    return rows.map(lambda tensor: tensor.repeat_interleave(views, 0))


def _is_benchmark(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] < 256 * _BENCHMARK_SHARE


@lru_cache(maxsize=64)
def _loaded(path: Path) -> Tensor:
    from marey.io.images import read_image

    return torch.from_numpy(read_image(path).copy()).permute(2, 0, 1)


def _crop(image: Tensor, corner: list[float], size: tuple[int, int]) -> Tensor:
    """A crop of the aspect of the picture, at least 60 % of the largest there is."""
    height, width = size
    side = min(image.shape[1] / height, image.shape[2] / width) * (0.6 + 0.4 * corner[2])
    rows, columns = max(1, int(side * height)), max(1, int(side * width))
    top, left = int(corner[0] * (image.shape[1] - rows)), int(corner[1] * (image.shape[2] - columns))
    part = image[None, :, top : top + rows, left : left + columns].to(torch.float32) / 255
    resized = torch.nn.functional.interpolate(part, size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].square()
