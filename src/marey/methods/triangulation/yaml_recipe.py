"""Configuration files of Learnable Triangulation and of its fork for CMU Panoptic, read as recipes.

Every key is taken over, or refused by name. Lengths in the files have the unit of the data set's labels, millimetres
for Human3.6M and centimetres for CMU Panoptic; a recipe's are metres. A recipe of a file trains with the published
arithmetic (`Quirks.published`), so that the official weights can be gone on from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from marey.core import skeleton
from marey.data.multiview import MultiViewOptions
from marey.data.prepare.h36m_names import CAMERAS
from marey.engine.settings import Optimiser, TrainingSettings
from marey.io.predictions_published import TRIANGULATION_JOINTS
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    BackboneConfig,
    VolumeAggregation,
    VolumetricConfig,
)
from marey.methods.triangulation.quirks import Quirks
from marey.methods.triangulation.recipe import (
    HIPS,
    Criterion,
    SplitOptions,
    TriangulationRecipe,
    every_epoch,
    volumetric_optimiser,
)
from marey.methods.triangulation.yaml_tables import Table, read_yaml
from marey.nn.soft_argmax import Normalisation

_DEPTHS: Mapping[str, Literal[18, 34, 50, 101, 152]] = {"18": 18, "34": 34, "50": 50, "101": 101, "152": 152}
_STYLES: Mapping[str, Literal["simple", "caffe"]] = {"simple": "simple", "caffe": "caffe"}
_CRITERIA: Mapping[str, Criterion] = {"MSE": "mse", "MSESmooth": "mse-smooth", "MAE": "mae"}
_AGGREGATIONS: Mapping[str, VolumeAggregation] = {
    "sum": "sum",
    "max": "max",
    "softmax": "softmax",
    "conf": "conf",
    "conf_norm": "conf_norm",
}
_JOINTS = {
    "human36m": TRIANGULATION_JOINTS,
    "mpii": TRIANGULATION_JOINTS[:16],
    "coco": skeleton("coco_17").joints,
    "cmu": skeleton("panoptic_19").joints,
}
"""By the kind of a data set."""
_CENTERS = {"mpii": ("pelvis",), "cmu": ("pelvis",), "coco": HIPS}
"""About whose middle cuboids lie, by the kind of a network."""
_UPRIGHT: Mapping[str, Literal["y", "z"]] = {"mpii": "z", "coco": "y", "cmu": "y"}
"""The axis that cuboids turn about. The fork turns those of kind `cmu` about z, which lies flat in the dome."""
_BASES = {"human36m": "pelvis", "mpii": "pelvis", "coco": "left_hip", "cmu": "neck"}
"""Joint that errors are relative to."""
_UNITS = {"human36m": 1000.0, "mpii": 1000.0, "coco": 100.0, "cmu": 100.0}
"""Of the labels in a metre: COCO's joints are those of the authors' setting for CMU Panoptic."""
_UP: Mapping[str, Literal["z", "-y"]] = {"human36m": "z", "mpii": "z", "coco": "-y", "cmu": "-y"}
"""The axis of the labels' world that points up."""


def read_yaml_recipe(path: str | os.PathLike[str]) -> tuple[str, TriangulationRecipe]:
    """Read a configuration file.

    Returns:
        The name of the recipe that it is a variant of, and the recipe.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        FormatError: the file is not YAML.
        InputError: a key is unknown or missing, has a value that makes no sense, or asks for something that there is
            not; the message names file and key.
    """
    file = read_yaml(path)
    _refuse_switches(file)
    kind = file.chosen("kind", {name: name for name in _BASES})
    dataset = file.table("dataset")
    data_kind = dataset.chosen("kind", {name: name for name in _JOINTS}, kind)
    joints = _JOINTS[file.chosen("pred_kind", {name: name for name in _JOINTS}, data_kind)]
    model, opt = file.table("model"), file.table("opt")
    network = _network(model, joints=joints, per_metre=_UNITS[data_kind])
    volumetric = isinstance(network, VolumetricConfig)
    weights, backbone, batch = _checkpoint(model), model.table("backbone"), opt.count("batch_size")
    size, frames = _image_shape(file), opt.text("frames_split_file")
    recipe = TriangulationRecipe(
        network=network,
        joints=joints,
        init_backbone=backbone.truth("init_weights", False),
        backbone_weights=backbone.text("checkpoint"),
        weights=weights,
        train=replace(_train(dataset.table("train"), size, data_kind), frames=frames),
        validation=replace(_validation(dataset.table("val"), size, data_kind), frames=frames),
        validation_samples=opt.count_or_none("n_objects_per_epoch_val"),
        batch=batch,
        validation_batch=opt.count("val_batch_size", batch),
        criterion=opt.chosen("criterion", _CRITERIA),
        scale_keypoints_3d=_loss_scale(opt) * _UNITS[data_kind],
        mse_smooth_threshold=opt.number("mse_smooth_threshold", 400.0),
        cross_entropy_weight=_entropy_weight(opt) if volumetric else 0.0,
        use_gt_pelvis=model.truth("use_gt_pelvis", False) if volumetric else False,
        cuboid_center=_CENTERS[model.chosen("kind", {name: name for name in _CENTERS})] if volumetric else ("pelvis",),
        up=_UP[data_kind],
        base_joint=_BASES[kind] if _BASES[kind] in joints else "left_hip",
        preview_items=file.count("vis_n_elements", 10),
        training=_training(file, batch=batch, volumetric=volumetric),
    )
    file.check_taken()
    return _base(network, cmu=kind == "cmu"), recipe


