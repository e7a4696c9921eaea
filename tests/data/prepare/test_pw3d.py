"""3DPW, on sequence files written down here as Python 2 wrote them, with numbers worked out by hand."""

import json
import pickle

import cv2
import numpy as np
import pytest

import pickle2
from body.smpl_files import family_arrays
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import joints_in_camera, read_labels
from marey.data.prepare.pw3d import Pw3dOptions, joint_orientations
from marey.data.prepare.pw3d_sequences import read_pw3d_sequence
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.io.predictions import read_pose_rows
from marey.metrics.protocols.lsp14 import Lsp14
from marey.metrics.protocols.pw3d import Pw3d

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""World to camera: y up becomes y down, and the camera looks along -z of the world."""
INTRINSICS = np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]])


def pose_of_camera(shift=(0.0, 0.0, 5.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = UPRIGHT, shift
    return matrix


def sequence(name="flat_guitar_01", *, frames=2, people=2, **changed):
    """`people` people, of whom the second is a woman and not labelled in frame 0; joint j is at (0.01 j, 0.1 p, 0)."""
    joints = np.zeros((people, frames, 24, 3))
    joints[..., 0] = 0.01 * np.arange(24)
    joints[..., 1] = 0.1 * np.arange(people)[:, None, None]
    keypoints = np.zeros((people, frames, 3, 18))
    keypoints[:, :, 0, :2] = [20, 40]
    keypoints[:, :, 1, :2] = [10, 30]
    keypoints[:, :, 2, :2] = 0.9
    valid = np.ones((people, frames), dtype=np.int64)
    valid[1:, :1] = 0
    return {
        "sequence": name,
        "betas": list(np.zeros((people, 10))),
        "poses": list(np.zeros((people, frames, 72))),
        "trans": list(np.tile([0.0, -0.2, 0], (people, frames, 1))),
        "genders": ["m", "f", "m"][:people],
        "poses2d": list(keypoints),
        "jointPositions": list(joints.reshape(people, frames, 72)),
        "campose_valid": list(valid),
        "cam_poses": np.tile(pose_of_camera(), (frames, 1, 1)),
        "cam_intrinsics": INTRINSICS,
        **changed,
    }


def write(root, split="test", *, pictures=True, **changed):
    made = sequence(**changed)
    folder = root / "sequenceFiles" / split
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{made['sequence']}.pkl").write_bytes(pickle.dumps(made, protocol=2))
    if pictures:
        images = root / "imageFiles" / made["sequence"]
        images.mkdir(parents=True, exist_ok=True)
        for frame in range(len(made["cam_poses"])):
            grey = np.full((48, 64, 3), 100 + frame, dtype=np.uint8)
            (images / f"image_{frame:05d}.jpg").write_bytes(cv2.imencode(".jpg", grey)[1].tobytes())
    return root


def prepared(root, out, *, fresh=False, **options):
    options = Pw3dOptions(**{"splits": ("test",), **options})
    return prepare_data_set(data_source("3dpw"), root, out, options, fresh=fresh, show=False)


def bodies(folder, **arrays):
    """SMPL files of 60 vertices in both genders, and a regressor that picks vertex j for joint j."""
    folder.mkdir()
    for name, seed in (("SMPL_MALE", 1), ("basicModel_f_lbs_10_207_0_v1.0.0", 2)):
        np.savez(folder / f"{name}.npz", **family_arrays(seed=seed) | arrays)
    np.save(folder / "J_regressor_h36m.npy", np.eye(17, 60))
    return folder


# the sequence files


def list_of(*parts):
    return b"]" + pickle2.MARK + b"".join(parts) + b"e"


def test_read_pw3d_sequence__as_python_2_wrote_it(tmp_path):
    made = sequence(people=1, frames=1)
    arrays = ("betas", "poses", "trans", "poses2d", "jointPositions", "campose_valid")
    entries = {key: list_of(*(pickle2.array(entry) for entry in made[key])) for key in arrays}
    entries |= {key: pickle2.array(made[key]) for key in ("cam_poses", "cam_intrinsics")}
    entries |= {"genders": list_of(pickle2.text("f")), "sequence": pickle2.text("outdoors_golf_00")}
    (tmp_path / "s.pkl").write_bytes(pickle2.stream(pickle2.dict_of(**entries)))
    found = read_pw3d_sequence(tmp_path / "s.pkl")
    assert (found.name, found.people, len(found), found.genders) == ("outdoors_golf_00", 1, 1, ("f",))
    assert found.joints[0, 0, 23].tolist() == [0.23, 0, 0]
    assert found.keypoints[0, 0, 1].tolist() == [40, 30, 0.9]
    assert np.isnan(found.keypoints[0, 0, 2, :2]).all()
    assert found.camera_translation.tolist() == [[0, 0, 5]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"poses": None}, "'poses': expected an entry for each person"),
        ({"poses": [np.zeros((2, 71))] * 2}, r"'poses' of person 0: expected \(2, 72\), got \(2, 71\)"),
        ({"trans": [np.zeros((2, 3))]}, "'trans' is of 1 people, 'poses' of 2"),
        ({"trans": [np.zeros((2, 3)), np.zeros((1, 3))]}, "'trans' of person 1"),
        ({"betas": [np.zeros(10), np.zeros(9)]}, "'betas': expected ten or more"),
        ({"genders": ["m", "x"]}, "'genders': expected m or f"),
        ({"cam_intrinsics": np.eye(4)}, "'cam_intrinsics'"),
        ({"cam_poses": np.zeros((2, 4, 4))}, "'cam_poses' of frame 0 is no camera pose"),
        ({"jointPositions": [["a"], ["b"]]}, "'jointPositions' holds no array of numbers"),
        ({"sequence": "../../etc"}, "'sequence': expected the name of a folder"),
    ],
)
def test_read_pw3d_sequence__damaged(tmp_path, changed, message):
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(sequence(**changed), protocol=2))
    with pytest.raises(FormatError, match=message):
        read_pw3d_sequence(tmp_path / "s.pkl")


def test_read_pw3d_sequence__lacks_an_entry(tmp_path):
    made = sequence()
    del made["campose_valid"]
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(made, protocol=2))
    with pytest.raises(FormatError, match="'campose_valid' is missing"):
        read_pw3d_sequence(tmp_path / "s.pkl")
    (tmp_path / "s.pkl").write_bytes(pickle.dumps([1], protocol=2))
    with pytest.raises(FormatError, match="expected a dict"):
        read_pw3d_sequence(tmp_path / "s.pkl")


def test_read_pw3d_sequence__a_camera_that_counts_for_nobody_may_be_anything(tmp_path):
    made = sequence()
    made["campose_valid"] = list(np.zeros((2, 2)))
    made["cam_poses"] = np.full((2, 4, 4), np.nan)
    (tmp_path / "s.pkl").write_bytes(pickle.dumps(made, protocol=2))
    assert not read_pw3d_sequence(tmp_path / "s.pkl").seen.any()


# labels


def test_prepare__labels(tmp_path):
    labels = prepared(write(tmp_path / "3dpw"), tmp_path / "out")
    assert labels.images.path.tolist() == [f"../3dpw/imageFiles/flat_guitar_01/image_0000{t}.jpg" for t in (0, 1)]
    assert (tmp_path / "out" / labels.images.path[1]).exists()
    assert labels.images.size.tolist() == [[64, 48]] * 2
    assert labels.split.tolist() == ["test", "test"]
    assert list(zip(labels.person, labels.image, labels.values["gender"], strict=True)) == [
        (0, 0, "m"),
        (0, 1, "m"),
        (1, 1, "f"),
    ]
    assert labels.values["joints"][2, 5].tolist() == [0.05, 0.1, 0]
    np.testing.assert_allclose(joints_in_camera(labels)[2, 5], [0.05, -0.1, 5])
    assert labels.values["labelled"].all()
    np.testing.assert_allclose(labels.values["detected"][0, 0], [20, 10, 0.9])
    # the detected joints span 20..40 and 10..30; 1.2 times as large
    np.testing.assert_allclose(labels.values["box"][0], [18, 8, 24, 24])
    assert read_labels(tmp_path / "out" / "labels.npz").values["gender"].tolist() == ["m", "m", "f"]


def test_prepare__bodies_in_the_frame_of_the_camera(tmp_path):
    turned = np.zeros((1, 1, 72))
    turned[0, 0, :3] = [0, 0, np.pi / 2]
    turned[0, 0, 3:6] = [0.1, 0.2, 0.3]
    labels = prepared(write(tmp_path / "d", people=1, frames=1, poses=list(turned)), tmp_path / "out")
    # half a turn about x after a quarter about z: x -> -y, y -> -x
    np.testing.assert_allclose(
        cv2.Rodrigues(labels.values["smpl_orientation"][0])[0], [[0, -1, 0], [-1, 0, 0], [0, 0, -1]], atol=1e-12
    )
    assert labels.values["smpl_pose"][0, :3].tolist() == [0.1, 0.2, 0.3]
    # the pelvis is at the world's origin, which the camera sees at (0, 0, 5); at rest it was at -trans = (0, 0.2, 0)
    np.testing.assert_allclose(labels.values["smpl_translation"][0], [0, -0.2, 5], atol=1e-12)


def test_prepare__split_of_each_file_and_sequences_in_order(tmp_path):
    write(tmp_path / "d", "train", name="outdoors_golf_00", frames=1)
    write(tmp_path / "d", "test", name="downtown_walking_00", frames=1)
    write(tmp_path / "d", "test", name="downtown_arguing_00", frames=1)
    labels = prepared(tmp_path / "d", tmp_path / "out", splits=("train", "test"))
    assert labels.images.sequence.tolist() == ["outdoors_golf_00", "downtown_arguing_00", "downtown_walking_00"]
    assert labels.split.tolist() == ["train", "test", "test"]


def test_prepare__nobody_at_all(tmp_path):
    made = {"people": 0, "frames": 0, "cam_poses": np.zeros((0, 4, 4))}
    write(tmp_path / "d", name="a_00", **made)
    write(tmp_path / "d", name="b_00", frames=3, campose_valid=[np.zeros(3), np.zeros(3)])
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"))
    assert (len(labels), len(labels.images)) == (0, 3)
    assert labels.images.camera.tolist() == [-1, -1, -1]
    assert len(read_pose_rows(tmp_path / "out/protocols/test_24.npz")) == 0
    assert not list((tmp_path / "out/human_data").iterdir())


def test_prepare__without_pictures(tmp_path):
    labels = prepared(write(tmp_path / "d", pictures=False), tmp_path / "out")
    assert labels.images.path.tolist() == ["", ""]
    assert "nothing is cropped" in (tmp_path / "out/card.json").read_text()


def test_prepare__missing_files_name_their_source(tmp_path):
    with pytest.raises(MissingAssetError, match=r"sequenceFiles.test: not found.*virtualhumans"):
        prepared(tmp_path, tmp_path / "out")
    (tmp_path / "sequenceFiles/test").mkdir(parents=True)
    with pytest.raises(MissingAssetError, match="labels of the split test"):
        prepared(tmp_path, tmp_path / "out")
    write(tmp_path)
    (tmp_path / "imageFiles/flat_guitar_01/image_00001.jpg").unlink()
    with pytest.raises(MissingAssetError, match=r"image_00001.jpg: not found, the picture of the sequence flat_guitar"):
        prepared(tmp_path, tmp_path / "out")


def test_options__errors():
    with pytest.raises(InputError, match="splits"):
        Pw3dOptions(splits=("all",))
    with pytest.raises(InputError, match="positive"):
        Pw3dOptions(every=0)


# what the protocols read


def test_protocols__24_joints_of_labelled_people(tmp_path):
    made = sequence(frames=3)
    made["poses2d"][0][1] = 0  # nothing detected of the first person in frame 1
    write(tmp_path / "d", frames=3, poses2d=made["poses2d"])
    prepared(tmp_path / "d", tmp_path / "out")
    rows = read_pose_rows(tmp_path / "out/protocols/test_24.npz")
    assert list(zip(rows.person, rows.frame, strict=True)) == [(0, 0), (0, 2), (1, 1), (1, 2)]
    np.testing.assert_allclose(rows.values["joints"][2, 23], [0.23, -0.1, 5])
    for program in ("metrabs", "challenge"):
        found = Pw3d(program=program).score(rows, rows)
        assert found.values["mpjpe_mm"] == 0
        assert found.values["pck"] == 100
    assert Pw3d(program="challenge").score(rows, rows).values["mpjae_deg"] == pytest.approx(0, abs=1e-4)


def test_joint_orientations__down_the_tree():
    pose = np.zeros((1, 69))
    pose[0, 0:3] = [0, 0, np.pi / 2]  # the left hip
    pose[0, 9:12] = [0, 0, np.pi / 2]  # the left knee
    values = {"smpl_orientation": np.array([[0.0, 0, np.pi / 2]]), "smpl_pose": pose}
    found = joint_orientations(values)[0]
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for joint, turns in ((0, 1), (2, 1), (1, 2), (4, 3), (7, 3), (15, 1)):
        np.testing.assert_allclose(found[joint], np.linalg.matrix_power(quarter, turns), atol=1e-12, err_msg=joint)


def test_human_data__what_numpy_reads(tmp_path):
    write(tmp_path / "d", frames=31)
    write(tmp_path / "d", "train", name="outdoors_golf_00", frames=1, people=1)
    prepared(tmp_path / "d", tmp_path / "out", splits=("train", "test"))
    folder = tmp_path / "out/human_data"
    assert sorted(path.name for path in folder.iterdir()) == [
        "pw3d_occ_ds30.npz", "pw3d_test.npz", "pw3d_test_ds30.npz",
    ]  # fmt: skip
    with np.load(folder / "pw3d_test.npz") as whole:
        assert len(whole["image_path"]) == 31 + 30
    with np.load(folder / "pw3d_test_ds30.npz", allow_pickle=True) as found:
        assert found["image_path"].tolist() == [
            f"imageFiles/flat_guitar_01/image_{frame:05d}.jpg" for frame in (0, 30, 30)
        ]
        np.testing.assert_allclose(found["bbox_xywh"][0], [18, 8, 24, 24, 1])
        nose, neck = 153, 154  # of OpenPose, among the 190
        np.testing.assert_allclose(found["keypoints2d"][0, [nose, neck]], [[20, 10, 0.9], [40, 30, 0.9]])
        assert found["keypoints2d"][0, :, 2].astype(bool).sum() == 2
        assert found["keypoints2d_mask"].sum() == 18
        assert "keypoints3d" not in found
        assert found["smpl"].item()["body_pose"].shape == (3, 23, 3)
        assert found["smpl"].item()["transl"].shape == (3, 3)
        assert found["meta"].item()["gender"] == ["m", "m", "f"]
    with np.load(folder / "pw3d_occ_ds30.npz") as occluded:
        assert sorted({path.split("/")[1] for path in occluded["image_path"]}) == ["flat_guitar_01", "outdoors_golf_00"]


# with a body model


def corners(vertices):
    """Left, top, width, height of world points seen by the camera of these tests."""
    seen = vertices @ UPRIGHT.T + [0, 0, 5]
    pixels = (60 * seen[:, :2] / seen[:, 2:]) + [32, 24]
    return [*pixels.min(0), *(pixels.max(0) - pixels.min(0))]


def test_prepare__boxes_and_14_joints_of_the_genders(tmp_path):
    male, female = (family_arrays(seed=seed) for seed in (1, 2))
    betas = np.zeros((2, 10))
    betas[1, 3] = 2
    write(tmp_path / "d", betas=list(betas))
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"), crops=False)
    shift = [0, -0.2, 0]
    man, woman = male["v_template"] + shift, female["v_template"] + 2 * female["shapedirs"][..., 3] + shift
    np.testing.assert_allclose(labels.values["box"], [corners(man), corners(man), corners(woman)], rtol=1e-4)
    rows = read_pose_rows(tmp_path / "out/protocols/test_14.npz")
    assert rows.joint_names == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top", "pelvis",
    )  # fmt: skip
    picked = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0]
    seen = woman[picked] @ UPRIGHT.T + [0, 0, 5]
    np.testing.assert_allclose(rows.values["joints"][2], seen, atol=1e-5)
    pixels = 60 * seen[:, :2] / seen[:, 2:] + [32, 24]
    np.testing.assert_allclose(rows.values["keypoints"][2], pixels, atol=1e-3)
    inside = ((pixels >= [18, 8]) & (pixels <= [42, 32])).all(-1)
    assert 0 < inside.sum() < 15
    assert rows.values["visible"][2].tolist() == inside.tolist()
    assert Lsp14(root="as_3dnbf", visible_only=True).score(rows, rows).counts["joints"] > 0


def test_prepare__a_body_turned_about_its_pelvis(tmp_path):
    man = family_arrays(seed=1)
    turned = np.zeros((1, 1, 72))
    turned[0, 0, :3] = [0, 0, np.pi / 2]
    write(tmp_path / "d", people=1, frames=1, poses=list(turned))
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl", posedirs=np.zeros((60, 3, 207))))
    pelvis = man["J_regressor"][0] @ man["v_template"]
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    vertices = (man["v_template"] - pelvis) @ quarter.T + pelvis + [0, -0.2, 0]
    np.testing.assert_allclose(labels.values["box"], [corners(vertices)], rtol=1e-4)
    # half a turn about x, then 5 metres ahead, is the camera's view of the pelvis at rest moved by (0, -0.2, 0)
    seen = (pelvis + np.array([0, -0.2, 0])) @ UPRIGHT.T + [0, 0, 5]
    np.testing.assert_allclose(labels.values["smpl_translation"][0], seen - pelvis, atol=1e-5)
    assert "joints and bodies are" in (tmp_path / "out/card.json").read_text()


def test_prepare__joints_that_fit_the_bodies(tmp_path):
    man = family_arrays(seed=1)
    made = sequence(people=1, frames=1)
    made["jointPositions"][0][0, :3] = man["J_regressor"][0] @ man["v_template"] + [0, -0.2, 0]
    write(tmp_path / "d", people=1, frames=1, jointPositions=made["jointPositions"])
    with_body = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"), crops=False)
    assert "apart" not in (tmp_path / "out/card.json").read_text()
    without = prepared(tmp_path / "d", tmp_path / "out2")
    for name in ("smpl_orientation", "smpl_translation"):
        np.testing.assert_allclose(with_body.values[name], without.values[name], atol=1e-6)


def test_crops__files_of_the_original_and_their_list(tmp_path):
    write(tmp_path / "d")
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"), crop_size=32)
    folder = tmp_path / "out/test/cropped_frames"
    names = [f"flat_guitar_01_image_{frame:05d}_person_{person:03d}.png" for person, frame in ((0, 0), (0, 1), (1, 1))]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    with np.load(tmp_path / "out/test/3dpw_test.npz") as found:
        assert found["imgname"].tolist() == names
        assert (found["pose"].shape, found["shape"].shape) == ((3, 72), (3, 10))
        assert found["gender"].tolist() == ["m", "m", "f"]
        left, top, width, height = labels.values["box"][2]
        np.testing.assert_allclose(found["center"][2], [left + width / 2, top + height / 2])
        assert found["wh"][2] == max(width, height)
        side, middle = 1.2 * found["wh"][2], found["center"][2]
    crop = cv2.imread(str(folder / names[2]))
    assert crop.shape == (32, 32, 3)
    # a pixel of the crop lies in the picture of 64 x 48 or is black
    x = (np.arange(32) - 16) * side / 32 + middle[0]
    y = (np.arange(32) - 16) * side / 32 + middle[1]
    inside = ((y > 0.5) & (y < 46.5))[:, None] & ((x > 0.5) & (x < 62.5))
    outside = ((y < -1) | (y > 48))[:, None] | ((x < -1) | (x > 64))
    assert inside.any()
    assert outside.any()
    assert np.abs(crop[inside].astype(int) - 101).max() <= 1
    assert crop[outside].max() == 0


def test_crops__people_behind_the_camera_are_left_out(tmp_path):
    near = [np.tile(pose_of_camera((0, 0, 0.0)), (1, 1, 1))]
    write(tmp_path / "d", frames=1, people=1, cam_poses=near[0])
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"))
    assert np.isnan(labels.values["box"]).all()
    assert "1 people reach behind the camera" in (tmp_path / "out/card.json").read_text()
    with np.load(tmp_path / "out/test/3dpw_test.npz") as found:
        assert found["pose"].shape == (0, 72)


def test_crops__go_on_where_they_stopped(tmp_path):
    write(tmp_path / "d", name="a_00")
    write(tmp_path / "d", name="b_00")
    missing = tmp_path / "d/imageFiles/b_00/image_00000.jpg"
    content = missing.read_bytes()
    missing.write_bytes(b"no image")
    smpl = bodies(tmp_path / "smpl")
    with pytest.raises(FormatError):
        prepared(tmp_path / "d", tmp_path / "out", smpl=smpl)
    missing.write_bytes(content)
    with pytest.raises(InputError, match="--fresh"):
        prepared(tmp_path / "d", tmp_path / "out", smpl=smpl, crop_size=8)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/test/cropped_frames").glob("a_00*")}
    prepared(tmp_path / "d", tmp_path / "out", smpl=smpl)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out/test/cropped_frames").iterdir()}
    assert len(after) == 6
    assert all(after[name] == time for name, time in first.items())


def test_prepare__other_options_leave_nothing_of_the_former_run(tmp_path):
    write(tmp_path / "d")
    prepared(tmp_path / "d", tmp_path / "out", smpl=bodies(tmp_path / "smpl"))
    assert len(list((tmp_path / "out/protocols").iterdir())) == 4
    with pytest.raises(InputError, match="--fresh"):
        prepared(tmp_path / "d", tmp_path / "out")
    prepared(tmp_path / "d", tmp_path / "out", fresh=True)
    assert [path.name for path in (tmp_path / "out/protocols").iterdir()] == ["test_24.npz"]
    assert not (tmp_path / "out/test/3dpw_test.npz").exists()


def test_protocols__all_splits_together(tmp_path):
    for split in ("train", "validation", "test"):
        write(tmp_path / "d", split, name=f"{split}_00")
    prepared(tmp_path / "d", tmp_path / "out", splits=("train", "validation", "test"))
    rows = read_pose_rows(tmp_path / "out/protocols/all_24.npz")
    assert sorted(set(rows.sequence.tolist())) == ["test_00", "train_00", "validation_00"]
    assert len(rows) == 9


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ((), MissingAssetError, "no SMPL file in it"),
        (("SMPL_MALE.npz",), MissingAssetError, "no SMPL file of the gender 'f'"),
        (("SMPL_MALE.npz", "basicmodel_m_lbs.npz"), InputError, "are of one gender"),
    ],
)
def test_prepare__body_files(tmp_path, files, error, message):
    (tmp_path / "smpl").mkdir()
    for name in files:
        np.savez(tmp_path / "smpl" / name, **family_arrays())
    write(tmp_path / "d")
    with pytest.raises(error, match=message):
        prepared(tmp_path / "d", tmp_path / "out", smpl=tmp_path / "smpl")


def test_prepare__no_regressor_of_the_14_joints(tmp_path):
    smpl = bodies(tmp_path / "smpl")
    (smpl / "J_regressor_h36m.npy").unlink()
    write(tmp_path / "d")
    prepared(tmp_path / "d", tmp_path / "out", smpl=smpl, crops=False)
    assert [path.name for path in (tmp_path / "out/protocols").iterdir()] == ["test_24.npz"]
    inputs = json.loads((tmp_path / "out/card.json").read_text())["inputs"]
    assert {entry["path"].rpartition("/")[2] for entry in inputs} == {
        "SMPL_MALE.npz", "basicModel_f_lbs_10_207_0_v1.0.0.npz", "flat_guitar_01.pkl",
    }  # fmt: skip
    assert "no J_regressor_h36m.npy" in (tmp_path / "out/card.json").read_text()
    with pytest.raises(MissingAssetError, match="--smpl takes the folder"):
        prepared(tmp_path / "d", tmp_path / "out2", smpl=tmp_path / "nowhere")
