"""Random numbers as a pure function of what they are for: no state, no order, the same bits in any batch split.

A number is a hash of (seed, split, purpose, index of the sample, place in the draw). Nothing is drawn "next": a sample
can be made again alone, on another machine, or after a thousand others. The hash is the finaliser of SplitMix64
(Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), applied to the index and then to
the place; integers only, hence equal on every device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from marey.core import InputError

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer: 2^64 / golden ratio
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB
_PLACES = 1 << 16
"""Numbers of one draw: 16 bits of the normal table, see `bell_table`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Where the random numbers of B samples come from."""

    seed: int
    split: str
    indices: Tensor
    """(B,) int64, on the device that the numbers are wanted on."""
    scope: str = ""
    """Put before every purpose, so that two users of one purpose do not share numbers."""

    def __getitem__(self, index: slice | Tensor) -> Draws:
        """Some of the samples."""
        return replace(self, indices=self.indices[index])

    def within(self, scope: str) -> Draws:
        """The same samples, with purposes of their own."""
        return replace(self, scope=f"{self.scope}{scope}/")

    def fork(self, numbers: Tensor, scope: str) -> Draws:
        """Samples of their own for what a sample has several of: people, pictures, moments.

        Args:
            numbers: (B, C) int64, which of them; the same number gives the same draws whatever stands beside it.
            scope: of the draws.

        Returns:
            Draws of (B * C,) samples.
        """
        mixed = _mixed(_mixed(self.indices)[:, None] + numbers * _GOLDEN).flatten()
        return replace(self, indices=mixed, scope=f"{self.scope}{scope}/")

    def integers(self, purpose: str, *shape: int) -> Tensor:
        """(B, ...) int64, all 64 bits random."""
        key = _key(self.seed, self.split, self.scope + purpose)
        places = torch.arange(1, math.prod(shape) + 1, device=self.indices.device) * _GOLDEN
        return _mixed(_mixed(self.indices + key)[:, None] + places).reshape(len(self.indices), *shape)

    def uniform(self, purpose: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, ...) float64, uniform in [low, high)."""
        return low + (high - low) * _fraction(self.integers(purpose, *shape))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(B, ...) float64, standard normal up to 4.3 deviations: the quantile of a uniform number, from a table.

        Reading a table and blending its neighbours is exact arithmetic, the same wherever a number stands in a batch.
        Logarithms and cosines are not: vector instructions round them otherwise than what is left over does.
        """
        place = self.uniform(purpose, *shape) * (_PLACES - 1)
        low = place.floor()
        table, at = bell_table(place.device).to(torch.float64), low.long()
        return table[at] + (place - low) * (table[at + 1] - table[at])

    def chance(self, purpose: str, probability: float) -> Tensor:
        """(B,) boolean, true with a probability."""
        return self.uniform(purpose) < probability

    def choice(self, purpose: str, weights: Sequence[float], *shape: int) -> Tensor:
        """(B, ...) int64, places in `weights`, each as likely as its weight says.

        Raises:
            InputError: no weight, a negative one, or all are zero.
        """
        if not weights or min(weights) < 0 or not sum(weights) > 0:
            raise InputError(f"{purpose}: expected weights >= 0 with a positive sum, got {tuple(weights)}")
        edges = torch.tensor(weights, dtype=torch.float64, device=self.indices.device).cumsum(0)
        return (self.uniform(purpose, *shape)[..., None] * edges[-1] >= edges[:-1]).sum(-1)

    def bell(self, purpose: str, count: int) -> Tensor:
        """(B, count) float32, standard normal in 65,536 steps: for the noise of many pixels, four numbers a hash."""
        hashes = self.integers(purpose, -(-count // 4))
        places = hashes.view(torch.int16)[:, :count].int() + _PLACES // 2
        return bell_table(hashes.device).index_select(0, places.flatten()).reshape(places.shape)


@cache
def bell_table(device: torch.device) -> Tensor:
    """(65536,) float32: the quantiles of the normal distribution at the middles of equal shares."""
    shares = (torch.arange(_PLACES, dtype=torch.float64) + 0.5) / _PLACES
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.to(torch.float32).to(device)


@cache
def _key(seed: int, split: str, purpose: str) -> int:
    """64 bits of SHA-256, as a signed integer."""
    text = f"marey.data.synthetic|1|{seed}|{split}|{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _mixed(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64; multiplication wraps around."""
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros; torch's own shift repeats the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _fraction(integers: Tensor) -> Tensor:
    """The upper 53 bits as a number in [0, 1)."""
    return _shifted(integers, 11).to(torch.float64) * 2.0**-53
