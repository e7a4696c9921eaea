"""What can be exported: a module of tensors alone, and what its inputs and outputs mean."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from marey.core import InputError, ShapeError

Sizes = Mapping[str, int]
"""Of the open dimensions, by name."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """One input or output."""

    name: str
    shape: tuple[int | str, ...]
    """Fixed sizes, and names of the dimensions that stay open, such as ("batch", "joints", 3). Outputs may have a part
    of one: "height/4"."""
    unit: str = ""
    frame: str = ""
    """Of coordinates, such as "world" or "image, x right and y down"."""
    meaning: str = ""
    """A sentence; what a missing value looks like belongs here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A module, tensors in and tensors out without a branch on data, and an example to trace and to check it by."""

    module: nn.Module
    example: tuple[Tensor, ...]
    """One tensor an input. Open dimensions are 2 or more in it, since a graph traced with 1 would hold for 1 only."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    least: Sizes = field(default_factory=dict)
    """The smallest size of an open dimension, where that is not the smallest multiple."""
    multiples: Sizes = field(default_factory=dict)
    """What the size of an open dimension is a multiple of, where that is not 1."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that the card of an export holds besides, such as the names of the joints."""

    def __post_init__(self) -> None:
        names = [port.name for port in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise InputError(f"names of inputs and outputs: expected each once, got {', '.join(names)}")
        if len(self.example) != len(self.inputs):
            raise ShapeError(f"example: expected {len(self.inputs)} tensors, one an input, got {len(self.example)}")
        for port, tensor in zip(self.inputs, self.example, strict=True):
            check_shape(port, tensor, self.sizes)
        if small := [name for name, size in self.sizes.items() if size < max(2, self.smallest(name))]:
            raise ShapeError(f"example: expected open dimensions of 2 or more, and of no less than the least: {small}")
        if odd := [name for name, size in self.sizes.items() if size % self.multiple(name)]:
            raise ShapeError(f"example: expected open dimensions that are multiples as stated: {odd}")

    @property
    def sizes(self) -> dict[str, int]:
        """Of the open dimensions in the example, in the order in which the inputs name them."""
        found: dict[str, int] = {}
        for port, tensor in zip(self.inputs, self.example, strict=True):
            if tensor.ndim != len(port.shape):
                raise ShapeError(f"{port.name}: expected {_worded(port)}, got {tuple(tensor.shape)}")
            for name, size in zip(port.shape, tensor.shape, strict=True):
                if isinstance(name, str):
                    found.setdefault(name, size)
        return found

    def multiple(self, name: str) -> int:
        """What the size of an open dimension is a multiple of."""
        return self.multiples.get(name, 1)

    def smallest(self, name: str) -> int:
        """The smallest size of an open dimension."""
        return self.least.get(name, self.multiple(name))

    def resized(self, sizes: Sizes) -> tuple[Tensor, ...]:
        """The example cut off or repeated to other sizes of the open dimensions."""
        tensors = []
        for port, example in zip(self.inputs, self.example, strict=True):
            tensor = example
            for axis, name in enumerate(port.shape):
                if isinstance(name, str) and name in sizes:
                    rows = torch.arange(sizes[name], device=tensor.device) % example.shape[axis]
                    tensor = tensor.index_select(axis, rows)
            tensors.append(tensor)
        return tuple(tensors)

    def trials(self) -> list[dict[str, int]]:
        """Sizes to check an export at: the example's, a step more of everything, the least of each alone and of all."""
        own = self.sizes
        least = {name: self.smallest(name) for name in own}
        alone = [own | {name: size} for name, size in least.items()]
        found = [own, {name: size + self.multiple(name) for name, size in own.items()}, *alone, least]
        return [sizes for place, sizes in enumerate(found) if sizes not in found[:place]]

    def on_cpu(self) -> Network:
        """A copy of it there, in evaluation mode."""
        return replace(
            self,
            module=copy.deepcopy(self.module).cpu().eval(),
            example=tuple(tensor.detach().cpu().contiguous() for tensor in self.example),
        )

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The outputs, one tensor each; ShapeError if they are not as many as are named."""
        with torch.no_grad():
            found = self.module(*inputs)
        outputs = (found,) if isinstance(found, Tensor) else tuple(found)
        if len(outputs) != len(self.outputs):
            raise ShapeError(f"outputs: {len(self.outputs)} are named, and the module gives {len(outputs)}")
        return outputs


def check_shape(port: Port, tensor: Tensor, sizes: Sizes) -> None:
    """Raise a ShapeError unless a tensor has the shape of its port at these sizes of the open dimensions."""
    expected = tuple(size if isinstance(size, int) else _size(size, sizes) for size in port.shape)
    if tuple(tensor.shape) != expected:
        raise ShapeError(
            f"{port.name}: expected {_worded(port)}, here {expected}, got {tuple(tensor.shape)}; name the dimensions "
            "as they are"
        )


def _size(name: str, sizes: Sizes) -> int | None:
    """Of an open dimension, or of a part of one such as "height/4"; None: there is no such dimension."""
    whole, _, parts = name.partition("/")
    return sizes[whole] // int(parts or 1) if whole in sizes else None


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _worded(port: Port) -> str:
    return f"({', '.join(map(str, port.shape))})"
