import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError
from marey.geometry.projection import project
from marey.io.blender_cameras import read_blender_cameras, write_blender_cameras

TEXT = """{"format": "marey-blender-cameras", "version": 1, "unit": "m", "cameras": [
{"name": "front", "resolution": [1920, 1080], "pixel_aspect": [1, 1], "sensor_fit": "HORIZONTAL", "sensor_width": 36,
 "lens": 50, "shift_x": 0, "shift_y": 0,
 "matrix_world": [[1, 0, 0, 0.5], [0, 0, -1, -7], [0, 1, 0, 1.5], [0, 0, 0, 1]]},
{"name": "top", "resolution": [1000, 500], "lens": 36, "sensor_width": 36, "shift_x": 0.1, "shift_y": -0.05,
 "pixel_aspect": [1, 2],
 "matrix_world": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]}]}
"""
"""A camera 7 m before the scene that looks along the world's y, and one 5 m above it that looks down; z up."""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "cameras.json"
    file.write_text(TEXT)
    return file


def test_read__numbers_by_hand(path):
    cameras = read_blender_cameras(path, dtype=torch.float64)
    assert cameras.names == ("front", "top")
    assert cameras.image_size.tolist() == [[1920, 1080], [1000, 500]]
    focal = 50 / 36 * 1920
    assert torch.allclose(
        cameras.intrinsics[0],
        torch.tensor([[focal, 0, 959.5], [0, focal, 539.5], [0, 0, 1]], dtype=torch.float64),
    )
    # the image window moves right by 100 px and down by 50 px of square pixels, which are 25 of 2:1 pixels
    assert cameras.intrinsics[1].tolist() == [[1000, 0, 399.5], [0, 500, 224.5], [0, 0, 1]]
    assert cameras.extrinsics[0][0].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert cameras.extrinsics[0][1].tolist() == [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    assert cameras.centers.tolist() == [[0.5, -7, 1.5], [0, 0, 5]]


def test_read__what_is_right_and_above_in_blender_is_in_the_picture(path):
    cameras = read_blender_cameras(path, dtype=torch.float64)
    point = torch.tensor([[[0.6, 0.0, 1.7]]], dtype=torch.float64)  # right of and above the front camera's axis
    pixel = project(point, cameras)[0, 0]
    assert pixel[0] > 959.5
    assert pixel[1] < 539.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"lens": 50, ', "", "camera 0: lacks lens"),
        ('"lens": 50', '"lens": -50', "fx, fy > 0"),
        ('"lens": 50', '"lens": "long"', "'lens' is 'long', expected numbers"),
        ('"sensor_width": 36,\n', '"sensor_width": 0,\n', "above 0"),
        ("[1, 1]", "[1, 0]", "above 0"),
        ("HORIZONTAL", "VERTICAL", "expected HORIZONTAL"),
        ("[1920, 1080]", "[1920]", "numbers of shape"),
        ("[0, 0, 0, 1]]}", "[0, 0, 1, 1]]}", "expected 0 0 0 1"),
        ("[[1, 0, 0, 0.5]", "[[2, 0, 0, 0.5]", "not a rotation matrix"),
        ('"lens": 50', '"lens": 50, "fisheye": 1', "expected true or false"),
        ('"lens": 50', '"lens": 1e308', "fx, fy > 0"),
        ('"cameras"', '"c"', "no list of objects under 'cameras'"),
    ],
)
def test_read__malformed_file_is_told(path, old, new, message):
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(FormatError, match=message):
        read_blender_cameras(path)


def test_read__cut_anywhere(path):
    assert read_every_cut(read_blender_cameras, path) == 1  # without the last line feed


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(TEXT)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    read_changed(read_blender_cameras, tmp_path_factory.mktemp("blender") / "x.json", TEXT.encode(), junk, place, cut)


def rig(**changes):
    values = {
        "intrinsics": torch.tensor([[[1000.0, 0, 399.5], [0, 500, 224.5], [0, 0, 1]]], dtype=torch.float64),
        "distortion": torch.zeros(1, 4, dtype=torch.float64),
        "image_size": torch.tensor([[1000.0, 500]], dtype=torch.float64),
        "rotation": torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64),
        "translation": torch.tensor([[-0.5, 1.5, 7]], dtype=torch.float64),
        "names": ("front",),
    }
    return Cameras(**values | changes)


def test_write__json_by_hand(tmp_path):
    write_blender_cameras(tmp_path / "x.json", rig())
    document = json.loads((tmp_path / "x.json").read_text())
    assert (document["format"], document["version"], document["unit"]) == ("marey-blender-cameras", 1, "m")
    (camera,) = document["cameras"]
    assert camera["resolution"] == [1000, 500]
    assert (camera["lens"], camera["sensor_width"], camera["sensor_fit"]) == (36, 36, "HORIZONTAL")
    assert camera["pixel_aspect"] == [1, 2]
    assert (camera["shift_x"], camera["shift_y"]) == (pytest.approx(0.1), pytest.approx(-0.05))
    assert np.array(camera["matrix_world"]) == pytest.approx(
        np.array([[1, 0, 0, 0.5], [0, 0, -1, -7], [0, 1, 0, 1.5], [0, 0, 0, 1]])
    )


def test_write__distortion_is_told_and_kept(tmp_path):
    bent = rig(distortion=torch.tensor([[0.1, 0, 0, 0]], dtype=torch.float64), fisheye=torch.tensor([True]))
    with pytest.warns(UserWarning, match="front will show straight lines"):
        write_blender_cameras(tmp_path / "x.json", bent)
    found = read_blender_cameras(tmp_path / "x.json", dtype=torch.float64)
    assert found.distortion.tolist() == [[0.1, 0, 0, 0]]
    assert found.fisheye.tolist() == [True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsics": torch.tensor([[[9.0, 1, 4], [0, 9, 4], [0, 0, 1]]])}, "skew of 1 px, which Blender"),
        ({"image_size": torch.full((1, 2), torch.nan)}, "needs whole numbers"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises(CalibrationError, match=message):
        write_blender_cameras(tmp_path / "x.json", rig(**change))
