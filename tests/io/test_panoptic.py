import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError
from marey.io.panoptic import read_panoptic, write_panoptic

TEXT = """{"calibDataSource": "160422", "cameras": [
{"name": "00_10", "type": "hd", "resolution": [1920, 1080], "panel": 0, "node": 10,
 "K": [[1400.5, 0, 940], [0, 1390.5, 560], [0, 0, 1]], "distCoef": [-0.25, 0.125, 0.001, 0.002, 0.5],
 "R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t": [[50], [150], [300]]},
{"name": "00_02", "type": "vga", "resolution": [640, 480],
 "K": [[700, 0, 320], [0, 700, 240], [0, 0, 1]], "distCoef": [0, 0, 0, 0, 0],
 "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [0, 0, 250]}]}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "calibration_160422.json"
    file.write_text(TEXT)
    return file


def test_read__numbers_by_hand(path):
    cameras = read_panoptic(path, dtype=torch.float64)
    assert cameras.names == ("00_02", "00_10")
    assert cameras.image_size.tolist() == [[640, 480], [1920, 1080]]
    assert cameras.intrinsics[1].tolist() == [[1400.5, 0, 940], [0, 1390.5, 560], [0, 0, 1]]
    assert cameras.distortion[1].tolist() == [-0.25, 0.125, 0.001, 0.002, 0.5]
    assert cameras.extrinsics[0][1].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert torch.allclose(cameras.extrinsics[1], torch.tensor([[0, 0, 2.5], [0.5, 1.5, 3]], dtype=torch.float64))


def test_read__unit_overrules_the_format(path):
    assert read_panoptic(path, unit="mm").extrinsics[1][1].tolist() == pytest.approx([0.05, 0.15, 0.3])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"name": "00_10", ', "", "camera 0: lacks name"),
        ('"name": "00_10"', '"name": []', "expected a text"),
        ("[1400.5, 0, 940]", "[1400.5, 0]", "'K' is .* expected numbers of shape"),
        ("[1400.5, 0, 940]", "[NaN, 0, 940]", "not finite"),
        ("[1400.5, 0, 940]", "[1e999, 0, 940]", "not finite"),
        ("[1920, 1080]", "[0, 1080]", "above 0"),
        ('"R": [[1, 0, 0], [0, 0, -1]', '"R": [[2, 0, 0], [0, 0, -1]', "not a rotation matrix"),
        ('"t": [0, 0, 250]', '"u": 1', "no rotation and translation for 00_02"),
        ('"cameras"', '"kameras"', "no list of objects under 'cameras'"),
        ("]}]}", "]}]", "not a JSON file"),
        ('"00_02"', '"00_10"', "names repeat"),
    ],
)
def test_read__malformed_file_is_told(path, old, new, message):
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises((FormatError, CalibrationError), match=message):
        read_panoptic(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"cameras": [1]}', '{"cameras": []}', "9" * 5000, "null"])
def test_read__strange_json_is_a_typed_error(path, text):
    path.write_text(text)
    with pytest.raises((FormatError, CalibrationError)):
        read_panoptic(path)


def test_read__cut_anywhere(path):
    assert read_every_cut(read_panoptic, path) == 1  # without the last line feed


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(TEXT)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    read_changed(read_panoptic, tmp_path_factory.mktemp("panoptic") / "x.json", TEXT.encode(), junk, place, cut)


def rig(**changes):
    values = {
        "intrinsics": torch.tensor([[[1000.0, 2, 320], [0, 900, 240], [0, 0, 1]]], dtype=torch.float64),
        "distortion": torch.tensor([[-0.25, 0.125, 0.001, 0.002]], dtype=torch.float64),
        "image_size": torch.tensor([[640.0, 480]], dtype=torch.float64),
        "rotation": torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64),
        "translation": torch.tensor([[2.0, 1, 3]], dtype=torch.float64),
        "names": ("00_07",),
    }
    return Cameras(**values | changes)


def test_write__json_by_hand(tmp_path):
    write_panoptic(tmp_path / "x.json", rig())
    (camera,) = json.loads((tmp_path / "x.json").read_text())["cameras"]
    assert camera == {
        "name": "00_07",
        "type": "hd",
        "resolution": [640, 480],
        "K": [[1000, 2, 320], [0, 900, 240], [0, 0, 1]],
        "distCoef": [-0.25, 0.125, 0.001, 0.002, 0],
        "R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        "t": [[200], [100], [300]],
    }
    write_panoptic(tmp_path / "x.json", rig(image_size=torch.full((1, 2), torch.nan)))
    assert "resolution" not in (tmp_path / "x.json").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fisheye": torch.tensor([True])}, "is a fisheye camera, which CMU Panoptic cannot hold"),
        ({"distortion": torch.full((1, 12), 0.1)}, "12 distortion coefficients, CMU Panoptic holds 5"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises(CalibrationError, match=message):
        write_panoptic(tmp_path / "x.json", rig(**change))
