"""Recordings of jointed figures for the tests of this room."""

import numpy as np
import torch

from marey.core import Joints3D, skeleton
from marey.data.figure import FigurePose, figure_joints
from marey.data.figure_motion import walking_poses

FPS = 30.0


def poses(frames, people=1, seed=0):
    """Walking, squatting, waving figures."""
    rng = np.random.default_rng(seed)
    return walking_poses(np.arange(frames) / FPS, people=people, area=2.0, rng=rng)


def joints_of(positions, names, sigma=0.005):
    """Joints (T, P) of a skeleton with isotropic covariance from positions (T, P, J, 3) that may hold NaN."""
    positions = torch.as_tensor(positions, dtype=torch.float64)
    known = positions.isfinite().all(-1)
    spread = sigma**2 * torch.eye(3, dtype=torch.float64)
    return Joints3D(
        positions=positions,
        covariance=torch.where(known[..., None, None], spread, torch.nan),
        score=known.double(),
        filled=torch.zeros_like(known),
        skeleton=names if not isinstance(names, str) else skeleton(names),
    )


def figures(frames, *, people=1, names="body_25b", noise=0.0, seed=0):
    """Joints (T, P) of walking figures in a world with y up, with noise, and their true angles."""
    pose = poses(frames, people, seed)
    truth = torch.from_numpy(figure_joints(pose, skeleton(names).joints))[..., [1, 2, 0]]
    generator = torch.Generator().manual_seed(seed)
    noisy = truth + noise * torch.randn(truth.shape, generator=generator, dtype=truth.dtype)
    return joints_of(noisy, names, max(noise, 0.005)), truth, pose


def standing(frames=1, **angles):
    """One figure, 1.75 m tall, that stands with arms down but for the given angles, radians."""
    zero = np.zeros((frames, 1))
    sides = np.zeros((2, frames, 1))
    fields = {
        "stature": np.array([1.75]),
        "place": np.zeros((frames, 1, 2)),
        **dict.fromkeys(("heading", "lean", "look"), zero),
        **dict.fromkeys(("hip", "knee", "shoulder", "spread", "elbow"), sides),
    }
    for name, value in angles.items():
        fields[name] = np.broadcast_to(np.asarray(value, dtype=np.float64), fields[name].shape).copy()
    return FigurePose(**fields)


def joints_of_pose(pose, names="body_25b", sigma=0.005):
    """Exact joints of a pose, y up."""
    return joints_of(figure_joints(pose, skeleton(names).joints)[..., [1, 2, 0]], names, sigma)