def _refuse_switches(file: Table) -> None:
    """Switches of the original program that decide nothing that is learned; the folder of a run is --out here."""
    file.text("title")
    for key in ("debug_mode", "save_extra_data"):
        if file.truth(key, False):
            raise file.refused(key, "training knows no such switch; set it to false or leave it out")


def _network(model: Table, *, joints: tuple[str, ...], per_metre: float) -> AlgebraicConfig | VolumetricConfig:
    volumetric = model.chosen("name", {"alg": False, "vol": True, "ransac": None})
    if volumetric is None:
        raise model.refused("name", "ransac has nothing to learn: its backbone is that of the algebraic network")
    softmax, multiplier = model.truth("heatmap_softmax", True), model.number("heatmap_multiplier", 100.0)
    if not volumetric:
        return AlgebraicConfig(
            backbone=_backbone(model.table("backbone"), len(joints)),
            use_confidences=model.truth("use_confidences", False),
            heatmap_multiplier=multiplier,
            heatmap_normalisation=_normalisation(softmax),
            quirks=Quirks.published(),
        )
    return VolumetricConfig(  # which has no use for heatmaps
        backbone=_backbone(model.table("backbone"), len(joints)),
        aggregation=model.chosen("volume_aggregation_method", _AGGREGATIONS),
        volume_size=model.count("volume_size"),
        cuboid_side=model.number("cuboid_side") / per_metre,
        volume_multiplier=model.number("volume_multiplier", 1.0),
        volume_normalisation=_normalisation(model.truth("volume_softmax", True)),
        vertical=_UPRIGHT[model.chosen("kind", {name: name for name in _UPRIGHT})],
        cmu_axes=model.truth("transfer_cmu_to_human36m", False),
        quirks=Quirks.published(),
    )


def _normalisation(softmax: bool) -> Normalisation:
    return "softmax" if softmax else "relu"


def _backbone(backbone: Table, joints: int) -> BackboneConfig:
    depth = _DEPTHS.get(str(layers := backbone.count("num_layers")))
    if depth is None:
        raise backbone.refused("num_layers", f"expected one of {', '.join(_DEPTHS)}, got {layers}")
    if (name := backbone.text("name", f"resnet{depth}")) != f"resnet{depth}":
        raise backbone.refused("name", f"expected resnet{depth}, as num_layers says, got '{name}'")
    if (number := backbone.count("num_joints")) != joints:
        raise backbone.refused(
            "num_joints", f"expected {joints}, the joints of the data set's kind (or of pred_kind), got {number}"
        )
    return BackboneConfig(depth=depth, joints=joints, style=backbone.chosen("style", _STYLES, "simple"))


def _checkpoint(model: Table) -> str:
    """The whole network that training starts from; empty: none."""
    path = model.text("checkpoint")
    if not model.truth("init_weights", False):
        return ""
    if not path:
        raise model.refused("checkpoint", "expected a file, since init_weights is true, got nothing")
    return path


def _train(table: Table, size: tuple[int, int], kind: str) -> SplitOptions:
    return SplitOptions(
        labels=table.text("labels_path", "labels.npz"),
        images=_root(table),
        splits=("train",),
        pelvis=table.text("pred_results_path"),
        samples=_samples(table, size, kind),
        shuffle=table.truth("shuffle", True),
        workers=table.count("num_workers", 8, least=0),
    )


