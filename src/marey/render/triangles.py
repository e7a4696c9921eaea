"""Triangles on their way to the picture: rounded to sub-pixels, and only those that can cover a pixel centre.

Everything that decides which pixel belongs to which triangle is done in whole sub-pixels, hence exactly: no rounding
makes a gap or an overlap at an edge that two triangles share, nor a result that depends on the batch or the threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
    """M triangles of any views that may cover a pixel centre; corners lie along the first dimension."""

    xy: Tensor
    """(2, 3, M) float32, whole sub-pixels; exact for triangles that are small."""
    inverse_depth: Tensor
    """(3, M) float64, one over metres."""
    face: Tensor
    """(M,) int64, the number that is drawn."""
    view: Tensor
    """(M,) int64."""
    corner: Tensor
    """(3, M) int64, columns of `coordinates`."""
    coordinates: Tensor
    """(2, P) columns and rows of all corners there are, pixels, as they were given."""
    size: tuple[int, int]
    """Rows and columns of the pictures."""
    two_sided: bool
    """Whether those seen from behind are drawn too; if not, a few may still be here."""

    @cached_property
    def box(self) -> tuple[Tensor, Tensor]:
        """The first and last column and row (2, M) float32 of the pixel centres within the box around each."""
        return _centres(self.xy, self.size)

    @cached_property
    def small(self) -> Tensor:
        """(M,) boolean, those that extend less than SMALL pixels in both directions."""
        extent = self.xy.amax(1) - self.xy.amin(1)
        return extent.amax(0) < SMALL * SUBPIXELS


def snap(coordinates: Tensor) -> Tensor:
    """Round pixel coordinates (2, ...) to whole sub-pixels, in the given precision; corners far away come nearer."""
    x, y = coordinates.abs()
    nearer = (FARTHEST / torch.maximum(x, y)).clamp_(max=1.0)  # infinite coordinates become NaN
    return (coordinates * nearer).mul_(SUBPIXELS).round_()


def rounded(coordinates: Tensor) -> Tensor:
    """Pixel coordinates (2, ...) where they are drawn: rounded, with the derivative of the coordinates themselves."""
    fixed = coordinates.detach()
    return coordinates + (snap(fixed) / SUBPIXELS - fixed)


def gather_triangles(vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float, cull: bool) -> Triangles:
    """Find the triangles of a mesh that may cover a pixel centre.

    Args:
        vertices: (B, N, 3), pixels and depth. NaN and infinite ones take their faces along.
        faces: (F, 3).
        size: rows and columns of the picture.
        near: faces with a corner that is not farther are left out.
        cull: leave out faces seen from behind.
    """
    views = len(vertices)
    planes = vertices.permute(2, 1, 0).contiguous()  # views last: one row holds a vertex in all views
    corners = faces.t().reshape(-1)
    xy = torch.stack([_rows(plane, corners).view(3, -1) for plane in _visible(planes, near)])
    kept = torch.nonzero(_may_cover(xy, size, cull))[:, 0]
    face = kept // views
    view = kept - face * views
    corner = faces.t().index_select(1, face) * views + view
    return Triangles(
        xy=xy.index_select(2, kept),
        inverse_depth=planes[2].reshape(-1).index_select(0, corner.view(-1)).double().reciprocal().view(3, -1),
        face=face,
        view=view,
        corner=corner,
        coordinates=planes[:2].view(2, -1),
        size=size,
        two_sided=not cull,
    )


def loose_triangles(corners: Tensor, names: tuple[Tensor, Tensor], size: tuple[int, int], *, cull: bool) -> Triangles:
    """Find those of separate triangles that may cover a pixel centre.

    Args:
        corners: (3, K, 3), pixels and depth; those that are NaN or not in front of the camera are left out.
        names: (K,) face and view of each.
        size: rows and columns of the picture.
        cull: leave out faces seen from behind.
    """
    planes = corners.permute(2, 0, 1)
    xy = _visible(planes, 0.0)
    kept = torch.nonzero(_may_cover(xy, size, cull))[:, 0]
    face, view = names
    corner = torch.arange(corners[..., 0].numel(), device=kept.device).view(3, -1)
    return Triangles(
        xy=xy.index_select(2, kept),
        inverse_depth=planes[2].index_select(1, kept).double().reciprocal(),
        face=face.index_select(0, kept),
        view=view.index_select(0, kept),
        corner=corner.index_select(1, kept),
        coordinates=planes[:2].reshape(2, -1),
        size=size,
        two_sided=not cull,
    )


def _visible(planes: Tensor, near: float) -> Tensor:
    """Sub-pixels (2, ...) in float32 of pixels and depth (3, ...); NaN where nothing is drawn."""
    depth = planes[2]
    return torch.where((depth > near) & (depth < torch.inf), snap(planes[:2]), torch.nan).float()


def _rows(plane: Tensor, index: Tensor) -> Tensor:
    """Rows of a plane (N, B); with one view a faster kernel does it."""
    return plane[:, 0].index_select(0, index) if plane.shape[1] == 1 else plane.index_select(0, index)


def _may_cover(xy: Tensor, size: tuple[int, int], cull: bool) -> Tensor:
    """Whether the boxes around triangles (2, 3, M) hold a pixel centre of the picture; NaN ones do not."""
    first, last = _centres(xy, size)
    may = (last >= first).all(0)
    if cull:
        # Rounding keeps the order of the two products or makes them equal: no face seen from the front is lost here.
        # The few others that stay are found out when the edge functions are negative everywhere.
        (one, two), (three, four) = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
        may &= one * four <= three * two
    return may


def _centres(xy: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first and last column and row (2, M) of pixel centres between the corners (2, 3, M)."""
    last = xy.amax(1).mul_(1 / SUBPIXELS).floor_()
    for axis, count in enumerate(reversed(size)):
        last[axis].clamp_(max=count - 1)
    return xy.amin(1).mul_(1 / SUBPIXELS).ceil_().clamp_(min=0), last
