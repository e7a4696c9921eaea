"""Pictures that are smooth in the vertices: borders between what is near and what is far, to a fraction of a pixel.

A picture of pixel centres changes in jumps when a vertex moves, so the derivative of a silhouette is zero. Here the
border is found where it runs between two neighbouring pixel centres, and the one whose square it cuts takes its share
of the other's colour; the derivative is that of the area covered. The blending is that of Laine et al., "Modular
primitives for high-performance differentiable rendering", 2020, section 3.6, who look for the border among the edges of
the two faces seen and so need faces larger than pixels. Here it is found from the edges of the mesh where the surface
turns away from the camera or ends, cut with the rows and columns of pixel centres: faces may be as small as they like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core.errors import ShapeError
from marey.render.fragments import Fragments
from marey.render.rasterize import MAX_SIDE
from marey.render.triangles import rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class MeshEdges:
    """The E edges of a mesh; made once for each table of faces, by `mesh_edges`."""

    vertex: Tensor
    """(E, 2) int64."""
    face: Tensor
    """(E, 2) int64: the faces on both sides; -1 for the second where the surface ends."""
    opposite: Tensor
    """(E, 2) int64: the vertex of each face that is not on the edge; -1 likewise."""

    def to(self, device: torch.device | str) -> MeshEdges:
        """A copy on a device."""
        return MeshEdges(vertex=self.vertex.to(device), face=self.face.to(device), opposite=self.opposite.to(device))


def mesh_edges(faces: Tensor) -> MeshEdges:
    """Find which faces (F, 3) meet at which edges. Of more than two at one edge, two at a time are neighbours."""
    count = len(faces)
    start, end = faces[:, [1, 2, 0]].reshape(-1), faces[:, [2, 0, 1]].reshape(-1)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    span = int(faces.max()) + 1 if count else 1
    key, order = (low * span + high).sort(stable=True)
    fresh = torch.cat((key.new_ones(min(1, len(key)), dtype=torch.bool), key[1:] != key[:-1]))
    place = torch.arange(len(key), device=faces.device)
    run = torch.where(fresh, place, 0).cummax(0).values if len(key) else place
    first = (place - run) % 2 == 0
    paired = torch.cat((first[:-1] & (key[1:] == key[:-1]), first[:0].new_zeros(min(1, len(key)))))
    lead = order[first]
    follow = torch.where(paired, order.roll(-1), -1)[first]
    corner = faces.reshape(-1)
    return MeshEdges(
        vertex=torch.stack((low[lead], high[lead]), -1),
        face=torch.stack((lead // 3, torch.where(follow >= 0, follow // 3, -1)), -1),
        opposite=torch.stack((corner[lead], torch.where(follow >= 0, corner[follow], -1)), -1),
    )


def silhouette(fragments: Fragments, vertices: Tensor, faces: Tensor, edges: MeshEdges | None = None) -> Tensor:
    """How much of every pixel (..., H, W) the mesh covers, differentiable in the vertices.

    1 inside, 0 outside, between them at the border. The sum is the area, and its derivative that of the area. Where two
    borders meet in one pixel it may leave 0..1 a little.

    Args and errors: see `antialias`.
    """
    mask = fragments.mask.to(vertices.dtype)[..., None]
    return antialias(mask, fragments, (vertices, faces), edges)[..., 0]


def antialias(
    image: Tensor, fragments: Fragments, mesh: tuple[Tensor, Tensor], edges: MeshEdges | None = None
) -> Tensor:
    """Blend pixels at the borders of what is near before what is far by the area that each covers.

    Args:
        image: (..., H, W, C) of the fragments, the background included.
        fragments: from `rasterize` with the mesh given here.
        mesh: vertices (..., N, 3), pixels and depth, and faces (F, 3): those rasterised, for cameras
            `project_mesh(vertices, cameras)`. Edges of faces that cross the near plane are not smooth.
        edges: of the faces, from `mesh_edges`, to find them once; None: found here.

    Returns:
        (..., H, W, C), differentiable in the image and the vertices. Structures thinner than a pixel, which no pixel
        centre meets, stay unseen.

    Raises:
        ShapeError: the image is not of the size of the fragments, or the vertices are of another batch.
    """
    vertices, faces = mesh
    shape = tuple(fragments.face.shape)
    if tuple(image.shape[:-1]) != shape:
        raise ShapeError(f"image: expected {(*shape, 'C')} as the fragments, got {tuple(image.shape)}")
    edges = mesh_edges(faces) if edges is None else edges
    contour = _contour(_of_pictures(vertices, shape[:-2]), faces, edges)
    pixels = image.reshape(-1, image.shape[-1])
    result = pixels
    for across in (0, 1):
        target, source, weight = _crossings(contour, fragments, across)
        inner, outer = pixels.index_select(0, target), pixels.index_select(0, source)
        place = torch.where(weight > 0, source, target)
        result = result.index_add(0, place, weight.to(image.dtype)[:, None] * (inner - outer))
    return result.view(image.shape)


def _of_pictures(vertices: Tensor, batch: tuple[int, ...]) -> Tensor:
    """Vertices (B, N, 3) of each picture, their pixels rounded as they are drawn."""
    leading = (1,) * (len(batch) + 2 - vertices.ndim) + tuple(vertices.shape[:-2])
    if len(leading) != len(batch) or any(have not in (1, need) for have, need in zip(leading, batch, strict=True)):
        raise ShapeError(
            f"vertices: expected (N, 3) or {(*batch, 'N', 3)} as the fragments, got {tuple(vertices.shape)}"
        )
    own = torch.cat((rounded(vertices[..., :2].movedim(-1, 0)).movedim(0, -1), vertices[..., 2:]), -1)
    return own.expand(*batch, *own.shape[-2:]).reshape(math.prod(batch), *own.shape[-2:])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Contour:
    """K edges of pictures where the surface turns away or ends."""

    view: Tensor
    """(K,) int64."""
    ends: Tensor
    """(2, K, 3) pixels and depth."""
    inside: Tensor
    """(K, 2) a point in the picture on the side that is covered."""

    def take(self, index: Tensor) -> _Contour:
        """Some of them, once or several times."""
        return _Contour(view=self.view[index], ends=self.ends[:, index], inside=self.inside[index])


def _contour(vertices: Tensor, faces: Tensor, edges: MeshEdges) -> _Contour:
    fixed = vertices.detach()
    a, b, c = (fixed.index_select(1, corner)[..., :2].unbind(-1) for corner in faces.unbind(-1))
    area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    # 2 seen from the front, 1 from behind, 0 not at all
    shown = torch.where(area < 0, 2, (area > 0).to(torch.int8))
    first, second = edges.face.unbind(-1)
    one = shown.index_select(1, first)
    two = torch.where(second >= 0, shown.index_select(1, second.clamp(min=0)), 0)
    view, edge = torch.nonzero(one != two).unbind(-1)
    # the covered side is that of the face seen from the front, or else of the only one seen
    opposite = edges.opposite[edge].gather(1, (two > one)[view, edge].to(torch.int64)[:, None])[:, 0]
    start = view * vertices.shape[1]
    ends = edges.vertex[edge].t() + start
    return _Contour(
        view=view,
        ends=vertices.reshape(-1, 3).index_select(0, ends.reshape(-1)).view(2, -1, 3),
        inside=fixed.reshape(-1, 3).index_select(0, opposite + start)[:, :2],
    )


def _crossings(contour: _Contour, fragments: Fragments, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where borders run between neighbours in a row (across = 0) or column (1).

    Returns:
        The pixel on the covered side (n,), its neighbour (n,), and how far beyond the middle between them the border
        lies (n,), in -0.5..0.5 and differentiable.
    """
    with torch.no_grad():
        edge, line = _lines_met(contour, 1 - across, fragments.size[across])
        met = contour.take(edge)
        cell, inner, outer = _neighbours(met, line, fragments.size, across)
        nearer = _is_nearer(met, line, fragments, (inner, outer, across))
        higher = inner > outer
        where = _meeting(met.ends, line, across)[0]
        chosen = _outermost(nearer, outer * 2 + higher, torch.where(higher, -where, where))
        # where the outermost border is too flat for this direction, the other one has it
        step = (met.ends[1] - met.ends[0]).abs()
        flat = step[:, 1 - across] <= step[:, across] if across == 0 else step[:, 0] < step[:, 1]
        chosen = chosen[~flat[chosen]]
    where = _meeting(contour.ends[:, edge[chosen]], line[chosen], across)[0]
    beyond = where - cell[chosen]
    return inner[chosen], outer[chosen], torch.where(higher[chosen], 0.5 - beyond, beyond - 0.5)


