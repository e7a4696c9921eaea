"""Readers are given damaged files: they return or say what is wrong, and never anything else.

`MAREY_FUZZ_INPUTS` says how many in the slow test (`make test-slow FUZZ=1000000`).
"""

import os

import pytest

from fuzz.runner import run_target
from fuzz.targets import TARGETS, WRAPPED
from marey.cli.info import FORMATS

SLOW_INPUTS = int(os.environ.get("MAREY_FUZZ_INPUTS", "60000"))


def test_targets__every_reader_that_the_command_lists_has_one():
    listed = {entry.reader for entry in FORMATS if entry.reader}
    fuzzed = {f"{target.read.__module__}:{target.read.__name__}" for target in TARGETS} | set(WRAPPED)
    assert listed <= fuzzed


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_reader__a_hundred_damaged_files(target, tmp_path):
    ran, accepted, findings = run_target(target, inputs=100, seed=1, keep=tmp_path)
    assert (ran, findings) == (100, [])
    assert accepted < 100 or "openpose" in target.name.lower()  # a folder of which one file is damaged is still read


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_reader__many_damaged_files(target, tmp_path):
    inputs = -(-SLOW_INPUTS // len(TARGETS))
    ran, _, findings = run_target(target, inputs=inputs, seed=2, keep=tmp_path)
    assert (ran, findings) == (inputs, [])
