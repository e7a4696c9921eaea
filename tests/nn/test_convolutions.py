"""Layouts of strides, and convolutions whose windows are centred."""

import pytest
import torch
from torch.nn import functional

from marey.core import InputError
from marey.nn.convolutions import CenteredConv2d, Step, convolution, initialise, plan_steps, pool


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_plan_steps__as_published():
    steps = plan_steps([2, 1, 2, 2, 2], before=2, stride=32, centered=False)
    assert [step.stride for step in steps] == [2, 1, 2, 2, 2]
    assert all(step.dilation == step.after == 1 and not step.centered for step in steps)


def test_plan_steps__strides_left_out_become_dilation():
    steps = plan_steps([2, 1, 2, 2, 2], before=2, stride=8, centered=True)
    assert steps == [Step(2, 1, 1), Step(1, 1, 1), Step(2, 1, 1, centered=True), Step(1, 1, 2), Step(1, 2, 4)]
    assert steps[-1].following() == Step(1, 4, 4)


def test_plan_steps__centres_the_pooling_at_the_stride_4():
    steps = plan_steps([2, 2, 2, 2, 1], before=2, stride=4, centered=True)
    assert [step.centered for step in steps] == [True, False, False, False, False]
    assert [(step.dilation, step.after) for step in steps] == [(1, 1), (1, 2), (2, 4), (4, 8), (8, 8)]


@pytest.mark.parametrize("stride", [0, 2, 12, 64])
def test_plan_steps__refuses_other_strides(stride):
    with pytest.raises(InputError, match=rf"stride: expected one of 4, 8, 16, 32, got {stride}"):
        plan_steps([2, 1, 2, 2, 2], before=2, stride=stride, centered=False)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_centered_convolution__is_the_dense_one_at_odd_positions(kernel, groups):
    centred = convolution(4, 8, kernel, step=Step(2, centered=True), groups=groups, bias=True).double()
    assert isinstance(centred, CenteredConv2d)
    x = images(2, 4, 8, 12)
    dense = functional.conv2d(x, centred.weight, centred.bias, padding=kernel // 2, groups=groups)
    torch.testing.assert_close(centred(x), dense[..., 1::2, 1::2])


def test_convolution__keeps_the_size_whatever_its_dilation():
    x = images(1, 2, 9, 7)
    for dilation in (1, 2, 4):
        layer = convolution(2, 3, 3, step=Step(dilation=dilation)).double()
        assert layer(x).shape == (1, 3, 9, 7)


@pytest.mark.parametrize(("centered", "first"), [(False, 0), (True, 1)])
def test_pool__has_zeros_around(centered, first):
    x = images(1, 2, 6, 6) - 10
    dense = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, stride=1)
    found = pool(x, centered=centered)
    torch.testing.assert_close(found, dense[..., first::2, first::2], rtol=0, atol=0)
    assert found[0, 0, -first, -first] == 0
    assert found.min() < 0


@pytest.mark.parametrize(("groups", "mode"), [(1, "fan_in"), (1, "fan_out"), (64, "fan_in"), (64, "fan_out")])
def test_initialise__keeps_the_variance(groups, mode):
    torch.manual_seed(0)
    layer = convolution(64, 64, 3, groups=groups, bias=True)
    initialise(layer, mode=mode)
    with torch.inference_mode():
        y = layer(functional.relu(torch.randn(4, 64, 32, 32)) * 2**0.5)[..., 1:-1, 1:-1]
    assert float(y.square().mean()) == pytest.approx(2, rel=0.2)
    assert not layer.bias.any()
