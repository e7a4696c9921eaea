from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from marey.core import Cameras, InputError, Skeleton
from marey.data.labels import Images, Labels
from marey.pipeline.label_sheet import label_sheet

CAMERA = Cameras(
    intrinsics=torch.tensor([[[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]]),
    distortion=torch.zeros(1, 0),
    image_size=torch.tensor([[64.0, 48]]),
)


@pytest.fixture
def labels(tmp_path):
    """Two images of 64 x 48, white and missing; a joint 1 m ahead and 0.2 m to the left."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 255, np.uint8))
    return Labels(
        name="two",
        version="1",
        skeleton=Skeleton("point", ("nose",), ()),
        images=Images(
            path=np.array(["a.png", "gone.png"]),
            size=np.array([[64, 48]] * 2),
            camera=np.array([0, 0]),
            sequence=np.array(["s"] * 2),
            frame=np.arange(2),
            moment=np.arange(2),
        ),
        split=np.array(["train"] * 2),
        image=np.array([0, 1]),
        person=np.zeros(2, int),
        values={"joints_camera": np.array([[[-0.2, 0.0, 1.0]]] * 2)},
        cameras=CAMERA,
    )


def test_label_sheet__draws_projected_joints_into_the_files(labels, tmp_path):
    sheet = label_sheet(labels, tmp_path, columns=1, width=64)
    assert sheet.shape == (96, 64, 3)
    assert sheet[5, 50].tolist() == [255] * 3
    assert sheet[53, 50].tolist() == [96] * 3  # no file: grey
    for top in (0, 48):
        assert sheet[top + 24, 22].tolist() not in ([255] * 3, [96] * 3)  # 32 - 50 * 0.2


def test_label_sheet__some_of_many(labels, tmp_path):
    assert label_sheet(labels, tmp_path, count=1, width=64).shape == (48, 64, 3)
    assert label_sheet(replace(labels, cameras=None, values={}, images=replace(
        labels.images, camera=np.array([-1, -1]))), tmp_path, columns=2, width=32).shape == (24, 64, 3)  # fmt: skip


def test_label_sheet__without_images_is_an_error(labels, tmp_path):
    with pytest.raises(InputError, match="got 0 images"):
        label_sheet(labels.of_images(np.zeros(2, bool)), tmp_path)


def test_label_sheet__of_portraits_has_tall_tiles(labels, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 60, 3), 255, np.uint8))
    cv2.imwrite(str(tmp_path / "gone.png"), np.full((90, 60, 3), 255, np.uint8))
    assert label_sheet(labels, tmp_path, columns=2, width=40).shape == (60, 80, 3)
