"""Tables of LevelDB put together by hand, after its `table_format.md`; the checksum goes bit by bit."""

import struct

MAGIC = bytes.fromhex("57fb808b247547db")


def checksum(data, start=0):
    """CRC-32C, masked only where it is stored."""
    state = start ^ 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def stored(crc):
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def block(pairs):
    """Entries that share nothing with their predecessors, one restart point."""
    body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs)
    return body + struct.pack("<II", 0, 1)


def table(*blocks, kind=0):
    """A table of data blocks; the index has a separator of one letter for each."""
    data, handles = b"", []
    for content in (*blocks, block([])):
        handles.append(varint(len(data)) + varint(len(content)))
        data += content + bytes([kind]) + stored(checksum(content + bytes([kind])))
        kind = kind if len(handles) < len(blocks) else 0
    index = block([(bytes([0x7A + place]), handle) for place, handle in enumerate(handles[:-1])])
    footer = handles[-1] + varint(len(data)) + varint(len(index))
    return data + index + b"\0" + stored(checksum(index + b"\0")) + footer.ljust(40, b"\0") + MAGIC
