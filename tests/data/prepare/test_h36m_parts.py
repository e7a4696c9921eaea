"""Names, cameras, poses and boxes of Human3.6M, each from a file written here."""

import json
import math
import sys

import h5py
import numpy as np
import pytest
import torch

from data.prepare.h36m_files import (
    CAMERAS,
    write_cameras_h5,
    write_masks,
    write_metadata,
    write_poses_cdf,
    write_poses_h5,
)
from marey.core import FormatError, InputError, MissingDependencyError
from marey.data.prepare.h36m_boxes import boxes_of_joints, read_mask_boxes, read_table_boxes, shifted_boxes
from marey.data.prepare.h36m_cameras import read_h5_cameras, read_metadata_cameras
from marey.data.prepare.h36m_names import (
    ACTIONS,
    SKELETON,
    SOURCE_PLACES,
    action_of_official,
    martinez_name,
    metrabs_action,
    official_name,
)
from marey.data.prepare.h36m_poses import read_cdf_poses, read_h5_poses
from marey.data.prepare.h36m_takes import put_right
from marey.geometry import project, world_to_camera
from marey.metrics.protocols.human36m import METRABS_ACTIONS

HALF = math.pi / 2


def test_names__of_official_files():
    assert official_name("S9", "Greeting-2") == "Greeting"
    assert official_name("S9", "SittingDown-2") == "SittingDown 1"
    assert official_name("S5", "TakingPhoto-2") == "Photo 2"
    assert official_name("S1", "TakingPhoto-1") == "TakingPhoto 1"
    assert martinez_name("S1", "TakingPhoto-1") == "Photo 1"
    assert martinez_name("S1", "Eating-1") == "Eating 2"
    assert action_of_official("S11", "Directions") == "Directions-2"
    assert action_of_official("S9", "_ALL 1") == ""
    with pytest.raises(InputError, match="no S2"):
        official_name("S2", "Eating-1")


@pytest.mark.realdata
def test_names__equal_the_tables_of_the_original(shared_parity):
    table = json.loads((shared_parity / "triangulation" / "h36m_action_maps.json").read_text(encoding="utf-8"))
    for subject, named in table["bbox"].items():
        for action in ACTIONS:
            expected = named.get(action, action.replace("-", " "))
            assert official_name(subject, action) == expected
            other = table["pose_h5_overrides_of_bbox"].get(subject, {}).get(action, expected)
            assert martinez_name(subject, action) == other


def test_names__of_metrabs_are_those_that_its_protocol_knows():
    assert {metrabs_action(action) for action in ACTIONS} == set(METRABS_ACTIONS)


def placed(camera, subject):
    """Camera 1 of S9 is turned about x, then about the new y; the others are not turned."""
    if (camera, subject) == (1, 9):
        return HALF, HALF, 0, 1000, 2000, 3000
    return 0, 0, 0, 100 * camera, 10 * subject, -5000


def intrinsics(camera):
    return 1000 + camera, 1010, 500, 510, -0.2, 0.25, -0.003, -0.0009, -0.0016


