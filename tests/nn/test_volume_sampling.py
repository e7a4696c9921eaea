"""Maps sampled for exported networks: values worked out by hand, and the volumes of torch's own way."""

import pytest
import torch

from marey.nn.volume_sampling import sample_maps
from marey.nn.volumes import cuboid_grid, unproject

AGGREGATIONS = ("sum", "mean", "max", "softmax")


def test_sample_maps__bilinear_within_and_fading_to_zero_around():
    maps = torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]).view(1, 1, 1, 2, 3)
    places = [(0, 0), (2, 1), (0.5, 0.5), (-0.5, 0), (2.75, 1), (-1, 0), (3, 0), (1, 2), (torch.nan, 0), (1, 1)]
    in_front = torch.tensor([True] * 9 + [False]).view(1, 1, 10)
    values, seen = sample_maps(maps, torch.tensor(places).view(1, 1, 10, 2), in_front)
    torch.testing.assert_close(values.flatten(), torch.tensor([1, 7, 3.5, 0.5, 1.75, 0, 0, 0, 0, 0]))
    assert seen.flatten().tolist() == [True] * 5 + [False] * 5


class Filled(torch.nn.Module):
    """A volume as a module."""

    def __init__(self, aggregation, skip_unseen):
        super().__init__()
        self.aggregation, self.skip_unseen = aggregation, skip_unseen

    def forward(self, features, projections, centers):
        grid = cuboid_grid(centers, side=2.0, size=6)
        return unproject(features, projections, grid, aggregation=self.aggregation, skip_unseen=self.skip_unseen)


@pytest.mark.parametrize("skip_unseen", [True, False])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_exported_volume__equals_that_of_torch_at_other_sizes(aggregation, skip_unseen):
    draws = torch.Generator().manual_seed(0)

    def scene(batch, views, height, width):
        lens = torch.tensor([[9.0, 0, (width - 1) / 2, 0], [0, 9.0, (height - 1) / 2, 0], [0, 0, 1, 1.5]])
        turns = torch.linalg.qr(torch.randn(batch, views, 4, 4, generator=draws)).Q
        turns[..., 3, :] = turns[..., :, 3] = torch.tensor([0.0, 0, 0, 1])
        features = torch.randn(batch, views, 5, height, width, generator=draws)
        return features, lens @ turns, torch.randn(batch, 3, generator=draws) / 4

    batch, views = torch.export.Dim("batch"), torch.export.Dim("views")
    height, width = torch.export.Dim("height"), torch.export.Dim("width")
    shapes = ({0: batch, 1: views, 3: height, 4: width}, {0: batch, 1: views}, {0: batch})
    module = Filled(aggregation, skip_unseen)
    program = torch.export.export(module, scene(2, 3, 12, 9), dynamic_shapes=shapes)
    assert not [node for node in program.graph.nodes if "embedding_bag" in str(node.target)]
    for sizes in ((2, 3, 12, 9), (1, 1, 7, 16), (3, 4, 12, 12)):
        given = scene(*sizes)
        torch.testing.assert_close(program.module()(*given), module(*given), rtol=1e-4, atol=1e-4)
