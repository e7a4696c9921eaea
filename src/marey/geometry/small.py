"""Closed-form linear algebra of 2x2 and 3x3 matrices, batched over any leading dimensions.

No `torch.linalg` decomposition: those neither export nor run fast for matrices this small. Symmetric arguments are read
from their lower triangle. Singular matrices give inf or NaN, never an error: batches hold missing data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.geometry.components import (
    Columns,
    Vector,
    combined,
    cross,
    dot,
    perpendicular,
    plus,
    scaled,
    select,
    unit,
    without,
)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Invert matrices (..., 2, 2)."""
    (a, b), (c, d) = _entries(matrix)
    adjugate = _matrix(((d, -b), (-c, a)))
    return adjugate / (a * d - b * c)[..., None, None]


def cholesky_2x2(matrix: Tensor) -> Tensor:
    """Factor symmetric positive definite matrices (..., 2, 2) into L L^T and return the lower triangular L."""
    (a, _), (b, c) = _entries(matrix)
    first = a.sqrt()
    below = b / first
    return _matrix(((first, torch.zeros_like(first)), (below, (c - below * below).sqrt())))


def determinant_3x3(matrix: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., 3, 3)."""
    (a, b, c), (d, e, f), (g, h, i) = _entries(matrix)
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def inverse_3x3_symmetric(matrix: Tensor) -> Tensor:
    """Invert symmetric matrices (..., 3, 3) by cofactors: relative error about condition number times rounding."""
    (xx, yx, zx, yy, zy, zz), determinant = _cofactors(matrix)
    adjugate = _matrix(((xx, yx, zx), (yx, yy, zy), (zx, zy, zz)))
    return adjugate / determinant[..., None, None]


def solve_3x3_symmetric(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve A x = b for symmetric A (..., 3, 3) and b (..., 3) by cofactors."""
    (xx, yx, zx, yy, zy, zz), determinant = _cofactors(matrix)
    x, y, z = right.unbind(-1)
    rows = (xx * x + yx * y + zx * z, yx * x + yy * y + zy * z, zx * x + zy * y + zz * z)
    return torch.stack(rows, -1) / determinant[..., None]