def test_metadata__turns_places_and_lenses(tmp_path):
    write_metadata(tmp_path / "metadata.xml", placed=placed, intrinsics=intrinsics)
    cameras = read_metadata_cameras(tmp_path / "metadata.xml")
    assert cameras.batch_shape == (11, 4)
    assert cameras.names == CAMERAS
    assert cameras.intrinsics[8, 2].tolist() == [[1002, 0, 500], [0, 1010, 510], [0, 0, 1]]
    assert cameras.distortion[8, 2].tolist() == [-0.2, 0.25, -0.0009, -0.0016, -0.003]
    assert cameras.image_size[8].tolist() == [[1000, 1002], [1000, 1000], [1000, 1000], [1000, 1002]]
    assert cameras.centers[8, 3].tolist() == pytest.approx([0.3, 0.09, -5.0])
    # turned by a quarter about x, then about the new y: the world's z, x, y are the camera's x, y, z
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(cameras.rotation[8, 1], expected, rtol=0, atol=1e-12)
    point = torch.tensor([1.0, 5.0, 3.5], dtype=torch.float64)
    assert world_to_camera(point, cameras[8, 1]).tolist() == pytest.approx([0.5, 0.0, 3.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<H36M><w0>[1 2 3]</w0></H36M>", "expected 300 numbers, got 3"),
        ("<H36M><w1>[1]</w1></H36M>", "no element 'w0'"),
        ("<H36M><w0>[1 x]</w0></H36M>", "something else than numbers"),
        ("<H36M><w0>", "not an XML file"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a><w0>1</w0></a>", "declares a document type"),
    ],
)
def test_metadata__damaged(tmp_path, text, message):
    (tmp_path / "metadata.xml").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_metadata_cameras(tmp_path / "metadata.xml")


def martinez(subject, place):
    turn = [[0, 0, 1], [1, 0, 0], [0, 1, 0]] if (subject, place) == (9, 1) else np.eye(3)
    return turn, [1000, 2000, 3000 + place], [1145, 1144], [512, 515], [-0.2, 0.25, -0.003], [-0.0009, -0.0016]


def test_cameras_h5__are_transposed_back_and_found_by_name(tmp_path):
    write_cameras_h5(tmp_path / "cameras.h5", [9, 11], martinez)
    cameras = read_h5_cameras(tmp_path / "cameras.h5", ["S9"])
    assert cameras.batch_shape == (1, 4)
    assert cameras.rotation[0, 1].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert cameras.translation[0, 1].tolist() == pytest.approx([-3.001, -1.0, -2.0])  # -R T
    assert cameras.centers[0, 3].tolist() == pytest.approx([1.0, 2.0, 3.003])
    assert cameras.intrinsics[0, 0].tolist() == [[1145, 0, 512], [0, 1144, 515], [0, 0, 1]]
    assert cameras.distortion[0, 0].tolist() == [-0.2, 0.25, -0.0009, -0.0016, -0.003]
    with pytest.raises(FormatError, match="no 'subject1'"):
        read_h5_cameras(tmp_path / "cameras.h5", ["S1"])
    with h5py.File(tmp_path / "cameras.h5", "r+") as file:
        del file["subject9/camera3"]
    with pytest.raises(FormatError, match="no camera 58860488"):
        read_h5_cameras(tmp_path / "cameras.h5", ["S9"])


def numbered(frames):
    """Joint j of frame f lies at (1000 f + j, -j, 10 f) mm."""
    joints = np.zeros((frames, 32, 3))
    joints[..., 0] = 1000 * np.arange(frames)[:, None] + np.arange(32)
    joints[..., 1], joints[..., 2] = -np.arange(32), 10 * np.arange(frames)[:, None]
    return joints


@pytest.mark.parametrize(
    ("write", "read", "suffix"), [(write_poses_cdf, read_cdf_poses, "cdf"), (write_poses_h5, read_h5_poses, "h5")]
)
def test_poses__seventeen_of_the_joints_in_metres(tmp_path, write, read, suffix):
    write(tmp_path / f"Greeting 1.{suffix}", numbered(3))
    joints = read(tmp_path / f"Greeting 1.{suffix}")
    assert joints.shape == (3, 17, 3)
    assert joints[2, SKELETON.index("right_wrist")].tolist() == pytest.approx([2.027, -0.027, 0.02])
    assert joints[1, SKELETON.index("head")].tolist() == pytest.approx([1.014, -0.014, 0.01])
    assert joints[0, SKELETON.index("pelvis")].tolist() == [0, 0, 0]


def test_poses__joints_are_those_of_learnable_triangulation():
    """Its selection from the 32, in its own order, as the specification lists it."""
    theirs = (3, 2, 1, 6, 7, 8, 0, 12, 13, 15, 27, 26, 25, 17, 18, 19, 14)
    names = (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "neck",
        "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head",
    )  # fmt: skip
    assert [SOURCE_PLACES[SKELETON.index(name)] for name in names] == list(theirs)


def test_poses__damaged_files(tmp_path):
    (tmp_path / "a.cdf").write_bytes(b"\xcd\xf3\x00\x01" + b"\0" * 40)
    with pytest.raises(FormatError, match="not a readable CDF"):
        read_cdf_poses(tmp_path / "a.cdf")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 40)
    with pytest.raises(FormatError, match=r"a\.h5"):
        read_h5_poses(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["3D_positions"] = np.zeros((51, 4))
    with pytest.raises(FormatError, match="expected 96 numbers a frame"):
        read_h5_poses(tmp_path / "b.h5")
    with pytest.raises(InputError, match="no such file"):
        read_cdf_poses(tmp_path / "absent.cdf")


def test_mask_boxes__x_is_the_first_axis_and_ends_lie_outside(tmp_path):
    write_masks(tmp_path / "a.mat", [(3, 10, 8, 30), None, (0, 0, 40, 50), (5, 5, 6, 20)], (40, 50))
    assert read_mask_boxes(tmp_path / "a.mat").tolist() == [
        [3, 10, 8, 30],
        [0, 0, 0, 0],
        [0, 0, 40, 50],
        [0, 0, 0, 0],  # one pixel wide: nobody
    ]
    write_poses_h5(tmp_path / "b.mat", numbered(1))
    with pytest.raises(FormatError, match="no 'Masks'"):
        read_mask_boxes(tmp_path / "b.mat")


def test_table_boxes__numbers_only(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 2, 3, 4]], dtype=np.int32))
    assert read_table_boxes(tmp_path / "a.npy").tolist() == [[1, 2, 3, 4]]
    np.save(tmp_path / "b.npy", {"x": 1})
    with pytest.raises(FormatError, match=r"expected \(frames, 4\) numbers, got \(\) of object"):
        read_table_boxes(tmp_path / "b.npy")
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    with pytest.raises(FormatError, match=r"b\.npy"):
        read_table_boxes(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.zeros((3, 5)))
    with pytest.raises(FormatError, match=r"expected \(frames, 4\)"):
        read_table_boxes(tmp_path / "c.npy")


