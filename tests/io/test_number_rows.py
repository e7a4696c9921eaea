import numpy as np
import pytest

from marey.core import FormatError
from marey.io.number_rows import decimal_comma_hint, parse_number, parse_number_rows


def test_rows__white_space_and_separators():
    lines = ["1 2\t3", "", "  -4e-1  nan inf ", ""]
    np.testing.assert_array_equal(parse_number_rows("f", lines, first=5, width=3), [[1, 2, 3], [-0.4, np.nan, np.inf]])
    np.testing.assert_array_equal(parse_number_rows("f", ["1, 2"], first=1, width=2, separator=","), [[1, 2]])


def test_rows__none():
    assert parse_number_rows("f", ["", " "], first=1, width=3).shape == (0, 3)


def test_rows__more_than_are_turned_into_numbers_at_once():
    found = parse_number_rows("f", [f"{place} 1" for place in range(70_000)], first=1, width=2)
    np.testing.assert_array_equal(found[:, 0], np.arange(70_000))


@pytest.mark.parametrize("last", ["4", "4 5", "4 5 -", "4 5 1e", "4 5 1e-"])
def test_rows__cut_off(last):
    with pytest.warns(UserWarning, match="f: the last row is cut off and left out"):
        assert parse_number_rows("f", ["1 2 3", last], first=1, width=3).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 2", "3 4 5", ""], "f, line 7: 2 numbers, expected 3"),
        (["1 2 3", "3 4 5 6"], "f, line 8: 4 numbers, expected 3"),
        (["1 2 3", "3 x 5", ""], "f, line 8: 'x' is not a number$"),
        (["1 2,5 3", ""], "f, line 7: '2,5' is not a number; decimal commas"),
        (["1,5 2,5", ""], "f, line 7: 2 numbers, expected 3; decimal commas"),
    ],
)
def test_rows__malformed(lines, message):
    with pytest.raises(FormatError, match=message):
        parse_number_rows("f", lines, first=7, width=3)


def test_number__finite_only():
    assert parse_number("f", " -1.5 ", "x") == -1.5
    for text in ("", "nan", "inf", "1,5", "x" * 10_000):
        with pytest.raises(FormatError, match="f: x is '"):
            parse_number("f", text, "x")


def test_hint__only_for_commas_between_digits():
    assert "decimal points" in decimal_comma_hint("1,5")
    assert decimal_comma_hint("1.5 a,b") == ""
