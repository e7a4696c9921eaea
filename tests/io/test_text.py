"""Text files are read whole, but never without end."""

import pytest

from marey.core import FormatError, InputError
from marey.io.text import read_text_limited


def test_read_text_limited__byte_order_mark_and_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text_limited(tmp_path / "a.txt") == "one\ntwo\nthree\n"


def test_read_text_limited__absent_or_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_text_limited(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="cannot read"):
        read_text_limited(tmp_path)


def test_read_text_limited__too_large(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * 1001)
    with pytest.raises(FormatError, match="larger than"):
        read_text_limited(tmp_path / "a.txt", most_bytes=1000)
    assert len(read_text_limited(tmp_path / "a.txt", most_bytes=1001)) == 1001


def test_read_text_limited__line_too_long(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"short\n" + b"x" * 101 + b"\n")
    with pytest.raises(FormatError, match="a line of"):
        read_text_limited(tmp_path / "a.txt", longest_line=100)
    assert read_text_limited(tmp_path / "a.txt", longest_line=101).startswith("short")


def test_read_text_limited__not_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ab\xff\xfe")
    with pytest.raises(FormatError, match=r"byte 2 is not"):
        read_text_limited(tmp_path / "a.txt")
