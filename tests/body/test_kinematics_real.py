import numpy as np
import pytest
import torch

from marey import estimate
from marey.body.kinematics import inverse_kinematics
from marey.pipeline.config import EstimateConfig


@pytest.fixture(scope="module")
def balancing(shared_data):
    """Joints (30, 1) of a man who balances, seen by four cameras."""
    data = shared_data / "pose2sim_demo"
    return estimate(
        data / "balancing" / "pose",
        calibration=data / "calibration" / "Calib_qualisys.toml",
        frames=(0, 30),
        config=EstimateConfig(fps=60.0),
    ).joints


@pytest.mark.realdata
def test_forward_kinematics__repeats_the_joints_of_a_real_recording(balancing):
    (motion,) = inverse_kinematics(balancing, fps=60.0)
    places = [motion.tree.joints.index(joint) for joint in balancing.skeleton.joints]
    error = (motion.positions()[:, places] - balancing.positions[:, 0]).norm(dim=-1)
    assert error.nanmean() < 0.010
    assert np.nanpercentile(error.numpy(), 95) < 0.020


@pytest.mark.realdata
def test_bones_of_a_real_man__are_plausible_and_alike_on_both_sides(balancing):
    (motion,) = inverse_kinematics(balancing, fps=60.0)
    length = dict(zip(motion.tree.joints, motion.offsets.norm(dim=-1).tolist(), strict=True))
    for part, (low, high) in {"knee": (0.38, 0.45), "ankle": (0.36, 0.45), "elbow": (0.25, 0.32)}.items():
        left, right = length[f"left_{part}"], length[f"right_{part}"]
        assert low < left < high
        assert abs(left - right) < 0.05 * left
    assert torch.isfinite(motion.covariance).all()
