import numpy as np
import pytest
import torch
from torch import nn

from marey.core import InputError
from marey.detect.trunk_network import TrunkRunner
from marey.nn.folding import folded
from marey.nn.trunk import Trunk, TrunkConfig


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(3)
    made = Trunk(TrunkConfig(widths=(8, 8, 16, 16), units=(1, 2, 1, 1), features=8))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # norms that have learned something
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def test_folded__gives_the_same_without_a_single_norm(trunk, pictures):
    fast = folded(trunk)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        for mine, other in zip(fast(images), trunk(images), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


def test_runner__pictures_of_8_bits_are_images_in_0_to_1(trunk, pictures):
    with torch.no_grad():
        expected = trunk(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    found = TrunkRunner(trunk, precision="float32")(pictures)
    torch.testing.assert_close(found.centers, expected.centers, rtol=1e-3, atol=1e-3)
    rough = TrunkRunner(trunk, precision="bfloat16")(pictures)
    assert rough.heatmaps.dtype == torch.float32
    assert (rough.features - expected.features).norm() < 0.05 * expected.features.norm()


def test_runner__the_fingerprint_tells_weights_and_precision(trunk):
    plain, half = TrunkRunner(trunk, precision="float32"), TrunkRunner(trunk, precision="bfloat16")
    assert plain.fingerprint == TrunkRunner(trunk, precision="float32").fingerprint
    other = Trunk(trunk.config).eval()
    assert len({plain.fingerprint, half.fingerprint, TrunkRunner(other, precision="float32").fingerprint}) == 3


def test_runner__unknown_precision(trunk):
    with pytest.raises(InputError, match="expected auto, float32 or bfloat16, got 'float16'"):
        TrunkRunner(trunk, precision="float16")
