import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, Joints3D, MareyError, ShapeError, Skeleton
from marey.io.table import read_joint_table, write_joint_table

TEXT = """frame,time,person,joint,x,y,z,sd_x,sd_y,sd_z,score,filled
8,0.160000,0,hip,1.000000,2.000000,-0.500000,0.010000,0.020000,0.030000,0.9000,0
8,0.160000,0,knee,,,,,,,0.0000,0
9,0.180000,0,hip,1.100000,2.000000,-0.500000,,,,0.5000,1
9,0.180000,0,knee,0.000000,0.000000,0.000000,0.010000,0.020000,0.030000,0.2500,0
"""


def joints():
    nan = float("nan")
    variance = torch.diag(torch.tensor([1e-4, 4e-4, 9e-4], dtype=torch.float64))
    unknown = torch.full((3, 3), nan, dtype=torch.float64)
    return Joints3D(
        positions=torch.tensor([[[[1, 2, -0.5], [nan] * 3]], [[[1.1, 2, -0.5], [0, 0, 0]]]], dtype=torch.float64),
        covariance=torch.stack([variance, unknown, unknown, variance]).reshape(2, 1, 2, 3, 3),
        score=torch.tensor([[[0.9, 0.0]], [[0.5, 0.25]]]),
        filled=torch.tensor([[[False, False]], [[True, False]]]),
        skeleton=Skeleton("leg", ("hip", "knee"), ((0, 1),)),
    )


def test_write__exact_text(tmp_path):
    write_joint_table(tmp_path / "joints.csv", joints(), fps=50, frames=[8, 9])
    assert (tmp_path / "joints.csv").read_text() == TEXT


def test_write__without_rate_the_time_is_empty(tmp_path):
    write_joint_table(tmp_path / "joints.csv", joints())
    assert (tmp_path / "joints.csv").read_text().splitlines()[1].startswith("0,,0,hip,1.000000,")


def test_write__shapes(tmp_path):
    with pytest.raises(ShapeError, match=r"batch shape \(T, P\)"):
        write_joint_table(tmp_path / "a.csv", joints()[0])
    with pytest.raises(ShapeError, match="expected 2 indices, got 3"):
        write_joint_table(tmp_path / "a.csv", joints(), frames=[1, 2, 3])
    assert not list(tmp_path.iterdir())


def test_read__rows_in_any_order_and_absent_rows(tmp_path):
    head, *rows = TEXT.splitlines()
    (tmp_path / "a.csv").write_text("\r\n".join([head, rows[3], rows[0], rows[2]]) + "\r\n")
    found = read_joint_table(tmp_path / "a.csv")
    assert found.joints == ("knee", "hip")
    assert found.frames.tolist() == [8, 9]
    assert found.times.tolist() == [0.16, 0.18]
    assert found.positions[:, 0, 1].tolist() == [[1, 2, -0.5], [1.1, 2, -0.5]]
    assert np.isnan(found.positions[0, 0, 0]).all()
    assert found.score[:, 0].tolist() == [[0, 0.9], [0.25, 0.5]]
    assert found.filled[:, 0].tolist() == [[False, False], [False, True]]
    assert found.deviations[0, 0, 1].tolist() == [0.01, 0.02, 0.03]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sd_x", "sdx", "expected the columns frame,time"),
        ("1.100000", "1,1", "row 4: 13 cells, expected 12"),
        ("1.100000", "one", "row 4: could not convert"),
        ("9,0.180000,0,knee", "9,0.180000,0,hip", "there twice"),
        ("9,0.180000,0,knee", "-1,0.180000,0,knee", "whole numbers"),
        ("9,0.180000,0,knee", ",0.180000,0,knee", "whole numbers"),
    ],
)
def test_read__malformed(tmp_path, old, new, message):
    assert old in TEXT
    (tmp_path / "a.csv").write_text(TEXT.replace(old, new))
    with pytest.raises(FormatError, match=message):
        read_joint_table(tmp_path / "a.csv")


def test_read__no_rows_no_file(tmp_path):
    (tmp_path / "a.csv").write_text(TEXT.splitlines()[0] + "\n")
    assert read_joint_table(tmp_path / "a.csv").positions.shape == (0, 0, 0, 3)
    with pytest.raises(InputError, match="cannot read"):
        read_joint_table(tmp_path / "absent.csv")


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=30), st.integers(0, len(TEXT)), st.integers(0, 80))
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    content = TEXT.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_joint_table(path)
    except MareyError:
        return
    assert found.positions.shape[:3] == found.score.shape


def test_read__rows_that_share_nothing_do_not_fill_the_memory(tmp_path):
    rows = [f"{place},,{place},joint_{place},,,,,,,0,0" for place in range(2000)]
    (tmp_path / "a.csv").write_text("\n".join([TEXT.splitlines()[0], *rows]))
    with pytest.raises(FormatError, match="most are missing"):
        read_joint_table(tmp_path / "a.csv")


def test_read__fewer_columns_in_any_order(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("joint,person,frame,z,y,x\nnose,0,3,0.3,0.2,0.1\nneck,0,3,,,\nneck,0,5,1,2,3\n")
    table = read_joint_table(path)
    assert table.joints == ("nose", "neck")
    assert table.frames.tolist() == [3, 5]
    np.testing.assert_array_equal(table.positions[0, 0], [[0.1, 0.2, 0.3], [np.nan] * 3])
    assert table.score[:, 0].tolist() == [[1, 0], [0, 1]]
    assert np.isnan(table.times).all()
    assert np.isnan(table.deviations).all()
    assert not table.filled.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,person,joint,x,y\n", "or fewer but frame,person,joint,x,y,z, got frame,person,joint,x,y"),
        ("frame,person,joint,x,y,z,x\n", "expected the columns"),
        ("frame,person,joint,x,y,z\n0,0,nose,1,2\n", "row 2: 5 cells, expected 6"),
    ],
)
def test_read__too_few_columns(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_joint_table(path)
