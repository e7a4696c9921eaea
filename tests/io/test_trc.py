import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, MareyError, ShapeError
from marey.io.trc import read_trc, write_trc

FILE = (
    "PathFileType\t4\t(X/Y/Z)\twalk.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    "100.00\t100.00\t2\t2\tmm\t100.00\t1\t2\n"
    "Frame#\tTime\tRHip\t\t\tLHip\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "\n"
    "1\t0.000\t1000.0\t2000.0\t-500.5\t\t\t\n"
    "2\t0.010\t1001.0\t2001.0\t-501.5\t1.0\tNaN\t3.0\n"
)


def written(tmp_path, text):
    (tmp_path / "walk.trc").write_text(text, newline="")
    return tmp_path / "walk.trc"


@pytest.mark.parametrize("change", [("\t", "\t"), ("\t", ","), ("\n", "\r\n"), ("\n\n", "\n")])
def test_read__separators_line_ends_and_blank_line(tmp_path, change):
    found = read_trc(written(tmp_path, FILE.replace(*change)))
    assert found.names == ("RHip", "LHip")
    assert (found.rate, found.unit) == (100, "mm")
    assert found.frames.tolist() == [1, 2]
    assert found.times.tolist() == [0, 0.01]
    np.testing.assert_allclose(found.positions[:, 0], [[1, 2, -0.5005], [1.001, 2.001, -0.5015]])
    assert np.isnan(found.positions[0, 1]).all()
    np.testing.assert_array_equal(found.positions[1, 1], [0.001, np.nan, 0.003])


def test_read__cut_off_row_and_missing_rows_warn(tmp_path):
    with pytest.warns(UserWarning, match="cut off") as caught:
        found = read_trc(written(tmp_path, FILE[: FILE.index("\tNaN")]))
    assert found.frames.tolist() == [1]
    messages = " ".join(str(warning.message) for warning in caught)
    assert "last row is cut off" in messages
    assert "1 frames, but its header promises 2" in messages


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tmm\t", "\tinch\t", "unit 'inch', expected one of m, cm, mm"),
        ("PathFileType", "Type", "not a TRC file"),
        ("\t2\t2\tmm", "\t2\t3\tmm", "3 markers in line 3, but line 4 names 2"),
        ("\t2\t2\tmm", "\t2\tx\tmm", "NumMarkers is 'x'"),
        ("1001.0", "1o01", "line 8: '1o01' is not a number"),
        ("1001.0", "1001,0", "line 8: '1001,0' is not a number; decimal commas"),
        ("3.0\n", "3.0\t4\n", "line 8: 9 numbers, expected 8"),
        ("2\t0.010", "1e300\t0.010", "no frame number"),
        ("2\t0.010", "\t0.010", "no frame number"),
    ],
)
def test_read__malformed(tmp_path, old, new, message):
    assert old in FILE
    with pytest.raises(FormatError, match=message):
        read_trc(written(tmp_path, FILE.replace(old, new)))


def test_read__no_such_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_trc(tmp_path / "absent.trc")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__cut_anywhere(tmp_path):
    for place in range(len(FILE)):
        path = written(tmp_path, FILE[:place])
        if place < FILE.index("\t\tX1"):
            with pytest.raises(FormatError):
                read_trc(path)
        else:
            assert len(read_trc(path).frames) <= 2


def test_read__bytes_that_are_no_text_and_an_endless_line(tmp_path):
    (tmp_path / "walk.trc").write_bytes(b"PathFileType\xff\xfe")
    with pytest.raises(FormatError, match="not a text file"):
        read_trc(tmp_path / "walk.trc")
    with pytest.raises(FormatError, match="a line of"):
        read_trc(written(tmp_path, FILE + "1\t" * (5 << 20)))


def test_write__exact_text_with_gaps_empty(tmp_path):
    positions = np.array([[[1, 2, -0.5], [np.nan] * 3], [[0.0000004, np.inf, 3], [4, 5, 6]]])
    write_trc(tmp_path / "out.trc", positions, ["right_hip", "left_hip"], fps=50, frames=[7, 8])
    assert (tmp_path / "out.trc").read_text() == (
        "PathFileType\t4\t(X/Y/Z)\tout.trc\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
        "50\t50\t2\t2\tm\t50\t8\t2\n"
        "Frame#\tTime\tright_hip\t\t\tleft_hip\t\t\n"
        "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
        "8\t0.140000\t1.000000\t2.000000\t-0.500000\t\t\t\n"
        "9\t0.160000\t0.000000\t\t3.000000\t4.000000\t5.000000\t6.000000\n"
    )


def test_write__millimetres(tmp_path):
    write_trc(tmp_path / "out.trc", np.array([[[1.2345678, 0, 0]]]), ["a"], fps=60, unit="mm")
    lines = (tmp_path / "out.trc").read_text().splitlines()
    assert lines[2].split("\t")[4] == "mm"
    assert lines[5] == "1\t0.000000\t1234.568\t0.000\t0.000"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positions": np.zeros((2, 3, 3))}, ShapeError, r"expected \(T, 2, 3\)"),
        ({"frames": [1]}, ShapeError, "expected 2 indices"),
        ({"fps": 0}, InputError, "frame rate above 0"),
        ({"fps": float("nan")}, InputError, "frame rate above 0"),
        ({"unit": "inch"}, InputError, "expected one of m, mm"),
        ({"names": ["a", "b\tc"]}, InputError, "tabs"),
    ],
)
def test_write__bad_argument_leaves_no_file(tmp_path, change, error, message):
    arguments = {"positions": np.zeros((2, 2, 3)), "names": ["a", "b"], "fps": 60} | change
    with pytest.raises(error, match=message):
        write_trc(tmp_path / "out.trc", arguments.pop("positions"), arguments.pop("names"), **arguments)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=30), st.integers(0, len(FILE)), st.integers(0, 60))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("trc") / "a.trc"
    content = FILE.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_trc(path)
    except MareyError:
        return
    assert found.positions.shape == (len(found.frames), len(found.names), 3)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:.*its header promises")
def test_read__real_files(shared_data):
    optical = read_trc(shared_data / "markers" / "markers.trc")
    assert optical.positions.shape[1:] == (51, 3)
    assert optical.names[0] == "ASISl"
    np.testing.assert_allclose(optical.positions[0, 0], [0.7337041, 0.0809832, 0.1918668])
    reference = read_trc(shared_data / "pose2sim_demo" / "static" / "pose-3d" / "reference_raw.trc")
    assert reference.positions.shape == (12, 21, 3)
    assert reference.rate == 60
