"""Where a network works."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def placed(network: Network, device: str | None) -> tuple[Network, torch.device]:
    """A network where it is to work, and where that is.

    Args:
        network: Stays where it is: others may share its parts. If it is elsewhere, a copy is given.
        device: None: an accelerator if there is one.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if any(weight.device.type != place.type for weight in network.parameters()):
        network = copy.deepcopy(network).to(place)
    return network, place
