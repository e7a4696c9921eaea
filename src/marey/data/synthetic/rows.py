"""What is drawn for many samples at once and used for some: dataclasses of tensors that share their first dimension."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Mixin of the parameters of rendering.

    Every field is a tensor or `Rows`. Unlike `TensorFields` nothing is checked: these are made here and here only, a
    dozen times a picture.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            changes[field.name] = value.map(function) if isinstance(value, Rows) else function(value)
        return type(self)(**changes)

    def __getitem__(self, index: Any) -> Self:
        """Some of the rows."""
        return self.map(lambda tensor: tensor[index])

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def take(self, index: Tensor) -> Self:
        """Rows by number, (K,) int64, repeated or not; a single row is left alone, for it broadcasts."""
        if len(self) == 1:
            return self
        return self.map(lambda tensor: tensor.index_select(0, index))

    def float(self) -> Self:
        """A copy in single precision."""
        return self.map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
