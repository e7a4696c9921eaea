"""Batches on their way: moved to a device, counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def moved(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """Move all tensors of a batch, in mappings, lists, tuples and whatever has a method `to`.

    Args:
        value: The batch or a part of it; what is neither stays as it is.
        device: Where to.
        dtype: Of floating-point tensors; None: as they are.
    """
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: moved(item, device, dtype) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device, dtype) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item, device, dtype) for item in value)
    if hasattr(value, "to"):
        there = value.to(device)
        return there if dtype is None else there.to(dtype)
    return value


def rows(batch: Any) -> int:
    """How many rows a batch has: the length of its first tensor; 0 if it holds none."""
    return next((len(tensor) for tensor in _tensors(batch) if tensor.ndim), 0)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif callable(getattr(value, "tensors", None)):
        yield from value.tensors()
