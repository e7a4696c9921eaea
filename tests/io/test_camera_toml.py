import contextlib
import re
import tomllib
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import CalibrationError, Cameras, FormatError, InputError, MareyError
from marey.io.camera_toml import read_camera_toml, write_caliscope_toml, write_camera_toml

POSE2SIM = """
[cam_10]
name = "cam_10"
size = [ 1088.0, 1920.0]
matrix = [ [ 1681.5, 0.0, 533.0], [ 0.0, 1681.0, 948.0], [ 0.0, 0.0, 1.0]]
distortions = [ -0.1, 0.02, 0.003, 0.004]
rotation = [ 0.0, 0.0, 0.0]
translation = [ 0.0, 0.0, 3.0]
fisheye = false

[cam_2]
name = "cam_2"
image_size = [ 640, 480]
matrix = [ [ 500, 0, 320], [ 0, 500, 240], [ 0, 0, 1]]
distortions = [ 0.1, 0.2, 0.3, 0.4, 0.5]
rotation = [ 0.0, 1.5707963267948966, 0.0]
translation = [ 1.0, 2.0, 3.0]

[metadata]
adjusted = false
error = 0.0
"""
CALISCOPE = """
camera_count = 2
[cam_0]
port = 0
size = [ 1280, 720,]
rotation_count = -1
matrix = [ [ 894.5, 0.0, 624.0,], [ 0.0, 896.8, 361.2,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.3, 0.09, -0.001, 0.003, -0.003,]
translation = [ 0.0, 0.0, 2.0,]
rotation = [ [ 0.0, -1.0, 0.0,], [ 1.0, 0.0, 0.0,], [ 0.0, 0.0, 1.0,],]
ignore = false
[cam_1]
port = 1
size = [ 1280, 720,]
ignore = true
[charuco]
columns = 4
"""
ARRAY = """
[cameras.3]
cam_id = 3
size = [1280, 720]
matrix = [[640.3, 0.0, 657.2], [0.0, 643.5, 333.4], [0.0, 0.0, 1.0]]
distortions = [0.19, -0.28, -0.002, 0.002]
fisheye = true
"""


def written(tmp_path, text):
    path = tmp_path / "cameras.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_read__natural_order_padding_and_identity_rotation(tmp_path):
    cameras = read_camera_toml(written(tmp_path, POSE2SIM))
    assert cameras.names == ("cam_2", "cam_10")
    assert cameras.dtype == torch.float32
    assert cameras.image_size.tolist() == [[640, 480], [1088, 1920]]
    assert torch.allclose(
        cameras.distortion, torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5], [-0.1, 0.02, 0.003, 0.004, 0.0]])
    )
    rotation, translation = cameras.extrinsics
    assert torch.equal(rotation[1], torch.eye(3))
    assert torch.allclose(rotation[0], torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), atol=1e-6)
    assert translation.tolist() == [[1, 2, 3], [0, 0, 3]]
    assert cameras.fisheye is None


def test_read__caliscope_matrix_rotation_and_ignored_camera(tmp_path):
    cameras = read_camera_toml(written(tmp_path, CALISCOPE))
    assert cameras.names == ("cam_0",)
    assert cameras.extrinsics[0][0].tolist() == [[0, -1, 0], [1, 0, 0], [0, 0, 1]]


def test_read__camera_array_without_poses_is_intrinsics_only(tmp_path):
    cameras = read_camera_toml(written(tmp_path, ARRAY))
    assert cameras.names == ("cam_3",)
    assert not cameras.has_extrinsics
    assert cameras.fisheye.tolist() == [True]


def test_read__unit_scales_translations_only(tmp_path):
    text = POSE2SIM.replace("[ 1.0, 2.0, 3.0]", "[ 1000.0, 2000.0, 3000.0]").replace("0.0, 3.0]", "0.0, 3000.0]")
    cameras = read_camera_toml(written(tmp_path, text), unit="mm")
    assert torch.allclose(cameras.extrinsics[1], torch.tensor([[1.0, 2, 3], [0, 0, 3]]))
    assert cameras.intrinsics[0, 0, 0] == 500


def test_read__millimetres_taken_for_metres_ask_for_the_unit(tmp_path):
    path = written(tmp_path, POSE2SIM.replace("[ 1.0, 2.0, 3.0]", "[ 1000.0, 2000.0, 3000.0]"))
    with pytest.raises(CalibrationError, match=r"does not state its unit: pass unit='mm'"):
        read_camera_toml(path)
    with pytest.warns(UserWarning, match="check unit="):
        assert read_camera_toml(path, unit="m").extrinsics[1][0, 0] == 1000


