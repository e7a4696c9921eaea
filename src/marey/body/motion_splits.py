"""Which motions are for training and which for benchmarks, stated once: no number is measured on what was seen."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["training", "benchmark"]

_CLIPS: dict[Split, tuple[str, ...]] = {
    "training": (
        "backflip",
        "cartwheel",
        "crawl",
        "dance_a",
        "dance_spin",
        "getup_faceup",
        "jump",
        "punch",
        "roll",
        "run",
        "spin",
        "spinkick",
        "walk",
        "zombie_walk",
        "01_01",
    ),
    "benchmark": (
        "dance_b",
        "getup_facedown",
        "jog",
        "kick",
        "sideflip",
        "stealthy_walk",
        "11_01",
    ),
}
"""The clips of the DeepMimic humanoid and the recordings of Carnegie Mellon University, by the names that their readers
give. The pose prior was fitted to the first."""
_BENCHMARK_SHARE = 0.2
"""Of all other motions."""


def split_of(name: str) -> Split:
    """Whether a motion is for training or for benchmarks, by its name: the known clips as listed, others by a hash."""
    for split, names in _CLIPS.items():
        if name in names:
            return split
    drawn = int.from_bytes(hashlib.sha256(f"marey.motion|{name}".encode()).digest()[:8], "big") / 2**64
    return "benchmark" if drawn < _BENCHMARK_SHARE else "training"
