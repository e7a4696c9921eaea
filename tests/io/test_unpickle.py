import collections
import contextlib
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError
from marey.io.unpickle import PickledObject, read_object_npy, read_object_npz, restricted_load

MATRIX = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02U\x01bq\x03\x87q\x04Rq\x05"
    b"(K\x01K\x02K\x02\x86q\x06cnumpy\ndtype\nq\x07U\x02f8q\x08K\x00K\x01\x87q\x09Rq\x0a(K\x03U\x01<q\x0bNNNJ\xff\xff\xff"
    b"\xffJ\xff\xff\xff\xffK\x00tq\x0cb\x89U\x20" + struct.pack("<4d", 1, 2, 3, 4) + b"q\x0dtq\x0eb."
)
"""[[1, 2], [3, 4]] as Python 2 with an old NumPy wrote it: byte strings, module names of then."""


def nested(levels: int) -> bytes:
    return b"\x80\x04" + b"]" * levels + b"a" * (levels - 1) + b"."


def array_of(shape: bytes, content: bytes, code: bytes = b"f8") -> bytes:
    """The pickle of one array; `shape` are the opcodes of its tuple."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01"
        + shape
        + b"cnumpy\ndtype\n(U"
        + bytes([len(code)])
        + code
        + b"K\x00K\x01tR\x89"
        + content
        + b"tb."
    )


class Call:
    """Pickles itself as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "a shell": pickle.dumps(Call(os.system, "touch pwned")),
    "eval": pickle.dumps(Call(eval, "open('pwned', 'w')")),
    "exec": pickle.dumps(Call(exec, "open('pwned', 'w')"), protocol=0),
    "an import": pickle.dumps(Call(__import__, "antigravity")),
    "getattr": pickle.dumps(Call(getattr, [], "append")),
    "getattr of a module": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x02os\x8c\x06system\x86R.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__base__\x93.",
    "numpy.load": b"cnumpy\nload\n(S'x'\ntR.",
    "numpy.ndarray called": b"cnumpy\nndarray\n((L99999999999L\nttR.",
    "a persistent id": b"\x80\x04Q.",
    "an extension": b"\x80\x02\x82\x01.",
    "an instance": b"(cos\nsystem\nS'x'\no.",
    "an old instance": b"(S'touch pwned'\nios\nsystem\n.",
    "a call of what is no name": b"]q\x00)R.",
    "a state for a list": b"]}b.",
    "a name as the result": b"cnumpy\nndarray\n.",
    "a list in itself": b"]q\x00h\x00a.",
    "a dict in itself": b"}q\x00U\x01ah\x00s.",
    "an array in itself": array_of(b"K\x01\x85", b"]q\x01h\x01a", b"O"),
    "150 lists": nested(150),
    "100000 lists": nested(100_000),
    "100000 tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "a deep tuple as a key": b"}" + b")" + b"\x85" * 5000 + b"Ns.",
    "a list as a key": b"}]Ns.",
    "a huge array": array_of(b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", b"U\x00"),
    "a huge empty array": array_of(b"K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86", b"U\x00"),
    "an array of negative length": array_of(b"J\xff\xff\xff\xff\x85", b"U\x00"),
    "a huge array of objects": array_of(b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", b"]", b"O"),
    "an array of records": array_of(b"K\x01\x85", b"U\x08" + bytes(8), b"f4,f4"),
    "an array of text beyond Unicode": array_of(b"K\x01\x85", b"U\x04\xff\xff\xff\xff", b"U1"),
    "a huge array of empty texts": array_of(b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", b"U\x00", b"U0"),
    "numbers that collide": b"}"
    + b"".join(b"L%dL\nN" % (i * (2**61 - 1)) for i in range(1, 4)).replace(b"L\nN", b"L\nNs")
    + b".",
    "a giant string": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "giant bytes": b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"x.",
    "a giant number": b"I" + b"9" * 5000 + b"\n.",
    "a giant number of bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
    "bytearray by length": b"cbuiltins\nbytearray\n(L99999999999L\ntR.",
    "a mark too many": b"(N.",
    "nothing to pop": b"0.",
    "a memo that is not there": b"h\x07.",
    "no STOP": b"N",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_load__hostile_stream_is_refused_and_does_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=r"^pickle: "):
        restricted_load(HOSTILE[name])
    assert not list(tmp_path.iterdir())


def test_load__many_copies_of_one_buffer_are_refused():
    once = array_of(b"\x8a\x04\x00\x00\x01\x00\x85", b"h\x00", b"i1")[2:-1]
    stream = b"\x80\x02T" + struct.pack("<i", 1 << 16) + bytes(1 << 16) + b"q\x000" + b"]" + (once + b"a") * 1000 + b"."
    with pytest.raises(FormatError, match="far more memory"):
        restricted_load(stream)


def test_load__doubling_list_is_refused_before_anyone_unfolds_it():
    stream = b"]" + b"".join(b"q%c0](h%ch%ce" % (place, place, place) for place in range(50)) + b"."
    with pytest.raises(FormatError, match="unfolds to more than"):
        restricted_load(stream)


def test_load__array_of_python_2():
    assert restricted_load(MATRIX).tolist() == [[1, 2], [3, 4]]


def test_load__array_of_python_2_in_its_default_protocol():
    stream = (
        (
            rb"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n(I2\ntp6\n"
            rb"cnumpy\ndtype\np7\n(S'f8'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\n"
        ).replace(rb"\n", b"\n")
        + rb"S'\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\xe0\xbf'"
        + b"\np13\ntp14\nb."
    )
    assert restricted_load(stream).tolist() == [1.0, -0.5]


def test_load__strings_of_python_2_with_their_escapes():
    assert restricted_load(rb"""S'a\xe9\'\n"'""" + b"\n.") == "a\xe9'\n\""
    with pytest.raises(FormatError, match="no string quotes"):
        restricted_load(b"Sa\n.")
    with pytest.raises(FormatError, match="not a readable pickle"):
        restricted_load(rb"S'\x0'" + b"\n.")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_load__what_python_pickles(protocol):
    objects = np.empty(2, dtype=object)
    objects[:] = [[1], {"x": "ü"}]
    plain = {"a": [1, -2.5, None, True, 10**30], "b": (b"\xff", b"", "é\n"), "c": {3}, "d": frozenset([4]), "e": 1 + 2j}
    data = {
        **plain,
        "ordered": collections.OrderedDict(k="v"),
        "columns": np.asfortranarray([[1.0, 2], [3, 4]]),
        "big endian": np.array([1, 258], dtype=">i2"),
        "text": np.array(["añ", "b"]),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
        "scalar": np.float32(0.5),
        "objects": objects,
        "buffer": bytearray(b"xy"),
    }
    found = restricted_load(pickle.dumps(data, protocol))
    assert {key: found[key] for key in plain} == plain
    assert found["ordered"] == {"k": "v"}
    assert found["columns"].tolist() == [[1, 2], [3, 4]]
    assert found["big endian"].tolist() == [1, 258]
    assert found["text"].tolist() == ["añ", "b"]
    assert found["flags"].dtype == bool
    assert found["none"].shape == (0, 3)
    assert found["none"].dtype == np.float32
    assert found["scalar"] == 0.5
    assert found["objects"].tolist() == [[1], {"x": "ü"}]
    assert found["buffer"] == b"xy"
    found["columns"][0, 0] = 9  # writable


def test_load__allowed_class_becomes_a_record():
    stream = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR(dS'x'\nI5\nsb."
    with pytest.raises(FormatError, match=r"wants to use 'chumpy\.ch\.Ch'"):
        restricted_load(stream)
    found = restricted_load(stream, allowed={"chumpy.ch.Ch"})
    assert isinstance(found, PickledObject)
    assert (found.kind, found.state) == ("chumpy.ch.Ch", {"x": 5})
    made = restricted_load(b"\x80\x04\x8c\x01m\x8c\x01C\x93)\x81.", allowed={"m.C"})
    assert (made.kind, made.arguments) == ("m.C", ())
    called = restricted_load(b"cm\nC\n(I1\ntR.", allowed={"m.C"})
    assert called.arguments == (1,)


def test_load__path_and_open_file(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"I7\n.")
    assert restricted_load(path) == 7
    assert restricted_load(io.BytesIO(b"I7\n.")) == 7
    with pytest.raises(InputError, match="cannot read"):
        restricted_load(tmp_path / "absent.pkl")
    path.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(FormatError, match=r"x\.pkl: the pickle wants to use 'os\.system'"):
        restricted_load(path)


def test_load__cut_anywhere_is_a_typed_error():
    for end in range(len(MATRIX)):
        with pytest.raises(FormatError):
            restricted_load(MATRIX[:end])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=8), st.integers(0, len(MATRIX)), st.integers(0, 8))
