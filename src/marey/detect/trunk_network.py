"""The trunk as fast as a processor runs it: batch norms folded, channels last, bfloat16 where it is native."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from marey.core import InputError
from marey.nn.folding import folded
from marey.nn.trunk import Trunk, TrunkMaps

Precision = Literal["auto", "float32", "bfloat16"]
"""`auto`: bfloat16 where the processor or the accelerator computes in it."""


class TrunkRunner:
    """Runs a trunk on pictures of 8 bits."""

    def __init__(self, trunk: Trunk, *, device: torch.device | str = "cpu", precision: Precision = "auto") -> None:
        """Copy the network, which stays as it is.

        Raises:
            InputError: there is no such precision, or the network is being trained.
        """
        if precision not in ("auto", "float32", "bfloat16"):
            raise InputError(f"precision: expected auto, float32 or bfloat16, got '{precision}'")
        self.device = torch.device(device)
        self._half = precision == "bfloat16" or (precision == "auto" and _native_bfloat16(self.device))
        self._trunk = folded(trunk).to(self.device)

    @property
    def fingerprint(self) -> str:
        """Another one computes other numbers."""
        digest = hashlib.sha256(str(self._half).encode())
        for name, values in self._trunk.state_dict().items():
            digest.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def __call__(self, pictures: npt.NDArray[np.uint8]) -> TrunkMaps:
        """Look at pictures (N, H, W, 3); the maps are in single precision."""
        images = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            maps = self._trunk(images.contiguous(memory_format=torch.channels_last))
        return TrunkMaps(*(values.float() for values in maps))


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
