"""TensorFlow's checkpoints: miniatures by hand, after `tensor_bundle.proto`, and one that TensorFlow 2.8 wrote."""

import struct

import numpy as np
import pytest
import torch

from leveldb_tables import block, checksum, stored, table, varint
from marey.core import FormatError, InputError, MissingAssetError
from marey.io.tensorflow_bundle import read_tensor_bundle
from tensorflow_files import graph_nodes

FLOAT, INT32, STRING, BOOL, BFLOAT16, HALF, RESOURCE = 1, 3, 7, 10, 14, 19, 20
HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one file, little-endian, version 1


def entry(dtype, shape, content, *, offset=0, shard=0, extra=b"", size=None):
    """A BundleEntryProto."""
    sizes = b"".join(b"\x12" + varint(len(size) + 1) + b"\x08" + size for size in map(varint, shape))
    message = b"\x08" + varint(dtype) + b"\x12" + varint(len(sizes)) + sizes
    message += (b"\x18" + varint(shard)) * (shard > 0) + (b"\x20" + varint(offset)) * (offset > 0)
    return (
        message + b"\x28" + varint(len(content) if size is None else size) + b"\x35" + stored(checksum(content)) + extra
    )


def text(*values):
    """A tensor of text: lengths, their checksum, characters; and the entry that goes with it."""
    check = checksum(b"".join(struct.pack("<I", len(value)) for value in values))
    lengths, characters = b"".join(varint(len(value)) for value in values), b"".join(values)
    content = lengths + stored(check) + characters
    sizes = b"" if len(values) == 1 else b"\x12\x02\x08" + varint(len(values))
    message = b"\x08\x07\x12" + varint(len(sizes)) + sizes
    return content, message + b"\x28" + varint(len(content)) + b"\x35" + stored(
        checksum(stored(check) + characters, check)
    )


KERNEL = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
DATA = KERNEL + struct.pack("<i", -7)
ROOT = b"\x0a\x0c\x0a\x0a\x08\x01\x12\x06layers"  # a node that only names another one
GRAPH, GRAPH_ENTRY = text(ROOT + graph_nodes({"a": "dense/kernel", "b": "steps"}))
PAIRS = [
    (b"", HEADER),
    (b"_CHECKPOINTABLE_OBJECT_GRAPH", GRAPH_ENTRY.replace(b"\x28", b"\x20\x1c\x28", 1)),
    (b"a", entry(FLOAT, (2, 3), KERNEL)),
    (b"b", entry(INT32, (), DATA[24:], offset=24)),
]
INDEX = table(block(PAIRS))
FILES = {"m.index": INDEX, "m.data-00000-of-00001": DATA + GRAPH}


def write(folder, pairs=None, *, data=DATA, index=None, name="m"):
    folder.mkdir(exist_ok=True)
    content = table(block([(b"", HEADER), *(pairs or [])])) if index is None else index
    (folder / f"{name}.index").write_bytes(content)
    (folder / f"{name}.data-00000-of-00001").write_bytes(data)
    return folder / name


