"""Cameras and meshes that several tests draw."""

import torch

from marey.core import Cameras


def camera(
    *, size=(48, 64), focal=50.0, distortion=(), rotation=None, translation=(0.0, 0.0, 0.0), dtype=torch.float64
):
    """One camera in the world's frame, or turned and moved."""
    rows, columns = size
    intrinsics = torch.tensor([[focal, 0, (columns - 1) / 2], [0, focal, (rows - 1) / 2], [0, 0, 1]], dtype=dtype)
    return Cameras(
        intrinsics=intrinsics,
        distortion=torch.tensor(distortion, dtype=dtype),
        image_size=torch.tensor((columns, rows), dtype=dtype),
        rotation=torch.eye(3, dtype=dtype) if rotation is None else rotation.to(dtype),
        translation=torch.tensor(translation, dtype=dtype),
    )


def sphere(*, rings=12, sectors=24, radius=1.0, centre=(0.0, 0.0, 0.0), dtype=torch.float64):
    """A closed surface: vertices (N, 3) and faces (F, 3), counter-clockwise seen from outside."""
    polar = torch.arange(1, rings, dtype=dtype) * torch.pi / rings
    around = torch.arange(sectors, dtype=dtype) * 2 * torch.pi / sectors
    level = polar.sin()[:, None]
    belt = torch.stack(
        (level * around.cos(), level * around.sin(), polar.cos()[:, None].expand(-1, sectors)), -1
    ).reshape(-1, 3)
    poles = torch.tensor([[0, 0, 1], [0, 0, -1]], dtype=dtype)
    vertices = radius * torch.cat((belt, poles)) + torch.tensor(centre, dtype=dtype)
    here = torch.arange(sectors)
    after = (here + 1) % sectors
    top, bottom = torch.full_like(here, len(belt)), torch.full_like(here, len(belt) + 1)
    last = (rings - 2) * sectors
    faces = [torch.stack((top, here, after), -1), torch.stack((bottom, last + after, last + here), -1)]
    for ring in range(rings - 2):
        high, low = ring * sectors, (ring + 1) * sectors
        faces.append(torch.stack((high + here, low + here, low + after), -1))
        faces.append(torch.stack((high + here, low + after, high + after), -1))
    return vertices, torch.cat(faces)
