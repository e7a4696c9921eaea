"""Estimates as other programs' files of training and evaluation, read with NumPy and json alone."""

import json

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, Estimate, InputError, Joints3D, Keypoints2D, skeleton
from marey.pipeline.dataset_files import write_coco_files, write_human_data_files, write_videopose_files

BONES = skeleton("coco_17")
NOSE, LEFT_EYE = 0, 1


def estimate(**changes):
    """Two views, three frames, one person; the second camera stands 3 m behind the origin, turned about z."""
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    cameras = Cameras(
        intrinsics=torch.eye(3).repeat(2, 1, 1),
        distortion=torch.zeros(2, 0),
        image_size=torch.tensor([[640.0, 480.0], [torch.nan, torch.nan]]),
        rotation=torch.stack((torch.eye(3), turn)),
        translation=torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]),
        names=("front", "side"),
    )
    positions = torch.zeros(3, 1, 17, 3)
    positions[..., LEFT_EYE, :] = torch.tensor([1.0, 2.0, 4.0])
    covariance = torch.diag(torch.tensor([1.0, 4.0, 9.0])).repeat(3, 1, 17, 1, 1)
    pixels = torch.full((2, 3, 1, 17, 2), 5.0)
    pixels[1, 2] = torch.nan
    values = {
        "joints": Joints3D(
            positions=positions,
            covariance=covariance,
            score=torch.ones(3, 1, 17),
            filled=torch.zeros(3, 1, 17, dtype=torch.bool),
            skeleton=BONES,
        ),
        "keypoints": Keypoints2D(
            positions=pixels,
            covariance=torch.ones(2, 3, 1, 17, 2, 2),
            score=pixels[..., 0].isfinite() * 0.5,
            skeleton=BONES,
        ),
        "cameras": cameras,
        "frames": (10, 11, 12),
        "fps": 60.0,
        "provenance": {"views": ["front", "side"]},
    }
    return Estimate(**(values | changes))


def test_write_coco_files__one_a_view(tmp_path):
    files = write_coco_files(tmp_path, estimate())
    assert [file.name for file in files] == ["coco_front.json", "coco_side.json"]
    front, side = (json.loads(file.read_text()) for file in files)
    assert [entry["image_id"] for entry in front] == [10, 11, 12]
    assert [entry["image_id"] for entry in side] == [10, 11]  # nobody is seen in the last frame
    assert front[0]["keypoints"] == [5.0, 5.0, 0.5] * 17


def test_write_human_data_files__joints_in_the_camera_s_frame(tmp_path):
    files = write_human_data_files(tmp_path, estimate())
    with np.load(files[1], allow_pickle=False) as side:
        assert side["image_path"].tolist() == ["side/000010", "side/000011", "side/000012"]
        assert side["keypoints3d_original"].shape == (3, 190, 4)
        left_eye, nose = 57, 55
        assert side["keypoints3d_original"][0, left_eye].tolist() == [-2, 1, 7, 1]
        assert side["keypoints3d_original"][0, nose].tolist() == [0, 0, 3, 1]
        assert side["keypoints2d_original"][2, nose].tolist() == [0, 0, 0]


def test_write_videopose_files__as_the_original_reads_them(tmp_path):
    three, two = write_videopose_files(tmp_path, estimate())
    data = np.load(three, allow_pickle=True)["positions_3d"].item()
    assert data["person_0"]["recording"][2, LEFT_EYE].tolist() == [1, 2, 4]
    archive = np.load(two, allow_pickle=True)
    metadata = archive["metadata"].item()
    assert metadata["layout_name"] == "coco_17"
    assert metadata["keypoints_symmetry"] == [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]]
    assert metadata["video_metadata"] == {"front": {"w": 640, "h": 480}, "side": {"w": 0, "h": 0}}
    assert [view.shape for view in archive["positions_2d"].item()["person_0"]["recording"]] == [(3, 17, 2)] * 2


def test_write_dataset_files__what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="COCO results holds keypoints"):
        write_coco_files(tmp_path, estimate(keypoints=None))
    with pytest.raises(CalibrationError, match="no placed cameras"):
        write_human_data_files(tmp_path, estimate(cameras=None))
    assert [file.name for file in write_videopose_files(tmp_path, estimate(keypoints=None))] == ["data_3d_marey.npz"]
