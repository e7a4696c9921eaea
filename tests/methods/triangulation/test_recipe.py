"""Recipes of triangulation: the published values, as the specification of the original program lists them."""

from dataclasses import replace

import pytest

from marey.core import InputError
from marey.io.settings_toml import changed, plain_settings
from marey.methods.triangulation import recipe as recipes
from marey.methods.triangulation.model import AlgebraicConfig, VolumetricConfig
from marey.methods.triangulation.recipe import TriangulationRecipe
from marey.pipeline.recipes import RECIPES, choose_recipe

VOLUMETRIC = ("softmax", "sum", "max", "conf", "conf_norm")
BACKBONE = "data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth"


def rates(recipe):
    optimiser = recipe.training.optimiser
    return optimiser.learning_rate, {group.prefix: group.learning_rate for group in optimiser.groups}


@pytest.mark.parametrize(
    ("make", "confidences", "epoch"),
    [(recipes.algebraic, True, 1875), (recipes.algebraic_no_confidence, False, 1250)],
)
def test_algebraic__has_the_published_values(make, confidences, epoch):
    recipe = make()
    network = recipe.network
    assert isinstance(network, AlgebraicConfig)
    assert (network.use_confidences, network.heatmap_multiplier) == (confidences, 100.0)
    assert network.heatmap_normalisation == "softmax"
    assert (recipe.criterion, recipe.mse_smooth_threshold, recipe.cross_entropy_weight) == ("mse-smooth", 400.0, 0.0)
    assert (recipe.batch, recipe.validation_batch) == (8, 16)
    assert rates(recipe) == (1e-5, {})
    training = recipe.training
    assert (training.validate_every, training.checkpoint_every, training.steps) == (epoch, epoch, 60 * epoch)
    assert (recipe.train.workers, recipe.validation.workers) == (8, 8)
    assert_common(recipe)


@pytest.mark.parametrize("aggregation", VOLUMETRIC)
def test_volumetric__has_the_published_values(aggregation):
    recipe = choose_recipe("triangulation", f"volumetric-{aggregation.replace('_', '-')}").recipe
    network = recipe.network
    assert isinstance(network, VolumetricConfig)
    assert (network.aggregation, network.volume_size, network.cuboid_side) == (aggregation, 64, 2.5)
    assert (network.volume_multiplier, network.volume_normalisation, network.vertical) == (1.0, "softmax", "z")
    assert not network.cmu_axes
    assert (recipe.criterion, recipe.cross_entropy_weight, recipe.use_gt_pelvis) == ("mae", 0.01, False)
    assert (recipe.batch, recipe.validation_batch) == (5, 10)
    assert rates(recipe) == (1e-4, {"backbone.": 1e-4, "process_features.": 1e-3, "volume_net.": 1e-3})
    training = recipe.training
    assert (training.validate_every, training.checkpoint_every, training.steps) == (3000, 3000, 40 * 3000)
    assert (recipe.train.workers, recipe.validation.workers) == (5, 10)
    results = "data/pretrained/human36m/human36m_alg_10-04-2019/checkpoints/0060/results"
    assert (recipe.train.pelvis, recipe.validation.pelvis) == (f"{results}/train.pkl", f"{results}/val.pkl")
    assert_common(recipe)


