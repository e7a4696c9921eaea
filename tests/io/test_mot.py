import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, MareyError, ShapeError
from marey.io.mot import read_mot, write_mot

FILE = (
    "Coordinates\n"
    "version=1\n"
    "nRows=2\n"
    "nColumns=3\n"
    "inDegrees=yes\n"
    "\n"
    "Units are S.I. units (second, meters, Newtons, ...)\n"
    "endheader\n"
    "time\tpelvis_tilt\tpelvis_ty\n"
    "0.00\t-10.5\t0.95\n"
    "0.01\tNaN\t1e-2\n"
)


def written(tmp_path, text):
    (tmp_path / "walk.mot").write_text(text, newline="")
    return tmp_path / "walk.mot"


@pytest.mark.parametrize(
    "change", [("\t", "\t"), ("\t", ","), ("\t", "  "), ("\n", "\r\n"), ("\n0.01", "\n\n0.01"), ("inD", "IND")]
)
def test_read__separators_and_line_ends(tmp_path, change):
    found = read_mot(written(tmp_path, FILE.replace(*change)))
    assert found.names == ("pelvis_tilt", "pelvis_ty")
    assert (found.title, found.in_degrees, found.header["version"]) == ("Coordinates", True, "1")
    np.testing.assert_array_equal(found.times, [0, 0.01])
    np.testing.assert_array_equal(found.values, [[-10.5, 0.95], [np.nan, 0.01]])


@pytest.mark.parametrize(("line", "degrees"), [("inDegrees=no\n", False), ("", False), ("inDegrees=Yes\n", True)])
def test_read__degrees(tmp_path, line, degrees):
    assert read_mot(written(tmp_path, FILE.replace("inDegrees=yes\n", line))).in_degrees is degrees


def test_read__rows_that_are_missing_or_cut_off_warn(tmp_path):
    with pytest.warns(UserWarning, match="cut off") as caught:
        assert len(read_mot(written(tmp_path, FILE[: FILE.index("\t1e-2")])).times) == 1
    messages = " ".join(str(warning.message) for warning in caught)
    assert "the last row is cut off and left out" in messages
    assert "1 rows, but its header promises 2" in messages


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("endheader\n", "", "expected a header that ends with the line endheader"),
        ("time\t", "frame\t", "line 9: expected 'time' and names"),
        ("pelvis_ty\n", "pelvis_tilt\n", "none empty or twice"),
        ("-10.5\t0.95", "-10.5", "line 10: 2 numbers, expected 3"),
        ("-10.5", "-1o.5", "line 10: '-1o.5' is not a number"),
        ("-10.5\t0.95", "-10,5\t0,95", "line 10: '-10,5' is not a number; decimal commas"),
        ("0.01\t", "0.00\t", "times do not rise"),
        ("0.01\t", "nan\t", "times do not rise"),
        ("nRows=2", "nRows=two", "header field nrows is 'two'"),
    ],
)
def test_read__malformed(tmp_path, old, new, message):
    assert old in FILE
    with pytest.raises(FormatError, match=message):
        read_mot(written(tmp_path, FILE.replace(old, new)))


def test_read__no_such_file_and_an_endless_line(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_mot(tmp_path / "absent.mot")
    with pytest.raises(FormatError, match="a line of"):
        read_mot(written(tmp_path, FILE + "0" * (9 << 20)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__cut_anywhere(tmp_path):
    for place in range(len(FILE)):
        path = written(tmp_path, FILE[:place])
        if place < FILE.index("time"):
            with pytest.raises(FormatError):
                read_mot(path)
            continue
        try:
            assert len(read_mot(path).times) <= 2
        except FormatError:
            assert place <= FILE.index("pelvis_ty")  # no name after a tab


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=30), st.integers(0, len(FILE)), st.integers(0, 60))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("mot") / "a.mot"
    content = FILE.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_mot(path)
    except MareyError:
        return
    assert found.values.shape == (len(found.times), len(found.names))


def test_write__exact_text(tmp_path):
    write_mot(tmp_path / "out.mot", [[1.5, -0.0], [20, 1e-9]], ["knee_r", "hip_r"], fps=50, frames=[7, 9])
    assert (tmp_path / "out.mot").read_text() == (
        "Coordinates\nversion=1\nnRows=2\nnColumns=3\ninDegrees=yes\nendheader\n"
        "time\tknee_r\thip_r\n"
        "0.140000\t1.50000000\t0.00000000\n"
        "0.180000\t20.00000000\t0.00000000\n"
    )


def test_write__gaps_are_bridged_and_empty_columns_left_out(tmp_path):
    nan = np.nan
    values = [[nan, nan, 0], [10, nan, 0], [nan, nan, 0], [30, nan, 0]]
    with pytest.warns(UserWarning) as caught:  # noqa: PT030 - two messages, both checked below
        write_mot(tmp_path / "out.mot", values, ["a", "b", "c"], fps=10, in_degrees=False)
    messages = " ".join(str(warning.message) for warning in caught)
    assert "2 of 8 values are unknown" in messages
    assert "1 columns are known nowhere" in messages
    text = (tmp_path / "out.mot").read_text()
    assert "nColumns=3\ninDegrees=no\n" in text
    assert [row.split("\t")[1] for row in text.splitlines()[6:]] == [
        "a",
        "10.00000000",
        "10.00000000",
        "20.00000000",
        "30.00000000",
    ]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": np.zeros((2, 3))}, ShapeError, r"expected \(T, 2\)"),
        ({"frames": [1]}, ShapeError, "expected 2 indices"),
        ({"frames": [1, 1]}, InputError, "frames that rise"),
        ({"fps": float("nan")}, InputError, "rate above 0"),
        ({"names": ["a", "b c"]}, InputError, "names: empty"),
        ({"names": ["a", "a"]}, InputError, "twice"),
        ({"names": ["a", "time"]}, InputError, "'time'"),
        ({"title": "a\nb"}, InputError, "one line"),
        ({"values": np.full((2, 2), np.nan)}, InputError, "no value is known"),
    ],
)
def test_write__bad_argument_leaves_no_file(tmp_path, change, error, message):
    arguments = {"values": np.zeros((2, 2)), "names": ["a", "b"], "fps": 60} | change
    with pytest.raises(error, match=message):
        write_mot(tmp_path / "out.mot", arguments.pop("values"), arguments.pop("names"), **arguments)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=6))
def test_round_trip__values(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("mot") / "a.mot"
    write_mot(path, values, ["a", "b"], fps=30)
    found = read_mot(path)
    np.testing.assert_allclose(found.values, values, atol=1e-8)
    np.testing.assert_allclose(found.times, np.arange(len(values)) / 30, atol=1e-6)


@pytest.mark.realdata
def test_read__real_file(shared_data):
    with pytest.warns(UserWarning, match="but its header promises 250"):
        found = read_mot(shared_data / "markers" / "inverse_kin.mot")
    assert found.values.shape[1] == 25
    assert (found.names[0], found.in_degrees) == ("thorax_tilt", True)
    assert (found.times[0], found.times[-1], len(found.times)) == (1.56, 2.43, 88)
    assert found.values[0, 0] == -27.90807185
