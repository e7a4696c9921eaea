"""The simulated detector: as good and as bad as its card says, each sample by itself."""

import numpy as np
import pytest
import torch

from marey.data.benchmark.cells import SCENE_SETS, SEED
from marey.data.benchmark.contents import committed
from marey.data.benchmark.detections import detect
from marey.data.benchmark.truth import cameras_of, joined, make_truth
from marey.data.synthetic.cameras import image_of

COUNT = 96
SCENES = SCENE_SETS["occluded_40"]


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return joined(list(make_truth(SCENES, range(COUNT), seed=SEED)))


@pytest.fixture(scope="module")
def pixels(truth) -> np.ndarray:
    return _pixels(truth, SCENES.config.image_size)


def _pixels(truth: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    cameras = cameras_of(truth, size).to(torch.float64)
    return image_of(torch.from_numpy(truth["coco_17"])[:, None].double(), cameras)[0].numpy()


def test_noise__is_what_the_covariance_states(truth, pixels):
    away = (truth["detected"] - pixels) / truth["detected_sigma"][..., None]
    usual = np.isfinite(away).all(-1) & (np.abs(away) < 5).all(-1)
    assert usual.mean() > 0.6
    assert away[usual].std() == pytest.approx(1, abs=0.06)


def test_noise__follows_the_size_of_the_person(truth, pixels):
    away = pixels - pixels.mean(-2, keepdims=True)
    size = np.sqrt((away**2).sum(-1).mean(-1))[..., None]
    sigma = truth["detected_sigma"] / size
    assert np.nanmedian(sigma[~truth["hidden"]]) == pytest.approx(0.035, rel=1e-3)
    assert np.nanmax(sigma) == pytest.approx(0.14, rel=1e-3)


def test_missing__is_most_of_what_is_hidden_and_little_else(truth):
    missing = np.isnan(truth["detected_sigma"])
    assert missing[truth["hidden"]].mean() == pytest.approx(0.6, abs=0.08)
    assert missing[~truth["hidden"]].mean() < 0.06
    assert (truth["detected_score"][missing] == 0).all()
    assert np.isnan(truth["detected"][missing]).all()


def test_missing__is_what_is_outside_of_the_picture():
    scenes = SCENE_SETS["hard"]
    truth = joined(list(make_truth(scenes, committed()["hard"].indices[:64], seed=SEED)))
    places = _pixels(truth, scenes.config.image_size)
    outside = ~((places >= -0.5) & (places <= 255.5)).all(-1)
    assert outside.mean() > 0.05
    # where left and right are exchanged, the other one's place counts
    assert np.isnan(truth["detected_sigma"])[outside].mean() > 0.96


def test_detections__of_a_sample_do_not_depend_on_the_others(truth):
    some = {name: array[30:34] for name, array in truth.items()}
    again = detect(some, cameras_of(some, SCENES.config.image_size), seed=SEED)
    for name, array in again.items():
        assert np.array_equal(array, truth[name][30:34], equal_nan=True)


def test_detections__of_another_seed_are_others(truth):
    again = detect(truth, cameras_of(truth, SCENES.config.image_size), seed=SEED + 1)
    assert not np.array_equal(again["detected"], truth["detected"], equal_nan=True)
