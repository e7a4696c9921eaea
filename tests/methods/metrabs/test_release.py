"""What lies beside published weights, written by hand; also damaged."""

import pickle

import numpy as np
import pytest

from marey.core import FormatError
from marey.io.tensorflow_bundle import read_tensor_bundle
from marey.methods.metrabs.release import PublishedSkeleton, bundle_release, read_release
from tensorflow_files import write_checkpoint

VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"


def test_release__of_an_empty_folder(tmp_path):
    found = read_release(tmp_path)
    assert (found.names, found.edges, found.skeletons, found.transform, found.settings) == ((), (), {}, None, {})


def test_settings__of_a_configuration(tmp_path):
    text = 'a: 3\nb: 0.5 # half\nc: true\nd:\ne: "x y"\nf: null\n  nested: 7\ng: 1e-3\nh: /a/b:c\n# i: 2\nj: -4\n'
    (tmp_path / "config.yaml").write_text(text)
    expected = {"a": 3, "b": 0.5, "c": True, "d": None, "e": "x y", "f": None, "g": 0.001, "h": "/a/b:c", "j": -4}
    assert read_release(tmp_path).settings == expected


def test_skeletons__of_lists_and_arrays(tmp_path):
    infos = {
        "a": {"indices": np.array([2, 0]), "names": np.array(["lkne", "rkne"]), "edges": np.array([[0, 1]])},
        "b": {"indices": [1], "names": ["pelv"], "edges": [(0, 3)]},
    }
    (tmp_path / "skeleton_infos.pkl").write_bytes(pickle.dumps(infos, protocol=4))
    assert read_release(tmp_path).skeletons == {
        "a": PublishedSkeleton(names=("lkne", "rkne"), edges=((0, 1),), indices=(2, 0)),
        "b": PublishedSkeleton(names=("pelv",), edges=(), indices=(1,)),
    }


DAMAGED = {
    "skeletons of nothing": ([1, 2], "expected skeletons by name, got list"),
    "no indices": ({"a": {"names": ["x"]}}, "expected 'indices', 'names' and 'edges' of each skeleton"),
    "negative": ({"a": {"indices": [-1], "names": ["x"]}}, "expected indices of joints"),
    "no numbers": ({"a": {"indices": ["1"], "names": ["x"]}}, "expected indices of joints"),
    "other counts": ({"a": {"indices": [1, 2], "names": ["x"]}}, "skeleton 'a' has 1 names and 2 indices"),
    "no text": ({"a": {"indices": [1], "names": [7]}}, "expected names of joints"),
    "no pairs": ({"a": {"indices": [1], "names": ["x"], "edges": [(1, 2, 3)]}}, "expected pairs of joints"),
    "uneven": ({"a": {"indices": [1], "names": ["x"], "edges": [(1, 2), (3,)]}}, "expected pairs of joints"),
    "a number": ({"a": {"indices": [1], "names": ["x"], "edges": 3}}, "expected pairs of joints"),
    "nested": ({"a": {"indices": [[1], [2, 3]], "names": ["x"]}}, "expected indices of joints"),
}


@pytest.mark.parametrize(("infos", "message"), DAMAGED.values(), ids=DAMAGED)
def test_skeletons__damaged(tmp_path, infos, message):
    (tmp_path / "skeleton_infos.pkl").write_bytes(pickle.dumps(infos))
    with pytest.raises(FormatError, match=message):
        read_release(tmp_path)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), int), np.full((2, 2), np.nan)])
def test_transform__that_is_none(tmp_path, values):
    np.save(tmp_path / "joint_transform_matrix.npy", values)
    with pytest.raises(FormatError, match="expected a finite matrix"):
        read_release(tmp_path)


def test_variables__nearest_to_the_root_count(tmp_path):
    variables = {
        f"crop_model/joint_names{VARIABLE}": ["far"],
        f"joint_names{VARIABLE}": ["pelv", "neck"],
        f"joint_edges{VARIABLE}": np.array([[0, 1]]),
        f"model/input_resolution{VARIABLE}": np.array(384, np.int32),
        f"per_skeleton_indices/one{VARIABLE}": np.array([1], np.int32),
        f"per_skeleton_joint_names/one{VARIABLE}": ["neck"],
        f"per_skeleton_indices/nameless{VARIABLE}": np.array([1], np.int32),
    }
    found = bundle_release(read_tensor_bundle(write_checkpoint(tmp_path / "m", variables)))
    assert found.names == ("pelv", "neck")
    assert found.edges == ((0, 1),)
    assert found.settings == {"proc_side": 384}
    assert found.skeletons == {"one": PublishedSkeleton(names=("neck",), edges=(), indices=(1,))}
