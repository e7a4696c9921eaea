import json

import numpy as np
import pytest

from marey.core import ShapeError
from marey.io.openpose_writer import write_openpose_folder


def test_file__is_the_literal_of_the_format(tmp_path):
    positions = np.array([[[[1.5, 2.25], [np.nan, np.nan]], [[np.nan, np.nan]] * 2]])
    score = np.array([[[0.5, 0.0], [0.0, 0.0]]])
    (file,) = write_openpose_folder(tmp_path / "cam_7", positions, score, first_frame=12)
    assert file.name == "cam_7_000000000012_keypoints.json"
    assert json.loads(file.read_text()) == {
        "version": 1.3,
        "people": [{"person_id": [-1], "pose_keypoints_2d": [1.5, 2.25, 0.5, 0.0, 0.0, 0.0]}],
    }


def test_frame__without_people_is_an_empty_list(tmp_path):
    (file,) = write_openpose_folder(tmp_path, np.full((1, 1, 2, 2), np.nan), np.zeros((1, 1, 2)))
    assert json.loads(file.read_text())["people"] == []


def test_shapes__that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="of one view"):
        write_openpose_folder(tmp_path, np.zeros((2, 3, 2)), np.zeros((2, 3)))
