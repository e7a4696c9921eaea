"""Configurations say what is wrong with them, and the tiers are as stated."""

import math
from dataclasses import replace

import pytest

from marey.core import InputError
from marey.data.synthetic import TIERS, SyntheticConfig
from marey.data.synthetic.cameras import LENSES
from marey.data.synthetic.config import LENS_KINDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tier": "simple"}, "tier: expected one of easy, medium, hard or a Tier, got 'simple'"),
        ({"split": "test"}, "split: expected one of training, benchmark, got 'test'"),
        ({"image_size": (8, 256)}, "image_size: expected 16 to 8192 pixels a side"),
        ({"image_size": (256, 10_000)}, "image_size: expected 16 to 8192 pixels a side"),
        ({"views": 0}, "one or more views and people, got 0"),
        ({"people": 0}, "one or more views and people, got 1 and 0"),
        ({"framing": "face"}, "framing: expected person or scene, got 'face'"),
    ],
)
def test_config__impossible_values_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        SyntheticConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motions": {"dance": 1.0}}, "Tier.motions: expected weights >= 0 of limits, prior, got {'dance': 1.0}"),
        ({"lenses": {"phone": 0.0}}, "Tier.lenses: expected weights >= 0 of phone"),
        ({"lenses": {}}, "Tier.lenses"),
        ({"children": 1.5}, "Tier.children: expected a share in 0..1, got 1.5"),
        ({"people": (3, 2)}, "Tier.people: expected 1 <= low <= high <= 64, got 3 and 2"),
        ({"occlusion": (0.5, 1.2)}, "Tier.occlusion: expected 0 <= low <= high <= 1"),
        ({"distance": (0.0, 3.0)}, "Tier.distance: expected 0.5 <= low"),
    ],
)
def test_tier__impossible_values_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        replace(TIERS["easy"], **changes)


def test_lens_kinds__are_those_that_there_are():
    assert set(LENS_KINDS) == set(LENSES)


def test_tiers__are_as_difficult_as_they_say():
    easy, medium, hard = (TIERS[name] for name in ("easy", "medium", "hard"))
    assert (easy.yaw, easy.joint_range, easy.distance) == (math.radians(60), 0.5, (2.5, 6.0))
    assert (easy.children, easy.occlusion, easy.truncated, easy.people) == (0.0, (0.0, 0.0), 0.0, (1, 1))
    assert (medium.yaw, medium.occlusion[1], medium.truncated) == (math.pi, 0.3, 0.2)
    assert medium.children > 0
    assert (hard.joint_range, hard.occlusion[1]) == (1.0, 0.8)
    assert hard.people[1] > 1


def test_slots__are_the_most_people_there_can_be():
    assert [SyntheticConfig(tier=name).slots for name in ("easy", "hard")] == [1, 3]
    assert SyntheticConfig(tier="easy", people=4).slots == 4
