"""Light, by literals."""

import pytest
import torch
from torch.autograd import gradcheck

from marey.core import InputError, ShapeError
from marey.render import Lights, rasterize, shade


def hits_of(batch=()):
    """Two pixels for each picture."""
    vertices = torch.tensor([[-9.0, -9, 1], [-9, 50, 1], [50, -9, 1]], dtype=torch.float64).expand(*batch, 3, 3)
    return rasterize(vertices, torch.tensor([[0, 1, 2]]), (1, 2)).hits


def rows(*vectors):
    return torch.tensor(vectors, dtype=torch.float64)


POINTS = rows((0.0, 0, 0), (0, 0, 0))
UP = rows((0.0, 0, 1), (0, 0, 1))
GREY = rows((0.5, 0.5, 0.5), (0.5, 0.25, 1.0))


def test_ambient__shows_the_albedo():
    lights = Lights(ambient=rows(1.0, 0.5, 0), place=torch.zeros(0, 4).double(), color=torch.zeros(0, 3).double())
    found = shade(hits_of(), lights, albedo=GREY, points=POINTS, normals=UP)
    assert found.tolist() == [[0.5, 0.25, 0], [0.5, 0.125, 0]]


@pytest.mark.parametrize("place", [(0.0, 3, 3, 0), (0, 2, 2, 1)])
def test_lamp__shines_with_the_cosine_of_its_angle(place):
    lights = Lights(ambient=torch.zeros(3).double(), place=rows(place), color=rows((1.0, 0.5, 0.25)))
    found = shade(hits_of(), lights, albedo=GREY, points=POINTS, normals=UP)
    expected = GREY * rows(1.0, 0.5, 0.25) * 0.5**0.5
    torch.testing.assert_close(found, expected)


def test_point_lamp__has_a_direction_at_every_point_and_a_far_one_has_not():
    points = rows((0.0, 0, 0), (0, 3, 0))
    for w, second in ((1.0, 4 / 5), (0.0, 1.0)):
        lights = Lights(ambient=torch.zeros(3).double(), place=rows((0, 0, 4, w)), color=torch.ones(1, 3).double())
        found = shade(hits_of(), lights, albedo=torch.ones(2, 3).double(), points=points, normals=UP)
        torch.testing.assert_close(found, rows((1.0, 1, 1), (second, second, second)))


def test_lamps__add_up_and_one_behind_the_surface_gives_nothing():
    lights = Lights(
        ambient=rows(0.1, 0.1, 0.1),
        place=rows((0, 0, 1, 0), (0, 0, -1, 0), (0, 0, 9, 1)),
        color=rows((0.2, 0, 0), (9.0, 9, 9), (0, 0.3, 0)),
        specular=rows((0.0, 0, 0), (9.0, 9, 9), (0, 0, 0)),
    )
    eye = rows(0.0, 0, 5)
    found = shade(hits_of(), lights, albedo=torch.ones(2, 3).double(), points=POINTS, normals=UP, eye=eye)
    torch.testing.assert_close(found[0], rows(0.3, 0.4, 0.1))


def test_specular__is_a_power_of_the_cosine_between_mirror_and_eye():
    # the lamp 45 degrees to one side, the eye at the mirrored place and 30 degrees off it
    lights = Lights(
        ambient=torch.zeros(3).double(),
        place=rows((1.0, 0, 1, 0)),
        color=torch.zeros(1, 3).double(),
        specular=rows((0.5, 0.25, 1)),
        shininess=torch.tensor(8.0).double(),
    )
    angle = torch.tensor(torch.pi / 4 - torch.pi / 6).double()
    off = torch.stack((-angle.sin(), torch.zeros(()).double(), angle.cos()))
    for eye, cosine in ((rows(-2.0, 0, 2), 1.0), (off, 3**0.5 / 2)):
        found = shade(hits_of(), lights, albedo=GREY, points=POINTS, normals=UP, eye=eye)
        torch.testing.assert_close(found[0], rows(0.5, 0.25, 1) * cosine**8)


def test_lights_of_each_picture__light_it_alone():
    hits = hits_of((2, 1))
    lights = Lights(
        ambient=torch.zeros(2, 1, 3).double(),
        place=rows((0, 0, 1, 0)).expand(2, 1, 1, 4),
        color=rows((1.0, 0, 0), (0, 0, 1)).view(2, 1, 1, 3),
    )
    four = (torch.ones(4, 3).double(), torch.zeros(4, 3).double(), UP.repeat(2, 1))
    found = hits.paint(shade(hits, lights, albedo=four[0], points=four[1], normals=four[2]))
    assert found.shape == (2, 1, 1, 2, 3)
    assert found[0, 0, 0].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert found[1, 0, 0].tolist() == [[0, 0, 1], [0, 0, 1]]


def test_shade__is_differentiable_in_everything():
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64).add(0.1).requires_grad_()

    def shaded(albedo, points, normals, eye, ambient, place, color, shininess):
        lights = Lights(ambient=ambient, place=place, color=color, specular=color, shininess=4 * shininess)
        return shade(hits_of(), lights, albedo=albedo, points=points, normals=normals, eye=eye)

    inputs = (leaf(2, 3), leaf(2, 3), leaf(2, 3), leaf(3), leaf(3), leaf(2, 4), leaf(2, 3), leaf())
    assert gradcheck(shaded, inputs)


def test_dark_side__has_a_finite_derivative():
    normals = UP.clone().requires_grad_()
    lights = Lights(
        ambient=torch.zeros(3).double(),
        place=rows((1.0, 0, 0, 0), (0, 0, -1, 0)),
        color=torch.ones(2, 3).double(),
        specular=torch.ones(2, 3).double(),
    )
    found = shade(hits_of(), lights, albedo=GREY, points=POINTS, normals=normals, eye=rows(0.0, 0, 0))
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), normals)[0].isfinite().all()


def test_lights_that_cannot_be__are_refused():
    lights = Lights(ambient=torch.zeros(3), place=torch.zeros(1, 4), color=torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="normals: expected \\(2, 3\\)"):
        shade(hits_of(), lights, albedo=GREY, points=POINTS, normals=UP[:1])
    with pytest.raises(ShapeError, match="of the pictures before them"):
        shade(hits_of(), lights.map(lambda part: part.expand(3, *part.shape)), albedo=GREY, points=POINTS, normals=UP)
    shiny = Lights(ambient=torch.zeros(3), place=torch.zeros(1, 4), color=torch.zeros(1, 3), specular=torch.zeros(1, 3))
    with pytest.raises(InputError, match=r"pass cameras\.centers"):
        shade(hits_of(), shiny, albedo=GREY, points=POINTS, normals=UP)
    with pytest.raises(InputError, match="shininess: expected exponents above 0"):
        Lights(ambient=torch.zeros(3), place=torch.zeros(1, 4), color=torch.zeros(1, 3), shininess=torch.tensor(0.0))
    with pytest.raises(ShapeError, match=r"Lights\.place"):
        Lights(ambient=torch.zeros(3), place=torch.zeros(1, 3), color=torch.zeros(1, 3))
