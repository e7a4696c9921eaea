"""MobileNetV3: names of weights, the form of Keras, errors."""

import pytest
import torch

from marey.core import InputError
from marey.nn.convolutions import CenteredConv2d
from marey.nn.mobilenet_v3 import MobileNetV3

NAMES = {
    "small": {
        "features.0.0.weight": (16, 3, 3, 3),
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.1.block.1.fc1.weight": (8, 16, 1, 1),
        "features.1.block.2.0.weight": (16, 16, 1, 1),
        "features.4.block.1.0.weight": (96, 1, 5, 5),
        "features.8.block.2.fc1.bias": (40,),
        "features.12.0.weight": (576, 96, 1, 1),
    },
    "large": {
        "features.0.1.running_mean": (16,),
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.8.block.1.0.weight": (200, 1, 3, 3),
        "features.13.block.3.1.weight": (160,),
        "features.16.0.weight": (960, 160, 1, 1),
    },
}
"""Some of torchvision's."""
ENTRIES = {"small": 240, "large": 308}
"""Of torchvision's state dictionaries without the classifier's four."""


@pytest.mark.parametrize("size", ENTRIES)
def test_mobilenet_v3__has_the_published_names(size):
    with torch.device("meta"):
        state = {name: tuple(value.shape) for name, value in MobileNetV3(size).state_dict().items()}
    assert len(state) == ENTRIES[size]
    assert NAMES[size].items() <= state.items()


@pytest.mark.parametrize(("size", "channels"), [("small", 1024), ("large", 1280)])
def test_mobilenet_v3__keras_form(size, channels):
    with torch.device("meta"):
        plain, keras = MobileNetV3(size), MobileNetV3(size, keras=True)
    assert set(keras.state_dict()) - set(plain.state_dict()) == {"head.weight", "head.bias"}
    assert keras.head.weight.shape == (channels, plain.channels, 1, 1)
    assert keras.channels == channels
    assert isinstance(keras.features[0][0], CenteredConv2d)
    assert not isinstance(plain.features[0][0], CenteredConv2d)


def test_mobilenet_v3__keras_features_are_activated():
    torch.manual_seed(0)
    network = MobileNetV3("small", keras=True).eval()
    with torch.inference_mode():
        torch.nn.init.zeros_(network.head.weight)
        network.head.bias.fill_(-1.5)
        found = network(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(found, torch.full((1, 1024, 2, 2), -1.5 * 1.5 / 6))


def test_mobilenet_v3__centres_the_stage_that_reaches_the_stride():
    with torch.device("meta"):
        network = MobileNetV3("large", centered_stride=True)
    centred = [name for name, module in network.named_modules() if isinstance(module, CenteredConv2d)]
    assert centred == ["features.13.block.1.0"]


def test_mobilenet_v3__refuses_other_sizes():
    with pytest.raises(InputError, match="size: expected small or large, got 'medium'"):
        MobileNetV3("medium")
