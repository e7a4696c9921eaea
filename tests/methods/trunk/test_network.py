"""The trunk for export: boxes in a fixed number of places, and files that give the same elsewhere."""

import pytest
import torch

from marey.engine.export import export
from marey.methods.trunk.network import LEAST_SCORE, MOST_PEOPLE, decoded_boxes, network_of
from marey.nn.trunk import Trunk, TrunkConfig, TrunkMaps


def maps_with(people, side=16):
    """Maps of one picture: logits of (row, column) places, with the same box around each."""
    centers = torch.full((1, side, side), -9.0)
    for row, column, logit in people:
        centers[0, row, column] = logit
    empty = torch.zeros(1, 1, side, side)
    boxes = torch.tensor([10.0, 20.0, 11.0, 21.0]).view(1, 4, 1, 1).expand(1, 4, side, side)
    return TrunkMaps(empty, empty, empty, empty, empty, centers, boxes)


def test_decoded_boxes__best_first_around_the_centres_and_nothing_else():
    boxes, score, kept = decoded_boxes(maps_with([(2, 3, 1.0), (12, 11, 3.0), (5, 14, -5.0)]))
    assert boxes.shape == (1, MOST_PEOPLE, 4)
    assert kept[0].tolist() == [True, True] + [False] * (MOST_PEOPLE - 2)
    # map pixel 11 is image pixels 44 to 47, its middle 45.5
    torch.testing.assert_close(boxes[0, 0], torch.tensor([35.5, 29.5, 56.5, 70.5]))
    torch.testing.assert_close(boxes[0, 1], torch.tensor([3.5, -10.5, 24.5, 30.5]))
    torch.testing.assert_close(score[0, :2], torch.tensor([3.0, 1.0]).sigmoid())
    assert boxes[0, 2:].isnan().all()
    assert (score[0, 2:] == 0).all()


def test_decoded_boxes__one_of_two_that_overlap():
    _, _, kept = decoded_boxes(maps_with([(4, 4, 3.0), (4, 6, 2.0), (6, 4, 1.0), (12, 12, 0.0)]))
    # two pixels of the map to the side leave 13 of 21 columns: an overlap of 0.45; below, 33 of 41 rows: 0.67
    assert kept[0, :4].tolist() == [True, True, False, True]


def trained_a_little():
    """A small trunk whose centres are scattered about the least score."""
    torch.manual_seed(0)
    config = TrunkConfig(widths=(8, 8, 16, 16), units=(1, 1, 1, 1), features=8)
    trunk = Trunk(config)
    with torch.no_grad():
        trunk.head.weight.mul_(30)
        trunk.head.bias.clamp_min_(torch.tensor(LEAST_SCORE).logit().item())
    return trunk.eval()


def test_network__names_shapes_that_it_gives():
    images = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = network_of(trained_a_little(), example=images)
    outputs = dict(zip((port.name for port in network.outputs), network.run(network.example), strict=True))
    assert outputs["keypoints"].shape == (2, 26, 2)
    assert outputs["parts"].shape == (2, 25, 24, 16)
    torch.testing.assert_close(outputs["parts"].sum(1), torch.ones(2, 24, 16))
    assert outputs["box_kept"].any()
    assert torch.equal(outputs["boxes"].isfinite().all(-1), outputs["box_kept"])


@pytest.mark.slow
def test_onnx__equals_the_network_in_pictures_of_other_sizes(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = export(network_of(trained_a_little(), example=images), tmp_path / "trunk.onnx")
    assert {tuple(trial.sizes.values()) for trial in made.trials} >= {(2, 96, 128), (3, 128, 160), (1, 64, 64)}
    assert made.card["boxes"]["least_score"] == LEAST_SCORE
