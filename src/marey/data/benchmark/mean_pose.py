"""The simplest answer: the mean pose of the training captures, whatever is seen. What does not beat it sees nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from marey.core import skeleton
from marey.data.benchmark.benchmark import Benchmark
from marey.data.benchmark.cells import SCENE_SETS, SKELETON
from marey.data.benchmark.contents import committed_mean_poses
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.data.synthetic.config import Tier
from marey.geometry.projection import world_to_camera
from marey.io.predictions import PoseRows

_DRAWN, _SEED = 2000, 0
_HIPS = ("left_hip", "right_hip")


def predict_mean_pose(benchmark: Benchmark, cell: str) -> PoseRows:
    """Answer every sample of a cell with the mean pose of the training split of its tier, seen from the first camera.

    The mean is that of 2,000 samples in the camera's axes, from the middle of the hips, which is put at the origin: the
    answer says nothing about where the person is.

    Raises:
        InputError: there is no such cell.
    """
    chosen, labels = benchmark.cell(cell), benchmark.labels(cell)
    pose = mean_pose(SCENE_SETS[chosen.scenes].config.tier)
    joints = pose.expand(len(labels), -1, -1)
    cameras = benchmark.cameras(cell)
    if cameras is not None and cameras.has_extrinsics:
        joints = joints @ cameras.extrinsics[0][:, 0].double()
    return PoseRows(
        joint_names=skeleton(SKELETON).joints,
        sequence=labels.sequence,
        frame=labels.frame,
        person=labels.person,
        values={"joints": np.ascontiguousarray(joints.numpy())},
        benchmark=labels.benchmark,
    )


def mean_pose(tier: str | Tier) -> Tensor:
    """(17, 3) `coco_17` in the camera's axes, metres from the middle of the hips, double precision, as committed.

    A tier that is not one of the three by name is `medium` with other occluders, which change no pose.
    """
    return torch.tensor(committed_mean_poses()[tier if isinstance(tier, str) else "medium"], dtype=torch.float64)


def draw_mean_pose(tier: str) -> Tensor:
    """Make what `mean_pose` gives: the mean of the training split, (17, 3) to a tenth of a millimetre; 15 s."""
    config = SyntheticConfig(tier=tier, split="training", image_size=(64, 64), skeletons=(SKELETON,))
    batch = SyntheticGenerator(config).sample(_SEED, range(_DRAWN), images=False)
    joints = world_to_camera(batch.skeletons[SKELETON][:, None, :1].double(), batch.cameras.to(torch.float64))[:, 0, 0]
    hips = joints[:, skeleton(SKELETON).indices(_HIPS)].mean(1, keepdim=True)
    return (joints - hips).mean(0).round(decimals=4)
