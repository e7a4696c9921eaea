"""Every protocol against everything that can be wrong with predictions and labels."""

import dataclasses
import math

import numpy as np
import pytest

from marey.core import InputError
from marey.metrics.protocols import PROTOCOLS, Scores
from protocol_damage import FINE, Damage, damages, outcome


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__whatever_is_wrong__is_refused_by_rows_or_told(name):
    found = [outcome(name, damage) for damage in damages(name)]
    assert len(found) > 25
    bad = [entry for entry in found if entry.kind not in FINE]
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__what_is_never_right__is_refused_by_every_protocol(name):
    kinds = {damage.name: outcome(name, damage).kind for damage in damages(name)}
    never = (
        "predictions have one row twice",
        "labels have one row twice",
        "predictions lack all rows",
        "labels lack all rows",
        "labels lack one row",
        "labels lack a sequence",
        "predictions of other frames",
        "frames that are no integers",
        "predictions of other sequences",
        "labels of another version",
    )
    assert {kinds[name] for name in never} == {"refused"}


class Ruler:
    """Scores as the protocol does, then spoils what it found: what the checks above must notice."""

    def __init__(self, change):
        self.change, self.card = change, PROTOCOLS["h36m"].card

    def score(self, predictions, labels):
        return self.change(PROTOCOLS["h36m"].score(predictions, labels))


def _raises(error):
    def change(scores):
        raise error

    return change


def _silently_other(scores):
    return dataclasses.replace(scores, values={**scores.values, "mpjpe_mm": 1.0})


def _with_a_nan(scores):
    return dataclasses.replace(scores, groups={"mpjpe_mm/action": {"Eating": math.nan}})


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_raises(ValueError("rows 1")), "untyped"),
        (_raises(InputError("something is wrong")), "unnamed"),
        (_raises(InputError("rows 1 (a frame 1)")), "refused"),
        (_silently_other, "silent"),
        (_with_a_nan, "nan"),
        (lambda scores: scores, "unused"),
        (lambda scores: dataclasses.replace(scores, notes=("one is missing",)), "told"),
    ],
)
def test_outcome__tells_silence_from_a_refusal(change, kind):
    nothing = Damage("nothing", lambda predictions, labels: (predictions, labels))
    assert outcome("h36m", nothing, Ruler(change)).kind == kind


def test_score__a_group_whose_rows_are_all_gone__is_no_silent_nan():
    """An action that only the rows left out had is absent from the groups; it is not a mean of nothing."""
    predictions, labels = (rows[np.array([1, 4])] for rows in _h36m())  # Greeting-2 of S11 and of S9, which is left out
    scores = PROTOCOLS["h36m-valid"].score(predictions, labels)
    assert isinstance(scores, Scores)
    assert all(math.isfinite(value) for group in scores.groups.values() for value in group.values())
    assert scores.counts == {"rows": 1, "left_out": 1}
    with pytest.raises(InputError, match=r"none of rows 0 to 0 is scored"):
        PROTOCOLS["h36m-valid"].score(predictions[np.array([1])], labels[np.array([1])])


def _h36m():
    from protocol_cases import case

    return case("h36m-valid")
