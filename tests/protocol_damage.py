"""What goes wrong with predictions and labels, done to the cases of every protocol, and what came of it."""

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from marey.core import MareyError
from marey.io.predictions import PoseRows
from marey.metrics.protocols import PROTOCOLS, Protocol, Scores
from protocol_cases import case, changed, renamed

NAMES_ROWS = re.compile(r"rows? \d|every row|\d+ rows|no rows|one entry for each of the \d+ rows|\(6,?|expected \(\d")
"""Words by which a message says which rows it means: numbers of some, or that it means the whole table."""


class Damage(NamedTuple):
    """One way to spoil a pair of tables."""

    name: str
    apply: Callable[[PoseRows, PoseRows], tuple[PoseRows, PoseRows]]


class Outcome(NamedTuple):
    """What a protocol made of it."""

    protocol: str
    damage: str
    kind: str
    """`refused`: a typed error that names the rows. `told`: scores whose notes or counts differ from those of whole
    tables. `unused`: the scores are the same, what was spoiled is not scored. All else is a finding: `untyped` error,
    `unnamed` rows, `nan` in the scores, `silent`: other scores and not a word."""
    words: str


FINE = ("refused", "told", "unused")


def _rows(rows: PoseRows, places) -> PoseRows:
    return rows[np.asarray(places)]


def _with(rows: PoseRows, key: str, place, value) -> PoseRows:
    """A copy with one array changed at a place."""
    array = rows.values[key].astype(np.float64)
    array[place] = value
    return changed(rows, **{key: array})


def _array_damages(side: int, rows: PoseRows) -> Iterator[Damage]:
    """NaN and infinity in every array of numbers, one that is too short, one of text, one that is gone."""
    what = ("predictions", "labels")[side]

    def spoiled(change):
        return lambda first, second: (change(first), second) if side == 0 else (first, change(second))

    for key, array in rows.values.items():
        if not array.size:
            continue
        if array.dtype.kind == "f":
            middle = (3, *(size // 2 for size in array.shape[1:]))
            for name, place, value in (
                ("nan in one value", middle, np.nan),
                ("nan in one row", 3, np.nan),
                ("nan everywhere", slice(None), np.nan),
                ("inf in one value", middle, np.inf),
            ):
                yield Damage(f"{what} {key}: {name}", spoiled(lambda r, k=key, p=place, v=value: _with(r, k, p, v)))
        if array.dtype.kind in "fiub":
            words = np.full(array.shape, "x")
            yield Damage(f"{what} {key}: text", spoiled(lambda r, k=key, w=words: changed(r, **{k: w})))
        yield Damage(f"{what} {key}: a row short", spoiled(lambda r, k=key, a=array: changed(r, **{k: a[:-1]})))
        yield Damage(
            f"{what} {key}: absent",
            spoiled(lambda r, k=key: _without(r, k)),
        )


def _without(rows: PoseRows, key: str) -> PoseRows:
    return PoseRows(
        joint_names=rows.joint_names,
        keypoint_names=rows.keypoint_names,
        sequence=rows.sequence,
        frame=rows.frame,
        person=rows.person,
        values={name: array for name, array in rows.values.items() if name != key},
    )


def _names_damages(side: int, rows: PoseRows) -> Iterator[Damage]:
    """Joints of other names, one too many or too few."""
    what = ("predictions", "labels")[side]
    for field in ("joint_names", "keypoint_names"):
        names = getattr(rows, field)
        if not names:
            continue
        other = {
            "all have other names": tuple(f"{name}_x" for name in names),
            "one has another name": tuple("tail" if name == "right_wrist" else name for name in names),
            "one name too few": names[:-1],
            "one name too many": (*names, "tail"),
        }
        for name, given in other.items():

            def apply(first, second, field=field, given=given):
                pair = [first, second]
                pair[side] = changed(pair[side], **{field: given})
                return tuple(pair)

            yield Damage(f"{what} {field}: {name}", apply)


def _row_damages() -> Iterator[Damage]:
    """Rows, frames and sequences that are missing, doubled, foreign; tables without rows; labels of another version."""
    every = range(6)
    cut = {"one row": [0, 1, 2, 4, 5], "a sequence": [0, 1, 2], "all rows": []}
    twice = {"one row": [*every, 2], "all rows": [*every, *every]}
    for what, rows in cut.items():
        places = np.array(rows, dtype=np.int64)
        yield Damage(f"predictions lack {what}", lambda found, truth, r=places: (_rows(found, r), truth))
        yield Damage(f"labels lack {what}", lambda found, truth, r=places: (found, _rows(truth, r)))
    for what, rows in twice.items():
        yield Damage(f"predictions have {what} twice", lambda found, truth, r=rows: (_rows(found, r), truth))
        yield Damage(f"labels have {what} twice", lambda found, truth, r=rows: (found, _rows(truth, r)))
    yield Damage("predictions of other frames", lambda found, truth: (changed(found, frame=found.frame + 100), truth))
    yield Damage("frames that are no integers", lambda found, truth: (_frames(found, found.frame + 0.5), truth))
    yield Damage(
        "predictions of other sequences", lambda found, truth: (renamed(found, np.char.upper(found.sequence)), truth)
    )
    yield Damage(
        "labels of another version",
        lambda found, truth: (changed(found, benchmark="b v1"), changed(truth, benchmark="b v2")),
    )


def _frames(rows: PoseRows, frame) -> PoseRows:
    return PoseRows(
        joint_names=rows.joint_names,
        keypoint_names=rows.keypoint_names,
        sequence=rows.sequence,
        frame=frame,
        person=rows.person,
        values=rows.values,
    )


def damages(name: str) -> list[Damage]:
    """Everything that can go wrong with the case of a protocol."""
    predictions, labels = case(name)
    return [
        *_row_damages(),
        *(found for side, rows in enumerate((predictions, labels)) for found in _names_damages(side, rows)),
        *(found for side, rows in enumerate((predictions, labels)) for found in _array_damages(side, rows)),
    ]


def outcome(name: str, damage: Damage, ruler: Protocol | None = None) -> Outcome:
    """Spoil the case of a protocol and see what comes of it; `ruler` scores in the protocol's place."""
    ruler = PROTOCOLS[name] if ruler is None else ruler
    try:
        scores = ruler.score(*damage.apply(*case(name)))
    except MareyError as error:
        return Outcome(name, damage.name, "refused" if NAMES_ROWS.search(str(error)) else "unnamed", str(error))
    except Exception as error:
        return Outcome(name, damage.name, "untyped", f"{type(error).__name__}: {error}")
    return Outcome(name, damage.name, _kind(_whole(name), scores), f"{scores.counts} {scores.notes}")


@cache
def _whole(name: str) -> Scores:
    return PROTOCOLS[name].score(*case(name))


def _kind(whole: Scores, scores: Scores) -> str:
    told = scores.notes != whole.notes or dict(scores.counts) != dict(whole.counts)
    groups = [value for group in scores.groups.values() for value in group.values()]
    if any(not math.isfinite(value) for value in (*scores.values.values(), *(() if told else groups))):
        return "nan"
    if told:
        return "told"
    same = scores.values.keys() == whole.values.keys() and all(
        math.isclose(value, whole.values[key], rel_tol=1e-9, abs_tol=1e-9) for key, value in scores.values.items()
    )
    return "unused" if same else "silent"


def outcomes(names=tuple(PROTOCOLS)) -> list[Outcome]:
    """Of all damages to the cases of these protocols."""
    return [outcome(name, damage) for name in names for damage in damages(name)]
