"""The container of glTF 2.0: JSON that points into binary buffers, as one binary file or as text."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.text import MOST_BYTES, read_bytes_limited

VERTICES = 34962
"""The use of a buffer view that a graphics card reads as vertices."""
_MAGIC, _JSON_CHUNK, _BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_CODES = {np.dtype(name): code for code, name in _COMPONENTS.items()}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class GltfParts:
    """The arrays of a glTF file and what refers to them, while they are put together."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._parts: dict[str, list[dict[str, Any]]] = {}

    def add(self, kind: str, part: dict[str, Any]) -> int:
        """Append to the list `kind` of the document; give the part's place there."""
        parts = self._parts.setdefault(kind, [])
        parts.append(part)
        return len(parts) - 1

    def accessor(self, values: npt.NDArray[Any], kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """Append the rows of an array (N, ...) as a buffer view of its own, aligned to four bytes.

        Args:
            values: float32, uint8 or uint16.
            kind: SCALAR, VEC3, VEC4 or MAT4.
            target: What a graphics card uses it for.
            bounds: Whether to state the least and greatest of every column, as positions and times need it.
        """
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": values.nbytes}
        self._data += np.ascontiguousarray(values).tobytes()
        self._data += bytes(-len(self._data) % 4)
        accessor: dict[str, Any] = {
            "bufferView": self.add("bufferViews", view | ({"target": target} if target else {})),
            "componentType": _CODES[values.dtype],
            "count": len(values),
            "type": kind,
        }
        if bounds:
            columns = values.reshape(len(values), -1)
            accessor |= {"min": columns.min(axis=0).tolist(), "max": columns.max(axis=0).tolist()}
        return self.add("accessors", accessor)

    def text(self, head: dict[str, Any]) -> bytes:
        """The whole file as JSON, its data inside in base64."""
        return self._json(
            head, {"uri": "data:application/octet-stream;base64," + base64.b64encode(self._data).decode()}
        )

    def glb(self, head: dict[str, Any]) -> bytes:
        """The whole file as a binary one."""
        text = self._json(head, {})
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), _JSON_CHUNK) + text
        chunks += struct.pack("<II", len(self._data), _BIN_CHUNK) + self._data
        return struct.pack("<III", _MAGIC, 2, 12 + len(chunks)) + chunks

    def _json(self, head: dict[str, Any], buffer: dict[str, Any]) -> bytes:
        document = {
            "asset": {"version": "2.0", "generator": "Marey"},
            **head,
            **self._parts,
            "buffers": [buffer | {"byteLength": len(self._data)}],
        }
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class GltfFile:
    """A glTF file that has been opened: its JSON, and its arrays on demand. Nothing in it is trusted."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open `path`.

        Raises:
            InputError: the file cannot be read.
            FormatError: it is not glTF 2.0, or cut off.
        """
        self.path = Path(path)
        data = read_bytes_limited(self.path, most_bytes=MOST_BYTES)
        if data[:4] == struct.pack("<I", _MAGIC):
            text, self._chunk = self._chunks(data)
        else:
            text, self._chunk = data, b""
        self.document = self._parsed(text)
        self.size = len(data)
        """Bytes of the file and of the data that were fetched for it."""
        self._lists: dict[str, list[dict[str, Any]]] = {}
        asset = self.document.get("asset")
        version = asset.get("version") if isinstance(asset, dict) else None
        if not (isinstance(version, str) and version.startswith("2.")):
            self.refuse(f"not glTF 2: asset.version is {version!r}")
        needed = self.document.get("extensionsRequired")
        if needed:
            self.refuse(f"it requires extensions that are not supported: {str(needed)[:80]}")
        self._buffers: dict[int, bytes] = {}

    def refuse(self, message: str) -> NoReturn:
        """Raise the FormatError that names the file."""
        raise FormatError(f"{self.path}: {message}")

    def part(self, kind: str, place: object) -> dict[str, Any]:
        """Entry `place` of the list `kind`."""
        parts = self.parts(kind)
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(parts):
            self.refuse(f"there is no {kind}[{str(place)[:40]}]")
        return parts[place]

    def parts(self, kind: str) -> list[dict[str, Any]]:
        """The list `kind`, empty if it is absent."""
        if kind not in self._lists:  # checked once: every reference into it comes through here
            parts = self.document.get(kind, [])
            if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
                self.refuse(f"'{kind}' is not a list of objects")
            self._lists[kind] = parts
        return self._lists[kind]

    def count(self, part: dict[str, Any], field: str, default: int | None = None) -> int:
        """A whole number from 0 on in an entry."""
        value = part.get(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 40:
            self.refuse(f"'{field}' is {str(value)[:40]}, expected a whole number from 0")
        return value

    def array(self, place: object, kind: str) -> npt.NDArray[np.float64]:
        """The rows (N, W) of accessor `place`, which must be of the type `kind`, as finite numbers.

        Raises:
            FormatError: it is not there, of another type, sparse, or reaches beyond its buffer.
        """
        accessor = self.part("accessors", place)
        code = accessor.get("componentType")
        if accessor.get("type") != kind or not isinstance(code, int) or code not in _COMPONENTS:
            self.refuse(f"accessor {place} is {accessor.get('type')} of {code}, expected {kind} of a known number type")
        if "sparse" in accessor or "bufferView" not in accessor:
            self.refuse(f"accessor {place} is sparse or empty, which is not supported")
        view = self.part("bufferViews", accessor["bufferView"])
        dtype, width, rows = np.dtype(_COMPONENTS[code]), _WIDTHS[kind], self.count(accessor, "count")
        size = width * dtype.itemsize
        stride = self.count(view, "byteStride", size) or size
        start, length = self.count(accessor, "byteOffset", 0), self.count(view, "byteLength")
        data = memoryview(self._buffer(self.count(view, "buffer")))[self.count(view, "byteOffset", 0) :][:length]
        if stride < size or len(data) < length or (rows and start + (rows - 1) * stride + size > length):
            self.refuse(f"accessor {place} reaches beyond its data; cut off?")
        shape, steps = (rows, width), (stride, dtype.itemsize)
        found = np.ndarray(shape, dtype, data, start, steps) if rows else np.empty(shape, dtype)
        values = found.astype(np.float64)
        if accessor.get("normalized") and dtype.kind in "iu":
            values = np.maximum(values / np.iinfo(dtype).max, -1.0)
        if not np.isfinite(values).all():
            self.refuse(f"accessor {place} holds NaN or infinity")
        return values

    def _chunks(self, data: bytes) -> tuple[bytes, bytes]:
        """JSON and binary chunk of a GLB file."""
        if len(data) < 20:
            self.refuse("ends within its header; cut off?")
        _, version, length, size, kind = struct.unpack_from("<IIIII", data)
        if version != 2 or kind != _JSON_CHUNK:
            self.refuse(f"binary glTF of version {version}, expected 2 with JSON first")
        if length > len(data) or 20 + size > length:
            self.refuse(f"{len(data)} bytes, but its header promises {max(length, 20 + size)}; cut off?")
        rest = data[20 + size : length]
        if len(rest) < 8:
            return data[20 : 20 + size], b""
        size_of_data, kind = struct.unpack_from("<II", rest)
        if kind != _BIN_CHUNK or 8 + size_of_data > len(rest):
            self.refuse("its second chunk is cut off, or not binary data")
        return data[20 : 20 + size], rest[8 : 8 + size_of_data]

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.path}: not glTF: its JSON cannot be read ({str(error)[:80]})") from None
        if not isinstance(document, dict):
            self.refuse("not glTF: its JSON is not an object")
        return document

    def _buffer(self, place: int) -> bytes:
        if place not in self._buffers:
            buffer = self.part("buffers", place)
            uri = buffer.get("uri")
            data = self._chunk if uri is None and place == 0 else self._fetched(uri)
            if len(data) < self.count(buffer, "byteLength"):
                self.refuse(f"buffer {place} has {len(data)} bytes, fewer than it promises; cut off?")
            self._buffers[place] = data
        return self._buffers[place]

    def _fetched(self, uri: object) -> bytes:
        """The data of an address: inside the file, or a file beside it. Nothing else is opened."""
        if not isinstance(uri, str):
            self.refuse("a buffer has no data")
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            try:
                return base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote(body).encode()
            except ValueError:
                self.refuse("a buffer's base64 is damaged")
        name = unquote(uri)
        if not name or name in (".", "..") or any(sign in name for sign in "/\\:\0"):
            self.refuse(f"a buffer lies at '{uri[:80]}'; only files beside the glTF file are opened")
        data = read_bytes_limited(self.path.with_name(name), most_bytes=MOST_BYTES)
        self.size += len(data)
        return data
