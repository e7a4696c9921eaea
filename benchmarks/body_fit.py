"""How close the open body comes to the model it is made from, over people and poses that it was not made with.

    python benchmarks/body_fit.py --out FILE

Needs the extra `body` (anny). People are drawn as in `tools/bake_body`, with other seeds; each is posed by Anny itself
and by the open body, in poses over the whole range of every joint (`limits`), over half of it (`half`), and standing at
ease (`standing`). Distances between the same vertex of both, in millimetres: `mean`, `worst_person` (the mean over a
person's poses), `p99`, `max`.

`<people>.described`: the shape follows from age, sex, weight, muscle, proportions and stature, by `shape_of`.
`<people>.fitted`: by least squares from the unposed person. `<people>.joints_mm`: of the 24 joints of the fitted.
`levels`: how far the surface of a coarser mesh is from the full one, at the middles of its faces.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.body.model import BodyModel, PosedBody
from marey.body.open_body import LEVELS, Level, baked, open_body
from marey.body.phenotypes import shape_of
from marey.core.results import BodyState
from measure import ROOT, describe, write_json

sys.path.insert(0, str(ROOT / "tools" / "bake_body"))
import anny_source
import people as drawing
import skin_fit
from groups import Groups

PEOPLE = {"adults": (60, (18.0, 90.0), 901), "children": (40, (1.0, 18.0), 902)}
"""How many, of which ages, and the seed."""
POSES = {"limits": 1.0, "half": 0.5, "standing": 0.0}
POSES_EACH = 4
SURFACE_POINTS = 2000
NEAREST = 40


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, help="of each kind, for a short run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = anny_source.Source()
    results: dict[str, Any] = {}
    with torch.no_grad():
        for name, (count, years, seed) in PEOPLE.items():
            drawn = drawing.Population(source).draw(options.people or count, years, seed=seed)
            results[name] = Trial(source=source, people=drawn, seed=seed).results()
        results["levels"] = {level: surface(level) for level in LEVELS if level != "full"}
    file = resources.files("marey.body") / "assets" / "open_body.safetensors"
    results["file_bytes"] = len(file.read_bytes())
    write_json(options.out, {**results, "meta": describe("torch", "anny")})


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """The same people by Anny and by the open body."""

    source: anny_source.Source
    people: drawing.People
    seed: int

    def results(self) -> dict[str, Any]:
        """All distances."""
        shapes = {"described": self.described(), "fitted": self.fitted()}
        joints = self._pose(shapes["fitted"], torch.eye(3).expand(len(shapes["fitted"]), 24, 3, 3)).joints
        found: dict[str, Any] = {"joints_mm": float(1e3 * (joints - self.bodies.joints).norm(dim=-1).mean())}
        for way, shape in shapes.items():
            found[way] = {extent: self.distances(shape, fraction) for extent, fraction in POSES.items()}
        return found

    @cached_property
    def model(self) -> BodyModel:
        """In double precision."""
        return open_body("full").to(torch.float64)

    @cached_property
    def groups(self) -> Groups:
        """Of Anny's bones."""
        return Groups.of(self.source.bones, self.source.parents)

    @cached_property
    def bodies(self) -> skin_fit.Bodies:
        """The people, unposed and in the T."""
        rest = self.source.rest(self.people.phenotypes)
        return skin_fit.bodies_of(rest, self.groups, self.groups.fold(self.source.weights))

    @cached_property
    def shared(self) -> Tensor:
        """For each of our vertices the place of the same one among Anny's."""
        numbers = self.source.model.base_mesh_vertex_indices
        place = torch.full((int(numbers.max()) + 1,), -1)
        place[numbers] = torch.arange(len(numbers))
        return place[baked()[0]["makehuman_vertices"].long()]

    def described(self) -> Tensor:
        """Shapes by what can be said of the people."""
        heights = self.bodies.vertices[:, self.shared, 1]
        sex, _, muscle, weight, _, proportions = self.people.phenotypes.unbind(1)
        stature = heights.amax(1) - heights.amin(1)
        return shape_of(
            years=self.people.years, sex=sex, stature=stature, weight=weight, muscle=muscle, proportions=proportions
        )

    def fitted(self) -> Tensor:
        """Shapes whose vertices come closest to the unposed people: linear least squares, each in its own pose."""
        targets = self.bodies.unposed[:, self.shared] - self.bodies.heads[:, self.groups.pelvis_bone, None]
        first = (self.groups.joint[:, None] == torch.arange(24)).int().argmax(0)
        turned = self.bodies.to_t[:, first].mT  # from the T back to the unposed person
        local = turned.clone()
        local[:, 1:] = turned[:, list(self.model.tree.parents[1:])].mT @ turned[:, 1:]
        count = self.model.shape_basis.shape[-1]
        units = torch.cat((torch.zeros(1, count), torch.eye(count))).double()
        shapes = []
        for target, pose in zip(targets, local, strict=True):
            posed = self._pose(units, pose.expand(count + 1, *pose.shape)).vertices
            design = (posed[1:] - posed[0]).flatten(1).mT
            shapes.append(torch.linalg.lstsq(design, (target - posed[0]).reshape(-1, 1)).solution[:, 0])
        return torch.stack(shapes)

    def distances(self, shape: Tensor, fraction: float) -> dict[str, float]:
        """Over poses in a fraction of the limits, millimetres."""
        poses = drawing.draw_poses(len(shape) * POSES_EACH, seed=self.seed + 50, fraction=fraction)
        found = []
        for pose in poses.unflatten(0, (len(shape), POSES_EACH)).unbind(1):
            orientations = skin_fit.global_orientations(pose)[:, self.groups.joint] @ self.bodies.to_t
            origin = torch.zeros(len(shape), 3, dtype=torch.float64)
            theirs = self.source.pose(self.people.phenotypes, orientations, self.groups, origin)[:, self.shared]
            found.append(1e3 * (self._pose(shape, pose).vertices - theirs).norm(dim=-1))
        every = torch.stack(found, 1)  # people, poses, vertices
        return {
            "mean": float(every.mean()),
            "worst_person": float(every.mean((1, 2)).max()),
            "p99": float(every.flatten().kthvalue(int(0.99 * every.numel())).values),
            "max": float(every.max()),
        }

    def _pose(self, shape: Tensor, pose: Tensor) -> PosedBody:
        """Bodies with the pelvis at the origin."""
        pose = pose.to(shape)
        zero = torch.zeros(len(shape), 3, dtype=shape.dtype)
        return self.model(BodyState(orientation=pose[:, 0], pose=pose[:, 1:], shape=shape, translation=zero))


