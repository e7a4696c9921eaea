"""A data set of two cameras in miniature: people who stand still at known places, with small pictures on disk."""

from pathlib import Path

import numpy as np
import torch

from marey.core import Cameras, Estimate, Joints3D, Skeleton, skeleton
from marey.data.labels import Images, Labels, write_labels
from marey.io.images import write_image

SIZE = (96, 64)
"""Width and height of the pictures."""
POSE = np.linspace(-0.4, 0.4, 17 * 3).reshape(17, 3)
"""Metres about the pelvis; the pelvis of sample i stands at (i, 0, 0)."""


def pose_of(sample: int) -> np.ndarray:
    """The truth (17, 3) of a sample, metres."""
    return POSE - POSE[0] + np.array([float(sample), 0.0, 0.0])


def estimate_of(poses: np.ndarray, bones: Skeleton, cameras: Cameras | None) -> Estimate:
    """What an estimator says that is sure to a centimetre of poses (N, J, 3), one person a frame."""
    positions = torch.from_numpy(poses)[:, None]
    shape = positions.shape[:3]
    return Estimate(
        joints=Joints3D(
            positions=positions,
            covariance=1e-4 * torch.eye(3, dtype=torch.float64).expand(*shape, 3, 3),
            score=torch.ones(shape, dtype=torch.float64),
            filled=torch.zeros(shape, dtype=torch.bool),
            skeleton=bones,
        ),
        cameras=cameras,
    )


def cameras(views: int) -> Cameras:
    """They look along +z from ten metres behind the origin, half a metre apart."""
    eye = torch.eye(3)
    return Cameras(
        intrinsics=torch.tensor([[60.0, 0, 47.5], [0, 60, 31.5], [0, 0, 1]]).expand(views, 3, 3),
        distortion=torch.zeros(views, 5),
        image_size=torch.tensor([float(SIZE[0]), SIZE[1]]).expand(views, 2),
        rotation=eye.expand(views, 3, 3),
        translation=torch.stack([torch.tensor([-0.5 * view, 0.0, 10.0]) for view in range(views)]),
        names=tuple(f"cam{view}" for view in range(views)),
    )


def moments_set(
    folder: Path,
    moments: list[tuple[str, str, int]],
    *,
    name: str = "h36m",
    split: str = "test",
    missing: tuple[tuple[int, int], ...] = (),
    views: int = 2,
    bones: str = "h36m_17",
    joints: np.ndarray | None = None,
) -> Path:
    """Write a data set.

    Args:
        folder: Where.
        moments: Subject, action (with trial) and frame of each, in the order of the data set; subject "" for none.
        name: Of the data set.
        split: Of all moments.
        missing: Moment and view without a box.
        views: How many.
        bones: Skeleton.
        joints: (N, J, 3); None: `pose_of`.
    """
    seen = [(m, v) for m in range(len(moments)) for v in range(views)]
    boxed = [place for place, pair in enumerate(seen) if pair not in missing]
    sequence = [f"{moments[m][0]}/{moments[m][1]}".lstrip("/") for m, _ in seen]
    paths = [f"images/{m}_{v}.png" for m, v in seen]
    truth = np.stack([pose_of(m) for m in range(len(moments))]) if joints is None else joints
    rows = [seen[place][0] for place in boxed]
    texts = {
        "subject": np.array([moments[m][0] for m in rows]),
        "action": np.array([moments[m][1].partition("-")[0] for m in rows]),
        "trial": np.array([moments[m][1] for m in rows]),
    }
    labels = Labels(
        name=name,
        version="in miniature",
        skeleton=skeleton(bones),
        images=Images(
            path=np.array(paths),
            size=np.array([SIZE] * len(seen)),
            camera=np.array([v for _, v in seen]),
            sequence=np.array(sequence),
            frame=np.array([moments[m][2] for m, _ in seen]),
            moment=np.array([m for m, _ in seen]),
            view=np.array([v for _, v in seen]),
        ),
        split=np.array([split] * len(seen)),
        image=np.array(boxed),
        person=np.zeros(len(boxed), dtype=np.int64),
        values={
            "joints": truth[rows].astype(np.float32),
            # the box tells which moment it is, which estimators of tests go by
            "box": np.array([[m + 2.0, 4.0, 30.0, 40.0] for m in rows], dtype=np.float32),
            **(texts if moments[0][0] else {}),
        },
        cameras=cameras(views),
    )
    (folder / "images").mkdir(parents=True)
    for place, path in enumerate(paths):
        grey = np.full((SIZE[1], SIZE[0], 3), 10 * (place % 20) + 20, np.uint8)
        write_image(folder / path, grey)
    write_labels(folder / "labels.npz", labels)
    return folder
