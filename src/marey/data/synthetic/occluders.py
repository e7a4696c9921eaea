"""What stands between the camera and the people: flat things that cover an exact share of the first person.

In the picture of a whole scene, which may be a frame of a film, they stand still instead and cover a share of the
picture.

An occluder is a field over the picture (distance from a point, from a line, from a bar) and a level: it covers the
pixels where the field is below. The level is the quantile of the field over the person's own pixels, so the share that
is hidden is the one that was drawn, whatever the shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.patterns import Patterns, draw_patterns, paint
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows

_SHAPES = {"ellipse": 0.2, "box": 0.25, "edge": 0.25, "blob": 0.15, "bar": 0.15}
"""And how likely they are."""
_ELLIPSE, _BOX, _EDGE, _BLOB, _BAR = range(len(_SHAPES))


@dataclass(frozen=True, kw_only=True, eq=False)
class Occluders(Rows):
    """Of M pictures, one each; float32 but for the share."""

    present: Tensor
    """(M,) boolean."""
    share: Tensor
    """(M,) of the person's pixels that it hides, float64."""
    shape: Tensor
    """(M,) int64, place in the shapes."""
    place: Tensor
    """(M, 2) of the middle in the box around the person, in 0..1."""
    axes: Tensor
    """(M, 2, 2): turns an offset and stretches it."""
    waves: Tensor
    """(M, 3) phases of the rim of a blob."""
    distance: Tensor
    """(M,) in 0..1: share of the way to the person."""
    slope: Tensor
    """(M, 3): the light in the upper left corner, and how it changes across and down the picture."""
    patterns: Patterns
    """(M,)"""


def draw_occluders(draws: Draws, *, share: tuple[float, float], chance: float) -> Occluders:
    """Draw an occluder for each of M pictures.

    Args:
        draws: of the pictures, (M,).
        share: Least and largest share of the person's pixels that it hides.
        chance: Share of the pictures with an occluder.
    """
    draws = draws.within("occluder")
    angle = draws.uniform("angle", high=2 * math.pi)
    angle = torch.where(draws.chance("upright", 0.5), (angle / (math.pi / 2)).floor() * (math.pi / 2), angle)
    stretch = 2.0 ** draws.uniform("stretch", low=-1.5, high=1.5)
    cosine, sine = angle.cos(), angle.sin()
    along, athwart = (
        torch.stack((cosine, sine), -1) * stretch[:, None],
        torch.stack((-sine, cosine), -1) / stretch[:, None],
    )
    across, down = draws.uniform("slope", 2, low=-0.5, high=0.5).unbind(-1)
    hidden = draws.uniform("share", low=share[0], high=share[1])
    occluders = Occluders(
        present=draws.chance("present", chance),
        share=hidden,
        shape=draws.choice("shape", tuple(_SHAPES.values())),
        place=draws.uniform("place", 2, low=0.1, high=0.9),
        axes=torch.stack((along, athwart), -2),
        waves=draws.uniform("waves", 3, high=2 * math.pi),
        distance=draws.uniform("distance", low=0.5, high=0.95),
        slope=torch.stack((0.8 - 0.5 * (across + down), across, down), -1),
        patterns=draw_patterns(draws, "paint", 1, period=(0.03, 0.4), flat=True, plain=0.5)[:, 0],
    )
    return Occluders(**{**vars(occluders.float()), "share": hidden})


def occluder_masks(occluders: Occluders, person: Tensor) -> Tensor:
    """The pixels (M, H, W) that occluders cover, boolean.

    Args:
        occluders: (M,)
        person: (M, H, W) boolean, the pixels of which they hide a share: those of a person, or all.
    """
    mask = torch.zeros_like(person)
    for number in range(len(_SHAPES)):
        chosen = (occluders.present & (occluders.shape == number)).nonzero()[:, 0]
        if len(chosen):
            mask[chosen] = _covered(number, occluders.take(chosen), person[chosen])
    return mask


def paint_occluders(occluders: Occluders, mask: Tensor, linear: Tensor) -> Tensor:
    """Paint occluders over pictures (M, 3, H, W) where the mask (M, H, W) says; linear colours."""
    picture, row, column = mask.nonzero(as_tuple=True)
    if not len(picture):
        return linear
    scale = 1 / min(mask.shape[-2:])
    x, y = scale * column, scale * row
    color = paint(torch.stack((x, y, torch.zeros_like(x))), occluders.patterns, picture)
    base, across, down = occluders.slope.index_select(0, picture).mT
    lit = color * (base + across * x + down * y).clamp(0.2, 1.2)
    count, _, height, width = linear.shape
    pixel = (picture * height + row) * width + column
    painted = linear.transpose(0, 1).flatten(1).index_copy(1, pixel, lit)
    return painted.reshape(3, count, height, width).transpose(0, 1)


def occluder_depth(occluders: Occluders, mask: Tensor, depth: Tensor) -> Tensor:
    """Depth (M, H, W) in metres with the occluders: before all that each covers."""
    nearest = torch.where(mask, depth, torch.inf).flatten(1).amin(-1)
    before = torch.where(nearest.isfinite(), nearest, 1.0) * occluders.distance
    return torch.where(mask, before[:, None, None], depth)


def _covered(number: int, occluders: Occluders, person: Tensor) -> Tensor:
    field = _field(number, occluders, person)
    levels = [
        _level(values[mine], share) for values, mine, share in zip(field, person, occluders.share.tolist(), strict=True)
    ]
    return field < torch.stack(levels)[:, None, None]


def _field(number: int, occluders: Occluders, person: Tensor) -> Tensor:
    """(M, H, W) in pixels, for occluders of one shape."""
    height, width = person.shape[-2:]
    left, top, right, bottom = _extent(person)
    place = occluders.place
    middle_x, middle_y = left + place[:, 0] * (right - left), top + place[:, 1] * (bottom - top)
    y = torch.arange(height, device=person.device)[None, :, None] - middle_y[:, None, None]
    x = torch.arange(width, device=person.device)[None, None, :] - middle_x[:, None, None]
    a, b = ((row[:, :1, None] * x + row[:, 1:, None] * y) for row in occluders.axes.unbind(1))
    if number == _EDGE:
        return a
    if number == _BAR:
        return a.abs()
    if number == _BOX:
        return torch.maximum(a.abs(), b.abs())
    radius = (a * a + b * b).sqrt()
    if number == _ELLIPSE:
        return radius
    turn = torch.atan2(b, a)
    first, second, third = occluders.waves[:, :, None, None].unbind(1)
    rim = 1 + 0.2 * (2 * turn + first).sin() + 0.15 * (5 * turn + second).sin() + 0.1 * (9 * turn + third).sin()
    return radius / rim


def _level(values: Tensor, share: float) -> Tensor:
    """The value that a share of the values (K,) is below; minus infinity without any."""
    place = round(share * len(values))
    if place == 0:
        return values.new_tensor(-torch.inf)
    return values.kthvalue(min(place + 1, len(values))).values


def _extent(person: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left, top, right and bottom (M,) of the pixels of people; the middle of the picture without any."""
    height, width = person.shape[-2:]
    left, right = _ends(person.any(1), width)
    top, bottom = _ends(person.any(2), height)
    return left, top, right, bottom


def _ends(seen: Tensor, size: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(size, device=seen.device, dtype=torch.float32)
    empty = ~seen.any(-1)
    low = torch.where(seen, place, torch.inf).amin(-1).masked_fill(empty, size / 2)
    high = torch.where(seen, place, -torch.inf).amax(-1).masked_fill(empty, size / 2)
    return low, high
