"""Which pixel centres triangles cover, and the z-buffer that keeps the nearest.

A triangle is tested at the pixel centres of a square that holds its box, triangles of about one size together, so that
few candidates are wasted. A centre on an edge belongs to the triangle whose top or left edge it is; a point on an edge
that two triangles share therefore belongs to one of them. Edge functions are those of Pineda, "A parallel algorithm for
polygon rasterization", 1988.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.render.triangles import SMALL, SUBPIXELS, Triangles, snap

_SIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, SMALL)
"""Pixels, of the squares in which small triangles are tested."""
_EMPTY = (0x7F800000 << 32) | 0xFFFFFFFF
"""Key of a pixel that sees nothing: infinite depth, face -1."""
_CANDIDATES_AT_ONCE = {"cpu": 2**17}
"""Bounds the memory of one step: a few dozen bytes each. On a processor they should stay within its cache."""
_CANDIDATES_ELSEWHERE = 2**24


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
        return cls(keys=torch.full((views * size[0] * size[1],), _EMPTY, device=device), size=size)

    def seen(self) -> tuple[Tensor, Tensor]:
        """The pixels that see something (M,), in order, and the number drawn there (M,), both int64."""
        face = self.keys.view(torch.int32).view(-1, 2)[:, 0]  # the low half of a little-endian integer
        pixel = torch.nonzero(self.keys != _EMPTY)[:, 0]
        return pixel, face.index_select(0, pixel).to(torch.int64)

    def draw(self, triangles: Triangles) -> None:
        """Draw triangles."""
        self._draw_small(triangles)
        large = torch.nonzero(~triangles.small)[:, 0]
        if len(large):
            self._draw_large(triangles, large)

    def _draw_small(self, triangles: Triangles) -> None:
        (first_x, last_x), (first_y, last_y) = triangles.columns, triangles.rows
        span = torch.maximum(last_x - first_x, last_y - first_y)
        span = torch.where(triangles.small, span, torch.inf)
        for smaller, side in zip((0, *_SIDES), _SIDES, strict=False):
            height, width = (min(side, most) for most in self.size)
            group = torch.nonzero((span >= smaller) & (span < side))[:, 0]
            for some in torch.split(group, _at_once(group.device) // (width * height)):
                # moved inwards at the right and lower border, so that the square stays within the picture
                left = first_x.index_select(0, some).clamp_(max=self.size[1] - width)
                top = first_y.index_select(0, some).clamp_(max=self.size[0] - height)
                x = (triangles.x.index_select(1, some) - left * SUBPIXELS).to(torch.int32)
                y = (triangles.y.index_select(1, some) - top * SUBPIXELS).to(torch.int32)
                edges = _edges(_lines(x, y, triangles.two_sided), width, height)
                self._keep_nearest(triangles, some, edges, (left.to(torch.int64), top.to(torch.int64), width))

    def _draw_large(self, triangles: Triangles, large: Tensor) -> None:
        height, width = (min(SMALL, most) for most in self.size)
        for some, left, top in _tiles(triangles, large):
            corners = triangles.corner.index_select(1, some)
            where = snap(triangles.coordinates.index_select(1, corners.view(-1))).to(torch.int64).view(2, 3, -1)
            lines = _lines(where[0] - left * SUBPIXELS, where[1] - top * SUBPIXELS, triangles.two_sided)
            met = torch.nonzero(_meets(lines, width, height))[:, 0]
            for part in torch.split(met, _at_once(met.device) // (width * height)):
                edges = _edges(lines.index_select(2, part), width, height)
                square = (left.index_select(0, part), top.index_select(0, part), width)
                self._keep_nearest(triangles, some.index_select(0, part), edges, square)

    def _keep_nearest(
        self, triangles: Triangles, some: Tensor, edges: Tensor, square: tuple[Tensor, Tensor, int]
    ) -> None:
        """Enter what is covered.

        Args:
            triangles: all of them.
            some: (m,) those tested.
            edges: (3, h * w, m) from `_edges`.
            square: where the tested squares begin, columns and rows (m,), and their width.
        """
        left, top, width = square
        covered = torch.nonzero(((edges[0] | edges[1] | edges[2]) >= 0).view(-1))[:, 0]
        place = covered // len(some)
        which = covered - place * len(some)
        triangle = some.index_select(0, which)
        # halving takes the owner's bit out again; the three areas weight the opposite corners
        areas = ((edges.view(3, -1).index_select(1, covered) + 1) >> 1).double()
        inverse = triangles.inverse_depth.index_select(1, triangle)
        weighted = areas * inverse
        depth = (areas[0] + areas[1] + areas[2]) / (weighted[0] + weighted[1] + weighted[2])
        row = triangles.view.index_select(0, triangle) * self.size[0] + top.index_select(0, which) + place // width
        pixel = row * self.size[1] + left.index_select(0, which) + place % width
        key = (depth.float().view(torch.int32).to(torch.int64) << 32) | triangles.face.index_select(0, triangle)
        self.keys.scatter_reduce_(0, pixel, key, "amin")


def _lines(x: Tensor, y: Tensor, two_sided: bool) -> Tensor:
    """Build the edge functions of triangles, each opposite to a corner.

    Args:
        x: (3, m) corners in sub-pixels from some pixel centre, of the integer type that the work is done in.
        y: likewise.
        two_sided: make the inside positive for faces seen from behind too.

    Returns:
        (3, 3, m): the value at that centre, four times the area of the triangle of the centre and the edge in square
        sub-pixels and less 1 where a centre on the edge belongs to the neighbour; the steps to the right and down.
    """
    from_x, from_y = x.roll(-1, 0), y.roll(-1, 0)
    along_x, along_y = x.roll(-2, 0) - from_x, y.roll(-2, 0) - from_y
    start = along_x * from_y - along_y * from_x
    if two_sided:
        turn = (start[0] + start[1] + start[2]).sign()  # of the area
        along_x, along_y, start = along_x * turn, along_y * turn, start * turn
    owned = (along_y > 0) | ((along_y == 0) & (along_x < 0))  # a left edge goes down, a top edge to the left
    return torch.stack((2 * start - 1 + owned, 2 * SUBPIXELS * along_y, -2 * SUBPIXELS * along_x))


def _edges(lines: Tensor, width: int, height: int) -> Tensor:
    """Edge functions (3, 3, m) of `_lines` at all centres of squares, (3, height * width, m).

    A centre is covered where none of its three is negative.
    """
    start, right, down = lines[:, :, None]
    across = torch.arange(width, dtype=lines.dtype, device=lines.device)[:, None]
    along = torch.arange(height, dtype=lines.dtype, device=lines.device)[:, None]
    rows = start + down * along
    return torch.add(rows[:, :, None], (right * across)[:, None]).view(3, height * width, -1)


def _meets(lines: Tensor, width: int, height: int) -> Tensor:
    """Whether no edge has a whole square on its outer side, (m,)."""
    start, right, down = lines
    most = start + right.clamp(min=0) * (width - 1) + down.clamp(min=0) * (height - 1)
    return torch.ge(most[0] | most[1] | most[2], 0)


def _tiles(triangles: Triangles, large: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut the boxes around large triangles into tiles: triangle, left and top (n,), some at a time."""
    height, width = triangles.size
    most = -(-height // SMALL) * -(-width // SMALL)
    borders = (*triangles.columns, *triangles.rows)
    for some in torch.split(large, max(1, _at_once(large.device) // most)):
        first_x, last_x, first_y, last_y = ((border[some] // SMALL).to(torch.int64) for border in borders)
        across = last_x - first_x + 1
        count = across * (last_y - first_y + 1)
        owner = torch.repeat_interleave(torch.arange(len(some), device=some.device), count)
        tile = torch.arange(len(owner), device=some.device) - (count.cumsum(0) - count)[owner]
        left = (first_x[owner] + tile % across[owner]) * SMALL
        top = (first_y[owner] + tile // across[owner]) * SMALL
        # a tile at the border is moved inwards; drawing a pixel twice does no harm
        yield some[owner], left.clamp_(max=max(0, width - SMALL)), top.clamp_(max=max(0, height - SMALL))


def _at_once(device: torch.device) -> int:
    return _CANDIDATES_AT_ONCE.get(device.type, _CANDIDATES_ELSEWHERE)
