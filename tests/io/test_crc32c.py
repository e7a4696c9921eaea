"""CRC-32C against the vectors of RFC 3720 and a bit-by-bit twin."""

import numpy as np
import pytest

from marey.io.crc32c import crc32c, masked

VECTORS = {  # RFC 3720, B.4, and the check value of the catalogue of CRCs
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    b"": 0,
}


@pytest.mark.parametrize(("data", "expected"), VECTORS.items())
def test_crc32c__published_vectors(data, expected):
    assert crc32c(data) == expected


def by_bits(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 255, 256, 257, 1023, 4099, 20_001])
def test_crc32c__equals_its_slow_twin(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == by_bits(data)


@pytest.mark.parametrize("cut", [0, 1, 3, 500, 999, 1000])
def test_crc32c__goes_on_from_a_start(cut):
    data = np.random.default_rng(0).bytes(1000)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_crc32c__of_more_than_one_piece():
    ones = bytes([1]) * (16 << 20)
    assert crc32c(ones + b"tail") == crc32c(b"tail", crc32c(ones))
    assert crc32c(memoryview(ones)[:20_001]) == by_bits(ones[:20_001])


def test_masked__turns_and_adds():
    assert masked(0) == 0xA282EAD8
    assert masked(0x00008000) == 0xA282EAD9  # bit 15 becomes bit 0
    assert masked(0x00000001) == 0xA284EAD8  # bit 0 becomes bit 17
