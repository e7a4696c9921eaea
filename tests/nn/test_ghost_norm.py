"""Normalisation over groups of a batch."""

import pytest
import torch
from torch import nn

from marey.core import InputError
from marey.nn.ghost_norm import GhostNorm2d, use_ghost_norm


def test_ghost__each_group_is_normalised_by_itself():
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    plain = nn.BatchNorm2d(3)
    use_ghost_norm(network, 2)
    features = torch.randn(5, 3, 4, 4) * torch.arange(1.0, 6)[:, None, None, None]
    found = network[1](features)
    expected = torch.cat([plain(part) for part in (features[:2], features[2:4], features[4:])])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(network[1].running_var, plain.running_var)
    assert int(network[1].num_batches_tracked) == 3


def test_ghost__evaluation_and_names_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.003)))
    network(torch.randn(4, 2, 3, 3))
    before, image = network.state_dict(), torch.randn(5, 2, 3, 3)
    expected = network.eval()(image)
    use_ghost_norm(network, 2)
    assert isinstance(network[1][0], GhostNorm2d)
    assert (network[1][0].eps, network[1][0].momentum) == (1e-3, 0.003)
    assert network.state_dict().keys() == before.keys()
    torch.testing.assert_close(network(image), expected)


def test_ghost__refuses_groups_of_one():
    with pytest.raises(InputError, match="expected 2 images"):
        use_ghost_norm(nn.BatchNorm2d(2), 1)
