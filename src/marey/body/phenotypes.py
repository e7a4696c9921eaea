"""People by what can be said of them: age, sex, stature, weight, muscle, proportions -> shapes of the open body.

The phenotypes, how shapes follow from them and how they are distributed over people of an age are Anny's (package
`anny`, Apache-2.0), calibrated to the growth charts of the World Health Organisation. A shape here is the vector of
coefficients that `BodyState.shape` holds for the models of `marey.body.open_body`.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from marey.body.open_body import baked, open_body
from marey.core import InputError, ShapeError

Number = float | Tensor
OLDEST = 90.0
"""Years."""
PEOPLE_NUMBERS = 6
"""How many uniform numbers `shapes_of_people` makes a person of."""

_ANCHORS: dict[str, dict[str, float]] = {
    "sex": {"male": 0, "female": 1},
    "age": {"newborn": -1 / 3, "baby": 0, "child": 1 / 3, "young": 2 / 3, "old": 1},
    "muscle": {"minmuscle": 0, "averagemuscle": 0.5, "maxmuscle": 1},
    "weight": {"minweight": 0, "averageweight": 0.5, "maxweight": 1},
    "height": {"minheight": 0, "maxheight": 1},
    "proportions": {"idealproportions": 0, "uncommonproportions": 1},
}
"""Of each phenotype the ends that shapes are known for, and its value there; between them shapes are mixed."""
_DRAWN = ("height", "weight", "muscle", "proportions")
_BISECTIONS = 24
_RIM = 0.08
"""Metres: the highest and the lowest vertex of any shape are within this of those of the mean."""


def shape_of(
    *,
    years: Number = 30.0,
    sex: Literal["female", "male"] | Number = 0.5,
    stature: Number | None = None,
    weight: Number | None = None,
    muscle: Number | None = None,
    proportions: Number | None = None,
) -> Tensor:
    """The shape of a person; of what is left out, people of that age and sex have the mean.

    Numbers and tensors of any shape broadcast together. Differentiable in all but `stature`.

    Args:
        years: 0 to 90.
        sex: or a number from 0, male, to 1, female.
        stature: metres, standing.
        weight: from 0, thin, to 1, heavy, for the age; 0.5 is the middle of the range, not of people.
        muscle: from 0 to 1, as the weight.
        proportions: from 0, as drawings idealise people, to 1, as few are.

    Returns:
        (..., S) in single precision, or in that of the tensors.

    Raises:
        InputError: a value is out of its range, or no person of that age and sex is so tall.
    """
    sex = {"female": 1.0, "male": 0.0}.get(sex, sex) if isinstance(sex, str) else sex
    if isinstance(sex, str):
        raise InputError(f"sex: expected 'female', 'male' or a number from 0 to 1, got {sex!r}")
    given = {"weight": weight, "muscle": muscle, "proportions": proportions}
    known = {"years": years, "sex": sex, "stature": stature} | given
    values = _broadcast({name: value for name, value in known.items() if value is not None})
    for name, value in values.items():
        _check_range(name, value)
    mean = _moments(values["years"], values["sex"])[..., 0]
    traits = {name: values.get(name, mean[..., place]) for place, name in enumerate(_DRAWN)}
    traits |= {"sex": values["sex"], "age": _age(values["years"])}
    if "stature" in values:
        traits["height"] = _height_for(values["stature"], traits)
    return _coefficients(traits)


def shapes_of_people(numbers: Tensor, years: tuple[float, float] = (18.0, OLDEST)) -> Tensor:
    """People of a range of ages, uniformly, half of them of each sex, as people of that age and sex vary.

    Args:
        numbers: (..., 6) uniform in [0, 1); each row is a person.
        years: the youngest and the oldest.

    Returns:
        (..., S) shapes, in the precision of the numbers.

    Raises:
        ShapeError: another number of numbers.
        InputError: the ages are not in 0..90 and in order.
    """
    if numbers.ndim < 1 or numbers.shape[-1] != PEOPLE_NUMBERS or not numbers.is_floating_point():
        raise ShapeError(
            f"numbers: expected (..., {PEOPLE_NUMBERS}) floating point numbers, got {tuple(numbers.shape)}"
        )
    if not 0 <= years[0] <= years[1] <= OLDEST:
        raise InputError(f"years: expected the youngest and the oldest in 0..{OLDEST:.0f}, got {years}")
    age = years[0] + (years[1] - years[0]) * numbers[..., 0]
    sex = (numbers[..., 1] >= 0.5).to(numbers)
    mean, deviation = _moments(age, sex).unbind(-1)
    bounded = numbers[..., 2:].clamp(1e-6, 1 - 1e-6)
    drawn = (mean + deviation * torch.special.ndtri(bounded)).clamp(0, 1)
    traits = dict(zip(_DRAWN, drawn.unbind(-1), strict=True))
    return _coefficients(traits | {"sex": sex, "age": _age(age)})


def stature(shape: Tensor) -> Tensor:
    """How tall (...) people of shapes (..., S) stand, metres, from the soles to the top of the head; differentiable."""
    high, low = (rows.to(shape) for rows in _ends())
    return (high[:, 0] + shape @ high[:, 1:].mT).amax(-1) - (low[:, 0] + shape @ low[:, 1:].mT).amin(-1)


@cache
def _ends() -> tuple[Tensor, Tensor]:
    """Heights (M, 1 + S) of the vertices that may be the highest and the lowest: of the mean, and a unit of each."""
    model = open_body("full")
    rows = torch.cat((model.template[:, 1:2], model.shape_basis[:, 1]), 1)
    heights = rows[:, 0]
    return rows[heights > heights.max() - _RIM], rows[heights < heights.min() + _RIM]


def _broadcast(values: dict[str, Number]) -> dict[str, Tensor]:
    tensors = [value for value in values.values() if isinstance(value, Tensor)]
    like = tensors[0] if tensors else torch.zeros(())
    if not like.is_floating_point():
        raise InputError(f"expected numbers with a fraction, got a tensor of {like.dtype}; use .float()")
    every = [torch.as_tensor(value, dtype=like.dtype, device=like.device) for value in values.values()]
    batch = sum(torch.zeros_like(tensor) for tensor in every)
    return {name: tensor + batch for name, tensor in zip(values, every, strict=True)}


def _check_range(name: str, value: Tensor) -> None:
    if name == "stature":
        return
    high = OLDEST if name == "years" else 1.0
    if not ((value >= 0) & (value <= high)).all():
        raise InputError(f"{name}: expected 0 to {high:.0f}, got {value.min():.3g} to {value.max():.3g}")


def _age(years: Tensor) -> Tensor:
    """Anny's age of years."""
    anchors = baked()[0]["phenotype.ages"].to(years)
    return _between(years, anchors[0], anchors[1])


