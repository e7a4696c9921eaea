"""What the benchmark asks: the cells that were promised, on random numbers that no training has."""

from itertools import pairwise

import pytest
import torch

from marey.data.benchmark.cells import CELLS, COUNT, SCENE_SETS, SEED
from marey.data.synthetic import SPLITS
from marey.data.synthetic.random import Draws


def test_cells__are_those_promised():
    assert list(CELLS) == [
        "single_easy",
        "single_medium",
        "single_hard",
        "calibrated_4",
        "calibrated_8",
        "uncalibrated_2",
        "uncalibrated_3",
        "uncalibrated_4",
        "uncalibrated_6",
        "occlusion_0",
        "occlusion_20",
        "occlusion_40",
        "occlusion_60",
        "occlusion_80",
    ]
    assert COUNT == 2000


@pytest.mark.parametrize("cell", CELLS.values(), ids=lambda cell: cell.name)
def test_cells__look_through_cameras_that_are_there(cell):
    views = SCENE_SETS[cell.scenes].config.views
    assert set(cell.views) <= set(range(views))
    assert len(set(cell.views)) == len(cell.views)
    assert cell.name.startswith("single") or cell.name.startswith("occlusion") or str(len(cell.views)) in cell.name


def test_cells__of_more_uncalibrated_views_hold_those_of_fewer():
    views = [CELLS[f"uncalibrated_{count}"].views for count in (2, 3, 4, 6)]
    assert all(fewer == more[: len(fewer)] for fewer, more in pairwise(views))


@pytest.mark.parametrize("scenes", SCENE_SETS.values(), ids=lambda scenes: scenes.name)
def test_scenes__are_of_the_benchmark_split(scenes):
    assert scenes.config.split == "benchmark"
    assert scenes.config.motions is None
    assert scenes.config.backgrounds is None


@pytest.mark.parametrize("seed", [SEED, 0, 1, 7])
def test_random_numbers__of_training_are_others_at_any_seed(seed):
    indices = torch.arange(4000)
    ours, theirs = (
        Draws(seed=number, split=split, indices=indices).integers("people", 8).flatten()
        for number, split in ((SEED, "benchmark"), (seed, "training"))
    )
    assert not torch.isin(ours, theirs).any()
    assert SPLITS == ("training", "benchmark")


@pytest.mark.parametrize("percent", [0, 20, 40, 60, 80])
def test_occlusion__hides_one_share_in_every_picture_and_cuts_nobody_off(percent):
    tier = SCENE_SETS[f"occluded_{percent}"].config.difficulty
    assert tier.occlusion == (percent / 100, percent / 100)
    assert tier.occluded == (1 if percent else 0)
    assert tier.truncated == 0
