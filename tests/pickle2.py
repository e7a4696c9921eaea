"""Pickles as Python 2 wrote them, opcode by opcode: what the published body models are, with nothing imported."""

import struct

import numpy as np

MARK, STOP = b"(", b"."


def text(value):
    """SHORT_BINSTRING or BINSTRING: a byte string of Python 2."""
    raw = value if isinstance(value, bytes) else value.encode("ascii")
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def number(value):
    return b"J" + struct.pack("<i", value) if -(1 << 31) <= value < 1 << 31 else b"I%d\n" % value


def tuple_of(*parts):
    return MARK + b"".join(parts) + b"t"


def dict_of(**entries):
    """EMPTY_DICT, then SETITEMS with the entries, which are opcodes themselves."""
    return b"}" + MARK + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def array(value):
    """A NumPy array of before 2017: `numpy.core.multiarray._reconstruct`, its state built after."""
    value = np.asarray(value)
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    kind = value.dtype.newbyteorder("<").str[1:]
    order = b"|" if value.dtype.itemsize == 1 else b"<"
    dtype = b"cnumpy\ndtype\n" + tuple_of(text(kind), number(0), number(1)) + b"R"
    dtype += tuple_of(number(3), text(order), b"NNN", number(-1), number(-1), number(0)) + b"b"
    content = value.astype(value.dtype.newbyteorder("<")).tobytes("F" if fortran else "C")
    made = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + tuple_of(b"cnumpy\nndarray\n", tuple_of(number(0)), text("b"))
        + b"R"
    )
    shape = tuple_of(*map(number, value.shape))
    return made + tuple_of(number(1), shape, dtype, b"\x88" if fortran else b"\x89", text(content)) + b"b"


def new_object(kind, state):
    """NEWOBJ of a class `module name`, then BUILD with a state."""
    return b"c" + kind.replace(" ", "\n").encode() + b"\n)\x81" + state + b"b"


def old_object(kind, state):
    """The same in protocols 0 and 1."""
    named = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    return b"ccopy_reg\n_reconstructor\n" + tuple_of(named, b"c__builtin__\nobject\n", b"N") + b"R" + state + b"b"


def chumpy(value, make=new_object):
    """A `chumpy.ch.Ch`: the array `x` among what its machinery remembers."""
    changed = b"c__builtin__\nset\n" + tuple_of(b"]" + MARK + text("x") + b"e") + b"R"
    return make("chumpy.ch Ch", dict_of(_dirty_vars=changed, _itr=b"N", _depends_on_deps=b"}", x=array(value)))


def selected(inner, places, shape):
    """A `chumpy.reordering.Select`: some numbers of another array, in a new shape."""
    state = dict_of(a=inner, idxs=array(places), preferred_shape=tuple_of(*map(number, shape)), _dirty_vars=b"]")
    return new_object("chumpy.reordering Select", state)


def csc(value, module="scipy.sparse.csc", make=new_object):
    """A sparse matrix by columns, as SciPy 0.1x kept it."""
    value = np.asarray(value)
    rows, columns = np.nonzero(value)
    order = np.lexsort((rows, columns))
    ends = np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=value.shape[1]))))
    state = dict_of(
        format=text("csc"),
        _shape=tuple_of(*map(number, value.shape)),
        maxprint=number(50),
        indices=array(rows[order].astype(np.int32)),
        indptr=array(ends.astype(np.int32)),
        data=array(value[rows[order], columns[order]]),
    )
    return make(f"{module} csc_matrix", state)


def stream(content):
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + content + STOP
