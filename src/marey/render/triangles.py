"""Triangles on their way to the picture: rounded to sub-pixels, and only those that can cover a pixel centre.

Everything that decides which pixel belongs to which triangle is done in whole sub-pixels, hence exactly: no rounding
makes a gap or an overlap at an edge that two triangles share, nor a result that depends on the batch or the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SUBPIXELS = 256
"""Corners are rounded to this fraction of a pixel before anything else; a power of two."""
FARTHEST = 2**21
"""Pixels: corners farther from the picture's origin are moved to this distance along the line to it. Products of such
coordinates still fit into 64 bits."""
SMALL = 32
"""Pixels: triangles that extend less are worked on in 32 bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Triangles:
    """M triangles that may cover a pixel centre, of any views; corners lie along the first dimension."""

    x: Tensor
    """(3, M) float32, whole sub-pixels; exact for triangles that extend less than SMALL."""
    y: Tensor
    inverse_depth: Tensor
    """(3, M) float64, one over metres."""
    face: Tensor
    """(M,) int64."""
    view: Tensor
    """(M,) int64."""
    corner: Tensor
    """(3, M) int64, places in the vertices as (N * B,)."""
    first_x: Tensor
    """(M,) float32: the first column of pixel centres within the box around the triangle, and so on."""
    last_x: Tensor
    first_y: Tensor
    last_y: Tensor
    small: Tensor
    """(M,) boolean: extends less than SMALL pixels in both directions."""


def snap(coordinates: Tensor) -> Tensor:
    """Round pixel coordinates (2, ...) to whole sub-pixels, in the given precision; corners far away come nearer."""
    x, y = coordinates.abs()
    nearer = (FARTHEST / torch.maximum(x, y)).clamp_(max=1.0)  # infinite coordinates become NaN
    return (coordinates * nearer).mul_(SUBPIXELS).round_()


def gather_triangles(vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float, cull: bool) -> Triangles:
    """Find the triangles that may cover a pixel centre.

    Args:
        vertices: (B, N, 3), pixels and depth. NaN and infinite ones take their faces along.
        faces: (F, 3).
        size: rows and columns of the picture.
        near: faces with a corner that is not farther are left out.
        cull: leave out faces seen from behind.
    """
    views = len(vertices)
    planes = vertices.permute(2, 1, 0).contiguous()  # views last: one row holds a vertex in all views
    depth = planes[2]
    seen = (depth > near) & (depth < torch.inf)
    snapped = torch.where(seen, snap(planes[:2]), torch.nan).float()
    corners = faces.t().contiguous()
    x, y = (_rows(plane, corners.reshape(-1)).view(3, -1) for plane in snapped)
    kept = torch.nonzero(_may_cover(x, y, size, cull))[:, 0]
    face = kept // views
    view = kept - face * views
    corner = corners.index_select(1, face) * views + view
    inverse_depth = depth.double().reciprocal().view(-1).index_select(0, corner.view(-1)).view(3, -1)
    return _boxed(x.index_select(1, kept), y.index_select(1, kept), size, (inverse_depth, face, view, corner))


def _rows(plane: Tensor, index: Tensor) -> Tensor:
    """Rows of a plane (N, B); with one view a faster kernel does it."""
    return plane[:, 0].index_select(0, index) if plane.shape[1] == 1 else plane.index_select(0, index)


def _may_cover(x: Tensor, y: Tensor, size: tuple[int, int], cull: bool) -> Tensor:
    """Whether the boxes around triangles (3, M) hold a pixel centre of the picture; NaN ones do not."""
    (first_x, last_x), (first_y, last_y) = _centres(x, size[1]), _centres(y, size[0])
    may = (last_x >= first_x) & (last_y >= first_y)
    if cull:
        # Rounding keeps the order of the two products or makes them equal: no face seen from the front is lost here,
        # and the few others that stay cover no pixel.
        may &= (x[1] - x[0]) * (y[2] - y[0]) <= (x[2] - x[0]) * (y[1] - y[0])
    return may


def _centres(coordinates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first and last of `count` pixel centres between the smallest and largest of three coordinates (3, M)."""
    first = coordinates.amin(0).mul_(1 / SUBPIXELS).ceil_().clamp_(min=0)
    return first, coordinates.amax(0).mul_(1 / SUBPIXELS).floor_().clamp_(max=count - 1)


def _boxed(x: Tensor, y: Tensor, size: tuple[int, int], rest: tuple[Tensor, Tensor, Tensor, Tensor]) -> Triangles:
    (first_x, last_x), (first_y, last_y) = _centres(x, size[1]), _centres(y, size[0])
    extent = torch.maximum(x.amax(0) - x.amin(0), y.amax(0) - y.amin(0))
    inverse_depth, face, view, corner = rest
    return Triangles(
        x=x,
        y=y,
        inverse_depth=inverse_depth,
        face=face,
        view=view,
        corner=corner,
        first_x=first_x,
        last_x=last_x,
        first_y=first_y,
        last_y=last_y,
        small=extent < SMALL * SUBPIXELS,
    )
