import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from marey.core import InputError, ShapeError
from marey.geometry.rotations import (
    columns_to_matrix,
    euler_to_matrix,
    geodesic_angle,
    matrix_to_columns,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rotvec,
    quaternion_to_matrix,
    quaternion_to_rotvec,
    rotation_between,
    rotvec_to_matrix,
    rotvec_to_quaternion,
    skew,
)
from synthetic import some_rotations

BATCHES = [(), (1,), (2, 1, 3)]


def some_rotvecs(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*shape, 3)))


@pytest.mark.parametrize("batch", BATCHES)
def test_conversions__equal_scipy(batch):
    rotvec = some_rotvecs(*batch)
    scipy = Rotation.from_rotvec(rotvec.reshape(-1, 3).numpy())
    matrix = torch.from_numpy(scipy.as_matrix()).reshape(*batch, 3, 3)
    quaternion = torch.from_numpy(scipy.as_quat()).reshape(*batch, 4)
    shortest = torch.from_numpy(scipy.as_rotvec()).reshape(*batch, 3)
    torch.testing.assert_close(rotvec_to_matrix(rotvec), matrix)
    torch.testing.assert_close(matrix_to_rotvec(matrix), shortest)
    torch.testing.assert_close(quaternion_to_matrix(3 * quaternion), matrix)
    torch.testing.assert_close(quaternion_to_rotvec(-2 * quaternion), shortest)
    for found in (matrix_to_quaternion(matrix), rotvec_to_quaternion(rotvec)):
        torch.testing.assert_close((found * quaternion).sum(-1).abs(), torch.ones(batch).double())
    for order in ("ZXY", "xyz", "ZYX", "XYX"):
        angles = torch.from_numpy(scipy.as_euler(order)).reshape(*batch, 3)
        torch.testing.assert_close(euler_to_matrix(angles, order), matrix)
        torch.testing.assert_close(matrix_to_euler(matrix, order), angles)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotvec__near_zero_and_pi(dtype):
    axis = torch.nn.functional.normalize(some_rotvecs(20), dim=-1).to(dtype)
    for angle in (0.0, 1e-8, 1e-5, 3.0, np.pi - 1e-3):
        rotvec = (axis * angle).requires_grad_()
        matrix = rotvec_to_matrix(rotvec)
        back = matrix_to_rotvec(matrix)
        torch.testing.assert_close(back, rotvec, rtol=1e-5, atol=2e-4 if dtype == torch.float32 else 1e-9)
        back.sum().backward()
        assert rotvec.grad.isfinite().all()
    half = matrix_to_rotvec(rotvec_to_matrix(axis * np.pi))
    torch.testing.assert_close(half.norm(dim=-1), torch.full((20,), np.pi, dtype=dtype))


def test_gradients__match_differences():
    rotvec = some_rotvecs(3).requires_grad_()
    assert torch.autograd.gradcheck(rotvec_to_matrix, rotvec)
    assert torch.autograd.gradcheck(lambda v: matrix_to_rotvec(rotvec_to_matrix(v)), rotvec)
    assert torch.autograd.gradcheck(columns_to_matrix, torch.randn(4, 3, 2).double().requires_grad_())


def test_columns__gram_schmidt():
    matrix = some_rotations(5)
    torch.testing.assert_close(columns_to_matrix(matrix_to_columns(matrix)), matrix)
    skewed = torch.stack((2 * matrix[..., 0], matrix[..., 1] - 3 * matrix[..., 0]), -1)
    torch.testing.assert_close(columns_to_matrix(skewed), matrix)


def test_geodesic_angle__is_the_angle():
    base = some_rotations(3, seed=1)
    axis = torch.nn.functional.normalize(some_rotvecs(3, seed=2), dim=-1)
    for angle in (0.0, 1e-9, 0.5, np.pi):
        found = geodesic_angle(base, base @ rotvec_to_matrix(angle * axis))
        torch.testing.assert_close(found, torch.full((3,), angle).double(), rtol=1e-6, atol=1e-12)


def test_rotation_between__turns_source_onto_target_the_short_way():
    source, target = torch.nn.functional.normalize(torch.randn(2, 50, 3).double(), dim=-1)
    turn = rotation_between(source, target)
    torch.testing.assert_close((turn @ source[..., None])[..., 0], target)
    shortest = torch.atan2(torch.linalg.cross(source, target).norm(dim=-1), (source * target).sum(-1))
    torch.testing.assert_close(geodesic_angle(turn, torch.eye(3).double()), shortest)
    back = rotation_between(source, -source)
    torch.testing.assert_close((back @ source[..., None])[..., 0], -source)
    torch.testing.assert_close(torch.linalg.det(back), torch.ones(50).double())
    torch.testing.assert_close(rotation_between(source, source), torch.eye(3).double().expand(50, 3, 3))


def test_skew__is_the_cross_product():
    a, b = torch.randn(2, 4, 3)
    torch.testing.assert_close((skew(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


def test_errors__say_what_was_expected():
    with pytest.raises(InputError, match="'ZXY'"):
        euler_to_matrix(torch.zeros(3), "Zxy")
    with pytest.raises(ShapeError, match=r"expected \(..., 3, 3\), got \(3, 4\)"):
        matrix_to_rotvec(torch.zeros(3, 4))
