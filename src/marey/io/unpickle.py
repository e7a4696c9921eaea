"""Pickles and object archives of others, read without running anybody's code.

A pickle is a program for a small stack machine that may import and call anything. This is such a machine with nothing
to call: the names in the stream pick from a table of builders of plain data and NumPy arrays (`marey.io.pickle_data`);
nothing is ever imported by a name from a file, and no method of an object is called. Everything else is refused. What
the stream builds is bounded by its own length, so that a small file cannot ask for a large memory.

The opcodes are those of Python's `pickletools`, which documents them.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import pickletools
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.archives import opened_archive, read_npy_header
from marey.io.pickle_data import (
    BUILDERS,
    DEEPEST,
    TYPES,
    Budget,
    DType,
    Global,
    PendingArray,
    PickledObject,
    build_array,
    check_tree,
    describe,
    hashable,
)
from marey.io.text import read_bytes_limited, read_start

MOST_BYTES = 4 << 30
"""Larger files, and archives that unpack to more, are refused before they are read."""

_CONTAINER, _REMEMBERED = 32, 8
"""Bytes charged for a container and for a place in the memo: about half of what they take, so that lists of three
numbers, thirty bytes in the stream, stay free."""

_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}

_DAMAGED = (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError, MemoryError, RecursionError)
"""What decoding a damaged stream raises, here, in pickletools and in NumPy."""


def restricted_load(file: str | os.PathLike[str] | bytes | BinaryIO, *, allowed: Collection[str] = ()) -> Any:
    """Read a pickle that holds nothing but data.

    Understood are None, booleans, numbers, text, bytes, lists, tuples, sets, dicts (`OrderedDict` becomes a dict) and
    NumPy arrays and scalars of numbers, text and objects, in every pickle protocol, Python 2's included, whose strings
    are read as Latin-1.

    Args:
        file: A path, the bytes themselves, or a binary file to be read to its end.
        allowed: Names of classes, as `scipy.sparse.csc.csc_matrix`, whose instances become those of `PickledObject`.
            The classes are not imported.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no pickle, is damaged, names anything else, asks for more memory than it has data, nests more
            than 100 deep or contains itself.
    """
    where, data = _content(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about escapes that it does not know in damaged text
            return _Machine(data, frozenset(allowed)).run()
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except _DAMAGED as error:
        raise FormatError(f"{where}: not a readable pickle: {error or type(error).__name__}") from error


def _content(file: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[str, bytes]:
    if isinstance(file, bytes):
        return "pickle", file
    if not isinstance(file, str | os.PathLike):
        return str(getattr(file, "name", "pickle")), file.read()
    if read_start(file, 1) not in _OPCODES:  # before gigabytes are read
        raise FormatError(f"{file}: not a pickle; it begins with what is no opcode")
    return str(file), read_bytes_limited(file, most_bytes=MOST_BYTES)


class _Machine:
    """The stack machine: a stack of values, the stacks below each open mark, a memo and a budget of bytes."""

    def __init__(self, data: bytes, allowed: frozenset[str]) -> None:
        self.data = data
        self.allowed = allowed
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.budget = Budget(len(data))

    def run(self) -> Any:
        for name, argument in _operations(io.BytesIO(self.data)):
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name == "STOP":
                return self.result()
            elif name not in ("PROTO", "FRAME"):
                raise FormatError(f"the pickle uses {name}, which plain data does not need; refused")
        raise FormatError("the pickle ends before its STOP; it is cut off")

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise FormatError("the pickle does not end with one object; it is damaged")
        check_tree(self.stack[0], most=1_000_000 + 100 * len(self.data))
        return self.stack[0]

    def container(self, empty: Any) -> None:
        """Push an empty container, which takes far more room than its opcode."""
        self.budget.charge(_CONTAINER)
        self.stack.append(empty)

    def mark(self, _: Any) -> None:
        if len(self.marks) > DEEPEST:  # every open mark is a container that is not complete
            raise FormatError(f"the pickle nests more than {DEEPEST} deep; refused")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """The values since the last mark, which is closed."""
        values = self.stack
        self.stack = self.marks.pop()
        return values

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def top(self, kind: type[Any]) -> Any:
        """The container that an opcode adds to."""
        value = self.stack[-1]
        if type(value) is not kind:
            raise FormatError(f"the pickle adds to a {type(value).__name__} as to a {kind.__name__}; it is damaged")
        return value

    def append(self, _: Any) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def extend(self, _: Any) -> None:
        values = self.since_mark()
        self.top(list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[hashable(key)] = value

    def set_items(self, _: Any) -> None:
        values = self.since_mark()
        self.top(dict).update(_pairs(values))

    def add_items(self, _: Any) -> None:
        values = self.since_mark()
        self.top(set).update(map(hashable, values))

    def last(self, count: int) -> None:
        """A tuple of the last values."""
        if len(self.stack) < count:
            raise FormatError("the pickle takes more values than it gave; it is damaged")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(values)

    def get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def put(self, key: int) -> None:
        value = self.stack[-1]
        self.budget.charge(_REMEMBERED)
        self.memo[key] = value
        if isinstance(value, PendingArray):
            value.places.append(key)

    def name(self, module: str, name: str) -> None:
        dotted = f"{module}.{name}"
        if not any(dotted in names for names in (BUILDERS, TYPES, _RECONSTRUCTORS, self.allowed)):
            raise FormatError(f"the pickle wants to use '{dotted[:200]}', which is not plain data; refused")
        self.stack.append(Global(dotted))

    def stacked_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise FormatError("the pickle names something without text; it is damaged")
        self.name(module, name)

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not (isinstance(function, Global) and isinstance(arguments, tuple)):
            raise FormatError("the pickle calls something that is not a name; refused")
        if function.name in _RECONSTRUCTORS:  # of protocols 0 and 1: (class, base, state of the base)
            self.stack.append(self._instance(arguments[0], (), {}))
        elif function.name in self.allowed:
            self.stack.append(PickledObject(function.name, arguments))
        elif function.name in BUILDERS:
            self.stack.append(BUILDERS[function.name](self.budget, *arguments))
        else:
            raise FormatError(f"the pickle calls '{function.name}'; refused")

    def new_object(self, _: Any) -> None:
        self.stack.append(self._instance(self.stack.pop(-2), self.stack.pop(), {}))

    def new_object_with_keywords(self, _: Any) -> None:
        keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack.append(self._instance(self.stack.pop(), arguments, keywords))

    def _instance(self, kind: Any, arguments: Any, keywords: Any) -> PickledObject:
        good = isinstance(kind, Global) and isinstance(arguments, tuple) and isinstance(keywords, dict)
        if not good or kind.name not in self.allowed:
            raise FormatError(f"the pickle makes an object of {kind!r:.200}, which is not plain data; refused")
        return PickledObject(kind.name, arguments, keywords=keywords)

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, PickledObject):
            target.state = state
        elif isinstance(target, DType):
            describe(target, state)
        elif isinstance(target, PendingArray):
            array = build_array(self.budget, *state[-4:])
            self.stack[-1] = array
            for place in target.places:
                if self.memo[place] is target:  # and not something that was remembered there since
                    self.memo[place] = array
        else:
            raise FormatError(f"the pickle changes the state of a {type(target).__name__}; refused")


def _operations(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The opcodes of a stream with their arguments, as `pickletools.genops`, but for the strings of Python 2.

    Those are bytes between quotes, which `pickletools` reads as ASCII; an array in protocol 0 is such a string.
    """
    while code := stream.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise FormatError(f"the pickle holds {code!r} where an opcode belongs; it is damaged")
        if opcode.name == "STRING":
            raw = pickletools.read_stringnl(stream, decode=False)
            yield opcode.name, codecs.escape_decode(raw)[0].decode("latin-1")
        else:
            yield opcode.name, opcode.arg.reader(stream) if opcode.arg else None


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(values) % 2:
        raise FormatError("the pickle has a key without a value; it is damaged")
    return ((hashable(key), value) for key, value in zip(values[::2], values[1::2], strict=True))


_RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor")

_WORDS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_LITERALS = frozenset(_WORDS.split())
"""Opcodes that push their argument."""

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "EMPTY_LIST": lambda machine, _: machine.container([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.container({}),
    "EMPTY_SET": lambda machine, _: machine.container(set()),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "LIST": lambda machine, _: machine.container(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.container(tuple(machine.since_mark())),
    "DICT": lambda machine, _: machine.container(dict(_pairs(machine.since_mark()))),
    "FROZENSET": lambda machine, _: machine.container(frozenset(map(hashable, machine.since_mark()))),
    "TUPLE1": lambda machine, _: machine.last(1),
    "TUPLE2": lambda machine, _: machine.last(2),
    "TUPLE3": lambda machine, _: machine.last(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GLOBAL": lambda machine, names: machine.name(*names.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stacked_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "BUILD": _Machine.build,
}
"""What the other opcodes do; one that is neither here nor above is refused."""


def read_object_npz(path: str | os.PathLike[str], *, allowed: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an npz archive; arrays of objects through `restricted_load`.

    An array of shape () that holds one dict, as `np.savez(file, smpl={...})` makes it, is opened with `.item()`.

    Args:
        path: The archive.
        allowed: Names of classes, see `restricted_load`.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such archive, is cut off, unpacks to more than 4 GiB, or holds more than data.
    """
    with opened_archive(Path(path), most_bytes=MOST_BYTES) as archive:
        return {
            member.filename.removesuffix(".npy"): _read_npy(archive.read(member), member.filename, allowed)
            for member in archive.infolist()
        }


def read_object_npy(path: str | os.PathLike[str], *, allowed: Collection[str] = ()) -> npt.NDArray[Any]:
    """Read the array of an npy file; one of objects through `restricted_load`.

    An array of shape () that holds one dict, as `np.save(file, {...})` makes it, is opened with `.item()`.

    Args:
        path: The file.
        allowed: Names of classes, see `restricted_load`.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such file, is cut off, is larger than 4 GiB, or holds more than data.
    """
    if read_start(path, len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise FormatError(f"{path}: not a NumPy array; it does not begin as npy files do")
    try:
        return _read_npy(read_bytes_limited(path, most_bytes=MOST_BYTES), Path(path).name, allowed)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    except (*_DAMAGED, SyntaxError, TokenError) as error:  # NumPy reads the header as Python's parser does
        raise FormatError(f"{path}: not a readable npy file: {error or type(error).__name__}") from error


def _read_npy(data: bytes, name: str, allowed: Collection[str]) -> npt.NDArray[Any]:
    """One array; its header promises a shape that the bytes after it have to keep."""
    stream = io.BytesIO(data)
    shape, fortran, element = read_npy_header(stream, name)
    if any(length < 0 for length in shape) or (element.kind not in "biufcSU" and element != np.dtype(object)):
        raise FormatError(f"'{name}' is of the type {element} and shape {shape}; expected numbers, text or objects")
    payload = data[stream.tell() :]
    if element.hasobject:
        array = restricted_load(payload, allowed=allowed)
        if not isinstance(array, np.ndarray) or array.size != math.prod(shape):
            raise FormatError(f"'{name}' does not hold the {math.prod(shape)} objects that it promises")
        return array.reshape(shape)
    return build_array(Budget(len(payload)), tuple(shape), DType(element.str), fortran, payload)
