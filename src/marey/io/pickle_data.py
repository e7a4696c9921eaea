"""What a pickle of plain data is built of: tokens for names, builders of arrays and collections, a check of the whole.

Nothing here imports or calls what a file names; `marey.io.unpickle` is the machine that uses it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError

DEEPEST = 100
"""Containers within containers; data of people and cameras have five."""

_SLACK = 16 << 20
"""Bytes that arrays and copies may take beyond thrice the length of the stream: in protocols 0 to 2 Python 3 writes the
bytes of an array as text, which is decoded once more."""
_MOST_DIMENSIONS = 32
_LARGEST_KEY = 1 << 60
"""Python's hash of larger numbers is not their own, so that many can be made to collide."""
_NUMBER = re.compile(r"[<>=|]?(b1|i[1248]|u[1248]|f[248]|c8|c16|f16|c32|[SU]\d{1,8})")
_OBJECT = re.compile(r"\|?O[48]?")
_MOST_FIELDS = 64
"""Of a record; it is spelled out anew for every array of them."""


class Budget:
    """How many bytes a stream may ask for beside its own."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.left = 3 * length + _SLACK

    def charge(self, size: int) -> None:
        """Pay for bytes that do not lie in the stream themselves.

        Raises:
            FormatError: they are more than the stream's length justifies.
        """
        self.left -= size
        if self.left < 0:
            raise FormatError(f"the pickle of {self.length} bytes asks for far more memory than that; refused")


@dataclass(eq=False)
class PickledObject:
    """An instance of a class that the caller allowed, as data: nothing of the class was loaded."""

    kind: str
    """`module.Name`."""
    arguments: tuple[Any, ...] = ()
    """What its constructor was given."""
    state: Any = None
    """What `__setstate__` or `__dict__` was given."""
    keywords: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Global:
    """A name that the stream spoke; it stands for a builder, never for the thing."""

    name: str


@dataclass(eq=False)
class DType:
    """An element type under construction."""

    code: str
    order: str = "="
    block: tuple[DType, tuple[int, ...]] | None = None
    """Of a field that is a small array: the type and shape of it."""
    fields: dict[str, tuple[DType, int]] = field(default_factory=dict)
    """Of a record: the types of its fields and where they begin."""
    size: int = 0
    """Bytes of a record."""

    def resolve(self) -> np.dtype[Any]:
        """NumPy's type of it, if it is of numbers, text, objects or records of numbers."""
        if self.fields:
            names, (formats, offsets) = list(self.fields), zip(*self.fields.values(), strict=True)
            types = [part.as_field() for part in formats]
            return np.dtype({"names": names, "formats": types, "offsets": list(offsets), "itemsize": self.size})
        if _OBJECT.fullmatch(self.code):
            return np.dtype(object)
        if not _NUMBER.fullmatch(self.code):
            raise FormatError(f"element type '{self.code}' in the pickle; expected numbers, text or objects")
        found = np.dtype(self.code)
        return found if self.order in "=|" else found.newbyteorder(self.order)  # type: ignore[arg-type]

    def as_field(self) -> np.dtype[Any]:
        """NumPy's type of a field of a record: a number or a block of them, so that nothing nests."""
        base, shape = self.block or (self, ())
        if base.block or base.fields or not _NUMBER.fullmatch(base.code) or base.code.strip("<>=|")[0] in "SU":
            raise FormatError("the pickle holds records of more than numbers; refused")
        return np.dtype((base.resolve(), shape))


@dataclass(eq=False)
class PendingArray:
    """An array between its creation and its content; `places` are the memo keys to fill in then."""

    places: list[int] = field(default_factory=list)


def hashable(key: Any) -> Any:
    """The key, if hashing it is harmless: no deep tuples."""
    if isinstance(key, tuple):
        return tuple(_scalar_key(part) for part in key)
    return _scalar_key(key)


def _scalar_key(key: Any) -> Any:
    if isinstance(key, int) and abs(key) > _LARGEST_KEY:
        raise FormatError(f"the pickle uses a number above {_LARGEST_KEY} as a key; refused")
    if key is None or isinstance(key, str | bytes | int | float | np.generic):
        return key
    raise FormatError(f"the pickle uses a {type(key).__name__} as a key or member of a set; refused")


