"""Checkpoints of TensorFlow 2 and the variables of its SavedModels, read without TensorFlow.

A checkpoint is a table of names (`model.index`, see `marey.io.leveldb_table`) whose values say where in the files
`model.data-00000-of-00001` a tensor lies; a SavedModel has one such pair in its folder `variables`. The messages in the
table are those of `tensor_bundle.proto`, `tensor_shape.proto` and `trackable_object_graph.proto` in
`tensorflow/core/protobuf` and `tensorflow/core/framework`. Nothing of the graph of a SavedModel is read or run.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from marey.core.errors import FormatError, InputError, MissingAssetError
from marey.io.crc32c import crc32c, masked
from marey.io.leveldb_table import read_table
from marey.io.protobuf_fields import content, fields, number, read_varint, signed
from marey.io.text import read_text_limited

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The entry that tells which object of the program a name belongs to, and how the program called the variable."""
MOST_BYTES = 8 << 30
"""Of the tensors in one checkpoint; more is refused before it is read."""

_TEXT, _BOOL = 7, 10
_TYPES: Mapping[int, torch.dtype] = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    8: torch.complex64,
    9: torch.int64,
    _BOOL: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    18: torch.complex128,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
"""Numbers of `types.proto`; what is not here (quantised numbers, resources, variants) is no tensor of weights."""
_MOST_DIMENSIONS = 16
_MOST_SHARDS = 10_000
_LARGEST = 1 << 48
"""Beyond any size or offset; keeps products of sizes small."""
_READABLE_VERSION = 1
_DATA = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")