def write_files(folder):
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_bundle__tensors_and_the_names_of_the_program(tmp_path):
    bundle = read_tensor_bundle(write_files(tmp_path) / "m")
    assert bundle.numeric == ("a", "b")
    found = bundle.tensors()
    assert found["a"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["a"].dtype == torch.float32
    assert found["b"].tolist() == -7
    assert found["b"].dtype == torch.int32
    assert bundle.variable_names == {"a": "dense/kernel", "b": "steps"}


@pytest.mark.parametrize(
    ("number", "raw", "dtype", "values"),
    [
        (FLOAT, struct.pack("<2f", 0.5, -2), torch.float32, [0.5, -2]),
        (2, struct.pack("<2d", 0.1, 3), torch.float64, [0.1, 3]),
        (4, b"\x00\xff", torch.uint8, [0, 255]),
        (5, struct.pack("<2h", -1, 300), torch.int16, [-1, 300]),
        (6, b"\x80\x7f", torch.int8, [-128, 127]),
        (8, struct.pack("<4f", 1, 2, 3, -4), torch.complex64, [1 + 2j, 3 - 4j]),
        (9, struct.pack("<2q", -(1 << 40), 5), torch.int64, [-(1 << 40), 5]),
        (BOOL, b"\x00\x02", torch.bool, [False, True]),
        (BFLOAT16, bytes.fromhex("803f20c0"), torch.bfloat16, [1, -2.5]),
        (17, struct.pack("<2H", 65535, 1), torch.uint16, [65535, 1]),
        (HALF, bytes.fromhex("003c00c5"), torch.float16, [1, -5]),
        (23, struct.pack("<2Q", 1 << 62, 1), torch.uint64, [1 << 62, 1]),
    ],
)
def test_bundle__types(tmp_path, number, raw, dtype, values):
    bundle = read_tensor_bundle(write(tmp_path, [(b"x", entry(number, (2,), raw))], data=raw))
    found = bundle.tensor("x")
    assert found.dtype == dtype
    assert found.tolist() == values


def test_bundle__tensors_without_elements_and_of_one(tmp_path):
    pairs = [(b"none", entry(FLOAT, (3, 0, 2), b"")), (b"one", entry(FLOAT, (1, 1), KERNEL[:4]))]
    found = read_tensor_bundle(write(tmp_path, pairs)).tensors()
    assert found["none"].shape == (3, 0, 2)
    assert found["one"].tolist() == [[1]]


def test_bundle__in_two_files(tmp_path):
    header = b"\x08\x02" + HEADER[2:]
    pairs = [(b"", header), (b"a", entry(FLOAT, (6,), KERNEL)), (b"b", entry(FLOAT, (1,), KERNEL[8:12], shard=1))]
    (tmp_path / "m.index").write_bytes(table(block(pairs)))
    (tmp_path / "m.data-00000-of-00002").write_bytes(KERNEL)
    (tmp_path / "m.data-00001-of-00002").write_bytes(KERNEL[8:12])
    found = read_tensor_bundle(tmp_path / "m.data-00001-of-00002").tensors()
    assert {name: value.tolist() for name, value in found.items()} == {"a": [1, 2, 3, 4, 5, 6], "b": [3]}


def test_bundle__text(tmp_path):
    content, message = text(b"pelvis", b"", "größe".encode())
    bundle = read_tensor_bundle(write(tmp_path, [(b"names", message)], data=content))
    assert bundle.text("names") == [b"pelvis", b"", "größe".encode()]
    assert bundle.numeric == ()
    assert bundle.variable_names == {}  # without a graph
    with pytest.raises(FormatError, match="type 7, expected numbers"):
        bundle.tensor("names")
    (tmp_path / "m.data-00000-of-00001").write_bytes(content[:-1] + b"!")
    with pytest.raises(FormatError, match="'names' is damaged: its checksum is another"):
        bundle.text("names")
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"\x05\x01" + content[2:])
    with pytest.raises(FormatError, match="'names' is damaged: the checksum of its lengths"):
        bundle.text("names")


def test_path__every_way_to_name_a_checkpoint(tmp_path):
    write_files(tmp_path)
    for path in ("m", "m.index", "m.data-00000-of-00001", "."):
        assert read_tensor_bundle(tmp_path / path).prefix == tmp_path / "m"
    saved = tmp_path / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"never read")
    for name, content in FILES.items():
        (saved / "variables" / name.replace("m.", "variables.")).write_bytes(content)
    assert read_tensor_bundle(saved).tensor("b") == -7


def test_path__the_last_of_several(tmp_path):
    for name in ("ckpt-9", "ckpt-10"):
        write(tmp_path, [(b"x", entry(FLOAT, (1,), KERNEL[:4]))], name=name)
    with pytest.raises(MissingAssetError, match="found several \\(ckpt-10, ckpt-9\\); name one"):
        read_tensor_bundle(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/there/ckpt-9"\nall_model...: "ckpt-10"\n')
    assert read_tensor_bundle(tmp_path).prefix.name == "ckpt-9"


def test_path__without_a_checkpoint(tmp_path):
    with pytest.raises(MissingAssetError, match=r"found no file m\.index"):
        read_tensor_bundle(tmp_path / "m")
    with pytest.raises(MissingAssetError, match="expected a checkpoint of TensorFlow or a SavedModel, found none"):
        read_tensor_bundle(tmp_path)
    write_files(tmp_path)
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(MissingAssetError, match="expected the tensors beside the index"):
        read_tensor_bundle(tmp_path)


def test_tensor__unknown_name_lists_some(tmp_path):
    bundle = read_tensor_bundle(write_files(tmp_path))
    with pytest.raises(InputError, match="no tensor 'c' among 3, such as _CHECKPOINTABLE_OBJECT_GRAPH, a, b"):
        bundle.tensor("c")
    with pytest.raises(FormatError, match="type 1, expected text"):
        bundle.text("a")


def test_tensor__with_a_flipped_bit(tmp_path):
    write_files(tmp_path)
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"\x01" + FILES["m.data-00000-of-00001"][1:])
    bundle = read_tensor_bundle(tmp_path)
    assert bundle.tensor("b") == -7
    with pytest.raises(FormatError, match="'a' is damaged: its checksum is another"):
        bundle.tensor("a")