def test_read__stated_unit_is_honoured_unless_overruled(tmp_path):
    path = written(tmp_path, POSE2SIM.replace("[ 1.0, 2.0, 3.0]", "[ 10.0, 20.0, 30.0]") + 'unit = "cm"\n')
    assert read_camera_toml(path).extrinsics[1][0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert read_camera_toml(path, unit="m").extrinsics[1][0].tolist() == [10, 20, 30]


def test_read__cameras_nearer_than_5_cm_name_the_units_that_would_do(tmp_path):
    path = written(tmp_path, POSE2SIM)
    with pytest.raises(
        CalibrationError, match=r"in mm .* 0\.0041\d m apart .*less than 0\.05 m; pass unit='m' or 'in'$"
    ):
        read_camera_toml(path, unit="mm")
    tiny = POSE2SIM.replace("0.0, 3.0]", "0.0, 0.003]").replace("[ 1.0, 2.0, 3.0]", "[ 0.001, 0.002, 0.003]")
    with pytest.raises(CalibrationError, match="check unit= and the translations"):
        read_camera_toml(written(tmp_path, tiny))
    with pytest.raises(CalibrationError, match=r"in cm .* pass unit='m'"):
        read_camera_toml(written(tmp_path, POSE2SIM + 'unit = "cm"\n'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("translation = [ 1.0, 2.0, 3.0]", "", "no rotation and translation for cam_2"),
        ("matrix = [ [ 500, 0, 320], [ 0, 500, 240], [ 0, 0, 1]]", "", "camera 'cam_2': 'matrix' is missing"),
        ("[ 500, 0, 320]", "[ -500, 0, 320]", "fx, fy > 0"),
        ("[ 500, 0, 320]", "[ nan, 0, 320]", "not finite"),
        ("[ 500, 0, 320]", "[ 500, 0]", "expected numbers of shape"),
        ("image_size = [ 640, 480]", 'image_size = "big"', "expected numbers of shape"),
        ("rotation = [ 0.0, 0.0, 0.0]", "rotation = [ 0.0, 0.0]", "Rodrigues vector or 3x3"),
        ("rotation = [ 0.0, 0.0, 0.0]", "rotation = [ [1, 0, 0], [0, 1, 0], [0, 0, -1]]", "not a rotation matrix"),
        ("fisheye = false", "fisheye = 3", "expected true or false"),
        ('name = "cam_2"', 'name = "cam_10"', "names repeat"),
        ("[cam_2]", "[cam_2", "not a TOML file"),
    ],
)
def test_read__malformed_entry_names_file_and_camera(tmp_path, old, new, message):
    assert old in POSE2SIM
    with pytest.raises((FormatError, CalibrationError), match=message) as caught:
        read_camera_toml(written(tmp_path, POSE2SIM.replace(old, new)))
    assert "cameras.toml" in str(caught.value)


def test_read__no_camera_no_file_not_text(tmp_path):
    with pytest.raises(CalibrationError, match="no camera in it"):
        read_camera_toml(written(tmp_path, "[metadata]\nerror = 1.0\n"))
    with pytest.raises(InputError, match="cannot read the calibration"):
        read_camera_toml(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not a TOML file"):
        read_camera_toml(tmp_path / "binary.toml")


def test_write__file_holds_what_other_programs_expect(tmp_path):
    turn, _ = cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))
    cameras = Cameras(
        intrinsics=torch.tensor([[[500.0, 0, 320], [0, 510, 240], [0, 0, 1]]] * 2, dtype=torch.float64),
        distortion=torch.tensor([[0.1, 0.2, 0.3, 0.4, 0], [0.1, 0.2, 0.3, 0.4, 0.5]], dtype=torch.float64),
        image_size=torch.tensor([[640.0, 480], [float("nan")] * 2], dtype=torch.float64),
        rotation=torch.tensor(np.stack([np.eye(3), turn])),
        translation=torch.tensor([[1.0, 2, 3], [4, 5, 6]], dtype=torch.float64),
        fisheye=torch.tensor([True, False]),
        names=('left "wide"', "cam_1"),
    )
    write_camera_toml(tmp_path / "out.toml", cameras)
    document = tomllib.loads((tmp_path / "out.toml").read_text())
    wide, plain = document['left "wide"'], document["cam_1"]
    assert wide["name"] == 'left "wide"'
    assert wide["size"] == [640, 480]
    assert wide["matrix"] == [[500, 0, 320], [0, 510, 240], [0, 0, 1]]
    assert wide["distortions"] == [0.1, 0.2, 0.3, 0.4]
    assert wide["fisheye"] is True
    assert wide["rotation"] == [0, 0, 0]
    assert "size" not in plain
    assert plain["distortions"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert plain["rotation"] == pytest.approx([0.1, -0.2, 0.3], abs=1e-12)
    assert plain["translation"] == [4, 5, 6]
    assert document["metadata"]["unit"] == "m"


def test_read__freemocap_says_the_pose_twice(tmp_path):
    text = POSE2SIM.replace(
        "translation = [ 1.0, 2.0, 3.0]",
        "translation = [ 1.0, 2.0, 3.0]\nworld_position = [ 3.0, -2.0, -1.0]\n"
        "world_orientation = [ [0, 0, -1], [0, 1, 0], [1, 0, 0]]",
    ).replace("[metadata]", '[metadata]\ncharuco_square_size = 39\ncharuco_board_object = "x"')
    cameras = read_camera_toml(written(tmp_path, text))
    assert torch.allclose(cameras.centers[0], torch.tensor([3.0, -2, -1]), atol=1e-6)


def test_read__endless_key_is_refused_at_once(tmp_path):
    with pytest.raises(FormatError, match="a key of more than 50 parts"):
        read_camera_toml(written(tmp_path, "a." * 100_000 + "a = 1"))


def test_read__decimal_commas_are_too_many_numbers(tmp_path):
    with pytest.raises(FormatError, match=r"'translation' is .* expected numbers of shape"):
        read_camera_toml(written(tmp_path, POSE2SIM.replace("[ 1.0, 2.0, 3.0]", "[ 1,0, 2,0, 3,0]")))


def test_read__places_beyond_all_numbers_and_too_large_a_file(tmp_path, monkeypatch):
    with pytest.raises(CalibrationError, match="beyond all numbers"):
        read_camera_toml(written(tmp_path, POSE2SIM.replace("[ 1.0, 2.0, 3.0]", "[ 1e300, 2.0, 3.0]")))
    monkeypatch.setattr("marey.io.camera_parts.MOST_BYTES", 100)
    with pytest.raises(FormatError, match="larger than"):
        read_camera_toml(written(tmp_path, POSE2SIM))


def test_write__native_caliscope_tables(tmp_path):
    cameras = read_camera_toml(written(tmp_path, POSE2SIM), dtype=torch.float64)
    write_caliscope_toml(tmp_path / "camera_array.toml", cameras)
    document = tomllib.loads((tmp_path / "camera_array.toml").read_text())
    assert document["cameras"].keys() == {"2", "10"}
    camera = document["cameras"]["2"]
    assert (camera["cam_id"], camera["size"], camera["ignore"]) == (2, [640, 480], False)
    assert camera["matrix"] == [[500, 0, 320], [0, 500, 240], [0, 0, 1]]
    assert camera["distortions"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert np.array(camera["rotation"]) == pytest.approx(np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]), abs=1e-12)
    assert camera["translation"] == [1, 2, 3]


