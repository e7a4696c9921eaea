"""Errors after an alignment, beside slow twins and by what must not change them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import InputError, ShapeError
from marey.metrics.aligned import (
    n_mpjpe_mm,
    nmpjpe_errors,
    nmpjpe_mm,
    pa_mpjpe_mm,
    pmpjpe_mm,
    procrustes_errors,
    sc_mpjpe_mm,
    scale_corrected_errors,
    scaled_errors,
)
from marey.metrics.joints import mpjpe_mm
from marey.metrics.mesh import pve_mm, pve_pa_mm, pve_sc_mm, pve_t_mm, pve_t_sc_mm, root_relative_pve_mm
from synthetic import some_points, some_rotations

MIRROR = torch.tensor([-1.0, 1.0, 1.0]).double()


def pair(*batch, noise=0.05, seed=0):
    truth = some_points(*batch, 17, seed=seed, spread=0.4)
    return truth + noise * some_points(*batch, 17, seed=seed + 1), truth


def moved(points, seed=5, scale=1.0):
    return scale * points @ some_rotations(seed=seed, spread=2.0).mT + some_points(seed=seed)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_aligned_errors__are_zero_for_what_they_free(batch):
    _, truth = pair(*batch)
    zero = torch.zeros(*batch, 17).double()
    torch.testing.assert_close(procrustes_errors(moved(truth, scale=1.7), truth), zero)
    torch.testing.assert_close(procrustes_errors(moved(truth), truth, transform="rigid"), zero)
    torch.testing.assert_close(scale_corrected_errors(0.6 * truth + 3.0, truth), zero)
    torch.testing.assert_close(scaled_errors(0.6 * truth + 3.0, truth, root=4), zero)
    torch.testing.assert_close(
        procrustes_errors(moved(truth * MIRROR), truth, transform="symmetric", reflection=True), zero
    )


def test_aligned_errors__are_not_zero_for_what_they_do_not_free():
    _, truth = pair(50)
    assert procrustes_errors(moved(truth * MIRROR), truth).mean() > 0.1
    assert procrustes_errors(1.2 * truth, truth, transform="rigid").mean() > 0.05
    assert scale_corrected_errors(moved(truth), truth).mean() > 0.1
    assert scaled_errors(truth + 3.0, truth).mean() > 0.1


def test_scaled_errors__use_the_least_squares_scale():
    estimated, truth = pair(3, noise=0.2)
    scale = (estimated * truth).sum((-1, -2)) / (estimated * estimated).sum((-1, -2))
    torch.testing.assert_close(scaled_errors(estimated, truth), (scale[:, None, None] * estimated - truth).norm(dim=-1))


def test_scale_corrected_errors__use_the_ratio_of_extents():
    estimated, truth = pair(3, noise=0.2)
    a, b = (points - points.mean(1, keepdim=True) for points in (estimated, truth))
    scale = (b.square().sum((1, 2)) / a.square().sum((1, 2))).sqrt()
    torch.testing.assert_close(scale_corrected_errors(estimated, truth), (scale[:, None, None] * a - b).norm(dim=-1))


@pytest.mark.parametrize("function", [procrustes_errors, scale_corrected_errors, scaled_errors, nmpjpe_errors])
def test_aligned_errors__joints_that_are_missing_count_for_nothing(function):
    estimated, truth = pair(20, noise=0.2)
    keep = [0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15]
    expected = function(estimated[:, keep], truth[:, keep])
    estimated[:, [3, 6]], truth[:, [12, 16], 1] = math.nan, math.nan
    found = function(estimated, truth)
    torch.testing.assert_close(found[:, keep], expected)
    assert found[:, [3, 6, 12, 16]].isnan().all()


def test_scale_corrected_errors__a_collapsed_pose_keeps_its_size():
    _, truth = pair(2)
    found = scale_corrected_errors(torch.ones_like(truth), truth)
    torch.testing.assert_close(found, (truth - truth.mean(1, keepdim=True)).norm(dim=-1))


def test_nmpjpe__takes_the_better_of_both_depths_for_each_pose():
    estimated, truth = pair(4, noise=0.01)
    flipped = estimated * torch.tensor([1.0, 1.0, -1.0]).double()
    mixed = torch.cat((estimated[:2], flipped[2:]))
    assert nmpjpe_mm(mixed, truth) == pytest.approx(float(nmpjpe_mm(estimated, truth)))
    assert nmpjpe_mm(mixed, truth, allow_mirror=False) > 100
    assert nmpjpe_mm(estimated, truth, allow_mirror=False) == pytest.approx(float(sc_mpjpe_mm(estimated, truth)))


def test_mean_errors__are_ordered_by_what_they_free():
    estimated, truth = pair(30, noise=0.1)
    estimated = moved(estimated, scale=1.1)
    rigid = pa_mpjpe_mm(estimated, truth, transform="rigid")
    assert pa_mpjpe_mm(estimated, truth) < rigid < mpjpe_mm(estimated, truth)
    assert pmpjpe_mm(estimated * MIRROR, truth) == pytest.approx(float(pmpjpe_mm(estimated, truth)))
    assert pa_mpjpe_mm(estimated, truth) == pytest.approx(1000 * float(procrustes_errors(estimated, truth).mean()))
    assert n_mpjpe_mm(truth * 2, truth, root=0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("function", [pa_mpjpe_mm, n_mpjpe_mm, sc_mpjpe_mm, pmpjpe_mm, nmpjpe_mm, pve_mm, pve_t_sc_mm])
def test_mean_errors__nothing_known_is_an_error(function):
    with pytest.raises(InputError, match=f"{function.__name__}: expected a known value"):
        function(torch.full((2, 5, 3), math.nan), torch.zeros(2, 5, 3))
    with pytest.raises(InputError, match="expected a known value"):
        function(torch.zeros(0, 5, 3), torch.zeros(0, 5, 3))
    with pytest.raises(ShapeError, match=r"got \(2, 5, 3\) and \(2, 6, 3\)"):
        function(torch.zeros(2, 5, 3), torch.zeros(2, 6, 3))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_aligned_errors__move_with_the_truth_and_do_not_see_what_they_free(seed, scale):
    estimated, truth = pair(20, noise=0.1, seed=seed)
    plain = procrustes_errors(estimated, truth)
    torch.testing.assert_close(procrustes_errors(moved(estimated, seed, scale), truth), plain)
    torch.testing.assert_close(procrustes_errors(estimated, moved(truth, seed, scale)), scale * plain)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(procrustes_errors(estimated[:, order], truth[:, order]), plain[:, order])
    corrected = scale_corrected_errors(estimated, truth)
    torch.testing.assert_close(scale_corrected_errors(scale * estimated + 1.0, truth), corrected)


def test_vertex_errors__are_those_of_points():
    estimated, truth = some_points(2, 300, seed=1), some_points(2, 300, seed=2)
    distances = (estimated - truth).norm(dim=-1)
    assert pve_mm(estimated, truth) == pytest.approx(1000 * float(distances.mean()))
    assert pve_t_mm(estimated, truth) == pve_mm(estimated, truth)
    assert pve_sc_mm(2 * truth + 1, truth) == pytest.approx(0.0, abs=1e-9)
    assert pve_t_sc_mm(2 * truth + 1, truth) == pytest.approx(0.0, abs=1e-9)
    assert pve_pa_mm(moved(truth, scale=2.0), truth) == pytest.approx(0.0, abs=1e-9)
    roots = (estimated[:, 0], truth[:, 0])
    relative = (estimated - estimated[:, :1] - truth + truth[:, :1]).norm(dim=-1)
    assert root_relative_pve_mm(estimated, truth, roots=roots) == pytest.approx(1000 * float(relative.mean()))
