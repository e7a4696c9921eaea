"""The state of a module, put into it as a whole or refused with what does not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from marey.core.errors import FormatError
from marey.io.naming import listed

_NAMED = 4
"""Names in a message before the rest is only counted."""
_LONGEST = 100
"""Letters of a tensor's name and shapes in a message."""


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    network: str = "",
    optional: Collection[str] = (),
    assign: bool = False,
) -> None:
    """Put tensors into a module: every one has a place and the shape that is wanted there, and no place stays empty.

    Args:
        module: Stays as it is if something does not fit.
        state: Tensors by the names of `module.state_dict()`.
        source: Where they are from, for messages.
        network: What the module is, for messages; empty: its class.
        optional: Names of places that may stay as they are.
        assign: Whether the module takes the tensors themselves, with their types and devices, as one without memory
            (`meta`) needs; otherwise their values are copied into its own.

    Raises:
        FormatError: tensors are missing, unknown or of other shapes.
    """
    own = module.state_dict()
    problems = {
        "lacks": [name for name in own if name not in state and name not in optional],
        "has no place for": [name for name in state if name not in own],
        "other shapes:": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
            for name, value in own.items()
            if name in state and state[name].shape != value.shape
        ],
    }
    told = [f"{what} {listed_tensors(names)}" for what, names in problems.items() if names]
    if told:
        raise FormatError(f"{source}: does not fit {network or type(module).__name__}: {'; '.join(told)}")
    module.load_state_dict(dict(state), strict=False, assign=assign)


def listed_tensors(names: Sequence[str]) -> str:
    """Names of tensors for a message: the first ones, and how many more there are."""
    return listed(names, most=_NAMED, longest=_LONGEST)
