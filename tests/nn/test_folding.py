"""Folded networks against those that they were made of."""

import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from marey.core import InputError
from marey.nn.folding import folded
from marey.nn.pose_resnet import PoseResNet
from marey.nn.v2v import V2V


def lively(network):
    """Statistics and weights of normalisation that change something."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            for tensor, low in ((module.running_var, 0.5), (module.weight.data, 0.5)):
                tensor.copy_(low + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return network.double().eval()


def normalisations(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)]


@pytest.mark.parametrize("depth", [18, 50])
def test_folded__pose_network_says_the_same(depth):
    network = lively(PoseResNet(depth, 3, joint_confidences=True))
    images = torch.randn(1, 3, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = folded(network)(images), network(images)
    for name in ("heatmaps", "features", "joint_confidence"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12)


def test_folded__volume_network_says_the_same():
    network = lively(V2V(3, 2, width=4))
    volumes = torch.randn(1, 3, 32, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = folded(network)(volumes), network(volumes)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_folded__leaves_the_network_alone_and_has_no_normalisation_left():
    network = lively(V2V(3, 2, width=4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = folded(network)
    assert not normalisations(copy)
    assert normalisations(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_folded__refuses_a_network_that_is_being_trained():
    with pytest.raises(InputError, match="evaluation mode"):
        folded(PoseResNet(18, 3))


_FAULTS = """
import resource, torch
from torch import nn
from marey.nn.folding import folded
folded(nn.Identity().eval())
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 20), torch.ones(1 << 20)
before = faults()
for _ in range(8):
    kept = torch.ones(1 << 20), torch.ones(1 << 20), torch.ones(1 << 20)
    del kept
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep memory by other rules")
def test_folded__activations_use_memory_again():
    counted = int(subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True).stdout)
    pages = 8 * 3 * (4 << 20) // 4096  # all of them fault where memory goes back to the system after each use
    assert counted < pages / 4
