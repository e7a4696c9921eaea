import json
import pickle

import numpy as np
import pytest

from marey.core import InputError, MissingAssetError
from marey.io.predictions import pose_rows, write_pose_rows
from marey.metrics.protocols.human36m import JOINTS
from marey.pipeline.scoring import compare_predictions, guessed_format, labels_beside, score_predictions, write_scores
from protocol_cases import changed


@pytest.fixture
def labels(tmp_path):
    rows = pose_rows(
        np.random.default_rng(0).normal(size=(3, 17, 3)),
        joint_names=JOINTS,
        sequence=["S9-a", "S9-a", "S11-b"],
        frame=[0, 64, 0],
        subject=["S9", "S9", "S11"],
        action=["Eating-1", "Eating-2", "Posing-1"],
    )
    write_pose_rows(tmp_path / "labels.npz", rows)
    return rows


def test_score__rows_of_both(tmp_path, labels):
    moved = labels.values["joints"] + (0.003, 0.0, 0.004)
    keys = {"joint_names": JOINTS, "sequence": labels.sequence, "frame": labels.frame}
    write_pose_rows(tmp_path / "mine.npz", pose_rows(moved, **keys))
    found = score_predictions(tmp_path / "mine.npz", protocol_name="h36m", labels=tmp_path / "labels.npz")
    assert found.values == pytest.approx({"mpjpe_mm": 5.0, "mpjpe_relative_mm": 0.0}, abs=1e-9)
    write_scores(tmp_path / "scores.json", found)
    document = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert document["values"]["mpjpe_mm"] == found.values["mpjpe_mm"]
    assert document["card"]["alignment"] == "none, and relative to the pelvis of each of the two"


def test_score__results_of_learnable_triangulation(tmp_path, labels):
    order = (3, 2, 1, 4, 5, 6, 0, 7, 8, 10, 16, 15, 14, 11, 12, 13, 9)  # its joints in the order of h36m_17
    poses = (1000 * labels.values["joints"][:, order] + (3, 0, 4)).astype(np.float32)
    document = {"keypoints_3d": poses[[2, 0, 1]], "indexes": np.array([2, 0, 1])}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(document))
    found = score_predictions(tmp_path / "results.pkl", protocol_name="h36m", labels=tmp_path / "labels.npz")
    assert found.values["mpjpe_mm"] == pytest.approx(5.0, abs=1e-3)


def test_score__without_labels_it_says_so(tmp_path, labels):
    with pytest.raises(InputError, match=r"labels: 'h36m' of a file of the format marey needs them"):
        score_predictions(tmp_path / "labels.npz", protocol_name="h36m")


def test_score__an_absent_file_is_named(tmp_path):
    with pytest.raises(MissingAssetError, match=r"none\.npz does not exist"):
        score_predictions(tmp_path / "none.npz", protocol_name="h36m")


@pytest.mark.parametrize(
    ("name", "protocol", "expected"),
    [
        ("result_keypoints.json", "coco-keypoints", "coco"),
        ("results.pkl", "h36m", "triangulation"),
        ("downtown.pkl", "3dpw-metrabs", "3dpw"),
        ("predictions_mupots.npz", "mupots", "metrabs"),
        ("predictions_mupots.npz", "3dpw-14", "marey"),
        ("mine.npz", "mupots", "marey"),
    ],
)
def test_guessed_format__by_name_and_protocol(tmp_path, name, protocol, expected):
    assert guessed_format(tmp_path / name, protocol) == expected


def _moved(tmp_path, labels, name, offset, **values):
    keys = {"joint_names": JOINTS, "sequence": labels.sequence, "frame": labels.frame} | values
    path = tmp_path / name
    write_pose_rows(path, pose_rows(labels.values["joints"] + offset, **keys))
    return path


def test_compare__rows_of_both_by_a_published_protocol(tmp_path, labels):
    near = _moved(tmp_path, labels, "near.npz", np.array([[[0.001]], [[0.002]], [[0.004]]]))
    far = _moved(tmp_path, labels, "far.npz", np.array([[[0.005]], [[0.008]], [[0.012]]]))
    found = compare_predictions(near, far, protocol_name="h36m", labels=tmp_path / "labels.npz")
    metric = next(metric for metric in found if metric.name == "mpjpe_mm")
    assert metric.comparison.difference == pytest.approx(3**0.5 * (7 - 25) / 3)
    assert metric.comparison.clusters == 2  # of two sequences
    assert metric.verdict == "first beats second"


def test_compare__predictions_of_other_labels_are_refused(tmp_path, labels):
    first = _moved(tmp_path, labels, "first.npz", 0.001, benchmark="box v1")
    second = _moved(tmp_path, labels, "second.npz", 0.001, benchmark="box v2")
    with pytest.raises(
        InputError, match=r"3 rows of 'box v1' and 3 of 'box v2'; compare what was predicted for the same"
    ):
        compare_predictions(first, second, protocol_name="h36m", labels=tmp_path / "labels.npz")


def test_compare__a_protocol_that_leaves_rows_out_is_refused(tmp_path, labels):
    """Its numbers by row cannot be told to the rows that they are of."""
    path = tmp_path / "labels.npz"
    found = compare_predictions(path, path, protocol_name="h36m", labels=path)
    assert {metric.verdict for metric in found} == {"undecided"}
    left_out = changed(labels, action=["Greeting-2", "Eating-1", "Posing-1"])  # the first is of S9
    write_pose_rows(path, left_out)
    with pytest.raises(InputError, match=r"h36m-valid: has not one number for each label"):
        compare_predictions(path, path, protocol_name="h36m-valid", labels=path)


def test_labels_beside__only_those_that_the_card_names_and_only_there(tmp_path, labels):
    path = tmp_path / "mine.npz"
    assert labels_beside(path) is None
    card = path.with_name("mine.npz.json")
    for name, expected in (("labels.npz", tmp_path / "labels.npz"), ("../labels.npz", None), ("absent.npz", None)):
        card.write_text(json.dumps({"labels": name}), "utf-8")
        assert labels_beside(path) == expected
