"""Synthetic cameras and points that the tests of several rooms share."""

import numpy as np
import torch

from marey.core import Cameras

SPREAD = np.array([0.15, 0.05, 0.003, 0.003, 0.01, 0.1, 0.03, 0.01, 0.01, 0.01, 0.01, 0.01, 0.03, 0.03])
"""Standard deviations of random but plausible lenses, in OpenCV order."""


def some_rotations(*shape, seed=0, spread=0.4):
    """Rotations of about `spread` radians."""
    x, y, z = (np.random.default_rng(seed).normal(size=(3, *shape)) * spread).astype(np.float64)
    zero = np.zeros_like(x)
    skew = torch.from_numpy(np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*shape, 3, 3))
    return torch.linalg.matrix_exp(skew)


def some_cameras(length=5, views=4, fisheye=None, seed=0):
    rng = np.random.default_rng(seed)
    K = np.tile([[900.0, 0, 640], [0, 880, 360], [0, 0, 1]], (views, 1, 1)) + rng.normal(size=(views, 3, 3)) * [
        [20, 0, 20],
        [0, 20, 20],
        [0, 0, 0],
    ]
    spread = SPREAD[:length] if fisheye is None else np.array([0.05, 0.02, 0.01, 0.005, *np.zeros(10)])[:length]
    return Cameras(
        intrinsics=torch.from_numpy(K),
        distortion=torch.from_numpy(rng.normal(size=(views, length)) * spread),
        image_size=torch.tensor([[1280.0, 720.0]]).expand(views, 2).double(),
        rotation=some_rotations(views, seed=seed),
        translation=torch.from_numpy(rng.normal(size=(views, 3)) * 0.3 + [0, 0, 4]),
        fisheye=fisheye,
    )


def some_points(*shape, seed=0, spread=0.8):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*shape, 3)) * spread)
