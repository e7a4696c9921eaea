"""The 24 joints and the landmarks, found from vertices of the coarsest level in many people and poses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from body_skin import REGIONS, BodySkin
from landmarks import KEYPOINT, landmarks
from mesh import Mesh
from people import OLDEST, Population, fit_poses
from regressors import Regressor, balanced, fit, mirrored
from shape_space import ShapeSpace
from skin_fit import Bodies, skin
from torch import Tensor

from marey.body.skinning import forward_kinematics, from_rest
from marey.body.smpl_tree import SMPL_TREE

YOUNGEST = 2.0
"""Years; infants are too few to be fitted to."""
OTHERWISE = ("pelvis", "neck", "head")
"""Joints of SMPL whose names mean other places in other skeletons: they are written as `<name>_joint`."""
_JOINTS = len(SMPL_TREE)


class Samples:
    """B bodies in poses, as the baked body has them."""

    def __init__(self, space: ShapeSpace, weights: Tensor, coefficients: Tensor, poses: Tensor) -> None:
        points = space.points(coefficients)
        rest, joints = points.split((points.shape[1] - _JOINTS, _JOINTS), 1)
        moved = forward_kinematics(SMPL_TREE, joints, poses.to(joints))
        self._transforms = from_rest(moved, joints)
        self.joints = moved[..., 3]
        each = zip(rest, self._transforms, strict=True)
        self.vertices = torch.cat([skin(one[None], weights, transforms[None]) for one, transforms in each])

    def carried(self, rest: Tensor, joint: int) -> Tensor:
        """Points (B, 3) that are fixed to a joint, from their places (B, 3) in the T."""
        transform = self._transforms[:, joint]
        return (transform[..., :3] @ rest[..., None])[..., 0] + transform[..., 3]


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is to be found."""

    name: str
    target: Tensor
    """(B, 3) over the samples."""
    place: Tensor
    """(3,) in the T of the mean."""
    inside: bool


def fit_points(
    body: BodySkin, space: ShapeSpace, weights: Tensor, level: Mesh, drawn: tuple[Population, int, int]
) -> dict[str, Regressor]:
    """All of them, the right side as the mirror image of the left.

    Args:
        body: of the source.
        space: of shapes.
        weights: (N, 24) of the skin.
        level: whose vertices may be used.
        drawn: what people are drawn from, how many, and in how many poses each.
    """
    population, count, poses = drawn
    bodies = body.bodies(population.draw(count, (YOUNGEST, OLDEST), seed=31).phenotypes)
    coefficients = space.coefficients(torch.cat((bodies.vertices, bodies.joints), 1))
    drawn_poses = fit_poses(count, poses, seed=32).flatten(0, 1)
    samples = Samples(space, weights, coefficients.repeat_interleave(poses, 0), drawn_poses)
    used = level.used
    mirror = np.searchsorted(used, body.mirror[used])
    vertices, rest = samples.vertices[:, used].double(), space.mean[used]
    made: dict[str, Regressor] = {}
    for point in _points(body, bodies, samples, space):
        order = (rest - point.place).norm(dim=1).argsort().numpy()
        target = point.target.double()
        one = fit(target, vertices, order, inside=point.inside)
        left = point.name.startswith("left_")
        one = one if left else balanced(one, mirror)
        print(f"{point.name}: {1e3 * one.error(target, vertices):.1f} mm", flush=True)
        made[point.name] = one.among(used)
        if left:
            made["right_" + point.name.removeprefix("left_")] = mirrored(one, mirror).among(used)
    return made


def _points(body: BodySkin, bodies: Bodies, samples: Samples, space: ShapeSpace) -> Iterator[Point]:
    """Those of the middle and of the left."""
    for joint, name in enumerate(SMPL_TREE.joints):
        if not name.startswith("right_"):
            name = f"{name}_joint" if name in OTHERWISE else name
            yield Point(name=name, target=samples.joints[:, joint], place=space.mean[joint - _JOINTS], inside=True)
    places = torch.zeros(len(body.source.weights), 3)
    places[body.kept] = bodies.vertices.mean(0)
    found = landmarks(body.source, body.whole, REGIONS, places)
    for name, whole in found.skin.items():
        kept = whole[body.kept].float()
        kept = kept / kept.sum()
        target = torch.einsum("n,bnc->bc", kept, samples.vertices)
        inside = name.endswith(KEYPOINT)
        yield Point(name=name, target=target, place=kept @ space.mean[:-_JOINTS], inside=inside)
    for name, (bone, joint) in found.carried.items():
        rest = _head_in_t(body, bodies, bone)
        each = rest.repeat_interleave(len(samples.vertices) // len(rest), 0)
        yield Point(name=name, target=samples.carried(each, joint), place=rest.mean(0), inside=False)


def _head_in_t(body: BodySkin, bodies: Bodies, bone: int) -> Tensor:
    """Where the head of a bone is (B, 3) in the T."""
    moved = body.groups.transforms(bodies.heads, bodies.to_t, torch.zeros(len(bodies), 3))
    transform = moved[:, int(body.groups.of_bone[bone])]
    return (transform[..., :3] @ bodies.heads[:, bone, :, None])[..., 0] + transform[..., 3]
