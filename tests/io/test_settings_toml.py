"""Settings as TOML: what is written, what a file changes, and which words are refused."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from marey.core import FormatError, InputError
from marey.io.settings_toml import assigned, changed, plain_settings, read_toml, toml_text


@dataclass(frozen=True, kw_only=True)
class Round:
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ManyCornered:
    corners: int


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Thing:
    count: int = 3
    rate: float = 1e-5
    exact: bool = False
    colour: Literal["red", "blue"] = "red"
    folder: Path | None = None
    limit: float | None = 2.0
    pair: tuple[int, float] = (1, 0.5)
    parts: tuple[Part, ...] = ()
    shape: Round | ManyCornered = field(default_factory=Round)
    single: Part | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        if self.count < 0:
            raise InputError(f"count: expected 0 or more, got {self.count}")


TEXT = """\
count = 3
rate = 1e-05
exact = false
colour = "red"
folder = "none"
limit = "none"
pair = [1, 0.5]
parts = [{name = "a \\"b\\"", weight = "none"}]
single = "none"
weights = {}

[shape]
kind = "many-cornered"
corners = 6
"""


def test_toml_text__is_what_toml_says():
    thing = Thing(limit=None, parts=(Part(name='a "b"'),), shape=ManyCornered(corners=6))
    assert toml_text(plain_settings(thing)) == TEXT


@pytest.mark.parametrize(
    "thing",
    [
        Thing(limit=None, parts=(Part(name='a "b"\x7f\n'),), shape=ManyCornered(corners=6)),
        Thing(rate=float("inf"), single=Part(name="ü", weight=1), weights={"a.b": 0.1, "c": 1e22}, folder=Path("x/y")),
    ],
)
def test_toml__there_and_back_by_pythons_reader(thing):
    assert changed(Thing(), tomllib.loads(toml_text(plain_settings(thing))), where="here") == thing


def test_changed__what_is_not_named_stays():
    base = Thing(count=7, shape=ManyCornered(corners=3))
    assert changed(base, {"shape": {"corners": 4}}, where="") == Thing(count=7, shape=ManyCornered(corners=4))
    assert changed(base, {"shape": {"kind": "round"}}, where="") == Thing(count=7, shape=Round())
    assert changed(base, {"rate": 2}, where="").rate == 2.0
    assert changed(base, {}, where="") == base


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, "f: unknown setting 'cuont'; did you mean 'count'?"),
        ({"zzz": 1}, "f: unknown setting 'zzz'; there are: count, rate"),
        ({"count": 1.5}, "f: count: expected int, got 1.5"),
        ({"count": True}, "f: count: expected int, got True"),
        ({"count": "none"}, "f: count: expected int, got 'none'"),
        ({"count": -1}, "f: count: expected 0 or more, got -1"),
        ({"exact": 1}, "f: exact: expected bool, got 1"),
        ({"colour": "green"}, "f: colour: expected one of red, blue, got 'green'"),
        ({"colour": ["red"]}, "f: colour: expected one of red, blue"),
        ({"pair": [1]}, "f: pair: expected 2 values, got 1"),
        ({"pair": 1}, "f: pair: expected a list, got 1"),
        ({"pair": [1, "x"]}, r"f: pair\[1\]: expected float, got 'x'"),
        ({"parts": [{}]}, r"f: parts\[0\]: .*missing.*name"),
        ({"shape": 4}, "f: shape: expected a table"),
        ({"shape": {"kind": "star"}}, "f: shape: expected a 'kind' of round, many-cornered, got 'star'"),
        ({"shape": {"kind": ["round"]}}, r"f: shape: expected a 'kind' of round, many-cornered, got \['round'\]"),
        ({"rate": 10**400}, "f: rate: expected float, got 1000"),
        ({"shape": {"corners": 3}}, "f: shape: unknown setting 'corners'"),
        ({"limit": "x"}, "f: limit: expected float, got 'x'"),
        ({"weights": 1}, "f: weights: expected a table, got 1"),
        ({"weights": {"a": "b"}}, "f: weights.a: expected float, got 'b'"),
    ],
)
def test_changed__words_what_does_not_fit(values, message):
    with pytest.raises(InputError, match=message):
        changed(Thing(), values, where="f")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("a=1", {"a": 1}),
        ("a.b = 1e-4", {"a": {"b": 1e-4}}),
        ("a.b.c=text", {"a": {"b": {"c": "text"}}}),
        ("a='x y'", {"a": "x y"}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a={kind='round'}", {"a": {"kind": "round"}}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": ""}),
    ],
)
def test_assigned__reads_a_word_of_the_command_line(words, values):
    assert assigned(words) == values


@pytest.mark.parametrize("words", ["a", "=1", "a..b=1"])
def test_assigned__refuses(words):
    with pytest.raises(InputError, match="expected FIELD=VALUE"):
        assigned(words)


def test_read_toml__a_file_that_is_none(tmp_path):
    (tmp_path / "a.toml").write_text("a = ")
    with pytest.raises(FormatError, match=r"a\.toml: not a TOML file"):
        read_toml(tmp_path / "a.toml")
    with pytest.raises(InputError, match="cannot read"):
        read_toml(tmp_path / "absent.toml")


def test_toml_text__refuses_what_toml_does_not_have():
    with pytest.raises(InputError, match="TOML has no set"):
        toml_text({"a": {1}})
