"""Configuration files of the original program as recipes; the texts are written from the specification's tables."""

import pytest

from marey.core import FormatError, InputError
from marey.methods.triangulation.model import AlgebraicConfig, VolumetricConfig
from marey.methods.triangulation.quirks import Quirks
from marey.methods.triangulation.yaml_recipe import read_yaml_recipe
from marey.pipeline.recipes import choose_recipe

HEAD = """\
title: "{title}"
kind: "human36m"
vis_freq: 1000
vis_n_elements: 10
image_shape: [384, 384]
"""
BACKBONE = """\
  backbone:
    name: "resnet152"
    style: "simple"
    init_weights: true
    checkpoint: "./data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth"
    num_joints: 17
    num_layers: 152
"""
DATA = """\
dataset:
  kind: "human36m"
  train:
    h36m_root: "./data/human36m/processed/"
    labels_path: "./data/human36m/extra/human36m-multiview-labels-GTbboxes.npy"
{pelvis_train}
    with_damaged_actions: true
    undistort_images: true
    scale_bbox: 1.0
    shuffle: true
    randomize_n_views: false
    min_n_views: null
    max_n_views: null
    num_workers: {workers[0]}
  val:
    h36m_root: "./data/human36m/processed/"
    labels_path: "./data/human36m/extra/human36m-multiview-labels-GTbboxes.npy"
{pelvis_val}
    with_damaged_actions: true
    undistort_images: true
    scale_bbox: 1.0
    shuffle: false
    randomize_n_views: false
    min_n_views: null
    max_n_views: null
    num_workers: {workers[1]}
    retain_every_n_frames_in_test: 1
"""
RESULTS = "./data/pretrained/human36m/human36m_alg_10-04-2019/checkpoints/0060/results"


def algebraic(*, confidences="true", objects=15000, batches=(8, 16), init="false", name="alg"):
    return (
        HEAD.format(title="human36m_alg")
        + f"""\
opt:
  criterion: "MSESmooth"
  mse_smooth_threshold: 400
  n_objects_per_epoch: {objects}
  n_epochs: 9999
  batch_size: {batches[0]}
  val_batch_size: {batches[1]}
  lr: 0.00001
  scale_keypoints_3d: 0.1
model:
  name: "{name}"
  init_weights: {init}
  checkpoint: "./data/pretrained/human36m/human36m_alg_10-04-2019/checkpoints/0060/weights.pth"
  use_confidences: {confidences}
  heatmap_multiplier: 100.0
  heatmap_softmax: true
"""
        + BACKBONE
        + DATA.format(pelvis_train="", pelvis_val="", workers=(8, 8))
    )


def volumetric(*, batches=(5, 10), init="false", aggregation="softmax", extra=""):
    return (
        HEAD.format(title="human36m_vol_softmax")
        + f"""\
opt:
  criterion: "MAE"
  use_volumetric_ce_loss: true
  volumetric_ce_loss_weight: 0.01
  n_objects_per_epoch: 15000
  n_epochs: 9999
  batch_size: {batches[0]}
  val_batch_size: {batches[1]}
  lr: 0.0001
  process_features_lr: 0.001
  volume_net_lr: 0.001
  scale_keypoints_3d: 0.1
{extra}
model:
  name: "vol"
  kind: "mpii"
  volume_aggregation_method: "{aggregation}"
  init_weights: {init}
  checkpoint: "./data/pretrained/human36m/human36m_vol_softmax_10-08-2019/checkpoints/0040/weights.pth"
  use_gt_pelvis: false
  cuboid_side: 2500.0
  volume_size: 64
  volume_multiplier: 1.0
  volume_softmax: true
  heatmap_softmax: true
  heatmap_multiplier: 100.0
"""
        + BACKBONE
        + DATA.format(
            pelvis_train=f'    pred_results_path: "{RESULTS}/train.pkl"',
            pelvis_val=f'    pred_results_path: "{RESULTS}/val.pkl"',
            workers=(5, 10),
        )
    )


