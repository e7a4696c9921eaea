"""Shape coefficients from phenotypes: linear in the products that Anny mixes its blend shapes with."""

from __future__ import annotations

import torch
from anny_source import PHENOTYPES, Source
from asset import Phenotypes
from people import Population
from torch import Tensor

MOMENT_YEARS = (0, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 25, 40, 60, 80, 90)
_RIDGE = 1e-6
_HELD = {"averagecup", "averagefirmness"}
"""Variations that all people have here."""
_ORIGINS = {"african", "asian", "caucasian"}
"""Mixed in equal shares."""


def anyone(count: int, seed: int) -> Tensor:
    """Phenotypes (count, 6) of any combination, likely or not."""
    drawn = torch.rand(count, len(PHENOTYPES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    age = PHENOTYPES.index("age")
    drawn[:, age] = drawn[:, age] * 4 / 3 - 1 / 3
    return drawn


def fit_phenotypes(source: Source, population: Population, phenotypes: Tensor, coefficients: Tensor) -> Phenotypes:
    """Least squares over people of phenotypes (B, 6) and coefficients (B, S)."""
    reduced = [tuple(sorted(set(terms) - _HELD - _ORIGINS)) for terms in source.blend_terms]
    unique = sorted(set(reduced))
    variations = sorted({name for terms in unique for name in terms})
    shares = torch.tensor([len(_ORIGINS) if _ORIGINS & set(terms) else 1 for terms in source.blend_terms])
    products = source.blend_weights(phenotypes)[:, source.used] * shares
    columns = torch.stack([products[:, [row == terms for row in reduced]].amax(1) for terms in unique], 1)
    years = torch.tensor(MOMENT_YEARS, dtype=torch.float64)
    return Phenotypes(
        variations=variations,
        terms=torch.tensor([[name in row for name in variations] for row in unique]),
        map=_affine(columns, coefficients.double()),
        ages=population.age_anchors,
        moments=population.moments(years),
        moment_years=years,
    )


def _affine(columns: Tensor, wanted: Tensor) -> Tensor:
    """The map (K + 1, S) from columns (B, K) and a constant; rows of what few people have stay small."""
    scale = columns.amax(0)
    design = torch.cat((columns / scale, torch.ones(len(columns), 1, dtype=columns.dtype)), 1)
    ridge = _RIDGE * len(design) * torch.eye(design.shape[1], dtype=design.dtype)
    ridge[-1, -1] = 0
    found = torch.linalg.solve(design.mT @ design + ridge, design.mT @ wanted)
    print(f"phenotypes: coefficients are off by {(design @ found - wanted).square().mean().sqrt():.3f}", flush=True)
    return torch.cat((found[:-1] / scale[:, None], found[-1:]))
