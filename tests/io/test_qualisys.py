import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.camera_toml import read_camera_toml
from marey.io.qualisys import read_qualisys, write_qualisys

CAMERA = """<camera active="1" avg-residual="0.4" model="none" serial="{serial}" viewrotation="0">
<fov_marker bottom="99" left="9" right="99" top="9"/>
<fov_video bottom="487" left="10" right="649" top="8"/>
<transform r11="1" r12="0" r13="0" r21="0" r22="0" r23="1" r31="0" r32="-1" r33="0" x="{x}" y="-3000" z="1000"/>
<intrinsic centerPointU="21120" centerPointV="15872" focalLengthU="64000" focalLengthV="57600" focallength="9"
 radialDistortion1="-0.25" radialDistortion2="0.125" radialDistortion3="0.5" sensorMaxU="41000" sensorMaxV="31000"
 sensorMinU="0" sensorMinV="0" skew="128" tangentalDistortion1="0.001" tangentalDistortion2="0.002"/></camera>
"""
TEXT = (
    "<?xml version='1.0' encoding='ASCII'?>\n<calibration type='regular'><results std-dev='0.'/><cameras>\n"
    + CAMERA.format(serial=12, x=2000)
    + CAMERA.format(serial=7, x=-2000)
    + "</cameras></calibration>\n"
)
"""Two cameras 4 m apart, 3 m before the origin and 1 m above it, looking along the world's y, z up."""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rig.qca.txt"
    file.write_text(TEXT)
    return file


def test_read__numbers_by_hand(path):
    cameras = read_qualisys(path, dtype=torch.float64)
    assert cameras.names == ("7", "12")
    assert cameras.image_size.tolist() == [[640, 480]] * 2
    assert cameras.intrinsics[0].tolist() == [[1000, 2, 320], [0, 900, 240], [0, 0, 1]]
    assert cameras.distortion[0].tolist() == [-0.25, 0.125, 0.001, 0.002, 0.5]
    rotation, _ = cameras.extrinsics
    assert rotation[0].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # x right, down is -z, forward is y
    assert torch.allclose(cameras.centers, torch.tensor([[-2.0, -3, 1], [2, -3, 1]], dtype=torch.float64))


def test_read__inactive_and_marker_cameras_are_left_out(path):
    path.write_text(TEXT.replace('active="1"', 'active="0"', 1))
    assert read_qualisys(path).names == ("7",)
    path.write_text(TEXT.replace('model="none"', 'model="Miqus Video"', 1).replace("none", "Miqus M3"))
    with pytest.warns(UserWarning, match="left out 7, which are not video cameras"):
        assert read_qualisys(path).names == ("12",)


def test_read__unit_overrules_the_format(path):
    assert read_qualisys(path, unit="cm").centers[0].tolist() == pytest.approx([-20, -30, 10])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('r11="1"', 'r11="2"', "camera '12': 'rotation' is not a rotation matrix"),
        (
            'x="2000"',
            'x="2000,5"',
            "x: '2000,5' is not a finite decimal number; decimal commas\\? export it with decimal points",
        ),
        ('x="2000"', 'x="inf"', "not a finite decimal number"),
        ('x="2000"', 'x=""', "0 numbers, expected 1"),
        ('x="2000" ', "", "'transform' lacks x"),
        ('focalLengthU="64000"', 'focalLengthU="0"', "fx, fy > 0"),
        ('right="649"', 'right="5"', "expected width and height above 0"),
        ('serial="12"', "", "without 'serial'"),
        ('serial="12"', 'serial="7"', "names repeat"),
        ("<transform r11", "<place r11", "the element 'transform' is missing"),
        ("</cameras>", "", "not an XML file"),
        ("<calibration", '<!DOCTYPE a [<!ENTITY b "cc">]><calibration', "declares a document type"),
        ("<results", "<a>" * 40 + "<results", "nest more than 32 deep"),
    ],
)
def test_read__malformed_file_is_told(path, old, new, message):
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(FormatError, match=message) as caught:
        read_qualisys(path)
    assert "rig.qca.txt" in str(caught.value)


def test_read__entity_bomb_is_refused_before_it_grows(path):
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]><a>&l11;</a>')
    with pytest.raises(FormatError, match="refused"):
        read_qualisys(path)


