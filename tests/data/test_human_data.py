"""HumanData archives as labels and back, against archives that NumPy wrote from literal arrays."""

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, skeleton
from marey.data.human_data import (
    labels_of_human_data,
    write_image_folder_as_human_data,
    write_labels_as_human_data,
)
from marey.data.labels import Images, Labels, read_labels, write_labels

LEFT_HIP, NOSE = 1, 55
COCO_17 = (55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)
"""Places of COCO's joints among the 190."""


def archive(path, **changed):
    """Three people in two images, COCO's joints compressed by their mask as mmhuman3d writes them."""
    mask = np.zeros(190, dtype=np.uint8)
    mask[list(COCO_17)] = 1
    order = sorted(COCO_17)
    keypoints = np.zeros((3, 17, 3))
    keypoints[:, order.index(NOSE)] = [[1, 2, 0.5], [3, 4, 1], [0, 0, 0]]
    content = {
        "__keypoints_compressed__": np.array(True),
        "image_path": np.array(["img/00030.jpg", "img/00007.jpg", "img/00030.jpg"]),
        "bbox_xywh": np.array([[1.0, 2, 3, 4, 0.5], [0, 0, 9, 9, 1], [5, 5, 5, 5, 1]]),
        "keypoints2d": keypoints,
        "keypoints2d_mask": mask,
        "smpl": {
            "global_orient": np.array([[0.1, 0, 0], [0.2, 0, 0], [0.3, 0, 0]]),
            "body_pose": np.arange(3 * 69.0).reshape(3, 23, 3),
            "betas": np.ones((3, 10)),
        },
        "meta": {"gender": ["m", "female", "unknown"]},
        "has_smpl": np.array([1, 0, 1]),
        **changed,
    }
    np.savez_compressed(path, **{name: value for name, value in content.items() if value is not None})
    return path


def test_labels_of_human_data__all_of_it(tmp_path):
    labels = labels_of_human_data(archive(tmp_path / "spin_x.npz"), split="train", folder="../data/", name="spin")
    assert (labels.name, labels.skeleton) == ("spin", skeleton("coco_17"))
    assert labels.images.path.tolist() == ["../data/img/00007.jpg", "../data/img/00030.jpg"]
    assert labels.images.sequence.tolist() == ["img", "img"]
    assert labels.images.frame.tolist() == [7, 30]
    assert labels.split.tolist() == ["train", "train"]
    assert (labels.image.tolist(), labels.person.tolist()) == ([1, 0, 1], [0, 0, 1])
    assert labels.values["box"][1].tolist() == [0, 0, 9, 9]
    assert labels.values["score"].tolist() == [0.5, 1, 1]
    assert labels.values["keypoints"][:2, 0].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(labels.values["keypoints"][2]).all()
    assert labels.values["visible"].sum() == 2
    assert labels.values["gender"].tolist() == ["m", "f", ""]
    assert labels.values["smpl_orientation"][[0, 2], 0].tolist() == [0.1, 0.3]
    assert np.isnan(labels.values["smpl_orientation"][1]).all()
    assert labels.values["smpl_pose"][2, 68] == 206
    write_labels(tmp_path / "labels.npz", labels)
    assert read_labels(tmp_path / "labels.npz").values["gender"].tolist() == ["m", "f", ""]


def test_labels_of_human_data__joints_in_the_camera_and_their_source(tmp_path):
    joints = np.full((3, 190, 4), 9.0)
    joints[..., 3] = 0
    joints[:, LEFT_HIP] = [0.1, 0.2, 3, 1]
    mask = np.zeros(190, dtype=np.uint8)
    mask[[LEFT_HIP, NOSE]] = 1
    path = archive(tmp_path / "a.npz", keypoints3d_smpl=joints, keypoints3d_smpl_mask=mask)
    labels = labels_of_human_data(path, split="test", source="smpl")
    assert set(labels.skeleton.joints) == {"left_hip", "nose"}
    hip = labels.skeleton.index("left_hip")
    assert labels.values["joints_camera"][1, hip].tolist() == [0.1, 0.2, 3]
    assert np.isnan(labels.values["joints_camera"][:, 1 - hip]).all()
    assert "keypoints" not in labels.values
    with pytest.raises(InputError, match="no keypoints of 'smplx'"):
        labels_of_human_data(path, split="test", source="smplx")


