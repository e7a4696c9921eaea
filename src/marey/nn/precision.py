"""Half the digits where they suffice, and none lost where they do not: coordinates lose metres in bfloat16."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from marey.core import InputError

Precision = Literal["auto", "float32", "bfloat16"]
"""Of networks at inference. `auto`: bfloat16 where the processor or the accelerator computes in it."""


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which nothing on the device of a tensor is cast down, whatever the caller's autocast says."""
    return torch.autocast(like.device.type, enabled=False)


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not.

    Raises:
        InputError: there is no such precision.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision: expected auto, float32 or bfloat16, got '{precision}'")


def is_half(precision: Precision, device: torch.device) -> bool:
    """Whether networks compute in bfloat16 on a device."""
    return precision == "bfloat16" or (precision == "auto" and _native_bfloat16(device))


def network_precision(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which networks compute in a precision, and what says `full_precision` in all digits."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half(precision, device))


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
