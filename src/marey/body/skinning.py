"""Linear blend skinning of many bodies at once: tensors only, differentiable, no loop but over the levels of a tree.

    vertex = sum_j w_j (R_j (rest - q_j) + p_j) + translation

with R_j, p_j the posed orientation and place of joint j and q_j its place at rest (Loper et al., SMPL: a skinned
multi-person linear model, SIGGRAPH Asia 2015, equations 2 to 4).

What sets the speed is memory, not arithmetic. The transform of every vertex, (3, 4) numbers, is four times the mesh, so
it is made and used for a few bodies at a time, which then stay in the cache; vertices run along the last dimension
inside, because sums of long contiguous rows are what the hardware is fast at. `benchmarks/skinning.py` measures it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from marey.core.motion import JointTree

Tables = tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor]

BLOCK = 8
"""Bodies whose vertices are blended at once on a CPU: their transforms, 2.6 MB at 6,900 vertices, stay in the cache."""
_BLOCK_ELSEWHERE = 512
"""Of other devices, where launches cost more than memory: 170 MB at 6,900 vertices."""


def blend_shapes(base: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """Add a linear combination of shapes to a base.

    The number of rows that are multiplied at once is a multiple of `BLOCK`: matrix products of other sizes take other
    paths through the library, whose results differ in the last bit, and a body would depend on those beside it.

    Args:
        base: (M, 3) or (B, M, 3).
        basis: (M, 3, S), or (S, M * 3) as pose blend shapes are kept.
        coefficients: (B, S).

    Returns:
        (B, M, 3).
    """
    rows = basis if basis.ndim == 2 else basis.flatten(0, 1).mT
    count = len(coefficients)
    padded = torch.nn.functional.pad(coefficients, (0, 0, 0, -count % BLOCK))
    return (padded @ rows)[:count].view(count, *base.shape[-2:]).add_(base)


def joints_at_rest(base: Tensor, basis: Tensor, coefficients: Tensor) -> Tensor:
    """The same for the joints, which are few: their matrix product would come out otherwise with other threads.

    Args:
        base: (J, 3).
        basis: (J, 3, S).
        coefficients: (B, S).

    Returns:
        (B, J, 3).
    """
    return base + (basis * coefficients[:, None, None]).sum(-1)


def forward_kinematics(tree: JointTree, rest: Tensor, rotations: Tensor) -> Tensor:
    """Turn every joint about its place and carry all that hangs on it.

    Args:
        tree: J joints.
        rest: (B, J, 3) places of the joints at rest.
        rotations: (B, J, 3, 3) of every joint relative to its parent, of the root relative to the world.

    Returns:
        (B, J, 3, 4): orientation and place of every joint in the world; the root stays where it is at rest.
    """
    tables = _tables if torch.compiler.is_compiling() else _kept_tables  # a tracer's tensors must not be kept
    parents, steps, order = tables(tree, rest.device)
    offsets = torch.cat((rest[:, :1], rest[:, 1:] - rest.index_select(1, parents)), 1)
    local = torch.cat((rotations, offsets[..., None]), -1)
    levels = [local[:, :1]]
    for places, above in steps:
        parent = levels[-1].index_select(1, above)
        turned = parent[..., :3] @ local.index_select(1, places)
        levels.append(torch.cat((turned[..., :3], turned[..., 3:] + parent[..., 3:]), -1))
    return torch.cat(levels, 1).index_select(1, order)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve later calls that take derivatives
def _kept_tables(tree: JointTree, device: torch.device) -> Tables:
    return _tables(tree, device)


def _tables(tree: JointTree, device: torch.device) -> Tables:
    """Places as tensors.

    Returns:
        The parents of all but the root; for each level its joints, and where in the level above their parents are;
        where each joint is when the levels are put after each other.
    """
    within = {place: number for level in tree.levels for number, place in enumerate(level)}
    steps = [
        (torch.tensor(level, device=device), torch.tensor([within[tree.parents[k]] for k in level], device=device))
        for level in tree.levels[1:]
    ]
    joined = torch.tensor([place for level in tree.levels for place in level])
    return torch.tensor(tree.parents[1:], dtype=torch.int64, device=device), steps, joined.argsort().to(device)


def from_rest(posed: Tensor, rest: Tensor) -> Tensor:
    """Transforms (B, J, 3, 4) that take a point of the body at rest along with a joint.

    Args:
        posed: (B, J, 3, 4) of `forward_kinematics`.
        rest: (B, J, 3) places of the joints at rest.
    """
    turned = posed[..., :3] @ rest[..., None]
    return torch.cat((posed[..., :3], posed[..., 3:] - turned), -1)


def skin(rest: Tensor, transforms: Tensor, weights: Tensor, translation: Tensor) -> Tensor:
    """Move vertices with the weighted mean of the transforms of the joints.

    Args:
        rest: (B, N, 3) vertices at rest, shape and pose blend shapes included.
        transforms: (B, J, 3, 4) of `from_rest`.
        weights: (J, N), the columns summing to 1.
        translation: (B, 3), added at the end.

    Returns:
        (B, N, 3).
    """
    size = BLOCK if rest.device.type == "cpu" else _BLOCK_ELSEWHERE
    rows = transforms.flatten(2).mT.contiguous()  # (B, 12, J)
    parts = (torch.split(tensor, size) for tensor in (rest, rows, translation))
    moved = [_skin(*block, weights=weights) for block in zip(*parts, strict=True)]
    return torch.cat(moved).contiguous()


def _skin(rest: Tensor, rows: Tensor, translation: Tensor, *, weights: Tensor) -> Tensor:
    blended = (rows.flatten(0, 1) @ weights).view(len(rows), 3, 4, weights.shape[1])
    x, y, z = rest.mT.contiguous()[:, :, None].unbind(1)
    moved = torch.addcmul(blended[:, :, 3], blended[:, :, 0], x)
    moved.addcmul_(blended[:, :, 1], y).addcmul_(blended[:, :, 2], z)
    return moved.mT + translation[:, None]
