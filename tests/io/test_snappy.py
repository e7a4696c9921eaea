"""Snappy's raw format: elements put together after its format description."""

import pytest

from marey.core import FormatError
from marey.io.snappy import decompress_snappy

GOOD = {
    "nothing": (b"\x00", b""),
    "a literal": (b"\x03\x08abc", b"abc"),
    "a literal of 60 bytes and one of 61": (b"\x79\xec" + b"x" * 60 + b"\xf0\x3c" + b"y" * 61, b"x" * 60 + b"y" * 61),
    "a literal with a length of two bytes": (b"\xac\x02\xf4\x2b\x01" + b"z" * 300, b"z" * 300),
    "a copy of one byte's offset": (b"\x08\x0cabcd\x01\x04", b"abcdabcd"),
    "a copy that repeats itself": (b"\x0a\x04ab\x11\x02", b"ab" * 5),
    "a copy of two bytes' offset": (b"\x06\x08abc\x0a\x03\x00", b"abcabc"),
    "a copy of four bytes' offset": (b"\x06\x08abc\x0b\x03\x00\x00\x00", b"abcabc"),
    "an offset above 255": (b"\x84\x02\xf0\xff" + b"ab" + b"c" * 254 + b"\x21\x00", b"ab" + b"c" * 254 + b"abcc"),
}


@pytest.mark.parametrize(("packed", "plain"), GOOD.values(), ids=GOOD)
def test_snappy__elements(packed, plain):
    assert decompress_snappy(packed) == plain


BAD = {
    "without length": (b"", "ends within a number"),
    "a bomb": (b"\xff\xff\xff\x7f\x00a", "promise 268435455, more than is possible"),
    "too short": (b"\x04\x08abc", "unpacks to 3 bytes, expected 4"),
    "too long": (b"\x02\x08abc", "unpacks to 3 bytes, expected 2"),
    "a cut literal": (b"\x03\x08ab", "ends within a literal"),
    "a literal cut in its length": (b"\x03\xfc\x01", "ends within a literal"),
    "a cut copy": (b"\x06\x08abc\x0b\x03\x00", "ends within a copy"),
    "a copy of nothing": (b"\x06\x08abc\x0a\x00\x00", "copies from before the beginning"),
    "a copy from before": (b"\x06\x08abc\x0a\x04\x00", "copies from before the beginning"),
}


@pytest.mark.parametrize(("packed", "message"), BAD.values(), ids=BAD)
def test_snappy__damaged(packed, message):
    with pytest.raises(FormatError, match=message):
        decompress_snappy(packed)
