"""Caliscope's tables of boards, and of the moments of its frames, from literal text."""

import numpy as np
import pytest

from marey.core import FormatError
from marey.io.caliscope_board import read_caliscope_board
from marey.io.caliscope_times import find_caliscope_times, read_caliscope_moments

TABLE = """sync_index,cam_id,frame_index,frame_time,object_id,keypoint_id,img_loc_x,img_loc_y,obj_loc_x,obj_loc_y
416,1,413,48033.0,0,0,710.5,507.25,0.054,0.054
416,1,413,48033.0,0,1,711.5,465.5,0.108,0.054
418,0,415,48033.3,0,3,100.0,200.0,0.054,0.108
"""


def test_read_caliscope_board__rows_with_their_cameras_and_moments(tmp_path):
    (tmp_path / "xy.csv").write_text(TABLE, encoding="utf-8")
    points = read_caliscope_board(tmp_path / "xy.csv")
    assert points.names == ("cam_0", "cam_1")
    assert points.sync_indices.tolist() == [416, 418]
    assert points.view.tolist() == [1, 1, 0]
    assert points.moment.tolist() == [0, 0, 1]
    assert points.pixels.tolist() == [[710.5, 507.25], [711.5, 465.5], [100.0, 200.0]]
    assert points.places.tolist() == [[0.054, 0.054], [0.108, 0.054], [0.054, 0.108]]


def test_read_caliscope_board__the_older_spelling_of_the_columns(tmp_path):
    text = TABLE.replace("cam_id", "port").replace("keypoint_id", "point_id")
    (tmp_path / "xy.csv").write_text(text, encoding="utf-8")
    assert read_caliscope_board(tmp_path / "xy.csv").names == ("cam_0", "cam_1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.splitlines()[0] + "\n", "no row in it"),
        (TABLE.replace("obj_loc_x", "x"), "no column obj_loc_x"),
        (TABLE.replace("711.5", "nan"), "a corner without its place"),
        (TABLE.replace("711.5", "a"), "malformed row"),
        (TABLE.replace("418,0", "418.5,0"), "must be whole numbers"),
    ],
)
def test_read_caliscope_board__damaged_tables_are_errors(tmp_path, text, message):
    (tmp_path / "xy.csv").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_caliscope_board(tmp_path / "xy.csv")


def test_caliscope_moments__frame_i_is_the_camera_s_ith_row(tmp_path):
    text = "sync_index,cam_id,frame_time\n7,0,1.0\n7,1,1.0\n8,1,1.1\n9,0,1.2\n9,1,1.2\n"
    (tmp_path / "timestamps.csv").write_text(text, encoding="utf-8")
    videos = [tmp_path / "cam_1.mp4", tmp_path / "cam_0.mp4"]
    table = find_caliscope_times(videos)
    assert table == tmp_path / "timestamps.csv"
    moments = read_caliscope_moments(table, videos)
    assert [np.asarray(own).tolist() for own in moments] == [[7, 8, 9], [7, 9]]
    with pytest.raises(FormatError, match=r"no times of cam_2\.mp4; it has cam_0, cam_1"):
        read_caliscope_moments(table, [tmp_path / "cam_2.mp4"])


def test_find_caliscope_times__videos_of_different_folders_have_none(tmp_path):
    (tmp_path / "timestamps.csv").write_text("sync_index,cam_id,frame_time\n", encoding="utf-8")
    assert find_caliscope_times([tmp_path / "a.mp4", tmp_path / "b" / "a.mp4"]) is None
    assert find_caliscope_times([tmp_path / "b" / "a.mp4"]) is None
