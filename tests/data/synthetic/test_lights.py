"""Light comes from where the lamps are, and is neither lost nor made."""

import torch

from marey.data.synthetic.lights import Lights, draw_lights, shade
from marey.data.synthetic.random import Draws

UP = torch.tensor([[0.0], [0.0], [1.0]])


def _lights(**changes) -> Lights:
    none = torch.zeros(1, 3)
    given = {
        "sky": none,
        "ground": none,
        "direction": UP.mT.repeat(1, 3).reshape(1, 3, 3),
        "color": torch.zeros(1, 3, 3),
    }
    return Lights(**{**given, **changes})


def test_shade__sky_lights_what_faces_up_and_ground_what_faces_down():
    lights = _lights(sky=torch.tensor([[0.2, 0.4, 0.8]]), ground=torch.tensor([[0.1, 0.0, 0.0]]))
    normals = torch.cat((UP, -UP, UP.roll(1, 0)), 1)
    diffuse, highlight = shade(normals, normals, torch.ones(3), lights)
    expected = torch.tensor([[0.2, 0.4, 0.8], [0.1, 0.0, 0.0], [0.15, 0.2, 0.4]])
    assert torch.allclose(diffuse.mT, expected)
    assert not highlight.any()


def test_shade__a_lamp_lights_by_the_cosine_and_not_from_behind():
    color = torch.zeros(1, 3, 3)
    color[0, 1] = torch.tensor((0.5, 0.6, 0.7))
    lights = _lights(color=color)
    slanted = torch.tensor([[0.6], [0.0], [0.8]])
    normals = torch.cat((UP, slanted, -UP), 1)
    diffuse, _ = shade(normals, UP.expand(3, 3), torch.zeros(3), lights)
    cosines = torch.tensor([1.0, 0.8, 0.0])
    assert torch.allclose(diffuse, cosines * color[0, 1][:, None], atol=1e-6)


def test_shade__the_highlight_is_where_the_lamp_is_mirrored():
    color = torch.zeros(1, 3, 3)
    color[0, 0] = 1.0
    towards = torch.tensor([[0.0, 0.8], [0.0, 0.0], [1.0, 0.6]])
    _, highlight = shade(UP.expand(3, 2), towards, torch.tensor([1.0, 1.0]), _lights(color=color))
    assert torch.allclose(highlight[:, 0], torch.ones(3), atol=1e-5)
    assert highlight[0, 1] < 0.3
    _, dull = shade(UP.expand(3, 2), towards, torch.zeros(2), _lights(color=color))
    assert not dull.any()


def test_draw_lights__light_a_white_surface_by_about_one():
    lights = draw_lights(Draws(seed=0, split="training", indices=torch.arange(300)))
    brightest = (lights.sky + lights.color.sum(1)).mean(-1)
    assert brightest.min() > 0.5
    assert brightest.max() < 2.2
    assert torch.allclose(lights.direction.norm(dim=-1), torch.ones(300, 3), atol=1e-5)
    lamps = (lights.color.sum(-1) > 0).sum(-1)
    assert set(lamps.tolist()) == {1, 2, 3}
    assert (lights.ground <= lights.sky + 1e-6).all()
