"""Where cameras stand, roughly: from the boards that pairs of them share, along the best-connected tree of pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.boards import Board
from marey.core import Cameras
from marey.geometry.alignment import align
from marey.geometry.bundle import BundleSettings
from marey.geometry.planar_pose import PlanarPoses, planar_poses
from marey.geometry.projection import project_from_camera
from marey.geometry.rigid_bundle import adjust_rigid_bundle
from marey.geometry.robust import RobustLoss

JUDGES = 40
"""Boards on which a proposed relative pose is tried."""
AGREEMENT = 10.0
"""Pixels: a board that a relative pose moves this far off speaks half against it."""


def possible_orders(board: Board) -> Tensor:
    """The orders (S, C) in which a view may have listed the corners of a board, the first being the given one.

    More than `Board.orders`, which trusts the colours of the squares: in a shadow, or in corners that come from another
    program, a checkerboard may be turned by half a turn, a square one by quarter turns. Other views tell.
    """
    columns, rows = board.grid
    grid = torch.arange(columns * rows).reshape(rows, columns)
    if board.kind == "charuco":
        return grid.reshape(1, -1)
    turns = range(4) if columns == rows else (0, 2)
    return torch.stack([torch.rot90(grid, turn).reshape(-1) for turn in turns])


def connected_groups(linked: Tensor) -> list[list[int]]:
    """The groups of views that are linked, directly or through others, by the symmetric boolean matrix (V, V)."""
    views = len(linked)
    reach = linked | torch.eye(views, dtype=torch.bool)
    for _ in range(views.bit_length()):
        reach = (reach.double() @ reach.double()) > 0
    first = [row.index(True) for row in reach.tolist()]
    return [[view for view in range(views) if first[view] == root] for root in sorted(set(first))]


def spanning_tree(strength: Tensor) -> list[tuple[int, int]]:
    """The edges (known, new), from view 0 outwards, of the tree with the greatest sum of `strength` (V, V), Prim's."""
    reached, edges = [0], []
    while len(reached) < len(strength):
        outside = [view for view in range(len(strength)) if view not in reached]
        known, new = max(((a, b) for a in reached for b in outside), key=lambda edge: float(strength[edge]))
        edges.append((known, new))
        reached.append(new)
    return edges


@dataclass(frozen=True, kw_only=True)
class RelativePose:
    """Of a second camera to a first: `x_second = rotation x_first + translation`."""

    rotation: Tensor
    translation: Tensor
    rms: Tensor
    """() of the boards that agree, pixels."""
    disagreement: Tensor
    """() mean robust loss of the boards tried, over its greatest value: 0 where all agree, 1 where none does."""


def place_cameras(
    pixels: Tensor, target: Tensor, cameras: Cameras, *, poses: PlanarPoses, shared: Tensor, orders: Tensor
) -> Cameras:
    """Give connected cameras (V,) extrinsics, the first at the origin of the world.

    Args:
        pixels: (V, M, C, 2), lens included; NaN = not seen.
        target: (C, 3) corners of the board, metres.
        cameras: (V,) intrinsics.
        poses: (V, M, 2) of the board in each picture.
        shared: (V, V) how many boards pairs of views share.
        orders: (S, C) in which corners may be listed.
    """
    rotation = torch.eye(3, dtype=torch.float64).repeat(len(pixels), 1, 1)
    translation = torch.zeros(len(pixels), 3, dtype=torch.float64)
    for known, new in spanning_tree(shared):
        pair = [known, new]
        found = relative_pose(
            pixels[pair],
            target,
            cameras[pair],
            poses=poses.of(pair),
            orders=orders,
        )
        rotation[new] = found.rotation @ rotation[known]
        translation[new] = found.rotation @ translation[known] + found.translation
    return replace(cameras, rotation=rotation, translation=translation)


