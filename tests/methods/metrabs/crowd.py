"""A miniature of two data sets: dots for joints of people in space, and of people only known in pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from marey.core import Cameras, skeleton
from marey.data.augmentation import AppearanceOptions
from marey.data.labels import Images, Labels, write_labels
from marey.data.prepare.voc_occluders import write_occluders
from marey.data.training_crops import CropAugmentation
from marey.engine.settings import Optimiser, TrainingSettings
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig
from marey.methods.metrabs.recipe import H36M_BONES, H36M_JOINTS, MetrabsRecipe
from marey.methods.metrabs.samples import PeopleSet

WIDTH, HEIGHT = 160, 120
FOCAL = 200.0
H36M = skeleton("h36m_17")
PICTURE_JOINTS = ("right_ankle", "right_knee", "left_knee", "left_ankle", "right_wrist", "left_wrist", "thorax")
COLORS = np.random.default_rng(3).integers(60, 256, (17, 3)).tolist()


def camera() -> Cameras:
    """At the origin; the world's z axis points up, the camera looks along its y axis."""
    return Cameras(
        intrinsics=torch.tensor([[[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]]),
        distortion=torch.zeros(1, 5),
        image_size=torch.tensor([[WIDTH, HEIGHT]]).float(),
        rotation=torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]]),
        translation=torch.zeros(1, 3),
        names=("front",),
    )


def poses(count: int, seed: int) -> np.ndarray:
    """Joints (N, 17, 3) in the camera's frame: standing people with all joints somewhere near their place."""
    source = np.random.default_rng(seed)
    heights = np.array((0.0, 0, 0.4, 0.8, 0, 0.4, 0.8, -0.25, -0.5, -0.6, -0.7, -0.45, -0.2, 0.05, -0.45, -0.2, 0.05))
    sides = np.array((0.0, -0.12, -0.12, -0.12, 0.12, 0.12, 0.12, 0, 0, 0, 0, 0.18, 0.25, 0.3, -0.18, -0.25, -0.3))
    joints = np.stack((np.tile(sides, (count, 1)), np.tile(heights, (count, 1)), np.zeros((count, 17))), axis=-1)
    joints += source.uniform(-0.06, 0.06, joints.shape)
    joints[:, :, :2] += source.uniform(-0.3, 0.3, (count, 1, 2))
    return joints + np.array([0, 0, 1.0]) * source.uniform(4.0, 6.0, (count, 1, 1))


def write_sets(folder: Path, *, people: int = 10, pictures: int = 6) -> None:
    """Write `space` with masks and joints of the universal skeleton, `flat` without cameras, objects, backgrounds."""
    _write_space(folder / "space", people)
    _write_flat(folder / "flat", pictures)
    source = np.random.default_rng(5)
    cut = ("a/0", "chair", source.integers(0, 256, (30, 20, 3)).astype(np.uint8), np.ones((30, 20), np.float32))
    write_occluders(folder / "occluders.npz", [cut])
    (folder / "inria" / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "inria" / "images" / "sea.jpg"), np.full((64, 64, 3), (200, 90, 10), np.uint8))
    (folder / "inria" / "non_person_images.txt").write_text("sea.jpg\n", encoding="utf-8")


def recipe(**changes) -> MetrabsRecipe:
    """Of the miniature, for a processor."""
    made = MetrabsRecipe(
        network=MetrabsConfig(
            backbone="resnet_18", joints=H36M_JOINTS, heatmaps=HeatmapConfig(side=64, stride=32, depth=4), border=6.0
        ),
        people=(PeopleSet(labels="space", count=4, up="z"),),
        pictures=(PeopleSet(labels="flat", count=2),),
        validation=PeopleSet(labels="space", splits=("validation",)),
        validation_batch=2,
        appearance=AppearanceOptions(occlusion=0.0, colours=False),
        crops=CropAugmentation(geometric=False, mirrored=0.0),
        objects="",
        backgrounds="",
        interpolation="linear",
        init_backbone=False,
        absolute_after=1,
        epochs=None,
        weight_decay=1e-4,
        workers=0,
        training=TrainingSettings(
            steps=4, optimiser=Optimiser(learning_rate=1e-3), validate_every=0, checkpoint_every=0, log_every=2
        ),
    )
    return replace(made, **changes)


def network(recovery: str, **changes) -> MetrabsConfig:
    """The network of `recipe` with another way to places."""
    bones = () if recovery in ("metro", "metrabs") else H36M_BONES
    lengths = (0.0,) * len(bones)
    return replace(recipe().network, scale_recovery=recovery, bones=bones, bone_lengths=lengths, **changes)


def _write_space(folder: Path, count: int) -> None:
    joints = poses(count, 1)
    pixels = joints[..., :2] / joints[..., 2:] * FOCAL + np.array([WIDTH, HEIGHT]) / 2
    rotation = camera().rotation[0].numpy()
    world = (joints @ rotation).astype(np.float32)
    universal = (joints * 1.1 @ rotation).astype(np.float32)
    world[0, H36M.index("left_wrist")] = np.nan
    low, high = pixels.min(1) - 4, pixels.max(1) + 4
    for place, points in enumerate(pixels):
        _draw(folder / f"images/{place}.png", points)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        (left, top), (right, bottom) = low[place].astype(int), high[place].astype(int)
        mask[max(top, 0) : bottom, max(left, 0) : right] = 255
        (folder / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"masks/{place}.png"), mask)
    values = {
        "joints": world,
        "joints_universal": universal,
        "box": np.concatenate((low, high - low), axis=-1),
        "mask": np.array([f"masks/{place}.png" for place in range(count)]),
    }
    split = np.array(["train"] * (count - 2) + ["validation"] * 2)
    write_labels(folder / "labels.npz", _table("space", count, values, split, H36M, cameras=camera()))


def _write_flat(folder: Path, count: int) -> None:
    joints = poses(count, 2)
    pixels = joints[..., :2] / joints[..., 2:] * FOCAL + np.array([WIDTH, HEIGHT]) / 2
    for place, points in enumerate(pixels):
        _draw(folder / f"images/{place}.png", points)
    own = H36M.select(PICTURE_JOINTS[:-1], "flat")
    own = replace(own, joints=PICTURE_JOINTS)
    keypoints = np.full((count, len(PICTURE_JOINTS), 2), np.nan, np.float32)
    keypoints[:, :-1] = pixels[:, H36M.indices(PICTURE_JOINTS[:-1])]
    low, high = pixels.min(1) - 4, pixels.max(1) + 4
    values = {"keypoints": keypoints, "box": np.concatenate((low, high - low), axis=-1)}
    write_labels(folder / "labels.npz", _table("flat", count, values, np.array(["train"] * count), own, cameras=None))


def _table(name, count, values, split, joints, *, cameras) -> Labels:
    return Labels(
        name=name,
        version="1",
        skeleton=joints,
        images=Images(
            path=np.array([f"images/{place}.png" for place in range(count)]),
            size=np.tile([WIDTH, HEIGHT], (count, 1)),
            camera=np.full(count, -1 if cameras is None else 0),
            sequence=np.full(count, "take"),
            frame=np.arange(count),
            moment=np.arange(count),
        ),
        split=split,
        image=np.arange(count),
        person=np.zeros(count, np.int64),
        values=values,
        cameras=cameras,
    )


def _draw(path: Path, points: np.ndarray) -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 25, np.uint8)
    for point, color in zip(points, COLORS, strict=True):
        cv2.circle(picture, tuple(point.round().astype(int).tolist()), 2, color, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
