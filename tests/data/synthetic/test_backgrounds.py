"""What is behind the people: places are where they should be, every family paints, rays meet the pixels."""

import math

import pytest
import torch

from marey.core import Cameras
from marey.data.synthetic.backgrounds import BACKGROUND_FAMILIES, draw_backgrounds, paint_backgrounds
from marey.data.synthetic.places import _exits, _under_feet
from marey.data.synthetic.random import Draws
from marey.data.synthetic.views import Views, between_nodes, ray_nodes
from marey.geometry.projection import pixels_to_rays

SCENES, VIEWS, SIZE = 12, 2, (20, 24)


@pytest.fixture(scope="module")
def cameras() -> Cameras:
    """Looking along x from 3 m away, slightly downwards, with some distortion."""
    tilt = 0.2
    rotation = torch.tensor(
        [[0.0, -1, 0], [-math.sin(tilt), 0, -math.cos(tilt)], [math.cos(tilt), 0, -math.sin(tilt)]]
    ).double()
    center = torch.tensor([-3.0, 0.0, 1.5], dtype=torch.float64)
    return Cameras(
        intrinsics=torch.tensor([[[20.0, 0, 11.5], [0, 20, 9.5], [0, 0, 1]]]).double(),
        distortion=torch.tensor([[-0.05, 0.01, 0.0005, -0.0005, 0.0]]).double(),
        image_size=torch.tensor([[24.0, 20.0]]).double(),
        rotation=rotation[None],
        translation=-(rotation @ center)[None],
    )


def _views(cameras: Cameras, count: int) -> Views:
    rays = between_nodes(ray_nodes(cameras, SIZE), SIZE)
    return Views(
        origins=cameras.centers.float().expand(count, 3),
        rays=rays.expand(count, -1, -1, -1),
        feet=torch.zeros(count, 1, 3),
    )


def test_rays__are_those_of_the_pixels(cameras):
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    _, expected = pixels_to_rays(torch.stack((x, y), -1).double()[None], cameras)
    found = between_nodes(ray_nodes(cameras, SIZE), SIZE)[0].permute(1, 2, 0).double()
    cosine = (found * expected[0]).sum(-1) / found.norm(dim=-1)
    assert cosine.clamp(-1, 1).acos().max() < 0.002


def test_exits__are_on_the_sides_of_the_box():
    low, high = torch.tensor([[-4.0, -2, 0]]), torch.tensor([[5.0, 3, 2.5]])
    rays = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, -1], [0, 0, 1], [1, 0, -1]])
    place, side, point = _exits(torch.tensor([[0.0, 0, 1]]), rays.mT.reshape(1, 3, 1, 7), low, high)
    assert side.flatten().tolist() == [1, 0, 3, 2, 4, 5, 4]
    expected = [[5, 0, 1], [-4, 0, 1], [0, 3, 1], [0, -2, 1], [0, 0, 0], [0, 0, 2.5], [1, 0, 0]]
    assert torch.allclose(point.reshape(3, 7).mT, torch.tensor(expected), atol=1e-4)
    assert torch.allclose(place.reshape(3, 7)[:2, 6], torch.tensor([1.0, 0.0]), atol=1e-4)
    assert torch.allclose(place.reshape(3, 7)[:2, 0], torch.tensor([0.0, 1.0]), atol=1e-4)


def test_shadows__are_under_the_feet_and_fade():
    x = torch.tensor([0.0, 0.2, 1.0, 3.0])
    point = torch.stack((x, torch.zeros(4), torch.zeros(4))).reshape(3, 1, 1, 4)
    near, high = (_under_feet(torch.tensor([[[0.0, 0, z]]]), point).flatten() for z in (0.0, 1.0))
    assert (near.diff() > 0).all()
    assert near[0] < 0.6
    assert near[3] > 0.99
    assert high[0] > near[0]


@pytest.mark.parametrize("split", BACKGROUND_FAMILIES)
def test_families__all_paint_finite_colours(cameras, split):
    draws = Draws(seed=0, split=split, indices=torch.arange(SCENES))
    pictures = draws.fork(torch.arange(VIEWS).expand(SCENES, -1), "picture")
    centers = cameras.centers.expand(SCENES, VIEWS, 3)
    drawn = draw_backgrounds(draws, pictures, centers)
    painted = paint_backgrounds(drawn, _views(cameras, SCENES * VIEWS))
    assert painted.shape == (SCENES * VIEWS, 3, *SIZE)
    assert painted.isfinite().all()
    assert (painted >= 0).all()
    assert painted.max() < 3
    assert set(drawn.family.tolist()) == {0, 1, 2}
    assert len({picture.numpy().tobytes() for picture in painted}) > SCENES
    for number in (0, 5, 11):
        alone = paint_backgrounds(drawn[2 * number : 2 * number + 2], _views(cameras, VIEWS))
        assert (alone - painted[2 * number : 2 * number + 2]).abs().max() < 1e-4


def test_places__are_one_for_all_views_of_a_scene(cameras):
    draws = Draws(seed=0, split="training", indices=torch.arange(SCENES))
    pictures = draws.fork(torch.arange(VIEWS).expand(SCENES, -1), "picture")
    drawn = draw_backgrounds(draws, pictures, cameras.centers.expand(SCENES, VIEWS, 3))
    painted = paint_backgrounds(drawn, _views(cameras, SCENES * VIEWS)).reshape(SCENES, VIEWS, 3, *SIZE)
    same = (painted[:, 0] == painted[:, 1]).flatten(1).all(1)
    assert torch.equal(same, drawn.family.reshape(SCENES, VIEWS)[:, 0] == 0)