def relative_pose(
    pixels: Tensor, target: Tensor, cameras: Cameras, *, orders: Tensor, poses: PlanarPoses | None = None
) -> RelativePose:
    """Find how the second of two cameras stands to the first from boards that both see.

    Every board proposes each combination of its two poses in either view, and of the orders of its corners; the
    proposal that moves most boards of the first view onto those of the second wins, so wrong boards, wrong orders and
    the wrong one of two poses are outvoted. Then the pair is adjusted together on the boards that agree.

    Args:
        pixels: (2, M, C, 2), lens included.
        target: (C, 3) metres.
        cameras: (2,) intrinsics.
        orders: (S, C), see `possible_orders`.
        poses: (2, M, 2) if they are known already.
    """
    poses = poses or planar_poses(pixels, target, cameras)
    both = poses.rms[..., 0].isfinite().all(0)
    chosen = _spread_sample(both.nonzero()[:, 0], pixels, JUDGES)
    turns, places = poses.rotation[:, chosen], poses.translation[:, chosen]
    symmetry = align(target.expand(len(orders), -1, -1), target[orders])
    # the second view lists the corners in another order where its pose is that of the turned board
    second = turns[1][:, None] @ symmetry.rotation[:, None]
    second_place = (turns[1][:, None] @ symmetry.translation[:, None, :, None])[..., 0] + places[1][:, None]
    back = turns[0].mT
    rotation = (second[:, :, :, None] @ back[:, None, None]).reshape(-1, 3, 3)
    moved = second_place[:, :, :, None] - (second[:, :, :, None] @ (back @ places[0][..., None])[:, None, None])[..., 0]
    translation = moved.reshape(-1, 3)
    error, own, order = _judged(
        rotation, translation, pixels[:, chosen], target, cameras[1], turns[0], places[0], poses.rms[0, chosen], orders
    )
    rho, _ = RobustLoss("geman_mcclure", AGREEMENT)(error)
    best = rho.sum(-1).argmin()
    disagreement = rho[best].mean() / AGREEMENT**2
    start = replace(
        cameras,
        rotation=torch.stack((torch.eye(3, dtype=torch.float64), rotation[best])),
        translation=torch.stack((torch.zeros(3, dtype=torch.float64), translation[best])),
    )
    rows = torch.arange(len(chosen))
    listed = pixels[1][chosen[:, None], orders[order[best]]]
    pair = torch.stack((pixels[0, chosen], listed))
    agreeing = error[best] < AGREEMENT**2
    pair = torch.where((agreeing if agreeing.any() else ~agreeing)[None, :, None, None], pair, torch.nan)
    board = turns[0][rows, own[best]], places[0][rows, own[best]]
    settings = BundleSettings(loss=RobustLoss("huber", 2.0), tolerance=1e-4, max_iterations=50)
    result = adjust_rigid_bundle(pair, target, start, poses=board, settings=settings)
    end, shift = result.cameras.extrinsics
    return RelativePose(
        rotation=end[1], translation=shift[1], rms=result.rms.square().mean().sqrt(), disagreement=disagreement
    )


def _judged(
    rotation: Tensor,
    translation: Tensor,
    pixels: Tensor,
    target: Tensor,
    camera: Cameras,
    turns: Tensor,
    places: Tensor,
    rms: Tensor,
    orders: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """How far off each proposal (H,) moves each board (N,) of the first view: mean squared pixels (H, N).

    The board's own error in the first view is added. Also which of its two poses (H, N), and which order (H, N) of the
    second view's corners, are the best there.
    """
    inside = target @ turns.mT + places[:, :, None]
    moved = inside @ rotation.mT[:, None, None] + translation[:, None, None, None]
    projected = project_from_camera(moved, camera)
    listed = pixels[1][:, orders]
    squared = (projected[:, :, :, None] - listed[:, None]).square().sum(-1)
    seen = listed.isfinite().all(-1)[:, None]
    total = torch.where(seen, squared.nan_to_num(1e12), 0.0).sum(-1)
    error = total / seen.sum(-1) + rms.square()[..., None]
    best, place = error.flatten(2).min(-1)
    return best, place // len(orders), place % len(orders)


def _spread_sample(moments: Tensor, pixels: Tensor, size: int) -> Tensor:
    """At most `size` of the moments, spread over time, in each stretch the one with the most corners."""
    if len(moments) <= size:
        return moments
    counts = pixels.isfinite().all(-1)[:, moments].sum(-1).amin(0)
    stretch = torch.arange(len(moments)) * size // len(moments)
    order = torch.argsort(stretch * 1_000_000 - counts, stable=True)
    first = torch.ones(len(moments), dtype=torch.bool)
    first[1:] = stretch[order][1:] != stretch[order][:-1]
    picked: Tensor = moments[order[first]]
    return picked
