import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, MareyError
from marey.io.caliscope_csv import read_caliscope_csv, read_caliscope_timestamps

OLD = """sync_index,port,frame_index,frame_time,point_id,img_loc_x,img_loc_y,obj_loc_x,obj_loc_y
4,0,0,100.5,0,520,193,,
4,0,0,100.5,32,10.5,20.5,,
4,0,0,100.5,100,1,2,,
4,2,0,100.6,0,7,8,,

6,0,1,101.5,0,521,194,,
"""
NEW = (
    OLD.replace("port,frame", "cam_id,frame").replace("point_id", "object_id,keypoint_id").replace("100.5,", "100.5,0,")
)
NEW = NEW.replace("100.6,", "100.6,0,").replace("101.5,", "101.5,0,")
TIMES = "sync_index,port,frame_time\n7,1,50.25\n7,0,50.0\n9,0,52.0\n"


def written(tmp_path, text):
    (tmp_path / "xy.csv").write_text(text)
    return tmp_path / "xy.csv"


@pytest.mark.parametrize("text", [OLD, NEW, OLD.replace("\n", "\r\n")])
def test_read__both_spellings(tmp_path, text):
    found = read_caliscope_csv(written(tmp_path, text))
    assert found.names == ("cam_0", "cam_2")
    first, second = found.views
    assert first.frame_numbers.tolist() == second.frame_numbers.tolist() == [4, 5, 6]
    assert first.skeleton.name == "mediapipe_33"
    assert first.positions.shape == (3, 1, 33, 2)
    assert first.positions[[0, 2], 0, 0].tolist() == [[520, 193], [521, 194]]
    assert first.positions[0, 0, 32].tolist() == [10.5, 20.5]
    assert first.score.sum() == 3
    assert np.isnan(first.positions[1]).all()
    assert second.positions[0, 0, 0].tolist() == [7, 8]
    np.testing.assert_array_equal(found.timestamps, [[100.5, np.nan, 101.5], [100.6, np.nan, np.nan]])
    assert "1 points of hands and face were left out" in first.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("img_loc_x", "x", "no column img_loc_x"),
        ("193,,", "193,0.05,0.05", "points of a calibration board"),
        ("520,193", "520,abc", "malformed row"),
        ("6,0,1,101.5", "6.5,0,1,101.5", "whole numbers"),
        ("6,0,1,101.5", "900000000,0,1,101.5", "over a range of 899999997"),
    ],
)
def test_read__malformed(tmp_path, old, new, message):
    assert old in OLD
    with pytest.raises(FormatError, match=message):
        read_caliscope_csv(written(tmp_path, OLD.replace(old, new)))


def test_read__no_pose_and_no_file(tmp_path):
    with pytest.raises(FormatError, match="no MediaPipe pose in it"):
        read_caliscope_csv(written(tmp_path, OLD.splitlines()[0] + "\n4,0,0,100.5,100,1,2,,\n"))
    with pytest.raises(InputError, match="cannot read"):
        read_caliscope_csv(tmp_path / "absent.csv")


def test_read_timestamps__dropped_frames_are_missing(tmp_path):
    names, indices, times = read_caliscope_timestamps(written(tmp_path, TIMES))
    assert names == ("cam_0", "cam_1")
    assert indices.tolist() == [7, 8, 9]
    np.testing.assert_array_equal(times, [[50, np.nan, 52], [50.25, np.nan, np.nan]])
    assert read_caliscope_timestamps(written(tmp_path, TIMES.replace("port", "cam_id")))[0] == names
    with pytest.raises(FormatError, match="no row in it"):
        read_caliscope_timestamps(written(tmp_path, TIMES.splitlines()[0]))


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=30), st.integers(0, len(OLD)), st.integers(0, 60))
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("csv") / "xy.csv"
    content = OLD.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_caliscope_csv(path)
    except MareyError:
        return
    assert found.timestamps.shape == (len(found.names), len(found.views[0].frame_numbers))


@pytest.mark.realdata
def test_read__real_recording(shared_data):
    folder = shared_data / "caliscope_person"
    found = read_caliscope_csv(folder / "xy_mediapipe_holistic.csv")
    assert found.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    assert found.views[0].positions.shape == (134, 1, 33, 2)
    _, indices, times = read_caliscope_timestamps(folder / "frame_time_history.csv")
    assert (len(indices), times.shape) == (269, (4, 269))
    np.testing.assert_array_equal(times[0, :134], found.timestamps[0])


@pytest.mark.realdata
def test_read__real_board_points_are_no_pose(shared_data):
    path = shared_data / "caliscope_charuco" / "4_cam_recording" / "calibration" / "extrinsic" / "xy.csv"
    with pytest.raises(FormatError, match="calibration board"):
        read_caliscope_csv(path)
