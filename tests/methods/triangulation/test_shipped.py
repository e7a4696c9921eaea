"""The estimators with the weights that are shipped."""

import pytest
import torch

from marey.methods.triangulation.estimator import AlgebraicEstimator, RansacEstimator, VolumetricEstimator
from methods.triangulation.dots import bodies, observation, ring


@pytest.mark.parametrize("make", [AlgebraicEstimator, RansacEstimator, VolumetricEstimator])
def test_shipped__estimator_says_something_of_every_joint(make):
    estimate = make()(observation(ring(3), bodies(1, 1)))
    assert estimate.joints.skeleton.name == "halpe_26"
    assert estimate.joints.positions.shape[-2:] == (26, 3)
    assert not torch.is_grad_enabled() or not estimate.joints.positions.requires_grad
