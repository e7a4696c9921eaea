"""The three levels of the mesh. The coarsest has its eyes closed."""

from __future__ import annotations

import torch
from body_skin import REGIONS, BodySkin
from decimate import Decimation
from mesh import Mesh, closed_without, without
from people import ADULTS, CHILDREN, Population, draw_poses
from skin_fit import posed

SIZES = {"medium": 6900, "small": 1900}


def levels_of(body: BodySkin, population: Population) -> dict[str, Mesh]:
    """Each a part of the vertices of the one before.

    The error is that of two adults and two children, at rest and posed.
    """
    people = population.draw(4, ADULTS, seed=21).phenotypes
    people[2:] = population.draw(2, CHILDREN, seed=22).phenotypes
    bodies = body.bodies(people)
    poses = draw_poses(4, seed=23, fraction=0.8)
    moved = [sample.target[0] for sample in posed(bodies, poses[:, None], body.groups, body.weights)]
    stack = torch.stack((*body.balanced(bodies.vertices), *moved), 1).double().numpy()
    medium = Decimation(body.mesh, stack, body.mirror).shrink(SIZES["medium"])
    blind = medium
    for region in ("left_eye", "right_eye"):
        blind = closed_without(blind, REGIONS[region], stack[:, 0])
    for region in ("left_ball", "right_ball"):
        blind = without(blind, REGIONS[region])
    small = Decimation(blind, stack, body.mirror).shrink(SIZES["small"])
    return {"small": small, "medium": medium, "full": body.mesh}
