import sys

import pytest
import torch

from house.source import ROOT
from marey.body.joint_limits import joint_limits
from marey.body.motion_splits import split_of
from marey.body.pose_prior import mirrored_coordinates, pose_prior

sys.path.insert(0, str(ROOT / "tools"))
import fit_pose_prior as fitting

LIMITS = joint_limits()
KNEES = [9, 12]
"""The turns of the left and the right knee among the 69 coordinates."""


def walkers(bend, count=400, seed=0):
    """Poses about standing at ease, the left knee bent, with their mirror images."""
    generator = torch.Generator().manual_seed(seed)
    values = LIMITS.standing.flatten() + 0.1 * torch.randn(count, 69, generator=generator, dtype=torch.float64)
    values[:, KNEES[0]] += bend
    both = torch.cat((values, mirrored_coordinates(values)))
    return fitting.Data(name="walk", values=both, weight=1 / len(both), excess=torch.zeros(count))


def test_fitted__finds_clusters_and_their_spread():
    data = [walkers(0.1), walkers(1.5, seed=1)]
    prior = fitting.fitted(data, components=3, shrinkage=0.0)
    bends = prior.means[:, KNEES].amax(-1).sort().values
    assert bends[0] < 0.2
    assert bends[-1] > 1.4
    told = fitting._told()
    spread = prior.factors.square().sum(-1).sqrt()
    assert (spread[:, told].median() - (0.1**2 + fitting.FLOOR**2) ** 0.5).abs() < 0.02
    ranges = (LIMITS.high - LIMITS.low).flatten() * fitting.SHARE_OF_RANGE
    torch.testing.assert_close(spread[:, ~told], ranges[~told].expand(3, -1))


def test_mean_log_density__is_that_of_the_prior_without_what_is_not_told():
    data = walkers(0.4)
    told = fitting._told()
    values = torch.where(told, data.values, LIMITS.standing.flatten())
    prior = fitting.fitted([data], components=2, shrinkage=0.3)
    whole = prior.log_density(LIMITS.pose(values.reshape(-1, 23, 3)))
    spread = torch.log(prior.factors[0].diagonal()[~told] * (2 * torch.pi) ** 0.5).sum()
    expected = (whole + spread).mean()
    assert fitting.mean_log_density(prior, [data]) == pytest.approx(expected.item(), abs=1e-6)


def test_log_volume__counts_the_superellipses():
    # between that of the boxes and that of the ellipses within them
    told = fitting._told().reshape(23, 3)
    boxes = ((LIMITS.high - LIMITS.low).log() * told).sum().item()
    ellipses = boxes + int(told[:, 1].sum()) * torch.log(torch.tensor(torch.pi / 4)).item()
    assert ellipses < fitting.log_volume() < boxes


@pytest.mark.realdata
def test_shipped_prior__is_what_the_script_makes_of_the_motions_for_training(shared_data):
    with torch.inference_mode():
        motions = fitting.read_motions(shared_data / "motion_clips", shared_data / "mocap_cmu")
        data = [fitting.prepared(motion) for motion in motions]
        training = [each for each in data if split_of(each.name) == "training"]
        held_out = [each for each in data if split_of(each.name) == "benchmark"]
        prior = fitting.fitted(training, components=1, shrinkage=0.5)
        for name in ("weights", "means", "factors"):
            torch.testing.assert_close(getattr(pose_prior(), name), getattr(prior, name), atol=1e-5, rtol=1e-5)
        assert (len(training), len(held_out)) == (15, 7)
        # motions that were left out are far likelier than anything within the limits
        assert fitting.mean_log_density(prior, held_out) > -fitting.log_volume() + 15
