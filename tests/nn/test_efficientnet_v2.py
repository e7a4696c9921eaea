"""EfficientNetV2: names of weights, centred stride, errors."""

import pytest
import torch

from marey.core import InputError
from marey.nn.convolutions import CenteredConv2d
from marey.nn.efficientnet_v2 import EfficientNetV2
from marey.nn.inverted_residual import InvertedResidual

NAMES = {
    "features.0.0.weight": (24, 3, 3, 3),
    "features.0.1.running_var": (24,),
    "features.1.0.block.0.0.weight": (24, 24, 3, 3),
    "features.2.0.block.0.0.weight": (96, 24, 3, 3),
    "features.2.0.block.1.0.weight": (48, 96, 1, 1),
    "features.4.0.block.0.0.weight": (256, 64, 1, 1),
    "features.4.0.block.1.0.weight": (256, 1, 3, 3),
    "features.4.0.block.2.fc1.weight": (16, 256, 1, 1),
    "features.4.0.block.2.fc2.bias": (256,),
    "features.4.0.block.3.1.bias": (128,),
    "features.6.14.block.3.0.weight": (256, 1536, 1, 1),
    "features.7.0.weight": (1280, 256, 1, 1),
}
"""Some of torchvision's of the size s."""
ENTRIES = {"s": 780, "m": 1118, "l": 1546}
"""Of torchvision's state dictionaries without the classifier's two."""


@pytest.mark.parametrize("size", ENTRIES)
def test_efficientnet_v2__has_the_published_names(size):
    with torch.device("meta"):
        state = {name: tuple(value.shape) for name, value in EfficientNetV2(size).state_dict().items()}
    assert len(state) == ENTRIES[size]
    assert size != "s" or NAMES.items() <= state.items()


@pytest.mark.parametrize(("size", "stage"), [("s", 6), ("m", 6), ("l", 6)])
def test_efficientnet_v2__centres_the_stage_that_reaches_the_stride(size, stage):
    with torch.device("meta"):
        network = EfficientNetV2(size, centered_stride=True)
    centred = [name for name, module in network.named_modules() if isinstance(module, CenteredConv2d)]
    assert centred == [f"features.{stage}.0.block.1.0"]


def test_efficientnet_v2__drops_more_the_deeper():
    with torch.device("meta"):
        network = EfficientNetV2("s", drop=0.4)
    drops = [module._drop for module in network.modules() if isinstance(module, InvertedResidual)]
    assert len(drops) == 40
    assert drops == pytest.approx([0.4 * place / 40 for place in range(40)])


def test_efficientnet_v2__refuses_other_sizes():
    with pytest.raises(InputError, match="size: expected s, m, l, got 'xl'"):
        EfficientNetV2("xl")