CMU = """\
title: "cmu_vol"
kind: "cmu"
vis_freq: 500
vis_n_elements: 10
image_shape: [384, 384]
debug_mode: false
opt:
  criterion: "MAE"
  use_volumetric_ce_loss: true
  volumetric_ce_loss_weight: 0.01
  n_objects_per_epoch: 15000
  n_objects_per_epoch_val: 2000
  n_epochs: 9999
  batch_size: 1
  val_batch_size: 5
  lr: 0.0001
  process_features_lr: 0.001
  volume_net_lr: 0.001
  scale_keypoints_3d: 1.0
  frames_split_file: "./experiments/cmupanoptic/cmu_frames.yaml"
model:
  name: "vol"
  kind: "cmu"
  volume_aggregation_method: "softmax"
  init_weights: true
  checkpoint: "./logs/cmu/epoch30-weights.pth"
  use_gt_pelvis: true
  cuboid_side: 250.0
  volume_size: 64
  volume_multiplier: 1.0
  volume_softmax: true
  backbone:
    name: "resnet152"
    style: "simple"
    init_weights: true
    checkpoint: "./data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth"
    num_joints: 19
    num_layers: 152
dataset:
  kind: "cmu"
  train:
    cmu_root: "./data/cmupanoptic"
    labels_path: "./data/cmupanoptic/cmu-multiview-labels-MRCNNbboxes.npy"
    choose_cameras: [0, 3, 7, 10, 15, 19]
    ignore_cameras: [22, 23, 25, 26, 29]
    square_bbox: true
    scale_bbox: 1.0
    shuffle: true
    num_workers: 3
  val:
    cmu_root: "./data/cmupanoptic"
    labels_path: "./data/cmupanoptic/cmu-multiview-labels-MRCNNbboxes.npy"
    choose_cameras: [2, 5, 13]
    ignore_cameras:
      - 23
      - 25
      - 26
      - 29
    scale_bbox: 1.0
    shuffle: false
    num_workers: 2
"""


