"""Vectors as three tensors, one a component: every operation runs along contiguous memory and fuses when compiled."""

from __future__ import annotations

import torch
from torch import Tensor

Vector = tuple[Tensor, Tensor, Tensor]
"""The components of a vector, (...) each."""

Columns = tuple[Vector, Vector, Vector]
"""The columns of a 3x3 matrix."""


def unit(vector: Vector, fallback: Vector) -> Vector:
    """The vector at unit length, or the fallback where it vanishes."""
    squared = dot(vector, vector)
    vanishes = squared <= torch.finfo(squared.dtype).eps ** 2
    return select(vanishes, fallback, scaled(vector, torch.where(vanishes, 1.0, squared).rsqrt()))


def without(vector: Vector, axis: Vector) -> Vector:
    """The part of the vector that is perpendicular to the unit vector `axis`."""
    return plus(vector, scaled(axis, -dot(vector, axis)))


def perpendicular(axis: Vector) -> Vector:
    """A unit vector perpendicular to a unit vector."""
    x, y, z = axis
    wide = x.abs() > y.abs()
    zero = torch.zeros_like(x)
    scale = torch.where(wide, torch.addcmul(x * x, z, z), torch.addcmul(y * y, z, z)).rsqrt()
    return scaled(select(wide, (-z, zero, x), (zero, z, -y)), scale)


def dot(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """The inner product."""
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])


def cross(a: Vector, b: Vector) -> Vector:
    """The cross product."""
    return (
        torch.addcmul(a[1] * b[2], a[2], b[1], value=-1),
        torch.addcmul(a[2] * b[0], a[0], b[2], value=-1),
        torch.addcmul(a[0] * b[1], a[1], b[0], value=-1),
    )


def plus(a: Vector, b: Vector) -> Vector:
    """The sum."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def opposite(vector: Vector) -> Vector:
    """The vector times -1."""
    return -vector[0], -vector[1], -vector[2]


def scaled(vector: Vector, factor: Tensor) -> Vector:
    """The vector times a number."""
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


def select(condition: Tensor, a: Vector, b: Vector) -> Vector:
    """`torch.where` of every component."""
    return torch.where(condition, a[0], b[0]), torch.where(condition, a[1], b[1]), torch.where(condition, a[2], b[2])


def combined(columns: Columns, vector: Vector) -> Vector:
    """The matrix times the vector."""
    a, b, c = columns
    x, y, z = vector
    return (
        torch.addcmul(torch.addcmul(a[0] * x, b[0], y), c[0], z),
        torch.addcmul(torch.addcmul(a[1] * x, b[1], y), c[1], z),
        torch.addcmul(torch.addcmul(a[2] * x, b[2], y), c[2], z),
    )
