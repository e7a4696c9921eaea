"""Where a map is high on the average: soft-argmax over pixels or voxels, with the spread that the map shows.

The expectation of integral pose regression (Sun et al., ECCV 2018): a map becomes a distribution, and the place is its
mean. The covariance of the same distribution comes with it at the cost of a second sum.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from marey.core.errors import InputError, ShapeError

Normalisation = Literal["softmax", "relu"]
"""How a map becomes weights: `softmax`, or its positive part divided by its sum."""


class Expectation(NamedTuple):
    """The mean place under a map, and the map as a distribution."""

    positions: Tensor
    """(..., D): x and y for pixels; x, y, z along the first, second and third axis for voxels."""
    distribution: Tensor
    """(..., *axes), sums to 1; of a map without a positive value under `relu`, zero."""


def soft_argmax_2d(maps: Tensor, *, normalisation: Normalisation = "softmax") -> Expectation:
    """Take the mean column and row of maps.

    Args:
        maps: (..., H, W).
        normalisation: see `Normalisation`. A map without a positive value has no mean under `relu`: NaN.

    Returns:
        Positions (..., 2) as x, y in pixels of the map, pixel centres at integers.
    """
    distribution = _distribution(maps, 2, normalisation, renormalise=True)
    rows, columns = distribution.sum(-1), distribution.sum(-2)
    positions = torch.stack((_mean_index(columns), _mean_index(rows)), dim=-1)
    return Expectation(_known(positions, rows.sum(-1)), distribution)


def soft_argmax_3d(
    volumes: Tensor,
    *,
    coordinates: Tensor | None = None,
    normalisation: Normalisation = "softmax",
    renormalise: bool = True,
) -> Expectation:
    """Take the mean place of volumes.

    Args:
        volumes: (..., J, X, Y, Z).
        coordinates: (..., X, Y, Z, 3) of the voxels, the same for all J; None: their indices.
        normalisation: see `Normalisation`.
        renormalise: divide by the sum under `relu`; Learnable Triangulation does not where coordinates are given.

    Returns:
        Positions (..., J, 3) in the units of the coordinates.

    Raises:
        ShapeError: the coordinates are of another grid.
    """
    distribution = _distribution(volumes, 3, normalisation, renormalise=renormalise)
    if coordinates is None:
        mass = distribution.sum((-3, -2, -1))
        axes = (distribution.sum((-2, -1)), distribution.sum((-3, -1)), distribution.sum((-3, -2)))
        return Expectation(_known(torch.stack([_mean_index(axis) for axis in axes], dim=-1), mass), distribution)
    if coordinates.shape[-1] != 3 or coordinates.shape[-4:-1] != volumes.shape[-3:]:
        raise ShapeError(
            f"coordinates: expected (..., {', '.join(map(str, volumes.shape[-3:]))}, 3), got {tuple(coordinates.shape)}"
        )
    places, center = _about_center(coordinates)
    mean, mass = _moments(distribution, places)
    if normalisation == "softmax":
        return Expectation(mean / mass + center, distribution)
    return Expectation(mean + mass * center, distribution)


def covariance_2d(expectation: Expectation) -> Tensor:
    """The covariance (..., 2, 2) of pixels under a map, in square pixels of the map."""
    _, distribution = expectation
    rows, columns = distribution.sum(-1), distribution.sum(-2)
    x, y = expectation.positions.unbind(-1)
    across, down = _offsets(columns, x), _offsets(rows, y)
    mixed = torch.einsum("...hw,...h,...w->...", distribution, down, across)
    xx, yy = (columns * across.square()).sum(-1), (rows * down.square()).sum(-1)
    return torch.stack((xx, mixed, mixed, yy), dim=-1).reshape(*xx.shape, 2, 2)


def covariance_3d(expectation: Expectation, coordinates: Tensor) -> Tensor:
    """The covariance (..., J, 3, 3) of voxels under volumes, in squared units of the coordinates (..., X, Y, Z, 3)."""
    places, _ = _about_center(coordinates)
    upper = [(i, j) for i in range(3) for j in range(i, 3)]
    products = torch.stack([places[..., i] * places[..., j] for i, j in upper], dim=-1)
    moments, mass = _moments(expectation.distribution, torch.cat((products, places), dim=-1))
    *seconds, x, y, z = _known(moments / mass, mass[..., 0]).unbind(-1)
    means = (x, y, z)
    entry = {(i, j): second - means[i] * means[j] for (i, j), second in zip(upper, seconds, strict=True)}
    rows = [entry[min(i, j), max(i, j)] for i in range(3) for j in range(3)]
    return torch.stack(rows, dim=-1).reshape(*expectation.positions.shape, 3)


def _about_center(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Places (..., N, 3) from their middle (..., 1, 3): moments about a near point subtract no large numbers."""
    places = coordinates.flatten(-4, -2)
    center = places.mean(-2, keepdim=True)
    return places - center, center


def _moments(distribution: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (..., J, C) of values (..., X Y Z, C) under volumes (..., J, X, Y, Z), and masses (..., J, 1).

    Slice by slice: products of matrices add one number after another, and lose four digits of single precision over
    the voxels of a whole volume.
    """
    slices = distribution.flatten(-2).transpose(-3, -2)
    columns = functional.pad(values, (0, 1), value=1.0).unflatten(-2, (slices.shape[-3], -1))  # type: ignore[no-untyped-call]
    sums = (slices @ columns).sum(-3)
    return sums[..., :-1], sums[..., -1:]


def _distribution(maps: Tensor, axes: int, normalisation: str, *, renormalise: bool) -> Tensor:
    flat = maps.flatten(-axes)
    if normalisation == "softmax":
        flat = flat.softmax(-1)
    elif normalisation == "relu":
        flat = functional.relu(flat)
        if renormalise:
            mass = flat.sum(-1, keepdim=True)
            flat = flat / torch.where(mass > 0, mass, 1.0)
    else:
        raise InputError(f"normalisation: expected softmax or relu, got '{normalisation}'")
    return flat.reshape(maps.shape)


def _mean_index(weights: Tensor) -> Tensor:
    return weights @ torch.arange(weights.shape[-1], dtype=weights.dtype, device=weights.device)


def _offsets(weights: Tensor, mean: Tensor) -> Tensor:
    return torch.arange(weights.shape[-1], dtype=weights.dtype, device=weights.device) - mean[..., None]


def _known(positions: Tensor, mass: Tensor) -> Tensor:
    """NaN where a map has no mass; the derivative of what has some is untouched."""
    return positions.masked_fill((mass == 0)[..., None], torch.nan)
