"""What the open body is made from: the mesh, the shapes, the rig and the posing of the package `anny`, y up.

Anny has z up and looks along -y; here a point (x, y, z) of Anny's is (x, z, -y), so that the person looks along +z and
has the left side at +x, in metres.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from groups import Groups
from numpy.typing import NDArray
from torch import Tensor

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
"""What describes a person, each in [0, 1] (age from -1/3: newborn), in Anny's order."""
TURN = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
"""Anny's axes to ours."""
Quads = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rest:
    """People as Anny has them unposed: arms 48 degrees down, elbows bent."""

    vertices: Tensor
    """(B, M, 3)"""
    heads: Tensor
    """(B, bones, 3): where the bones begin."""


class Source:
    """Anny's model of people with eyes and without tongue."""

    def __init__(self) -> None:
        warnings.filterwarnings("ignore", message="Fallback to lbs")
        import anny

        self.model = anny.Anny(
            rig="makehuman",
            topology="anny-notongue-quads",
            phenotypes="default",
            phenotype_blendshapes="original",
            skinning_method="lbs",
        )
        assert tuple(self.model.phenotype_labels) == PHENOTYPES
        self.bones: list[str] = list(self.model.bone_labels)
        self.parents: list[int] = [int(parent) for parent in self.model.bone_parents]
        self.weights: Tensor = self.model.dense_vertex_bone_weights.double()
        self.quads: Quads = self.model.faces.numpy()
        self.uv: NDArray[np.float64] = self.model.texture_coordinates.numpy()
        self.uv_quads: Quads = self.model.face_texture_coordinate_indices.numpy()

    def blend_weights(self, phenotypes: Tensor) -> Tensor:
        """The weights (B, K) of Anny's blend shapes for phenotypes (B, 6)."""
        from anny.models.phenotype import phenotype_blendshape_weights

        model = self.model
        return phenotype_blendshape_weights(
            phenotypes, list(PHENOTYPES), model.anchors, model.stacked_phenotype_blend_shapes_mask, extrapolate=False
        )

    @cached_property
    def used(self) -> Tensor:
        """The blend shapes that some phenotypes use; the others belong to details that are held at their middle."""
        generator = torch.Generator().manual_seed(0)
        phenotypes = torch.rand(4000, len(PHENOTYPES), generator=generator, dtype=torch.float64)
        phenotypes[:, 1] = phenotypes[:, 1] * 4 / 3 - 1 / 3
        return (self.blend_weights(phenotypes) > 0).any(0).nonzero()[:, 0]

    @cached_property
    def blend_terms(self) -> list[list[str]]:
        """For each used blend shape the names of the variations whose weights it multiplies."""
        from anny.models.phenotype import PHENOTYPE_VARIATIONS

        names = [name for values in PHENOTYPE_VARIATIONS.values() for name in values]
        mask = self.model.stacked_phenotype_blend_shapes_mask[self.used] > 0
        return [[names[place] for place in row.nonzero()[:, 0].tolist()] for row in mask]

    @cached_property
    def template(self) -> Tensor:
        """(M, 3) the mesh that nobody is, symmetric about x = 0."""
        return self.model.template_vertices @ TURN.mT

    @cached_property
    def _shapes(self) -> tuple[Tensor, Tensor]:
        model = self.model
        base = torch.cat((model.template_vertices, model.template_bone_heads))
        shapes = torch.cat((model.blendshapes[self.used], model.bone_heads_blendshapes[self.used]), 1)
        return base @ TURN.mT, (shapes @ TURN.mT).flatten(1)

    def rest(self, phenotypes: Tensor) -> Rest:
        """People (B,) of phenotypes (B, 6)."""
        base, shapes = self._shapes
        points = base + (self.blend_weights(phenotypes)[:, self.used] @ shapes).unflatten(1, (-1, 3))
        vertices, heads = points.split((len(base) - len(self.bones), len(self.bones)), 1)
        return Rest(vertices=vertices, heads=heads)

    def pose(self, phenotypes: Tensor, orientations: Tensor, groups: Groups, pelvis: Tensor) -> Tensor:
        """Vertices (B, M, 3) as Anny itself poses them.

        Args:
            phenotypes: (B, 6).
            orientations: (B, G, 3, 3) of every group's bones, from Anny's unposed person to the world, our axes.
            groups: which bones turn together.
            pelvis: (B, 3) where the head of the bone that carries the pelvis shall be.
        """
        turned = TURN.mT @ orientations[:, groups.of_bone] @ TURN  # to Anny's axes
        parents = torch.tensor(self.parents)
        local = turned.clone()
        local[:, 1:] = turned[:, parents[1:]].mT @ turned[:, 1:]
        delta = torch.eye(4, dtype=local.dtype).expand(*local.shape[:2], 4, 4).clone()
        delta[..., :3, :3] = local
        with torch.no_grad():
            out = self.model(delta, phenotypes, pose_parameterization="local-ref")
        bone = groups.pelvis_bone
        shift = pelvis - out["bone_poses"][:, bone, :3, 3] @ TURN.mT
        return out["vertices"] @ TURN.mT + shift[:, None]

    def faces_labelled(self, *labels: str) -> NDArray[np.bool_]:
        """(quads,) Which faces belong to parts of the face, the eyes or the mouth."""
        from anny.face_segmentation import get_face_segmentation_mask

        return get_face_segmentation_mask(self.model, list(labels)).numpy()

    def keypoints(self) -> dict[str, Tensor]:
        """Weights (M,) of Anny's COCO keypoints, with feet, over the vertices."""
        import anny

        path = Path(anny.__file__).parent / "data" / "keypoints" / "coco.pth"
        weights = torch.load(path, weights_only=True)
        kept = {name: values[self.model.base_mesh_vertex_indices].double() for name, values in weights.items()}
        return {name: values / values.sum() for name, values in kept.items()}
