"""synchronisation.json: literal files, what is none, and numbers that are not known."""

import json
import math

import pytest

from marey.core import FormatError, InputError
from marey.io.synchronisation_file import read_synchronisation, write_synchronisation


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"views": {"slow": {"offset_seconds": "soon", "rate": 1}}}',
        '{"views": {"a": {"rate": 1}}}',
        '{"views": {"slow": {"offset_seconds": 1e999, "rate": 1}}}',
        '{"views": {"slow": {"offset_seconds": 0, "rate": 0}}}',
    ],
)
def test_read_synchronisation__what_is_none(tmp_path, content):
    file = tmp_path / "synchronisation.json"
    file.write_text(content)
    with pytest.raises(FormatError):
        read_synchronisation(file)


def test_read_synchronisation__literal(tmp_path):
    file = tmp_path / "s.json"
    file.write_text(
        '{"reference": "a", "views": {"a": {"offset_seconds": 0, "rate": 1}, '
        '"b": {"offset_seconds": -0.5, "rate": 1.001}}}'
    )
    assert read_synchronisation(file) == {"a": (0.0, 1.0), "b": (-0.5, 1.001)}
    with pytest.raises(InputError, match="cannot read"):
        read_synchronisation(tmp_path / "none.json")


def test_read_synchronisation__the_view_whose_rate_is_impossible_is_named(tmp_path):
    file = tmp_path / "s.json"
    file.write_text('{"views": {"left": {"offset_seconds": 0, "rate": 1}, "right": {"offset_seconds": 0, "rate": 60}}}')
    with pytest.raises(FormatError, match=r"view right: .* got 0.0 and 60.0"):
        read_synchronisation(file)


def test_write_synchronisation__what_is_not_known_is_null(tmp_path):
    file = tmp_path / "s.json"
    views = {"a": {"offset_seconds": 0.0, "rate": 1.0}, "b": {"offset_seconds": 0.25, "rate": 1.0, "more": math.inf}}
    write_synchronisation(file, views, reference="a", notes=["ä"])
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "reference": "a",
        "views": {"a": {"offset_seconds": 0, "rate": 1}, "b": {"offset_seconds": 0.25, "rate": 1, "more": None}},
        "notes": ["ä"],
    }
