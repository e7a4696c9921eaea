"""Faces that reach behind the camera are cut at the near plane; what lies in front is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """K triangles that are parts of faces, in the order of the views they belong to."""

    corners: Tensor
    """(3, K, 3)."""
    face: Tensor
    """(K,) int64, what each is a part of."""
    view: Tensor
    """(K,) int64."""
    weights: Tensor
    """(3, K, 3): each corner of the piece in weights of the corners of the face."""

    def __len__(self) -> int:
        return len(self.face)

    def of_views(self, first: int, end: int) -> Pieces | None:
        """Those of some views, which are then counted from the first; None if there are none."""
        kept = torch.nonzero((self.view >= first) & (self.view < end))[:, 0]
        if not len(kept):
            return None
        return Pieces(
            corners=self.corners.index_select(1, kept),
            face=self.face.index_select(0, kept),
            view=self.view.index_select(0, kept) - first,
            weights=self.weights.index_select(1, kept),
        )

    def restore(self, name: Tensor, piece: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Give hits on pieces (M,), which are negative for other hits, their face (M,) and its weights (3, M)."""
        index = piece.clamp(min=0)
        parts = self.weights.to(weights.dtype).index_select(1, index) * weights[..., None]
        whole = (parts[0] + parts[1] + parts[2]).t()
        hit = piece >= 0
        return torch.where(hit, self.face.index_select(0, index), name), torch.where(hit, whole, weights)


def cut_near(points: Tensor, faces: Tensor, near: float) -> Pieces | None:
    """Cut the faces that cross the near plane; None if there are none.

    Args:
        points: (B, N, 3) in the frames of the cameras. A face with a missing corner is not cut.
        faces: (F, 3).
        near: depth of the plane, metres.
    """
    front = points[..., 2] > near
    known = points.isfinite().all(-1)
    if not bool((known & ~front).any()):
        return None
    corner_front, corner_known = front[:, faces], known[:, faces]  # (B, F, 3)
    crossing = corner_known.all(-1) & corner_front.any(-1) & ~corner_front.all(-1)
    view, face = torch.nonzero(crossing).unbind(-1)
    if not len(face):
        return None
    one_in_front = corner_front[view, face].sum(-1) == 1
    alone = corner_front[view, face] == one_in_front[:, None]  # the corner on a side of its own
    turn = (alone.int().argmax(-1)[:, None] + torch.arange(3, device=faces.device)) % 3
    corner = faces[face].gather(1, turn)
    identity = torch.eye(3, dtype=points.dtype, device=points.device)[turn]  # (K, 3, 3)
    placed = points[view[:, None], corner]
    cuts = [_cut(placed, corner, other, near) for other in (1, 2)]
    p, q = (identity[:, 0] + t[:, None] * (identity[:, other] - identity[:, 0]) for other, t in enumerate(cuts, 1))
    a, b, c = identity.unbind(1)
    first = torch.where(one_in_front[:, None, None], torch.stack((a, p, q), 1), torch.stack((p, b, c), 1))
    two = torch.nonzero(~one_in_front)[:, 0]
    second = torch.stack((p, c, q), 1)[two]
    order = torch.cat((view, view[two])).argsort(stable=True)
    weights = torch.cat((first, second))[order].transpose(0, 1)
    face, view = torch.cat((face, face[two]))[order], torch.cat((view, view[two]))[order]
    corners = (weights[..., None] * points[view[:, None], faces[face]]).sum(-2)
    return Pieces(corners=corners, face=face, view=view, weights=weights)


def _cut(placed: Tensor, corner: Tensor, other: int, near: float) -> Tensor:
    """Where the edge from the first corner to another one meets the plane, as a share (K,) of its length.

    Computed from the lower vertex, so that two faces cut their common edge in the same point.
    """
    swap = corner[:, 0] > corner[:, other]
    z, z_other = placed[:, 0, 2], placed[:, other, 2]
    low, high = torch.where(swap, z_other, z), torch.where(swap, z, z_other)
    share = (near - low) / (high - low)
    return torch.where(swap, 1 - share, share)
