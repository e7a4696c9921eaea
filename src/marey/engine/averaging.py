"""The average of a network's weights over the steps: steadier than the last ones, and what is exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def decay_at(update: int, decay: float, *, warm_up: bool) -> float:
    """The share of the old average that the update, counted from 0, keeps; with warm-up at most (1 + t) / (10 + t)."""
    return min(decay, (1 + update) / (10 + update)) if warm_up else decay


class WeightAverage:
    """Exponential moving average of a module's parameters and floating-point buffers; whole numbers are copied.

    Args:
        module: Where the average starts; it lies on its device, in its precision.
        decay: Share of the old average that an update keeps.
        warm_up: Less at first, see `decay_at`.
    """

    def __init__(self, module: nn.Module, *, decay: float, warm_up: bool = True) -> None:
        self.decay, self.warm_up = decay, warm_up
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, update: int) -> None:
        """Take in the weights after the optimiser's step `update`, counted from 0."""
        share = 1 - decay_at(update, self.decay, warm_up=self.warm_up)
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, share)
            else:
                self.state[name].copy_(tensor)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from an average that was kept."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Let the module have the averaged weights while the block runs, and exactly its own afterwards."""
        own = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict(self.state)
        try:
            yield
        finally:
            module.load_state_dict(own)
