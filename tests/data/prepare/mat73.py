"""MATLAB files of version 7.3, written as HDF5 with MATLAB's own header, from its documentation."""

import h5py
import numpy as np


def write_mat73(path, **variables):
    """Arrays in MATLAB's order of dimensions; lists of lists of arrays become cells."""
    with h5py.File(path, "w", userblock_size=512) as file:
        hidden = file.create_group("#refs#")
        for name, value in variables.items():
            if isinstance(value, list):
                rows, columns = len(value), len(value[0])
                cells = file.create_dataset(name, (columns, rows), dtype=h5py.ref_dtype)
                for row, cell in np.ndindex(rows, columns):
                    cells[cell, row] = _stored(file, hidden, value[row][cell])
            else:
                file[name] = np.asarray(value, dtype=np.float64).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Sat Nov 21 12:00:00 2020 HDF5 schema 1.00 .")


def _stored(file, hidden, value):
    """A reference to an array, or to a cell of one array."""
    name = f"r{len(hidden)}"
    if isinstance(value, list):
        inner = _stored(file, hidden, value[0][0])
        name = f"r{len(hidden)}"
        cell = hidden.create_dataset(name, (1, 1), dtype=h5py.ref_dtype)
        cell[0, 0] = inner
        return cell.ref
    hidden[name] = np.asarray(value, dtype=np.float64).T
    return hidden[name].ref