def _validation(table: Table, size: tuple[int, int], kind: str) -> SplitOptions:
    if table.truth("shuffle", False):
        raise table.refused("shuffle", "validation takes every sample once, in order; set it to false")
    every = table.count("retain_every_n_frames_in_test", 1)
    return SplitOptions(
        labels=table.text("labels_path", "labels.npz"),
        images=_root(table),
        splits=("validation", "test"),
        pelvis=table.text("pred_results_path"),
        samples=replace(_samples(table, size, kind), retain_every_n=every),
        workers=table.count("num_workers", 8, least=0),
    )


def _samples(table: Table, size: tuple[int, int], kind: str) -> MultiViewOptions:
    return MultiViewOptions(
        image_shape=size,
        scale_bbox=table.number("scale_bbox", 1.5),
        square_bbox=table.truth("square_bbox", True),
        crop=table.truth("crop", True),
        undistort=table.truth("undistort_images", False),
        published_pixels=True,
        cameras=_cameras(table, "choose_cameras", kind),
        ignore_cameras=_cameras(table, "ignore_cameras", kind),
        with_damaged_actions=table.truth("with_damaged_actions", False),
        randomize_n_views=table.truth("randomize_n_views", False),
        min_n_views=table.count_or_none("min_n_views"),
        max_n_views=table.count_or_none("max_n_views"),
    )


def _root(table: Table) -> str:
    """Folder of the images; the fork calls it otherwise."""
    roots = [table.text(key) for key in ("h36m_root", "cmu_root")]
    return next(filter(None, roots), "")


def _cameras(table: Table, key: str, kind: str) -> tuple[str, ...]:
    """Names: the files count Human3.6M's cameras from 0, and call CMU Panoptic's by number."""
    numbers = table.integers(key)
    if kind not in ("human36m", "mpii"):
        return tuple(map(str, numbers))
    if odd := [number for number in numbers if not 0 <= number < len(CAMERAS)]:
        raise table.refused(key, f"expected 0 to {len(CAMERAS) - 1}, places of Human3.6M's cameras, got {odd[0]}")
    return tuple(CAMERAS[number] for number in numbers)


def _image_shape(file: Table) -> tuple[int, int]:
    size = file.integers("image_shape") or (256, 256)
    if len(size) != 2 or min(size) < 1:
        raise file.refused("image_shape", f"expected height and width in pixels, got {len(size)} numbers")
    return size[0], size[1]


def _loss_scale(opt: Table) -> float:
    """Of the labels' unit. The fork scales predictions otherwise where their unit is another one; here it never is."""
    scale = opt.number("scale_keypoints_3d", 1.0)
    return opt.number("scale_keypoints_3d_gt", scale)


def _entropy_weight(opt: Table) -> float:
    weight = opt.number("volumetric_ce_loss_weight", 0.01)
    return weight if opt.truth("use_volumetric_ce_loss", False) else 0.0


def _training(file: Table, *, batch: int, volumetric: bool) -> TrainingSettings:
    opt = file.table("opt")
    epoch = opt.count("n_objects_per_epoch") // batch
    if not epoch:
        raise opt.refused("n_objects_per_epoch", f"expected as many as a batch has, {batch}, or more")
    rate = opt.number("lr")
    settings = every_epoch(
        epoch,
        steps=opt.count("n_epochs") * epoch,
        preview_every=file.count("vis_freq", 1000, least=0),
        optimiser=_volumetric_rates(opt, rate) if volumetric else Optimiser(algorithm="adam", learning_rate=rate),
    )
    if "grad_clip" not in opt:
        return settings
    return replace(settings, clip=opt.number("grad_clip") / rate)  # the original clips what a step would change


def _volumetric_rates(opt: Table, rate: float) -> Optimiser:
    return volumetric_optimiser(rate, opt.number("process_features_lr", rate), opt.number("volume_net_lr", rate))


def _base(network: AlgebraicConfig | VolumetricConfig, *, cmu: bool) -> str:
    """The recipe of the table that a file is a variant of."""
    if isinstance(network, VolumetricConfig):
        name = f"volumetric-{network.aggregation.replace('_', '-')}"
    else:
        name = "algebraic" if network.use_confidences or cmu else "algebraic-no-confidence"
    return f"cmu-{name}" if cmu else name
