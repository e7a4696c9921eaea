import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.easymocap import read_easymocap, write_easymocap
from marey.io.opencv_yaml import read_opencv_yaml

INTRI = """%YAML:1.0
---
names:
   - "01"
   - "2"
K_01: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 1000., 0., 640., 0., 1.1e+03, 360.,
       0., 0., 1. ]
dist_01: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.1, 0.2, 0.003, 0.004, 0.5 ]
H_01: 720
W_01: 1280
note: { a: 1 }
K_2: !!opencv-matrix
   rows: 3
   cols: 3
   dt: f
   data: [ 900., 0., 640., 0., 900., 360., 0., 0., 1. ]
dist_2: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 0., 0., 0., 0., 0. ]
"""
EXTRI = """%YAML:1.0
---
names: [ "01", "2" ]
R_01: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0., 0., 1.5707963267948966 ]
Rot_01: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 0., -1., 0., 1., 0., 0., 0., 0., 1. ]
T_01: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0.5, 1., 3. ]
R_2: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0., 0., 0. ]
T_2: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 2., 0., 4. ]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "intri.yml").write_text(INTRI)
    (tmp_path / "extri.yml").write_text(EXTRI)
    return tmp_path


@pytest.mark.parametrize("name", ["", "intri.yml", "extri.yml"])
def test_read__numbers_by_hand(folder, name):
    cameras = read_easymocap(folder / name, dtype=torch.float64)
    assert cameras.names == ("01", "2")
    assert cameras.intrinsics.tolist() == [
        [[1000, 0, 640], [0, 1100, 360], [0, 0, 1]],
        [[900, 0, 640], [0, 900, 360], [0, 0, 1]],
    ]
    assert cameras.distortion.tolist() == [[-0.1, 0.2, 0.003, 0.004, 0.5], [0] * 5]
    assert cameras.image_size[0].tolist() == [1280, 720]
    assert cameras.image_size[1].isnan().all()  # absent, and not twice the principal point
    rotation, translation = cameras.extrinsics
    assert torch.allclose(rotation[0], torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64))
    assert torch.equal(rotation[1], torch.eye(3, dtype=torch.float64))
    assert translation.tolist() == [[0.5, 1, 3], [2, 0, 4]]


def test_read__without_extrinsics_and_from_one_file(folder):
    (folder / "extri.yml").unlink()
    assert not read_easymocap(folder).has_extrinsics
    (folder / "both.yaml").write_text(INTRI + EXTRI.partition("]\n")[2])
    assert read_easymocap(folder / "both.yaml").has_extrinsics


def test_read__names_from_the_keys_and_the_older_distortion(folder):
    text = INTRI.replace('names:\n   - "01"\n   - "2"\n', "").replace("dist_", "D_")
    (folder / "intri.yml").write_text(text)
    (folder / "extri.yml").unlink()
    cameras = read_easymocap(folder)
    assert cameras.names == ("01", "2")
    assert cameras.distortion[0, 4] == 0.5


def test_read__unit(folder):
    (folder / "extri.yml").write_text(EXTRI.replace("0.5, 1., 3.", "500., 1000., 3000.").replace("2., 0., 4.", "0,0,9"))
    with pytest.raises(CalibrationError, match="does not state its unit"):
        read_easymocap(folder)
    assert read_easymocap(folder, unit="mm").extrinsics[1][0].tolist() == pytest.approx([0.5, 1, 3])
    assert read_easymocap(folder, unit=0.001).extrinsics[1][0].tolist() == pytest.approx([0.5, 1, 3])


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("intri.yml", "1000., 0.,", "1000,5, 0.,", r"10 numbers for 3 x 3; are there decimal commas\?"),
        ("intri.yml", "[ 1000.,", "[ .Nan,", "'.Nan' is not a finite decimal number"),
        ("intri.yml", "[ 1000.,", "[ 1 2,", "not one between commas"),
        ("intri.yml", "[ 1000.,", "[ 0.,", "fx, fy > 0"),
        ("intri.yml", "rows: 3", "rows: 1.5", "expected whole numbers"),
        ("intri.yml", "dt: d", "dt: 2d", "elements of type '2d'"),
        ("intri.yml", "0., 0., 1. ]", "0., 0., 1.", "expected whole numbers|not a whole matrix"),
        ("intri.yml", "H_01: 720", "H_01: -5", "width and height above 0"),
        ("intri.yml", "H_01: 720", "K_01: 720", "the key 'K_01' repeats"),
        ("intri.yml", "H_01: 720", "what is this", "is not of the form 'key: value'"),
        ("intri.yml", "K_2: !!opencv", "L_2: !!opencv", "'K_2' is missing"),
        ("intri.yml", "K_2: !!opencv-matrix", "K_2: hello", "belongs to no key|is missing|not a matrix"),
        ("extri.yml", "1.5707963267948966", "1.0", "'Rot_01' and 'R_01' are different rotations"),
        ("extri.yml", "0., -1., 0.,", "0., -2., 0.,", "not a rotation matrix"),
        ("extri.yml", "T_2:", "U_2:", "no rotation and translation for 2"),
    ],
)
def test_read__malformed_file_is_told(folder, file, old, new, message):
    text = {"intri.yml": INTRI, "extri.yml": EXTRI}[file]
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises((FormatError, CalibrationError), match=message):
        read_easymocap(folder)


def test_read__nothing_there(tmp_path):
    with pytest.raises(InputError, match=r"holds no intri\.yml"):
        read_easymocap(tmp_path)
    (tmp_path / "x.yml").write_text("# empty\n")
    with pytest.raises(FormatError, match="no entry"):
        read_easymocap(tmp_path / "x.yml")


@pytest.mark.parametrize("name", ["intri.yml", "extri.yml"])
def test_read__cut_anywhere(folder, name):
    read_every_cut(lambda _: read_easymocap(folder), folder / name)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(INTRI)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("easymocap") / "x.yml"
    read_changed(read_easymocap, path, INTRI.encode(), junk, place, cut)


def rig(**changes):
    turn, _ = cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))
    values = {
        "intrinsics": torch.tensor([[[500.0, 0.25, 320], [0, 510, 240], [0, 0, 1]]] * 2, dtype=torch.float64),
        "distortion": torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0, 0, 0, 0]], dtype=torch.float64),
        "image_size": torch.tensor([[640.0, 480], [torch.nan] * 2], dtype=torch.float64),
        "rotation": torch.tensor(np.stack([turn, np.eye(3)])),
        "translation": torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=torch.float64),
        "names": ("01", "cam_2"),
    }
    return Cameras(**values | changes)


def test_write__opencv_reads_the_same_numbers(tmp_path):
    write_easymocap(tmp_path / "rig", rig())
    intri = cv2.FileStorage(str(tmp_path / "rig" / "intri.yml"), cv2.FILE_STORAGE_READ)
    extri = cv2.FileStorage(str(tmp_path / "rig" / "extri.yml"), cv2.FILE_STORAGE_READ)
    names = intri.getNode("names")
    assert [names.at(i).string() for i in range(names.size())] == ["01", "cam_2"]
    assert intri.getNode("K_01").mat().tolist() == [[500, 0.25, 320], [0, 510, 240], [0, 0, 1]]
    assert intri.getNode("dist_01").mat().tolist() == [[0.1, 0.2, 0.3, 0.4, 0.5]]
    assert (intri.getNode("W_01").real(), intri.getNode("H_01").real()) == (640, 480)
    assert intri.getNode("W_cam_2").empty()
    assert extri.getNode("R_01").mat() == pytest.approx(np.array([[0.1], [-0.2], [0.3]]), abs=1e-12)
    assert extri.getNode("Rot_01").mat() == pytest.approx(cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))[0], abs=1e-12)
    assert extri.getNode("T_cam_2").mat().tolist() == [[4], [5], [6]]


def test_read__what_opencv_writes(tmp_path):
    matrix = np.array([[500.123456789, 0, 320], [0, 510, 240], [0, 0, 1]])
    file = cv2.FileStorage(str(tmp_path / "x.yml"), cv2.FILE_STORAGE_WRITE)
    file.write("K_a", matrix)
    file.write("text", "some words: here")
    file.write("size", 3)
    file.release()
    found = read_opencv_yaml(tmp_path / "x.yml")
    assert found["K_a"].tolist() == matrix.tolist()
    assert found["text"] == "some words: here"
    assert found["size"] == "3"


def test_write__what_it_cannot_hold_is_told(tmp_path):
    with pytest.raises(CalibrationError, match="is a fisheye camera, which EasyMocap cannot hold"):
        write_easymocap(tmp_path, rig(fisheye=torch.tensor([True, False])))
    with pytest.raises(InputError, match="rename a b"):
        write_easymocap(tmp_path, rig(names=("a b", "c")))
    write_easymocap(tmp_path, rig())
    with pytest.raises(InputError, match="is of other cameras"):
        write_easymocap(tmp_path, rig(rotation=None, translation=None))