def test_load__damaged_anywhere_is_a_typed_error_or_data(junk, place, cut):
    with contextlib.suppress(FormatError):
        restricted_load(MATRIX[:place] + junk + MATRIX[place + cut :])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([bytes([code]) for code in b"(]})Nla0tesdRbqh\x85\x86\x87\x88\x90\x91\x92\x94\x81"])))
def test_load__any_order_of_opcodes_is_a_typed_error_or_data(codes):
    with contextlib.suppress(FormatError):
        restricted_load(b"\x80\x04" + b"".join(codes) + b".")


def test_npz__plain_and_object_members(tmp_path):
    objects = np.empty(2, dtype=object)
    objects[:] = [np.eye(2), "s"]
    path = tmp_path / "x.npz"
    np.savez(path, plain=np.arange(3), names=np.array(["a", "bc"]), one={"k": [1]}, objects=objects)
    found = read_object_npz(path)
    assert found["plain"].tolist() == [0, 1, 2]
    assert found["names"].tolist() == ["a", "bc"]
    assert found["one"].item() == {"k": [1]}
    assert found["objects"][0].tolist() == [[1, 0], [0, 1]]
    np.savez_compressed(path, columns=np.asfortranarray([[1, 2], [3, 4]]), scalar=np.float32(2))
    found = read_object_npz(path)
    assert found["columns"].tolist() == [[1, 2], [3, 4]]
    assert found["scalar"] == 2


