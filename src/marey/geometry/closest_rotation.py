"""The rotation closest to a 3x3 matrix by a formula without branches, for large batches of ordinary matrices.

Markley's FOAM ("Attitude determination from vector observations: a fast optimal matrix algorithm", 1993) writes it as a
cubic polynomial of the matrix; the one unknown is the largest root of a quartic. Sound where the answer is well
determined, and it says where that is: `marey.geometry.small.rotation_of_columns` does the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.geometry.components import Columns, Vector, combined, cross, dot, scaled

ITERATIONS = 9
"""Of Newton's method on the quartic. From above it converges quadratically wherever the answer may be trusted."""

CLEAR = 0.02
"""Least product of the sums of two singular values, of a matrix of norm 1, to trust the formula: it loses about the
reciprocal of this in rounding."""


def quick_rotation(matrix: Columns) -> tuple[Columns, Tensor]:
    """Find the rotation R with the largest trace(R^T M), and say whether it may be trusted.

    Args:
        matrix: the columns of M. No derivative passes.

    Returns:
        Rotations by their columns, to some ten times the rounding of the type where trusted (...). Elsewhere - two of
        the singular values, the last one signed by the determinant, nearly cancel, or the matrix holds zeros only or
        missing values - they are finite or NaN, and no answer.
    """
    a, b, c = (_constant(column) for column in matrix)
    inverse = (dot(a, a) + dot(b, b) + dot(c, c)).rsqrt()
    start, clear = _polynomial((scaled(a, inverse), scaled(b, inverse), scaled(c, inverse)))
    rotation, off = _orthonormal(start)
    return rotation, (off < torch.finfo(off.dtype).eps) & (clear > CLEAR)


def _polynomial(matrix: Columns) -> tuple[Columns, Tensor]:
    """The formula for a matrix of norm 1, and its denominator: the product of the sums of two singular values."""
    a, b, c = matrix
    cofactors = cross(b, c), cross(c, a), cross(a, b)
    determinant = dot(a, cofactors[0])
    squared = [dot(column, column) for column in cofactors]
    top = _largest_root(determinant, squared[0] + squared[1] + squared[2])
    kappa = (top * top - 1) / 2
    product = torch.addcmul(-determinant, kappa, top)
    inverse = product.reciprocal()
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = _gram(matrix)
    alone, less, beside = (kappa + 1) * inverse, -inverse, top * inverse
    ab, ac, bc = ab * less, ac * less, bc * less
    rows = (
        (torch.addcmul(alone, aa, less), ab, ac),
        (ab, torch.addcmul(alone, bb, less), bc),
        (ac, bc, torch.addcmul(alone, cc, less)),
    )
    first, second, third = (
        _plus_scaled(combined(matrix, row), cofactor, beside) for row, cofactor in zip(rows, cofactors, strict=True)
    )
    return (first, second, third), product


def _largest_root(determinant: Tensor, squared: Tensor) -> Tensor:
    """Of (t^2 - 1)^2 - 8 determinant t - 4 squared: the sum of the singular values, at most the root of three."""
    root = torch.full_like(determinant, 3.0**0.5)
    rest, slope, minus_one = -4 * squared, -8 * determinant, root.new_tensor(-1.0)
    for _ in range(ITERATIONS):
        excess = torch.addcmul(minus_one, root, root)
        value = torch.addcmul(torch.addcmul(rest, excess, excess), slope, root)
        root = torch.addcdiv(root, value, torch.addcmul(slope, root, excess, value=4), value=-1)
    return root


def _orthonormal(matrix: Columns) -> tuple[Columns, Tensor]:
    """One Newton-Schulz step, and how far off it was: the squared norm of X^T X - 1.

    An inexact root leaves the singular vectors of the polynomial as they are, so this is a step towards the answer.
    """
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = _gram(matrix)
    off = (aa - 1, bb - 1, cc - 1)
    ab, ac, bc = ab / -2, ac / -2, bc / -2
    rows = (1 - off[0] / 2, ab, ac), (ab, 1 - off[1] / 2, bc), (ac, bc, 1 - off[2] / 2)
    first, second, third = (combined(matrix, row) for row in rows)
    return (first, second, third), dot(off, off) + 8 * dot((ab, ac, bc), (ab, ac, bc))


def _plus_scaled(vector: Vector, other: Vector, factor: Tensor) -> Vector:
    return (
        torch.addcmul(vector[0], other[0], factor),
        torch.addcmul(vector[1], other[1], factor),
        torch.addcmul(vector[2], other[2], factor),
    )


def _gram(columns: Columns) -> Columns:
    """X^T X."""
    a, b, c = columns
    ab, ac, bc = dot(a, b), dot(a, c), dot(b, c)
    return (dot(a, a), ab, ac), (ab, dot(b, b), bc), (ac, bc, dot(c, c))


def _constant(vector: Vector) -> Vector:
    return vector[0].detach(), vector[1].detach(), vector[2].detach()
