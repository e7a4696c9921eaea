"""The skin as triangles: quads split alike on both sides, the mouth (and on request the eyes) taken out and closed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles over the vertices of the source, which keep their numbers."""

    faces: Indices
    """(F, 3) into the vertices, counter-clockwise from outside."""
    uv_faces: Indices
    """(F, 3) into the texture coordinates."""
    labels: NDArray[np.int64]
    """(F,) which region a face belongs to."""

    @property
    def used(self) -> Indices:
        """The vertices that faces use, ascending."""
        return np.unique(self.faces)


def triangles(quads: Mesh, places: Points, mirror: Indices) -> Mesh:
    """Split quads (F, 4) along the shorter diagonal, those of the right side as their mirror images on the left.

    Args:
        quads: faces of four corners.
        places: (M, 3) of the vertices, symmetric about x = 0.
        mirror: (M,) the counterpart of every vertex.
    """
    number = {frozenset(quad): place for place, quad in enumerate(quads.faces.tolist())}
    split: list[list[list[int]]] = []
    for place, quad in enumerate(quads.faces):
        other = number[frozenset(mirror[quad].tolist())]
        left = places[quad, 0].sum() > 0 or other == place
        split.append(_split(quad if left else mirror[quads.faces[other]], places, left))
    order = [_corners(quad.tolist(), pair) for quad, pair in zip(quads.faces, split, strict=True)]
    rows = np.arange(len(quads.faces))[:, None, None]
    corners = np.array(order)  # (F, 2, 3)
    return Mesh(
        faces=quads.faces[rows, corners].reshape(-1, 3),
        uv_faces=quads.uv_faces[rows, corners].reshape(-1, 3),
        labels=np.repeat(quads.labels, 2),
    )


def _split(quad: Indices, places: Points, left: bool) -> list[list[int]]:
    """Two triangles of vertices; on the right side `quad` is the mirror image of the left one, turned the other way."""
    a, b, c, d = (int(corner) for corner in quad)
    first = float(np.linalg.norm(places[a] - places[c]))
    second = float(np.linalg.norm(places[b] - places[d]))
    pair = [[a, b, c], [a, c, d]] if first <= second else [[a, b, d], [b, c, d]]
    return pair if left else [triangle[::-1] for triangle in pair]


def _corners(quad: list[int], pair: list[list[int]]) -> list[list[int]]:
    return [[quad.index(vertex) for vertex in triangle] for triangle in pair]


def closed_without(mesh: Mesh, region: int, places: Points) -> Mesh:
    """Take a region out whose border is one loop, and close it as lids do: strips between an upper and a lower rim.

    Args:
        mesh: closed.
        region: label of the faces that go.
        places: (M, 3) of the vertices; the corners of the lids are the ends of the loop along x.
    """
    gone = mesh.labels == region
    kept = Mesh(faces=mesh.faces[~gone], uv_faces=mesh.uv_faces[~gone], labels=mesh.labels[~gone])
    lid = np.array(_lid(loop_of(mesh.faces[gone]), places))
    uv = dict(zip(kept.faces.ravel().tolist(), kept.uv_faces.ravel().tolist(), strict=True))
    return Mesh(
        faces=np.concatenate((kept.faces, lid)),
        uv_faces=np.concatenate((kept.uv_faces, np.vectorize(uv.__getitem__)(lid))),
        labels=np.concatenate((kept.labels, np.zeros(len(lid), dtype=np.int64))),
    )


def without(mesh: Mesh, region: int) -> Mesh:
    """Take a region out that hangs on nothing else."""
    kept = mesh.labels != region
    return Mesh(faces=mesh.faces[kept], uv_faces=mesh.uv_faces[kept], labels=mesh.labels[kept])


def loop_of(faces: Indices) -> list[int]:
    """The border of faces, in the direction of their edges."""
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError(f"expected a region with one border, got more than the loop of {len(loop)} edges")
    return loop


def _lid(loop: list[int], places: Points) -> list[list[int]]:
    """Triangles that fill a loop and keep its direction, between the two rims that join its ends along x."""
    x = places[loop, 0]
    loop = loop[int(x.argmin()) :] + loop[: int(x.argmin())]
    turn = int(places[loop, 0].argmax())
    one, other = loop[: turn + 1], [loop[0], *loop[:turn:-1], loop[turn]]
    made, i, k = [], 0, 0
    while i < len(one) - 1 or k < len(other) - 1:
        last = i == len(one) - 1
        if k == len(other) - 1 or (not last and places[one[i + 1], 0] <= places[other[k + 1], 0]):
            made.append([one[i], one[i + 1], other[k]])
            i += 1
        else:
            made.append([one[i], other[k + 1], other[k]])
            k += 1
    return [triangle for triangle in made if len(set(triangle)) == 3]
