"""The people whose shapes the body is made from, and the poses its skin is fitted in.

Phenotypes are distributed as Anny has them, calibrated to the growth charts of the World Health Organisation; ages,
sexes and poses are drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from anny_source import PHENOTYPES, Source
from torch import Tensor

from marey.body.pose_sampling import LimitPoses, sample_poses

ADULTS, CHILDREN = (18.0, 90.0), (0.0, 18.0)
"""Years."""
OLDEST = ADULTS[1]
BETWEEN_SEXES = 0.1
"""Share of people whose sex is drawn between the two ends, so that shapes between them are in the space."""
USUAL = 0.4
"""Share of the limits that most poses keep within."""
_DRAWN = ("height", "weight", "muscle", "proportions")


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """B people."""

    years: Tensor
    """(B,)"""
    phenotypes: Tensor
    """(B, 6) in Anny's order."""


class Population:
    """Anny's distribution of phenotypes given age and sex."""

    def __init__(self, source: Source) -> None:
        from anny.shape_distribution import SimpleShapeDistribution

        self._anny = SimpleShapeDistribution(source.model)

    @property
    def age_anchors(self) -> Tensor:
        """(2, A) Years, and Anny's age of each; linear between."""
        mapping = self._anny.morphological_age_mapping
        return torch.stack((mapping.morphological_age_anchors, mapping.anny_age_anchors))

    def draw(self, count: int, years: tuple[float, float], seed: int) -> People:
        """People of ages between two, uniformly, half of them of each sex."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # the distributions of torch take no generator
            drawn = years[0] + (years[1] - years[0]) * torch.rand(count, dtype=torch.float64)
            between = torch.rand(count) < BETWEEN_SEXES
            sex = torch.where(between, torch.rand(count), (torch.rand(count) < 0.5).float()).double()
            age = self._anny.morphological_age_mapping.morphological_to_anny_age(drawn)
            values = {"gender": sex, "age": age}
            for name in _DRAWN:
                boys, girls = (self._conditional(side, name, age).sample() for side in ("boys", "girls"))
                values[name] = torch.where(sex <= 0.5, boys, girls)
        return People(years=drawn, phenotypes=torch.stack([values[name] for name in PHENOTYPES], 1))

    def moments(self, years: Tensor) -> Tensor:
        """Mean and standard deviation of height, weight, muscle and proportions of both sexes, (A, 2, 4, 2)."""
        age = self._anny.morphological_age_mapping.morphological_to_anny_age(years)
        rows = [[self._conditional(side, name, age) for name in _DRAWN] for side in ("boys", "girls")]
        pairs = [[torch.stack((one.mean, one.stddev), -1) for one in row] for row in rows]
        return torch.stack([torch.stack(row, 1) for row in pairs], 1)

    def _conditional(self, side: str, name: str, age: Tensor) -> torch.distributions.Beta:
        return getattr(self._anny, f"{side}_conditional_{name}_distribution").get_torch_distribution(age)


def draw_poses(count: int, *, seed: int, fraction: float = 1.0) -> Tensor:
    """Rotations (count, 24, 3, 3) drawn within a fraction of the limits of the joints, the root at rest."""
    pose = sample_poses(LimitPoses(fraction=fraction), count, seed=seed)
    return torch.cat((torch.eye(3, dtype=pose.dtype).expand(count, 1, 3, 3), pose), 1)


def fit_poses(people: int, each: int, *, seed: int) -> Tensor:
    """Rotations (people, each, 24, 3, 3): of every person half within the limits, half near standing at ease.

    People mostly stand, so that the skin is nearest there; limits alone would leave arms that hang to chance.
    """
    wide = draw_poses(people * (each // 2), seed=seed)
    usual = draw_poses(people * (each - each // 2), seed=seed + 1000, fraction=USUAL)
    return torch.cat([poses.unflatten(0, (people, -1)) for poses in (wide, usual)], 1)
