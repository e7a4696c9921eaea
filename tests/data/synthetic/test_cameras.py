"""Synthetic cameras see the person, crops hold or cut it as drawn, and lenses do not fold."""

from dataclasses import replace

import pytest
import torch

from marey.data.synthetic import TIERS, SyntheticConfig
from marey.data.synthetic.cameras import LENSES, crop_to_people, first_azimuth, image_of, place_cameras
from marey.data.synthetic.random import Draws

TARGET = torch.tensor([0.2, -0.1, 0.9], dtype=torch.float64)


def _draws(count: int) -> Draws:
    return Draws(seed=2, split="training", indices=torch.arange(count))


def _config(kind: str, **changes) -> SyntheticConfig:
    tier = replace(TIERS["hard"], lenses={kind: 1.0}, **changes)
    return SyntheticConfig(tier=tier, views=2, image_size=(200, 160))


def _person(count: int) -> torch.Tensor:
    """Points of a box of the size of a person around the target."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    return (TARGET + corners * torch.tensor([0.3, 0.3, 0.85])).expand(count, 1, 8, 3)


@pytest.mark.parametrize("kind", LENSES)
def test_cameras__see_the_target_from_where_they_should(kind):
    count = 40
    config, draws = _config(kind), _draws(40)
    cameras = place_cameras(draws, config, TARGET.expand(count, 3))
    pixels, depth = image_of(TARGET.expand(count, 1, 3), cameras)
    assert depth.isfinite().all()
    low, high = config.difficulty.distance
    away = (cameras.centers - TARGET).norm(dim=-1) / LENSES[kind].distance
    assert (away > 0.9 * low).all()
    assert (away < high + 8).all()
    assert ((pixels > -1.2 * 200) & (pixels < 2.2 * 200)).all()
    assert bool(cameras.fisheye.all()) == (kind == "fisheye")
    toward = cameras.centers[:, 0, :2] - TARGET[:2]
    azimuth = torch.atan2(toward[:, 1], toward[:, 0])
    assert ((azimuth - first_azimuth(draws)).cos() > 0.999).all()


@pytest.mark.parametrize("kind", LENSES)
def test_cameras__do_not_fold_where_people_are(kind):
    config = _config(kind)
    points = _person(40)
    cameras = place_cameras(_draws(40), config, TARGET.expand(40, 3))
    pixels, _ = image_of(points, cameras)
    assert pixels.isfinite().all(-1).float().mean() > 0.97
    behind = 2 * cameras.centers[:, :, None] - points
    assert image_of(behind, cameras)[0].isnan().all()


@pytest.mark.parametrize("kind", ["phone", "wide", "ptz"])
def test_crop__holds_the_whole_person_unless_it_cuts_it(kind):
    count = 60
    points = _person(count)
    for cut in (0.0, 1.0):
        config = _config(kind, truncated=cut)
        draws = _draws(count)
        cameras = place_cameras(draws, config, TARGET.expand(count, 3))
        seen, _ = image_of(points, cameras)
        crop = crop_to_people(draws, config, cameras, seen)
        pixels, _ = image_of(points, crop)
        outside = ((pixels < -0.5) | (pixels > torch.tensor((199.5, 159.5)))).any(-1).any(-1)
        assert outside.float().mean() == cut
        assert torch.equal(crop.distortion, cameras.distortion)
        assert torch.equal(crop.rotation, cameras.rotation)
        extent = (pixels.amax(-2) - pixels.amin(-2)) / torch.tensor((200.0, 160.0))
        assert (extent.amax(-1) > 0.6).all()
        assert (extent.amax(-1) < 1.3).all()


def test_crop__moves_pixels_by_one_scale_and_shift():
    config, draws = _config("wide"), _draws(4)
    cameras = place_cameras(draws, config, TARGET.expand(4, 3))
    seen, _ = image_of(_person(4), cameras)
    crop = crop_to_people(draws, config, cameras, seen)
    pixels, _ = image_of(_person(4), crop)
    scale = crop.intrinsics[..., 0, 0] / cameras.intrinsics[..., 0, 0]
    expected = scale[..., None, None] * (seen - seen[..., :1, :]) + pixels[..., :1, :]
    assert (pixels - expected).abs().max() < 1e-9


def test_scene__cameras_stand_so_that_people_fill_the_picture():
    config = SyntheticConfig(tier="easy", views=4, framing="scene", image_size=(320, 240))
    target = torch.zeros(20, 3, dtype=torch.float64) + torch.tensor((0, 0, 0.9))
    cameras = place_cameras(_draws(20), config, target)
    ends = torch.tensor([[0.0, 0, 0], [0, 0, 1.8]], dtype=torch.float64).expand(20, 1, 2, 3)
    pixels, _ = image_of(ends, cameras)
    height = (pixels[..., 0, 1] - pixels[..., 1, 1]) / 240
    assert height.median() > 0.4
    assert height.max() < 0.95
