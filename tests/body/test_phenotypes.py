import dataclasses

import pytest
import torch

from marey.body.open_body import ADULT_COMPONENTS, open_body
from marey.body.phenotypes import PEOPLE_NUMBERS, shape_of, shapes_of_people, stature
from marey.core import InputError, ShapeError, skeleton


def standing(shape):
    """Vertices and joints of shapes (..., S) at rest."""
    model = open_body("small")
    body = dataclasses.replace(model.neutral(*shape.shape[:-1]), shape=shape)
    return model(body)


def litres(shape):
    vertices = standing(shape).vertices
    a, b, c = (vertices[..., corner, :] for corner in open_body("small").faces.unbind(-1))
    return 1000 * (torch.linalg.cross(a, b) * c).sum((-1, -2)) / 6


def numbers(count, seed=0):
    return torch.rand(count, PEOPLE_NUMBERS, generator=torch.Generator().manual_seed(seed))


def test_stature__is_from_sole_to_crown():
    shape = shape_of(sex=torch.tensor([0.0, 0.5, 1.0]), years=torch.tensor([60.0, 3.0, 20.0]))
    heights = standing(shape).vertices[..., 1]
    torch.testing.assert_close(stature(shape), heights.amax(-1) - heights.amin(-1), atol=0.004, rtol=0)


@pytest.mark.parametrize(
    ("sex", "years", "metres", "within"),
    [
        # Medians of the growth standards of the World Health Organisation (2006, 2007); lying down up to the age of 2
        ("male", 1.0, 0.757, 0.04),
        ("female", 5.0, 1.094, 0.04),
        ("male", 5.0, 1.100, 0.04),
        ("female", 10.0, 1.386, 0.05),
        ("male", 15.0, 1.690, 0.06),
        ("male", 30.0, 1.77, 0.04),
        ("female", 30.0, 1.63, 0.04),
    ],
)
def test_stature__of_an_age_is_that_of_growth_charts(sex, years, metres, within):
    assert float(stature(shape_of(sex=sex, years=years))) == pytest.approx(metres, abs=within)


@pytest.mark.parametrize("metres", [1.5, 1.75, 1.95])
def test_shape_of__stature_is_met(metres):
    for sex in ("female", "male"):
        assert float(stature(shape_of(stature=metres, sex=sex, years=40))) == pytest.approx(metres, abs=1e-4)


def test_shape_of__batches_are_people_one_by_one():
    years, sex = torch.tensor([[4.0], [30.0]]), torch.tensor([0.0, 0.3, 1.0])
    shapes = shape_of(years=years, sex=sex, weight=0.4)
    assert shapes.shape == (2, 3, open_body("small").shape_basis.shape[-1])
    for row in range(2):
        for column in range(3):
            alone = shape_of(years=years[row, 0], sex=sex[column], weight=0.4)
            torch.testing.assert_close(shapes[row, column], alone, atol=1e-5, rtol=1e-4)


def test_shape_of__doubles_stay_doubles():
    assert shape_of(years=torch.tensor(30.0, dtype=torch.float64)).dtype == torch.float64
    assert shape_of().dtype == torch.float32


def test_shape_of__heavier_is_more():
    weights = torch.linspace(0, 1, 5)
    assert (litres(shape_of(weight=weights, stature=1.7)).diff() > 0.5).all()


def test_shape_of__child_is_small_with_a_large_head():
    points = skeleton("halpe_26")
    shares, heights = [], []
    for years in (2.0, 8.0, 30.0):
        shape = shape_of(years=years)
        person = standing(shape)
        joints = open_body("small").regress(person.vertices, "halpe_26")
        head = joints[points.index("head_top"), 1] - joints[points.index("neck"), 1]
        heights.append(float(stature(shape)))
        shares.append(float(head) / heights[-1])
    assert heights[0] < heights[1] < heights[2]
    assert shares[0] > shares[1] > shares[2]


def test_shape_of__is_differentiable_in_age():
    years = torch.tensor(7.0, requires_grad=True)
    stature(shape_of(years=years)).backward()
    assert 0.02 < float(years.grad) < 0.1  # metres a year


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"years": 120.0}, "years: expected 0 to 90, got 120"),
        ({"weight": torch.tensor([0.5, 1.5])}, "weight: expected 0 to 1, got 0.5 to 1.5"),
        ({"muscle": float("nan")}, "muscle: expected 0 to 1, got nan"),
        ({"sex": "other"}, "sex: expected 'female', 'male' or a number from 0 to 1, got 'other'"),
        ({"stature": 2.6}, r"stature: people of that age and sex are 1\.\d\d to 2\.\d\d m tall, got 2.60"),
        ({"stature": 1.7, "years": 3}, "stature: people of that age and sex are"),
        ({"stature": float("nan")}, "stature: people of that age and sex are"),
        ({"years": torch.tensor(30)}, r"expected numbers with a fraction, got a tensor of torch.int64"),
    ],
)
def test_shape_of__impossible_people_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        shape_of(**given)


def test_people__vary_as_adults_do():
    shapes = shapes_of_people(numbers(3000))
    first, rest = shapes[:, :ADULT_COMPONENTS], shapes[:, ADULT_COMPONENTS:]
    assert first.mean(0).abs().max() < 0.4
    assert ((first.std(0) > 0.75) & (first.std(0) < 1.25)).all()
    assert rest.abs().mean() < 0.3  # of children only
    heights = stature(shapes)
    men = numbers(3000)[:, 1] < 0.5
    assert float(heights[men].mean()) == pytest.approx(1.775, abs=0.03)
    assert float(heights[~men].mean()) == pytest.approx(1.61, abs=0.03)
    assert 0.06 < float(heights[men].std()) < 0.1


def test_people__of_an_age_range_are_of_that_age():
    shapes = shapes_of_people(numbers(500), (5.0, 6.0))
    heights = stature(shapes)
    assert 1.05 < heights.mean() < 1.2
    assert heights.max() < 1.4


def test_people__each_follows_from_its_own_numbers():
    rows = numbers(9, seed=3)
    together = shapes_of_people(rows.reshape(3, 3, -1), (0.0, 90.0)).reshape(9, -1)
    for row, shape in zip(rows, together, strict=True):
        torch.testing.assert_close(shapes_of_people(row, (0.0, 90.0)), shape, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("end", [0.0, 1.0 - 2**-24])
def test_people__at_the_ends_of_the_numbers_exist(end):
    shape = shapes_of_people(torch.full((PEOPLE_NUMBERS,), end), (0.0, 90.0))
    assert shape.isfinite().all()
    assert 0.4 < float(stature(shape)) < 2.2


def test_people__bad_numbers_are_refused():
    with pytest.raises(ShapeError, match=r"numbers: expected \(\.\.\., 6\) floating point numbers, got \(4, 5\)"):
        shapes_of_people(torch.rand(4, 5))
    with pytest.raises(
        InputError, match=r"years: expected the youngest and the oldest in 0\.\.90, got \(30\.0, 20\.0\)"
    ):
        shapes_of_people(numbers(1), (30.0, 20.0))
