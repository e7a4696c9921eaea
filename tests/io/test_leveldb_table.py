"""Tables of LevelDB: blocks put together by hand, plain and compressed, whole and damaged."""

import struct

import pytest

from leveldb_tables import MAGIC, block, checksum, stored, table, varint
from marey.core import FormatError, InputError
from marey.io.leveldb_table import read_table


def write(folder, content):
    (folder / "t.index").write_bytes(content)
    return folder / "t.index"


def test_table__blocks_in_order(tmp_path):
    content = table(block([(b"", b"head"), (b"a", b"1")]), block([(b"b", b"")]))
    assert read_table(write(tmp_path, content)) == {b"": b"head", b"a": b"1", b"b": b""}


def test_table__keys_that_share_their_beginning(tmp_path):
    body = b"\x00\x05\x01layer1" + b"\x05\x02\x01/b2" + b"\x04\x03\x02z/c33"
    found = read_table(write(tmp_path, table(body + struct.pack("<II", 0, 1))))
    assert found == {b"layer": b"1", b"layer/b": b"2", b"layez/c": b"33"}


def test_table__compressed(tmp_path):
    # six bytes as they are, ten that repeat the last two (a copy with an offset of one byte), the rest as it is
    plain = block([(b"a", b"xyxyxyxyxyxy"), (b"b", b"")])
    packed = varint(len(plain)) + b"\x14" + plain[:6] + b"\x19\x02" + bytes([(len(plain) - 17) << 2]) + plain[16:]
    assert plain[6:16] == b"xyxyxyxyxy"
    assert read_table(write(tmp_path, table(packed, kind=1))) == {b"a": b"xyxyxyxyxyxy", b"b": b""}


def test_table__not_there(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_table(tmp_path / "none.index")


def raw_table(data, *handles):
    """The blocks of data as they are, an index of handles and no filter."""
    index = block([(bytes([97 + place]), handle) for place, handle in enumerate(handles)])
    footer = (b"\0\0" + varint(len(data)) + varint(len(index))).ljust(40, b"\0") + MAGIC
    return data + index + b"\0" + stored(checksum(index + b"\0")) + footer


def trailed(content, kind=b"\0"):
    return content + kind + stored(checksum(content + kind))


ONE = block([(b"a", b"1")])
HANDLE = b"\0" + varint(len(ONE))
NEXT = varint(len(trailed(ONE))) + varint(len(ONE))
RESTARTS = struct.pack("<II", 0, 1)
DAMAGED = {
    "empty": (b"", "expected the magic number of LevelDB"),
    "of another kind": (b"PK\x03\x04" * 20, "expected the magic number of LevelDB"),
    "cut off": (table(ONE)[:-1], "expected the magic number of LevelDB"),
    "cut in front": (table(ONE)[9:], r"is damaged: its checksum|lies outside"),
    "flipped bit": (b"\x01" + table(ONE)[1:], "the block at byte 0 is damaged: its checksum is another"),
    "far block": (raw_table(trailed(ONE), b"\0" + varint(1 << 40)), "a block lies outside"),
    "same block twice": (raw_table(trailed(ONE), HANDLE, HANDLE), "two blocks overlap"),
    "same key twice": (raw_table(trailed(ONE) * 2, HANDLE, NEXT), "its keys do not rise"),
    "compressed otherwise": (raw_table(trailed(ONE, b"\x02"), HANDLE), "compressed in a way 2"),
    "no room": (table(b"\0\0"), "too short for its restart points"),
    "many restarts": (table(struct.pack("<I", 1 << 30)), "too short for its restart points"),
    "long value": (table(b"\0\x01\x7fa" + RESTARTS), "reaches beyond its block"),
    "no predecessor": (table(b"\x01\x01\x00a" + RESTARTS), "reaches beyond its block or its predecessor"),
    "cut number": (table(b"\xff" + RESTARTS), "ends within a number"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_table__damaged(tmp_path, content, message):
    with pytest.raises(FormatError, match=rf"t\.index: not a readable table: .*({message})"):
        read_table(write(tmp_path, content))


def test_table__that_unpacks_to_far_more_is_refused(tmp_path):
    long = b"\0" + varint(60_000) + b"\0" + b"k" * 60_000  # then keys that repeat it and add one letter
    body = long + b"".join(varint(60_000 + count) + b"\x01\x00l" for count in range(3000))
    with pytest.raises(FormatError, match="unpack to far more than tables do; refused"):
        read_table(write(tmp_path, table(body + RESTARTS)))
