"""Which pixel centres triangles cover, and the z-buffer that keeps the nearest.

A triangle is tested at the pixel centres of a square that holds its box, triangles of about one size together, so that
few candidates are wasted. A centre on an edge belongs to the triangle whose top or left edge it is; a point on an edge
that two triangles share therefore belongs to one of them. Edge functions are those of Pineda, "A parallel algorithm for
polygon rasterization", 1988.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.render.triangles import SMALL, SUBPIXELS, Triangles, snap

_SIDES = (2, 4, 8, 16, SMALL)
"""Pixels, of the squares in which small triangles are tested."""
_WIDEST = {torch.int32: 2**14, torch.int64: 2**31}
"""More than any edge is long, in sub-pixels, where the work is done in that type."""
_EMPTY = (0x7F800000 << 32) | 0xFFFFFFFF
"""Key of a pixel that sees nothing: infinite depth, face -1."""
_CANDIDATES_AT_ONCE = {"cpu": 2**17}
"""Bounds the memory of one step: a few dozen bytes each. On a processor they should stay within its cache."""
_CANDIDATES_ELSEWHERE = 2**22


@dataclass(frozen=True, kw_only=True, eq=False)
class ZBuffer:
    """The nearest depth and its face at every pixel of B pictures, packed into one integer a pixel.

    The bits of positive floating-point numbers are ordered as the numbers are, so the smallest key is the nearest depth
    and, among equal depths, the lowest face: the result does not depend on the order of drawing.
    """

    keys: Tensor
    """(B * H * W,) int64: the bits of the depth as float32, then those of the face."""
    size: tuple[int, int]
    """Rows and columns."""

    @classmethod
    def empty(cls, views: int, size: tuple[int, int], device: torch.device) -> ZBuffer:
        """Nothing seen yet."""
        return cls(keys=torch.full((views * math.prod(size),), _EMPTY, device=device), size=size)

    @property
    def views(self) -> int:
        """B."""
        return len(self.keys) // math.prod(self.size)

    def cleared(self, views: int) -> ZBuffer:
        """The same memory for some pictures, with nothing seen yet."""
        keys = self.keys[: views * math.prod(self.size)]
        return replace(self, keys=keys.fill_(_EMPTY))

    def dense(self) -> tuple[Tensor, Tensor]:
        """The number drawn (B * H * W,) int32, -1 for none, and its depth (B * H * W,) float32, infinite for none."""
        face = self.keys.view(torch.int32).view(-1, 2)[:, 0]  # the low half of a little-endian integer
        return face, self.keys.view(torch.float32).view(-1, 2)[:, 1]

    def seen(self) -> tuple[Tensor, Tensor]:
        """The pixels that see something (M,), in order, and the number drawn there (M,), both int64."""
        pixel = torch.nonzero(self.keys != _EMPTY)[:, 0]
        return pixel, self.dense()[0].index_select(0, pixel).to(torch.int64)

    def draw(self, triangles: Triangles) -> None:
        """Draw triangles."""
        self._draw_small(triangles)
        large = torch.nonzero(~triangles.small)[:, 0]
        if len(large):
            self._draw_large(triangles, large)

    def _draw_small(self, triangles: Triangles) -> None:
        first, last = triangles.box
        span = torch.where(triangles.small, (last - first).amax(0), torch.inf)
        for smaller, side in zip((0, *_SIDES), _SIDES, strict=False):
            height, width = (min(side, most) for most in self.size)
            group = torch.nonzero((span >= smaller) & (span < side))[:, 0]
            for some in torch.split(group, _at_once(group.device) // (width * height)):
                corner = first.index_select(1, some)
                # moved inwards at the right and lower border, so that the square stays within the picture
                corner[0].clamp_(max=self.size[1] - width)
                corner[1].clamp_(max=self.size[0] - height)
                xy = (triangles.xy.index_select(2, some) - corner[:, None] * SUBPIXELS).to(torch.int32)
                edges = _edges(_lines(xy, triangles.two_sided), width, height)
                places = self._places(triangles.view.index_select(0, some), corner, (height, width))
                self._keep_nearest(triangles, some, edges, places)

    def _draw_large(self, triangles: Triangles, large: Tensor) -> None:
        height, width = (min(SMALL, most) for most in self.size)
        for some, corner in _tiles(triangles, large):
            corners = triangles.corner.index_select(1, some)
            xy = snap(triangles.coordinates.index_select(1, corners.view(-1))).to(torch.int64).view(2, 3, -1)
            lines = _lines(xy - corner[:, None] * SUBPIXELS, triangles.two_sided)
            met = torch.nonzero(_meets(lines, width, height))[:, 0]
            for part in torch.split(met, _at_once(met.device) // (width * height)):
                which, edges = some[part], _edges([line[:, part] for line in lines], width, height)
                places = self._places(triangles.view[which], corner[:, part], (height, width))
                self._keep_nearest(triangles, which, edges, places)

    def _places(self, view: Tensor, corner: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Where squares are among the keys.

        Args:
            view: (m,).
            corner: (2, m) column and row of the first centre of each.
            shape: height and width of all.

        Returns:
            The place of each first centre (m,), and how far behind it all centres are (h * w,).
        """
        left, top = corner.to(torch.int64)
        first = (view * self.size[0] + top) * self.size[1] + left
        steps = torch.arange(max(shape), device=view.device)
        return first, (steps[: shape[0], None] * self.size[1] + steps[: shape[1]]).view(-1)

    def _keep_nearest(self, triangles: Triangles, some: Tensor, edges: Tensor, places: tuple[Tensor, Tensor]) -> None:
        """Enter what is covered.

        Args:
            triangles: all of them.
            some: (m,) those tested.
            edges: (3, h * w, m) from `_edges`.
            places: from `_places`.
        """
        first, steps = places
        covered = torch.nonzero(((edges[0] | edges[1] | edges[2]) >= 0).view(-1))[:, 0]
        step = covered // len(some)
        which = covered - step * len(some)
        triangle = some.index_select(0, which)
        # halving takes the owner's bit out again; the three areas weight the opposite corners
        areas = ((edges.view(3, -1).index_select(1, covered) + 1) >> 1).double()
        weighted = areas * triangles.inverse_depth.index_select(1, triangle)
        depth = (areas[0] + areas[1] + areas[2]) / (weighted[0] + weighted[1] + weighted[2])
        key = (depth.float().view(torch.int32).to(torch.int64) << 32) | triangles.face.index_select(0, triangle)
        self.keys.scatter_reduce_(0, first.index_select(0, which) + steps.index_select(0, step), key, "amin")


