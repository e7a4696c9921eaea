"""Learning-rate schedules against literals."""

import pytest

from marey.core import InputError
from marey.engine.schedules import Constant, Cosine, Exponential, Piecewise, StepDecay, learning_rate_factor

METRABS = Piecewise(points=((0, 1), (0.92, 1 / 3), (0.92, 1 / 30), (1, 0.01)), between="exponential")


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (Constant(), 99, 1.0),
        (Cosine(), 0, 1.0),
        (Cosine(), 25, 0.8535533905932737),
        (Cosine(), 50, 0.5),
        (Cosine(final=0.1), 50, 0.55),
        (Cosine(final=0.1), 100, 0.1),
        (StepDecay(at=(10, 60)), 9, 1.0),
        (StepDecay(at=(10, 60)), 10, 0.1),
        (StepDecay(at=(10, 60), by=0.5), 60, 0.25),
        (Exponential(final=0.01), 0, 1.0),
        (Exponential(final=0.01), 50, 0.1),
        (Exponential(final=0.01), 100, 0.01),
        (Piecewise(points=((0.2, 1), (0.6, 3))), 0, 1.0),
        (Piecewise(points=((0.2, 1), (0.6, 3))), 30, 1.5),
        (Piecewise(points=((0.2, 1), (0.6, 3))), 80, 3.0),
        (METRABS, 0, 1.0),
        (METRABS, 46, 0.5773502691896257),  # half of the way: the root of 1/3
        (METRABS, 92, 0.03333333333333333),
        (METRABS, 96, 0.018257418583505537),  # the geometric mean of 1/30 and 1/100
    ],
)
def test_factor__of_a_hundred_steps(schedule, step, expected):
    assert learning_rate_factor(schedule, step, steps=100) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0)])
def test_factor__warms_up(step, expected):
    assert learning_rate_factor(Constant(), step, steps=100, warm_up=4) == expected


def test_factor__warm_up_and_schedule_multiply():
    assert learning_rate_factor(Cosine(), 50, steps=100, warm_up=102) == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Piecewise(points=()), "shares of the steps from 0 to 1 in order"),
        (lambda: Piecewise(points=((0.5, 1), (0.2, 1))), "in order"),
        (lambda: Piecewise(points=((0, 1), (1.5, 1))), "from 0 to 1"),
        (lambda: Piecewise(points=((0, 1), (1, 0)), between="exponential"), "factors above 0"),
        (lambda: Exponential(final=0), "above 0"),
    ],
)
def test_schedules__refuse(make, message):
    with pytest.raises(InputError, match=message):
        make()
