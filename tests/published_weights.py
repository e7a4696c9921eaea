"""The weights that the parity files of networks were computed with: a rule from names to numbers, from their README."""

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import torch
from torch import Tensor


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Every entry of a state dictionary by its name and shape."""
    return {name: _entry(name, shape, shapes) for name, shape in shapes.items()}


def shapes_of(path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from a list of keys: `name <tab> (shape) <tab> type`, comments after #."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: tuple(int(size) for size in shape.strip("()").split(",") if size.strip()) for name, shape, _ in rows}


def _entry(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    value = np.random.RandomState(crc32(name.encode())).randn(*shape) * 0.02
    if name.endswith("running_var"):
        value = np.abs(value) + 0.5
    elif name.endswith(".weight") and name.removesuffix("weight") + "running_mean" in shapes:
        value = 1 + value
    return torch.from_numpy(value.astype(np.float32))
