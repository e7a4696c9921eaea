import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.core import CalibrationError
from marey.io.matching import match_views


def test_match__by_name_without_punctuation_and_suffix():
    places, notes = match_views(["cam02_json", "Cam-1"], ["cam_1", "cam_2", "cam_3"])
    assert places == [1, 0]
    assert notes[0] == "Views and cameras were matched by name: cam02_json = cam_2, Cam-1 = cam_1."
    assert notes[1] == "Cameras of the calibration without a view in the recording: cam_3."


def test_match__camera_name_inside_the_view_name():
    assert match_views(["trial3_cam01", "trial3_cam11"], ["cam_1", "cam_11"])[0] == [0, 1]
    assert match_views(["1_walk", "10_walk"], ["1", "10"])[0] == [0, 1]


def test_match__by_natural_order_says_so():
    places, notes = match_views(["left", "GOPR10", "GOPR9"], ["cam_0", "cam_1", "cam_2"])
    assert places == [2, 1, 0]
    assert "by natural order, because their names differ: left = cam_2" in notes[0]


def test_match__natural_order_that_contradicts_names_is_refused():
    with pytest.raises(
        CalibrationError, match=r"it has cam_1, cam_2, cam_3; the recording has the views cam_1, cam_3, x"
    ):
        match_views(["cam_1", "cam_3", "x"], ["cam_1", "cam_2", "cam_3"])


def test_match__other_cameras_are_refused():
    with pytest.raises(CalibrationError, match="the calibration is of other cameras"):
        match_views(["a", "b"], ["cam_1", "cam_2", "cam_3"])


def test_match__one_camera_claimed_twice():
    with pytest.raises(CalibrationError, match=r"cam1_a, cam1_b have the name of the same camera"):
        match_views(["cam1_a", "cam1_b"], ["cam_1", "cam_2"])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12, unique=True), st.randoms())
def test_match__any_order_of_numbered_cameras(numbers, random):
    shuffled = numbers[:]
    random.shuffle(shuffled)
    places, _ = match_views([f"cam{number:04}_json" for number in shuffled], [f"Cam_{number}" for number in numbers])
    assert [numbers[place] for place in places] == shuffled
