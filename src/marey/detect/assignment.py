"""Exact assignment of the rows of a gain matrix to its columns, many small matrices at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def assign(gain: Tensor) -> Tensor:
    """Give every row at most one column, and every column to at most one row, so that the sum of gains is largest.

    A pair is made only where it gains: rows and columns may stay alone. Matrices whose rows want different columns
    are solved together by taking what each row wants; the others, one by one, by shortest augmenting paths.

    Args:
        gain: (..., N, M); not positive or NaN = never pair.

    Returns:
        (..., N) the column of each row, -1 for none.
    """
    rows, columns = gain.shape[-2:]
    if not rows or not columns:
        return torch.full(gain.shape[:-1], -1, dtype=torch.long, device=gain.device)
    useful = torch.where(gain > 0, gain, 0.0)
    best, wish = useful.max(-1)
    wish = torch.where(best > 0, wish, -1)
    claims = torch.zeros(*gain.shape[:-2], columns + 1, dtype=torch.long, device=gain.device)
    claims.scatter_add_(-1, wish + 1, torch.ones_like(wish))
    disputed = (claims[..., 1:] > 1).any(-1)
    if bool(disputed.any()):
        matrices = useful[disputed].detach().cpu().double().numpy()
        wish[disputed] = torch.from_numpy(np.stack([_best_pairs(matrix) for matrix in matrices])).to(wish)
    return wish


def _best_pairs(gain: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Solve one matrix of gains >= 0; (N,) columns, -1 where the row gains nothing."""
    rows, columns = gain.shape
    chosen = np.full(rows, -1, dtype=np.int64)
    if rows <= columns:
        owner = _shortest_augmenting_paths(-gain)
        taken = np.flatnonzero(owner >= 0)
        chosen[owner[taken]] = taken
    else:
        chosen = _shortest_augmenting_paths(-gain.T)
    alone = (chosen < 0) | (gain[np.arange(rows), chosen] <= 0)
    return np.where(alone, -1, chosen)


def _shortest_augmenting_paths(cost: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Row of each column, -1 for none, of the cheapest assignment of all N rows to M >= N columns.

    Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
    Computing 38 (1987), in the form of Crouse, IEEE Transactions on Aerospace and Electronic Systems 52 (2016).
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1, dtype=np.int64)
    for row in range(rows):
        shortest, previous = np.full(columns, np.inf), np.full(columns, -1, dtype=np.int64)
        reached = np.zeros(columns, dtype=bool)
        current, column, length = row, -1, 0.0
        while current >= 0:
            through = length + cost[current] - row_price[current] - column_price
            better = ~reached & (through < shortest)
            shortest[better], previous[better] = through[better], column
            column = int(np.where(reached, np.inf, shortest).argmin())
            length = shortest[column]
            reached[column] = True
            current = owner[column]
        passed = reached & (owner >= 0)
        row_price[row] += length
        row_price[owner[passed]] += length - shortest[passed]
        column_price[reached] -= length - shortest[reached]
        while column >= 0:
            before = previous[column]
            owner[column] = owner[before] if before >= 0 else row
            column = before
    return owner
