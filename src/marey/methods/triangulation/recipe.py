"""How the published networks are trained: recipes with every option of the original program and its published value.

Lengths are metres here; the program has the labels' unit, millimetres for Human3.6M and centimetres for CMU Panoptic.
Its configuration files are recipes too, see `marey.methods.triangulation.yaml_recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marey.core import InputError, skeleton
from marey.data.multiview import MultiViewOptions
from marey.engine.settings import Optimiser, ParameterGroup, TrainingSettings
from marey.io.predictions_published import TRIANGULATION_JOINTS
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    BackboneConfig,
    VolumeAggregation,
    VolumetricConfig,
)

if TYPE_CHECKING:
    from marey.methods.triangulation.task import TriangulationTask

Criterion = Literal["mse", "mse-smooth", "mae"]
"""Mean squared error, the same with large errors bent towards their tenth root, mean absolute error."""

HIPS = ("left_hip", "right_hip")
OBJECTS = 15_000
"""People at a moment that the original calls an epoch: it validates and keeps its weights after so many."""


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Where the samples of a split come from, and how they are given out.

    Paths that are not absolute are looked for in the folder of the data, then in the current one.
    """

    labels: str = "labels.npz"
    """What `marey data` writes, or a label file of the original (.npy)."""
    images: str = ""
    """Folder at which the labels' paths of images begin; empty: that of `labels`."""
    splits: tuple[str, ...] = ("train",)
    """The first of these that the labels have is used: Human3.6M's have no `validation`, only `test`."""
    frames: str = ""
    """List of frames (YAML) that says which train and which validate, as the fork for CMU Panoptic has one: its own,
    `cmu_frames.yaml`, need not be there. Empty: the labels' splits."""
    pelvis: str = ""
    """Predictions whose pelvis, or middle of the hips, the cuboids are put about: rows of poses as marey writes them
    (.npz), or `results.pkl` of the original program."""
    pelvis_labels: str = ""
    """The original's label file whose rows `results.pkl` counts; empty: `labels`."""
    samples: MultiViewOptions = field(default_factory=MultiViewOptions)
    """Which cameras and moments there are, and how people are cut out."""
    shuffle: bool = True
    """Whether training sees the samples in another order every time. Of no effect on validation."""
    workers: int = 8
    """Batches that are read ahead at a time; 0: each when it is asked for."""


