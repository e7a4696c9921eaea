import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from marey.core import skeleton
from marey.detect.agreement import best_side, extent, inlier, log_ratio, with_mirrored


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_log_ratio__equals_the_densities(batch):
    generator = torch.Generator().manual_seed(0)
    offset = torch.randn(*batch, 2, generator=generator, dtype=torch.float64)
    root = torch.randn(*batch, 2, 2, generator=generator, dtype=torch.float64)
    spread = root @ root.mT + 0.1 * torch.eye(2)
    density = MultivariateNormal(torch.zeros(2, dtype=torch.float64), spread).log_prob(offset).exp()
    expected = torch.log(0.05 + 0.95 * 40.0 * density)
    torch.testing.assert_close(log_ratio(offset, spread, torch.tensor(40.0), 0.05), expected)


def test_log_ratio__bounded_below_and_silent_on_missing():
    spread = torch.eye(2).expand(2, 2, 2)
    offset = torch.tensor([[1e4, 0.0], [torch.nan, torch.nan]])
    ratio = log_ratio(offset, spread, torch.tensor(1e6), 0.05)
    torch.testing.assert_close(ratio, torch.tensor([math.log(0.05), 0.0]))


def test_log_ratio__gate_closes_as_the_expectation_grows_vague():
    offset = torch.tensor([30.0, 0.0])
    area = torch.tensor(1e6)
    sharp, vague = (log_ratio(offset, s * s * torch.eye(2), area, 0.05) for s in (15.0, 400.0))
    assert sharp > vague
    assert log_ratio(torch.zeros(2), 1e6 * torch.eye(2), area, 0.05) < 0


def test_best_side__each_pair_decides_on_its_own():
    table = skeleton("coco_17")
    mirror = torch.tensor(table.mirror)
    points = torch.randn(1, 17, 2, generator=torch.Generator().manual_seed(1)) * 100
    legs = torch.tensor([any(part in joint for part in ("hip", "knee", "ankle")) for joint in table.joints])
    detected = torch.where(legs[:, None], points[:, mirror], points)
    spread = torch.eye(2).expand(1, 17, 2, 2)
    doubled, spreads = with_mirrored(detected, spread, mirror)
    ratio = log_ratio(doubled - points, spreads, torch.tensor(1e6), 0.05)
    best, swapped = best_side(ratio, mirror, penalty=2.0)
    assert swapped[0].tolist() == legs.tolist()
    plain = log_ratio(torch.zeros(2), torch.eye(2), torch.tensor(1e6), 0.05)
    torch.testing.assert_close(best[0], torch.where(legs, plain - 1.0, plain))


def test_inlier__is_the_posterior_probability():
    """0.05 of clutter at density 1/A against 0.95 of the normal density at its peak."""
    ratio = log_ratio(torch.zeros(2), torch.eye(2), torch.tensor(10.0), 0.05)
    signal = 0.95 * 10 / (2 * math.pi)
    assert inlier(ratio, 0.05).item() == pytest.approx(signal / (signal + 0.05))
    assert inlier(torch.tensor(math.log(0.05)), 0.05).item() == pytest.approx(0.0)


def test_extent__holds_every_point():
    points = torch.tensor([[[30.0, 7.0], [torch.nan, 9.0]], [[-5.0, 0.5], [torch.inf, 0.0]]])
    assert extent(points).tolist() == [[30.0, 9.0], [1.0, 1.0]]
    assert extent(points[:, :0]).tolist() == [[1.0, 1.0], [1.0, 1.0]]
