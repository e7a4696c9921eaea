"""Checkpoints of TensorFlow put together by hand, after `tensor_bundle.proto` and `trackable_object_graph.proto`.

The checksum is the library's, whose test compares it with published vectors: networks are large.
"""

import struct

import numpy as np

from leveldb_tables import block, stored, table, varint
from marey.io.crc32c import crc32c

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_TYPES = {"float32": 1, "int32": 3, "int64": 9, "float16": 19}


def write_checkpoint(prefix, variables, names=None):
    """Write numbers and lists of text by name; `names` is what the program called them."""
    entries, data = [(b"", b"\x08\x01\x1a\x02\x08\x01")], bytearray()
    content = dict(variables)
    if names:
        content[OBJECT_GRAPH] = graph_nodes(names)
    for name in sorted(content, key=str.encode):
        value = content[name]
        message, raw = _text(value) if isinstance(value, bytes | list) else _numbers(np.asarray(value))
        entries.append((name.encode(), message + b"\x20" + varint(len(data)) + b"\x28" + varint(len(raw))))
        data += raw
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(prefix.name + ".index").write_bytes(table(block(entries)))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


def _numbers(value):
    raw = np.ascontiguousarray(value).tobytes()
    return _head(_TYPES[value.dtype.name], value.shape) + b"\x35" + stored(crc32c(raw)), raw


def _text(value):
    texts = [value] if isinstance(value, bytes) else [text.encode() for text in value]
    check = crc32c(b"".join(struct.pack("<I", len(text)) for text in texts))
    characters = b"".join(texts)
    raw = b"".join(varint(len(text)) for text in texts) + stored(check) + characters
    head = _head(7, () if isinstance(value, bytes) else (len(texts),))
    return head + b"\x35" + stored(crc32c(stored(check) + characters, check)), raw


def _head(kind, shape):
    sizes = b"".join(b"\x12" + varint(len(varint(size)) + 1) + b"\x08" + varint(size) for size in shape)
    return b"\x08" + varint(kind) + b"\x12" + varint(len(sizes)) + sizes


def graph_nodes(names):
    """A TrackableObjectGraph of a node for each variable, by what the program called them."""
    nodes = b""
    for key, name in names.items():
        parts = (b"VARIABLE_VALUE", name.encode(), key.encode())
        attribute = b"".join(
            bytes([8 * (place + 1) + 2]) + varint(len(part)) + part for place, part in enumerate(parts)
        )
        node = b"\x12" + varint(len(attribute)) + attribute
        nodes += b"\x0a" + varint(len(node)) + node
    return nodes
