"""Where networks work."""

import torch
from torch import nn

from marey.nn.placement import placed


def test_placed__itself_where_it_is_already():
    network = nn.Linear(2, 3)
    assert placed(network, "cpu") == (network, torch.device("cpu"))


def test_placed__a_copy_elsewhere():
    shared = nn.Linear(2, 2)
    network = nn.Sequential(shared, nn.Linear(2, 3))
    there, place = placed(network, "meta")
    assert place == torch.device("meta")
    assert {weight.device.type for weight in there.parameters()} == {"meta"}
    assert {weight.device.type for weight in network.parameters()} == {"cpu"}
    assert network[0] is shared


def test_placed__on_an_accelerator_if_there_is_one():
    _, place = placed(nn.Linear(2, 3), None)
    assert place.type == ("cuda" if torch.cuda.is_available() else "cpu")