def assert_common(recipe):
    """What the six files for Human3.6M have in common."""
    assert (recipe.network.backbone.depth, recipe.network.backbone.joints, recipe.network.backbone.style) == (
        152,
        17,
        "simple",
    )
    assert (recipe.init_backbone, recipe.backbone_weights, recipe.weights) == (True, BACKBONE, "")
    assert recipe.joints == (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "neck"),
        *("head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        "head",
    )
    assert recipe.channels == "bgr"
    assert recipe.scale_keypoints_3d == pytest.approx(0.1 * 1000)  # of millimetres, of which a metre has a thousand
    assert (recipe.base_joint, recipe.preview_items, recipe.training.preview_every) == ("pelvis", 10, 1000)
    optimiser = recipe.training.optimiser
    assert (optimiser.algorithm, optimiser.betas, optimiser.epsilon) == ("adam", (0.9, 0.999), 1e-8)
    assert (optimiser.weight_decay, recipe.training.clip, recipe.training.ema_decay) == (0.0, None, None)
    assert type(recipe.training.schedule).__name__ == "Constant"
    assert recipe.train.shuffle
    assert (recipe.train.splits, recipe.validation.splits) == (("train",), ("validation", "test"))
    for split in (recipe.train, recipe.validation):
        samples = split.samples
        assert (samples.image_shape, samples.scale_bbox, samples.crop) == ((384, 384), 1.0, True)
        assert (samples.undistort, samples.with_damaged_actions, samples.retain_every_n) == (True, True, 1)
        assert (samples.randomize_n_views, samples.min_n_views, samples.max_n_views) == (False, None, None)


@pytest.mark.parametrize("aggregation", VOLUMETRIC)
def test_cmu_volumetric__has_the_values_of_the_fork(aggregation):
    recipe = choose_recipe("triangulation", f"cmu-volumetric-{aggregation.replace('_', '-')}").recipe
    network = recipe.network
    assert (network.aggregation, network.backbone.joints, network.cuboid_side) == (aggregation, 19, 2.5)
    assert (network.vertical, recipe.up) == ("y", "-y")  # the fork turns cuboids about z, which lies flat there
    assert recipe.joints[:3] == ("neck", "nose", "pelvis")
    assert (recipe.batch, recipe.validation_batch, recipe.use_gt_pelvis) == (1, 5, True)
    assert recipe.scale_keypoints_3d == 1.0 * 100  # of centimetres, of which a metre has a hundred
    assert recipe.train.samples.cameras == ("0", "3", "7", "10", "15", "19")
    assert recipe.train.samples.ignore_cameras == ("22", "23", "25", "26", "29")
    assert recipe.validation.samples.cameras == ("2", "5", "13")
    assert recipe.validation.samples.ignore_cameras == ("23", "25", "26", "29")
    assert (recipe.train.workers, recipe.validation.workers) == (3, 2)
    assert (recipe.training.validate_every, recipe.training.preview_every) == (15000, 500)
    assert recipe.base_joint == "neck"


def test_cmu_algebraic__has_the_values_of_the_fork():
    recipe = recipes.cmu_algebraic()
    assert (recipe.network.backbone.joints, recipe.joints[0]) == (17, "nose")
    assert (recipe.batch, recipe.validation_batch) == (8, 100)
    assert rates(recipe) == (1e-5, {})
    assert recipe.train.samples.cameras == ("5", "8", "9", "10", "13", "16")
    assert recipe.validation.samples.cameras == ("2", "7", "22")
    assert recipe.backbone_weights.endswith("cmu/pose_resnet_4.5_pixels_cmu.pth")


def test_table__has_every_network_but_ransac_which_learns_nothing():
    names = {f"volumetric-{name.replace('_', '-')}" for name in VOLUMETRIC}
    expected = {"default", "algebraic", "algebraic-no-confidence", *names}
    expected |= {"cmu-algebraic", *(f"cmu-{name}" for name in names)}
    assert {name for name in RECIPES["triangulation"] if not name.startswith("trunk-")} == expected


def test_recipes__survive_their_plain_values():
    for make in (recipes.algebraic, recipes.cmu_volumetric_conf):
        recipe = make()
        assert changed(recipes.volumetric_sum(), plain_settings(recipe), where="recipe.toml") == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch: expected 1 or more, got 0"),
        ({"scale_keypoints_3d": 0.0}, "scale_keypoints_3d: expected a number above 0"),
        ({"cross_entropy_weight": -1.0}, "cross_entropy_weight: expected 0 or more"),
        ({"joints": ("pelvis",)}, "network.backbone.joints: expected 1, as many as 'joints' names, got 17"),
        ({"up": "-y"}, "up: expected the axis of network.vertical, z, got -y"),
    ],
)
def test_recipe__refuses_what_does_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        replace(TriangulationRecipe(), **changes)
