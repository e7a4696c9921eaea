"""Scaling of images."""

import pytest
import torch

from marey.core import ShapeError
from marey.nn.image_input import IMAGENET, SYMMETRIC, ImageInput


def test_image_input__imagenet():
    image = torch.tensor([0.485 + 0.229, 0.456, 0.406 - 0.225]).view(1, 3, 1, 1).expand(2, 3, 4, 8)
    found = ImageInput(IMAGENET, multiple=4)(image)
    expected = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(2, 3, 4, 8)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_image_input__symmetric():
    found = ImageInput(SYMMETRIC, multiple=1)(torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1))
    assert found.flatten().tolist() == [-1.0, -0.5, 1.0]


def test_image_input__has_no_names_in_a_state_dictionary():
    assert not ImageInput(IMAGENET, multiple=1).state_dict()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 3, 32, 40), (1, 3, 33, 32)])
def test_image_input__refuses_other_shapes(shape):
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), sides multiples of 32, got \("):
        ImageInput(SYMMETRIC, multiple=32)(torch.zeros(shape))
