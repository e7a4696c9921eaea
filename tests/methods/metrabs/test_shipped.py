"""The weights that are shipped: what their card says, and that they tell people apart."""

import hashlib
import math

import torch

from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.io.weights import read_card
from marey.methods.metrabs.estimator import MetrabsEstimator
from marey.methods.metrabs.networks import SHIPPED, load_network
from marey.methods.metrabs.people import PeopleModel

SIDE = 256


def photo():
    made = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(SIDE, SIDE))).sample(21, range(1))
    return made, made.images[0, 0].permute(1, 2, 0).numpy()


def test_shipped__files_are_those_of_the_card():
    card = read_card(SHIPPED)
    assert card["data"]["metrabs"]["on"] == "trunk"
    assert card["seed"] == 0
    assert card["shards"]
    for name, known in card["shards"].items():
        assert hashlib.sha256(SHIPPED.joinpath(name).read_bytes()).hexdigest() == known
        assert SHIPPED.joinpath(name).stat().st_size <= 15 << 20


def test_shipped__network_says_what_it_is():
    network = load_network()
    assert network.skeleton.name == "halpe_26"
    assert network.source == "the shipped weights of metrabs"
    assert 0.01 < float(network.module.head.distance.exp()) < 0.3


def test_shipped__estimates_a_photo_without_anything_else():
    """No detector, no extra: `detect_poses` finds the one person of a picture about where it stands."""
    made, picture = photo()
    model = PeopleModel.load()
    found = model.detect_poses(picture, made.cameras.intrinsics[0, 0].numpy(), unit="m", num_aug=1)
    assert len(found.poses3d) == 1
    truth = made.views.depth[0, 0, 0].mean()
    assert math.isclose(float(found.poses3d[0, :, 2].mean()), float(truth), rel_tol=0.35)
    assert (torch.linalg.eigvalsh(found.covariance[0]) > 0).all()


def test_shipped__is_what_the_method_takes():
    assert MetrabsEstimator().network.source == "the shipped weights of metrabs"