@dataclass(frozen=True, kw_only=True)
class BundleEntry:
    """Where a tensor lies and what it is."""

    dtype: int
    """Number in `types.proto`."""
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    """Bytes."""
    checksum: int
    """Masked CRC-32C of the bytes."""
    sliced: bool
    """Whether the tensor was partitioned: its parts then lie elsewhere."""

    @property
    def count(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorBundle:
    """An opened checkpoint: names are known, tensors are read when asked for."""

    prefix: Path
    """The checkpoint's name in TensorFlow: that of its files without `.index`."""
    shards: int
    entries: Mapping[str, BundleEntry]

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the tensors of numbers, rising."""
        return tuple(name for name, entry in self.entries.items() if entry.dtype in _TYPES)

    def tensor(self, name: str) -> Tensor:
        """Read a tensor of numbers, on the CPU; its checksum is compared.

        Raises:
            InputError: there is none of that name.
            FormatError: it is damaged, partitioned, or of a type that PyTorch does not have.
        """
        entry = self._entry(name)
        if entry.dtype not in _TYPES:
            raise FormatError(f"{self.prefix}: '{name}' is of TensorFlow's type {entry.dtype}, expected numbers")
        raw = self._bytes(name, entry)
        if masked(crc32c(raw)) != entry.checksum:
            raise FormatError(f"{self.prefix}: '{name}' is damaged: its checksum is another; copy the file again")
        if not raw:
            return torch.empty(entry.shape, dtype=_TYPES[entry.dtype])
        if entry.dtype == _BOOL:  # bytes other than 0 and 1 are no truth values in PyTorch
            return (torch.frombuffer(raw, dtype=torch.uint8) != 0).reshape(entry.shape)
        return torch.frombuffer(raw, dtype=_TYPES[entry.dtype]).reshape(entry.shape)

    def tensors(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Read several tensors of numbers; None: all of them.

        Raises:
            InputError, FormatError: as `tensor`.
        """
        return {name: self.tensor(name) for name in (self.numeric if names is None else names)}

    def text(self, name: str) -> list[bytes]:
        """Read a tensor of text: its elements in C order.

        Raises:
            InputError: there is none of that name.
            FormatError: it is damaged or no text.
        """
        entry = self._entry(name)
        if entry.dtype != _TEXT:
            raise FormatError(f"{self.prefix}: '{name}' is of TensorFlow's type {entry.dtype}, expected text")
        try:
            return _texts(bytes(self._bytes(name, entry)), entry)
        except FormatError as error:
            raise FormatError(f"{self.prefix}: '{name}' {error}") from None

    @cached_property
    def variable_names(self) -> dict[str, str]:
        """Names of entries -> how the program called these variables (`resnet_v2_50/conv1/weights`).

        Checkpoints name a variable by the way to it through the program's objects. Those of TensorFlow 1 have no
        graph of objects and name it as the program does; the result is empty for them.

        Raises:
            FormatError: the graph is damaged.
        """
        if OBJECT_GRAPH not in self.entries:
            return {}
        try:
            return _variable_names(b"".join(self.text(OBJECT_GRAPH)))
        except FormatError as error:
            raise FormatError(f"{self.prefix}: the graph of objects {error}") from None

    def _entry(self, name: str) -> BundleEntry:
        if name not in self.entries:
            some = ", ".join(list(self.entries)[:5])
            raise InputError(f"{self.prefix}: no tensor '{name}' among {len(self.entries)}, such as {some}")
        return self.entries[name]

    def _bytes(self, name: str, entry: BundleEntry) -> bytearray:
        if entry.sliced:
            raise FormatError(f"{self.prefix}: '{name}' is partitioned; save the variables without a partitioner")
        place = _shard(self.prefix, entry.shard, self.shards)
        raw = bytearray(entry.size)
        try:
            with place.open("rb") as file:
                file.seek(entry.offset)
                count = file.readinto(raw)
        except OSError as error:
            raise InputError(f"cannot read {place}: {error.strerror or error}") from error
        if count != entry.size:
            raise FormatError(f"{place}: ends within '{name}'; it is cut off")
        return raw


def read_tensor_bundle(path: str | os.PathLike[str]) -> TensorBundle:
    """Open a checkpoint; no tensor is read yet, but all sizes are compared with those of the files.

    Args:
        path: The checkpoint's name (`model` of `model.index`), one of its files, a folder of checkpoints (the one that
            its file `checkpoint` names as the last, or the only one), or the folder of a SavedModel.

    Raises:
        MissingAssetError: there is no checkpoint.
        InputError: a file cannot be read.
        FormatError: the table is damaged, of big-endian machines or of a later version, or does not fit the files.
    """
    prefix = _prefix(Path(path))
    index = prefix.with_name(prefix.name + ".index")
    table = read_table(index)
    if b"" not in table:
        raise FormatError(f"{index}: a table without the header of a checkpoint; expected what TensorFlow saves")
    try:
        shards = _header(table.pop(b""))
        entries = {_utf8(name): _bundle_entry(value, shards) for name, value in table.items()}
    except FormatError as error:
        raise FormatError(f"{index}: {error}") from None
    _check_places(prefix, shards, entries)
    return TensorBundle(prefix=prefix, shards=shards, entries=entries)


def _prefix(path: Path) -> Path:
    """The name of the checkpoint that a path leads to."""
    if path.is_dir():
        return _prefix_within(path)
    cut = _DATA.fullmatch(path.name)
    name = cut[1] if cut else path.name.removesuffix(".index")
    if not path.with_name(name + ".index").is_file():
        raise MissingAssetError(f"{path}: expected a checkpoint of TensorFlow, found no file {name}.index")
    return path.with_name(name)


def _prefix_within(folder: Path) -> Path:
    variables = folder / "variables"
    if (variables / "variables.index").is_file():
        return variables / "variables"
    names = sorted(file.name.removesuffix(".index") for file in folder.glob("*.index"))
    state = folder / "checkpoint"
    if state.is_file():
        text = read_text_limited(state, most_bytes=1 << 20)
        last = re.search(r'^model_checkpoint_path:\s*"([^"\\]*)"', text, re.MULTILINE)
        name = last[1].replace("\\", "/").rpartition("/")[2] if last else ""  # folders may have been moved
        if name in names:
            return folder / name
    if len(names) != 1:
        found = f"several ({', '.join(names[:5])}); name one" if names else "none"
        raise MissingAssetError(f"{folder}: expected a checkpoint of TensorFlow or a SavedModel, found {found}")
    return folder / names[0]


def _header(message: bytes) -> int:
    """The number of files with data."""
    shards = 0
    for field, value in fields(message):
        if field == 1:
            shards = number(value)
        elif field == 2 and number(value) != 0:
            raise FormatError("written on a big-endian machine; expected little-endian numbers")
        elif field == 3:
            for part, version in fields(content(value)):
                if part == 2 and number(version) > _READABLE_VERSION:
                    raise FormatError(f"of the version {version} of checkpoints, expected {_READABLE_VERSION}")
    if not 0 < shards <= _MOST_SHARDS:
        raise FormatError(f"a checkpoint of {shards} files; expected 1 to {_MOST_SHARDS}")
    return shards


def _bundle_entry(message: bytes, shards: int) -> BundleEntry:
    found = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: tuple[int, ...] = ()
    sliced = False
    for field, value in fields(message):
        if field in found:
            found[field] = number(value)
        elif field == 2:
            shape = _shape(content(value))
        elif field == 7:
            sliced = True
    entry = BundleEntry(
        dtype=found[1], shape=shape, shard=found[3], offset=found[4], size=found[5], checksum=found[6], sliced=sliced
    )
    _check_entry(entry, shards)
    return entry


def _check_entry(entry: BundleEntry, shards: int) -> None:
    if entry.shard >= shards or max(entry.offset, entry.size) > _LARGEST:
        raise FormatError("an entry lies outside the files of the checkpoint; it is damaged")
    if entry.dtype in _TYPES and not entry.sliced and entry.size != entry.count * _TYPES[entry.dtype].itemsize:
        raise FormatError(f"a tensor of the shape {entry.shape} has {entry.size} bytes; it is damaged")
    if entry.dtype == _TEXT and entry.count > entry.size:
        raise FormatError(f"a tensor of {entry.count} texts has {entry.size} bytes; it is damaged")


def _shape(message: bytes) -> tuple[int, ...]:
    sizes: list[int] = []
    for field, value in fields(message):
        if field == 3 and number(value):
            raise FormatError("a tensor of unknown shape; it is damaged")
        if field == 2:
            size = sum(signed(number(part)) for key, part in fields(content(value)) if key == 1)
            if not 0 <= size <= _LARGEST or len(sizes) == _MOST_DIMENSIONS:
                raise FormatError("a tensor with impossible sizes; it is damaged")
            sizes.append(size)
    if math.prod(size or 1 for size in sizes) > _LARGEST:  # also of a tensor without elements
        raise FormatError("a tensor with impossible sizes; it is damaged")
    return tuple(sizes)


def _check_places(prefix: Path, shards: int, entries: Mapping[str, BundleEntry]) -> None:
    """Refuse tensors that reach beyond their file or overlap, so that a small file cannot stand for much memory."""
    ends: dict[int, int] = {}
    lengths: dict[int, int] = {}
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset, item[1].size)):
        if entry.sliced:
            continue
        place = _shard(prefix, entry.shard, shards)
        if entry.shard not in lengths:
            lengths[entry.shard] = _length(place)
        if entry.size and entry.offset < ends.get(entry.shard, 0):
            raise FormatError(f"{place}: '{name}' overlaps another tensor; the index is damaged or of another file")
        ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size)
        if ends[entry.shard] > lengths[entry.shard]:
            raise FormatError(f"{place}: '{name}' lies beyond its end; the file is cut off or of another checkpoint")
    if sum(lengths.values()) > MOST_BYTES:
        raise FormatError(f"{prefix}: more than {MOST_BYTES >> 30} GiB, which no checkpoint of a network has; refused")


