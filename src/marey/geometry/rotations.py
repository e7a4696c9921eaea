"""Rotations in the forms that files, models and solvers use.

Names say source and target. Matrices (..., 3, 3) act on columns from the left; rotation vectors (..., 3) are axis times
angle in radians; quaternions (..., 4) are x y z w, as in SciPy, glTF and roma, which does the conversions (Bregier,
"Deep regression on manifolds: a 3D rotation case study", 2021). It is imported on first use.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.small import any_perpendicular


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotation vectors (..., 3), radians, to matrices (..., 3, 3); differentiable at zero too."""
    import roma

    result: Tensor = roma.rotvec_to_rotmat(_checked(rotvec, 3))
    return result


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Matrices (..., 3, 3) to rotation vectors (..., 3) no longer than pi; differentiable below pi."""
    import roma

    result: Tensor = roma.rotmat_to_rotvec(_checked(matrix, 3, 3))
    return result


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Quaternions (..., 4) x y z w, of any length but zero, to matrices (..., 3, 3)."""
    import roma

    result: Tensor = roma.unitquat_to_rotmat(roma.quat_normalize(_checked(quaternion, 4)))
    return result


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Matrices (..., 3, 3) to unit quaternions (..., 4) x y z w; of the two signs, the one that roma finds."""
    import roma

    result: Tensor = roma.rotmat_to_unitquat(_checked(matrix, 3, 3))
    return result


def rotvec_to_quaternion(rotvec: Tensor) -> Tensor:
    """Rotation vectors (..., 3), radians, to unit quaternions (..., 4) x y z w."""
    import roma

    result: Tensor = roma.rotvec_to_unitquat(_checked(rotvec, 3))
    return result


def quaternion_to_rotvec(quaternion: Tensor) -> Tensor:
    """Quaternions (..., 4) x y z w, of any length but zero, to rotation vectors (..., 3) no longer than pi."""
    import roma

    result: Tensor = roma.unitquat_to_rotvec(roma.quat_normalize(_checked(quaternion, 4)))
    return result


def euler_to_matrix(angles: Tensor, order: str) -> Tensor:
    """Euler angles (..., 3), radians, to matrices (..., 3, 3).

    Args:
        angles: in the sequence of `order`.
        order: three axes; capitals turn about the moving axes ("ZXY": Z first, R = Rz Rx Ry), small letters about the
            fixed ones ("zxy": z first, R = Ry Rx Rz).

    Raises:
        InputError: `order` names no such sequence.
    """
    import roma

    result: Tensor = roma.euler_to_rotmat(_axes(order), _checked(angles, 3))
    return result


def matrix_to_euler(matrix: Tensor, order: str) -> Tensor:
    """Matrices (..., 3, 3) to Euler angles (..., 3), radians, in the sequence of `order` (see `euler_to_matrix`).

    At gimbal lock the last angle is 0.

    Raises:
        InputError: `order` names no such sequence.
    """
    import roma

    result: Tensor = roma.rotmat_to_euler(_axes(order), _checked(matrix, 3, 3))
    return result


def columns_to_matrix(columns: Tensor) -> Tensor:
    """The first two columns (..., 3, 2), not yet orthonormal, to matrices (..., 3, 3) by Gram and Schmidt.

    The six-dimensional representation of Zhou et al. 2019. Its six numbers come in two layouts: the two columns one
    after the other, `x.reshape(..., 2, 3).mT`, or interleaved, `x.reshape(..., 3, 2)`.
    """
    import roma

    result: Tensor = roma.special_gramschmidt(_checked(columns, 3, 2))
    return result


def matrix_to_columns(matrix: Tensor) -> Tensor:
    """The first two columns (..., 3, 2) of matrices (..., 3, 3), which `columns_to_matrix` completes."""
    return _checked(matrix, 3, 3)[..., :2]


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """The angle (...) in radians, 0..pi, of the rotation between two matrices (..., 3, 3); exact for small angles."""
    import roma

    result: Tensor = roma.rotmat_geodesic_distance(_checked(first, 3, 3), _checked(second, 3, 3))
    return result


def rotation_between(source: Tensor, target: Tensor) -> Tensor:
    """The shortest rotations (..., 3, 3) that turn unit vectors `source` (..., 3) onto `target` (..., 3).

    For opposite vectors one of the half turns.
    """
    middle = source + target
    source = source.expand_as(middle)
    length = middle.square().sum(-1, keepdim=True)
    opposite = length < torch.finfo(source.dtype).eps
    middle = torch.where(opposite, any_perpendicular(source), middle * torch.where(opposite, 1.0, length).rsqrt())
    # half the turn about the axis source x middle, as a quaternion: (source x middle, source . middle)
    return quaternion_to_matrix(
        torch.cat((torch.linalg.cross(source, middle), (source * middle).sum(-1, keepdim=True)), -1)
    )


def skew(vector: Tensor) -> Tensor:
    """The matrices (..., 3, 3) whose product with x is the cross product of `vector` (..., 3) and x."""
    x, y, z = _checked(vector, 3).unbind(-1)
    zero = torch.zeros_like(x)
    entries = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
    return entries.reshape(*vector.shape, 3)


def _axes(order: str) -> str:
    if len(order) == 3 and set(order.lower()) <= set("xyz") and (order.isupper() or order.islower()):
        return order
    raise InputError(f"order: expected three axes in one case, such as 'ZXY' (moving) or 'zxy' (fixed), got '{order}'")


def _checked(value: Tensor, *trailing: int) -> Tensor:
    if value.shape[-len(trailing) :] != trailing:
        raise ShapeError(f"expected (..., {', '.join(map(str, trailing))}), got {tuple(value.shape)}")
    return value
