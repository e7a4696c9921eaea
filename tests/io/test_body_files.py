import io
import json
import os
import pickle
import resource
import struct
import time
import tracemalloc

import numpy as np
import pytest

import pickle2
from body.smpl_files import family_arrays, python2_pickle
from marey.core import FormatError, InputError
from marey.io.body_files import read_body_arrays, read_joint_regressor, write_body_npz

NAMES = ("v_template", "f", "weights", "kintree_table", "J_regressor", "shapedirs", "posedirs")


def safetensors_of(**arrays):
    """The format: the length of a JSON header (8 bytes), the header, the bytes of all arrays."""
    kinds = {"float64": "F64", "float32": "F32", "float16": "F16", "uint32": "U32", "int64": "I64"}
    header, start = {}, 0
    for name, value in arrays.items():
        end = start + value.nbytes
        header[name] = {"dtype": kinds[str(value.dtype)], "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(value.tobytes() for value in arrays.values())


@pytest.mark.parametrize("make", [pickle2.new_object, pickle2.old_object])
def test_read__pickle_of_python_2(tmp_path, make):
    arrays = family_arrays()
    (tmp_path / "basicModel.pkl").write_bytes(python2_pickle(arrays, make=make))
    found = read_body_arrays(tmp_path / "basicModel.pkl", NAMES)
    assert set(found) == set(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(found[name], arrays[name])


@pytest.mark.parametrize("protocol", range(6))
def test_read__pickle_of_python_3(tmp_path, protocol):
    arrays = family_arrays()
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(arrays | {"bs_type": "lrotmin"}, protocol))
    found = read_body_arrays(path, ("posedirs", "f"))
    assert set(found) == {"posedirs", "f"}
    np.testing.assert_array_equal(found["posedirs"], arrays["posedirs"])


def test_read__npz_with_objects(tmp_path):
    arrays = family_arrays("smplx")
    parts = np.array({"head": 15}, dtype=object)
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", part2num=parts, allow_pickle=True, **arrays)
    found = read_body_arrays(tmp_path / "SMPLX_NEUTRAL.npz", NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(found[name], arrays[name])


def test_read__npz_with_a_sparse_matrix_inside(tmp_path):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    regressor = np.array([[0.25, 0, 0.75]])
    wrapped = np.array(None, dtype=object)
    wrapped[()] = scipy_sparse.csr_matrix(regressor)
    np.savez(tmp_path / "model.npz", J_regressor=wrapped)
    np.testing.assert_array_equal(read_body_arrays(tmp_path / "model.npz", ["J_regressor"])["J_regressor"], regressor)


def test_read__safetensors(tmp_path):
    half = np.array([[0.5, 0.25]], np.float16)
    (tmp_path / "a.safetensors").write_bytes(safetensors_of(weights=half, f=np.array([[0, 1, 2]]), other=half))
    found = read_body_arrays(tmp_path / "a.safetensors", NAMES)
    assert set(found) == {"weights", "f"}
    assert found["weights"].tolist() == [[0.5, 0.25]]
    assert found["f"].tolist() == [[0, 1, 2]]


def test_write__opens_without_pickle(tmp_path):
    write_body_npz(tmp_path / "body.npz", {"weights": np.eye(2)})
    with np.load(tmp_path / "body.npz", allow_pickle=False) as archive:
        assert archive["weights"].tolist() == [[1, 0], [0, 1]]


class Call:
    """Pickles itself as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(**replaced):
    return python2_pickle(family_arrays(vertices=20, shapes=2), **replaced)


SHELL = b"cos\nsystem\n" + pickle2.tuple_of(pickle2.text("touch pwned")) + b"R"
GIANT = pickle2.new_object(
    "scipy.sparse.csc csc_matrix",
    pickle2.dict_of(
        _shape=pickle2.tuple_of(pickle2.number(1 << 30), pickle2.number(1 << 30)),
        data=pickle2.array([1.0]),
        indices=pickle2.array([0]),
        indptr=pickle2.array([0, 1]),
    ),
)
HOSTILE = {
    "a shell in place of an array": hostile(weights=SHELL),
    "a shell in what is not read": hostile(bs_style=SHELL),
    "a shell in a chumpy array": hostile(shapedirs=pickle2.new_object("chumpy.ch Ch", pickle2.dict_of(x=SHELL))),
    "a shell in a sparse matrix": hostile(
        J_regressor=pickle2.new_object("scipy.sparse.csc csc_matrix", pickle2.dict_of(data=SHELL))
    ),
    "a shell as a state": hostile(J_regressor=b"cchumpy.ch\nCh\n)\x81" + SHELL + b"b"),
    "a lambda of chumpy": hostile(shapedirs=pickle2.new_object("chumpy.ch ChLambda", b"}")),
    "an expression of chumpy": hostile(v_template=pickle2.new_object("chumpy.ch_ops multiply", b"}")),
    "a torch tensor": hostile(weights=b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
    "a joblib array": hostile(weights=b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b"),
    "a giant sparse matrix": hostile(J_regressor=GIANT),
    "a giant array": hostile(
        weights=b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01\x8a\x06\x00\x00\x00\x00\x00\x01\x85cnumpy\ndtype\n(U\x02f8K\x00K\x01tR\x89U\x00tb"
    ),
    "numpy.load": hostile(weights=b"cnumpy\nload\n" + pickle2.tuple_of(pickle2.text("x")) + b"R"),
    "exec of Python 3": pickle.dumps({"v_template": Call(exec, "open('pwned', 'w')")}),
    "os.system of Python 3": pickle.dumps({"v_template": Call(os.system, "touch pwned")}, 0),
    "a list": pickle.dumps([1.0]),
    "an array": pickle.dumps(np.eye(3), 2),
    "cut off": hostile()[:-50],
    "nothing": b"",
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 247186228\n",
    "a web page": b"<!DOCTYPE html><html>Sign in</html>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_read__hostile_pickle_is_refused_in_little_memory_and_does_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pkl").write_bytes(HOSTILE[name])
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(FormatError, match=r"model\.pkl: "):
            read_body_arrays("model.pkl", NAMES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert time.perf_counter() - start < 5
    assert [path.name for path in tmp_path.iterdir()] == ["model.pkl"]


def test_read__hostile_objects_in_an_archive_are_refused(tmp_path):
    with io.BytesIO() as stream:
        np.savez(stream, weights=np.array([Call(os.system, "touch pwned")], dtype=object))
        (tmp_path / "model.npz").write_bytes(stream.getvalue())
    with pytest.raises(FormatError, match="which is not plain data; refused"):
        read_body_arrays(tmp_path / "model.npz", NAMES)


def test_read__archive_that_is_none(tmp_path):
    (tmp_path / "model.npz").write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match="not a readable npz"):
        read_body_arrays(tmp_path / "model.npz", NAMES)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 16, struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_read__damaged_safetensors(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        read_body_arrays(tmp_path / "model.safetensors", NAMES)


def test_read__text_in_place_of_numbers_is_named(tmp_path):
    (tmp_path / "model.pkl").write_bytes(hostile(weights=pickle2.array(np.array(["a", "b"], "S1"))))
    with pytest.raises(FormatError, match=r"model\.pkl: 'weights': expected an array of real numbers"):
        read_body_arrays(tmp_path / "model.pkl", NAMES)


@pytest.mark.parametrize("name", ["absent.pkl", "absent.npz", "absent.safetensors"])
def test_read__absent(tmp_path, name):
    with pytest.raises(InputError, match=rf"cannot read .*{name}"):
        read_body_arrays(tmp_path / name, NAMES)


def test_read__kind_that_is_none_of_the_three(tmp_path):
    with pytest.raises(FormatError, match=r"expected a body file in \.pkl, \.npz, \.safetensors"):
        read_body_arrays(tmp_path / "model.fbx", NAMES)


def npy(header, content=b""):
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content


def test_regressor__as_published(tmp_path):
    content = npy(
        "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", struct.pack("<6d", 1, 0, 0, 0.5, 0, 0.5)
    )
    (tmp_path / "J_regressor_extra.npy").write_bytes(content)
    assert read_joint_regressor(tmp_path / "J_regressor_extra.npy").tolist() == [[1, 0, 0], [0, 0.5, 0.5]]


REGRESSORS = {
    "whole numbers": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }", bytes(8)),
    "a vector": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    "NaN": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }", struct.pack("<d", float("nan"))),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", pickle.dumps([Call(os.system, "x")])),
    "too few": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (9, 9), }", bytes(8)),
    "a giant": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }", bytes(8)),
    "half a number": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }", bytes(7)),
    "no header": npy("{'descr': }"),
    "code for a header": npy("__import__('os').system('touch pwned')"),
    "nothing": b"",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor__damaged(name, tmp_path):
    (tmp_path / "J.npy").write_bytes(REGRESSORS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match=r"J\.npy: "):
        read_joint_regressor(tmp_path / "J.npy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
