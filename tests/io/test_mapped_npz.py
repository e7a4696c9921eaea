"""Mapped archives, written by NumPy and spoilt byte by byte."""

import zipfile

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.io.mapped_npz import map_npz

NUMBERS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def stored(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays or {"numbers": NUMBERS, "turned": np.asfortranarray(NUMBERS[0] / 2)})
    return tmp_path / "a.npz"


def test_map_npz__arrays_within_the_archive(tmp_path):
    found = map_npz(stored(tmp_path), ["numbers", "turned"])
    assert isinstance(found["numbers"], np.memmap)
    assert found["numbers"].tolist() == NUMBERS.tolist()
    assert found["turned"].tolist() == (NUMBERS[0] / 2).tolist()
    with pytest.raises(ValueError, match="read-only"):
        found["numbers"][0] = 1


def test_map_npz__only_what_is_asked_for(tmp_path):
    path = stored(tmp_path, numbers=NUMBERS, objects=np.array([{}], dtype=object), none=np.zeros((0, 3)))
    assert list(map_npz(path, ["numbers"])) == ["numbers"]
    assert map_npz(path, ["none"])["none"].shape == (0, 3)
    with pytest.raises(FormatError, match="never loaded"):
        map_npz(path, ["objects"])
    with pytest.raises(InputError, match="no array 'others' in it; it has: none, numbers, objects"):
        map_npz(path, ["others"])


def test_map_npz__compressed_arrays_are_unpacked_once(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", numbers=NUMBERS)
    with pytest.raises(InputError, match="'numbers' is compressed"):
        map_npz(tmp_path / "c.npz", ["numbers"])
    found = map_npz(tmp_path / "c.npz", ["numbers"], unpack_to=tmp_path / "there")
    assert found["numbers"].tolist() == NUMBERS.tolist()
    (file,) = (tmp_path / "there").iterdir()
    before = file.stat().st_mtime_ns
    assert map_npz(tmp_path / "c.npz", ["numbers"], unpack_to=tmp_path / "there")["numbers"][1, 2, 3] == 23
    assert file.stat().st_mtime_ns == before
    np.savez_compressed(tmp_path / "c.npz", numbers=NUMBERS + 1)  # another archive of that name
    assert map_npz(tmp_path / "c.npz", ["numbers"], unpack_to=tmp_path / "there")["numbers"][1, 2, 3] == 24


def npy(header, content=b"123"):
    padded = header + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + content


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999,), }"), "more than it has"),
        (npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-3,), }"), "more than it has|no readable array"),
        (npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': ("), "'big' is no readable array"),
        (b"hello", "'big' is no readable array"),
    ],
)
def test_map_npz__damaged_member(tmp_path, member, message):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("big.npy", member)
    with pytest.raises(FormatError, match=message):
        map_npz(tmp_path / "a.npz", ["big"])


def test_map_npz__a_member_elsewhere(tmp_path):
    path = stored(tmp_path, numbers=NUMBERS)
    data = path.read_bytes()
    path.write_bytes(b"XX" + data[2:])
    with pytest.raises(FormatError):
        map_npz(path, ["numbers"])
    path.write_bytes(data[:40])
    with pytest.raises(FormatError, match="not a readable npz archive"):
        map_npz(path, ["numbers"])
    with pytest.raises(InputError, match="cannot read"):
        map_npz(tmp_path / "nothing.npz", ["numbers"])
