import pytest

from marey.io.naming import file_stem, last_number, listed, natural_key, view_key


def test_natural_key__counts_and_ignores_case():
    names = ["cam_10", "Cam_2", "cam_1", "b3", "10", "9", ""]
    assert sorted(names, key=natural_key) == ["", "9", "10", "b3", "cam_1", "Cam_2", "cam_10"]


@pytest.mark.parametrize(
    ("name", "number"),
    [("trial3_000000000012_keypoints", 12), ("Static_cam_01.00005", 5), ("cam01.0039", 39), ("nothing", None)],
)
def test_last_number(name, number):
    assert last_number(name) == number


@pytest.mark.parametrize(
    "name", ["cam01_json", "cam_01", "Cam-01_img", "CAM 01.video", "cam01_images", "cam1_keypoints"]
)
def test_view_key__same_camera(name):
    assert view_key(name) == "cam1"


def test_view_key__tells_cameras_apart_and_never_is_empty():
    assert view_key("cam_1") != view_key("cam_11")
    assert view_key("images") == "images"


@pytest.mark.parametrize(
    ("name", "stem"),
    [("cam_1", "cam_1"), ("left / top", "left_top"), ("../x", "_x"), ("", "_"), ("Kamera-ä.2", "Kamera-ä.2")],
)
def test_file_stem__is_a_file_s_name(name, stem):
    assert file_stem(name) == stem


def test_names__of_thousands_of_digits():
    long, longer = "cam_" + "1" * 5000, "cam_" + "9" * 5000
    assert sorted([longer, long, "cam_2"], key=natural_key) == ["cam_2", long, longer]
    assert last_number(long) is None


def test_listed():
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(place) for place in range(10)], most=3) == "0, 1, 2 and 7 more"
    assert listed(["x" * 50]) == "x" * 40
    assert listed(["x" * 50], longest=45) == "x" * 45
    assert listed([]) == "nothing"
