"""Shapes, styles and errors of the networks; their numbers are compared in tests/parity."""

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.nn.pose_resnet import PoseResNet
from marey.nn.resnet import ResNetTrunk
from marey.nn.v2v import V2V


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_heatmaps__are_a_quarter_of_the_image(kernel):
    network = PoseResNet(18, 5, kernel=kernel).eval()
    found = network(torch.zeros(2, 3, 64, 96))
    assert found.heatmaps.shape == (2, 5, 16, 24)
    assert found.features.shape == (2, 256, 16, 24)
    assert found.joint_confidence is None
    assert found.channel_confidence is None


def test_caffe_style__takes_bottlenecks_and_their_stride_first():
    trunk = ResNetTrunk(18, style="caffe")
    assert trunk.channels == 2048
    assert trunk.layer2[0].conv1.stride == (2, 2)
    assert trunk.layer2[0].conv2.stride == (1, 1)
    simple = ResNetTrunk(50)
    assert simple.layer2[0].conv1.stride == (1, 1)
    assert simple.layer2[0].conv2.stride == (2, 2)


def test_errors__say_what_was_expected():
    with pytest.raises(InputError, match="expected one of 18, 34, 50, 101, 152, got 20"):
        ResNetTrunk(20)
    with pytest.raises(InputError, match="kernel: expected 2, 3 or 4"):
        PoseResNet(18, 5, kernel=5)
    network = PoseResNet(18, 5, joint_confidences=True)
    with pytest.raises(ShapeError, match="multiples of 32"):
        network(torch.zeros(1, 3, 100, 128))
    with pytest.raises(ShapeError, match="at least 128 pixels"):
        network(torch.zeros(1, 3, 64, 128))


def test_volume_network__of_another_width():
    network = V2V(4, 7, width=8).eval()
    assert network(torch.zeros(1, 4, 32, 32, 64)).shape == (1, 7, 32, 32, 64)
    with pytest.raises(ShapeError, match="multiples of 32"):
        network(torch.zeros(1, 4, 16, 32, 32))
    with pytest.raises(InputError, match="even number"):
        V2V(4, 7, width=3)
