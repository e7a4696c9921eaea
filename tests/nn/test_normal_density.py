"""Normal distributions at many places."""

import torch

from marey.nn.normal_density import squared_distances


def test_squared_distances__equal_the_definition():
    generator = torch.Generator().manual_seed(4)
    places = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    mean = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    half = torch.randn(2, 5, 3, 3, generator=generator, dtype=torch.float64)
    precision = half @ half.mT
    apart = places[:, None] - mean[:, :, None]
    expected = torch.einsum("bkni,bkij,bknj->bkn", apart, precision, apart)
    torch.testing.assert_close(squared_distances(places, precision, mean), expected)
