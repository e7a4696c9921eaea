import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.biocv import read_biocv, write_biocv

TEXT = """1920
1080
1400.5 0 940
0 1390.5 560
0 0 1

1 0 0 500
0 0 -1 1500
0 1 0 3000
0 0 0 1

-0.25 0.125 1e-3 0.002 0.5
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "10.calib").write_text(TEXT)
    (tmp_path / "02.mp4.calib").write_text(TEXT.replace("500\n", "-500\n", 1).replace("0 0 0 1\n\n", ""))
    (tmp_path / "readme.txt").write_text("not a camera")
    return tmp_path


def test_read__numbers_by_hand(folder):
    cameras = read_biocv(folder, dtype=torch.float64)
    assert cameras.names == ("02", "10")
    assert cameras.image_size.tolist() == [[1920, 1080]] * 2
    assert cameras.intrinsics[1].tolist() == [[1400.5, 0, 940], [0, 1390.5, 560], [0, 0, 1]]
    assert cameras.distortion[1].tolist() == [-0.25, 0.125, 0.001, 0.002, 0.5]
    assert cameras.extrinsics[0][1].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert torch.allclose(cameras.extrinsics[1], torch.tensor([[-0.5, 1.5, 3], [0.5, 1.5, 3]], dtype=torch.float64))


def test_read__one_file_and_another_unit(folder):
    cameras = read_biocv(folder / "10.calib", unit="cm")
    assert cameras.names == ("10",)
    assert cameras.extrinsics[1][0].tolist() == [5, 15, 30]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1400.5 0", "1400,5 0", "export it with decimal points"),
        ("1400.5 0 940", "1400.5 0", "2 numbers, expected 3"),
        ("1 0 0 500", "1 0 0", "3 numbers, expected 4"),
        ("0 0 0 1\n", "0 0 0 2\n", "expected 0 0 0 1"),
        ("0 1 0 3000", "0 2 0 3000", "not a rotation matrix"),
        ("1920\n", "0\n", "above 0"),
        ("1e-3", "nan", "not a finite decimal number"),
        ("1080\n", "", "4 numbers, expected 3"),
        ("\n\n-0.25 0.125 1e-3 0.002 0.5", "", "9 lines, expected .* is it cut off"),
        ("0.5\n", "0.5" + " 1" * 10 + "\n", "15 distortion coefficients"),
    ],
)
def test_read__malformed_file_is_told(folder, old, new, message):
    assert old in TEXT
    (folder / "10.calib").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(FormatError, match=message) as caught:
        read_biocv(folder)
    assert "10.calib" in str(caught.value)


def test_read__empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.calib file"):
        read_biocv(tmp_path)


def test_read__cut_anywhere(folder):
    read_every_cut(read_biocv, folder / "10.calib")


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=20), st.integers(0, len(TEXT)), st.integers(0, 40))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    read_changed(read_biocv, tmp_path_factory.mktemp("biocv") / "0.calib", TEXT.encode(), junk, place, cut)


def rig(**changes):
    values = {
        "intrinsics": torch.tensor([[[1000.0, 2, 320], [0, 900, 240], [0, 0, 1]]], dtype=torch.float64),
        "distortion": torch.tensor([[-0.25, 0.125, 0.001, 0.002]], dtype=torch.float64),
        "image_size": torch.tensor([[640.0, 480]], dtype=torch.float64),
        "rotation": torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64),
        "translation": torch.tensor([[2.0, 1, 3]], dtype=torch.float64),
        "names": ("07",),
    }
    return Cameras(**values | changes)


@pytest.mark.parametrize("name", ["rig/07.calib", "rig"])
def test_write__lines_by_hand(tmp_path, name):
    (tmp_path / "rig").mkdir()
    write_biocv(tmp_path / name, rig())
    lines = (tmp_path / "rig" / "07.calib").read_text().split("\n")
    assert lines[:2] == ["640", "480"]
    assert [[float(word) for word in line.split()] for line in lines[2:]] == [
        [1000, 2, 320],
        [0, 900, 240],
        [0, 0, 1],
        [],
        [1, 0, 0, 2000],
        [0, 0, -1, 1000],
        [0, 1, 0, 3000],
        [0, 0, 0, 1],
        [],
        [-0.25, 0.125, 0.001, 0.002, 0],
        [],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fisheye": torch.tensor([True])}, "is a fisheye camera, which bioCV cannot hold"),
        ({"distortion": torch.full((1, 8), 0.1)}, "8 distortion coefficients, bioCV holds 5"),
        ({"image_size": torch.tensor([[640.5, 480]])}, "needs whole numbers"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
        ({"names": ("../07",)}, "become file names"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises((CalibrationError, InputError), match=message):
        write_biocv(tmp_path / "rig", rig(**change))
    assert not list(tmp_path.iterdir())


def test_write__one_camera_a_file(tmp_path):
    two = rig().map(lambda tensor: torch.cat([tensor, tensor]))
    with pytest.raises(InputError, match="one camera a file, got 2"):
        write_biocv(tmp_path / "x.calib", two)