@pytest.fixture
def straight(tmp_path):
    """Four cameras at (0, 0, -5) m looking along z, focal length 1000, no lens."""
    write_metadata(
        tmp_path / "straight.xml",
        placed=lambda *_: (0, 0, 0, 0, 0, -5000),
        intrinsics=lambda _: (1000, 1000, 500, 500, 0, 0, 0, 0, 0),
    )
    return read_metadata_cameras(tmp_path / "straight.xml")[8]


def test_joint_boxes__a_fifth_larger_than_the_hull(straight):
    joints = np.full((1, 3, 3), np.nan)
    joints[0, :2] = [[-0.5, 0, 0], [0.5, 1.0, 0]]  # pixels 400..600, 500..700
    sizes = np.array([[1000, 1000]] * 3 + [[300, 1000]])
    boxes = boxes_of_joints(joints, straight, sizes)
    assert boxes.shape == (1, 4, 4)
    assert boxes[0, 0].tolist() == pytest.approx([380, 480, 240, 240])
    assert np.isnan(boxes[0, 3]).all()  # outside of a picture of 300 pixels
    behind = np.array([[[0.0, 0, -6], [1, 1, -6], [0, 1, -6]]])
    assert np.isnan(boxes_of_joints(behind, straight, sizes)).all()


def test_s9__joints_and_boxes_are_brought_back(straight):
    joints = np.zeros((2, 17, 3))
    joints[:, SKELETON.index("pelvis"), 2] = [0, -1]
    boxes = np.tile([400.0, 300, 100, 200], (2, 4, 1))
    moved, shifted = put_right("S9", "Greeting-2", joints, boxes, straight)
    assert moved[0, 3].tolist() == [-0.2, 0, 0]
    assert shifted[0, 0].tolist() == pytest.approx([360, 300, 100, 200])  # 0.2 m at 5 m: 40 pixels
    assert shifted[1, 2].tolist() == pytest.approx([350, 300, 100, 200])  # at 4 m: 50
    boxes[1, 2] = np.nan
    _, shifted = put_right("S9", "Greeting-2", joints, boxes, straight)
    assert np.isnan(shifted).all(-1).sum() == 1
    for subject, action in (("S9", "Greeting-1"), ("S11", "Greeting-2")):
        same, unmoved = put_right(subject, action, joints, boxes, straight)
        assert same is joints
        assert unmoved is boxes


def test_s9__boxes_go_through_the_lens(tmp_path):
    write_metadata(tmp_path / "metadata.xml", placed=lambda *_: (0, 0, 0, 0, 0, -5000), intrinsics=intrinsics)
    camera = read_metadata_cameras(tmp_path / "metadata.xml")[8, 0]
    corners = torch.tensor([[-0.3, -0.9, 0.0], [0.4, 0.8, 0.0]], dtype=torch.float64)
    shift = torch.tensor([-0.2, 0, 0], dtype=torch.float64)
    before, after = project(corners, camera).numpy(), project(corners + shift, camera).numpy()
    box = np.concatenate((before[0], before[1] - before[0]))[None]
    found = shifted_boxes(box, np.array([[0.0, 0, 0]]), camera)[0]
    assert found == pytest.approx(np.concatenate((after[0], after[1] - after[0])), abs=1e-6)


@pytest.mark.parametrize(("package", "read"), [("h5py", read_h5_poses), ("cdflib", read_cdf_poses)])
def test_poses__without_the_package_say_how_to_install_it(tmp_path, monkeypatch, package, read):
    monkeypatch.setitem(sys.modules, package, None)  # what Python does where a package is absent
    with pytest.raises(MissingDependencyError, match=rf"'{package}', which is not installed.*marey\[datasets\]"):
        read(tmp_path / "Greeting.file")