def _lines_met(contour: _Contour, along: int, lines: int) -> tuple[Tensor, Tensor]:
    """Each contour edge with every row (along = 1) or column (0) of pixel centres that it meets: edge and line (n,)."""
    ends = contour.ends[..., along]
    first, stop = (end.clamp(-1, lines).ceil().clamp(min=0, max=lines) for end in (ends.amin(0), ends.amax(0)))
    known = contour.ends.isfinite().all(-1).all(0)
    count = torch.where(known, stop - first, 0).to(torch.int64)
    edge = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    offset = torch.arange(len(edge), device=count.device) - (count.cumsum(0) - count)[edge]
    return edge, first[edge] + offset


def _meeting(ends: Tensor, line: Tensor, across: int) -> tuple[Tensor, Tensor]:
    """Where edges (2, n, 3) meet lines (n,), along the line, and how far along the edge, 0..1."""
    start, end = ends
    share = (line - start[:, 1 - across]) / (end[:, 1 - across] - start[:, 1 - across])
    return start[:, across] + share * (end[:, across] - start[:, across]), share


def _neighbours(met: _Contour, line: Tensor, size: tuple[int, int], across: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels that a border runs between: place of the lower one on its line, the covered one, the other one.

    Both pixels are the first of all where one of them is beyond the picture.
    """
    rows, columns = size
    # a border on a centre runs before it: the centre belongs to a left or top edge, and to no right or bottom edge
    cell = (_meeting(met.ends, line, across)[0].ceil() - 1).clamp(-1, MAX_SIDE).to(torch.int64)
    step, beside = (met.ends[1] - met.ends[0])[:, :2], met.inside - met.ends[0, :, :2]
    turn = step[:, 0] * beside[:, 1] - step[:, 1] * beside[:, 0]
    ahead = step[:, 0] if across else -step[:, 1]  # the same for a point farther along the line
    higher = (turn > 0) == (ahead > 0)
    stride, pitch = (columns, 1) if across else (1, columns)
    base = met.view * rows * columns + cell * stride + line.to(torch.int64) * pitch
    within = (cell >= 0) & (cell < (rows if across else columns) - 1)
    inner, outer = base + higher * stride, base + ~higher * stride
    return cell, torch.where(within, inner, 0), torch.where(within, outer, 0)


def _is_nearer(met: _Contour, line: Tensor, fragments: Fragments, pair: tuple[Tensor, Tensor, int]) -> Tensor:
    """Whether a border is before what its outer pixel sees, and the inner one sees something nearer than that."""
    inner, outer, across = pair
    share = _meeting(met.ends, line, across)[1]
    depth = 1 / ((1 - share) / met.ends[0, :, 2] + share / met.ends[1, :, 2])
    seen = fragments.depth.reshape(-1)
    return (inner != outer) & (depth > 0) & (seen[outer] > depth) & (seen[inner] < seen[outer])


def _outermost(kept: Tensor, pair: Tensor, distance: Tensor) -> Tensor:
    """Of the kept crossings (n,), for each pair of pixels the one farthest from its covered side."""
    index = torch.nonzero(kept)[:, 0]
    names, group = torch.unique(pair[index], return_inverse=True)
    farthest = distance.new_full((len(names),), -torch.inf).scatter_reduce(0, group, distance[index], "amax")
    ties = torch.nonzero(distance[index] == farthest[group])[:, 0]
    first = torch.full_like(names, len(kept))
    return first.scatter_reduce(0, group[ties], index[ties], "amin")
