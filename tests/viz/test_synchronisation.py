"""How fast people move in a view, for the picture of synchronised views."""

import torch

from marey.core import Keypoints2D, Skeleton
from marey.viz.synchronisation import median_speed, save_speeds

PAIR = Skeleton("pair", ("left_hip", "right_hip"), ((0, 1),))


def moving(x: torch.Tensor) -> Keypoints2D:
    """Two hips 100 px apart that move along x (T,) together."""
    positions = torch.stack((x[:, None] + torch.tensor([0.0, 100.0]), torch.zeros(len(x), 2)), -1)[:, None]
    covariance = torch.eye(2).expand(*positions.shape, 2).clone()
    return Keypoints2D(
        positions=positions, covariance=covariance, score=torch.ones(positions.shape[:-1]), skeleton=PAIR
    )


def test_median_speed__is_relative_and_stands_in_the_middle():
    times = torch.arange(30).double() / 20  # two frames are a tenth of a second
    x = torch.where(times < 0.75, 0.0, 40 * (times - 0.75)).float()
    middle, speed = median_speed(moving(x), times)
    assert torch.allclose(middle, (times[2:] + times[:-2]) / 2)
    assert float(speed[:13].abs().max()) < 1e-6
    assert torch.allclose(speed[-10:], torch.ones(10).double(), atol=1e-4)


def test_median_speed__exchanged_sides_are_not_fast():
    times = torch.arange(30).double() / 20
    still = moving(torch.zeros(30))
    exchanged = still.positions.clone()
    exchanged[10:14] = exchanged[10:14].flip(2)
    both = Keypoints2D(positions=exchanged, covariance=still.covariance, score=still.score, skeleton=PAIR)
    assert float(median_speed(both, times)[1].max()) < 1e-6


def test_median_speed__nobody_and_one_frame():
    times = torch.arange(5).double() / 20
    nobody = moving(torch.full((5,), torch.nan))
    assert median_speed(nobody, times)[1].isnan().all()
    assert len(median_speed(moving(torch.zeros(1)), times[:1])[0]) == 0


def test_save_speeds__is_a_picture(tmp_path):
    times = torch.arange(30).double() / 20
    save_speeds(tmp_path / "s.png", [moving(torch.rand(30))] * 2, [times, times + 0.3], names=["a", "b"])
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