def test_write__needs_one_rig(tmp_path):
    camera = Cameras(intrinsics=torch.eye(3), distortion=torch.zeros(4), image_size=torch.ones(2))
    with pytest.raises(CalibrationError, match=r"batch shape \(V,\)"):
        write_camera_toml(tmp_path / "out.toml", camera)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, len(POSE2SIM)), st.integers(0, 40))
def test_read__damaged_file_is_a_typed_error_or_cameras(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("toml") / "cameras.toml"
    content = POSE2SIM.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(MareyError):
            assert isinstance(read_camera_toml(path), Cameras)


@pytest.mark.realdata
def test_read__real_rig_reprojects_the_reference(shared_data):
    from marey.io.openpose import read_openpose_folder
    from marey.io.trc import read_trc

    def ours(name):
        side = {"R": "right_", "L": "left_"}.get(name[0], "") if name[1].isupper() else ""
        words = re.sub(r"(?<!^)([A-Z])", r"_\1", name[1:] if side else name).lower()
        return side + words.replace("head", "head_top")

    demo = shared_data / "pose2sim_demo"
    cameras = read_camera_toml(demo / "calibration" / "Calib_qualisys.toml", dtype=torch.float64)
    reference = read_trc(demo / "balancing" / "pose-3d" / "reference_raw.trc")
    world = reference.positions[:50][..., [2, 0, 1]]  # y up -> z up
    joints = [ours(name) for name in reference.names]
    errors = []
    for view, name in enumerate(cameras.names):
        seen = read_openpose_folder(demo / "balancing" / "pose" / f"{name.replace('_', '')}_json")
        rotation, _ = cv2.Rodrigues(cameras.extrinsics[0][view].numpy())
        pixels, _ = cv2.projectPoints(
            world.reshape(-1, 3),
            rotation,
            cameras.extrinsics[1][view].numpy(),
            cameras.intrinsics[view].numpy(),
            cameras.distortion[view].numpy(),
        )
        difference = seen.positions[:, :, seen.skeleton.indices(joints)] - pixels.reshape(-1, 1, len(joints), 2)
        distance = np.where(
            seen.score[..., seen.skeleton.indices(joints)] > 0.3, np.linalg.norm(difference, axis=-1), np.nan
        )
        errors.append(np.nan_to_num(distance, nan=np.inf).min(1))  # of the people in the picture, the one it is
    reprojection = np.concatenate(errors)
    assert (
        np.median(reprojection[np.isfinite(reprojection)]) < 11.5
    )  # extrinsics good to 1-2 degrees; a wrong axis or unit gives hundreds


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["config.toml", "camera_array.toml"])
def test_read__real_caliscope_dialects_agree(shared_data, name):
    rig = shared_data / "caliscope_charuco" / "4_cam_recording"
    cameras = read_camera_toml(rig / name)
    older = read_camera_toml(shared_data / "caliscope_person" / "config.toml")
    assert cameras.names == older.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    assert torch.equal(cameras.extrinsics[0], older.extrinsics[0])
    assert torch.equal(cameras.intrinsics, older.intrinsics)