def test_labels_of_human_data__only_boxes(tmp_path):
    path = archive(
        tmp_path / "demo.npz", keypoints2d=None, keypoints2d_mask=None, smpl=None, meta=None, has_smpl=None,
        image_path=np.array(["a.jpg", "b.jpg", "c7.jpg"]),
    )  # fmt: skip
    labels = labels_of_human_data(path, split="test")
    assert (labels.name, len(labels.skeleton)) == ("demo", 0)
    assert set(labels.values) == {"box", "score"}
    assert labels.images.frame.tolist() == [0, 1, 2]
    assert labels.images.sequence.tolist() == ["", "", ""]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_path": None}, "'image_path' is missing"),
        ({"has_smpl": np.ones(2)}, "'has_smpl' is of 2 people, expected 3"),
        ({"smpl": {"betas": np.zeros((3, 9))}}, "'betas'.*expected 3 x 10 numbers"),
        ({"smpl": {"betas": np.zeros((2, 10))}}, "'betas'"),
        ({"bbox_xywh": np.zeros((2, 5))}, "different numbers of people"),
    ],
)
def test_labels_of_human_data__parts_that_do_not_fit(tmp_path, changed, message):
    with pytest.raises(FormatError, match=message):
        labels_of_human_data(archive(tmp_path / "a.npz", **changed), split="train")


def test_write_labels_as_human_data__what_numpy_reads(tmp_path):
    keypoints = np.full((2, 17, 2), np.nan)
    keypoints[:, 0] = [[1, 2], [3, 4]]
    labels = Labels(
        name="x",
        version="1",
        skeleton=skeleton("coco_17"),
        images=Images(
            path=np.array(["a.jpg", "b.jpg"]),
            size=np.zeros((2, 2), dtype=int),
            camera=np.full(2, -1),
            sequence=np.array(["s", "s"]),
            frame=np.arange(2),
            moment=np.arange(2),
        ),
        split=np.array(["test", "test"]),
        image=np.array([1, 0]),
        person=np.zeros(2, dtype=int),
        values={
            "keypoints": keypoints,
            "box": np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]),
            "smpl_orientation": np.full((2, 3), 0.5),
            "smpl_pose": np.arange(138.0).reshape(2, 69),
            "joints_camera": np.full((2, 17, 3), 2.0),
        },
    )
    write_labels_as_human_data(tmp_path / "h.npz", labels)
    with np.load(tmp_path / "h.npz", allow_pickle=True) as found:
        assert found["image_path"].tolist() == ["b.jpg", "a.jpg"]
        assert found["bbox_xywh"].tolist() == [[1, 2, 3, 4, 1], [5, 6, 7, 8, 1]]
        assert found["keypoints2d"][:, NOSE].tolist() == [[1, 2, 1], [3, 4, 1]]
        assert found["keypoints2d"][:, LEFT_HIP].tolist() == [[0, 0, 0]] * 2
        assert found["keypoints3d"][0, LEFT_HIP].tolist() == [2, 2, 2, 1]
        assert found["smpl"].item()["body_pose"][1, 22].tolist() == [135, 136, 137]
        assert "betas" not in found["smpl"].item()
        assert "meta" not in found


def test_write_image_folder__whole_images(tmp_path):
    for name, size in (("b.png", (6, 4)), ("a.jpg", (3, 5)), (".hidden.png", (1, 1))):
        cv2.imwrite(str(tmp_path / name), np.zeros((size[1], size[0], 3), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    assert write_image_folder_as_human_data(tmp_path, tmp_path / "own_dataset.npz") == 2
    with np.load(tmp_path / "own_dataset.npz") as found:
        assert set(found) == {"__data_len__", "image_path", "bbox_xywh"}
        assert found["image_path"].tolist() == ["a.jpg", "b.png"]
        assert found["bbox_xywh"].tolist() == [[0, 0, 3, 5, 1], [0, 0, 6, 4, 1]]


def test_write_image_folder__errors(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_image_folder_as_human_data(tmp_path / "x", tmp_path / "y.npz")
    with pytest.raises(InputError, match="no image in it"):
        write_image_folder_as_human_data(tmp_path, tmp_path / "y.npz")
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(FormatError, match=r"a\.jpg"):
        write_image_folder_as_human_data(tmp_path, tmp_path / "y.npz")
