"""The checksum CRC-32C (Castagnoli), which TensorFlow's files carry, at the speed of NumPy.

The remainder is linear over GF(2), so that a long run of bytes is cut into lanes of equal length that advance together,
four bytes a step; their remainders are joined two by two with the operator that appends zeros.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = np.uint32(0x82F63B78)
"""Of RFC 3720, bits reversed."""
_PIECE = 16 << 20
_MOST_LANES, _LEAST_STEPS = 4096, 64
_MASK_DELTA = 0xA282EAD8

Words = npt.NDArray[np.uint32]


def crc32c(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """The checksum of bytes, or of bytes that follow others whose checksum is `start`."""
    state = start ^ 0xFFFFFFFF
    view = memoryview(data)
    for begin in range(0, len(view), _PIECE):
        state = _extended(state, view[begin : begin + _PIECE])
    return state ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """A checksum as LevelDB and TensorFlow store it: turned by 15 bits, plus a constant."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _extended(state: int, piece: memoryview) -> int:
    if len(piece) < 4:
        for byte in piece:
            state = int(_advanced(np.array([(state ^ byte) & 0xFF], np.uint32), 8)[0]) ^ (state >> 8)
        return state
    words = _words(state, piece)
    advanced = np.zeros(words.shape[1], np.uint32)
    low, high = _tables()
    for row in words:
        advanced ^= row
        advanced = low[advanced & 0xFFFF] ^ high[advanced >> 16]
    return _joined(advanced, len(words))


def _words(state: int, piece: memoryview) -> Words:
    """The bytes as little-endian words (steps, lanes), zeros put in front, which leave a remainder of zero as it is."""
    count = -(-len(piece) // 4)
    lanes = 1 << min(_MOST_LANES, max(count // _LEAST_STEPS, 1)).bit_length() - 1
    steps = -(-count // lanes)
    raw = np.zeros(4 * steps * lanes, np.uint8)
    begin = len(raw) - len(piece)
    raw[begin:] = np.frombuffer(piece, np.uint8)
    raw[begin : begin + 4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    return np.ascontiguousarray(raw.view("<u4").astype(np.uint32, copy=False).reshape(lanes, steps).T)


def _joined(remainders: Words, words: int) -> int:
    """The remainder of lanes after each other, each of so many words."""
    operator = _power(words)
    while len(remainders) > 1:
        remainders = _applied(operator, remainders[0::2]) ^ remainders[1::2]
        operator = _applied(operator, operator)
    return int(remainders[0])


def _power(words: int) -> Words:
    """The operator that appends so many words of zeros: what it makes of each of the 32 bits."""
    found = np.uint32(1) << np.arange(32, dtype=np.uint32)
    square = _advanced(found, 32)
    while words:
        if words & 1:
            found = _applied(square, found)
        square = _applied(square, square)
        words >>= 1
    return found


def _applied(operator: Words, values: Words) -> Words:
    bits = (values[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    result: Words = np.bitwise_xor.reduce(bits * operator, axis=1)
    return result


def _advanced(values: Words, bits: int) -> Words:
    """Remainders after so many bits of zeros."""
    one = np.uint32(1)
    for _ in range(bits):
        values = (values >> one) ^ (_POLYNOMIAL * (values & one))
    return values


@cache
def _tables() -> tuple[Words, Words]:
    """What a word becomes four bytes later, by its lower and its upper half."""
    half = np.arange(1 << 16, dtype=np.uint32)
    return _advanced(half, 32), _advanced(half << np.uint32(16), 32)
