"""What the search for a board tells that a user has to know, whether or not a calibration comes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marey.calibrate.calibration import BoardObservations, Finding

NAMED = 5
"""Pictures that are named in a sentence."""
FULL_COUNTERS = (256, 512, 1000, 1024, 4096, 10000, 65536)
"""Numbers at which counters of pictures begin anew."""
AT_THE_END = 0.01
"""How near to that the highest number of a counter that began anew lies, relatively."""


def absent_finding(name: str, why: str) -> Finding:
    """A view that never shows the board; `why` is a clause."""
    return Finding(
        severity="notice",
        text=f"{name} never shows the board: {why}" + ("" if why.endswith("?") else "."),
        advice=f"Show it to {name} and another camera at the same time, or leave {name} out.",
    )


def mirrored_finding(name: str, mirrored: int, seen: int, *, everywhere: bool) -> Finding:
    """A view that sees the board in the mirror, in so many of the pictures that show it.

    Views that see it both ways contradict each other if one is wrong, which a calibration finds; where it is mirrored
    `everywhere`, nothing contradicts a world that is mirrored as a whole.
    """
    return Finding(
        severity="notice" if everywhere else "good",
        text=f"{name} sees the board mirrored in {mirrored} of the {seen} pictures that show it.",
        advice="That is right if the camera looks at the back of a board that carries the mirror image there; if the "
        "camera's software mirrors its pictures, turn that off or flip the pictures, else its place will be wrong.",
    )


def blank_finding(name: str, blank: Sequence[str], count: int) -> Finding:
    """Photographs of the board in which none was recognised; they are as many as `blank` of `count`."""
    more = ", ..." if len(blank) > NAMED else ""
    return Finding(
        severity="notice",
        text=f"{name}: no board was recognised in {len(blank)} of {count} pictures: {', '.join(blank[:NAMED])}{more}.",
        advice="Look whether the whole board is in them, flat, in focus, and with its white border.",
    )


def counter_finding(name: str, numbers: npt.NDArray[np.int64]) -> Finding | None:
    """Whether the ascending numbers of a view's pictures look like those of a counter that began anew on the way.

    Such numbers run from 0 or 1 up to some number, and then from another one to the end of the counter.
    """
    if len(numbers) < 3 or numbers[0] > 1:
        return None
    steps = np.diff(numbers)
    gap = int(steps.argmax())
    end = int(numbers[-1])
    full = any(0 <= top - 1 - end <= AT_THE_END * top for top in FULL_COUNTERS)
    if not full or steps[gap] <= 2 * max(1, int(np.median(steps))) or steps[gap] < 0.1 * end:
        return None
    return Finding(
        severity="notice",
        text=f"{name}: its pictures are numbered {numbers[0]} to {numbers[gap]} and {numbers[gap + 1]} to {end}, as "
        "by a counter that began anew; they were taken in the order of their numbers.",
        advice="Number the pictures on where the counter began anew, so that their numbers ascend as they were taken.",
    )


def what_else(observations: BoardObservations) -> str:
    """What is known about views that do not suffice for a calibration, in sentences; empty where that is nothing."""
    told = [f"{finding.text} {finding.advice}" for finding in observations.findings]
    for view, name in enumerate(observations.names):
        whys = [item.why for item in observations.rejected if item.view == view]
        if whys:
            shown = len(whys) + int(observations.seen[view].any(-1).sum())
            told.append(f"{name}: {len(whys)} of {shown} pictures of the board were left out, such as {whys[0]}.")
    return " ".join(told)
