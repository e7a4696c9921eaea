"""Where mixed precision must not reach: coordinates lose metres in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which nothing on the device of a tensor is cast down, whatever the caller's autocast says."""
    return torch.autocast(like.device.type, enabled=False)
