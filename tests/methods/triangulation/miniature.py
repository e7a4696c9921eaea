"""A miniature of one's own data: dots for joints, seen by four calibrated cameras, and recipes that fit it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from marey.core import Cameras, skeleton
from marey.data.labels import Images, Labels, write_labels
from marey.data.multiview import MultiViewOptions
from marey.engine.settings import Optimiser, TrainingSettings
from marey.methods.triangulation import recipe as recipes
from marey.methods.triangulation.model import AlgebraicConfig, BackboneConfig, VolumetricConfig
from marey.methods.triangulation.recipe import SplitOptions, TriangulationRecipe, volumetric_optimiser

SIDE, VIEWS = 96, 4
JOINTS = skeleton("h36m_17").joints
_HEIGHTS = (0.95, 0.95, 0.5, 0.08, 0.95, 0.5, 0.08, 1.2, 1.45, 1.55, 1.7, 1.4, 1.2, 1.0, 1.4, 1.2, 1.0)


def cameras() -> Cameras:
    """Around the origin at three metres, z up; they look at one metre's height."""
    rotations, translations = [], []
    for place in range(VIEWS):
        angle = 2 * math.pi * place / VIEWS + 0.3
        outward = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        down = torch.tensor([0.0, 0.0, -1.0])
        rotation = torch.stack((torch.linalg.cross(down, -outward), down, -outward))
        rotations.append(rotation)
        translations.append(-rotation @ (3 * outward + torch.tensor([0.0, 0.0, 1.0])))
    matrix = torch.tensor([[110.0, 0, (SIDE - 1) / 2], [0, 110.0, (SIDE - 1) / 2], [0, 0, 1]])
    return Cameras(
        intrinsics=matrix.expand(VIEWS, 3, 3).clone(),
        distortion=torch.zeros(VIEWS, 5),
        image_size=torch.full((VIEWS, 2), float(SIDE)),
        rotation=torch.stack(rotations),
        translation=torch.stack(translations),
        names=("54138969", "55011271", "58860488", "60457274"),
    )


def write_miniature(folder: Path, *, train: int = 12, validation: int = 4) -> Labels:
    """Write images and labels.npz; the first training moment lacks two joints, the second two of its views."""
    count = train + validation
    source = np.random.default_rng(7)
    joints = np.stack([source.uniform(-0.25, 0.25, (count, 17)), source.uniform(-0.25, 0.25, (count, 17))], axis=-1)
    heights = np.array(_HEIGHTS) + source.uniform(-0.05, 0.05, (count, 17))
    joints = np.concatenate((joints, heights[..., None]), axis=-1)
    rig = cameras()
    world = torch.from_numpy(joints).float()
    moved = torch.einsum("vij,njc->nvic", rig.rotation, world.transpose(1, 2)) + rig.translation[:, :, None]
    flat = torch.einsum("vij,nvjc->nvci", rig.intrinsics, moved)
    pixels = (flat[..., :2] / flat[..., 2:]).numpy()
    colors = source.integers(60, 256, (17, 3)).tolist()
    paths = [f"images/{name}/{moment:03d}.png" for moment in range(count) for name in rig.names]
    for path, points in zip(paths, pixels.reshape(-1, 17, 2), strict=True):
        picture = np.full((SIDE, SIDE, 3), 25, np.uint8)
        for point, color in zip(points, colors, strict=True):
            cv2.circle(picture, tuple(point.round().astype(int).tolist()), 2, color, -1)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / path), picture)
    labels = _labels(joints, paths, train=train, rig=rig)
    write_labels(folder / "labels.npz", labels)
    return labels


def _labels(joints: np.ndarray, paths: list[str], *, train: int, rig: Cameras) -> Labels:
    count = len(joints)
    joints = joints.astype(np.float32)
    joints[0, [JOINTS.index("left_wrist"), JOINTS.index("right_wrist")]] = np.nan
    moment, camera = np.repeat(np.arange(count), VIEWS), np.tile(np.arange(VIEWS), count)
    shown = ~((moment == 1) & (camera < 2))
    return Labels(
        name="mine",
        version="1",
        skeleton=skeleton("h36m_17"),
        images=Images(
            path=np.array(paths),
            size=np.full((len(paths), 2), SIDE),
            camera=camera,
            sequence=np.full(len(paths), "walk"),
            frame=moment,
            moment=moment,
        ),
        split=np.where(moment < train, "train", "validation"),
        image=np.flatnonzero(shown),
        person=np.zeros(int(shown.sum()), dtype=np.int64),
        values={
            "joints": np.repeat(joints, VIEWS, axis=0)[shown],
            "box": np.tile(np.array([4.0, 4.0, 88.0, 88.0], np.float32), (int(shown.sum()), 1)),
        },
        cameras=rig,
    )


def training(**changes) -> TrainingSettings:
    """A few steps on a processor."""
    usual = {"steps": 4, "validate_every": 4, "checkpoint_every": 2, "log_every": 1, "accelerator": "cpu", "seed": 3}
    return TrainingSettings(**{"optimiser": Optimiser(algorithm="adam", learning_rate=1e-3), **usual, **changes})


def _small(recipe: TriangulationRecipe, side: int, **changes) -> TriangulationRecipe:
    samples = MultiViewOptions(image_shape=(side, side))
    return replace(
        recipe,
        init_backbone=False,
        train=SplitOptions(samples=samples, workers=1),
        validation=SplitOptions(splits=("validation",), samples=samples, workers=0),
        batch=4,
        validation_batch=3,
        preview_items=2,
        **changes,
    )


def small_algebraic(**changes) -> TriangulationRecipe:
    """On ResNet-18, images of 64 pixels; confidences would need 128."""
    config = AlgebraicConfig(backbone=BackboneConfig(depth=18), use_confidences=False)
    return _small(recipes.algebraic(), 64, **{"network": config, "training": training(), **changes})


def small_volumetric(**changes) -> TriangulationRecipe:
    """On ResNet-18, images of 64 pixels, volumes of 32 voxels."""
    config = VolumetricConfig(backbone=BackboneConfig(depth=18), volume_size=32, feature_channels=8, v2v_width=4)
    usual = {
        "network": config,
        "use_gt_pelvis": True,
        "training": training(optimiser=volumetric_optimiser(1e-3, 1e-3, 1e-3)),
    }
    return _small(recipes.volumetric("softmax"), 64, **usual | changes)
