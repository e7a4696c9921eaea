"""What a step is made of: groups of parameters, moved batches, reports."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from marey.core import InputError, TensorFields, Trailing
from marey.engine.batches import moved, rows
from marey.engine.optimisers import make_optimiser, set_learning_rates
from marey.engine.settings import Optimiser, ParameterGroup, TrainingSettings


def network() -> nn.Module:
    module = nn.ModuleDict({"backbone": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    module["backbone"].add_module("norm", nn.LayerNorm(4))
    module["head"].bias.requires_grad_(False)
    return module


def test_make_optimiser__parts_have_rates_of_their_own():
    module = network()
    groups = (
        ParameterGroup(prefix="backbone.", learning_rate=1e-4),
        ParameterGroup(prefix="backbone.norm.", learning_rate=1e-3, weight_decay=0.5),
    )
    optimiser = make_optimiser(module, Optimiser(learning_rate=1e-2, weight_decay=0.1, groups=groups))
    found = {group["name"]: group for group in optimiser.param_groups}
    assert {name: (group["lr"], group["weight_decay"], len(group["params"])) for name, group in found.items()} == {
        "backbone": (1e-4, 0.1, 2),
        "backbone.norm": (1e-3, 0.5, 2),
        "all": (1e-2, 0.1, 1),
    }
    assert set_learning_rates(optimiser, 0.5) == {"backbone": 5e-5, "backbone.norm": 5e-4, "all": 5e-3}
    assert set_learning_rates(optimiser, 1.0)["all"] == 1e-2


def test_make_optimiser__vectors_need_not_decay():
    optimiser = make_optimiser(network(), Optimiser(weight_decay=0.1, decay_vectors=False))
    decays = {
        tuple(value.shape): group["weight_decay"] for group in optimiser.param_groups for value in group["params"]
    }
    assert decays == {(4, 3): 0.1, (4,): 0.0, (2, 4): 0.1}


@pytest.mark.parametrize(
    ("algorithm", "cls"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_make_optimiser__first_step_by_hand(algorithm, cls):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    settings = Optimiser(algorithm=algorithm, learning_rate=0.1, epsilon=1e-12, betas=(0.9, 0.96))
    optimiser = make_optimiser(module, settings)
    assert type(optimiser) is cls
    module.weight.grad = torch.tensor([[4.0]])
    optimiser.step()
    # Adam's first step is the learning rate; RMSprop's g / sqrt(0.04 g^2) = 5 times that
    expected = {"adamw": 0.9, "adam": 0.9, "sgd": 0.6, "rmsprop": 0.5}
    assert module.weight.item() == pytest.approx(expected[algorithm], rel=1e-5)


def test_adam_tensorflow__two_steps_by_hand():
    module = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(module.weight, 1.0)
    settings = Optimiser(algorithm="adam-tensorflow", learning_rate=0.1, epsilon=0.5, betas=(0.5, 0.75))
    optimiser = make_optimiser(module, settings)
    for gradient in (4.0, 2.0):
        module.weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimiser.step()
    # m: 2, then 2; v: 4, then 4; corrections sqrt(1 - 0.75) / (1 - 0.5) = 1 and sqrt(1 - 0.5625) / (1 - 0.25)
    expected = 1 - 0.1 * 1 * 2 / (2 + 0.5) - 0.1 * (0.4375**0.5 / 0.75) * 2 / (2 + 0.5)
    assert module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_adam_tensorflow__is_adam_where_epsilon_is_nothing():
    modules = [nn.Linear(3, 2).double() for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    for module, algorithm in zip(modules, ("adam-tensorflow", "adam"), strict=True):
        wishes = {"learning_rate": 0.01, "weight_decay": 0.1, "epsilon": 1e-30}
        optimiser = make_optimiser(module, Optimiser(algorithm=algorithm, **wishes))
        for step in range(5):
            optimiser.zero_grad()
            module(torch.full((1, 3), 1.0 + step, dtype=torch.float64)).square().sum().backward()
            optimiser.step()
    assert torch.allclose(modules[0].weight, modules[1].weight, rtol=1e-10, atol=0)


def test_make_optimiser__refuses():
    module = network()
    with pytest.raises(InputError, match="no parameter begins with 'tail'; they begin with backbone, head"):
        make_optimiser(module, Optimiser(groups=(ParameterGroup(prefix="tail", learning_rate=1),)))
    with pytest.raises(InputError, match="nothing to learn"):
        make_optimiser(module.requires_grad_(False), Optimiser())


@dataclass(frozen=True, kw_only=True, eq=False)
class Points(TensorFields):
    positions: Annotated[Tensor, Trailing(3)]


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


def test_moved__reaches_every_tensor():
    batch = {
        "list": [torch.ones(2), torch.arange(2)],
        "pair": Pair(torch.ones(1), torch.ones(1)),
        "deep": {"tuple": (torch.ones(1), "text")},
        "points": Points(positions=torch.ones(2, 3)),
        "text": "walk",
    }
    found = moved(batch, torch.device("meta"), torch.float64)
    assert found["list"][0].device.type == "meta"
    assert [tensor.dtype for tensor in found["list"]] == [torch.float64, torch.int64]
    assert isinstance(found["pair"], Pair)
    assert found["pair"].second.dtype == torch.float64
    assert found["deep"]["tuple"][0].device.type == "meta"
    assert found["deep"]["tuple"][1] == "text"
    assert found["points"].positions.device.type == "meta"
    assert found["points"].dtype == torch.float64
    assert found["text"] == "walk"
    assert batch["list"][0].dtype == torch.float32


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"a": torch.ones(5, 2), "b": torch.ones(3)}, 5),
        ({"name": "x", "a": [torch.tensor(1.0), torch.ones(4)]}, 4),
        ({"points": Points(positions=torch.ones(7, 3))}, 7),
        ({}, 0),
        ({"name": "x"}, 0),
    ],
)
def test_rows__of_the_first_tensor(batch, expected):
    assert rows(batch) == expected


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"warm_up": -1}, "warm_up: expected 0 or more"),
        ({"devices": 0}, "devices: expected 1 or more"),
        ({"clip": 0.0}, "clip: expected a norm above 0"),
        ({"ema_decay": 1.0}, "ema_decay: expected a number between 0 and 1"),
        ({"best": "error", "validate_every": 0}, "the score 'error' needs validate_every above 0"),
    ],
)
def test_training_settings__refuse(wishes, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**wishes)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: expected a number of 0 or more, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number of 0 or more, got nan"),
        ({"weight_decay": -0.1}, "weight_decay: expected"),
        ({"betas": (0.9, 1.0)}, "betas: expected numbers from 0 to below 1, got 1.0"),
        ({"momentum": 1.0}, "momentum: expected"),
        ({"groups": (ParameterGroup(prefix="a", learning_rate=-1),)}, "learning_rate of 'a': expected"),
        ({"groups": (ParameterGroup(prefix="a", learning_rate=1),) * 2}, "different prefixes, got a, a"),
    ],
)
def test_optimiser__refuses(wishes, message):
    with pytest.raises(InputError, match=message):
        Optimiser(**wishes)
