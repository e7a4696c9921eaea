import pickle
import struct

import numpy as np
import pytest
import scipy.sparse

import pickle2
from marey.core import FormatError
from marey.io.sparse_arrays import ARRAY_CLASSES, plain_array
from marey.io.unpickle import restricted_load

MATRIX = np.array([[0, 2.5, 0], [-1, 0, 4]])


def opened(content):
    return plain_array(restricted_load(pickle2.stream(content), allowed=ARRAY_CLASSES))


def sparse(form="csc", shape=(2, 3), **parts):
    arrays = {name: pickle2.array(np.asarray(value)) for name, value in parts.items()}
    size = pickle2.tuple_of(*map(pickle2.number, shape))
    return pickle2.new_object(f"scipy.sparse._{form} {form}_matrix", pickle2.dict_of(_shape=size, **arrays))


def test_sparse__by_columns():
    found = opened(sparse("csc", data=[-1.0, 2.5, 4], indices=[1, 0, 1], indptr=[0, 1, 2, 3]))
    np.testing.assert_array_equal(found, MATRIX)


def test_sparse__by_rows():
    found = opened(sparse("csr", data=[2.5, -1.0, 4], indices=[1, 0, 2], indptr=[0, 1, 3]))
    np.testing.assert_array_equal(found, MATRIX)


def test_sparse__by_coordinates_summing_what_is_twice():
    found = opened(sparse("coo", data=[2.0, -1, 4, 0.5], row=[0, 1, 1, 0], col=[1, 0, 2, 1]))
    np.testing.assert_array_equal(found, MATRIX)


@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_sparse__as_scipy_pickles_it_today(form, kind, protocol):
    made = getattr(scipy.sparse, f"{form}_{kind}")(MATRIX)
    found = plain_array(restricted_load(pickle.dumps(made, protocol), allowed=ARRAY_CLASSES))
    np.testing.assert_array_equal(found, MATRIX)


@pytest.mark.parametrize("make", [pickle2.new_object, pickle2.old_object])
def test_sparse__as_scipy_of_python_2_pickled_it(make):
    np.testing.assert_array_equal(opened(pickle2.csc(MATRIX, make=make)), MATRIX)


@pytest.mark.parametrize("make", [pickle2.new_object, pickle2.old_object])
def test_chumpy__is_the_array_it_holds(make):
    np.testing.assert_array_equal(opened(pickle2.chumpy(MATRIX, make=make)), MATRIX)


def test_chumpy__selection_in_a_new_shape():
    content = pickle2.selected(pickle2.chumpy(MATRIX), [1, 3, 5, 1], (2, 2))
    np.testing.assert_array_equal(opened(content), [[2.5, -1], [4, 2.5]])


def test_chumpy__new_shape():
    state = pickle2.dict_of(a=pickle2.chumpy(MATRIX), newshape=pickle2.tuple_of(pickle2.number(3), pickle2.number(2)))
    np.testing.assert_array_equal(
        opened(pickle2.new_object("chumpy.reordering Reshape", state)), [[0, 2.5], [0, -1], [0, 4]]
    )


def test_chumpy__array_of_columns_first():
    found = opened(pickle2.chumpy(np.asfortranarray(MATRIX)))
    np.testing.assert_array_equal(found, MATRIX)


nested = b"cchumpy.ch\nCh\n)\x81"
"""A chumpy array before its state."""
cycle = nested + b"q\x00}U\x01xh\x00sb"
deep = (nested + b"}U\x01x") * 20_000 + b"K\x00" + b"sb" * 20_000
HUGE = 2_000_000_000
DAMAGED = {
    "a sum that has to be computed": (pickle2.new_object("chumpy.ch_ops add", pickle2.dict_of()), "chumpy.ch_ops.add"),
    "another class of SciPy": (pickle2.new_object("scipy.sparse.lil lil_matrix", b"}"), r"scipy\.sparse\.lil"),
    "chumpy called": (b"cchumpy.ch\nCh\n" + pickle2.tuple_of(pickle2.number(1)) + b"R", "without content"),
    "chumpy that holds itself": (cycle, "contains itself"),
    "chumpy nested 20000 deep": (deep, "nests more than"),
    "chumpy without an array": (pickle2.new_object("chumpy.ch Ch", b"}"), "without 'x'"),
    "chumpy without a state": (nested, "without content"),
    "chumpy of text": (pickle2.new_object("chumpy.ch Ch", pickle2.dict_of(x=pickle2.text("x"))), "expected an array"),
    "a list": (b"]", "expected an array, got list"),
    "a selection beyond the end": (pickle2.selected(pickle2.chumpy(MATRIX), [6], (1,)), r"beyond 0\.\.5"),
    "a selection before the start": (pickle2.selected(pickle2.chumpy(MATRIX), [-1], (1,)), r"beyond 0\.\.5"),
    "a selection by reals": (pickle2.selected(pickle2.chumpy(MATRIX), [1.0], (1,)), "indices of the type float64"),
    "a selection in a wrong shape": (pickle2.selected(pickle2.chumpy(MATRIX), [1], (HUGE,)), "cannot reshape"),
    "a giant sparse matrix": (
        sparse(shape=(HUGE, HUGE), data=[1.0], indices=[0], indptr=[0, 1]),
        "more than 16777216 cells",
    ),
    "a sparse matrix of no shape": (sparse(shape=(), data=[1.0], indices=[0], indptr=[0, 1]), "the shape"),
    "a sparse matrix of negative shape": (sparse(shape=(-2, 3), data=[1.0], indices=[0], indptr=[0, 1]), "the shape"),
    "too few ends": (sparse(data=[1.0], indices=[0], indptr=[0, 1]), "indices of the type int64 and shape"),
    "ends that fall": (sparse(data=[1.0], indices=[0], indptr=[0, 1, 0, 1]), "do not fit together"),
    "ends beyond the values": (sparse(data=[1.0], indices=[0], indptr=[0, 0, 0, 9]), r"beyond 0\.\.1"),
    "ends before the values": (sparse(data=[1.0, 2], indices=[0, 0], indptr=[0, 0, 0, 1]), "do not take up all"),
    "a row too far": (sparse(data=[1.0], indices=[2], indptr=[0, 1, 1, 1]), r"beyond 0\.\.1"),
    "fewer rows than values": (sparse(data=[1.0, 2], indices=[0], indptr=[0, 2, 2, 2]), "do not fit together"),
    "values of text": (sparse(data=np.array(["a"]), indices=[0], indptr=[0, 1, 1, 1]), "values of the type"),
    "values in a table": (sparse(data=[[1.0]], indices=[0], indptr=[0, 1, 1, 1]), "values of the type"),
    "a sparse matrix without values": (sparse(indices=[0], indptr=[0, 1, 1, 1]), "without 'data'"),
    "an array by a giant shape": (
        nested
        + b"}U\x01xcnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01\x8a\x06"
        + struct.pack("<q", 1 << 40)[:6]
        + b"\x85cnumpy\ndtype\n(U\x02f8K\x00K\x01tR\x89U\x00tbsb",
        "with other bytes",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_plain_array__what_is_no_array_is_refused(name):
    content, message = DAMAGED[name]
    with pytest.raises(FormatError, match=message):
        opened(content)
