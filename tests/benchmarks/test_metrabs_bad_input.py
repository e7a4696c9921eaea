"""The judge of wrong input: what it lets pass, and what it does not."""

import importlib
import sys
import warnings

import pytest
import torch

from house.source import ROOT
from marey.core import InputError

sys.path.insert(0, str(ROOT / "benchmarks"))
bad = importlib.import_module("metrabs_bad_input")

POSE = torch.ones(1, 2, 3)


def raises(error):
    raise error


def warns():
    warnings.warn("dim", stacklevel=1)
    return bad.Found(POSE)


@pytest.mark.parametrize(
    ("call", "like", "kind"),
    [
        (lambda: raises(InputError("boxes")), None, "refused"),
        (lambda: raises(ValueError("boxes")), None, "untyped"),
        (lambda: bad.Found(POSE), None, "silent"),
        (lambda: bad.Found(POSE, shaped=False), lambda: POSE, "misshapen"),
        (lambda: bad.Found(POSE, "dropped"), None, "told"),
        (warns, None, "told"),
        (lambda: bad.Found(POSE * torch.nan), None, "flagged"),
        (lambda: bad.Found(POSE[:0], "outside"), None, "empty"),
        (lambda: bad.Found(POSE[:0]), None, "silent"),
        (lambda: bad.Found(POSE + 0.0009), lambda: POSE, "right"),
        (lambda: bad.Found(POSE + 0.0011), lambda: POSE, "silent"),
        (lambda: bad.Found(POSE[:, :1], "dropped"), lambda: POSE, "silent"),
        (lambda: bad.Found(POSE * torch.nan), lambda: POSE, "silent"),
    ],
)
def test_outcome__of(call, like, kind):
    assert bad.outcome(bad.Case(name="", call=call, like=like))[0] == kind


@pytest.mark.slow
def test_cases__are_many_and_have_names_of_their_own(tmp_path):
    names = [case.name for case in bad.cases(tmp_path)]
    assert len(set(names)) == len(names) >= 800


def test_entries__count_outcomes():
    found = {"one, a": ("refused", ""), "one, b": ("refused", ""), "two, a": ("right", "")}
    assert bad.by_entry(found) == {"one": {"refused": 2}, "two": {"right": 1}}
