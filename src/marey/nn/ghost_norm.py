"""Batch normalisation over groups of a batch (Hoffer et al., "Train longer, generalize better", NeurIPS 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marey.core.errors import InputError


class GhostNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose batches are groups of so many; in evaluation as ever.

    The running statistics take in one group after another.
    """

    group = 16

    def forward(self, images: Tensor) -> Tensor:
        """Normalise (B, C, H, W); a last group that is smaller stands for itself."""
        if not self.training or len(images) <= self.group:
            return super().forward(images)
        return torch.cat([super(GhostNorm2d, self).forward(part) for part in torch.split(images, self.group)])


def use_ghost_norm(module: nn.Module, group: int) -> None:
    """Change the batch normalisations within a module; names and values of parameters and buffers stay.

    Raises:
        InputError: the groups are empty.
    """
    if group < 2:
        raise InputError(f"group: expected 2 images or more, got {group}")
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, GhostNorm2d):
                setattr(parent, name, _ghost(child, group))


def _ghost(norm: nn.BatchNorm2d, group: int) -> GhostNorm2d:
    made = GhostNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made.load_state_dict(norm.state_dict())
    made.to(next(norm.buffers()).device)
    made.train(norm.training)
    made.group = group
    return made