def eigh_2x2(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose symmetric matrices (..., 2, 2).

    Returns:
        Eigenvalues (..., 2) in ascending order and eigenvectors (..., 2, 2) in columns, a rotation. Once
        differentiable; what equal eigenvalues leave undetermined has the gradient zero.
    """
    (a, _), (b, c) = _entries(matrix.detach())
    low, high, cosine, sine = _eigh_2x2(a, b, c)
    values = torch.stack((low, high), -1)
    vectors = _matrix(((sine, cosine), (-cosine, sine)))
    return _with_derivative(matrix, values, vectors)


def eigh_3x3(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose symmetric matrices (..., 3, 3).

    The trigonometric solution of the characteristic equation gives the eigenvalue that lies apart; its vector leaves a
    2x2 problem for the other two, which stays exact when these coincide (Eberly, "A robust eigensolver for 3x3
    symmetric matrices", with the deflation in place of the two remaining roots).

    Returns:
        Eigenvalues (..., 3) in ascending order and eigenvectors (..., 3, 3) in columns, a rotation. Once
        differentiable; what equal eigenvalues leave undetermined has the gradient zero.
    """
    size = _largest_entry(matrix.detach())
    (a, _, _), (b, c, _), (d, e, f) = _entries(matrix.detach() / size)
    values, vectors = _eigh_3x3((a, b, c, d, e, f))
    return _with_derivative(matrix, torch.stack(values, -1) * size[..., 0], _from_columns(vectors))


def rotation_from_correlation(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Find the rotation R closest to each matrix M (..., 3, 3): the largest trace(R^T M), never a reflection.

    The two leading right singular vectors come from the closed-form eigenvectors of M^T M and their images complete the
    rotation by a cross product; one step of Newton's method on the rotation group removes the error of squaring and
    carries the derivative (implicit function theorem).

    Returns:
        Rotations (..., 3, 3) and how well each is determined (...): the sum of the two smallest singular values, the
        last one signed, over the largest. Near 0 a whole circle of rotations is as close, and the gradient is zero.
        Once differentiable.
    """
    rotation, determined = rotation_of_columns(_columns(matrix))
    return _from_columns(rotation), determined


def rotation_of_columns(matrix: Columns) -> tuple[Columns, Tensor]:
    """`rotation_from_correlation` of a matrix given and returned by its columns."""
    size = torch.stack([entry.detach().abs() for column in matrix for entry in column]).amax(0)
    inverse = torch.where(size > 0, size, 1.0).reciprocal()
    first, second, third = (scaled(column, inverse) for column in matrix)
    right = _right_vectors((first, second, third))
    images = tuple(combined((first, second, third), vector) for vector in right)
    left = _left_vectors(images[0], images[1], right[0])
    # S = U^T M V is diagonal but for what squaring lost; the optimum U exp([w]) V^T makes it symmetric
    s = [[dot(u, image) for image in images] for u in left]
    pairs = ((1, 2), (2, 0), (0, 1))
    floor = 4 * torch.finfo(size.dtype).eps * s[0][0].detach()
    turn = tuple(_ratio(s[j][i] - s[i][j], (s[i][i] + s[j][j]).detach(), floor) for i, j in pairs)
    x, y, z = turn
    turned = _cayley((x, y, z))
    u1, u2, u3 = (combined(left, column) for column in turned)
    rows = [(u1[i], u2[i], u3[i]) for i in range(3)]  # of U exp([w])
    across = [tuple(vector[i] for vector in right) for i in range(3)]  # rows of V
    c1, c2, c3 = ((dot(rows[0], v), dot(rows[1], v), dot(rows[2], v)) for v in across)
    largest = s[0][0].detach().clamp(min=torch.finfo(size.dtype).tiny)
    return (c1, c2, c3), (s[1][1] + s[2][2]).detach() / largest


def any_perpendicular(vector: Tensor) -> Tensor:
    """A unit vector perpendicular to each unit vector (..., 3)."""
    x, y, z = vector.unbind(-1)
    return torch.stack(perpendicular((x, y, z)), -1)


def _right_vectors(matrix: Columns) -> Columns:
    """The right singular vectors, the leading one first, to the accuracy that squaring the matrix leaves."""
    first, second, third = (_constant(column) for column in matrix)
    gram = (
        dot(first, first),
        dot(second, first),
        dot(second, second),
        dot(third, first),
        dot(third, second),
        dot(third, third),
    )
    _, (v3, v2, v1) = _eigh_3x3(gram)
    return v1, v2, v3


def _left_vectors(first: Vector, second: Vector, fallback: Vector) -> Columns:
    """Orthonormal vectors along the images of the leading right vectors, as right-handed as (v1, v2, v3) are."""
    u1 = unit(_constant(first), fallback)
    u2 = unit(without(_constant(second), u1), perpendicular(u1))
    u2 = unit(without(u2, u1), u2)
    return u1, u2, cross(u2, u1)  # (v3, v2, v1) is a rotation: v3 = v2 x v1


def _eigh_3x3(matrix: tuple[Tensor, ...]) -> tuple[Vector, Columns]:
    """Ascending eigenvalues and right-handed eigenvectors of the lower triangle a, b c, d e f."""
    a, b, c, d, e, f = matrix
    apart, is_largest = _separate_vector(matrix)
    u = perpendicular(apart)
    w = cross(apart, u)
    rows = ((a, b, d), (b, c, e), (d, e, f))
    image_u, image_w, image_apart = ((dot(rows[0], v), dot(rows[1], v), dot(rows[2], v)) for v in (u, w, apart))
    low, high, cosine, sine = _eigh_2x2(dot(u, image_u), dot(w, image_u), dot(w, image_w))
    top = plus(scaled(u, cosine), scaled(w, sine))
    bottom = plus(scaled(u, sine), scaled(w, -cosine))
    alone = dot(apart, image_apart)
    values = (
        torch.where(is_largest, low, torch.minimum(alone, low)),
        torch.where(is_largest, high, low),
        torch.where(is_largest, torch.maximum(alone, high), high),
    )
    vectors = (
        select(is_largest, bottom, apart),
        select(is_largest, top, bottom),
        select(is_largest, apart, top),
    )
    return values, vectors


def _separate_vector(matrix: tuple[Tensor, ...]) -> tuple[Vector, Tensor]:
    """The eigenvector of the eigenvalue farthest from the others, and whether that is the largest."""
    a, b, c, d, e, f = matrix
    mean = (a + c + f) / 3
    a, c, f = a - mean, c - mean, f - mean
    spread = ((dot((a, c, f), (a, c, f)) + 2 * dot((b, d, e), (b, d, e))) / 6).sqrt()
    varied = spread > 0
    scale = torch.where(varied, spread, 1.0).reciprocal()
    a, b, c, d, e, f = (entry * scale for entry in (a, b, c, d, e, f))
    half = (a * (c * f - e * e) - b * (b * f - e * d) + d * (b * e - c * d)) / 2
    is_largest = half >= 0
    root = 2 * torch.cos(half.abs().clamp(max=1.0).acos() / 3)
    root = torch.where(is_largest, root, -root)
    rows = (a - root, b, d), (b, c - root, e), (d, e, f - root)
    longest = cross(rows[0], rows[1])
    length = dot(longest, longest)
    for i, j in ((0, 2), (1, 2)):
        other = cross(rows[i], rows[j])
        squared = dot(other, other)
        longest = select(squared > length, other, longest)
        length = torch.maximum(squared, length)
    inverse = torch.where(varied, length, 1.0).rsqrt()
    x, y, z = scaled(longest, inverse)
    # three equal eigenvalues: every vector is one
    return (torch.where(varied, x, 1.0), torch.where(varied, y, 0.0), torch.where(varied, z, 0.0)), is_largest


def _eigh_2x2(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of [[a, b], [b, c]]: the smaller and the larger eigenvalue, and the vector (cosine, sine) of the larger."""
    mean, half = (a + c) / 2, (a - c) / 2
    radius = torch.hypot(half, b)
    angle = torch.atan2(b, half) / 2
    return mean - radius, mean + radius, angle.cos(), angle.sin()


def _with_derivative(matrix: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Attach the first-order change of a decomposition to the graph of its matrix; the values stay as they are."""
    if not (torch.is_grad_enabled() and matrix.requires_grad):
        return values, vectors
    symmetric = matrix.tril() + matrix.tril(-1).transpose(-1, -2)
    change = vectors.transpose(-1, -2) @ (symmetric - symmetric.detach()) @ vectors
    gaps = values[..., None, :] - values[..., :, None]
    noise = 4 * torch.finfo(values.dtype).eps * values.abs().amax(-1)[..., None, None]
    rates = torch.where(gaps.abs() > noise, gaps.reciprocal(), 0.0)
    return values + change.diagonal(dim1=-2, dim2=-1), vectors + vectors @ (rates * change)


def _cayley(turn: Vector) -> Columns:
    """The rotation of the quaternion (1, turn / 2), which is exp([turn]) to the second order."""
    x, y, z = (component / 2 for component in turn)
    xx, yy, zz = x * x, y * y, z * z
    s = 2 / (1 + xx + yy + zz)
    sx, sy = s * x, s * y
    xy, xz, yz, tx, ty, tz = sx * y, sx * z, sy * z, sx, sy, s * z
    return (
        (1 - s * (yy + zz), xy + tz, xz - ty),
        (xy - tz, 1 - s * (xx + zz), yz + tx),
        (xz + ty, yz - tx, 1 - s * (xx + yy)),
    )


def _constant(vector: Vector) -> Vector:
    return vector[0].detach(), vector[1].detach(), vector[2].detach()


def _ratio(above: Tensor, below: Tensor, floor: Tensor) -> Tensor:
    """The quotient, and zero where the latter is not clear of its rounding."""
    firm = below > floor
    return torch.where(firm, above / torch.where(firm, below, 1.0), 0.0)


def _largest_entry(matrix: Tensor) -> Tensor:
    """The largest magnitude in each matrix, (..., 1, 1), or 1 where all is zero: squares of the rest are safe."""
    largest = matrix.abs().amax((-1, -2), keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


def _cofactors(matrix: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """The cofactors xx yx zx yy zy zz of symmetric matrices, and the determinant."""
    (a, _, _), (b, c, _), (d, e, f) = _entries(matrix)
    xx, yx, zx = c * f - e * e, d * e - b * f, b * e - c * d
    cofactors = (xx, yx, zx, a * f - d * d, b * d - a * e, a * c - b * b)
    return cofactors, a * xx + b * yx + d * zx


def _columns(matrix: Tensor) -> Columns:
    first, second, third = (column.unbind(-1) for column in matrix.unbind(-1))
    return (first[0], first[1], first[2]), (second[0], second[1], second[2]), (third[0], third[1], third[2])


def _from_columns(columns: Columns) -> Tensor:
    """Columns as matrices (..., 3, 3)."""
    return _matrix(tuple(zip(*columns, strict=True)))


def _entries(matrix: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    return tuple(row.unbind(-1) for row in matrix.unbind(-2))


def _matrix(rows: tuple[tuple[Tensor, ...], ...]) -> Tensor:
    """Entries (...) as matrices (..., rows, columns)."""
    flat = torch.stack([entry for row in rows for entry in row], -1)
    return flat.reshape(*flat.shape[:-1], len(rows), len(rows[0]))
