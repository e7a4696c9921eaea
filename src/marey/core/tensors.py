"""Dataclasses of tensors: one declared shape a field, any leading batch dimensions, one small mixin.

A subclass is a frozen keyword-only dataclass whose tensor fields are annotated with their trailing shape::

    @dataclass(frozen=True, kw_only=True, eq=False)
    class Points(TensorFields):
        positions: Annotated[Tensor, Trailing("J", 3)]
        score: Annotated[Tensor, Trailing("J")]

The trailing shape is checked on construction; a name binds to one size within one object; what is left of the shape is
the batch shape, and it is the same for every field. NumPy arrays are taken at this border and become tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from marey.core.errors import ShapeError


class Trailing:
    """The trailing shape of a tensor field: integers are sizes, strings name sizes that must agree in one object."""

    def __init__(self, *dims: int | str) -> None:
        self.dims = dims

    def __repr__(self) -> str:
        return "(..., " + ", ".join(map(str, self.dims)) + ")" if self.dims else "(...)"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TensorFields:
    """Mixin of every tensor container: shape checks, `to`, `map`, indexing of the batch dimensions, `stack`."""

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        batch: tuple[int, ...] | None = None
        for name, trailing in _declared(type(self)).items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, (np.ndarray, np.generic, float, int, bool)):
                value = _to_tensor(type(self), name, value)
                object.__setattr__(self, name, value)
            if isinstance(value, TensorFields):
                found = value.batch_shape
            elif isinstance(value, Tensor):
                found = _match(type(self), name, value, trailing, sizes)
            else:
                raise ShapeError(
                    f"{type(self).__name__}.{name}: expected a tensor {trailing}, got {type(value).__name__}"
                )
            if batch is None:
                batch = found
            elif found != batch:
                raise ShapeError(
                    f"{type(self).__name__}.{name}: expected the batch shape {batch} of the fields before it, "
                    f"got {found}; this field is {trailing}"
                )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading shape that all fields share."""
        for name, trailing in _declared(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, TensorFields):
                return value.batch_shape
            if value is not None:
                return tuple(value.shape[: value.ndim - len(trailing.dims)])
        return ()

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return next(self.tensors()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point tensor."""
        return next(tensor.dtype for tensor in self.tensors() if tensor.is_floating_point())

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor held here, nested ones too."""
        for name in _declared(type(self)):
            value = getattr(self, name)
            if isinstance(value, TensorFields):
                yield from value.tensors()
            elif value is not None:
                yield value

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor. It must treat the batch dimensions alike."""
        changes: dict[str, Any] = {}
        for name in _declared(type(self)):
            value = getattr(self, name)
            if value is not None:
                changes[name] = value.map(function) if isinstance(value, TensorFields) else function(value)
        return dataclasses.replace(self, **changes)

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """A copy on a device, or with its floating-point tensors in another precision."""
        if isinstance(target, torch.dtype):
            return self.map(lambda tensor: tensor.to(target) if tensor.is_floating_point() else tensor)
        return self.map(lambda tensor: tensor.to(target))

    def __getitem__(self, index: Any) -> Self:
        """Index the batch dimensions; an index that reaches into the trailing shape is an error."""
        taken = index if isinstance(index, tuple) else (index,)
        try:
            torch.empty(()).expand(self.batch_shape)[taken]
        except IndexError as error:
            raise ShapeError(f"{type(self).__name__} with the batch shape {self.batch_shape}: {error}") from error
        return self._pick(taken, open_ended=any(i is Ellipsis for i in taken))

    def _pick(self, taken: tuple[Any, ...], open_ended: bool) -> Self:
        changes: dict[str, Any] = {}
        for name, trailing in _declared(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, TensorFields):
                changes[name] = value._pick(taken, open_ended)
            elif value is not None:
                changes[name] = value[(*taken, *(slice(None),) * len(trailing.dims))] if open_ended else value[taken]
        return dataclasses.replace(self, **changes)

    @classmethod
    def stack(cls, items: Sequence[Self], dim: int = 0) -> Self:
        """Join containers of one batch shape along a new batch dimension; fields that are not tensors must agree."""
        return cls._join(items, dim, torch.stack, new_dims=1)

    @classmethod
    def cat(cls, items: Sequence[Self], dim: int = 0) -> Self:
        """Join containers along an existing batch dimension; fields that are not tensors must agree."""
        return cls._join(items, dim, torch.cat, new_dims=0)

    @classmethod
    def _join(cls, items: Sequence[Self], dim: int, join: Callable[..., Tensor], new_dims: int) -> Self:
        if not items:
            raise ShapeError(f"expected at least one {cls.__name__} to join, got none")
        dims = len(items[0].batch_shape) + new_dims
        if not -dims <= dim < dims:
            raise ShapeError(f"{cls.__name__}: expected a dimension in {-dims}..{dims - 1} to join along, got {dim}")
        dim %= dims  # counted in the batch dimensions, so it means the same for every field
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            values = [getattr(item, field.name) for item in items]
            if field.name not in _declared(cls):
                if any(value != values[0] for value in values):
                    raise ShapeError(f"{cls.__name__}.{field.name}: differs among the {len(items)} items to join")
            elif any(value is None for value in values):
                if not all(value is None for value in values):
                    raise ShapeError(
                        f"{cls.__name__}.{field.name}: present in some of the {len(items)} items and absent in others"
                    )
            elif isinstance(values[0], TensorFields):
                changes[field.name] = type(values[0])._join(values, dim, join, new_dims)
            else:
                changes[field.name] = _joined(cls, field.name, values, dim, join)
        return dataclasses.replace(items[0], **changes)


def _to_tensor(owner: type, name: str, value: Any) -> Tensor:
    """Take a NumPy array or a number; negative strides and read-only memory, which torch refuses, are copied."""
    try:
        return torch.as_tensor(np.require(value, requirements=("C", "W")) if isinstance(value, np.ndarray) else value)
    except TypeError as error:
        raise ShapeError(f"{owner.__name__}.{name}: expected numbers in native byte order; {error}") from error


def _joined(owner: type, name: str, values: list[Tensor], dim: int, join: Callable[..., Tensor]) -> Tensor:
    try:
        return join(values, dim=dim)
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise ShapeError(f"{owner.__name__}.{name}: the shapes {shapes} do not join along dimension {dim}") from error


def _match(owner: type, name: str, value: Tensor, trailing: Trailing, sizes: dict[str, int]) -> tuple[int, ...]:
    """Check one tensor against its declared trailing shape and return its batch shape."""
    count = len(trailing.dims)
    split = value.ndim - count
    shape = tuple(value.shape)
    fits = split >= 0 and all(
        size == dim if isinstance(dim, int) else size == sizes.setdefault(dim, size)
        for dim, size in zip(trailing.dims, shape[max(split, 0) :], strict=False)
    )
    if not fits:
        known = ", ".join(f"{dim}={sizes[dim]}" for dim in trailing.dims if isinstance(dim, str) and dim in sizes)
        raise ShapeError(
            f"{owner.__name__}.{name}: expected {trailing}{f' with {known}' if known else ''}, got {shape}"
        )
    return shape[:split]


_DECLARED: dict[type, dict[str, Trailing]] = {}


def _declared(owner: type) -> dict[str, Trailing]:
    """Field name -> trailing shape, of the tensor fields and the nested containers of `owner`; read once a class."""
    if owner in _DECLARED:
        return _DECLARED[owner]
    found: dict[str, Trailing] = {}
    hints = get_type_hints(owner, include_extras=True)
    for field in dataclasses.fields(owner):
        hint = hints[field.name]
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for option in options:
            if get_origin(option) is Annotated:
                found[field.name] = next(mark for mark in option.__metadata__ if isinstance(mark, Trailing))
            elif isinstance(option, type) and issubclass(option, TensorFields):
                found[field.name] = Trailing()
    _DECLARED[owner] = found
    return found
