"""States of modules: all of one, or none."""

import pytest
import torch
from torch import nn

from marey.core import FormatError
from marey.io.module_state import listed_tensors, load_state


def state(**changed):
    found = {"0.weight": torch.ones(2, 3), "0.bias": torch.tensor([4.0, 5.0]), **changed}
    return {name: value for name, value in found.items() if value is not None}


def module():
    return nn.Sequential(nn.Linear(3, 2))


def test_load_state__values_in_the_type_of_the_module():
    own = module().double()
    load_state(own, state(), "here")
    assert own[0].bias.tolist() == [4, 5]
    assert own[0].weight.dtype == torch.float64


def test_load_state__into_a_module_without_memory():
    with torch.device("meta"):
        own = module()
    given = state()
    load_state(own, given, "here", assign=True)
    assert own[0].weight.data_ptr() == given["0.weight"].data_ptr()
    assert own[0].weight.requires_grad


def test_load_state__places_that_may_stay_as_they_are():
    own = nn.BatchNorm1d(2)
    own.num_batches_tracked.fill_(7)
    given = {name: torch.full((2,), 3.0) for name in ("weight", "bias", "running_mean", "running_var")}
    load_state(own, given, "here", optional={"num_batches_tracked"})
    assert own.num_batches_tracked.item() == 7
    assert own.running_var.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0.bias": None}, r"^a file: does not fit Sequential: lacks 0\.bias$"),
        ({"1.bias": torch.ones(2)}, r"has no place for 1\.bias$"),
        ({"0.weight": torch.ones(3, 2)}, r"other shapes: 0\.weight \(3, 2\) instead of \(2, 3\)$"),
        (
            {"0.bias": None, "b": torch.ones(2), "0.weight": torch.ones(2)},
            r"lacks 0\.bias; has no place for b; other shapes: 0\.weight \(2,\) instead of \(2, 3\)$",
        ),
    ],
)
def test_load_state__that_does_not_fit_changes_nothing(changed, message):
    own = module()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    with pytest.raises(FormatError, match=message):
        load_state(own, state(**changed), "a file")
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())


def test_load_state__the_network_in_words():
    with pytest.raises(FormatError, match=r"does not fit a network of two joints: lacks 0\.bias$"):
        load_state(module(), state(**{"0.bias": None}), "a file", network="a network of two joints")


def test_listed_tensors():
    assert listed_tensors([f"layer.{number}" for number in range(6)]) == "layer.0, layer.1, layer.2, layer.3 and 2 more"
    assert listed_tensors(["x" * 101]) == "x" * 100
    assert listed_tensors([]) == "nothing"
