"""synchronisation.json: how the clocks of the views of a recording are set against each other."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from marey.core.errors import FormatError
from marey.io.atomic import atomic_write_text
from marey.io.text import read_text_limited

RATES = (0.05, 20.0)
"""Common seconds that may pass in a second of a view's clock."""


def write_synchronisation(
    path: str | os.PathLike[str],
    views: Mapping[str, Mapping[str, float]],
    *,
    reference: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the clocks as JSON.

    Args:
        path: the file.
        views: of each view `offset_seconds` and `rate`, such that common time = rate * own time + offset; and more
            numbers, for people. What is not finite becomes null.
        reference: the view whose clock is the common time.
        notes: sentences.

    Raises:
        InputError: the file cannot be written.
    """
    clocks = {
        name: {key: number if math.isfinite(number) else None for key, number in view.items()}
        for name, view in views.items()
    }
    document = {"reference": reference, "views": clocks, "notes": list(notes)}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write_text(Path(path), text + "\n")


def read_synchronisation(path: str | os.PathLike[str]) -> dict[str, tuple[float, float]]:
    """Offset in seconds and rate of each view: common time = rate * own time + offset.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not one that `write_synchronisation` wrote, or an offset in it is not known.
    """
    text = read_text_limited(path)
    try:
        document = json.loads(text)
        views = {
            str(name): (float(view["offset_seconds"]), float(view["rate"])) for name, view in document["views"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"{path}: not a synchronisation.json of Marey ({error})") from error
    least, most = RATES
    for name, (offset, rate) in views.items():
        if not (math.isfinite(offset) and least < rate < most):
            raise FormatError(
                f"{path}: view {name}: expected a finite offset and a rate between {least:g} and {most:g}, got "
                f"{offset} and {rate}"
            )
    return views