@dataclass(frozen=True, kw_only=True)
class TriangulationRecipe:
    """What is trained on what. The defaults are the published ones of the volumetric network with softmax."""

    network: AlgebraicConfig | VolumetricConfig = field(default_factory=VolumetricConfig)
    joints: tuple[str, ...] = TRIANGULATION_JOINTS
    """Of the network, in its order; those that labels lack are not learned. Empty: those of the labels."""
    channels: Literal["bgr", "rgb"] = "bgr"
    """Order in which the network sees colours: the published weights expect blue first."""
    init_backbone: bool = True
    """Whether the backbone starts from weights that find keypoints already."""
    backbone_weights: str = "data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth"
    """These weights; a path as those of `SplitOptions`."""
    weights: str = ""
    """Weights of a whole network to start from: a checkpoint of the original, or a folder that `marey train` wrote."""
    train: SplitOptions = field(default_factory=SplitOptions)
    validation: SplitOptions = field(default_factory=lambda: SplitOptions(splits=("validation", "test")))
    validation_samples: int | None = None
    """The first so many are validated on; None: all."""
    batch: int = 5
    """Samples of a step, of all processes together."""
    validation_batch: int = 10
    criterion: Criterion = "mae"
    """Of the joints."""
    scale_keypoints_3d: float = 100.0
    """Units of the criterion in a metre. The published 0.1 of millimetres, and 1 of centimetres, make centimetres."""
    mse_smooth_threshold: float = 400.0
    """Squared error in the criterion's unit at which `mse-smooth` bends."""
    cross_entropy_weight: float = 0.01
    """Of minus the logarithm of the probability at each joint's voxel; 0: not used, as for algebraic networks."""
    use_gt_pelvis: bool = False
    """Whether cuboids are put about the labelled pelvis, not the predicted one."""
    cuboid_center: tuple[str, ...] = ("pelvis",)
    """Joints in whose middle cuboids lie: the labelled ones where `use_gt_pelvis` says so."""
    up: Literal["z", "y", "-y", "-z"] = "z"
    """The axis of the labels' world that points up, kept with the weights; CMU Panoptic's is `-y`."""
    base_joint: str = "pelvis"
    """Errors are also told relative to it. In batches of a single view, where depth is open, so are the losses."""
    preview_items: int = 10
    """Samples that TensorBoard shows, every `training.preview_every` steps."""
    training: TrainingSettings = field(default_factory=lambda: _volumetric_training(batch=5, epochs=40))

    def __post_init__(self) -> None:
        for name in ("batch", "validation_batch", "preview_items"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("scale_keypoints_3d", "mse_smooth_threshold"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 <= self.cross_entropy_weight < float("inf"):
            raise InputError(f"cross_entropy_weight: expected 0 or more, got {self.cross_entropy_weight}")
        if isinstance(self.network, VolumetricConfig) and self.up[-1] != self.network.vertical:
            raise InputError(f"up: expected the axis of network.vertical, {self.network.vertical}, got {self.up}")
        if self.joints and len(self.joints) != self.network.backbone.joints:
            raise InputError(
                f"network.backbone.joints: expected {len(self.joints)}, as many as 'joints' names, "
                f"got {self.network.backbone.joints}"
            )

    def task(self, data: Path | None = None) -> TriangulationTask:
        """The task, with the labels of a folder, the network and what it starts from.

        Raises:
            InputError: labels, options and network do not fit together, or there is nothing to train on.
            MissingAssetError: a file is absent.
            FormatError: a file is malformed, or weights are of another network.
        """
        from marey.methods.triangulation.task import TriangulationTask

        return TriangulationTask(self, data)


def algebraic() -> TriangulationRecipe:
    """Human3.6M: heatmaps, triangulated with learned weights of the views."""
    return TriangulationRecipe(
        network=AlgebraicConfig(),
        batch=8,
        validation_batch=16,
        criterion="mse-smooth",
        cross_entropy_weight=0.0,
        training=_algebraic_training(epoch=OBJECTS // 8),
    )


def algebraic_no_confidence() -> TriangulationRecipe:
    """Human3.6M: all views count alike."""
    recipe = algebraic()
    return replace(
        recipe,
        network=AlgebraicConfig(use_confidences=False),
        training=_algebraic_training(epoch=10_000 // 8),
    )


def volumetric(aggregation: VolumeAggregation) -> TriangulationRecipe:
    """Human3.6M: features of all views in one volume, brought together in one of the published ways."""
    pretrained = "data/pretrained/human36m/human36m_alg_10-04-2019/checkpoints/0060/results"
    published = "data/human36m/extra/human36m-multiview-labels-GTbboxes.npy"
    return TriangulationRecipe(
        network=VolumetricConfig(aggregation=aggregation),
        train=SplitOptions(workers=5, pelvis=f"{pretrained}/train.pkl", pelvis_labels=published),
        validation=SplitOptions(
            workers=10, splits=("validation", "test"), pelvis=f"{pretrained}/val.pkl", pelvis_labels=published
        ),
    )


def volumetric_softmax() -> TriangulationRecipe:
    """Human3.6M, views weighted by the softmax of their features."""
    return volumetric("softmax")


def volumetric_sum() -> TriangulationRecipe:
    """Human3.6M, features of views added."""
    return volumetric("sum")


def volumetric_max() -> TriangulationRecipe:
    """Human3.6M, the largest feature of the views."""
    return volumetric("max")


def volumetric_conf() -> TriangulationRecipe:
    """Human3.6M, features of views weighted by learned confidences."""
    return volumetric("conf")


def volumetric_conf_norm() -> TriangulationRecipe:
    """Human3.6M, the same with confidences that add up to one."""
    return volumetric("conf_norm")


def cmu_algebraic() -> TriangulationRecipe:
    """CMU Panoptic, after the fork's file for evaluation: joints of COCO, six cameras."""
    return replace(
        algebraic(),
        joints=skeleton("coco_17").joints,
        backbone_weights="data/pretrained/cmu/pose_resnet_4.5_pixels_cmu.pth",
        train=_cmu_split("train", ("5", "8", "9", "10", "13", "16"), workers=8),
        validation=_cmu_split("validation", ("2", "7", "22"), workers=8),
        validation_batch=100,
        cuboid_center=HIPS,
        up="-y",
        base_joint="left_hip",
    )


def cmu_volumetric(aggregation: VolumeAggregation) -> TriangulationRecipe:
    """CMU Panoptic, after the fork's file for training; cuboids turn about y, which is vertical in the dome."""
    joints = skeleton("panoptic_19").joints
    return TriangulationRecipe(
        network=VolumetricConfig(backbone=BackboneConfig(joints=len(joints)), aggregation=aggregation, vertical="y"),
        joints=joints,
        train=_cmu_split("train", ("0", "3", "7", "10", "15", "19"), workers=3, ignored=("22", "23", "25", "26", "29")),
        validation=_cmu_split("validation", ("2", "5", "13"), workers=2, ignored=("23", "25", "26", "29")),
        batch=1,
        validation_batch=5,
        use_gt_pelvis=True,
        up="-y",
        base_joint="neck",
        training=_volumetric_training(batch=1, epochs=30, preview_every=500),
    )


def cmu_volumetric_softmax() -> TriangulationRecipe:
    """CMU Panoptic, views weighted by the softmax of their features."""
    return cmu_volumetric("softmax")


def cmu_volumetric_sum() -> TriangulationRecipe:
    """CMU Panoptic, features of views added."""
    return cmu_volumetric("sum")


def cmu_volumetric_max() -> TriangulationRecipe:
    """CMU Panoptic, the largest feature of the views."""
    return cmu_volumetric("max")


def cmu_volumetric_conf() -> TriangulationRecipe:
    """CMU Panoptic, features of views weighted by learned confidences."""
    return cmu_volumetric("conf")


def cmu_volumetric_conf_norm() -> TriangulationRecipe:
    """CMU Panoptic, the same with confidences that add up to one."""
    return cmu_volumetric("conf_norm")


def volumetric_optimiser(rate: float, features_rate: float, volume_rate: float) -> Optimiser:
    """Adam with a learning rate for each of the three parts."""
    return Optimiser(
        algorithm="adam",
        learning_rate=rate,
        groups=(
            ParameterGroup(prefix="backbone.", learning_rate=rate),
            ParameterGroup(prefix="process_features.", learning_rate=features_rate),
            ParameterGroup(prefix="volume_net.", learning_rate=volume_rate),
        ),
    )


def every_epoch(epoch: int, *, steps: int, preview_every: int = 1000, optimiser: Optimiser) -> TrainingSettings:
    """As the original goes on: constant rates, validation and a checkpoint after every `epoch` steps."""
    return TrainingSettings(
        steps=steps,
        optimiser=optimiser,
        validate_every=epoch,
        checkpoint_every=epoch,
        preview_every=preview_every,
    )


def _algebraic_training(*, epoch: int) -> TrainingSettings:
    """Of 60 epochs, after which the published weights were taken; gradients are not clipped."""
    return every_epoch(epoch, steps=60 * epoch, optimiser=Optimiser(algorithm="adam", learning_rate=1e-5))


def _volumetric_training(*, batch: int, epochs: int, preview_every: int = 1000) -> TrainingSettings:
    """Of Human3.6M's published weights, 40 epochs."""
    epoch = OBJECTS // batch
    return every_epoch(
        epoch, steps=epochs * epoch, preview_every=preview_every, optimiser=volumetric_optimiser(1e-4, 1e-3, 1e-3)
    )


def _cmu_split(split: str, cameras: tuple[str, ...], *, workers: int, ignored: tuple[str, ...] = ()) -> SplitOptions:
    samples = MultiViewOptions(cameras=cameras, ignore_cameras=ignored)
    return SplitOptions(splits=(split,), samples=samples, workers=workers)