def _lines(xy: Tensor, two_sided: bool) -> list[Tensor]:
    """Build the edge functions of triangles, each opposite to a corner.

    Args:
        xy: (2, 3, m) corners in sub-pixels from some pixel centre, of the integer type that the work is done in.
        two_sided: make the inside positive for faces seen from behind too.

    Returns:
        Three of (3, m): the value at that centre, four times the area of the triangle of the centre and the edge in
        square sub-pixels and less 1 where a centre on the edge belongs to the neighbour; the steps right and down.
    """
    around = torch.cat((xy[:, 1:], xy[:, :2]), 1)
    start, end = around[:, :3], around[:, 1:]
    along = end - start
    value = along[0] * start[1] - along[1] * start[0]
    if two_sided:
        turn = (value[0] + value[1] + value[2]).sign()  # of the area
        along, value = along * turn, value * turn
    # a left edge goes down, a top edge to the left: y > 0, or y == 0 and x < 0
    owned = along[1] * _WIDEST[xy.dtype] > along[0]
    right, down = along[1] * (2 * SUBPIXELS), along[0] * (-2 * SUBPIXELS)
    return [2 * value - 1 + owned, right, down]


def _edges(lines: list[Tensor], width: int, height: int) -> Tensor:
    """Edge functions of `_lines` at all centres of squares, (3, height * width, m).

    A centre is covered where none of its three is negative.
    """
    start, right, down = lines
    if width * height == 1:
        return start[:, None]
    steps = torch.arange(max(width, height), dtype=start.dtype, device=start.device)[:, None]
    rows = start[:, None] + down[:, None] * steps[:height]
    across = right[:, None] * steps[:width]
    return torch.add(rows[:, :, None], across[:, None]).view(3, height * width, -1)


def _meets(lines: list[Tensor], width: int, height: int) -> Tensor:
    """Whether no edge has a whole square on its outer side, (m,)."""
    start, right, down = lines
    most = start + right.clamp(min=0) * (width - 1) + down.clamp(min=0) * (height - 1)
    return torch.ge(most[0] | most[1] | most[2], 0)


def _tiles(triangles: Triangles, large: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the boxes around large triangles into tiles: triangle (n,), column and row (2, n), some at a time."""
    rows, columns = triangles.size
    most = -(-rows // SMALL) * -(-columns // SMALL)
    for some in torch.split(large, max(1, _at_once(large.device) // most)):
        first, last = ((border.index_select(1, some) // SMALL).to(torch.int64) for border in triangles.box)
        across, down = last - first + 1
        count = across * down
        owner = torch.repeat_interleave(torch.arange(len(some), device=some.device), count)
        tile = torch.arange(len(owner), device=some.device) - (count.cumsum(0) - count)[owner]
        corner = (first[:, owner] + torch.stack((tile % across[owner], tile // across[owner]))) * SMALL
        # a tile at the border is moved inwards; drawing a pixel twice does no harm
        corner[0].clamp_(max=max(0, columns - SMALL))
        corner[1].clamp_(max=max(0, rows - SMALL))
        yield some[owner], corner


def _at_once(device: torch.device) -> int:
    return _CANDIDATES_AT_ONCE.get(device.type, _CANDIDATES_ELSEWHERE)
