"""The trunk as fast as a processor runs it: batch norms folded, channels last, bfloat16 where it is native."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch

from marey.nn.folding import folded
from marey.nn.precision import Precision, check_precision, is_half
from marey.nn.trunk import Trunk, TrunkMaps


class TrunkRunner:
    """Runs a trunk on pictures of 8 bits."""

    def __init__(self, trunk: Trunk, *, device: torch.device | str = "cpu", precision: Precision = "auto") -> None:
        """Copy the network, which stays as it is.

        Raises:
            InputError: there is no such precision, or the network is being trained.
        """
        check_precision(precision)
        self.device = torch.device(device)
        self._half = is_half(precision, self.device)
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
