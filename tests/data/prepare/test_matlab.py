import numpy as np
import pytest

from data.prepare.mat73 import write_mat73
from marey.core import FormatError, InputError
from marey.data.prepare.matlab import numbers, read_matlab

scipy_io = pytest.importorskip("scipy.io", reason="the optional scipy is not installed")
pytest.importorskip("h5py", reason="the optional h5py is not installed")


def test_arrays__have_matlabs_order_in_both_versions(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    scipy_io.savemat(tmp_path / "5.mat", {"a": values, "b": np.array([[7.0]])})
    write_mat73(tmp_path / "73.mat", a=values, b=np.array([[7.0]]))
    for name in ("5.mat", "73.mat"):
        found = read_matlab(tmp_path / name, ("a", "b"))
        np.testing.assert_array_equal(found["a"], values)
        assert found["b"].tolist() == [[7.0]]


def test_cells__are_arrays_of_objects(tmp_path):
    cells = np.empty((2, 1), object)
    cells[:, 0] = [np.ones((2, 3)), np.zeros((1, 4))]
    scipy_io.savemat(tmp_path / "5.mat", {"a": cells})
    write_mat73(tmp_path / "73.mat", a=[[np.ones((2, 3))], [np.zeros((1, 4))]])
    for name in ("5.mat", "73.mat"):
        found = read_matlab(tmp_path / name, ("a",))["a"]
        assert found.shape == (2, 1)
        assert (found[0, 0].shape, found[1, 0].shape) == ((2, 3), (1, 4))


def test_structs__are_dicts(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", {"s": {"x": np.ones((1, 2)), "inner": {"y": 3.0}}})
    found = read_matlab(tmp_path / "a.mat", ("s",))["s"]
    assert found["x"].tolist() == [[1, 1]]
    assert found["inner"]["y"].tolist() == [[3.0]]


def test_missing__variable_file_or_format(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", {"a": 1.0})
    with pytest.raises(FormatError, match="lacks the variable b, c"):
        read_matlab(tmp_path / "a.mat", ("a", "b", "c"))
    with pytest.raises(InputError, match="no such file"):
        read_matlab(tmp_path / "none.mat", ("a",))
    (tmp_path / "b.mat").write_bytes(b"not one")
    with pytest.raises(FormatError, match="not a MATLAB file of version 5"):
        read_matlab(tmp_path / "b.mat", ("a",))
    (tmp_path / "c.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    with pytest.raises(FormatError, match="not an HDF5 file"):
        read_matlab(tmp_path / "c.mat", ("a",))


def test_numbers__of_a_shape(tmp_path):
    assert numbers(tmp_path, "a", np.ones((2, 3), np.uint8), (-1, 3)).dtype == np.float64
    with pytest.raises(FormatError, match=r"'a': expected numbers \(any, 4\), got \(2, 3\)"):
        numbers(tmp_path, "a", np.ones((2, 3)), (-1, 4))
    with pytest.raises(FormatError, match="of <U1"):
        numbers(tmp_path, "a", np.array(["x"]), (1,))
