"""Occluders hide the share that was drawn, stand before the person, and change no other pixel."""

import pytest
import torch

from marey.data.synthetic.occluders import draw_occluders, occluder_depth, occluder_masks, paint_occluders
from marey.data.synthetic.random import Draws

PICTURES, HEIGHT, WIDTH = 60, 50, 70


@pytest.fixture
def person() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    ellipse = ((x - 30) / 12.3) ** 2 + ((y - 24) / 20.1) ** 2 < 1
    return ellipse.expand(PICTURES, -1, -1)


def _occluders(share=(0.1, 0.8), chance=1.0):
    draws = Draws(seed=0, split="training", indices=torch.arange(PICTURES))
    return draw_occluders(draws, share=share, chance=chance)


def test_occluders__hide_the_drawn_share(person):
    occluders = _occluders()
    mask = occluder_masks(occluders, person)
    hidden = (mask & person).flatten(1).sum(-1) / person.flatten(1).sum(-1)
    # pixels at one distance are hidden together
    assert (hidden - occluders.share).abs().max() < 0.06
    assert (hidden - occluders.share).abs().median() < 0.01
    assert set(occluders.shape.tolist()) == set(range(5))


def test_occluders__some_pictures_have_none(person):
    occluders = _occluders(chance=0.5)
    covered = occluder_masks(occluders, person).flatten(1).any(-1)
    assert torch.equal(covered, occluders.present)
    assert 15 < int(covered.sum()) < 45


def test_occluders__nobody_is_hidden_where_nobody_is():
    assert not occluder_masks(_occluders(), torch.zeros(PICTURES, HEIGHT, WIDTH, dtype=torch.bool)).any()


def test_occluders__are_before_what_they_cover(person):
    occluders = _occluders()
    mask = occluder_masks(occluders, person)
    depth = torch.where(person, 3.0, torch.inf)
    before = occluder_depth(occluders, mask, depth)
    assert (before[mask] < 3.0).all()
    assert (before[mask] > 0).all()
    assert torch.equal(before[~mask], depth[~mask])


def test_paint__covers_the_mask_only(person):
    occluders = _occluders()
    mask = occluder_masks(occluders, person)
    linear = torch.full((PICTURES, 3, HEIGHT, WIDTH), 7.0)
    painted = paint_occluders(occluders, mask, linear).permute(0, 2, 3, 1)
    assert (painted[~mask] == 7).all()
    assert (painted[mask] < 2).all()
    assert (painted[mask] >= 0).all()
    assert paint_occluders(occluders, torch.zeros_like(mask), linear) is linear
