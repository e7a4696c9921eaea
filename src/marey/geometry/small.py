"""Closed-form linear algebra of 2x2 and 3x3 matrices, batched over any leading dimensions.

No `torch.linalg` decomposition: those neither export nor run fast for matrices this small. Symmetric arguments are read
from their lower triangle. Singular matrices give inf or NaN, never an error: batches hold missing data.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    detached = matrix.detach() / size
    apart, is_largest = _separate_vector(detached)
    u = any_perpendicular(apart)
    w = torch.linalg.cross(apart, u)
    image_u, image_w, image_apart = (_lower_product(detached, v) for v in (u, w, apart))
    low, high, cosine, sine = _eigh_2x2(_dot(u, image_u), _dot(w, image_u), _dot(w, image_w))
    top = cosine[..., None] * u + sine[..., None] * w
    bottom = sine[..., None] * u - cosine[..., None] * w
    alone = _dot(apart, image_apart)
    alone = torch.where(is_largest, torch.maximum(alone, high), torch.minimum(alone, low))
    last = is_largest[..., None]
    values = torch.where(last, torch.stack((low, high, alone), -1), torch.stack((alone, low, high), -1)) * size[..., 0]
    vectors = torch.where(last[..., None], torch.stack((bottom, top, apart), -1), torch.stack((apart, bottom, top), -1))
    return _with_derivative(matrix, values, vectors)


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
    scaled = matrix / _largest_entry(matrix.detach())
    rotation, determined = _kabsch(scaled.detach())
    twisted = rotation.transpose(-1, -2) @ scaled
    fixed = twisted.detach()
    trace = fixed.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    hessian = trace * torch.eye(3, dtype=matrix.dtype, device=matrix.device) - (fixed + fixed.transpose(-1, -2)) / 2
    # the eigenvalues of the hessian are the pairwise sums of singular values; its smallest tells how firm R is
    curvature = determinant_3x3(hessian)
    largest_pair = hessian.diagonal(dim1=-2, dim2=-1).sum(-1) / 2
    firm = curvature > torch.finfo(matrix.dtype).eps * largest_pair**3
    safe = torch.where(firm[..., None, None], hessian, torch.eye(3, dtype=matrix.dtype, device=matrix.device))
    skewed = twisted - twisted.transpose(-1, -2)
    gradient = torch.stack((skewed[..., 2, 1], skewed[..., 0, 2], skewed[..., 1, 0]), -1)
    turn = torch.where(firm[..., None], solve_3x3_symmetric(safe, gradient), 0.0)
    return rotation @ _cayley(turn), determined


def any_perpendicular(vector: Tensor) -> Tensor:
    """A unit vector perpendicular to each unit vector (..., 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    wide = x.abs() > y.abs()
    chosen = torch.where(wide[..., None], torch.stack((-z, zero, x), -1), torch.stack((zero, z, -y), -1))
    return chosen * chosen.square().sum(-1, keepdim=True).rsqrt()


def _kabsch(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The closest rotation to the accuracy that squaring the matrix leaves, and how well it is determined."""
    _, right = eigh_3x3(matrix.transpose(-1, -2) @ matrix)
    last, image, first = (matrix @ right).unbind(-1)
    u1 = _unit(first, right[..., 2])
    u2 = _unit(image - _dot(image, u1)[..., None] * u1, any_perpendicular(u1))
    u2 = _unit(u2 - _dot(u2, u1)[..., None] * u1, u2)
    # (v3, v2, v1) is a rotation, v3 = v2 x v1, so this third left vector makes the product one too
    u3 = torch.linalg.cross(u2, u1)
    left = torch.stack((u3, u2, u1), -1)
    largest = _dot(first, u1).clamp(min=torch.finfo(matrix.dtype).tiny)
    return left @ right.transpose(-1, -2), (_dot(image, u2) + _dot(last, u3)) / largest


def _unit(vector: Tensor, fallback: Tensor) -> Tensor:
    """The vector at unit length, or the fallback where it vanishes."""
    squared = vector.square().sum(-1, keepdim=True)
    vanishes = squared <= torch.finfo(vector.dtype).eps ** 2
    return torch.where(vanishes, fallback, vector * torch.where(vanishes, 1.0, squared).rsqrt())


def _largest_entry(matrix: Tensor) -> Tensor:
    """The largest magnitude in each matrix, (..., 1, 1), or 1 where all is zero: squares of the rest are safe."""
    largest = matrix.abs().amax((-1, -2), keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


def _cayley(turn: Tensor) -> Tensor:
    """The rotation of the quaternion (1, turn / 2), which is exp(turn) to the second order."""
    x, y, z = (turn / 2).unbind(-1)
    s = 2 / (1 + x * x + y * y + z * z)
    return _matrix(
        (
            (1 - s * (y * y + z * z), s * (x * y - z), s * (x * z + y)),
            (s * (x * y + z), 1 - s * (x * x + z * z), s * (y * z - x)),
            (s * (x * z - y), s * (y * z + x), 1 - s * (x * x + y * y)),
        )
    )


def _separate_vector(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvector (..., 3) of the eigenvalue farthest from the others, and whether that is the largest."""
    (a, _, _), (b, c, _), (d, e, f) = _entries(matrix)
    mean = (a + c + f) / 3
    a, c, f = a - mean, c - mean, f - mean
    spread = ((a * a + c * c + f * f + 2 * (b * b + d * d + e * e)) / 6).sqrt()
    scale = torch.where(spread > 0, spread, 1.0).reciprocal()
    a, b, c, d, e, f = (entry * scale for entry in (a, b, c, d, e, f))
    half = (a * (c * f - e * e) - b * (b * f - e * d) + d * (b * e - c * d)) / 2
    is_largest = half >= 0
    root = 2 * torch.cos(half.abs().clamp(max=1.0).acos() / 3)
    root = torch.where(is_largest, root, -root)
    rows = torch.stack((a - root, b, d), -1), torch.stack((b, c - root, e), -1), torch.stack((d, e, f - root), -1)
    pairs = ((0, 1), (0, 2), (1, 2))
    crosses = torch.stack([torch.linalg.cross(rows[i], rows[j]) for i, j in pairs], -2)
    lengths = crosses.square().sum(-1)
    place = lengths.argmax(-1, keepdim=True)
    longest = crosses.take_along_dim(place[..., None], -2)[..., 0, :]
    squared = lengths.take_along_dim(place, -1)
    axis = torch.eye(3, dtype=matrix.dtype, device=matrix.device)[0].expand_as(longest)
    # three equal eigenvalues: every vector is one
    return torch.where(spread[..., None] > 0, longest * squared.rsqrt(), axis), is_largest


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


def _cofactors(matrix: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """The cofactors xx yx zx yy zy zz of symmetric matrices, and the determinant."""
    (a, _, _), (b, c, _), (d, e, f) = _entries(matrix)
    xx, yx, zx = c * f - e * e, d * e - b * f, b * e - c * d
    cofactors = (xx, yx, zx, a * f - d * d, b * d - a * e, a * c - b * b)
    return cofactors, a * xx + b * yx + d * zx


def _lower_product(matrix: Tensor, vector: Tensor) -> Tensor:
    """A v for symmetric A, read from its lower triangle."""
    (a, _, _), (b, c, _), (d, e, f) = _entries(matrix)
    x, y, z = vector.unbind(-1)
    return torch.stack((a * x + b * y + d * z, b * x + c * y + e * z, d * x + e * y + f * z), -1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _entries(matrix: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    return tuple(row.unbind(-1) for row in matrix.unbind(-2))


def _matrix(rows: tuple[tuple[Tensor, ...], ...]) -> Tensor:
    """Entries (...) as matrices (..., rows, columns)."""
    flat = torch.stack([entry for row in rows for entry in row], -1)
    return flat.reshape(*flat.shape[:-1], len(rows), len(rows[0]))
