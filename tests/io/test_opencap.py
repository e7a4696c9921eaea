import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import read_changed, read_every_cut
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.opencap import FILE, read_opencap, write_opencap


def array(*shape: int, values: list[float]) -> bytes:
    """Opcodes of an array of float64, as NumPy of OpenCap's days pickled it with protocol 3."""
    sizes = b"(" + b"".join(b"K" + bytes([size]) for size in shape) + b"t"
    content = struct.pack(f"<{len(values)}d", *values)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + sizes
        + b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
        b"\xffK\x00tb\x89C" + bytes([len(content)]) + content + b"tb"
    )  # fmt: skip


def key(name: str) -> bytes:
    return b"X" + struct.pack("<I", len(name)) + name.encode()


MATRIX = array(3, 3, values=[1400.5, 0, 365, 0, 1390.5, 645, 0, 0, 1])
PICKLE = (
    b"\x80\x03}("
    + key("intrinsicMat") + MATRIX
    + key("distortion") + array(1, 5, values=[-0.25, 0.125, 0.001, 0.002, 0.5])
    + key("imageSize") + array(2, 1, values=[1280, 720])
    + key("rotation") + array(3, 3, values=[1, 0, 0, 0, 0, -1, 0, 1, 0])
    + key("translation") + array(3, 1, values=[500, 1500, 3000])
    + key("rotation_EulerAngles") + array(3, 1, values=[0, 0, 0])
    + b"u."
)  # fmt: skip
"""What OpenCap keeps of one camera: 1280 high, 720 wide."""


@pytest.fixture
def folder(tmp_path):
    for name in ("Cam10", "Cam2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_bytes(PICKLE)
    (tmp_path / "Cam2" / FILE).write_bytes(PICKLE.replace(struct.pack("<d", 500), struct.pack("<d", -500)))
    return tmp_path


def test_read__numbers_by_hand(folder):
    cameras = read_opencap(folder, dtype=torch.float64)
    assert cameras.names == ("Cam2", "Cam10")
    assert cameras.image_size.tolist() == [[720, 1280]] * 2
    assert cameras.intrinsics[1].tolist() == [[1400.5, 0, 365], [0, 1390.5, 645], [0, 0, 1]]
    assert cameras.distortion[1].tolist() == [-0.25, 0.125, 0.001, 0.002, 0.5]
    assert cameras.extrinsics[0][1].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert torch.allclose(cameras.extrinsics[1], torch.tensor([[-0.5, 1.5, 3], [0.5, 1.5, 3]], dtype=torch.float64))


def test_read__one_file_and_pickles_side_by_side(folder):
    assert read_opencap(folder / "Cam2" / FILE).names == ("Cam2",)
    assert read_opencap(folder / "Cam2", unit="cm").extrinsics[1][0].tolist() == [-5, 15, 30]
    for name, source in (("left.pickle", "Cam2"), ("right.pkl", "Cam10")):
        (folder / name).write_bytes((folder / source / FILE).read_bytes())
    assert read_opencap(folder).names == ("left", "right")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'touch pwned'\ntR.", r"wants to use 'os\.system'"),
        (b"]." , "holds a list, expected a dict"),
        (PICKLE.replace(b"intrinsicMat", b"intrinsicMax"), "'intrinsicMat' is missing"),
        (PICKLE.replace(struct.pack("<d", 1400.5), struct.pack("<d", -1)), "fx, fy > 0"),
        (PICKLE.replace(struct.pack("<d", 1400.5), struct.pack("<d", np.nan)), "not finite"),
        (PICKLE.replace(struct.pack("<d", 720), struct.pack("<d", 0)), "above 0"),
        (b"}(" + key("imageSize") + b"X\x01\x00\x00\x00au.", "'imageSize' is 'a', expected numbers"),
        (PICKLE[:-30], "ends before its STOP"),
    ],
)  # fmt: skip
def test_read__malformed_file_is_told(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_opencap(tmp_path)
    assert "a.pickle" in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_read__empty_folder(tmp_path):
    with pytest.raises(InputError, match="nor folders with one"):
        read_opencap(tmp_path)


def test_read__cut_anywhere(tmp_path):
    (tmp_path / "a.pickle").write_bytes(PICKLE)
    assert read_every_cut(read_opencap, tmp_path / "a.pickle") == 0


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=8), st.integers(0, len(PICKLE)), st.integers(0, 8))
def test_read__damaged_anywhere(tmp_path_factory, junk, place, cut):
    read_changed(read_opencap, tmp_path_factory.mktemp("opencap") / "a.pickle", PICKLE, junk, place, cut)


def rig(**changes):
    values = {
        "intrinsics": torch.tensor([[[1000.0, 0, 320], [0, 900, 240], [0, 0, 1]]], dtype=torch.float64),
        "distortion": torch.tensor([[-0.25, 0.125, 0.001, 0.002]], dtype=torch.float64),
        "image_size": torch.tensor([[640.0, 480]], dtype=torch.float64),
        "rotation": torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64),
        "translation": torch.tensor([[2.0, 1, 3]], dtype=torch.float64),
        "names": ("Cam0",),
    }
    return Cameras(**values | changes)


def test_write__python_unpickles_what_opencap_expects(tmp_path):
    write_opencap(tmp_path / "Videos", rig())
    table = pickle.loads((tmp_path / "Videos" / "Cam0" / FILE).read_bytes())
    assert table["intrinsicMat"].tolist() == [[1000, 0, 320], [0, 900, 240], [0, 0, 1]]
    assert table["distortion"].tolist() == [[-0.25, 0.125, 0.001, 0.002, 0]]
    assert table["imageSize"].tolist() == [[480], [640]]
    assert table["rotation"].tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert table["translation"].tolist() == [[2000], [1000], [3000]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fisheye": torch.tensor([True])}, "is a fisheye camera, which OpenCap cannot hold"),
        ({"distortion": torch.full((1, 8), 0.1)}, "8 distortion coefficients, OpenCap holds 5"),
        ({"image_size": torch.full((1, 2), torch.nan)}, "needs whole numbers"),
        ({"rotation": None, "translation": None}, "has no rotation and translation"),
        ({"names": ("..",)}, "become file names"),
    ],
)
def test_write__what_it_cannot_hold_is_told(tmp_path, change, message):
    with pytest.raises((CalibrationError, InputError), match=message):
        write_opencap(tmp_path / "Videos", rig(**change))
    assert not list(tmp_path.iterdir())


def test_write__one_camera_a_file(tmp_path):
    write_opencap(tmp_path / "a.pickle", rig())
    assert (tmp_path / "a.pickle").is_file()
    with pytest.raises(InputError, match="one camera a file, got 2"):
        write_opencap(tmp_path / "b.pickle", rig(names=()).map(lambda tensor: torch.cat([tensor, tensor])))