def _shard(prefix: Path, number: int, count: int) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{count:05d}")


def _length(place: Path) -> int:
    try:
        state = place.stat()
    except OSError as error:
        raise MissingAssetError(
            f"{place}: expected the tensors beside the index; found no file ({error.strerror})"
        ) from error
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"cannot read {place}: expected a file")
    return state.st_size


def _texts(raw: bytes, entry: BundleEntry) -> list[bytes]:
    """Elements of a tensor of text: all lengths, a checksum of them, then the characters."""
    lengths: list[int] = []
    place = 0
    for _ in range(entry.count):
        length, place = read_varint(raw, place)
        lengths.append(length)
    if sum(lengths) != len(raw) - place - 4:
        raise FormatError("has texts of other lengths than it says; it is damaged")
    check = crc32c(b"".join(length.to_bytes(4, "little") for length in lengths))  # lengths of 4 GiB cannot be here
    if masked(check) != int.from_bytes(raw[place : place + 4], "little"):
        raise FormatError("is damaged: the checksum of its lengths is another")
    if masked(crc32c(raw[place:], check)) != entry.checksum:
        raise FormatError("is damaged: its checksum is another; copy the file again")
    texts: list[bytes] = []
    place += 4
    for length in lengths:
        texts.append(raw[place : place + length])
        place += length
    return texts


def _variable_names(graph: bytes) -> dict[str, str]:
    """Of a TrackableObjectGraph: nodes (1) have attributes (2) of a full name (2) and a name in the checkpoint (3)."""
    found: dict[str, str] = {}
    for field, node in fields(graph):
        if field != 1:
            continue
        for part, attribute in fields(content(node)):
            if part == 2:
                names = {key: _utf8(value) for key, value in fields(content(attribute)) if isinstance(value, bytes)}
                if names.get(2) and names.get(3):
                    found[names[3]] = names[2]
    return found


def _utf8(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise FormatError(f"holds the name {name[:40]!r}, which is not UTF-8; it is damaged") from None
