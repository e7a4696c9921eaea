"""Synthetic captures: people rendered from random numbers alone, with exact labels.

`SyntheticConfig` says what is made, `SyntheticGenerator` makes it. Every sample is a pure function of the seed and its
index.
"""

from __future__ import annotations

from marey.data.synthetic.config import SPLITS, TIERS, SyntheticConfig, Tier
from marey.data.synthetic.generator import SyntheticGenerator
from marey.data.synthetic.labels import PeopleLabels, PixelLabels, SyntheticBatch, ViewLabels

__all__ = [
    "SPLITS",
    "TIERS",
    "PeopleLabels",
    "PixelLabels",
    "SyntheticBatch",
    "SyntheticConfig",
    "SyntheticGenerator",
    "Tier",
    "ViewLabels",
]
