"""Where samples come from: published label files and predictions, and batches that are made ahead."""

import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Cameras, FormatError, InputError, MissingAssetError
from marey.data.multiview import MultiViewOptions
from marey.data.prepare.h36m_names import CAMERAS
from marey.io.h36m_labels import H36M_JOINTS, MultiviewLabels, write_h36m_labels
from marey.methods.triangulation.multiview_splits import ahead, labelled_centers, open_split, predicted_centers
from marey.methods.triangulation.recipe import SplitOptions

SUBJECTS, ACTIONS = ("S1", "S9", "S11"), ("Eating-1", "Waiting-1")
TRAIN = SplitOptions(labels="labels.npy", pelvis="train.pkl", samples=MultiViewOptions(undistort=False))
VALIDATION = SplitOptions(
    labels="labels.npy", pelvis="val.pkl", splits=("validation", "test"), samples=MultiViewOptions(undistort=False)
)


@pytest.fixture
def published(tmp_path):
    """Labels of three subjects in two actions with three frames each; the pelvis of row n is n metres high."""
    subject, action, frame = (axis.reshape(-1) for axis in np.indices((3, 2, 3)))
    joints = np.zeros((18, 17, 3))
    joints[..., 2] = np.arange(18)[:, None]
    rig = Cameras(
        intrinsics=torch.eye(3, dtype=torch.float64).expand(3, 4, 3, 3),
        distortion=torch.zeros(3, 4, 5, dtype=torch.float64),
        image_size=torch.full((3, 4, 2), torch.nan, dtype=torch.float64),
        rotation=torch.eye(3, dtype=torch.float64).expand(3, 4, 3, 3),
        translation=torch.ones(3, 4, 3, dtype=torch.float64),
        names=CAMERAS,
    )
    labels = MultiviewLabels(
        skeleton=H36M_JOINTS,
        subjects=SUBJECTS,
        actions=ACTIONS,
        cameras=rig,
        subject=subject,
        action=action,
        frame=frame,
        person=np.zeros(18, dtype=np.int64),
        joints=joints,
        boxes=np.tile(np.array([10.0, 20.0, 300.0, 300.0]), (18, 4, 1)),
    )
    write_h36m_labels(tmp_path / "labels.npy", labels)
    (tmp_path / "images").mkdir()
    return tmp_path


def write_results(path, rows, heights):
    joints = np.zeros((len(rows), 17, 3), dtype=np.float32)
    joints[:, 6, 2] = 1000 * np.array(heights)  # the pelvis; millimetres
    path.write_bytes(pickle.dumps({"keypoints_3d": joints, "indexes": np.array(rows)}))


def test_open_split__of_a_published_label_file(published):
    samples = open_split(TRAIN, published, joints=("right_ankle", "pelvis"))
    assert len(samples) == 6
    assert samples.labels.skeleton.joints == ("right_ankle", "pelvis")
    assert samples.joints[:, 0, 2].tolist() == [0, 1, 2, 3, 4, 5]
    assert samples.folder == published
    held_out = open_split(VALIDATION, published, joints=())
    assert held_out.joints[:, 0, 2].tolist() == [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    assert labelled_centers(held_out, ("left_hip", "right_hip"))[:, 2].tolist() == list(range(6, 18))


def test_predicted_centers__are_paired_by_what_the_indices_mean(published):
    write_results(published / "train.pkl", [5, 0, 2], [0.5, 0.25, 0.75])
    samples = open_split(TRAIN, published, joints=())
    with pytest.warns(UserWarning, match="3 of 6 rows"):
        centers = predicted_centers(samples, TRAIN, published)
    expected = [0.25, np.nan, 0.75, np.nan, np.nan, 0.5]
    np.testing.assert_array_equal(centers[:, 2], expected)
    # of the val file indices count the test rows alone: 0 is the first of S9
    write_results(published / "val.pkl", list(range(12)), np.arange(12) / 8)
    centers = predicted_centers(open_split(VALIDATION, published, joints=()), VALIDATION, published)
    np.testing.assert_array_equal(centers[:, 2], np.arange(12) / 8)


def test_predicted_centers__stay_right_when_samples_are_left_out(published):
    thinned = SplitOptions(
        labels="labels.npy",
        pelvis="val.pkl",
        splits=("test",),
        samples=MultiViewOptions(undistort=False, with_damaged_actions=False, retain_every_n=2),
    )
    write_results(published / "val.pkl", list(range(12)), np.arange(12) / 8)
    samples = open_split(thinned, published, joints=())
    kept = samples.joints[:, 0, 2]
    assert len(kept) < 9
    assert not {9.0, 10.0, 11.0} & set(kept.tolist())  # S9 Waiting-1
    np.testing.assert_array_equal(predicted_centers(samples, thinned, published)[:, 2], (kept - 6) / 8)


def test_frames__of_a_list_say_what_trains(published):
    (published / "frames.yaml").write_text(
        "train:\n- S9/Eating-1:\n  - [0, 1]\n  - [2, 3]\nval:\n- S11/Waiting-1:\n  - [1, 3]\n", encoding="utf-8"
    )
    listed = open_split(replace(TRAIN, frames="frames.yaml"), published, joints=())
    assert listed.joints[:, 0, 2].tolist() == [6, 8]
    held_out = open_split(replace(VALIDATION, frames="frames.yaml"), published, joints=())
    assert held_out.joints[:, 0, 2].tolist() == [16, 17]
    with pytest.raises(InputError, match="frames: no image of h36m is listed"):  # the fork's own, known by name
        open_split(replace(TRAIN, frames="elsewhere/cmu_frames.yaml"), published, joints=())
    with pytest.raises(MissingAssetError, match="list of frames: expected "):
        open_split(replace(TRAIN, frames="absent.yaml"), published, joints=())


def test_errors__name_the_file_and_what_to_do(published, tmp_path):
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"broken\.npy.*nor the fork's for CMU Panoptic"):
        open_split(SplitOptions(labels="broken.npy"), published, joints=())
    with pytest.raises(MissingAssetError, match="images: expected "):
        open_split(SplitOptions(labels="labels.npy", images="absent"), published, joints=())
    with pytest.raises(InputError, match=r"joints: .*labels\.npy has none of them"):
        open_split(TRAIN, published, joints=("left_ear", "nose"))
    samples = open_split(TRAIN, published, joints=())
    other = SplitOptions(labels="labels.npz", pelvis="train.pkl")
    write_results(published / "train.pkl", [0], [1])
    with pytest.raises(InputError, match=r"train\.pkl: its indices count the rows of a label file .* 'pelvis_labels'"):
        predicted_centers(samples, other, published)


def test_cameras__that_labels_lack_need_not_be_ignored(published):
    options = SplitOptions(
        labels="labels.npy", samples=MultiViewOptions(undistort=False, ignore_cameras=("23", "54138969"))
    )
    assert open_split(options, published, joints=()).view_names == CAMERAS[1:]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_ahead__keeps_the_order_and_asks_for_no_more_than_it_works_on(workers):
    asked = []

    def items():
        for number in range(100):
            asked.append(number)
            yield number

    def make(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    made = ahead(make, items(), workers)
    assert [next(made) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(asked) == 5 + workers
    made.close()


def test_ahead__passes_errors_on():
    made = ahead(lambda number: 1 // number, iter([1, 0]), 2)
    assert next(made) == 1
    with pytest.raises(ZeroDivisionError):
        next(made)
