"""Corners that Caliscope found."""

import pytest

from marey.calibrate.boards import parse_board
from marey.calibrate.caliscope_observations import observations_from_caliscope
from marey.core import InputError

BOARD = parse_board("charuco:4x5:0.054:DICT_4X4_1000:inverted")
TABLE = """sync_index,cam_id,frame_index,frame_time,object_id,keypoint_id,img_loc_x,img_loc_y,obj_loc_x,obj_loc_y
416,1,413,48033.0,0,0,710.5,507.25,0.0540000014,0.0540000014
416,1,413,48033.0,0,5,711.5,465.5,0.162,0.108
418,0,415,48033.3,0,11,100.0,200.0,0.162,0.216
"""


def test_observations_from_caliscope__corners_stand_in_the_board_s_order(tmp_path):
    (tmp_path / "xy.csv").write_text(TABLE, encoding="utf-8")
    seen = observations_from_caliscope(tmp_path / "xy.csv", BOARD, sizes=[(1280, 720), (640, 480)])
    assert seen.names == ("cam_0", "cam_1")
    assert seen.moments == (416, 418)
    assert seen.seen.nonzero().tolist() == [[0, 1, 11], [1, 0, 0], [1, 0, 5]]
    assert seen.pixels[1, 0, 5].tolist() == [711.5, 465.5]
    assert seen.sizes.tolist() == [[1280, 720], [640, 480]]


@pytest.mark.parametrize("spec", ["charuco:4x5:0.05:DICT_4X4_1000", "charuco:4x4:0.054:DICT_4X4_1000"])
def test_observations_from_caliscope__another_board_is_an_error(tmp_path, spec):
    (tmp_path / "xy.csv").write_text(TABLE, encoding="utf-8")
    with pytest.raises(InputError, match="its corners are not those of the board"):
        observations_from_caliscope(tmp_path / "xy.csv", parse_board(spec), sizes=[(1280, 720)] * 2)


def test_observations_from_caliscope__a_size_a_view(tmp_path):
    (tmp_path / "xy.csv").write_text(TABLE, encoding="utf-8")
    with pytest.raises(InputError, match="sizes: expected one for each of cam_0, cam_1, got 1"):
        observations_from_caliscope(tmp_path / "xy.csv", BOARD, sizes=[(1280, 720)])


@pytest.mark.realdata
def test_observations_from_caliscope__real_table(shared_data):
    path = shared_data / "caliscope_charuco/4_cam_recording/calibration/extrinsic/xy.csv"
    seen = observations_from_caliscope(path, BOARD, sizes=[(1280, 720)] * 4)
    assert seen.seen.sum((1, 2)).tolist() == [433, 529, 484, 279]
    assert seen.moments[0] == 416
