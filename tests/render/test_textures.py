"""Textures, by literals and beside grid_sample."""

import pytest
import torch
from torch.autograd import gradcheck

from marey.core import ShapeError
from marey.render import rasterize, sample_texture

SIZE = (4, 5)
# 20 pixels, all covered
HITS = rasterize(torch.tensor([[-9.0, -9, 1], [-9, 50, 1], [50, -9, 1]]), torch.tensor([[0, 1, 2]]), SIZE).hits
# rows from the top
TEXTURE = torch.tensor([[[0.0], [1.0]], [[2.0], [3.0]]])


def uv_of(*points):
    return torch.tensor(points).repeat(20 // len(points), 1)


def test_texture__has_u_to_the_right_and_v_up():
    found = sample_texture(HITS, TEXTURE, uv_of((0.25, 0.75), (0.75, 0.75), (0.25, 0.25), (0.75, 0.25)))
    assert found[:4, 0].tolist() == [0, 1, 2, 3]


def test_texture__is_bilinear_between_texel_centres_and_constant_beyond():
    found = sample_texture(HITS, TEXTURE, uv_of((0.5, 0.75), (0.5, 0.5), (0.0, 1.0), (5.0, -3.0)))
    assert found[:4, 0].tolist() == [0.5, 1.5, 0, 3]


def test_texture__with_centres_at_the_ends():
    found = sample_texture(HITS, TEXTURE, uv_of((0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.25, 1.0)), align_corners=True)
    assert found[:4, 0].tolist() == [0, 1, 2.5, 0.25]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (6, 9)])
def test_texture__equals_grid_sample(shape, align_corners):
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(*shape, 3, generator=generator, dtype=torch.float64)
    uv = torch.rand(20, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    grid = torch.stack((2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]), -1)
    expected = torch.nn.functional.grid_sample(
        texture.movedim(-1, 0)[None], grid[None, None], padding_mode="border", align_corners=align_corners
    )
    torch.testing.assert_close(sample_texture(HITS, texture, uv, align_corners=align_corners), expected[0, :, 0].T)


def test_texture_of_each_picture__is_looked_up_in_its_own():
    vertices = torch.tensor([[-9.0, -9, 1], [-9, 50, 1], [50, -9, 1]]).expand(3, -1, -1)
    hits = rasterize(vertices, torch.tensor([[0, 1, 2]]), (2, 2)).hits
    textures = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 4, 4, 2)
    found = hits.paint(sample_texture(hits, textures, torch.full((12, 2), 0.4)))
    assert found.shape == (3, 2, 2, 2)
    assert torch.equal(found[:, 0, 0, 0], torch.arange(3.0))


def test_texture__is_differentiable_in_itself_and_in_the_coordinates():
    generator = torch.Generator().manual_seed(2)
    texture = torch.rand(4, 5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(20, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda t, c: sample_texture(HITS, t, c), (texture, uv))


@pytest.mark.parametrize(
    ("texture", "message"),
    [
        (torch.zeros(4, 4), "expected \\(\\.\\.\\., rows, columns, channels\\)"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "divide 8-bit pictures by 255"),
        (torch.zeros(0, 4, 3), "got \\(0, 4, 3\\)"),
        (torch.zeros(3, 64, 64), "move the channels there"),
        (torch.zeros(2, 4, 4, 3), "or one for each of the \\(\\)"),
    ],
)
def test_texture_of_a_wrong_size__is_refused(texture, message):
    with pytest.raises(ShapeError, match=message):
        sample_texture(HITS, texture, torch.zeros(20, 2))


def test_coordinates_of_other_pixels__are_refused():
    with pytest.raises(ShapeError, match=r"uv: expected \(20, 2\)"):
        sample_texture(HITS, TEXTURE, torch.zeros(19, 2))
