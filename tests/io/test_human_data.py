"""HumanData archives, against archives made with NumPy alone; joint places from the published list of 190."""

import numpy as np
import pytest
import torch

from marey.core import Boxes, FormatError, InputError, Joints3D, Keypoints2D, ShapeError, skeleton
from marey.io.human_data import (
    JOINTS,
    human_data_places,
    human_data_skeleton,
    read_human_data,
    write_human_data,
)

LEFT_HIP, NOSE, LEFT_HEEL_OPENPOSE, RIGHT_HAND = 1, 55, 174, 189


def test_joints__places_of_the_published_list():
    known = {0: "pelvis", 22: "jaw", 54: "right_thumb_3", 65: "right_heel", 75: "right_pinky", 95: "right_eye_1"}
    known |= {107: "right_mouth_1", 127: "right_contour_1", 144: "right_hip_extra", 147: "headtop"}
    known |= {153: "nose_openpose", 178: "spine_4_3dhp", 185: "head_h36m"}
    known |= {LEFT_HIP: "left_hip", NOSE: "nose", LEFT_HEEL_OPENPOSE: "left_heel_openpose", RIGHT_HAND: "right_hand"}
    assert {place: JOINTS[place] for place in known} == known
    assert len(set(JOINTS)) == 190


@pytest.mark.parametrize(
    ("name", "joint", "place"),
    [
        ("coco_17", "nose", NOSE),
        ("body_25", "left_heel", LEFT_HEEL_OPENPOSE),
        ("smpl_24", "spine2", 6),
        ("h36m_17", "pelvis", 148),
        ("halpe_26", "head_top", 147),
        ("mediapipe_33", "left_mouth", -1),
    ],
)
def test_human_data_places__by_skeleton(name, joint, place):
    bones = skeleton(name)
    assert human_data_places(bones)[bones.index(joint)] == place


@pytest.mark.parametrize("name", ["body_25b", "coco_17", "h36m_17", "halpe_26", "smpl_24"])
def test_human_data_skeleton__a_shipped_one_in_any_order(name):
    places = human_data_places(skeleton(name))
    found, order = human_data_skeleton(sorted(places))
    assert (found, order) == (skeleton(name), places)


def test_human_data_skeleton__a_shipped_one_without_what_the_format_lacks():
    places = [place for place in human_data_places(skeleton("mediapipe_33")) if place >= 0]
    found, order = human_data_skeleton(places)
    assert (len(found), order) == (27, places)
    assert "left_big_toe" in found
    assert "left_eye_inner" not in found


def test_human_data_skeleton__others_by_their_names():
    at = {name: place for place, name in enumerate(JOINTS)}
    names = ("left_bigtoe_openpose", "nose_openpose", "nose", "headtop", "spine_4_3dhp")
    found, order = human_data_skeleton([at[name] for name in names])
    assert found.joints == ("left_big_toe", "nose_openpose", "nose", "head_top", "spine_4")
    assert order == [at[name] for name in names]


def masked(*places):
    mask = np.zeros(190, np.uint8)
    mask[list(places)] = 1
    return mask


def archive(tmp_path, **members):
    np.savez_compressed(tmp_path / "h.npz", **members)
    return tmp_path / "h.npz"


def test_read_human_data__compressed_by_the_mask(tmp_path):
    found = read_human_data(
        archive(
            tmp_path,
            image_path=np.array(["a.png", "b.png"]),
            bbox_xywh=np.array([[1, 2, 3, 4, 0.5], [5, 6, 7, 8, 1]]),
            keypoints2d_smplx=np.arange(12.0).reshape(2, 2, 3),
            keypoints2d_smplx_mask=masked(LEFT_HIP, NOSE),
            config="own",
            __keypoints_compressed__=np.array(True),
        )
    )
    assert found.image_paths == ("a.png", "b.png")
    assert found.boxes[1].tolist() == [5, 6, 7, 8, 1]
    points = found.keypoints2d["smplx"]
    assert points[1, LEFT_HIP].tolist() == [6, 7, 8]
    assert points[1, NOSE].tolist() == [9, 10, 11]
    assert np.isnan(np.delete(points, [LEFT_HIP, NOSE], axis=1)).all()
    assert found.metadata["config"] == "own"


