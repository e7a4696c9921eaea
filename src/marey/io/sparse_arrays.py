"""Arrays that others' pickles wrap in objects: sparse matrices of SciPy and constants of chumpy, as plain NumPy arrays.

Neither package is imported: what their objects keep is data, which `marey.io.unpickle` gives as instances of
`PickledObject`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.pickle_data import PickledObject

_FORMATS = ("csc", "csr", "coo")
_SPARSE = {
    f"scipy.sparse.{hidden}{form}.{form}_{kind}": form
    for form in _FORMATS
    for hidden in ("", "_")
    for kind in ("matrix", "array")
}
"""Name of the class -> layout. Modules lost and gained their underscore in SciPy 1.8."""
_CHUMPY = "chumpy.ch.Ch", "chumpy.reordering.Select", "chumpy.reordering.Reshape"

ARRAY_CLASSES = frozenset((*_SPARSE, *_CHUMPY))
"""What `restricted_load(..., allowed=)` has to let pass for `plain_array`."""
MOST_CELLS = 1 << 24
"""Of a sparse matrix written out; the largest regressor of joints, of SMPL-X, has half a million."""


def plain_array(value: Any) -> npt.NDArray[Any]:
    """The array that an object of a pickle stands for: sparse matrices written out, chumpy's constants opened.

    Of chumpy only what holds an array as it is can be opened: `Ch`, and the selections and new shapes of one. What
    would have to be computed is refused.

    Raises:
        FormatError: the object is of another kind, or its parts do not fit together.
    """
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, PickledObject):
        raise FormatError(f"expected an array, got {type(value).__name__}")
    state = value.state
    if not isinstance(state, dict):
        raise FormatError(f"a {value.kind} without content; it is damaged")
    try:
        return _dense(_SPARSE[value.kind], state) if value.kind in _SPARSE else _opened(value.kind, state)
    except KeyError as error:
        raise FormatError(f"a {value.kind} without {error}; it is damaged") from None
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise FormatError(f"a {value.kind} whose parts do not fit together: {error}") from error


def _opened(kind: str, state: dict[Any, Any]) -> npt.NDArray[Any]:
    if kind == "chumpy.ch.Ch":
        return plain_array(state["x"])
    inner = plain_array(state["a"])
    if kind == "chumpy.reordering.Reshape":
        return inner.reshape(state["newshape"])
    places = _indices(state["idxs"], inner.size)
    return inner.reshape(-1)[places].reshape(state.get("preferred_shape", places.shape))


def _dense(form: str, state: dict[Any, Any]) -> npt.NDArray[Any]:
    shape = state["_shape"] if "_shape" in state else state["shape"]
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"the shape {shape!r:.100}")
    if math.prod(shape) > MOST_CELLS:
        raise FormatError(f"a sparse matrix {shape} of more than {MOST_CELLS} cells; refused")
    data = plain_array(state["data"])
    if data.dtype.kind not in "biuf" or data.ndim != 1:
        raise ValueError(f"values of the type {data.dtype} and shape {data.shape}")
    rows, columns = _places(form, state, shape, len(data))
    found = np.zeros(shape, data.dtype)
    np.add.at(found, (rows, columns), data)  # SciPy too sums what is stored twice
    return found


def _places(form: str, state: dict[Any, Any], shape: tuple[int, ...], count: int) -> tuple[Any, Any]:
    """Row and column of every stored value."""
    if form == "coo":
        row, column = state["coords"] if "coords" in state else (state["row"], state["col"])
        return _indices(row, shape[0], count), _indices(column, shape[1], count)
    major, minor = shape if form == "csr" else shape[::-1]
    ends = _indices(state["indptr"], count + 1, major + 1)
    if ends[0] != 0 or ends[-1] != count:
        raise ValueError("its rows do not take up all its values")
    outer = np.repeat(np.arange(major), np.diff(ends))
    inner = _indices(state["indices"], minor, count)
    return (outer, inner) if form == "csr" else (inner, outer)


def _indices(value: Any, end: int, count: int | None = None) -> npt.NDArray[np.int64]:
    """Whole numbers in 0..end - 1, `count` of them."""
    found = plain_array(value)
    if found.dtype.kind not in "iu" or found.ndim != 1 or (count is not None and len(found) != count):
        raise ValueError(f"indices of the type {found.dtype} and shape {found.shape}")
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < end:
        raise ValueError(f"an index beyond 0..{end - 1}")
    return found.astype(np.int64)