def surface(level: Level, count: int = SURFACE_POINTS) -> dict[str, float]:
    """Millimetres from the middles of faces of a level, spread evenly over their list, to the full mesh."""
    full, coarse = open_body("full"), open_body(level)
    middles = coarse.template[coarse.faces].mean(1)
    points = middles[:: max(1, len(middles) // count)]
    corners = full.template[full.faces]
    near = torch.cdist(points, corners.mean(1)).topk(NEAREST, largest=False).indices
    distance = 1e3 * point_to_triangle(points[:, None], corners[near]).amin(1)
    return {"mean": float(distance.mean()), "max": float(distance.max())}


def point_to_triangle(points: Tensor, corners: Tensor) -> Tensor:
    """Distances (...) of points (..., 3) to triangles (..., 3, 3): to the plane over the inside, else to an edge."""
    a, b, c = corners.unbind(-2)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    height = ((points - a) * normal).sum(-1)
    foot = points - height[..., None] * normal
    inside = torch.ones_like(height, dtype=torch.bool)
    edges = []
    for one, other in ((a, b), (b, c), (c, a)):
        along = other - one
        inside = inside & ((torch.linalg.cross(along, foot - one) * normal).sum(-1) >= 0)
        share = (((points - one) * along).sum(-1) / (along * along).sum(-1)).clamp(0, 1)
        edges.append((points - one - share[..., None] * along).norm(dim=-1))
    return torch.where(inside, height.abs(), torch.stack(edges).amin(0))


if __name__ == "__main__":
    main()
