"""What version 1 is made of, as committed: which samples, and the SHA-256 of every array of their labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from marey.core import FormatError
from marey.data.benchmark.cells import NAME, VERSION
from marey.data.benchmark.digests import Array, Digest, digest_of

HEAD = 16
"""Samples of every set that a quick check makes again."""
FILE = f"{NAME}_v{VERSION}.json"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Of one set of scenes."""

    count: int
    skipped: tuple[int, ...]
    """Indices that do not count, ascending; the samples are the first `count` others."""
    whole: Mapping[str, Digest]
    """By array."""
    head: Mapping[str, Digest]
    """Of the first `HEAD` samples."""

    @property
    def indices(self) -> list[int]:
        """Of the samples, ascending."""
        every = np.arange(self.count + len(self.skipped))
        chosen: list[int] = np.setdiff1d(every, self.skipped).tolist()
        return chosen

    def check(self, scenes: str, truth: Mapping[str, Array], *, head: bool = False) -> None:
        """See that labels are those of this version.

        Args:
            scenes: Name of the set, for the message.
            truth: The arrays of all samples.
            head: They are those of the first `HEAD` samples.

        Raises:
            FormatError: an array is absent or another.
        """
        expected = self.head if head else self.whole
        wrong = [name for name, digest in expected.items() if name not in truth or not digest.fits(name, truth[name])]
        if wrong:
            raise FormatError(
                f"labels of '{scenes}' are not those of {NAME} v{VERSION}: the SHA-256 of {', '.join(wrong)} is "
                "another; numbers measured on them do not compare. Remove the file to have it made again; if that "
                "fails too, this installation draws other captures: install the marey that measured, or a new version "
                "of the benchmark is due"
            )


def contents_of(indices: list[int], truth: Mapping[str, Array]) -> Contents:
    """Make the contents of a set from its samples and their labels."""
    skipped = np.setdiff1d(np.arange(indices[-1] + 1), indices)
    return Contents(
        count=len(indices),
        skipped=tuple(skipped.tolist()),
        whole={name: digest_of(name, array) for name, array in truth.items()},
        head={name: digest_of(name, array[:HEAD]) for name, array in truth.items()},
    )


@cache
def committed() -> Mapping[str, Contents]:
    """Those of this version, by the names of the sets."""
    return {name: _contents(entry) for name, entry in _document()["scenes"].items()}


def committed_mean_poses() -> Mapping[str, list[list[float]]]:
    """(17, 3) by tier, metres: see `marey.data.benchmark.mean_pose`."""
    poses: Mapping[str, list[list[float]]] = _document()["mean_poses"]
    return poses


def as_json(contents: Mapping[str, Contents], mean_poses: Mapping[str, list[list[float]]], *, seed: int) -> str:
    """What `committed` and `committed_mean_poses` read."""
    document = {
        "benchmark": NAME,
        "version": VERSION,
        "seed": seed,
        "mean_poses": mean_poses,
        "scenes": {name: asdict(entry) for name, entry in contents.items()},
    }
    return json.dumps(document, indent=1) + "\n"


@cache
def _document() -> dict[str, Any]:
    text = (resources.files("marey.data.benchmark") / FILE).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _contents(entry: dict[str, Any]) -> Contents:
    digests = {
        part: {name: Digest(**{**digest, "sums": tuple(digest["sums"])}) for name, digest in entry[part].items()}
        for part in ("whole", "head")
    }
    return Contents(count=entry["count"], skipped=tuple(entry["skipped"]), **digests)
