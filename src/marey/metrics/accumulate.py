"""Sums that merge exactly: over batches, processes and machines, in any order, to the last bit.

A `Total` holds the sum of its values as one integer, in units of 2^-1074, the spacing of the smallest double. Every
finite double is a multiple of it, and adding integers rounds nothing, so neither the split nor the order matters; only
`mean` rounds, once. A `Tally` holds a total for each combination of labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError, ShapeError

_UNIT = 1074
_STEP = 4
_SPLIT = 27
"""Mantissas of 53 bits go into two integers; shifted by less than `_STEP` bits, 2^32 of each fit into 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """A sum of values and their number; `total + total` merges, and `Total()` is nothing yet."""

    units: int = 0
    """The sum, in units of 2^-1074."""
    count: int = 0
    """How many values were known."""
    missing: int = 0
    """How many were NaN."""

    @classmethod
    def of(cls, values: Tensor) -> Total:
        """Sum the values of a tensor of any shape; NaN = missing.

        Raises:
            InputError: a value is infinite.
        """
        return _totals(values.reshape(1, -1))[0]

    def __add__(self, other: Total) -> Total:
        return Total(
            units=self.units + other.units, count=self.count + other.count, missing=self.missing + other.missing
        )

    @property
    def sum(self) -> float:
        """The sum, rounded once."""
        return float(Fraction(self.units, 1 << _UNIT))

    def mean(self, what: str = "the values") -> float:
        """The mean of the known values, rounded once.

        Raises:
            InputError: there were none; `what` names them in the message.
        """
        if not self.count:
            raise InputError(
                f"{what}: expected a known value, got {self.missing} missing ones and none that is known; leave an "
                "empty group out on purpose, with `Tally.known()`"
            )
        return float(Fraction(self.units, self.count << _UNIT))

    @property
    def known_share(self) -> float:
        """Share of the values that were known; 0 for nothing at all."""
        return self.count / max(1, self.count + self.missing)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Totals by labels: by action and subject, by sequence, by joint; `tally + tally` merges."""

    by: tuple[str, ...] = ()
    """What the labels are, such as ("subject", "action")."""
    totals: Mapping[tuple[str, ...], Total] = field(default_factory=dict)
    """For each combination of labels that occurred, in the order of `by`."""

    @classmethod
    def of(cls, values: Tensor, **labels: Sequence[str] | np.ndarray) -> Tally:
        """Sum values by the labels of their rows.

        Args:
            values: (B, ...); NaN = missing.
            labels: name -> B labels, one a row.

        Raises:
            ShapeError: there are not as many labels as rows.
            InputError: a value is infinite.
        """
        for name, given in labels.items():
            if values.ndim < 1 or len(given) != len(values):
                raise ShapeError(f"{name}: expected one label a row of {tuple(values.shape)}, got {len(given)}")
        if not labels:
            return cls(totals={(): Total.of(values)})
        rows = list(zip(*([str(label) for label in given] for given in labels.values()), strict=True))
        if not rows:
            return cls(by=tuple(labels))
        keys = sorted(set(rows))
        places = {key: place for place, key in enumerate(keys)}
        group = torch.tensor([places[row] for row in rows], device=values.device)
        found = _totals(values.reshape(len(values), -1), group, len(keys))
        return cls(by=tuple(labels), totals=dict(zip(keys, found, strict=True)))

    def __add__(self, other: Tally) -> Tally:
        if not self.totals or not other.totals:
            return self if self.totals else other
        if self.by != other.by:
            raise InputError(f"tallies: expected the same labels, got {self.by} and {other.by}")
        keys = sorted({*self.totals, *other.totals})
        nothing = Total()
        merged = {key: self.totals.get(key, nothing) + other.totals.get(key, nothing) for key in keys}
        return Tally(by=self.by, totals=merged)

    def over(self, *names: str) -> Tally:
        """Merge all labels but these: `over("action")` of a tally by subject and action.

        Raises:
            InputError: there is no such label.
        """
        if unknown := [name for name in names if name not in self.by]:
            raise InputError(f"labels: expected some of {', '.join(self.by) or 'none'}, got {', '.join(unknown)}")
        places = [self.by.index(name) for name in names]
        merged: dict[tuple[str, ...], Total] = {}
        for key, total in self.totals.items():
            short = tuple(key[place] for place in places)
            merged[short] = merged.get(short, Total()) + total
        return Tally(by=names, totals=dict(sorted(merged.items())))

    def known(self) -> Tally:
        """Without the groups in which no value was known."""
        return Tally(by=self.by, totals={key: total for key, total in self.totals.items() if total.count})

    def total(self) -> Total:
        """Everything together."""
        return merged(self.totals.values())

    def means(self) -> dict[tuple[str, ...], float]:
        """The mean of every group.

        Raises:
            InputError: a group has no known value; it is named.
        """
        return {key: total.mean(self._name(key)) for key, total in self.totals.items()}

    def mean(self) -> float:
        """The mean over all values: groups count by their size.

        Raises:
            InputError: no value is known.
        """
        return self.total().mean()

    def mean_of_means(self) -> float:
        """The mean over groups of their means: every group counts alike.

        Raises:
            InputError: there are no groups, or one has no known value.
        """
        return Total.of(torch.tensor(list(self.means().values()), dtype=torch.float64)).mean("groups")

    def to_json(self) -> str:
        """As text, exactly; `from_json` reads it."""
        rows = [[*key, hex(total.units), total.count, total.missing] for key, total in self.totals.items()]
        return json.dumps({"by": list(self.by), "totals": rows})

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Read what `to_json` wrote.

        Raises:
            InputError: the text is something else.
        """
        try:
            read = json.loads(text)
            by = tuple(read["by"])
            totals = {
                tuple(key): Total(units=int(units, 16), count=count, missing=missing)
                for *key, units, count, missing in read["totals"]
            }
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"tally: expected what Tally.to_json wrote, got {text[:60]!r}") from error
        if any(len(key) != len(by) for key in totals):
            raise InputError(f"tally: expected {len(by)} labels a group, got others in {text[:60]!r}")
        return cls(by=by, totals=totals)

    def _name(self, key: tuple[str, ...]) -> str:
        return ", ".join(f"{name} {label}" for name, label in zip(self.by, key, strict=True)) or "the values"


