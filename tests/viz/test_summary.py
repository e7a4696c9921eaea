import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Diagnostics, Estimate, Joints3D, Skeleton
from marey.viz.summary import headline, heat_map, limb_summaries, view_summaries

SKELETON = Skeleton(
    "legs", ("pelvis", "left_hip", "left_knee", "right_hip", "right_knee"), ((0, 1), (0, 3), (1, 2), (3, 4))
)


def legs(*, frames: int = 4) -> Estimate:
    """One person; left thigh 400 and 420 mm by turns, right thigh 430 mm; the last frame's right knee filled."""
    positions = torch.zeros(frames, 1, 5, 3)
    positions[..., 1, 0], positions[..., 3, 0] = 0.1, -0.1
    positions[..., 2, :], positions[..., 4, :] = torch.tensor([0.1, 0, -0.4]), torch.tensor([-0.1, 0, -0.43])
    positions[1::2, :, 2, 2] = -0.42
    filled = torch.zeros(frames, 1, 5, dtype=torch.bool)
    filled[-1, 0, 4] = True
    positions[-1, 0, 4, 2] = -9
    covariance = torch.diag(torch.tensor([1e-4, 4e-4, 4e-4])).expand(frames, 1, 5, 3, 3).clone()
    return Estimate(
        joints=Joints3D(
            positions=positions, covariance=covariance, score=torch.ones(frames, 1, 5), filled=filled, skeleton=SKELETON
        ),
        fps=50.0,
    )


def evidence(residuals: list[list[float]], weights: list[list[float]]) -> Diagnostics:
    """(V, T, 1, 1)"""
    return Diagnostics(
        residuals=torch.tensor(residuals)[..., None, None], weights=torch.tensor(weights)[..., None, None]
    )


def test_limbs__are_measured_on_both_sides_and_not_where_filled():
    rows = {row.name: row for row in limb_summaries(legs())}
    thigh = rows["thigh"]
    assert thigh.left.mean == pytest.approx(410, abs=1e-3)
    assert thigh.left.deviation == pytest.approx(10, abs=1e-3)
    assert thigh.right.mean == pytest.approx(430, abs=1e-3)
    assert thigh.right.deviation == pytest.approx(0, abs=1e-3)
    assert thigh.difference == pytest.approx(-20, abs=1e-3)
    assert next(iter(rows)) == "thigh"
    assert rows["pelvis \u2013 hip"].left.mean == pytest.approx(100, abs=1e-3)


def test_limbs__never_measured_are_left_out():
    estimate = legs()
    unknown = estimate.joints.positions.clone()
    unknown[..., 1, :] = torch.nan
    rows = limb_summaries(replace(estimate, joints=replace(estimate.joints, positions=unknown)))
    assert {row.name: row.left for row in rows} == {"thigh": None, "pelvis \u2013 hip": None}
    assert rows[0].difference is None


def test_headline__counts_measured_and_filled_apart():
    estimate = legs()
    unknown = estimate.joints.positions.clone()
    unknown[0, 0, :3] = torch.nan
    numbers = headline(replace(estimate, joints=replace(estimate.joints, positions=unknown)))
    assert numbers.measured == pytest.approx(16 / 20)
    assert numbers.filled == pytest.approx(1 / 20)
    assert numbers.sigma_mm == pytest.approx(math.sqrt(300), rel=1e-5)
    assert math.isnan(numbers.residual_px)


def test_headline__of_nothing_known_is_nan_without_a_warning(recwarn):
    estimate = legs()
    nothing = torch.full_like(estimate.joints.positions, torch.nan)
    numbers = headline(replace(estimate, joints=replace(estimate.joints, positions=nothing)))
    assert numbers.measured == 0
    assert math.isnan(numbers.sigma_mm)
    assert limb_summaries(replace(estimate, joints=replace(estimate.joints, positions=nothing))) == []
    assert not recwarn.list


def test_views__tell_counted_from_rejected():
    nan = math.nan
    diagnostics = evidence([[1, 2, 3, 50], [nan, nan, nan, nan]], [[1, 0.9, 0.5, 0.1], [0, 0, 0, 0]])
    first, second = view_summaries(replace(legs(), diagnostics=diagnostics), ("one", "two"))
    assert (first.name, first.seen, first.rejected) == ("one", 1.0, 0.25)
    assert first.residual_px == 2
    assert first.residual_px_90 == pytest.approx(2.8)
    assert first.rejected_px == 50
    assert second.seen == 0
    assert math.isnan(second.rejected)
    assert math.isnan(second.residual_px)
    assert first.size is None


def test_heat_map__gathers_frames_and_leaves_gaps():
    nan = math.nan
    diagnostics = evidence([[1, 3, 5, nan, nan, nan]], [[1, 0.5, 0.2, 0, 0, 0]])
    heat = heat_map(diagnostics, columns=3)
    assert heat.edges == (0, 2, 4, 6)
    np.testing.assert_allclose(heat.residual, [[2, 5, nan]])
    np.testing.assert_allclose(heat.weight, [[0.75, 0.2, nan]], rtol=1e-6)


def test_heat_map__has_no_more_columns_than_frames():
    heat = heat_map(evidence([[1, 2]], [[1, 1]]), columns=1200)
    assert heat.residual.shape == (1, 2)
