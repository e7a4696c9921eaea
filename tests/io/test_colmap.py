import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.colmap import read_colmap, write_colmap

PEERS = Path(__file__).resolve().parents[2] / ".venv-peers" / "bin" / "python"

CAMERAS = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 2
1 OPENCV 1280 720 1000 1100 640.5 360.5 -0.25 0.125 0.001 0.002
7 SIMPLE_RADIAL 640 480 700 320 240 0.0625
"""
IMAGES = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
12 0.5 0.5 0.5 0.5 1 2 3 7 left/cam 10.PNG
10.5 20.5 3 11 12 -1
3 1 0 0 0 0 0 4 1 cam_2.jpg

4 0.7071067811865476 0 0 0.7071067811865476 2 0 4 1 cam_3

"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cameras.txt").write_text(CAMERAS)
    (tmp_path / "images.txt").write_text(IMAGES)
    return tmp_path


@pytest.mark.parametrize("name", ["", "cameras.txt", "images.txt"])
def test_read__numbers_by_hand(folder, name):
    cameras = read_colmap(folder / name, unit="m", dtype=torch.float64)
    assert cameras.names == ("cam_2", "cam_3", "left/cam 10")
    assert cameras.image_size.tolist() == [[1280, 720], [1280, 720], [640, 480]]
    assert cameras.intrinsics[0].tolist() == [[1000, 0, 640], [0, 1100, 360], [0, 0, 1]]
    assert cameras.intrinsics[2].tolist() == [[700, 0, 319.5], [0, 700, 239.5], [0, 0, 1]]
    assert cameras.distortion.tolist() == [[-0.25, 0.125, 0.001, 0.002]] * 2 + [[0.0625, 0, 0, 0]]
    rotation, translation = cameras.extrinsics
    third = [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]  # a third of a turn about (1, 1, 1): x to y to z to x
    quarter = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]  # a quarter of a turn about z
    expected = torch.tensor([np.eye(3).tolist(), quarter, third], dtype=torch.float64)
    assert torch.allclose(rotation, expected, atol=1e-12)
    assert translation.tolist() == [[0, 0, 4], [2, 0, 4], [1, 2, 3]]


def test_read__scale_is_told_or_given(folder):
    with pytest.warns(UserWarning, match="COLMAP's scale is arbitrary; taken for metres"):
        assert read_colmap(folder).extrinsics[1][0].tolist() == [0, 0, 4]
    assert read_colmap(folder, unit=0.5).extrinsics[1][0].tolist() == [0, 0, 2]
    with pytest.raises(CalibrationError, match=r"less than 0\.05 m"):
        read_colmap(folder, unit=0.001)
    with pytest.raises(InputError, match="or the metres in one unit, got -1"):
        read_colmap(folder, unit=-1)


@pytest.mark.parametrize(
    ("line", "distortion", "fisheye"),
    [
        ("SIMPLE_PINHOLE 9 9 8 4.5 4.5", [], False),
        ("PINHOLE 9 9 8 8 4.5 4.5", [], False),
        ("RADIAL 9 9 8 4.5 4.5 0.1 0.2", [0.1, 0.2, 0, 0], False),
        ("FULL_OPENCV 9 9 8 8 4.5 4.5 1 2 3 4 5 6 7 8", [1, 2, 3, 4, 5, 6, 7, 8], False),
        ("OPENCV_FISHEYE 9 9 8 8 4.5 4.5 1 2 3 4", [1, 2, 3, 4], True),
        ("SIMPLE_RADIAL_FISHEYE 9 9 8 4.5 4.5 0.1", [0.1, 0, 0, 0], True),
        ("RADIAL_FISHEYE 9 9 8 4.5 4.5 0.1 0.2", [0.1, 0.2, 0, 0], True),
    ],
)
def test_read__every_model(folder, line, distortion, fisheye):
    (folder / "cameras.txt").write_text(f"5 {line}\n")
    (folder / "images.txt").unlink()
    cameras = read_colmap(folder, dtype=torch.float64)
    assert cameras.names == ("cam_5",)
    assert not cameras.has_extrinsics
    assert cameras.intrinsics.tolist() == [[[8, 0, 4], [0, 8, 4], [0, 0, 1]]]
    assert cameras.distortion.tolist() == [distortion]
    assert (cameras.fisheye is not None) == fisheye


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("cameras.txt", "OPENCV", "FOV", "camera model FOV has no equal in OpenCV"),
        ("cameras.txt", " 0.002", "", "7 numbers, expected 8"),
        ("cameras.txt", " 0.001", " 0,001", "export it with decimal points"),
        ("cameras.txt", "7 SIMPLE_RADIAL", "1 SIMPLE_RADIAL", "camera 1 repeats"),
        ("cameras.txt", "7 SIMPLE_RADIAL", "8 SIMPLE_RADIAL", "camera 7, which cameras.txt lacks"),
        ("cameras.txt", "640 480", "640 0", "above 0"),
        ("cameras.txt", "7 SIMPLE_RADIAL 640 480", "7 SIMPLE_RADIAL 640", "is not|expected"),
        ("images.txt", "0.5 0.5 0.5 0.5", "0 0 0 0", "not a unit quaternion"),
        ("images.txt", " cam_2.jpg\n", "\n", "expected IMAGE_ID"),
        ("images.txt", "jpg\n\n4", "jpg\n4", "expected the image's points"),
        ("images.txt", "cam_3", "cam_2.jpg", "names repeat"),
    ],
)
def test_read__malformed_file_is_told(folder, file, old, new, message):
    text = {"cameras.txt": CAMERAS, "images.txt": IMAGES}[file]
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises((FormatError, CalibrationError), match=message):
        read_colmap(folder, unit="m")


def test_read__binary_empty_and_absent(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_colmap(tmp_path)
    (tmp_path / "cameras.bin").write_bytes(b"\x01")
    with pytest.raises(FormatError, match="model_converter"):
        read_colmap(tmp_path)
    (tmp_path / "cameras.txt").write_text("# nothing\n")
    with pytest.raises(CalibrationError, match="no camera in it"):
        read_colmap(tmp_path)


def test_read__endless_line_is_refused(folder, monkeypatch):
    monkeypatch.setattr("marey.io.colmap.LONGEST_LINE", 1000)
    (folder / "images.txt").write_text(IMAGES + "1 2 3 " * 1000)
    with pytest.raises(FormatError, match="a line of"):
        read_colmap(folder, unit="m")


@pytest.mark.parametrize("name", ["cameras.txt", "images.txt"])
def test_read__cut_anywhere(folder, name):
    read_every_cut(read_colmap, folder / name)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(IMAGES)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    folder = tmp_path_factory.mktemp("colmap")
    (folder / "cameras.txt").write_text(CAMERAS)
    read_changed(read_colmap, folder / "images.txt", IMAGES.encode(), junk, place, cut)


def rig(**changes):
    third = [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]
    lenses = [[0.0] * 8, [1, 2, 3, 4, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 0, 0, 0, 0]]
    values = {
        "intrinsics": torch.tensor([[[1000.0, 0, 319.5], [0, 900, 240], [0, 0, 1]]] * 4, dtype=torch.float64),
        "distortion": torch.tensor(lenses, dtype=torch.float64) / 100,
        "image_size": torch.tensor([[640.0, 480]] * 4, dtype=torch.float64),
        "rotation": torch.tensor([np.eye(3).tolist(), third] * 2, dtype=torch.float64),
        "translation": torch.tensor([[2.0, 1, 3], [0, 0, 4], [1, 0, 4], [0, 1, 4]], dtype=torch.float64),
        "fisheye": torch.tensor([False, False, False, True]),
        "names": ("a", "b", "c", "d"),
    }
    return Cameras(**values | changes)


def test_write__lines_by_hand(tmp_path):
    write_colmap(tmp_path / "model", rig())
    lines = [line for line in (tmp_path / "model" / "cameras.txt").read_text().splitlines() if line[0] != "#"]
    assert lines == [
        "1 PINHOLE 640 480 1000.0 900.0 320.0 240.5",
        "2 OPENCV 640 480 1000.0 900.0 320.0 240.5 0.01 0.02 0.03 0.04",
        "3 FULL_OPENCV 640 480 1000.0 900.0 320.0 240.5 0.01 0.02 0.03 0.04 0.05 0.06 0.07 0.08",
        "4 OPENCV_FISHEYE 640 480 1000.0 900.0 320.0 240.5 0.01 0.02 0.03 0.04",
    ]
    text = (tmp_path / "model" / "images.txt").read_text()
    rows = [line.split() for line in text.splitlines() if line[:1] != "#"]
    assert [row[8:] for row in rows] == [["1", "a"], [], ["2", "b"], [], ["3", "c"], [], ["4", "d"], []]
    assert [float(number) for number in rows[0][1:8]] == [1, 0, 0, 0, 2, 1, 3]
    assert [float(number) for number in rows[2][1:8]] == pytest.approx([0.5, 0.5, 0.5, 0.5, 0, 0, 4])


def test_write__never_over_a_model_with_points(tmp_path):
    write_colmap(tmp_path, rig())
    write_colmap(tmp_path, rig())
    (tmp_path / "points3D.txt").write_text("1 0 0 1 9 9 9 0.5 1 0\n")
    with pytest.raises(InputError, match="another COLMAP model with its points"):
        write_colmap(tmp_path, rig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distortion": torch.full((4, 12), 0.1), "fisheye": None}, "12 distortion coefficients, COLMAP holds 8"),
        ({"image_size": torch.full((4, 2), torch.nan)}, "needs whole numbers"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
        ({"intrinsics": torch.tensor([[[9.0, 1, 4], [0, 9, 4], [0, 0, 1]]] * 4)}, "skew of 1 px"),
        ({"names": ("a b", "c", "d", "e")}, "rename the camera 'a b'"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises((CalibrationError, InputError), match=message):
        write_colmap(tmp_path, rig(**change))
    assert not list(tmp_path.iterdir())


PYCOLMAP = """
import json, sys, numpy as np, pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
points = np.array(json.loads(sys.argv[2]))
print(json.dumps({
    image.name: [(np.asarray(image.project_point(point)) - 0.5).tolist() for point in points]
    for image in model.images.values()
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="needs the peers' environment: make peers")
def test_write__pycolmap_projects_to_the_same_pixels(tmp_path):
    from marey.geometry.projection import project

    write_colmap(tmp_path, rig())
    points = [[0.1, 0.2, 0.3], [-0.4, 0.1, 0.5]]
    command = [str(PEERS), "-c", PYCOLMAP, str(tmp_path), json.dumps(points)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    theirs = json.loads(done.stdout)
    ours = project(torch.tensor([points], dtype=torch.float64), rig())
    for view, name in enumerate("abcd"):
        assert ours[view].tolist() == [pytest.approx(pixel, abs=1e-6) for pixel in theirs[name]]
