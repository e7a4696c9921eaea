"""Fewer triangles out of the same vertices: quadric error, half-edge collapses, both sides alike.

Garland and Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997, with three constraints: a
vertex only ever moves onto a neighbour, so that skin weights, shapes and texture coordinates are those of the vertices
that stay; the error is that of several people in several poses at once, so joints keep the rings they bend at; and a
seam of the texture only shrinks along itself.
"""

from __future__ import annotations

import heapq

import numpy as np
from mesh import Indices, Mesh
from numpy.typing import NDArray

_FLATTEST = 0.2
"""Cosine of the largest turn of a face's normal in one collapse."""
_THINNEST = 0.02
"""Smallest area of a triangle, in squares of its longest edge."""

Stack = NDArray[np.float64]


class Decimation:
    """A mesh that loses vertices, the cheapest first."""

    def __init__(self, mesh: Mesh, stack: Stack, mirror: Indices) -> None:
        """Start from a closed mesh.

        Args:
            mesh: to decimate.
            stack: (M, P, 3) places of the vertices in P shapes and poses, the first symmetric about x = 0.
            mirror: (M,) the counterpart of every vertex.
        """
        self._faces = {place: tuple(face) for place, face in enumerate(mesh.faces.tolist())}
        self._uv = {place: tuple(face) for place, face in enumerate(mesh.uv_faces.tolist())}
        self._labels = mesh.labels
        self._stack, self._mirror = stack, mirror.tolist()
        self._around: dict[int, set[int]] = {}
        for place, face in self._faces.items():
            for vertex in face:
                self._around.setdefault(vertex, set()).add(place)
        self._quadrics = _quadrics(mesh.faces, stack)
        self._version = dict.fromkeys(self._around, 0)
        self._heap: list[tuple[float, int, int, int]] = []
        for vertex in self._around:
            self._consider(vertex)

    def __len__(self) -> int:
        return len(self._around)

    def mesh(self) -> Mesh:
        """What is left."""
        alive = sorted(self._faces)
        return Mesh(
            faces=np.array([self._faces[place] for place in alive]),
            uv_faces=np.array([self._uv[place] for place in alive]),
            labels=self._labels[alive],
        )

    def shrink(self, vertices: int) -> Mesh:
        """Collapse until so many vertices are left (one more where a pair would not fit), and return the mesh."""
        while len(self) > vertices and self._heap:
            _, version, vertex, onto = heapq.heappop(self._heap)
            if vertex not in self._around or self._version[vertex] != version:
                continue
            if not self._allowed(vertex, onto):
                self._consider(vertex)
                continue
            self._collapse(vertex, onto)
            other, other_onto = self._mirror[vertex], self._mirror[onto]
            if other != vertex and self._allowed(other, other_onto):
                self._collapse(other, other_onto)
        return self.mesh()

    def _neighbours(self, vertex: int) -> set[int]:
        return {corner for face in self._around[vertex] for corner in self._faces[face]} - {vertex}

    def _consider(self, vertex: int) -> None:
        """Put the cheapest collapse of a vertex on the heap; those of the right side follow their mirror images."""
        self._version[vertex] += 1
        if self._stack[vertex, 0, 0] < -1e-9:
            return
        options = [onto for onto in self._neighbours(vertex) if self._keeps_sides(vertex, onto)]
        if not options:
            return
        quadrics = self._quadrics[vertex] + self._quadrics[options]  # (O, P, 4, 4)
        targets = np.concatenate((self._stack[options], np.ones((len(options), self._stack.shape[1], 1))), -1)
        costs = np.einsum("opi,opij,opj->o", targets, quadrics, targets)
        lengths = ((self._stack[options] - self._stack[vertex]) ** 2).sum((1, 2))
        costs += _ROUNDNESS * lengths * lengths
        for place in costs.argsort():
            if self._allowed(vertex, options[place]):
                entry = (float(costs[place]), self._version[vertex], vertex, options[place])
                heapq.heappush(self._heap, entry)
                return

    def _keeps_sides(self, vertex: int, onto: int) -> bool:
        """A vertex of the middle stays in it, and one of a side does not take its counterpart's place."""
        if self._mirror[vertex] == vertex:
            return self._mirror[onto] == onto
        return self._mirror[vertex] not in self._neighbours(vertex)

    def _allowed(self, vertex: int, onto: int) -> bool:
        if vertex not in self._around or onto not in self._around:
            return False
        shared = self._around[vertex] & self._around[onto]
        near, far = self._neighbours(vertex), self._neighbours(onto)
        opposite = {corner for face in shared for corner in self._faces[face]} - {vertex, onto}
        if len(shared) != 2 or near & far != opposite or len(near | far) < _SMALLEST_RING:
            return False
        return self._uv_of(vertex, onto) is not None and self._stays_smooth(vertex, onto)

    def _uv_of(self, vertex: int, onto: int) -> dict[int, int] | None:
        """For each texture coordinate of a vertex the one it takes on, None where a seam would tear."""
        taken: dict[int, int] = {}
        for face in self._around[vertex] & self._around[onto]:
            corners = self._faces[face]
            old, new = (self._uv[face][corners.index(end)] for end in (vertex, onto))
            if taken.setdefault(old, new) != new:
                return None
        own = {self._uv[face][self._faces[face].index(vertex)] for face in self._around[vertex]}
        return taken if own == taken.keys() else None

    def _stays_smooth(self, vertex: int, onto: int) -> bool:
        kept = np.array([self._faces[face] for face in self._around[vertex] - self._around[onto]])
        before = self._stack[kept, :_CHECKED]  # (F, 3, P, 3)
        after = self._stack[np.where(kept == vertex, onto, kept), :_CHECKED]
        old, new = _normals(before), _normals(after)
        edges = after - np.roll(after, 1, axis=1)
        longest = (edges**2).sum(-1).max(1)
        sizes = np.linalg.norm(new, axis=-1)
        cosine = (old * new).sum(-1) / (np.linalg.norm(old, axis=-1) * sizes + 1e-18)
        return bool((cosine > _FLATTEST).all() and (sizes[:, 0] > 2 * _THINNEST * longest[:, 0]).all())

    def _collapse(self, vertex: int, onto: int) -> None:
        taken = self._uv_of(vertex, onto)
        assert taken is not None
        touched = self._neighbours(vertex)
        for face in list(self._around.pop(vertex)):
            corners, uv = self._faces[face], self._uv[face]
            if onto in corners:
                for corner in corners:
                    if corner != vertex:
                        self._around[corner].discard(face)
                del self._faces[face], self._uv[face]
                continue
            place = corners.index(vertex)
            self._faces[face] = (*corners[:place], onto, *corners[place + 1 :])
            self._uv[face] = (*uv[:place], taken[uv[place]], *uv[place + 1 :])
            self._around[onto].add(face)
        self._quadrics[onto] += self._quadrics[vertex]
        for near in touched:
            self._consider(near)
            self._consider(self._mirror[near]) if self._mirror[near] in self._around else None


_CHECKED = 3
"""Shapes and poses in which no face may turn over."""
_ROUNDNESS = 1e-4
"""Weight of the fourth power of the edge, against the squared distances times areas: where all is flat, short edges
go first."""
_SMALLEST_RING = 4
"""Vertices around an edge that collapses: fewer and a tetrahedron would lose its inside."""


def _normals(corners: Stack) -> Stack:
    """(F, P, 3) twice the area long, of corners (F, 3, P, 3)."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _quadrics(faces: Indices, stack: Stack) -> Stack:
    """(M, P, 4, 4) The sum over the faces around a vertex of squared distances to their planes, times their areas."""
    normals = _normals(stack[faces])
    area = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = normals / np.maximum(area, 1e-18)
    planes = np.concatenate((unit, -(unit * stack[faces[:, 0]]).sum(-1, keepdims=True)), -1)
    each = planes[..., :, None] * planes[..., None, :] * (area / 6)[..., None]
    total = np.zeros((len(stack), stack.shape[1], 4, 4))
    for corner in range(3):
        np.add.at(total, faces[:, corner], each)
    return total
