"""The wire format of protocol buffers, on the examples of its documentation."""

import pytest

from marey.core import FormatError
from marey.io.protobuf_fields import content, fields, number, read_varint, signed


def test_fields__of_every_kind():
    message = b"\x08\x96\x01" + b"\x12\x07testing" + b"\x1d\x01\x02\x00\x00" + b"\x21\xff" + bytes(7) + b"\x08\x00"
    assert list(fields(message)) == [(1, 150), (2, b"testing"), (3, 513), (4, 255), (1, 0)]
    assert list(fields(b"")) == []


def test_varint__of_64_bits():
    assert read_varint(b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1) == ((1 << 64) - 1, 11)
    assert signed((1 << 64) - 2) == -2
    assert signed((1 << 63) - 1) == (1 << 63) - 1


BAD = {
    "cut number": (b"\x08\x96", "ends within a number"),
    "cut text": (b"\x12\x07test", "ends within a field"),
    "cut 4 bytes": (b"\x1d\x01", "ends within a field"),
    "cut 8 bytes": (b"\x21\x01\x02\x03\x04", "ends within a field"),
    "a group": (b"\x0b\x0c", "a field of the kind 3"),
    "a number of 70 bits": (b"\x08" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
}


@pytest.mark.parametrize(("message", "error"), BAD.values(), ids=BAD)
def test_fields__damaged(message, error):
    with pytest.raises(FormatError, match=error):
        list(fields(message))


def test_values__of_another_kind():
    with pytest.raises(FormatError, match="bytes where a number belongs"):
        number(b"7")
    with pytest.raises(FormatError, match="a number where bytes belong"):
        content(7)
    assert number(7) == 7
    assert content(b"7") == b"7"
