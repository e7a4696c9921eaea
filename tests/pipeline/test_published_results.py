"""The original's files beside ours, for CMU Panoptic: by sequence, in centimetres."""

import json
import math
import pickle

import numpy as np
import pytest

from marey.core import skeleton
from marey.engine.evaluation import LABELS, PREDICTIONS
from marey.io.predictions import pose_rows, write_pose_rows
from marey.metrics.protocols import protocol
from marey.pipeline.published_results import write_published_results

NAMES = skeleton("panoptic_19").joints
POSE = np.linspace(0, 1, 57).reshape(19, 3)


@pytest.fixture
def cell(tmp_path):
    """Three people of two sequences, 10, 30 and 50 mm off; the neck of the last is where it should be."""
    keys = {"joint_names": NAMES, "sequence": ["pose5", "pose5", "pose6"], "frame": [400, 401, 1000]}
    offsets = np.zeros((3, 19, 3))
    offsets[:, :, 0] = np.array([[0.010], [0.030], [0.050]])
    offsets[2, NAMES.index("neck")] = 0
    write_pose_rows(tmp_path / LABELS, pose_rows(np.stack([POSE] * 3), index=[0, 1, 2], **keys))
    write_pose_rows(tmp_path / PREDICTIONS, pose_rows(POSE + offsets, **keys))
    return tmp_path


def scores(cell):
    from marey.engine.evaluation import read_predicted

    return {"cmu-panoptic": protocol("cmu-panoptic").score(*read_predicted(cell))}


def test_metric__by_sequence__absolute_and_relative_to_the_neck(cell):
    files = write_published_results(cell, "cmu", scores(cell), sequences=("pose4", "pose5", "pose6"))
    assert [path.name for path in files] == ["results.pkl", "metric.json"]
    table = json.loads((cell / "metric.json").read_text("utf-8"))
    absolute, relative = (table[key] for key in ("per_pose_error", "per_pose_error_relative"))
    assert set(absolute) == {"Average"}  # the fork has no people's names
    last = 50 * 18 / 19
    assert math.isnan(absolute["Average"].pop("pose4"))
    assert absolute["Average"] == pytest.approx({"Average": (10 + 30 + last) / 3, "pose5": 20, "pose6": last})
    assert math.isnan(relative["Average"].pop("pose4"))
    assert relative["Average"] == pytest.approx({"Average": last / 3, "pose5": 0, "pose6": last}, abs=1e-9)


def test_results__are_in_the_unit_and_order_of_the_labels(cell):
    write_published_results(cell, "cmu", scores(cell), sequences=("pose5", "pose6"))
    document = pickle.loads((cell / "results.pkl").read_bytes())
    assert document["indexes"].tolist() == [0, 1, 2]
    centimetres = 100 * (POSE[NAMES.index("pelvis")] + [0.01, 0, 0])
    np.testing.assert_allclose(document["keypoints_3d"][0, 2], centimetres, rtol=1e-6)  # its third joint is the pelvis


def test_metric__is_not_written_where_the_protocol_does_not_fit(cell):
    files = write_published_results(cell, "cmu", {"cmu-panoptic": "predictions lack a joint"}, sequences=("pose5",))
    assert [path.name for path in files] == ["results.pkl"]
    assert not (cell / "metric.json").exists()
