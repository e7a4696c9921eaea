"""What holds for every backbone: sizes published, strides, centres, folding."""

from itertools import product

import pytest
import torch
from torch import nn

from marey.core import InputError, ShapeError
from marey.nn.backbones import BACKBONES, Backbone, build_backbone
from marey.nn.folding import folded
from marey.nn.inverted_residual import SqueezeExcitation
from marey.nn.trunk import Trunk

CLASSES = 1000
PARAMETERS = {
    "resnet_18": (11_689_512, 512),
    "resnet_34": (21_797_672, 512),
    "resnet_50": (25_557_032, 2048),
    "resnet_101": (44_549_160, 2048),
    "resnet_152": (60_192_808, 2048),
    "efficientnet_v2_s": (21_458_488, 1280),
    "efficientnet_v2_m": (54_139_356, 1280),
    "efficientnet_v2_l": (118_515_272, 1280),
    "mobilenet_v3_small": (2_542_856, 1024),
    "mobilenet_v3_large": (5_483_032, 1280),
    "mobilenet_v3_small_keras": (2_542_856, 1024),
    "mobilenet_v3_large_keras": (5_483_032, 1280),
}
"""Of the published classifiers of 1000 classes, and what their last layer takes."""
SMALLEST = (
    "resnet_18",
    "mobilenet_v3_small",
    pytest.param("resnet_50", marks=pytest.mark.slow),
    pytest.param("resnet_v2_50", marks=pytest.mark.slow),
    pytest.param("efficientnet_v2_s", marks=pytest.mark.slow),
)
"""One of each kind of block."""


def lively(network):
    """Numbers that change something everywhere, in double precision; what depends on means over the map, nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        if isinstance(module, SqueezeExcitation):
            nn.init.zeros_(module.fc2.weight)
            module.fc2.bias.data.copy_(torch.randn(module.fc2.bias.shape, generator=generator))
    return network.double().eval()


def same_weights(name, **options):
    torch.manual_seed(0)
    return lively(build_backbone(name, **options))


def random_images(side):
    return torch.rand(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_backbone__has_as_many_parameters_as_published(name):
    total, last = PARAMETERS[name]
    with torch.device("meta"):
        network = build_backbone(name)
    classifier = (last + 1) * CLASSES
    if name in {"mobilenet_v3_small", "mobilenet_v3_large"}:
        classifier += (network.channels + 1) * last
    assert sum(parameter.numel() for parameter in network.parameters()) == total - classifier


@pytest.mark.parametrize(("name", "stride"), [*product(sorted(set(BACKBONES) - {"trunk"}), [32, 8]), ("trunk", 4)])
def test_backbone__says_its_channels_and_stride(name, stride):
    with torch.device("meta"), torch.inference_mode():
        network = build_backbone(name, stride=stride, centered_stride=True, final_norm=True).eval()
        features = network(torch.zeros(2, 3, 96, 64))
    assert isinstance(network, Backbone)
    assert network.stride == stride
    assert features.shape == (2, network.channels, 96 // stride, 64 // stride)


def test_trunk__has_one_stride():
    with pytest.raises(InputError, match="stride 4 alone, got 32"):
        build_backbone("trunk")


def test_trunk__gives_the_features_of_its_maps():
    torch.manual_seed(0)
    backbone, trunk, image = build_backbone("trunk", stride=4).eval(), Trunk().eval(), random_images(64).float()
    backbone.trunk.load_state_dict({name: trunk.state_dict()[name] for name in backbone.trunk.state_dict()})
    with torch.inference_mode():
        torch.testing.assert_close(backbone(image), trunk(image).features)


@pytest.mark.parametrize("name", SMALLEST)
def test_backbone__strides_left_out_see_the_same(name):
    image = random_images(64)
    with torch.inference_mode():
        coarse = same_weights(name)(image)
        dense = same_weights(name, stride=8)(image)
    assert coarse.abs().max() > 1e-6
    torch.testing.assert_close(dense[..., ::4, ::4], coarse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALLEST)
def test_backbone__centred_features_are_those_halfway(name):
    image = random_images(32)
    with torch.inference_mode():
        coarse = same_weights(name, centered_stride=True)(image)
        dense = same_weights(name, stride=16)(image)
        medium = same_weights(name, stride=8, centered_stride=True)(image)
        finest = same_weights(name, stride=4)(image)
    torch.testing.assert_close(dense[..., 1::2, 1::2], coarse, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(finest[..., 1::2, 1::2], medium, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALLEST)
def test_backbone__folded_says_the_same(name):
    network = same_weights(name, centered_stride=True, final_norm=True)
    image = random_images(64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(network)(image), network(image), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", SMALLEST)
def test_backbone__learns(name):
    torch.manual_seed(0)
    network = build_backbone(name, final_norm=True).train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "scaled"), [("resnet_18", (0.485, 0.456, 0.406)), ("resnet_v2_50", (0.5, 0.5, 0.5))])
def test_backbone__scales_its_images(name, scaled):
    network = build_backbone(name).eval()
    seen = []
    network.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(torch.tensor(scaled).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0].abs().max() < 1e-6


def test_build_backbone__refuses_other_names():
    with pytest.raises(InputError, match=r"backbone: expected one of resnet_v2_50, .*, got 'vgg'"):
        build_backbone("vgg")


def test_build_backbone__refuses_other_strides():
    with pytest.raises(InputError, match="stride: expected one of 4, 8, 16, 32, got 64"):
        build_backbone("mobilenet_v3_small", stride=64)


def test_backbone__refuses_other_shapes():
    with pytest.raises(ShapeError, match="multiples of 32"):
        build_backbone("mobilenet_v3_small")(torch.zeros(1, 3, 32, 31))
