"""The gate of every export: what the file computes equals what the module computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError
from marey.engine.networks import Network, check_shape

Runner = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""The exported program: inputs to outputs."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One comparison."""

    sizes: Mapping[str, int]
    """Of the open dimensions."""
    errors: Mapping[str, float]
    """By output, the largest difference as a share of the output's largest value; integers: how many differ."""


def check_round_trip(network: Network, runner: Runner, *, tolerance: float, what: str) -> tuple[Trial, ...]:
    """Run an exported program and the module on the example, and on other sizes of the open dimensions.

    Args:
        network: what was exported, on the CPU.
        runner: the program, loaded from its file.
        tolerance: the largest difference allowed, as a share of an output's largest finite value. Integers and
            booleans must be equal, and NaN and infinities lie in the same places.
        what: the program, for messages.

    Raises:
        InputError: the two differ, the program takes no other sizes, or an output has no finite value to compare on
            the example as it is.
        ShapeError: the module's outputs are not of the shapes that were named.
    """
    return tuple(_trial(network, runner, sizes, tolerance, what) for sizes in network.trials())


def _trial(network: Network, runner: Runner, sizes: Mapping[str, int], tolerance: float, what: str) -> Trial:
    inputs = network.resized(sizes)
    expected = network.run(inputs)
    at = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "the example"
    try:
        found = runner(inputs)
    except Exception as error:  # a runtime raises a dozen types where a graph does not take a size
        raise InputError(f"{what} does not run at {at}, where the module does: {str(error)[:500]}") from error
    errors = {}
    for port, ours, theirs in zip(network.outputs, found, expected, strict=True):
        check_shape(port, theirs, sizes)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise InputError(
                f"{what} gives {port.name} as {tuple(ours.shape)} of {ours.dtype} at {at}, the module "
                f"{tuple(theirs.shape)} of {theirs.dtype}; nothing was written"
            )
        cut = sizes != network.sizes and theirs.is_floating_point() and not theirs.isfinite().any()
        errors[port.name] = _unlike(ours, theirs) if cut else difference(ours, theirs, port.name)
    limits = {
        port.name: tolerance if out.is_floating_point() else 0.0
        for port, out in zip(network.outputs, expected, strict=True)
    }
    if bad := {name: error for name, error in errors.items() if not error <= limits[name]}:
        words = ", ".join(f"{name} by {error:.3g}" for name, error in bad.items())
        raise InputError(
            f"{what} computes something else than the module at {at}: {words} of its largest value, allowed is "
            f"{tolerance:g}; nothing was written"
        )
    return Trial(sizes=sizes, errors=errors)


def _unlike(found: Tensor, expected: Tensor) -> float:
    """0 if NaN and infinities are the same: all that is left where the example, cut to other sizes, shows nothing."""
    same = (found == expected) | (found.isnan() & expected.isnan())
    return 0.0 if same.all() else torch.inf


def difference(found: Tensor, expected: Tensor, what: str) -> float:
    """The largest difference, as a share of the largest finite value; infinite where NaN or infinities differ.

    Integers and booleans: how many differ.

    Raises:
        InputError: nothing in `expected` is finite, so that there is nothing to compare.
    """
    if not expected.is_floating_point():
        return float((found != expected).sum())
    finite = expected.isfinite()
    if not finite.any():
        raise InputError(f"{what}: no value of the example is finite; give an example that shows what it computes")
    same = (found == expected) | (found.isnan() & expected.isnan())
    if not torch.where(finite, found.isfinite(), same).all():
        return torch.inf
    known, aim = found[finite].double(), expected[finite].double()
    scale = float(aim.abs().amax()) or 1.0
    return float((known - aim).abs().amax()) / scale
