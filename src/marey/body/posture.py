"""A first guess of how people are posed, in closed form: the trunk by alignment, limbs along the measured bones."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.body.chain import Chain
from marey.body.priors import Habits
from marey.body.trees import part_of
from marey.geometry.alignment import align
from marey.geometry.rotations import matrix_to_quaternion
from marey.geometry.small import rotation_from_correlation

_TRUNK = ("pelvis", "lumbar", "spine", "spine1", "spine2", "spine3", "spine4", "neck", "collar", "shoulder", "hip")
_HEAD = ("head", "head_top", "nose", "eye", "ear")
_HINGES = ("elbow", "knee")
_STIFFNESS = 0.02**2
"""Square metres: how much a joint counts that turns as its parent does, against the products of bones that turn it."""
_HINGE_PULL = 0.02
"""Square metres: how much the axis of a right-angled elbow or knee counts for the twist of the bone above."""


def first_guess(chain: Chain, habits: Habits, offsets: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Poses close to what was measured.

    Args:
        chain: of the tree.
        habits: of its turning joints.
        offsets: (B, K, 3) metres.
        places: (B, K, 3) measured joints, metres, NaN where missing.

    Returns:
        Parameters (B, 3 + 4 A), and whether (B,) trunk and head tell how the person stands at all.
    """
    orientation, root, known = _root(chain, offsets, places)
    tree, measured = chain.tree, places.isfinite().all(-1)
    turned = orientation[:, None].repeat(1, len(tree), 1, 1)
    at = torch.empty_like(offsets)
    at[:, 0] = root
    hangs = torch.zeros(len(tree), len(tree), dtype=torch.bool)
    for joint, parent in enumerate(tree.parents[1:], 1):
        hangs[parent, joint] = True
    axes = _hinge_axes(chain, habits).to(offsets)
    normals = _hinge_normals(chain, places)
    for level in tree.levels:
        joints = list(level)
        if joints != [0]:
            parents = [tree.parents[joint] for joint in joints]
            above = turned[:, parents]
            reached = at[:, parents] + (above @ offsets[:, joints, :, None])[..., 0]
            at[:, joints] = torch.where(measured[:, joints, None], places[:, joints], reached)
            turned[:, joints] = above
        seen = (hangs[joints] & measured[:, None])[..., None]
        span = torch.where(seen, places[:, None] - at[:, joints, None], 0.0)
        pull = span.mT @ offsets[:, None] + _HINGE_PULL * normals[:, joints, :, None] * axes[joints, None, :]
        turned[:, joints] = rotation_from_correlation(pull + _STIFFNESS * turned[:, joints])[0]
    parents = [max(parent, 0) for parent in tree.parents]
    local = torch.cat((turned[:, :1], (turned[:, parents].mT @ turned)[:, 1:]), 1)
    quaternions = matrix_to_quaternion(local[:, chain.moving])
    return torch.cat((root, quaternions.flatten(-2)), -1), known


def _root(chain: Chain, offsets: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orientation (B, 3, 3) and place (B, 3) of the root, and whether (B,) they are determined."""
    rest = torch.zeros_like(offsets)
    for level in chain.tree.levels[1:]:
        joints = list(level)
        rest[:, joints] = rest[:, [chain.tree.parents[joint] for joint in joints]] + offsets[:, joints]
    parts = [part_of(joint) for joint in chain.tree.joints]
    trunk = torch.tensor([float(part in _TRUNK) for part in parts], dtype=rest.dtype)
    upper = torch.tensor([float(part in _TRUNK or part in _HEAD) for part in parts], dtype=rest.dtype)
    by_trunk, by_all = align(rest, places, weights=trunk), align(rest, places, weights=upper)
    loose = by_trunk.degenerate
    orientation = torch.where(loose[:, None, None], by_all.rotation, by_trunk.rotation)
    place = torch.where(loose[:, None], by_all.translation, by_trunk.translation)
    known = ~(loose & by_all.degenerate)
    identity = torch.eye(3, dtype=rest.dtype).expand_as(orientation)
    orientation = torch.where(known[:, None, None], orientation, identity)
    return orientation, torch.where(known[:, None], place, 0.0), known


def _hinge_axes(chain: Chain, habits: Habits) -> Tensor:
    """(K, 3) of each bone's upper joint: the axis of the hinge below it in the rest pose, zero where there is none."""
    axes = torch.zeros(len(chain.tree), 3, dtype=torch.float64)
    for row, joint in enumerate(chain.moving.tolist()):
        if part_of(chain.tree.joints[joint]) in _HINGES:
            axes[chain.tree.parents[joint]] = habits.basis[row, :, 0]
    return axes


def _hinge_normals(chain: Chain, places: Tensor) -> Tensor:
    """(B, K, 3) of each bone's upper joint: the axis about which the hinge below it is bent, by the sine of that."""
    normals = torch.zeros_like(places)
    tree = chain.tree
    hinges = [j for j, name in enumerate(tree.joints) if part_of(name) in _HINGES and tree.children[j]]
    above, below = [tree.parents[j] for j in hinges], [tree.children[j][0] for j in hinges]
    if hinges:
        upper = torch.nn.functional.normalize(places[:, hinges] - places[:, above], dim=-1)
        lower = torch.nn.functional.normalize(places[:, below] - places[:, hinges], dim=-1)
        normals[:, above] = torch.linalg.cross(upper, lower).nan_to_num()
    return normals