def _moments(years: Tensor, sex: Tensor) -> Tensor:
    """Mean and standard deviation (..., 4, 2) of height, weight, muscle and proportions."""
    arrays = baked()[0]
    table = _between(years, arrays["phenotype.moment_years"].to(years), arrays["phenotype.moments"].to(years))
    male, female = table.unbind(-3)
    return male + sex[..., None, None] * (female - male)


def _between(value: Tensor, anchors: Tensor, table: Tensor) -> Tensor:
    """Rows (..., *) of a table (A, *) at values between its ascending anchors (A,), which they do not leave."""
    above = torch.searchsorted(anchors, value.contiguous()).clamp(1, len(anchors) - 1)
    low, high = anchors[above - 1], anchors[above]
    share = ((value - low) / (high - low)).clamp(0, 1).reshape(value.shape + (1,) * (table.ndim - 1))
    return table[above - 1] + share * (table[above] - table[above - 1])


def _coefficients(traits: dict[str, Tensor]) -> Tensor:
    """Shapes (..., S): a linear map of the products of the weights of what people lie between."""
    arrays, notes = baked()
    weights: dict[str, Tensor] = {}
    for trait, anchors in _ANCHORS.items():
        weights |= dict(zip(anchors, _weights(traits[trait], list(anchors.values())).unbind(-1), strict=True))
    table = torch.stack([weights[name] for name in notes["variations"].split(",")], -1)
    terms = arrays["phenotype.terms"].to(table.device) > 0
    products = torch.where(terms, table[..., None, :], 1.0).prod(-1)
    map_ = arrays["phenotype.map"].to(table)
    return products @ map_[:-1] + map_[-1]


def _weights(value: Tensor, anchors: list[float]) -> Tensor:
    """Weights (..., A) of linear interpolation between anchors."""
    places = value.new_tensor(anchors)
    above = torch.searchsorted(places, value.detach().contiguous()).clamp(1, len(anchors) - 1)
    share = (value - places[above - 1]) / (places[above] - places[above - 1])
    at = torch.arange(len(anchors), device=value.device)
    lower, upper = (at == above[..., None] - 1), (at == above[..., None])
    return lower * (1 - share[..., None]) + upper * share[..., None]


def _height_for(wanted: Tensor, traits: dict[str, Tensor]) -> Tensor:
    """The phenotype height of people of a stature, by bisection: stature grows with it."""
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    with torch.no_grad():
        ends = [stature(_coefficients(traits | {"height": end})) for end in (low, high)]
        if not ((ends[0] <= wanted) & (wanted <= ends[1])).all():
            raise InputError(
                f"stature: people of that age and sex are {ends[0].min():.2f} to {ends[1].max():.2f} m tall, got "
                f"{wanted.min():.2f} to {wanted.max():.2f} m"
            )
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = stature(_coefficients(traits | {"height": middle})) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
