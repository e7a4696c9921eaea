"""Blocks of mobile networks."""

import torch
from torch import nn

from marey.nn.inverted_residual import InvertedResidual, SqueezeExcitation, normalised, relu


def test_squeeze_excitation__weighs_channels_by_their_means():
    layer = SqueezeExcitation(2, 1, activation=relu, gate=nn.Sigmoid)
    with torch.no_grad():
        for parameter, values in (
            (layer.fc1.weight, [1.0, 2.0]),
            (layer.fc1.bias, [-1.0]),
            (layer.fc2.weight, [1.0, -1.0]),
            (layer.fc2.bias, [0.0, 0.0]),
        ):
            parameter.copy_(torch.tensor(values).view(parameter.shape))
    x = torch.tensor([[[[0.0, 2.0]], [[1.0, 3.0]]]])  # means 1 and 2, so 1 + 4 - 1 between the layers
    expected = x * torch.tensor([4.0, -4.0]).sigmoid().view(1, 2, 1, 1)
    torch.testing.assert_close(layer(x), expected)


def test_inverted_residual__adds_its_input_where_it_may():
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    doubled = nn.Conv2d(4, 4, 1, bias=False)
    doubled.weight.data.copy_(2 * torch.eye(4)[..., None, None])
    torch.testing.assert_close(InvertedResidual(doubled, around=True)(x), 3 * x)
    torch.testing.assert_close(InvertedResidual(doubled, around=False)(x), 2 * x)


def test_inverted_residual__drops_whole_examples_in_training_alone():
    torch.manual_seed(0)
    block = InvertedResidual(nn.Identity(), around=True, drop=0.25)
    x = torch.ones(4000, 1, 1, 1)
    found = block.train()(x)
    torch.testing.assert_close(found.unique(), torch.tensor([1.0, 1 + 1 / 0.75]))
    assert abs(float(found.mean()) - 2) < 0.05
    torch.testing.assert_close(block.eval()(x), 2 * x, rtol=0, atol=0)


def test_normalised__has_the_names_of_torchvision():
    block = normalised(8, 8, 3, activation=relu, depthwise=True)
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert block[0].weight.shape == (8, 1, 3, 3)
    assert block[1].eps == 1e-3
