"""How MeTRAbs is trained: recipes with every option of the original program that changes the result, as published.

The names of the original's options stand in the comments. Lengths are metres, its are millimetres; shares are in 0..1,
its in percent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marey.core import InputError, skeleton
from marey.data.augmentation import AppearanceOptions
from marey.data.training_crops import CropAugmentation, Interpolation
from marey.engine.schedules import Cosine, Piecewise
from marey.engine.settings import Optimiser, TrainingSettings
from marey.methods.metrabs.framed_captures import Framing
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, ScaleRecovery
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.samples import PeopleSet
from marey.nn.trunk import KEYPOINTS

if TYPE_CHECKING:
    from marey.methods.metrabs.task import MetrabsTask

Losses = Literal["heads", "projections"]

H36M_JOINTS = (
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "neck", "head"),
    *("head_top", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    "pelvis",
)
"""Of Human3.6M in the order of the original, the pelvis last."""
MPI_JOINTS = (
    *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine1", "head", "pelvis"),
)
"""Of MPI-INF-3DHP, MuCo and MuPoTS in the order of the original, the pelvis last."""
MPI_BONES = (
    *((0, 15), (15, 1), (1, 14), (14, 16), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
    *((16, 8), (8, 9), (9, 10), (16, 11), (11, 12), (12, 13)),
)
H36M_BONES = (
    *((16, 0), (0, 1), (1, 2), (16, 3), (3, 4), (4, 5), (16, 6), (6, 7), (7, 8), (8, 9)),
    *((7, 10), (10, 11), (11, 12), (7, 13), (13, 14), (14, 15)),
)

_SCHEDULE = Piecewise(points=((0.0, 1.0), (0.92, 1 / 3), (0.92, 1 / 30), (1.0, 0.01)), between="exponential")


@dataclass(frozen=True, kw_only=True)
class MetrabsRecipe:
    """What is trained on what. The defaults are those of the program of November 2020."""

    network: MetrabsConfig = field(default_factory=lambda: published_network(H36M_JOINTS, "metro"))
    """architecture, scale-recovery, stride-train, centered-stride, depth, proc-side, box-size-mm, weak-perspective.
    Of `bone-lengths`, lengths of 0 are filled in with the means over the training data."""
    people: tuple[PeopleSet, ...] = (PeopleSet(labels="h36m"),)
    """People whose joints are known in space: dataset, train-on, train-subjects, batch-size."""
    synthetic: tuple[tuple[str, int], ...] = ()
    """Tiers of synthetic captures, made while training, and people of each in a global batch."""
    synthetic_framing: Framing = field(default_factory=Framing)
    """How they are cut out, and cut off."""
    pictures: tuple[PeopleSet, ...] = (PeopleSet(labels="mpii", splits=("train", "validation")),)
    """People only known in pictures: dataset2d, batch-size-2d. None: no train-mixed."""
    validation: PeopleSet = field(default_factory=lambda: PeopleSet(labels="h36m", splits=("validation", "test")))
    """validate-on, valid-subjects."""
    validation_batch: int = 110
    """batch-size-test"""
    validation_rows: int | None = None
    """The first so many are validated on; None: all."""
    universal_skeleton: bool = False
    """universal-skeleton: joints of MPI-INF-3DHP and MuCo for people of one height; projections stay metric."""

    crops: CropAugmentation = field(default_factory=CropAugmentation)
    """geom-aug, rot-aug, scale-aug-up, scale-aug-down, shift-aug, partial-visibility"""
    appearance: AppearanceOptions = field(default_factory=AppearanceOptions)
    """occlude-aug-prob, occlude-aug-scale, color-aug"""
    picture_appearance: AppearanceOptions | None = None
    """Of people only known in pictures; None: the same."""
    objects: str = "voc-occluders/occluders.npz"
    """What is pasted before people, as `marey data` wrote it; empty: nothing."""
    backgrounds: str = "inria"
    """Folder of pictures behind people, of use to sets with a `background` above 0 (background-aug-prob)."""
    interpolation: Interpolation = "nearest"
    """image-interpolation-train"""
    antialias: int = 1
    """antialias-train"""
    validation_interpolation: Interpolation = "linear"
    """image-interpolation-test"""
    validation_antialias: int = 4
    """antialias-test"""
    validation_varied: bool = False
    """test-aug: validation crops vary as those of training do."""

    losses: Losses = "heads"
    """`heads`: of both kinds of heatmaps and the places found from them (2020). `projections`: of the places alone, in
    space and in the crop (2021-23)."""
    mean_relative: bool = False
    """mean-relative: joints are compared from their mean rather than from the root."""
    weak_weight: float = 0.1
    """loss2d-factor: of people only known in pictures."""
    absolute_weight: float = 1.0
    """absloss-factor: of places before the camera, `metrabs` only."""
    absolute_after: int = 5000
    """Steps after which they count."""
    hip_shift: float = 0.0
    """tdhp-to-mpii-shift-factor: how much too low hips and pelvis are for the labels of pictures, `2.5D` only. The
    original shifts where the data are MPI-INF-3DHP alone."""
    weak_perspective_until: int = 0
    """Steps for which joints are placed by weak perspective."""
    random_mix: bool = False
    """Whether the share of the metric joint in placed joints is drawn for each person."""
    joined_pass: bool = False
    """batchnorm-together-2d3d: people of both kinds are normalised together."""
    ghost_batch: int | None = None
    """ghost-bn: crops that are normalised together; None: all of a process."""
    frozen_norms: int = 0
    """finetune-in-inference-mode: last steps in which batch normalisation uses its running statistics."""
    largest_kernel: float | None = None
    """constrain-kernel-norm: of the weights of one output of a convolution; None: any."""

    init_backbone: bool = True
    """init=pretrained: whether the backbone starts from weights that tell pictures apart."""
    backbone_weights: str = "pretrained/resnet_v2_50_2017_04_14/resnet_v2_50.ckpt"
    """init-path: these weights, a checkpoint of TensorFlow's slim models or of torchvision's names. Empty: those of the
    shipped trunk, for the backbone `trunk`."""
    weights: str = ""
    """load-path: weights of a whole network to start from, a folder that `marey train` wrote."""
    epochs: float | None = 27
    """How often training sees `people`, which sets `training.steps`; None: `training.steps` counts."""
    weight_decay: float = 3e-3
    """weight-decay: a step takes `weight_decay / sqrt(steps)` of every weight times the schedule's factor, whatever
    the learning rate is (Loshchilov and Hutter, ICLR 2019, appendix B.1). It sets the optimiser's."""
    workers: int = 8
    """workers: processes that make crops; 0: the one that trains, when it needs them."""
    preview_items: int = 6
    """Crops of each kind that TensorBoard shows, every `training.preview_every` steps."""
    squared_absolute_weight: bool = False
    """As published in 2020, `absolute_weight` is multiplied twice."""
    longest_box_number: bool = False
    """As published in 2020, crops of pictures span the largest of the four numbers of a box, not its longer side."""
    training: TrainingSettings = field(default_factory=lambda: _training(1e-4))
    """epochs, seed, learning-rate, epsilon, dtype, validate-period. The original computes in float16 with a fixed scale
    of the loss of 256; bfloat16 needs none."""

    def __post_init__(self) -> None:
        for name in ("validation_batch", "antialias", "validation_antialias", "preview_items"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("weak_weight", "absolute_weight", "weight_decay", "hip_shift"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise InputError(f"epochs: expected a number above 0 or none, got {self.epochs}")
        if not self.people and not self.synthetic:
            raise InputError("people: expected one or more sets of people whose joints are known in space, got none")
        if self.losses == "projections" and self.network.scale_recovery != "metrabs":
            raise InputError("losses: 'projections' needs network.scale_recovery 'metrabs', which places people")

    def task(self, data: Path | None = None) -> MetrabsTask:
        """The task, with the labels of a folder, the network and what it starts from.

        Raises:
            InputError: labels, options and network do not fit together, or there is nothing to train on.
            MissingAssetError: a file is absent.
            FormatError: a file is malformed, or weights are of another network.
        """
        from marey.methods.metrabs.task import MetrabsTask

        return MetrabsTask(self, data)


def published_network(joints: tuple[str, ...], recovery: ScaleRecovery) -> MetrabsConfig:
    """A network of November 2020 for some joints, the root last."""
    bones = () if recovery in ("metro", "metrabs") else (H36M_BONES if joints == H36M_JOINTS else MPI_BONES)
    return MetrabsConfig(
        joints=joints,
        scale_recovery=recovery,
        head_layout="separate",
        perspective="weak",
        border=32.0,
        mix=0.0,
        bones=bones,
        bone_lengths=(0.0,) * len(bones),
        quirks=Quirks.published(),
    )


def metro_h36m() -> MetrabsRecipe:
    """MeTRo on Human3.6M, protocol 2: joints relative to the pelvis."""
    return MetrabsRecipe()


def depth_h36m() -> MetrabsRecipe:
    """The 2.5D network on Human3.6M, with mean bone lengths."""
    return MetrabsRecipe(network=published_network(H36M_JOINTS, "bone-lengths"))


def metro_3dhp() -> MetrabsRecipe:
    """MeTRo on MPI-INF-3DHP."""
    return replace(
        metro_h36m(),
        network=published_network(MPI_JOINTS, "metro"),
        people=(PeopleSet(labels="3dhp", background=0.7),),
        validation=PeopleSet(labels="3dhp", splits=("validation",)),
    )


def metro_3dhp_universal() -> MetrabsRecipe:
    """MeTRo on MPI-INF-3DHP, everybody of one height."""
    return replace(metro_3dhp(), universal_skeleton=True)


def metrabs_muco() -> MetrabsRecipe:
    """MeTRAbs on MuCo, for MuPoTS: places before the camera."""
    return replace(
        metro_h36m(),
        network=published_network(MPI_JOINTS, "metrabs"),
        people=(PeopleSet(labels="muco", background=0.7),),
        pictures=(PeopleSet(labels="mpii-yolo", splits=("train", "validation")),),
        validation=PeopleSet(labels="mupots", splits=("test",)),
        appearance=AppearanceOptions(occlusion=0.3),
        epochs=24,
        squared_absolute_weight=True,
    )


def metrabs_later() -> MetrabsRecipe:
    """MeTRAbs as of 2021 to 2023, on the public sets that marey prepares."""
    shares = (("h36m", 24, "z"), ("muco", 24, ""), ("3dhp", 24, "y"), ("3dpw", 24, ""))
    people = tuple(
        PeopleSet(
            labels=name,
            count=count,
            up=up,
            background=0.7 if name in ("muco", "3dhp") else 0.0,
            parts=0.5 if name == "h36m" else None,
        )
        for name, count, up in shares
    )
    return MetrabsRecipe(
        network=MetrabsConfig(
            backbone="efficientnet_v2_s", joints=MPI_JOINTS, quirks=Quirks.published_later(), mix=0.5, border=24.0
        ),
        people=people,
        pictures=tuple(PeopleSet(labels=name, count=16) for name in ("mpii", "coco")),
        validation=PeopleSet(labels="3dhp", splits=("validation",)),
        validation_batch=150,
        appearance=AppearanceOptions(occlusion=0.5, occlusion_scale=1.0),
        picture_appearance=AppearanceOptions(occlusion=0.7, occlusion_scale=1.0),
        interpolation="linear",
        validation_antialias=1,
        losses="projections",
        mean_relative=True,
        weak_weight=0.2,
        absolute_weight=0.1,
        weak_perspective_until=500,
        random_mix=True,
        joined_pass=True,
        ghost_batch=16,
        frozen_norms=1000,
        largest_kernel=20.0,
        backbone_weights="pretrained/efficientnet_v2_s.pth",
        epochs=None,
        training=replace(_training(2.121e-4), steps=400_000, validate_every=2000, checkpoint_every=2000),
    )


def metro_trunk() -> MetrabsRecipe:
    """MeTRo on the features of the trunk and synthetic captures, to compare with `depth_trunk`."""
    return _on_trunk("metro")


def depth_trunk() -> MetrabsRecipe:
    """The 2.5D network on the features of the trunk and synthetic captures, with mean bone lengths."""
    return _on_trunk("bone-lengths")


def _on_trunk(recovery: ScaleRecovery) -> MetrabsRecipe:
    joints = skeleton(KEYPOINTS)
    bones = tuple(joints.links)
    return MetrabsRecipe(
        network=MetrabsConfig(
            backbone="trunk",
            joints=joints.joints,
            root=joints.index("pelvis"),
            scale_recovery=recovery,
            heatmaps=HeatmapConfig(side=128, stride=4, depth=16),
            border=4.0,
            bones=bones,
            bone_lengths=(0.0,) * len(bones),
        ),
        people=(),
        synthetic=(("easy", 8), ("medium", 16)),
        pictures=(),
        appearance=AppearanceOptions(occlusion=0.0),
        objects="",
        backgrounds="",
        backbone_weights="",
        epochs=None,
        workers=1,
        training=TrainingSettings(
            steps=240,
            optimiser=Optimiser(learning_rate=1e-3, weight_decay=1e-2),
            schedule=Cosine(final=0.01),
            warm_up=20,
            precision="bf16-mixed",
            clip=5.0,
            ema_decay=0.99,
            validate_every=240,
            checkpoint_every=240,
        ),
    )


def small() -> MetrabsRecipe:
    """For a test."""
    return MetrabsRecipe(
        network=MetrabsConfig(
            backbone="resnet_18",
            joints=H36M_JOINTS,
            heatmaps=HeatmapConfig(side=64, stride=16, depth=4),
            border=8.0,
        ),
        synthetic=(("easy", 4),),
        people=(),
        pictures=(),
        appearance=AppearanceOptions(occlusion=0.0),
        validation_rows=8,
        objects="",
        backgrounds="",
        init_backbone=False,
        epochs=None,
        absolute_after=0,
        workers=0,
        training=TrainingSettings(
            steps=4, optimiser=Optimiser(learning_rate=1e-3), validate_every=4, checkpoint_every=4
        ),
    )


def _training(rate: float) -> TrainingSettings:
    """The optimiser and schedule of all published recipes; the task sets steps and weight decay."""
    return TrainingSettings(
        seed=1,
        optimiser=Optimiser(algorithm="adamw", learning_rate=rate, epsilon=1e-8),
        schedule=_SCHEDULE,
        precision="bf16-mixed",
        validate_every=2000,
        checkpoint_every=2000,
        preview_every=2000,
    )
