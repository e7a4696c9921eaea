"""The average of weights against arithmetic by hand."""

import pytest
import torch
from torch import nn

from marey.engine.averaging import WeightAverage, decay_at


class Scalar(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value, dtype=torch.float64))
        self.register_buffer("spread", torch.tensor(10 * value, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(int(value)))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.spread.fill_(10 * value)
            self.count.fill_(int(value))


def test_update__without_warm_up():
    module = Scalar(1.0)
    average = WeightAverage(module, decay=0.9, warm_up=False)
    for update, value in enumerate((2.0, 4.0)):
        module.become(value)
        average.update(module, update)
    assert average.state["weight"].item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 4, rel=1e-15)  # 1.39
    assert average.state["spread"].item() == pytest.approx(13.9, rel=1e-15)
    assert average.state["count"].item() == 4


def test_update__with_warm_up():
    module = Scalar(1.0)
    average = WeightAverage(module, decay=0.9)
    for update, value in enumerate((2.0, 4.0)):
        module.become(value)
        average.update(module, update)
    first = 1 / 10 * 1 + 9 / 10 * 2  # decay (1 + 0) / (10 + 0)
    assert average.state["weight"].item() == pytest.approx(2 / 11 * first + 9 / 11 * 4, rel=1e-15)


@pytest.mark.parametrize(("update", "expected"), [(0, 0.1), (8, 0.5), (80, 0.9), (10**6, 0.9)])
def test_decay_at__rises_to_the_decay(update, expected):
    assert decay_at(update, 0.9, warm_up=True) == expected


def test_applied__and_the_modules_own_weights_are_back():
    module = Scalar(1.0)
    average = WeightAverage(module, decay=0.5, warm_up=False)
    module.become(3.0)
    with average.applied(module):
        assert module.weight.item() == 1.0
        assert module.count.item() == 1
    assert module.weight.item() == 3.0
    with pytest.raises(ZeroDivisionError), average.applied(module):
        raise ZeroDivisionError
    assert module.weight.item() == 3.0
