"""What the benchmark `synthetic` version 1 asks: scenes, and the cells that look at them through some of the cameras.

Any change here, in the captures, or in the simulated detector that changes a label is another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from marey.data.synthetic import TIERS, SyntheticConfig

NAME, VERSION = "synthetic", "1"
SEED = 20261
"""Of the split `benchmark`, whose random numbers no other split has at any seed."""
COUNT = 2000
"""Samples of every cell."""
SKELETON = "coco_17"
"""Whose joints are detected and scored."""
SKELETONS = (SKELETON, "h36m_17")
"""Labelled beside the body's own joints, which are those of `smpl_24`."""

CamerasKnown = Literal["full", "intrinsics", "none"]

_HIDDEN_PERCENT = (0, 20, 40, 60, 80)


@dataclass(frozen=True, kw_only=True)
class SceneSet:
    """Scenes and all cameras around each: what labels are made and fixed for."""

    name: str
    config: SyntheticConfig


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of the table: some cameras of a set of scenes, and what a method is told about them."""

    name: str
    title: str
    """In words, for tables."""
    scenes: str
    """Name of the set."""
    views: tuple[int, ...]
    """V of the cameras of the set, in this order."""
    cameras: CamerasKnown
    """What a method is given. `full`: joints are asked for in the world. `intrinsics`, `none`: in the frame of the
    first of the cameras."""


def _config(tier: str, *, views: int = 1, hidden: float | None = None) -> SyntheticConfig:
    level = TIERS[tier]
    if hidden is not None:
        level = replace(level, occluded=1.0 if hidden else 0.0, occlusion=(hidden, hidden), truncated=0.0)
    return SyntheticConfig(tier=tier if hidden is None else level, split="benchmark", views=views, skeletons=SKELETONS)


def _scene_sets() -> dict[str, SceneSet]:
    configs = {tier: _config(tier) for tier in TIERS}
    configs["ring"] = _config("medium", views=8)
    configs |= {f"occluded_{percent}": _config("medium", hidden=percent / 100) for percent in _HIDDEN_PERCENT}
    return {name: SceneSet(name=name, config=config) for name, config in configs.items()}


def _cells() -> dict[str, Cell]:
    cells = [
        Cell(name=f"single_{tier}", title=f"one view, {tier}", scenes=tier, views=(0,), cameras="intrinsics")
        for tier in TIERS
    ]
    calibrated = {4: (0, 2, 4, 6), 8: tuple(range(8))}
    cells += [
        Cell(name=f"calibrated_{count}", title=f"{count} calibrated views", scenes="ring", views=views, cameras="full")
        for count, views in calibrated.items()
    ]
    # each holds the one before it, so that what another view brings can be told
    order = (0, 3, 6, 1, 4, 7)
    cells += [
        Cell(
            name=f"uncalibrated_{count}",
            title=f"{count} uncalibrated views",
            scenes="ring",
            views=order[:count],
            cameras="none",
        )
        for count in (2, 3, 4, 6)
    ]
    cells += [
        Cell(
            name=f"occlusion_{percent}",
            title=f"one view, {percent} % hidden",
            scenes=f"occluded_{percent}",
            views=(0,),
            cameras="intrinsics",
        )
        for percent in _HIDDEN_PERCENT
    ]
    return {cell.name: cell for cell in cells}


SCENE_SETS: Mapping[str, SceneSet] = _scene_sets()
"""By name. The four of each occlusion show the same people in the same poses, with and without what hides them."""
CELLS: Mapping[str, Cell] = _cells()
"""By name. Those of the set `ring` are of the same scenes, so they compare sample by sample."""
