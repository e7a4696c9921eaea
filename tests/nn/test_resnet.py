"""Residual networks of version 1.5: names of weights, and the form that strides take."""

import pytest
import torch

from marey.core import InputError
from marey.nn.convolutions import CenteredConv2d
from marey.nn.resnet import ResNet, ResNetTrunk

STEM = {"conv1.weight": (64, 3, 7, 7), "bn1.running_var": (64,)}
NAMES = {
    18: STEM
    | {
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.bias": (128,),
        "layer4.1.bn2.running_mean": (512,),
    },
    50: STEM
    | {
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
    },
}
"""Some of torchvision's."""
ENTRIES = {18: 120, 34: 216, 50: 318, 101: 624, 152: 930}
"""Of torchvision's state dictionaries without the classifier's two."""


@pytest.mark.parametrize("depth", ENTRIES)
def test_resnet__has_the_published_names(depth):
    with torch.device("meta"):
        state = {name: tuple(value.shape) for name, value in ResNet(depth).state_dict().items()}
    assert len(state) == ENTRIES[depth]
    assert NAMES.get(depth, STEM).items() <= state.items()


def test_resnet__takes_its_strides_in_the_3x3_convolutions():
    with torch.device("meta"):
        network = ResNet(50)
    assert [stage[0].conv1.stride for stage in (network.layer2, network.layer3, network.layer4)] == [(1, 1)] * 3
    assert [stage[0].conv2.stride for stage in (network.layer2, network.layer3, network.layer4)] == [(2, 2)] * 3
    assert network.layer1[0].conv2.stride == (1, 1)


def test_resnet__dilates_as_torchvision_does():
    with torch.device("meta"):
        network = ResNet(50, stride=8)
    found = [[block.conv2.dilation[0] for block in stage] for stage in (network.layer3, network.layer4)]
    assert found == [[1, 2, 2, 2, 2, 2], [2, 4, 4]]  # replace_stride_with_dilation=(False, True, True)


@pytest.mark.parametrize(("style", "layer"), [("simple", "conv2"), ("caffe", "conv1")])
def test_trunk__centres_the_last_stage_that_strides(style, layer):
    with torch.device("meta"):
        network = ResNetTrunk(50, style=style, stride=16, centered_stride=True)
    centred = [name for name, module in network.named_modules() if isinstance(module, CenteredConv2d)]
    assert centred == [f"layer3.0.{layer}", "layer3.0.downsample.0"]


def test_resnet__refuses_other_depths():
    with pytest.raises(InputError, match="depth: expected one of 18, 34, 50, 101, 152, got 20"):
        ResNet(20)