def merged(totals: Iterable[Total]) -> Total:
    """The sum of totals."""
    together = Total()
    for total in totals:
        together = together + total
    return together


def gathered(tally: Tally) -> Tally:
    """Merge the tallies of all processes of the default group of `torch.distributed`; every process gets the whole.

    Every process must call it, also one that counted nothing. Without a group it is the tally itself.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tally
    texts: list[str] = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(texts, tally.to_json())
    whole = Tally()
    for text in texts:
        whole = whole + Tally.from_json(text)
    return whole


def _totals(values: Tensor, group: Tensor | None = None, groups: int = 1) -> list[Total]:
    """Exact sums of rows (B, K), by the group (B) of each."""
    rows = values.detach().double()
    if (bad := rows.isinf()).any():
        raise InputError(f"values: expected finite ones, got {int(bad.sum())} infinite, the first in row {_first(bad)}")
    if group is None:
        group = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    known = ~rows.isnan()
    counts, gaps = (torch.bincount(group, mask.sum(-1), groups).tolist() for mask in (known, ~known))
    units = [0] * groups
    for bins, shift in _binned(torch.where(known, rows, 0.0), group, groups):
        for place, parts in enumerate(bins.tolist()):
            units[place] += sum(part << (_STEP * index + shift) for index, part in enumerate(parts) if part)
    return [Total(units=u, count=int(n), missing=int(m)) for u, n, m in zip(units, counts, gaps, strict=True)]


def _binned(rows: Tensor, group: Tensor, groups: int) -> Iterator[tuple[Tensor, int]]:
    """Integers (G, bins) and the shift of the first bin, in units of 2^-1074: the upper and the lower halves."""
    mantissa, exponent = torch.frexp(rows)
    whole = (mantissa * 2.0**53).to(torch.int64)
    # a double is whole * 2^(exponent - 53); below the normal ones the mantissa ends in zeros
    power = exponent.long() + (_UNIT - 53)
    whole = torch.where(power < 0, whole >> (-power).clamp(0, 63), whole)
    power = power.clamp_min(0)
    lowest = int(power.amin()) // _STEP if power.numel() else 0
    place, shift = power // _STEP - lowest, power % _STEP
    count = int(place.amax()) + 1 if place.numel() else 1
    index = (group[:, None] * count + place).flatten()
    upper = whole >> _SPLIT
    for part, extra in ((upper, _SPLIT), (whole - (upper << _SPLIT), 0)):
        bins = torch.zeros(groups * count, dtype=torch.int64, device=rows.device)
        bins.index_add_(0, index, (part << shift).flatten())
        yield bins.reshape(groups, count), _STEP * lowest + extra


def _first(bad: Tensor) -> int:
    return int(bad.flatten(1).any(-1).nonzero()[0])
