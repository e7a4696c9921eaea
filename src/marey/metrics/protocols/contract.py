"""What every protocol takes and gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from typing import Protocol as TypingProtocol

import numpy as np
import numpy.typing as npt

from marey.core import InputError
from marey.io.predictions import PoseRows

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ProtocolCard:
    """What a number means; two numbers compare only where these agree."""

    name: str
    source: str
    """The program whose numbers these equal, or the words that define them."""
    joints: str
    alignment: str
    averaging: str
    matching: str = "one prediction a label, by sequence, frame and person"
    thresholds: str = "none"
    units: str = "millimetres; shares in percent"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a protocol found."""

    card: ProtocolCard
    values: Mapping[str, float]
    """The numbers that are reported; always finite: what does not exist is absent, and `notes` say why."""
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By metric, then by action, sequence, scene; groups without rows are absent, NaN is a group without a match."""
    per_row: Mapping[str, Floats] = field(default_factory=dict)
    """(N,) by metric, in the order of the labels that were scored: what a bootstrap needs."""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bad := [name for name, value in self.values.items() if not math.isfinite(value)]:
            raise InputError(
                f"{self.card.name}: {', '.join(bad)} came out as no finite number, so some mean had nothing to "
                "average; see that predictions and labels are finite and every group has rows"
            )

    def asdict(self) -> dict[str, Any]:
        """What JSON can hold: all but the rows."""
        groups = {
            metric: {name: value if math.isfinite(value) else None for name, value in group.items()}
            for metric, group in self.groups.items()
        }
        return {
            "card": asdict(self.card),
            "values": dict(self.values),
            "groups": groups,
            "counts": dict(self.counts),
            "notes": list(self.notes),
        }


class Protocol(TypingProtocol):
    """A published way to turn predictions and labels into numbers."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions.

        Raises:
            InputError: rows are missing, doubled, not finite, or of other joints or labels; the message names them.
        """
