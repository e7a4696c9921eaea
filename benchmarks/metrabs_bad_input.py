"""What MeTRAbs makes of wrong and unusual input: refused with a word, nobody, NaN, or read as what it is.

    python benchmarks/metrabs_bad_input.py --out FILE [--smoke]

Kinds of pictures, boxes, cameras and options times entry points: those of `PeopleModel`, the estimator on photos' files
and on observations, the networks themselves (`metrabs_wrong_people.py`, `metrabs_wrong_others.py`). The network that
poses is the shipped trunk and lifter under a head that has learned nothing: errors do not depend on weights.

Where a kind has a meaning - 16 bits, grey, transparent, no boxes - the result has to be that of the same picture in 8
bits and colour, within `TOLERANCE` (`right`); `least_difference_mm` says how far a joint moves if the channels are
exchanged, the picture mirrored or half as bright, so a wrong reading would be noticed. Where it has none, everything is
right but numbers without a word: an error of the family `MareyError` (`refused`), nobody (`empty`), NaN (`flagged`), a
warning (`told`). `untyped` counts other errors, `misshapen` results of other shapes, `silent` the rest.

Pictures of up to 150 million pixels are worked on: a process of its own measures how much memory one takes, beyond the
picture itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.core import MareyError
from measure import describe, write_json
from metrabs_wrong_others import network_cases, observation_cases, photo_cases
from metrabs_wrong_people import (
    SIDE,
    Case,
    Found,
    least_difference_mm,
    model,
    people_cases,
    scene,
    with_16_bits,
)

TOLERANCE = 1e-3
"""Metres by which joints may differ that are to be the same."""
HUGE = 12_000
"""Side of the large picture, pixels."""
OUTCOMES = ("refused", "right", "empty", "flagged", "told", "untyped", "misshapen", "silent")


def main() -> None:
    """Call, count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="a few cases, a smaller large picture: does it work?")
    parser.add_argument("--huge", nargs=2, metavar=("BITS", "SIDE"), type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.huge:
        print(json.dumps(memory(*options.huge)))
    elif options.out is None:
        parser.error("the following arguments are required: --out")
    else:
        write_json(options.out, measured(smoke=options.smoke))


def measured(*, smoke: bool) -> dict[str, object]:
    """All that is written."""
    with tempfile.TemporaryDirectory() as folder:
        every = list(cases(Path(folder)))[:: 16 if smoke else 1]
        found = {case.name: outcome(case) for case in every}
    kinds = Counter(kind for kind, _ in found.values())
    side = HUGE // 8 if smoke else HUGE
    huge = {f"{bits} bits": memory_apart(bits, side) for bits in (8, 16)}
    return {
        "cases": len(found),
        **{name: kinds[name] for name in OUTCOMES},
        "least_difference_mm": least_difference_mm(),
        "huge": huge,
        "huge_bytes_a_pixel": max(each["bytes_a_pixel"] for each in huge.values()),
        "entries": by_entry(found),
        "outcomes": {
            name: {"outcome": kind, "words": words}
            for name, (kind, words) in found.items()
            if kind not in ("refused", "right")
        },
        "meta": describe("torch", "numpy") | {"smoke": smoke},
    }


def by_entry(found: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Entry point -> outcome -> how often."""
    entries = dict.fromkeys(name.partition(",")[0] for name in found)
    return {
        entry: dict(Counter(kind for name, (kind, _) in found.items() if name.partition(",")[0] == entry))
        for entry in entries
    }


def cases(folder: Path) -> Iterator[Case]:
    """All of them; files are written to a folder."""
    yield from people_cases()
    yield from photo_cases(folder)
    yield from observation_cases()
    yield from network_cases()


def outcome(case: Case) -> tuple[str, str]:
    """What came of it, and the words."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = case.call()
        except MareyError as error:
            return "refused", f"{type(error).__name__}: {error}"[:300]
        except Exception as error:
            return "untyped", repr(error)[:300]
    words = "; ".join(word for word in (found.told, *(str(warning.message) for warning in warned)) if word)
    return judged(found, words, case), words[:300]


def judged(found: Found, words: str, case: Case) -> str:
    """One of `OUTCOMES`, of what came without an error."""
    if not found.shaped:
        return "misshapen"
    if case.like is not None:
        return "right" if same(found.joints, case.like()) else "silent"
    if not found.joints.numel():
        return "empty" if words else "silent"
    if found.joints.isnan().all():
        return "flagged"
    return "told" if words else "silent"


def same(found: Tensor, expected: Tensor) -> bool:
    """Whether these are the same poses."""
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=0, atol=TOLERANCE, equal_nan=True)


def memory_apart(bits: int, side: int) -> dict[str, float]:
    """`memory`, measured in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--huge", str(bits), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def memory(bits: int, side: int) -> dict[str, float]:
    """What it takes, beyond the picture, to find and to pose people in a picture of so many pixels."""
    small = scene().picture if bits == 8 else with_16_bits()
    model().detect_poses(small)
    tiles = -(-side // SIDE)
    picture = np.tile(small, (tiles, tiles, 1))[:side, :side]
    boxes = np.array([[0.0, 0, SIDE, SIDE], [side / 4, side / 4, side / 2, side / 2], [0, 0, side, side]])
    before = _peak()
    found = model().estimate_poses(picture, boxes)
    model().detect_poses(picture, num_aug=1, max_detections=4)
    taken = _peak() - before
    if not bool(found.poses3d.isfinite().all()) or len(found.indices) < len(boxes):
        raise RuntimeError(f"not everybody was posed: {found.dropped}")
    return {"megapixels": side**2 / 1e6, "bytes_a_pixel": taken / side**2}


def _peak() -> int:
    """Bytes, the most that the process has had in memory."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    main()
