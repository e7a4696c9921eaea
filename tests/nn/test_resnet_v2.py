"""Residual networks of the second version: slim's names and form; the parity tests have the numbers."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from marey.core import FormatError, InputError
from marey.nn.resnet_v2 import ResNetV2, slim_names, state_from_slim

WITH_STATISTICS = {50: 23_564_800, 101: 42_626_560, 152: 58_331_648}
"""Numbers in the published networks without classifier, those of the last normalisation and running ones included."""


def tiny(**options):
    torch.manual_seed(0)
    return ResNetV2(units=(2, 2, 2, 2), widths=(2, 3, 4, 5), **options).eval()


@pytest.mark.parametrize("depth", WITH_STATISTICS)
def test_resnet_v2__is_as_large_as_published(depth):
    with torch.device("meta"):
        state = ResNetV2(depth, final_norm=True).state_dict()
    counted = [value.numel() for name, value in state.items() if not name.endswith("num_batches_tracked")]
    assert sum(counted) == WITH_STATISTICS[depth]


def test_resnet_v2__takes_strides_in_the_last_unit_of_a_block():
    with torch.device("meta"):
        network = ResNetV2(50, stride=16)
    blocks = (network.block1, network.block2, network.block3, network.block4)
    assert [[unit.conv2.stride[0] for unit in block] for block in blocks] == [
        [1, 1, 2],
        [1, 1, 1, 2],
        [1] * 6,
        [1] * 3,
    ]
    assert [[unit.conv2.dilation[0] for unit in block] for block in blocks[2:]] == [[1] * 6, [2] * 3]


def test_resnet_v2__centred_at_the_stride_4_is_shifted_by_two_pixels():
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(1))
    shifted = functional.pad(image, (0, 2, 0, 2), value=0.5)[..., 2:, 2:]
    with torch.inference_mode():
        found, expected = tiny(stride=4, centered_stride=True)(image), tiny(stride=4)(shifted)
    inner = slice(35, -35)  # what is far enough from the border to see nothing of it
    assert found[..., inner, inner].numel() == 20 * 100
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner], rtol=1e-4, atol=1e-5)


def test_resnet_v2__final_norm_rectifies():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain, normed = tiny()(image), tiny(final_norm=True)(image)
    torch.testing.assert_close(normed, (plain / (1 + 1e-5) ** 0.5).clamp_min(0))
    assert plain.min() < 0


def test_slim_names__as_published():
    found = slim_names(
        [
            "conv1.bias",
            "block1.0.preact.weight",
            "block1.0.shortcut.weight",
            "block3.22.conv1.weight",
            "block3.22.bn1.bias",
            "block4.2.bn2.running_mean",
            "block4.2.bn2.num_batches_tracked",
            "block4.2.conv3.bias",
            "postnorm.running_var",
        ]
    )
    assert list(found.values()) == [
        "conv1/biases",
        "block1/unit_1/bottleneck_v2/preact/gamma",
        "block1/unit_1/bottleneck_v2/shortcut/weights",
        "block3/unit_23/bottleneck_v2/conv1/weights",
        "block3/unit_23/bottleneck_v2/conv1/BatchNorm/beta",
        "block4/unit_3/bottleneck_v2/conv2/BatchNorm/moving_mean",
        "block4/unit_3/bottleneck_v2/conv3/biases",
        "postnorm/moving_variance",
    ]


def test_state_from_slim__turns_kernels():
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    state = state_from_slim(["conv1.weight"], {"net/conv1/weights": kernel, "net/other": kernel}, scope="net/")
    assert state["conv1.weight"].shape == (5, 4, 2, 3)
    assert state["conv1.weight"][3, 2, 1, 0] == kernel[1, 0, 2, 3]


def test_state_from_slim__says_what_is_missing():
    with pytest.raises(FormatError, match="variables: 2 of 2 are missing, the first is 'net/conv1/biases'"):
        state_from_slim(["conv1.weight", "conv1.bias"], {"conv1/weights": np.zeros(1)}, scope="net/")


def test_resnet_v2__refuses_other_depths():
    with pytest.raises(InputError, match="depth: expected one of 50, 101, 152, 200, got 18"):
        ResNetV2(18)
