import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.projection import project
from marey.geometry.scale import rescale_cameras, scale_from_lengths, segment_lengths

BONES = torch.tensor([0.42, 0.40, 0.29, 0.26, 0.25], dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_segment_lengths__equal_distances():
    points = randn(2, 3, 4, 3)
    lengths, deviation = segment_lengths(points, [(0, 1), (3, 1)])
    torch.testing.assert_close(lengths[..., 1], (points[..., 3, :] - points[..., 1, :]).norm(dim=-1))
    assert lengths.shape == (2, 3, 2)
    assert (deviation == 0).all()


def test_segment_lengths__missing_end_gives_nan():
    points = randn(4, 3)
    points[2, 1] = torch.nan
    lengths, deviation = segment_lengths(points, [(0, 1), (1, 2)])
    assert lengths.isnan().tolist() == deviation.isnan().tolist() == [False, True]


def test_segment_lengths__covariance_removes_the_bias_and_tells_the_scatter():
    truth = torch.tensor([[0.0, 0, 0], [0.3, 0, 0]], dtype=torch.float64)
    root = torch.diag(torch.tensor([0.02, 0.03, 0.05], dtype=torch.float64))
    points = truth + randn(20_000, 2, 3) @ root
    covariance = (root @ root).expand(20_000, 2, 3, 3)
    biased, _ = segment_lengths(points, [(0, 1)])
    lengths, deviation = segment_lengths(points, [(0, 1)], covariance=covariance)
    assert biased.mean() > 0.309
    assert lengths.mean().item() == pytest.approx(0.3, abs=0.001)
    assert deviation.mean().item() == pytest.approx(lengths.std().item(), rel=0.1)


def test_segment_lengths__lost_in_the_noise_is_nan():
    covariance = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    lengths, _ = segment_lengths(torch.zeros(2, 3, dtype=torch.float64) + 1e-3, [(0, 1)], covariance=covariance)
    assert lengths.isnan().all()


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_scale__exact_lengths_give_the_factor(batch):
    factor = 1 + randn(*batch).square()
    measured = (BONES / factor[..., None])[..., None, :].expand(*batch, 7, 5)
    scale = scale_from_lengths(measured, BONES)
    torch.testing.assert_close(scale.factor, factor)
    assert (scale.standard_deviation < 1e-9 * factor).all()
    assert scale.weights.shape == (*batch, 5)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_scale__is_equivariant(unit, metres):
    measured = BONES * (1 + 0.02 * randn(9, 5))
    base = scale_from_lengths(measured, BONES, known_deviation=0.01)
    other = scale_from_lengths(measured * unit, BONES * metres, known_deviation=0.01 * metres)
    torch.testing.assert_close(other.factor, base.factor * metres / unit)
    torch.testing.assert_close(other.standard_deviation, base.standard_deviation * metres / unit)


def test_scale__deviation_covers_the_error():
    noise, tape = 0.03, 0.01
    measured = BONES * (1 + tape * randn(4000, 1, 5, seed=1)) * (1 + noise * randn(4000, 12, 5, seed=2))
    scale = scale_from_lengths(measured, BONES, measured_deviation=noise * measured, known_deviation=tape * BONES)
    errors = (scale.factor - 1) / scale.standard_deviation
    assert errors.std().item() == pytest.approx(1.0, abs=0.12)
    assert (errors.abs() < 1.96).double().mean().item() == pytest.approx(0.95, abs=0.025)


def test_scale__many_frames_do_not_sharpen_a_blunt_ruler():
    measured = BONES[:1] * (1 + 0.02 * randn(2000, 1))
    scale = scale_from_lengths(measured, BONES[:1], known_deviation=0.03 * BONES[:1])
    assert scale.standard_deviation.item() == pytest.approx(0.03, rel=0.05)


def test_scale__outliers_hardly_count():
    measured = (BONES * (1 + 0.01 * randn(100, 5))).clone()
    measured[:10] *= 3.0
    measured[:, 4] *= 1.4
    scale = scale_from_lengths(measured, BONES, known_deviation=0.02 * BONES)
    assert scale.factor.item() == pytest.approx(1.0, abs=0.03)
    assert scale.weights[4] < 0.2
    assert (scale.weights[:4] > 0.8).all()


def test_scale__disagreeing_lengths_raise_the_deviation():
    agree = scale_from_lengths(BONES[None], BONES, known_deviation=0.001)
    disagree = scale_from_lengths(BONES[None] * (1 + 0.05 * randn(1, 5)), BONES, known_deviation=0.001)
    assert disagree.standard_deviation > 5 * agree.standard_deviation


def test_scale__missing_lengths_do_not_count():
    measured = BONES * (1 + 0.01 * randn(20, 5))
    gaps = torch.cat((measured, measured[:, :1] * torch.nan), -1)
    known = torch.cat((BONES, BONES[:1]))
    full, partial = scale_from_lengths(measured, BONES), scale_from_lengths(gaps, known)
    torch.testing.assert_close(partial.factor, full.factor)
    assert partial.weights[5] == 0
    nothing = scale_from_lengths(measured * torch.nan, BONES)
    assert nothing.factor.isnan()
    assert nothing.standard_deviation.isnan()


def test_rescale_cameras__sees_the_same():
    cameras = Cameras(
        intrinsics=torch.tensor([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]).double().expand(2, 3, 3),
        distortion=torch.zeros(2, 0, dtype=torch.float64),
        image_size=torch.tensor([1280.0, 720.0]).double().expand(2, 2),
        rotation=torch.eye(3, dtype=torch.float64).expand(2, 3, 3),
        translation=torch.tensor([[0.0, 0, 3], [1, 0, 3]], dtype=torch.float64),
    )
    points = randn(5, 3)
    torch.testing.assert_close(
        project(2.5 * points[None], rescale_cameras(cameras, 2.5)), project(points[None], cameras)
    )


def test_scale__names_what_is_wrong():
    with pytest.raises(ShapeError, match=r"a single measurement of each length is \(1, K\)"):
        scale_from_lengths(BONES, BONES)
    with pytest.raises(InputError, match="expected positive lengths"):
        scale_from_lengths(BONES[None], 0 * BONES)
    with pytest.raises(ShapeError, match="measured_deviation: expected"):
        scale_from_lengths(BONES[None], BONES, measured_deviation=torch.ones(2, 5, dtype=torch.float64))
    with pytest.raises(InputError, match=r"expected pairs of indices 0\.\.3"):
        segment_lengths(randn(4, 3), [(0, 4)])
    with pytest.raises(ShapeError, match=r"points: expected \(\.\.\., J, 3\)"):
        segment_lengths(randn(4, 2), [(0, 1)])
    with pytest.raises(ShapeError, match="covariance: expected"):
        segment_lengths(randn(4, 3), [(0, 1)], covariance=randn(3, 3, 3))