def test_read__no_camera_and_no_file(path):
    path.write_text("<calibration><cameras/></calibration>")
    with pytest.raises(CalibrationError, match="no camera in it"):
        read_qualisys(path)
    with pytest.raises(InputError, match="cannot read"):
        read_qualisys(path.parent / "absent.qca.txt")


def test_read__cut_anywhere(path):
    assert read_every_cut(read_qualisys, path) == 1  # without the last line feed


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(TEXT)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    read_changed(read_qualisys, tmp_path_factory.mktemp("qca") / "x.qca.txt", TEXT.encode(), junk, place, cut)


def rig(**changes):
    values = {
        "intrinsics": torch.tensor([[[1000.0, 2, 320], [0, 900, 240], [0, 0, 1]]], dtype=torch.float64),
        "distortion": torch.tensor([[-0.25, 0.125, 0.001, 0.002, 0.5]], dtype=torch.float64),
        "image_size": torch.tensor([[640.0, 480]], dtype=torch.float64),
        "rotation": torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64),
        "translation": torch.tensor([[2.0, 1, 3]], dtype=torch.float64),
        "names": ('<7 & "8">',),
    }
    return Cameras(**values | changes)


def test_write__attributes_by_hand(tmp_path):
    write_qualisys(tmp_path / "x.qca.txt", rig())
    camera = ET.parse(tmp_path / "x.qca.txt").getroot().find("cameras/camera")
    assert camera.get("serial") == '<7 & "8">'
    window = camera.find("fov_video")
    assert [window.get(side) for side in ("left", "top", "right", "bottom")] == ["0", "0", "639", "479"]
    lens = {key: float(value) for key, value in camera.find("intrinsic").items()}
    assert (lens["focalLengthU"], lens["focalLengthV"], lens["skew"]) == (64000, 57600, 128)
    assert (lens["centerPointU"], lens["centerPointV"]) == (20480, 15360)
    assert (lens["radialDistortion1"], lens["radialDistortion2"], lens["radialDistortion3"]) == (-0.25, 0.125, 0.5)
    assert (lens["tangentalDistortion1"], lens["tangentalDistortion2"]) == (0.001, 0.002)
    place = {key: float(value) for key, value in camera.find("transform").items()}
    assert [place[key] for key in "xyz"] == pytest.approx([-2000, -3000, 1000])
    assert [place[f"r{i}{j}"] for i in (1, 2, 3) for j in (1, 2, 3)] == [1, 0, 0, 0, 0, 1, 0, -1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fisheye": torch.tensor([True])}, "is a fisheye camera, which Qualisys cannot hold"),
        ({"distortion": torch.full((1, 8), 0.1)}, "8 distortion coefficients, Qualisys holds 5"),
        ({"image_size": torch.full((1, 2), torch.nan)}, "needs whole numbers"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises(CalibrationError, match=message):
        write_qualisys(tmp_path / "x.qca.txt", rig(**change))
    assert not (tmp_path / "x.qca.txt").exists()


@pytest.mark.realdata
def test_read__real_file_is_its_toml_but_for_the_64(shared_data):
    folder = shared_data / "pose2sim_demo" / "calibration"
    ours = read_qualisys(folder / "Calib.qca.txt", dtype=torch.float64)
    theirs = read_camera_toml(folder / "Calib_qualisys.toml", dtype=torch.float64)
    assert ours.names == theirs.names
    assert torch.equal(ours.image_size, theirs.image_size)
    assert torch.allclose(ours.intrinsics, theirs.intrinsics, rtol=1e-12)
    for one, other in zip(ours.extrinsics, theirs.extrinsics, strict=True):
        assert torch.allclose(one, other, atol=1e-9)
    np.testing.assert_allclose(ours.distortion[:, :4].numpy() / 64, theirs.distortion.numpy(), rtol=1e-9)
    assert not ours.distortion[:, 4].any()


def test_read__turned_views_are_told_and_not_turned(path):
    path.write_text(TEXT.replace('serial="7" viewrotation="0"', 'serial="7" viewrotation="90"'))
    with pytest.warns(UserWarning, match=r"the views of 7 \(viewrotation 90\) are turned in Qualisys' windows"):
        cameras = read_qualisys(path)
    assert cameras.image_size[0].tolist() == [640, 480]