def test_read_human_data__whole_with_bodies(tmp_path):
    body = {"global_orient": np.zeros((2, 3)), "body_pose": np.ones((2, 23, 3)), "betas": np.zeros((2, 10))}
    found = read_human_data(
        archive(
            tmp_path,
            keypoints3d=np.ones((2, 190, 4)),
            keypoints3d_mask=masked(NOSE),
            smpl=np.array(body, dtype=object),
            meta=np.array({"gender": "female"}, dtype=object),
        )
    )
    assert found.keypoints3d[""][0, NOSE].tolist() == [1, 1, 1, 1]
    assert np.isnan(found.keypoints3d[""][0, LEFT_HIP]).all()
    assert found.bodies["smpl"]["body_pose"].shape == (2, 23, 3)
    assert found.metadata["meta"] == {"gender": "female"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"other": np.ones(3)}, "not a HumanData archive"),
        ({"keypoints2d": np.ones((2, 5, 3)), "keypoints2d_mask": masked(1)}, "expected 190, or the 1"),
        ({"keypoints2d": np.ones((2, 190, 4))}, "'keypoints2d' is float64"),
        ({"keypoints2d": np.ones((2, 190, 3)), "keypoints2d_mask": np.ones(5)}, "the mask"),
        ({"bbox_xywh": np.ones((2, 4))}, "'bbox_xywh'"),
        ({"smpl": np.array([1, 2])}, "'smpl' is not a dictionary"),
        ({"bbox_xywh": np.ones((2, 5)), "image_path": np.array(["a"])}, "different numbers of people"),
        ({"bbox_xywh": np.ones((1, 5)), "image_path": np.array([3])}, "'image_path'"),
    ],
)
def test_read_human_data__malformed(tmp_path, members, message):
    with pytest.raises(FormatError, match=message):
        read_human_data(archive(tmp_path, **members))


def keypoints(name):
    bones = skeleton(name)
    positions = torch.arange(2 * len(bones) * 2.0).reshape(2, len(bones), 2)
    positions[0, 0] = torch.nan
    score = positions[..., 0].isfinite() * 0.5
    return Keypoints2D(positions=positions, covariance=torch.ones(2, len(bones), 2, 2), score=score, skeleton=bones)


def test_write_human_data__what_numpy_reads(tmp_path):
    boxes = Boxes(corners=torch.tensor([[1.0, 2, 4, 6], [0, 0, 1, 1]]), score=torch.tensor([0.5, 1.0]))
    write_human_data(tmp_path / "h.npz", keypoints=keypoints("coco_17"), boxes=boxes, image_paths=["a.png", "b.png"])
    with np.load(tmp_path / "h.npz", allow_pickle=False) as found:
        assert found["image_path"].tolist() == ["a.png", "b.png"]
        assert found["bbox_xywh"].tolist() == [[1, 2, 3, 4, 0.5], [0, 0, 1, 1, 1]]
        assert found["keypoints2d_original"].shape == (2, 190, 3)
        assert found["keypoints2d_original"][0, NOSE].tolist() == [0, 0, 0]
        assert found["keypoints2d_original"][1, NOSE].tolist() == [34, 35, 0.5]
        assert found["keypoints2d_original_mask"].sum() == 17


def test_write_human_data__joints_it_does_not_know(tmp_path):
    bones = skeleton("mediapipe_33")
    joints = Joints3D(
        positions=torch.ones(1, 33, 3),
        covariance=torch.ones(1, 33, 3, 3),
        score=torch.ones(1, 33),
        filled=torch.zeros(1, 33, dtype=torch.bool),
        skeleton=bones,
    )
    with pytest.warns(UserWarning, match="no joint for left_eye_inner"):
        write_human_data(tmp_path / "h.npz", joints=joints)
    found = read_human_data(tmp_path / "h.npz")
    assert found.keypoints3d["original"][0, NOSE].tolist() == [1, 1, 1, 1]


def test_write_human_data__bodies_and_genders(tmp_path):
    bodies = {
        "global_orient": np.full((2, 3), 0.1),
        "body_pose": np.full((2, 23, 3), 0.2),
        "betas": np.arange(20.0).reshape(2, 10),
    }
    write_human_data(
        tmp_path / "h.npz", keypoints=keypoints("coco_18"), source="", smpl=bodies, genders=["m", "f"], image_paths="ab"
    )
    with np.load(tmp_path / "h.npz", allow_pickle=True) as found:
        assert set(found) == {"__data_len__", "image_path", "keypoints2d", "keypoints2d_mask", "smpl", "meta"}
        assert found["smpl"].item()["betas"][1, 9] == 19
        assert found["smpl"].item()["body_pose"].shape == (2, 23, 3)
        assert found["meta"].item() == {"gender": ["m", "f"]}


def test_write_human_data__errors(tmp_path):
    with pytest.raises(InputError, match="nothing to write"):
        write_human_data(tmp_path / "h.npz")
    with pytest.raises(ShapeError, match="same"):
        write_human_data(tmp_path / "h.npz", keypoints=keypoints("coco_17"), image_paths=["a"])
    with pytest.raises(ShapeError, match="same"):
        write_human_data(tmp_path / "h.npz", image_paths=["a"], smpl={"betas": np.zeros((2, 10))})
