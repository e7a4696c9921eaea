"""Against SciPy, which writes the same format."""

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from marey.core import FormatError, InputError
from marey.io.matlab5 import read_matlab5

scipy_io = pytest.importorskip("scipy.io", reason="the optional scipy is not installed")

TYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_numbers__of_every_type(tmp_path, kind, compressed):
    values = np.arange(24).reshape(2, 3, 4).astype(kind)
    scipy_io.savemat(tmp_path / "a.mat", {"a": values, "one": values[:1, :1, 0]}, do_compression=compressed)
    found = read_matlab5(tmp_path / "a.mat")
    np.testing.assert_array_equal(found["a"], values)
    assert found["a"].dtype == kind
    assert found["one"].shape == (1, 1)


@given(
    values=arrays.arrays(
        st.sampled_from([np.dtype(kind) for kind in TYPES]),
        arrays.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=5),
    ),
    compressed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_numbers__come_back(tmp_path_factory, values, compressed):
    path = tmp_path_factory.mktemp("m") / "a.mat"
    scipy_io.savemat(path, {"x": values}, do_compression=compressed)
    np.testing.assert_array_equal(read_matlab5(path)["x"], values)


def test_text__cells_and_structs(tmp_path):
    cells = np.empty((2, 2), object)
    cells[:] = [["bär", np.ones((1, 3))], [np.zeros((0, 0)), np.array([[7.0]])]]
    people = np.zeros((1, 2), dtype=[("name", object), ("age", object)])
    people[0, 0], people[0, 1] = ("a", 3.0), ("bc", np.array([[1, 2]], np.uint8))
    scipy_io.savemat(
        tmp_path / "a.mat",
        {
            "cells": cells,
            "people": people,
            "one": {"x": 1.0, "in": {"y": "z"}},
            "rows": np.array(["ab", "cd"]),
            "b": True,
        },
    )
    found = read_matlab5(tmp_path / "a.mat")
    assert found["cells"][0, 0] == "bär"
    assert found["cells"][0, 1].tolist() == [[1, 1, 1]]
    assert found["cells"][1, 0].shape == (0, 0)
    assert found["people"].shape == (1, 2)
    assert found["people"][0, 1]["name"] == "bc"
    assert found["people"][0, 1]["age"].tolist() == [[1, 2]]
    assert found["one"]["in"]["y"] == "z"
    assert found["rows"].tolist() == ["ab", "cd"]
    assert found["b"].tolist() == [[1]]


def test_names__only_those_asked_for_are_unpacked(tmp_path):
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {"first": np.ones((3, 3)), "second": np.zeros((2, 2))}, do_compression=True)
    assert list(read_matlab5(path, ("second", "third"))) == ["second"]
    data = path.read_bytes()
    length = struct.unpack("<I", data[132:136])[0]
    packed = zlib.decompress(data[136 : 136 + length])
    cut = zlib.compress(packed)[:-6]  # the first variable's end is missing: nobody asked for it
    path.write_bytes(data[:132] + struct.pack("<I", len(cut)) + cut + data[136 + length :])
    assert list(read_matlab5(path, ("second",))) == ["second"]


def test_big_endian__by_hand(tmp_path):
    """A 1 x 2 of int16 named `ab`, as a machine of the other byte order writes it."""
    matrix = (
        struct.pack(">IIII", 6, 8, 6, 0)  # flags: class 6 (double)
        + struct.pack(">IIii", 5, 8, 1, 2)  # dimensions
        + struct.pack(">HH", 2, 1) + b"ab\0\0"  # a small element: 2 bytes of type 1
        + struct.pack(">HHhh", 4, 3, -5, 300)  # stored as int16
    )  # fmt: skip
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    (tmp_path / "a.mat").write_bytes(header + struct.pack(">II", 14, len(matrix)) + matrix)
    found = read_matlab5(tmp_path / "a.mat")["ab"]
    assert found.tolist() == [[-5.0, 300.0]]
    assert found.dtype == np.float64


def test_other_kinds__are_named(tmp_path):
    from scipy.sparse import csc_matrix

    scipy_io.savemat(tmp_path / "a.mat", {"s": csc_matrix(np.eye(3))})
    with pytest.raises(FormatError, match="'s' holds a sparse matrix"):
        read_matlab5(tmp_path / "a.mat")
    scipy_io.savemat(tmp_path / "a.mat", {"c": np.array([[1j]])})
    with pytest.raises(FormatError, match="'c' holds complex numbers"):
        read_matlab5(tmp_path / "a.mat")
    with pytest.raises(InputError, match="cannot read"):
        read_matlab5(tmp_path / "none.mat")


def seed():
    cells = np.empty((1, 2), object)
    cells[0] = [np.arange(6.0).reshape(2, 3), "text"]
    file = io.BytesIO()
    scipy_io.savemat(file, {"c": cells, "s": {"a": 1.0, "b": np.arange(3)}, "n": np.arange(4, dtype=np.int16)})
    return file.getvalue()


def test_every_cut__is_an_error_or_fewer_variables(tmp_path):
    whole, path = seed(), tmp_path / "a.mat"
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        try:
            found = read_matlab5(path)
        except FormatError:
            continue
        assert len(found) < 3 or end >= len(whole) - 8


@given(place=st.integers(128, 1000), junk=st.binary(max_size=8), cut=st.integers(0, 9))
@settings(max_examples=300, deadline=None)
def test_any_change__is_a_typed_error_or_a_result(tmp_path_factory, place, junk, cut):
    path = tmp_path_factory.getbasetemp() / "changed.mat"
    whole = seed()
    path.write_bytes(whole[:place] + junk + whole[place + cut :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(FormatError):
            read_matlab5(path)


def test_promises__that_the_file_cannot_keep(tmp_path):
    """A cell of a thousand million entries in a hundred bytes."""
    matrix = (
        struct.pack("<IIII", 6, 8, 1, 0)
        + struct.pack("<IIii", 5, 8, 1 << 30, 1)
        + struct.pack("<HH", 1, 1)
        + b"c\0\0\0"
    )
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 14, len(matrix)) + matrix)
    with pytest.raises(FormatError, match="more than it has bytes for"):
        read_matlab5(tmp_path / "a.mat")
