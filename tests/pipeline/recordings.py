"""An estimate with all that an estimate of a recording has."""

import torch

from marey.core import Cameras, Estimate, Joints3D, Keypoints2D, skeleton

BONES = skeleton("coco_17")
LEFT_EYE = 1


def recorded(**changes):
    """Two views, three frames, one person; the second camera stands 3 m behind the origin, turned about z."""
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    cameras = Cameras(
        intrinsics=torch.eye(3).repeat(2, 1, 1),
        distortion=torch.zeros(2, 0),
        image_size=torch.tensor([[640.0, 480.0], [torch.nan, torch.nan]]),
        rotation=torch.stack((torch.eye(3), turn)),
        translation=torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]),
        names=("front", "side"),
    )
    positions = torch.zeros(3, 1, 17, 3)
    positions[..., LEFT_EYE, :] = torch.tensor([1.0, 2.0, 4.0])
    covariance = torch.diag(torch.tensor([1.0, 4.0, 9.0])).repeat(3, 1, 17, 1, 1)
    pixels = torch.full((2, 3, 1, 17, 2), 5.0)
    pixels[1, 2] = torch.nan
    values = {
        "joints": Joints3D(
            positions=positions,
            covariance=covariance,
            score=torch.ones(3, 1, 17),
            filled=torch.zeros(3, 1, 17, dtype=torch.bool),
            skeleton=BONES,
        ),
        "keypoints": Keypoints2D(
            positions=pixels,
            covariance=torch.ones(2, 3, 1, 17, 2, 2),
            score=pixels[..., 0].isfinite() * 0.5,
            skeleton=BONES,
        ),
        "cameras": cameras,
        "frames": (10, 11, 12),
        "fps": 60.0,
        "provenance": {"views": ["front", "side"]},
    }
    return Estimate(**(values | changes))