def test_tensor__partitioned_or_no_tensor(tmp_path):
    pairs = [
        (b"parts", entry(FLOAT, (1 << 40,), b"", extra=b"\x3a\x02\x0a\x00")),
        (b"table", entry(RESOURCE, (), b"")),
    ]
    bundle = read_tensor_bundle(write(tmp_path, pairs))
    with pytest.raises(FormatError, match="'parts' is partitioned; save the variables without a partitioner"):
        bundle.tensor("parts")
    with pytest.raises(FormatError, match="'table' is of TensorFlow's type 20, expected numbers"):
        bundle.tensor("table")


BROKEN = {
    "without header": (table(block(PAIRS[2:])), "without the header of a checkpoint"),
    "big-endian": (table(block([(b"", HEADER[:2] + b"\x10\x01" + HEADER[2:])])), "written on a big-endian machine"),
    "of the future": (table(block([(b"", b"\x08\x01\x1a\x02\x10\x02")])), "of the version 2 of checkpoints"),
    "no files": (table(block([(b"", HEADER[2:])])), "a checkpoint of 0 files"),
    "many files": (table(block([(b"", b"\x08" + varint(1 << 40))])), "a checkpoint of 1099511627776 files"),
    "name": (table(block([*PAIRS[:1], (b"\xff", PAIRS[2][1])])), "not UTF-8"),
    "shard": (table(block([*PAIRS[:1], (b"a", entry(FLOAT, (6,), KERNEL, shard=1))])), "lies outside the files"),
    "negative": (table(block([*PAIRS[:1], (b"a", entry(FLOAT, ((1 << 64) - 6,), KERNEL))])), "impossible sizes"),
    "huge": (table(block([*PAIRS[:1], (b"a", entry(FLOAT, (1 << 30, 0, 1 << 30), b""))])), "impossible sizes"),
    "other size": (table(block([*PAIRS[:1], (b"a", entry(FLOAT, (7,), KERNEL))])), r"shape \(7,\) has 24 bytes"),
    "many texts": (table(block([*PAIRS[:1], (b"a", entry(STRING, (99,), KERNEL))])), "99 texts has 24 bytes"),
    "beyond the end": (table(block([*PAIRS[:1], (b"a", entry(FLOAT, (6,), KERNEL, offset=8))])), "beyond its end"),
    "overlap": (
        table(block([*PAIRS[:1], (b"a", entry(FLOAT, (6,), KERNEL)), (b"b", entry(FLOAT, (1,), KERNEL, size=4))])),
        "overlaps another tensor",
    ),
    "cut entry": (table(block([*PAIRS[:1], (b"a", b"\x08\x01\x35\x00")])), "ends within a field"),
    "kind of field": (table(block([*PAIRS[:1], (b"a", b"\x0b")])), "a field of the kind 3"),
    "kind of value": (table(block([*PAIRS[:1], (b"a", b"\x10\x01")])), "a number where bytes belong"),
    "long number": (table(block([*PAIRS[:1], (b"a", b"\x08" + b"\xff" * 11)])), "more than 64 bits"),
}


@pytest.mark.parametrize(("index", "message"), BROKEN.values(), ids=BROKEN)
def test_index__damaged(tmp_path, index, message):
    with pytest.raises(FormatError, match=message):
        read_tensor_bundle(write(tmp_path, index=index))


def test_graph__damaged(tmp_path):
    content, message = text(b"\x0a\x05\x12")
    bundle = read_tensor_bundle(write(tmp_path, [(b"_CHECKPOINTABLE_OBJECT_GRAPH", message)], data=content))
    with pytest.raises(FormatError, match="the graph of objects ends within a field"):
        bundle.variable_names  # noqa: B018 - read when asked for


@pytest.mark.realdata
def test_bundle__that_tensorflow_wrote(shared_parity):
    folder = shared_parity / "metapose" / "ckpt_small"
    bundle = read_tensor_bundle(folder)
    with np.load(folder / "values.npz") as values:
        assert len(values.files) == 37
        for name in values.files:
            np.testing.assert_array_equal(bundle.tensor(name).numpy(), values[name])
    assert len(bundle.tensors()) == 69
    assert bundle.variable_names["optimizer/learning_rate/.ATTRIBUTES/VARIABLE_VALUE"] == "Adam/learning_rate"
