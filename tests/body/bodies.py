"""Bodies of random numbers for the tests of this room: small, but with every part that a real one has."""

import numpy as np
import torch

from marey.body.model import BodyModel
from marey.core import BodyState
from marey.core.motion import JointTree
from marey.geometry.rotations import rotvec_to_matrix

TREE = JointTree(
    "tree", ("pelvis", "spine", "left_hip", "head", "left_knee", "left_ankle", "nose"), (-1, 0, 0, 1, 2, 4, 3)
)


def random_body(*, vertices=40, shapes=5, bends=True, seed=0, dtype=torch.float64, **changes) -> BodyModel:
    """A body of seven joints."""
    source = np.random.default_rng(seed)
    joints = len(TREE)

    def numbers(*shape, scale=1.0):
        return torch.tensor(scale * source.normal(size=shape), dtype=dtype)

    weights = torch.tensor(source.random((vertices, 4)), dtype=dtype)
    fields = {
        "name": "random",
        "tree": TREE,
        "template": numbers(vertices, 3),
        "faces": torch.tensor(source.integers(0, vertices, (60, 3))),
        "shape_basis": numbers(vertices, 3, shapes, scale=0.1),
        "joint_template": numbers(joints, 3),
        "joint_basis": numbers(joints, 3, shapes, scale=0.1),
        "skin_joints": torch.tensor(np.argsort(source.random((vertices, joints)), axis=1)[:, :4]),
        "skin_weights": weights / weights.sum(-1, keepdim=True),
        "pose_basis": numbers(9 * (joints - 1), 3 * vertices, scale=0.02) if bends else None,
        "regressors": {"two": torch.nn.functional.one_hot(torch.tensor([3, 7]), vertices).to(dtype)},
        "vertex_parts": {"parts": torch.tensor(source.integers(0, 4, vertices))},
    }
    return BodyModel(**fields | changes)


def random_state(model: BodyModel, *batch, seed=1) -> BodyState:
    """Any rotations, shapes and places."""
    source = torch.Generator().manual_seed(seed)
    dtype = model.template.dtype

    def numbers(*shape):
        return torch.randn(*batch, *shape, generator=source, dtype=dtype)

    return BodyState(
        orientation=rotvec_to_matrix(numbers(3)),
        pose=rotvec_to_matrix(numbers(len(model.tree) - 1, 3)),
        shape=numbers(model.shape_basis.shape[-1]),
        translation=numbers(3),
    )
