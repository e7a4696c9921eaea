"""Synthetic captures: people rendered from random numbers alone, with exact labels.

`SyntheticConfig` says what is made, `SyntheticGenerator` makes it. Every sample is a pure function of the seed and its
index.
"""

from __future__ import annotations

from marey.data.synthetic.config import SPLITS, TIERS, SyntheticConfig, Tier
from marey.data.synthetic.flip import flipped, mirror_vertices
from marey.data.synthetic.generator import SyntheticGenerator
from marey.data.synthetic.labels import PeopleLabels, PixelLabels, SyntheticBatch, ViewLabels
from marey.data.synthetic.sheet import contact_sheet
from marey.data.synthetic.stream import SyntheticStream

__all__ = [
    "SPLITS",
    "TIERS",
    "PeopleLabels",
    "PixelLabels",
    "SyntheticBatch",
    "SyntheticConfig",
    "SyntheticGenerator",
    "SyntheticStream",
    "Tier",
    "ViewLabels",
    "contact_sheet",
    "flipped",
    "mirror_vertices",
]
