import math

import pytest
import torch

from marey.core import InputError
from marey.refine.gaps import fill_gaps, restlessness
from refine.recordings import joints_of, seconds, waving


def _with_gap(positions, *frames):
    holed = positions.clone()
    for first, last in frames:
        holed[first:last] = math.nan
    return holed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gap__between_steady_motion_is_filled_exactly(dtype):
    line = (seconds(60)[:, None, None, None] * torch.tensor([1.0, -2.0, 0.5])).expand(60, 2, 17, 3).to(dtype)
    filled = fill_gaps(joints_of(_with_gap(line, (20, 30)), sigma=0.001), seconds(60))
    torch.testing.assert_close(filled.positions, line, atol=1e-6, rtol=0)
    assert filled.filled[20:30].all()
    assert not filled.filled[:20].any()
    assert not filled.filled[30:].any()


def test_gap__measured_values_stay_as_they_are():
    joints = joints_of(_with_gap(waving(60), (20, 30)))
    filled = fill_gaps(joints, seconds(60))
    kept = ~filled.filled
    assert torch.equal(filled.positions[kept], joints.positions[kept])
    assert torch.equal(filled.covariance[kept], joints.covariance[kept])
    assert torch.equal(filled.score[kept], joints.score[kept])


def test_gap__covariance_grows_to_the_middle():
    filled = fill_gaps(joints_of(_with_gap(waving(200), (100, 113)), sigma=0.002), seconds(200))
    spread = filled.covariance[100:113].diagonal(dim1=-1, dim2=-2).sum(-1)
    assert (spread[1:7] > spread[:6]).all()
    assert (spread[7:] < spread[6:-1]).all()
    assert (spread[6] > 3 * 0.002**2).all()


def test_gap__covariance_is_honest():
    generator = torch.Generator().manual_seed(0)
    shocks = 8.0 * torch.randn(3000, 1, 17, 3, generator=generator, dtype=torch.float64)
    truth = (shocks.cumsum(0) / 60).cumsum(0) / 60 * 0.1
    noise = 0.002 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    gaps = [(first, first + 12) for first in range(30, 2950, 40)]
    filled = fill_gaps(joints_of(_with_gap(truth + noise, *gaps), sigma=0.002), seconds(3000))
    error = (filled.positions - truth)[filled.filled]
    distance = (torch.linalg.solve(filled.covariance[filled.filled], error) * error).sum(-1)
    assert 0.82 < (distance < 6.251).double().mean() < 0.97


def test_gap__longer_than_allowed_and_at_the_ends_stays():
    holed = _with_gap(waving(120), (0, 5), (40, 56), (110, 120))
    filled = fill_gaps(joints_of(holed), seconds(120), max_gap=0.25)
    assert torch.equal(filled.positions.isnan(), holed.isnan())
    assert not filled.filled.any()
    wider = fill_gaps(joints_of(holed), seconds(120), max_gap=0.3)
    assert wider.filled[40:56].all()
    assert not wider.filled[:40].any()


def test_gap__next_to_a_single_measured_frame_uses_the_chord():
    positions = torch.full((20, 1, 17, 3), math.nan, dtype=torch.float64)
    positions[0], positions[6] = 0.0, 0.6
    filled = fill_gaps(joints_of(positions, sigma=0.001), seconds(20))
    torch.testing.assert_close(filled.positions[:7, 0, 0, 0], torch.linspace(0, 0.6, 7).double())
    assert filled.positions[7:].isnan().all()


def test_gap__score_is_half_of_the_neighbours():
    filled = fill_gaps(joints_of(_with_gap(waving(60), (20, 30))), seconds(60))
    torch.testing.assert_close(filled.score[20:30], torch.full_like(filled.score[20:30], 0.4))


def test_gap__uneven_times_count():
    times = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.05, 0.11, 0.12, 0.13, 0.14]).double()
    line = (times[:, None, None, None] * torch.ones(3)).expand(9, 1, 17, 3).clone()
    filled = fill_gaps(joints_of(_with_gap(line, (4, 5)), sigma=0.001), times)
    torch.testing.assert_close(filled.positions, line, atol=1e-12, rtol=0)


def test_gap__turns_with_the_world():
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    holed = _with_gap(waving(80), (30, 40))
    first, second = (fill_gaps(joints_of(points), seconds(80)) for points in (holed, holed @ rotation.T - 1))
    torch.testing.assert_close(second.positions, first.positions @ rotation.T - 1)
    torch.testing.assert_close(second.covariance, rotation @ first.covariance @ rotation.T)


def test_restlessness__of_an_integrated_random_walk_is_its_density():
    generator = torch.Generator().manual_seed(2)
    density, fps = 4.0, 200.0
    shocks = math.sqrt(density / fps) * torch.randn(20_000, 1, 2, 3, generator=generator, dtype=torch.float64)
    truth = (shocks.cumsum(0) / fps).cumsum(0)
    noisy = truth + 0.003 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    covariance = (0.003**2 * torch.eye(3).double()).expand(*truth.shape, 3)
    present = torch.ones(truth.shape[:-1], dtype=torch.bool)
    found = restlessness(noisy, covariance, present, seconds(20_000, fps))
    torch.testing.assert_close(found, torch.full_like(found, density), rtol=0.15, atol=0)


def test_gap__nothing_known_and_one_frame():
    nothing = joints_of(torch.full((5, 1, 17, 3), math.nan, dtype=torch.float64))
    assert fill_gaps(nothing, seconds(5)).positions.isnan().all()
    one = joints_of(waving(1))
    assert torch.equal(fill_gaps(one, seconds(1)).positions, one.positions)


def test_gap__times_that_do_not_ascend_are_refused():
    with pytest.raises(InputError, match="ascend"):
        fill_gaps(joints_of(waving(3)), torch.tensor([0.0, 0.2, 0.1]))