def read(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml_recipe(path)


def test_algebraic__is_read(tmp_path):
    name, recipe = read(tmp_path, algebraic())
    assert name == "algebraic"
    assert isinstance(recipe.network, AlgebraicConfig)
    assert recipe.network.use_confidences
    assert recipe.network.quirks == Quirks.published()
    assert (recipe.network.heatmap_multiplier, recipe.network.heatmap_normalisation) == (100.0, "softmax")
    assert (recipe.criterion, recipe.mse_smooth_threshold, recipe.cross_entropy_weight) == ("mse-smooth", 400.0, 0.0)
    assert recipe.scale_keypoints_3d == pytest.approx(100.0)
    assert (recipe.batch, recipe.validation_batch) == (8, 16)
    training = recipe.training
    assert (training.validate_every, training.steps, training.clip) == (1875, 9999 * 1875, None)
    assert (training.optimiser.algorithm, training.optimiser.learning_rate, training.optimiser.groups) == (
        "adam",
        1e-5,
        (),
    )
    assert (recipe.init_backbone, recipe.weights) == (True, "")
    assert recipe.backbone_weights == "./data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth"
    assert recipe.train.labels == "./data/human36m/extra/human36m-multiview-labels-GTbboxes.npy"
    assert recipe.train.images == "./data/human36m/processed/"
    samples = recipe.train.samples
    assert (samples.image_shape, samples.scale_bbox, samples.undistort) == ((384, 384), 1.0, True)
    assert samples.with_damaged_actions
    assert samples.published_pixels
    assert (recipe.train.workers, recipe.validation.workers) == (8, 8)


def test_algebraic_without_confidences__is_read(tmp_path):
    name, recipe = read(tmp_path, algebraic(confidences="false", objects=10000))
    assert (name, recipe.network.use_confidences, recipe.training.validate_every) == (
        "algebraic-no-confidence",
        False,
        1250,
    )


def test_volumetric__is_read(tmp_path):
    name, recipe = read(tmp_path, volumetric())
    assert name == "volumetric-softmax"
    network = recipe.network
    assert isinstance(network, VolumetricConfig)
    assert (network.cuboid_side, network.volume_size, network.volume_multiplier) == (2.5, 64, 1.0)
    assert (network.aggregation, network.vertical, network.volume_normalisation) == ("softmax", "z", "softmax")
    assert (recipe.criterion, recipe.cross_entropy_weight, recipe.use_gt_pelvis) == ("mae", 0.01, False)
    assert (recipe.train.pelvis, recipe.validation.pelvis) == (f"{RESULTS}/train.pkl", f"{RESULTS}/val.pkl")
    optimiser = recipe.training.optimiser
    assert {group.prefix: group.learning_rate for group in optimiser.groups} == {
        "backbone.": 1e-4,
        "process_features.": 1e-3,
        "volume_net.": 1e-3,
    }
    assert recipe.training.validate_every == 3000


def test_files_for_evaluation__name_the_weights_to_start_from(tmp_path):
    _, recipe = read(tmp_path, volumetric(batches=(5, 75), init="true"))
    assert recipe.weights == "./data/pretrained/human36m/human36m_vol_softmax_10-08-2019/checkpoints/0040/weights.pth"
    assert recipe.validation_batch == 75
    _, recipe = read(tmp_path, algebraic(batches=(8, 100), init="true"))
    assert recipe.weights.endswith("human36m_alg_10-04-2019/checkpoints/0060/weights.pth")
    with pytest.raises(InputError, match=r"recipe\.yaml: model\.name: ransac has nothing to learn"):
        read(tmp_path, algebraic(name="ransac"))


@pytest.mark.parametrize("aggregation", ["sum", "max", "conf", "conf_norm"])
def test_aggregations__name_the_recipe(tmp_path, aggregation):
    name, recipe = read(tmp_path, volumetric(aggregation=aggregation))
    assert name == f"volumetric-{aggregation.replace('_', '-')}"
    assert recipe.network.aggregation == aggregation


def test_cmu__is_read(tmp_path):
    name, recipe = read(tmp_path, CMU)
    assert name == "cmu-volumetric-softmax"
    network = recipe.network
    assert (network.cuboid_side, network.backbone.joints, network.vertical) == (2.5, 19, "y")
    assert recipe.joints[:3] == ("neck", "nose", "pelvis")
    assert recipe.scale_keypoints_3d == 100.0
    assert (recipe.batch, recipe.validation_batch, recipe.validation_samples) == (1, 5, 2000)
    assert (recipe.use_gt_pelvis, recipe.up, recipe.base_joint) == (True, "-y", "neck")
    assert recipe.train.images == "./data/cmupanoptic"
    assert recipe.train.frames == recipe.validation.frames == "./experiments/cmupanoptic/cmu_frames.yaml"
    assert recipe.train.samples.cameras == ("0", "3", "7", "10", "15", "19")
    assert recipe.train.samples.ignore_cameras == ("22", "23", "25", "26", "29")
    assert recipe.validation.samples.cameras == ("2", "5", "13")
    assert recipe.validation.samples.ignore_cameras == ("23", "25", "26", "29")
    assert recipe.weights == "./logs/cmu/epoch30-weights.pth"
    assert recipe.training.preview_every == 500


def test_pred_kind__says_which_joints_the_network_has(tmp_path):
    text = CMU.replace("num_joints: 19", "num_joints: 17").replace(
        'kind: "cmu"\nvis', 'kind: "cmu"\npred_kind: coco\nvis'
    )
    text = text.replace("scale_keypoints_3d: 1.0", "scale_keypoints_3d: 0.1\n  scale_keypoints_3d_gt: 1.0")
    _, recipe = read(tmp_path, text)
    assert (recipe.joints[0], len(recipe.joints), recipe.base_joint) == ("nose", 17, "left_hip")
    assert recipe.scale_keypoints_3d == 100.0


def test_optional_keys__are_taken_over(tmp_path):
    text = volumetric(extra="  grad_clip: 0.5")
    text = text.replace("image_shape: [384, 384]\n", "").replace("  val_batch_size: 10\n", "")
    text = text.replace("volume_multiplier: 1.0", "volume_multiplier: 1.0\n  transfer_cmu_to_human36m: true")
    text = text.replace("    shuffle: true\n", "    shuffle: false\n    crop: false\n    ignore_cameras: [0, 3]\n")
    text = text.replace(
        "randomize_n_views: false\n    min_n_views: null\n    max_n_views: null",
        "randomize_n_views: true\n    min_n_views: 2\n    max_n_views: 3",
        1,
    )
    text = text.replace("retain_every_n_frames_in_test: 1", "retain_every_n_frames_in_test: 5")
    text = text.replace("  lr: 0.0001", "  lr: 1e-4")
    _, recipe = read(tmp_path, text)
    assert recipe.training.clip == pytest.approx(0.5 / 1e-4)
    assert recipe.train.samples.image_shape == (256, 256)
    assert recipe.validation_batch == recipe.batch == 5
    assert recipe.network.cmu_axes
    samples = recipe.train.samples
    assert (recipe.train.shuffle, samples.crop) == (False, False)
    assert samples.ignore_cameras == ("54138969", "60457274")
    assert (samples.randomize_n_views, samples.min_n_views, samples.max_n_views) == (True, 2, 3)
    assert recipe.validation.samples.retain_every_n == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  lr: 0.0001", "  lr: 0.0001\n  learning_rate: 3", "unknown key opt.learning_rate"),
        ("use_gt_pelvis", "use_gt_pelvs", r"unknown key model.use_gt_pelvs \(did you mean 'use_gt_pelvis'\?\)"),
        ("    shuffle: false", "    shuffle: true", "dataset.val.shuffle: validation takes every sample once"),
        ("num_joints: 17", "num_joints: 16", "model.backbone.num_joints: expected 17"),
        ("num_layers: 152", "num_layers: 100", "model.backbone.num_layers: expected one of 18, 34, 50, 101, 152"),
        ('name: "resnet152"', 'name: "resnet50"', "model.backbone.name: expected resnet152"),
        ('criterion: "MAE"', 'criterion: "L2"', "opt.criterion: expected one of MSE, MSESmooth, MAE, got 'L2'"),
        ("  batch_size: 5", "  batch_size: five", "opt.batch_size: expected a whole number, got 'five'"),
        ("  batch_size: 5", "", "opt.batch_size: expected a whole number, got nothing"),
        ("  lr: 0.0001", "  lr: fast", "opt.lr: expected a number, got 'fast'"),
        ("image_shape: [384, 384]", "image_shape: [384]", "image_shape: expected height and width in pixels"),
        ("vis_freq: 1000", "vis_freq: 1000\ndebug_mode: true", "debug_mode: training knows no such switch"),
        ("vis_freq: 1000", "vis_freq: 1000\nsave_extra_data: true", "save_extra_data: training knows no such switch"),
        (
            "    scale_bbox: 1.0\n",
            "    scale_bbox: 1.0\n    ignore_cameras: [7]\n",
            "train.ignore_cameras: expected 0 to 3",
        ),
        ("opt:", "opt: 3\nother:", "opt: expected a mapping, got 3"),
        ("n_objects_per_epoch: 15000", "n_objects_per_epoch: 4", "n_objects_per_epoch: expected as many as a batch"),
    ],
)
def test_keys__that_do_not_fit_are_named(tmp_path, old, new, message):
    text = volumetric()
    assert old in text
    with pytest.raises(InputError, match=f"recipe.yaml: .*{message}"):
        read(tmp_path, text.replace(old, new))


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "", "a: !!python/object:os.system {}\n"])
def test_files__that_are_no_settings(tmp_path, text):
    with pytest.raises(FormatError, match=r"recipe\.yaml: "):
        read(tmp_path, text)


def test_choose_recipe__takes_yaml_and_words(tmp_path):
    path = tmp_path / "human36m_vol_softmax.yaml"
    path.write_text(volumetric(), encoding="utf-8")
    chosen = choose_recipe("triangulation", str(path), changes=["training.steps=7", "batch=3"])
    assert (chosen.method, chosen.name) == ("triangulation", "volumetric-softmax")
    assert (chosen.recipe.training.steps, chosen.recipe.batch) == (7, 3)
    assert chosen.recipe.network.quirks == Quirks.published()
    with pytest.raises(InputError, match="recipes of lifting are TOML files; YAML is read for: triangulation"):
        choose_recipe("lifting", str(path))
