"""Losses of the trunk, at values that can be worked out by hand."""

import math

import pytest
import torch

from marey.metrics.trunk_losses import (
    box_error,
    center_focal,
    center_targets,
    heatmap_cross_entropy,
    keypoint_likelihood,
    part_entropy,
)
from marey.nn.trunk import TrunkKeypoints, TrunkMaps

NOTHING = torch.zeros(0)


def maps(**given):
    fields = dict.fromkeys(TrunkMaps._fields, NOTHING) | given
    return TrunkMaps(**fields)


def test_heatmap__that_is_the_target_costs_nothing():
    keypoints = torch.tensor([[[33.5, 29.5], [torch.nan, torch.nan], [500.0, 3.0]]])
    columns, rows = torch.arange(16.0), torch.arange(16.0)
    logits = -((columns - 8.0) ** 2 + (rows[:, None] - 7.0) ** 2) / (2 * 1.5**2)
    same = maps(heatmaps=logits.expand(1, 3, 16, 16))
    assert heatmap_cross_entropy(same, keypoints).item() == pytest.approx(0, abs=1e-5)
    flat = maps(heatmaps=torch.zeros(1, 3, 16, 16))
    entropy = math.log(2 * math.pi * math.e * 1.5**2)
    assert heatmap_cross_entropy(flat, keypoints).item() == pytest.approx(math.log(256) - entropy, abs=0.01)


def test_likelihood__of_a_keypoint_one_deviation_away():
    factor = torch.tensor([[[[8.0, 0.0], [0.0, 4.0]]]])  # 2 and 1 pixels of the maps
    found = TrunkKeypoints(torch.tensor([[[10.0, 10.0]]]), factor, NOTHING, torch.zeros(1, 1, 16, 16))
    loss = keypoint_likelihood(found, torch.tensor([[[18.0, 10.0]]]))
    assert loss.item() == pytest.approx(0.5 + math.log(2))
    far = keypoint_likelihood(found, torch.tensor([[[10.0, 58.0]]]))  # 12 deviations: 10 * 12 - 25 instead of 144
    assert far.item() == pytest.approx(95 / 2 + math.log(2))


def test_parts__people_and_background_count_alike():
    parts = torch.full((1, 4, 4), 2)
    parts[0, 0, 0] = 0
    logits = torch.zeros(1, 3, 4, 4)
    assert part_entropy(maps(parts=logits), parts).item() == pytest.approx(math.log(3))
    logits[0, 0, 0, 0] = 100  # the only pixel of a person is right
    assert part_entropy(maps(parts=logits), parts).item() == pytest.approx(math.log(3) / 2)


def test_centers__peak_at_the_middle_of_the_box():
    boxes = torch.tensor([[[9.5, 17.5, 33.5, 41.5], [torch.nan] * 4]])  # its middle is pixel (5, 7) of the maps
    target, owner = center_targets(boxes, (16, 16))
    assert target.flatten(1).argmax().item() == 7 * 16 + 5
    assert target.max() == 1
    assert owner[0, 7, 5] == 0
    sure = torch.full((1, 16, 16), -20.0)
    sure[0, 7, 5] = 20
    assert center_focal(maps(centers=sure), boxes).item() < 1e-6
    assert center_focal(maps(centers=-sure), boxes).item() > 10


def test_boxes__of_the_right_size_cost_nothing():
    boxes = torch.tensor([[[8.0, 16.0, 32.0, 40.0]]])
    rows = torch.arange(16.0)[:, None].expand(16, 16) * 4 + 1.5
    columns = torch.arange(16.0).expand(16, 16) * 4 + 1.5
    right = torch.stack((columns - 8, rows - 16, 32 - columns, 40 - rows)).clamp_min(1e-3)[None]
    centers = torch.zeros(1, 16, 16)
    assert box_error(maps(boxes=right, centers=centers), boxes).item() == pytest.approx(0, abs=1e-6)
    double = box_error(maps(boxes=2 * right, centers=centers), boxes)
    assert double.item() == pytest.approx(math.log(2), abs=1e-5)


def test_pictures_of_nobody__have_finite_derivatives():
    nobody, nowhere = torch.full((2, 3, 4), torch.nan), torch.full((2, 5, 2), torch.nan)
    heatmaps, centers = torch.zeros(2, 5, 8, 8, requires_grad=True), torch.zeros(2, 8, 8, requires_grad=True)
    boxes = torch.ones(2, 4, 8, 8, requires_grad=True)
    given = maps(heatmaps=heatmaps, centers=centers, boxes=boxes)
    total = heatmap_cross_entropy(given, nowhere) + center_focal(given, nobody) + box_error(given, nobody)
    total.backward()
    assert all(value.grad.isfinite().all() for value in (heatmaps, centers, boxes))
