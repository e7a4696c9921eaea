"""Files of predictions that other programs read, looked into with NumPy and pickle alone."""

import pickle

import numpy as np
import pytest

from marey.core import ShapeError
from marey.io.predictions_published import (
    read_metrabs_predictions,
    write_metrabs_predictions,
    write_pw3d_predictions,
)

PATHS = ["h36m/S9/Images/Waiting.1/frame_000064.jpg", "h36m/S11/Images/Eating.1/frame_000000.jpg"]
POSES = np.arange(2 * 17 * 3, dtype=np.float64).reshape(2, 17, 3)


def test_metrabs__the_file_is_in_millimetres_sorted_by_path_and_without_pickles(tmp_path):
    path = tmp_path / "predictions_h36m.npz"
    truth = POSES + 1
    truth[0, 5] = np.nan
    write_metrabs_predictions(
        path,
        PATHS,
        camera=(POSES, truth),
        world=(POSES + 2, truth + 2),
        activity_name=["Waiting", "Eating"],
        scene_name=["", ""],
    )
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    assert arrays["image_path"].tolist() == PATHS[::-1]
    assert arrays["activity_name"].tolist() == ["Eating", "Waiting"]
    assert arrays["scene_name"].tolist() == ["", ""]
    np.testing.assert_array_equal(arrays["coords3d_pred"], 1000 * POSES[::-1])
    np.testing.assert_array_equal(arrays["coords3d_true"], 1000 * truth[::-1])
    np.testing.assert_array_equal(arrays["coords3d_pred_world"], 1000 * (POSES + 2)[::-1])
    np.testing.assert_array_equal(arrays["coords3d_true_world"], 1000 * (truth + 2)[::-1])
    assert not arrays["joint_validity_mask"][1, 5]
    assert arrays["joint_validity_mask"].sum() == 33


def test_metrabs__what_is_written_is_read_by_sequence_and_frame(tmp_path):
    path = tmp_path / "predictions_mupots.npz"
    names = ["mupots/TS2/img_000007.jpg", "mupots/TS1/img_000003.jpg"]
    write_metrabs_predictions(path, names, camera=(POSES, np.full_like(POSES, np.nan)))
    found, labels = read_metrabs_predictions(path, "mupots")
    assert labels is None
    assert found.sequence.tolist() == ["TS1", "TS2"]
    assert found.frame.tolist() == [3, 7]
    np.testing.assert_allclose(found.values["joints"], POSES[::-1])


def test_metrabs__other_counts_are_errors(tmp_path):
    path = tmp_path / "predictions_h36m.npz"
    with pytest.raises(ShapeError, match=r"expected \(N, J, 3\) of all four"):
        write_metrabs_predictions(path, PATHS, camera=(POSES, POSES[:, :3]))
    with pytest.raises(ShapeError, match="activity_name: expected 2 entries"):
        write_metrabs_predictions(path, PATHS, camera=(POSES, POSES), activity_name=["Eating"])
    assert not path.exists()


def test_pw3d__the_file_is_plain_data_that_numpy_1_reads_too(tmp_path):
    joints = np.arange(2 * 3 * 24 * 3, dtype=np.float64).reshape(2, 3, 24, 3)
    write_pw3d_predictions(tmp_path / "a.pkl", joints)
    stream = (tmp_path / "a.pkl").read_bytes()
    document = pickle.loads(stream)
    assert list(document) == ["jointPositions"]
    np.testing.assert_array_equal(document["jointPositions"], joints)
    assert b"numpy.core.multiarray" in stream
    assert b"_core" not in stream
    with pytest.raises(ShapeError, match=r"expected \(people, frames, 24, 3\), got \(3, 24, 3\)"):
        write_pw3d_predictions(tmp_path / "b.pkl", joints[0])