def byte_order(state: Any) -> str:
    """Of the state of an element type: (version, order, block, names, fields, size, alignment, flags)."""
    if not isinstance(state, tuple) or len(state) < 6 or state[1] not in ("<", ">", "=", "|"):
        raise FormatError("the pickle holds an element type without byte order; it is damaged")
    return str(state[1])


def describe(dtype: DType, state: Any) -> None:
    """Complete an element type by its state."""
    dtype.order = byte_order(state)
    block, names, fields, size = state[2:6]
    if block is not None:
        base, shape = block
        if not isinstance(base, DType) or not all(isinstance(length, int) and length > 0 for length in shape):
            raise FormatError(f"the pickle holds records with a block of the shape {shape!r:.200}; it is damaged")
        dtype.block = base, tuple(shape)
    if names:
        if len(names) > _MOST_FIELDS or not isinstance(size, int):
            raise FormatError(f"the pickle holds records of {len(names)} fields, more than {_MOST_FIELDS}; refused")
        dtype.fields = {name: (_part(fields[name]), int(fields[name][1])) for name in names}
        dtype.size = size


def _part(described: Any) -> DType:
    if not isinstance(described[0], DType):
        raise FormatError("the pickle holds records with a field without a type; it is damaged")
    return described[0]


def _dtype(budget: Budget, code: Any, *_: Any) -> DType:
    if isinstance(code, Global) and code.name in TYPES:
        code = TYPES[code.name]
    if not isinstance(code, str):
        raise FormatError("the pickle holds an array of records; expected arrays of numbers, text or objects")
    return DType(code)


def build_array(budget: Budget, shape: Any, dtype: Any, fortran: Any, content: Any) -> npt.NDArray[Any]:
    """An array of its raw bytes, or of a list of objects."""
    if not isinstance(shape, tuple) or not isinstance(dtype, DType) or len(shape) > _MOST_DIMENSIONS:
        raise FormatError("the pickle holds an array without shape and element type; it is damaged")
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise FormatError(f"the pickle holds an array of the shape {shape!r:.200}; it is damaged")
    element = dtype.resolve()
    order: Any = "F" if fortran else "C"
    count = math.prod(shape)
    if element.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise FormatError(f"the pickle holds an array of {count} objects without as many; it is damaged")
        budget.charge(8 * count)
        return np.fromiter(content, dtype=object, count=count).reshape(shape, order=order)
    return _from_bytes(budget, content, element, count).reshape(shape, order=order)


