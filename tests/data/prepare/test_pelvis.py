"""Predicted pelvises find their labels by subject, action and frame, never by row number."""

import pickle

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.data.prepare.h36m_published import (
    dataset_rows,
    moment_rows,
    read_published_labels,
    trial_of_sequence,
)
from marey.data.prepare.pelvis import pelvis_for_labels, pelvis_of_rows
from marey.io.h36m_labels import read_h36m_labels
from marey.io.predictions import pose_rows
from marey.io.predictions_published import read_triangulation_results

SUBJECTS = ["S1", "S9", "S11"]
ACTIONS = ["Greeting-2", "Walking-1"]
ROWS = [("S1", "Walking-1", 0), ("S1", "Walking-1", 5), ("S9", "Greeting-2", 0), ("S9", "Greeting-2", 5)]
ROWS += [("S9", "Walking-1", 0), ("S9", "Walking-1", 5), ("S9", "Walking-1", 10), ("S11", "Greeting-2", 0)]


@pytest.fixture
def label_file(tmp_path):
    """Eight moments, two cameras; the second camera lacks the last moment."""
    table = np.zeros(
        len(ROWS),
        dtype=[
            ("subject_idx", "i1"),
            ("action_idx", "i1"),
            ("frame_idx", "i2"),
            ("keypoints", "f4", (17, 3)),
            ("bbox_by_camera_tlbr", "i2", (2, 4)),
        ],
    )
    for row, (subject, action, frame) in enumerate(ROWS):
        table[row]["subject_idx"], table[row]["action_idx"] = SUBJECTS.index(subject), ACTIONS.index(action)
        table[row]["frame_idx"], table[row]["keypoints"] = frame, row
    table["bbox_by_camera_tlbr"] = [10, 20, 110, 120]
    table["bbox_by_camera_tlbr"][-1, 1] = 0
    cameras = np.zeros((3, 2), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    cameras["dist"] = 0.1
    names = {"subject_names": SUBJECTS, "camera_names": ["54138969", "55011271"], "action_names": ACTIONS}
    path = tmp_path / "human36m-multiview-labels-GTbboxes.npy"
    np.save(path, {**names, "cameras": cameras, "table": table})
    return path


def results(path, rows, order=None):
    """`results.pkl` of poses whose joint j lies at (row, j, 0) mm, in an order of their own."""
    joints = np.zeros((len(rows), 17, 3), dtype=np.float32)
    joints[..., 0], joints[..., 1] = np.array(rows)[:, None], np.arange(17)
    order = np.arange(len(rows)) if order is None else np.array(order)
    path.write_bytes(pickle.dumps({"keypoints_3d": joints[order], "indexes": np.arange(len(rows))[order]}))
    return path


def test_published__labels_of_a_file(label_file):
    labels = read_published_labels(label_file, images="../processed/")
    assert len(labels) == 15
    assert labels.cameras.is_pinhole
    assert labels.images.path[2] == "../processed/S1/Walking-1/imageSequence-undistorted/54138969/img_000006.jpg"
    assert labels.values["box"][0].tolist() == [20, 10, 100, 100]
    assert labels.split.tolist() == ["train"] * 4 + ["test"] * 11
    distorted = read_published_labels(label_file, undistorted=False)
    assert distorted.images.path[0] == "S1/Walking-1/imageSequence/54138969/img_000001.jpg"
    assert not distorted.cameras.is_pinhole


def test_rows__in_the_order_of_the_original_data_set(label_file):
    found = read_h36m_labels(label_file)
    assert dataset_rows(found, train=True).tolist() == [0, 1]
    assert dataset_rows(found, test=True).tolist() == [2, 3, 4, 5, 6, 7]
    assert dataset_rows(found, train=True, test=True).tolist() == list(range(8))
    # the damaged action of S9 goes first, then every second of what is left
    assert dataset_rows(found, test=True, damaged=False).tolist() == [4, 5, 6, 7]
    assert dataset_rows(found, test=True, damaged=False, every=2).tolist() == [4, 6]
    assert dataset_rows(found).tolist() == []
    with pytest.raises(InputError, match="every"):
        dataset_rows(found, test=True, every=0)


def test_pelvis__of_a_thinned_run_in_another_order(label_file, tmp_path):
    labels, found = read_published_labels(label_file), read_h36m_labels(label_file)
    rows = dataset_rows(found, test=True, damaged=False, every=2)
    path = results(tmp_path / "results.pkl", rows.tolist(), order=[1, 0])
    predictions = read_triangulation_results(path, moment_rows(found, rows))
    with pytest.warns(UserWarning, match="11 of 15 rows of the labels have no predicted pelvis"):
        pelvis = pelvis_for_labels(labels, predictions)
    assert pelvis.shape == (15, 3)
    expected = {8: 4, 9: 4, 12: 6, 13: 6}  # rows of labels (two cameras a moment): moments
    for row in range(15):
        if row in expected:
            assert pelvis[row] == pytest.approx([expected[row] / 1000, 0.006, 0])
        else:
            assert np.isnan(pelvis[row]).all()
    with pytest.raises(InputError, match="of 15 rows 27% have one"):
        pelvis_for_labels(labels, predictions, least_share=0.9)


def test_pelvis__of_labels_by_official_names(label_file):
    labels = read_published_labels(label_file)
    official = {"S9/Greeting-2": "S9/Greeting", "S11/Greeting-2": "S11/Greeting", "S9/Walking-1": "S9/Walking 1"}
    official["S1/Walking-1"] = "S1/Walking 1"
    sequence = np.array([official[name] for name in labels.images.sequence.tolist()])
    renamed = type(labels)(
        **{**vars(labels), "images": type(labels.images)(**{**vars(labels.images), "sequence": sequence})}
    )
    found = read_h36m_labels(label_file)
    every = moment_rows(found, dataset_rows(found, train=True, test=True))
    assert every.sequence.tolist()[:3] == ["S1/Walking-1", "S1/Walking-1", "S9/Greeting-2"]
    assert every.values["subject"].tolist()[2:4] == ["S9", "S9"]
    pelvis = pelvis_for_labels(renamed, every, sequence=trial_of_sequence)
    assert pelvis[:, 0].tolist() == pytest.approx(
        [0, 0, *(row / 1000 for row in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7))]
    )