def npy(header: str, payload: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + payload


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}", HOSTILE["a shell"]), "wants to use"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,)}", b"x"), "with other bytes"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", b"x"), "shape"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", pickle.dumps([1, 2])), "does not hold the 2"),
        (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", bytes(4)), "expected numbers, text"),
        (npy("__import__('os')", b""), "not a readable npz"),
        (b"no array", "not a readable npz"),
        (b"\x93NUMPY\x09\x00", "version"),
    ],
)
def test_npz__bad_member_is_refused(tmp_path, member, message):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(FormatError, match=message):
        read_object_npz(path)


def test_npz__bomb_cut_and_absent(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, zeros=np.zeros(1000))
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(FormatError):
            read_object_npz(path)
    path.write_bytes(content)
    monkeypatch.setattr("marey.io.unpickle.MOST_BYTES", 1000)
    with pytest.raises(FormatError, match="unpacks to"):
        read_object_npz(path)
    with pytest.raises(InputError, match="cannot read"):
        read_object_npz(tmp_path / "absent.npz")


RECORD = np.dtype([("R", "<f4", (2, 2)), ("frame", ">i2"), ("sure", "?")], align=True)


@pytest.mark.parametrize("protocol", range(6))
def test_load__records_of_numbers_and_blocks(protocol):
    records = np.array([([[1, 2], [3, 4]], -5, True), ([[0, 0], [0, 9]], 6, False)], dtype=RECORD)
    found = restricted_load(pickle.dumps({"table": records}, protocol=protocol))["table"]
    assert found.dtype == RECORD
    assert (found == records).all()


@pytest.mark.parametrize("fields", [[("a", "O")], [("a", "U3")], [("a", [("b", "f4")])]])
def test_load__records_of_more_than_numbers_are_refused(fields):
    with pytest.raises(FormatError, match="records of more than numbers"):
        restricted_load(pickle.dumps(np.zeros(2, dtype=fields)))


def test_npy__dict_of_records(tmp_path):
    np.save(tmp_path / "labels.npy", {"names": ["S1"], "table": np.zeros(3, RECORD)})
    found = read_object_npy(tmp_path / "labels.npy").item()
    assert found["names"] == ["S1"]
    assert found["table"].shape == (3,)


def test_npy__hostile_damaged_and_other_files_are_typed_errors(tmp_path):
    class Caller:
        def __reduce__(self):
            return (print, ("called",))

    np.save(tmp_path / "hostile.npy", {"x": Caller()})
    with pytest.raises(FormatError, match="print"):
        read_object_npy(tmp_path / "hostile.npy")
    np.save(tmp_path / "cut.npy", {"table": np.zeros(3, RECORD)})
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-30])
    with pytest.raises(FormatError, match=r"cut\.npy"):
        read_object_npy(tmp_path / "cut.npy")
    (tmp_path / "text.npy").write_text("labels", encoding="utf-8")
    with pytest.raises(FormatError, match="not a NumPy array"):
        read_object_npy(tmp_path / "text.npy")


def test_npy__header_that_ends_in_the_middle(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(3))
    content = (tmp_path / "labels.npy").read_bytes()
    (tmp_path / "labels.npy").write_bytes(content.replace(b"}", b"("))
    with pytest.raises(FormatError, match="not a readable npy file"):
        read_object_npy(tmp_path / "labels.npy")