def _from_bytes(budget: Budget, content: Any, element: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    raw = content.encode("latin-1") if isinstance(content, str) else content  # Python 2 wrote bytes as text
    if not isinstance(raw, bytes | bytearray) or len(raw) != count * element.itemsize:
        raise FormatError(f"the pickle holds an array of {count} '{element}' with other bytes; it is damaged")
    budget.charge(2 * len(raw))
    if not raw:
        budget.charge(4 * count)  # text of no length takes room all the same
        return np.zeros(count, element)
    if element.kind == "U" and int(np.frombuffer(raw, np.dtype("u4").newbyteorder(element.byteorder)).max()) > 0x10FFFF:
        raise FormatError("the pickle holds text that is not Unicode; it is damaged")
    return np.frombuffer(raw, element).copy()


def _reconstruct(budget: Budget, kind: Any, *_: Any) -> PendingArray:
    if kind != Global("numpy.ndarray"):
        raise FormatError("the pickle holds an array of a class of its own; refused")
    return PendingArray()


def _from_buffer(budget: Budget, content: Any, dtype: Any, shape: Any, order: Any = "C") -> npt.NDArray[Any]:
    return build_array(budget, shape, dtype, order == "F", content)


def _scalar(budget: Budget, dtype: Any, content: Any) -> Any:
    element = dtype.resolve()
    if element.hasobject:
        raise FormatError("the pickle holds an object as a NumPy scalar; refused")
    return _from_bytes(budget, content, element, 1)[0]


def _encode(budget: Budget, text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise FormatError("the pickle encodes text in a way that NumPy does not; refused")
    budget.charge(len(text))
    return text.encode("latin-1")


def _collection(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    """A builder of `kind` from at most one list, tuple or set."""

    def build(budget: Budget, values: Any = ()) -> Any:
        if not isinstance(values, list | tuple | set | frozenset):
            raise FormatError(f"the pickle makes a {kind.__name__} of a {type(values).__name__}; refused")
        budget.charge(64 * len(values))
        return kind(map(hashable, values) if kind in (set, frozenset) else values)

    return build


def _mapping(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, list | tuple):
        raise FormatError(f"the pickle makes a dict of a {type(pairs).__name__}; refused")
    budget.charge(64 * len(pairs))
    return {hashable(key): value for key, value in pairs}


def _byte_array(budget: Budget, content: Any = b"", codec: Any = "latin-1") -> bytearray:
    raw = _encode(budget, content, codec) if isinstance(content, str) else content
    if not isinstance(raw, bytes):
        raise FormatError(f"the pickle makes a bytearray of a {type(content).__name__}; refused")
    budget.charge(len(raw))
    return bytearray(raw)


def _no_bytes(_: Budget) -> bytes:
    """Empty bytes; protocols 0 to 2 write all others as encoded text."""
    return b""


def _complex(budget: Budget, real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


TYPES = {
    "numpy.ndarray": "",
    "builtins.object": "O",
    "__builtin__.object": "O",
    **{f"numpy.{name}{bits}": f"{name[0]}{bits // 8}" for name in ("int", "uint", "float") for bits in (16, 32, 64)},
    "numpy.int8": "i1",
    "numpy.uint8": "u1",
    "numpy.bool_": "b1",
    "numpy.bool": "b1",
}
"""Names that may be an argument but are never called."""

_PLAIN: dict[str, Callable[..., Any]] = {
    "set": _collection(set),
    "frozenset": _collection(frozenset),
    "list": _collection(list),
    "tuple": _collection(tuple),
    "dict": _mapping,
    "bytes": _no_bytes,
    "bytearray": _byte_array,
    "complex": _complex,
}

BUILDERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"), _reconstruct),
    **dict.fromkeys(("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), _scalar),
    **dict.fromkeys(("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"), _from_buffer),
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "collections.OrderedDict": _mapping,
    **{f"{module}.{name}": builder for module in ("builtins", "__builtin__") for name, builder in _PLAIN.items()},
}
"""What a name in the stream stands for."""


def check_tree(root: Any, most: int) -> None:
    """Refuse what contains itself, nests too deep, unfolds to more than `most` values, or is no data.

    A depth-first walk with its own stack; a shared part is walked once and counted as often as it occurs.
    """
    known: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()
    path: list[tuple[Any, Iterator[Any], list[int]]] = []

    def enter(value: Any) -> None:
        if len(path) >= DEEPEST:
            raise FormatError(f"the pickle nests more than {DEEPEST} deep; refused")
        open_.add(id(value))
        path.append((value, iter(_parts(value)), [1, 0]))

    enter((root,))
    while path:
        value, parts, totals = path[-1]
        for part in parts:
            if _is_leaf(part):
                totals[0] += 1
                continue
            if id(part) in open_:
                raise FormatError("the pickle holds a container that contains itself; refused")
            if id(part) not in known:
                enter(part)
                break
            _add(totals, known[id(part)], most, len(path))
        else:
            path.pop()
            open_.discard(id(value))
            known[id(value)] = (totals[0], totals[1] + 1)
            if path:
                _add(path[-1][2], known[id(value)], most, len(path))


def _add(totals: list[int], part: tuple[int, int], most: int, depth: int) -> None:
    """Count a part: its values with the values here, its height with the tallest."""
    totals[0] += part[0]
    totals[1] = max(totals[1], part[1])
    if totals[0] > most:
        raise FormatError(f"the pickle unfolds to more than {most} values; refused")
    if depth + part[1] > DEEPEST:
        raise FormatError(f"the pickle nests more than {DEEPEST} deep; refused")


def _is_leaf(value: Any) -> bool:
    if value is None or isinstance(value, str | bytes | bytearray | int | float | complex | np.generic):
        return True
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _parts(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, np.ndarray):
        return value.flat
    if isinstance(value, PickledObject):
        return value.arguments, value.state, value.keywords
    name = value.name if isinstance(value, Global) else type(value).__name__.strip("_")
    raise FormatError(f"the pickle holds '{name[:200]}' as a value, which is not plain data; refused")
