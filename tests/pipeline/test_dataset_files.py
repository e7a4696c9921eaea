"""Estimates as other programs' files of training and evaluation, read with NumPy and json alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from marey.core import CalibrationError, InputError
from marey.pipeline.dataset_files import (
    keypoints_of,
    write_coco_files,
    write_human_data_files,
    write_videopose_joints,
    write_videopose_keypoints,
)
from pipeline.recordings import LEFT_EYE, recorded


def test_keypoints_of__names_and_sizes_of_the_views():
    views = keypoints_of(recorded())
    assert (views.names, views.sizes, views.frames) == (("front", "side"), ((640, 480), (0, 0)), (10, 11, 12))
    assert keypoints_of(recorded(provenance={})).names == ("front", "side")  # of the cameras
    assert keypoints_of(recorded(provenance={}, cameras=None, frames=())).names == ("view_0", "view_1")


def test_keypoints_of__an_estimate_without():
    with pytest.raises(InputError, match="no keypoints in images"):
        keypoints_of(recorded(keypoints=None))


def test_write_coco_files__one_a_view(tmp_path):
    files = [tmp_path / "front.json", tmp_path / "side.json"]
    write_coco_files(files, keypoints_of(recorded()))
    front, side = (json.loads(file.read_text()) for file in files)
    assert [entry["image_id"] for entry in front] == [10, 11, 12]
    assert [entry["image_id"] for entry in side] == [10, 11]  # nobody is seen in the last frame
    assert front[0]["keypoints"] == [5.0, 5.0, 0.5] * 17


def test_write_human_data_files__joints_in_the_camera_s_frame(tmp_path):
    write_human_data_files([tmp_path / "front.npz", tmp_path / "side.npz"], recorded())
    with np.load(tmp_path / "side.npz", allow_pickle=False) as side:
        assert side["image_path"].tolist() == ["side/000010", "side/000011", "side/000012"]
        assert side["keypoints3d_original"].shape == (3, 190, 4)
        left_eye, nose = 57, 55
        assert side["keypoints3d_original"][0, left_eye].tolist() == [-2, 1, 7, 1]
        assert side["keypoints3d_original"][0, nose].tolist() == [0, 0, 3, 1]
        assert side["keypoints2d_original"][2, nose].tolist() == [0, 0, 0]


def test_write_human_data_files__without_placed_cameras(tmp_path):
    with pytest.raises(CalibrationError, match="no placed cameras"):
        write_human_data_files([tmp_path / "a.npz"], recorded(cameras=None))
    assert not list(tmp_path.iterdir())


def test_write_videopose__as_the_original_reads_them(tmp_path):
    write_videopose_joints(tmp_path / "3d.npz", recorded())
    data = np.load(tmp_path / "3d.npz", allow_pickle=True)["positions_3d"].item()
    assert data["person_0"]["recording"][2, LEFT_EYE].tolist() == [1, 2, 4]
    write_videopose_keypoints(tmp_path / "2d.npz", keypoints_of(recorded()))
    archive = np.load(tmp_path / "2d.npz", allow_pickle=True)
    metadata = archive["metadata"].item()
    assert metadata["layout_name"] == "coco_17"
    assert metadata["keypoints_symmetry"] == [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]]
    assert metadata["video_metadata"] == {"front": {"w": 640, "h": 480}, "side": {"w": 0, "h": 0}}
    videos = archive["positions_2d"].item()
    assert list(videos) == ["front", "side"]  # `-d custom` asks for the subjects that video_metadata names
    assert [view.shape for view in videos["front"]["custom"]] == [(3, 17, 2)]
    assert videos["front"]["custom"][0][0, 0].tolist() == [5, 5]
    assert np.isnan(videos["side"]["custom"][0][2]).all()


def test_write_videopose__of_several_people_each_is_a_video(tmp_path):
    views = keypoints_of(recorded())
    keypoints = views.keypoints.map(lambda tensor: tensor.repeat_interleave(2, dim=2))
    keypoints.positions[:, :, 1] += 1
    write_videopose_keypoints(tmp_path / "2d.npz", replace(views, keypoints=keypoints))
    archive = np.load(tmp_path / "2d.npz", allow_pickle=True)
    videos = archive["positions_2d"].item()
    assert list(videos) == ["front_person_0", "front_person_1", "side_person_0", "side_person_1"]
    assert videos["front_person_1"]["custom"][0][0, 0].tolist() == [6, 6]
    assert archive["metadata"].item()["video_metadata"]["front_person_1"] == {"w": 640, "h": 480}
