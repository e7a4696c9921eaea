"""A person as a virtual camera sees it that looks at the person."""

import math

import pytest
import torch

from marey.core import ShapeError
from marey.nn.person_view import person_view

POINTS = torch.tensor([[0.1, -0.3], [-0.05, 0.0], [0.15, 0.02], [0.0, 0.4], [0.1, 0.45]]).double()
COVARIANCE = torch.tensor([[4e-4, 1e-4], [1e-4, 2e-4]]).double().expand(5, 2, 2)
SCORE = torch.tensor([1.0, 0.8, 0.9, 0.5, 1.0]).double()


def about_y(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).double()


def turned(points, covariance, rotation):
    """What the camera sees after it was turned: new rays are `rotation` times the old ones."""
    rays = torch.nn.functional.pad(points, (0, 1), value=1.0) @ rotation.mT
    x, y, z = rays.unbind(-1)
    # d (x / z, y / z) / d (u, v) for the ray rotation (u, v, 1)
    top = (rotation[0, :2] - (x / z)[..., None] * rotation[2, :2]) / z[..., None]
    low = (rotation[1, :2] - (y / z)[..., None] * rotation[2, :2]) / z[..., None]
    jacobian = torch.stack((top, low), -2)
    return rays[..., :2] / rays[..., 2:], jacobian @ covariance @ jacobian.mT


@pytest.mark.parametrize("angle", [-0.6, 0.3, 0.9])
def test_person_view__turning_the_camera_is_taken_up_by_the_rotation(angle):
    rotation = about_y(angle)
    points, covariance = turned(POINTS, COVARIANCE, rotation)
    here, there = person_view(POINTS, COVARIANCE, SCORE), person_view(points, covariance, SCORE)
    for name in ("points", "deviation", "score", "size"):
        torch.testing.assert_close(getattr(there, name), getattr(here, name), msg=name)
    torch.testing.assert_close(there.rotation @ rotation, here.rotation)


def test_person_view__looks_at_the_person():
    view = person_view(POINTS, COVARIANCE, SCORE)
    rays = torch.nn.functional.pad(POINTS, (0, 1), value=1.0)
    middle = (SCORE[:, None] ** 2 * rays / rays.norm(dim=-1, keepdim=True)).sum(0)
    ahead = view.rotation @ middle
    torch.testing.assert_close(ahead / ahead.norm(), torch.tensor([0.0, 0.0, 1.0]).double())
    torch.testing.assert_close(view.rotation @ view.rotation.mT, torch.eye(3).double())
    spread = (SCORE**2 * view.points.square().sum(-1)).sum() / (SCORE**2).sum()
    assert float(spread) == pytest.approx(1)


def test_person_view__half_as_large_looks_the_same():
    flat = POINTS - POINTS.mean(0)
    small = flat * 1e-3  # so small that perspective does not matter
    first = person_view(small, 1e-6 * COVARIANCE, SCORE)
    second = person_view(small / 2, 1e-6 * COVARIANCE / 4, SCORE)
    torch.testing.assert_close(first.points, second.points, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.deviation, second.deviation, rtol=1e-5, atol=0)
    assert float(first.size / second.size) == pytest.approx(2, rel=1e-5)


def test_person_view__the_deviation_is_the_area_of_the_covariance():
    centred = torch.tensor([[-0.01, 0.0], [0.01, 0.0], [0.0, 0.01], [0.0, -0.01]]).double()
    view = person_view(centred, COVARIANCE[:4], torch.ones(4).double())
    assert float(view.size) == pytest.approx(0.01)
    # the fourth root of 4e-4 * 2e-4 - 1e-8, over the size
    assert float(view.deviation[0]) == pytest.approx(7e-8**0.25 / 0.01, rel=1e-3)


@pytest.mark.parametrize("missing", ["points", "covariance", "score"])
def test_person_view__a_joint_without_any_of_it_is_not_seen(missing):
    points, covariance, score = POINTS.clone(), COVARIANCE.clone(), SCORE.clone()
    if missing == "score":
        score[2] = 0
    else:
        {"points": points, "covariance": covariance}[missing][2] = torch.nan
    view = person_view(points, covariance, score)
    rest = [0, 1, 3, 4]
    alone = person_view(POINTS[rest], COVARIANCE[rest], SCORE[rest])
    assert view.score[2] == 0
    assert view.known
    torch.testing.assert_close(view.points[rest], alone.points)
    assert all(part.isfinite().all() for part in view)


def test_person_view__too_little_is_no_view():
    points = POINTS.repeat(3, 1, 1)
    points[0, 2:] = torch.nan
    points[1] = torch.nan
    points[2] = points[2, :1]
    view = person_view(points, COVARIANCE.expand(3, 5, 2, 2), SCORE.expand(3, 5))
    assert view.known.tolist() == [False, False, False]
    assert all(part.isfinite().all() for part in view)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_person_view__any_batch_shape(batch):
    view = person_view(*(part.expand(*batch, *part.shape) for part in (POINTS, COVARIANCE, SCORE)))
    single = person_view(POINTS, COVARIANCE, SCORE)
    for name, part, alone in zip(view._fields, view, single, strict=True):
        torch.testing.assert_close(part, alone.expand((*batch, *alone.shape)), msg=name)


def test_person_view__shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"covariances \(\.\.\., J, 2, 2\)"):
        person_view(POINTS, COVARIANCE[:4], SCORE)
