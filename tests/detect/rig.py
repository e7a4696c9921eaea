"""A ring of cameras around a walking figure, shared by the tests of this room."""

import math

import torch

from marey.core import Cameras, Keypoints2D, Skeleton, skeleton
from marey.geometry.projection import project

COCO = {  # metres, y to the figure's left, z up, facing x
    "nose": (0.12, 0.0, 1.6),
    "left_eye": (0.1, 0.03, 1.64),
    "left_ear": (0.0, 0.08, 1.62),
    "left_shoulder": (0.0, 0.2, 1.4),
    "left_elbow": (0.05, 0.27, 1.12),
    "left_wrist": (0.2, 0.25, 0.9),
    "left_hip": (0.0, 0.12, 0.92),
    "left_knee": (0.12, 0.13, 0.5),
    "left_ankle": (0.0, 0.13, 0.08),
}


def ring(views: int, radius: float = 4.0, dtype: torch.dtype = torch.float64) -> Cameras:
    """Cameras at equal angles, 1.5 m high, looking at (0, 0, 1)."""
    angle = torch.arange(views, dtype=dtype) * (2 * math.pi / views) + 0.4
    centers = torch.stack((radius * angle.cos(), radius * angle.sin(), torch.full_like(angle, 1.5)), -1)
    forward = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, 1.0], dtype=dtype) - centers, dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=dtype).expand_as(forward)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    rotation = torch.stack((right, torch.linalg.cross(forward, right), forward), -2)
    return Cameras(
        intrinsics=torch.tensor([[1000.0, 0, 640], [0, 1000, 480], [0, 0, 1]], dtype=dtype).expand(views, 3, 3),
        distortion=torch.zeros(views, 0, dtype=dtype),
        image_size=torch.tensor([1280.0, 960.0], dtype=dtype).expand(views, 2),
        rotation=rotation,
        translation=-(rotation @ centers[..., None])[..., 0],
    )


def walker(frames: int, people: int = 1, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, Skeleton]:
    """Joints (T, P, 17, 3) of figures that turn and swing their limbs."""
    table = skeleton("coco_17")
    rest = torch.zeros(17, 3, dtype=dtype)
    for name, (x, y, z) in COCO.items():
        rest[table.index(name)] = torch.tensor([x, y, z], dtype=dtype)
        if name.startswith("left_"):
            rest[table.index(name.replace("left_", "right_"))] = torch.tensor([x, -y, z], dtype=dtype)
    time = torch.arange(frames, dtype=dtype) / 30
    swing = 0.25 * torch.sin(2 * math.pi * time)[:, None, None]
    side = rest[:, 1].sign() * torch.tensor(["wrist" in j or "ankle" in j for j in table.joints], dtype=dtype)
    offset = torch.stack((side, 0 * side, 0 * side), -1)
    body = rest + swing * offset
    turn = 0.5 * time
    c, s = turn.cos(), turn.sin()
    rotation = torch.stack(
        (
            torch.stack((c, -s, 0 * c), -1),
            torch.stack((s, c, 0 * c), -1),
            torch.eye(3, dtype=dtype)[2].expand(frames, 3),
        ),
        -2,
    )
    body = body @ rotation.mT
    start = torch.arange(people, dtype=dtype)[:, None, None] * torch.tensor([0.0, 1.0, 0.0], dtype=dtype)
    return body[:, None] + start, table


def seen_by(joints: torch.Tensor, cameras: Cameras, table: Skeleton, sigma: float = 0.0, seed: int = 0) -> Keypoints2D:
    """Keypoints (V, T, P) with Gaussian noise of `sigma` pixels, score 0.9, covariance unknown."""
    generator = torch.Generator().manual_seed(seed)
    pixels = project(joints[None], cameras)
    pixels = pixels + sigma * torch.randn(pixels.shape, generator=generator, dtype=pixels.dtype)
    return Keypoints2D(
        positions=pixels,
        covariance=torch.full((*pixels.shape, 2), torch.nan, dtype=pixels.dtype),
        score=torch.full(pixels.shape[:-1], 0.9, dtype=pixels.dtype),
        skeleton=table,
    )