def test_pelvis__half_way_between_hips():
    joints = np.array([[[1.0, 0, 0], [3.0, 2, 0]]])
    rows = pose_rows(joints, joint_names=("left_hip", "right_hip"), sequence=["a"], frame=[0])
    assert pelvis_of_rows(rows).tolist() == [[2, 1, 0]]
    with pytest.raises(InputError, match="no pelvis and no hips among their joints: nose"):
        pelvis_of_rows(pose_rows(joints[:, :1], joint_names=("nose",), sequence=["a"], frame=[0]))


def test_pelvis__two_of_one_person_at_one_moment_are_refused(label_file):
    found = read_h36m_labels(label_file)
    doubled = moment_rows(found, np.array([2, 3, 2]))
    with pytest.raises(InputError, match=r"rows 0, 2 .*S9/Greeting-2 frame 0.* of one person at one moment"):
        pelvis_for_labels(read_published_labels(label_file), doubled)


def test_pelvis__indices_beyond_the_set_are_refused(label_file, tmp_path):
    found = read_h36m_labels(label_file)
    path = results(tmp_path / "results.pkl", list(range(8)))
    with pytest.raises(FormatError, match="thinned"):
        read_triangulation_results(path, moment_rows(found, dataset_rows(found, test=True)))


def test_published__subjects_of_no_split_are_refused(label_file):
    content = np.load(label_file, allow_pickle=True).item()
    np.save(label_file, {**content, "subject_names": ["S1", "S9", "S12"]})
    with pytest.raises(InputError, match="subjects S12 belong neither"):
        read_published_labels(label_file)
