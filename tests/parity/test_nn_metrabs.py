"""MeTRAbs's backbone (2020-11) as TensorFlow computed it."""

import numpy as np
import pytest
import torch
from torch import nn

from marey.nn.folding import folded
from marey.nn.resnet_v2 import ResNetV2, slim_names, state_from_slim

pytestmark = pytest.mark.realdata

SCOPE = "tiny/"


@pytest.fixture
def stored(shared_parity):
    with np.load(shared_parity / "metrabs" / "12_tiny_resnet_v2_strides.npz") as arrays:
        return {name.removeprefix("W:"): arrays[name] for name in arrays.files}


def tiny(stored, stride, *, centered_stride):
    network = ResNetV2(units=(2, 2, 2, 2), widths=(2, 3, 4, 5), stride=stride, centered_stride=centered_stride)
    state = state_from_slim(network.state_dict(), stored, scope=SCOPE)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval()


def head(stored, place):
    """Normalisation, ReLU and a 1x1 convolution, each head its own."""
    norm, logits = nn.BatchNorm2d(20), nn.Conv2d(20, 4 + 2 * place, 1)
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for name, slim in names.items():
        getattr(norm, name).data.copy_(torch.from_numpy(stored[f"{SCOPE}postnorm_copy{place}/{slim}"]))
    kernel = torch.from_numpy(stored[f"{SCOPE}logits_copy{place}/weights"])
    logits.weight.data.copy_(kernel.permute(3, 2, 0, 1))
    logits.bias.data.copy_(torch.from_numpy(stored[f"{SCOPE}logits_copy{place}/biases"]))
    return nn.Sequential(norm, nn.ReLU(), logits).eval()


@pytest.mark.parametrize("fold", [False, True], ids=["plain", "folded"])
@pytest.mark.parametrize("centered", [0, 1])
@pytest.mark.parametrize("stride", [32, 16, 8, 4])
def test_resnet_v2__as_published(stored, stride, centered, fold):
    # at the stride 4 nothing is centred in the original, whatever it is asked for
    network = tiny(stored, stride, centered_stride=bool(centered) and stride > 4)
    if fold:
        network = folded(network)
    images = torch.from_numpy(stored["x_nhwc"]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features = network(images)
        for place in range(2):
            expected = torch.from_numpy(stored[f"stride{stride}_centered{centered}_logits{place}"])
            found = head(stored, place)(features).permute(0, 2, 3, 1)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)


def test_slim_names__name_every_variable_of_the_original(stored):
    names = ResNetV2(units=(2, 2, 2, 2), widths=(2, 3, 4, 5)).state_dict()
    heads = {name for name in stored if "_copy" in name}
    found = {SCOPE + slim for slim in slim_names(names).values()}
    assert found | heads == {name for name in stored if name.startswith(SCOPE)}
