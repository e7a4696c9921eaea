"""Poses in rows, and the npz that they are kept in."""

import io
import pickle

import numpy as np
import pytest

from marey.core import FormatError, InputError, ShapeError
from marey.io.predictions import PoseRows, places_in_groups, pose_rows, read_pose_rows, write_pose_rows


def arrays(**changes):
    """The keys of a file, as its documentation lists them."""
    return {
        "format": np.array(1),
        "benchmark": np.array("box v2"),
        "joint_names": np.array(["pelvis", "neck"]),
        "sequence": np.array(["walk", "walk", "run"]),
        "frame": np.array([4, 4, 0]),
        "person": np.array([0, 1, 0]),
        "joints": np.arange(18.0).reshape(3, 2, 3),
        "action": np.array(["a", "b", "c"]),
        **changes,
    }


def saved(folder, **changes):
    path = folder / "rows.npz"
    np.savez(path, **{name: value for name, value in arrays(**changes).items() if value is not None})
    return path


def test_read__gives_what_the_keys_hold(tmp_path):
    rows = read_pose_rows(saved(tmp_path))
    assert (rows.joint_names, rows.benchmark, len(rows)) == (("pelvis", "neck"), "box v2", 3)
    assert rows.sequence.tolist() == ["walk", "walk", "run"]
    assert (rows.frame.tolist(), rows.person.tolist()) == ([4, 4, 0], [0, 1, 0])
    assert rows.values["joints"][2].tolist() == [[12, 13, 14], [15, 16, 17]]
    assert rows.values["action"].tolist() == ["a", "b", "c"]


def test_written__has_the_documented_keys(tmp_path):
    rows = pose_rows(
        np.zeros((2, 1, 3)),
        joint_names=["pelvis"],
        sequence=["walk", "walk"],
        frame=[7, 7],
        benchmark="b",
        score=[1, 2],
    )
    write_pose_rows(tmp_path / "rows.npz", rows)
    with np.load(tmp_path / "rows.npz", allow_pickle=False) as stored:
        assert set(stored) == {
            "format", "benchmark", "joint_names", "keypoint_names", "sequence", "frame", "person", "joints", "score",
        }  # fmt: skip
        assert stored["person"].tolist() == [0, 1]
        assert (int(stored["format"]), str(stored["benchmark"])) == (1, "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": np.array(2)}, "format 2, this version reads 1"),
        ({"frame": None}, "the key 'frame' is missing"),
        ({"frame": np.array([1.5, 2, 3])}, r"frame: expected \(3,\) integers"),
        ({"person": np.array([1, 2])}, r"person: expected \(3,\) integers, got \(2,\)"),
        ({"sequence": np.array([1, 2, 3])}, r"sequence: expected \(N,\) text"),
        ({"joints": np.zeros((3, 5, 3))}, r"joints: expected \(3, 2, 3\) for these names, got \(3, 5, 3\)"),
        ({"action": np.array(["a"])}, "action: expected one entry for each of the 3 rows"),
    ],
)
def test_read__a_file_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(FormatError, match=message):
        read_pose_rows(saved(tmp_path, **change))


def test_read__pickled_objects_are_refused(tmp_path):
    with pytest.raises(FormatError, match="pickled"):
        read_pose_rows(saved(tmp_path, action=np.array([{}, {}, {}], dtype=object)))


def test_read__a_cut_file_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="not a readable npz archive"):
        read_pose_rows(path)


def test_write__a_value_named_like_a_key_is_refused(tmp_path):
    rows = pose_rows(sequence=["a"], frame=[0])
    rows = PoseRows(**(vars(rows) | {"values": {"format": np.zeros(1)}}))
    with pytest.raises(InputError, match="format are keys of the file itself"):
        write_pose_rows(tmp_path / "rows.npz", rows)
    assert not list(tmp_path.iterdir())


def test_places__count_rows_of_the_same_keys():
    places = places_in_groups(np.array(["b", "a", "b", "b", "a"]), np.array([1, 1, 2, 1, 1]))
    assert places.tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ShapeError, match="as many entries"):
        places_in_groups(np.zeros(2), np.zeros(3))


def test_described__keeps_the_numbers_of_the_whole_table():
    rows = pose_rows(sequence=["s"] * 9, frame=range(9))
    assert rows.described([8]) == "rows 8 (s frame 8 person 0)"
    picked = rows[np.array([2, 5, 8])][np.array([1, 2])]
    assert picked.described([0, 1]) == "rows 5, 8 (s frame 5 person 0; s frame 8 person 0)"
    assert rows.described(range(7)).endswith("s frame 4 person 0) and 2 more")


def test_pickles__are_not_read_as_rows(tmp_path):
    path = tmp_path / "rows.npz"
    path.write_bytes(pickle.dumps(arrays()))
    with pytest.raises(FormatError):
        read_pose_rows(path)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(FormatError):
        read_pose_rows(path)
