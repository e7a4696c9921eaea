import json
import warnings

import cv2
import numpy as np
import pytest
import torch

from marey.core import CalibrationError, FormatError, InputError
from marey.io.recordings import open_recording
from marey.io.video import write_video

CAMERA = """
[{name}]
name = "{name}"
size = [{width}, {height}]
matrix = [[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [{x}, 0.0, 3.0]
"""


def calibration(folder, names, *, width=640, height=480):
    tables = [CAMERA.format(name=name, x=place, width=width, height=height) for place, name in enumerate(names)]
    (folder / "rig.toml").write_text("".join(tables))
    return folder / "rig.toml"


def keypoints(folder, frames, *, at=(100.0, 200.0), joints=17):
    folder.mkdir(parents=True)
    for number in frames:
        person = {"pose_keypoints_2d": [*at, 0.5] * joints}
        (folder / f"x_{number:05}.json").write_text(json.dumps({"people": [person]}))
    return folder


def video(path, count=4, fps=30, width=64, height=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.full((height, width, 3), 20 * place, np.uint8) for place in range(count)], fps=fps)
    return path


def test_open__json_folders_in_the_order_of_the_cameras(tmp_path):
    keypoints(tmp_path / "trial" / "cam2_json", range(3), at=(2, 2))
    keypoints(tmp_path / "trial" / "cam10_json", range(3), at=(10, 10))
    recording = open_recording([tmp_path / "trial"], calibration=calibration(tmp_path, ["cam_10", "cam_02"]), fps=25)
    assert recording.names == ("cam2_json", "cam10_json")
    assert recording.cameras.names == ("cam_02", "cam_10")
    assert recording.cameras.extrinsics[1][:, 0].tolist() == [1, 0]
    assert recording.detections.keypoints.positions[:, 0, 0, 0, 0].tolist() == [2, 10]
    assert recording.frames == (None, None)
    assert (recording.length, recording.fps) == (3, 25)
    assert any("matched by name" in note for note in recording.notes)


def test_open__views_reordered_where_names_sort_otherwise(tmp_path):
    for place, name in enumerate(["alpha_cam3", "beta_cam1"]):
        keypoints(tmp_path / "trial" / name, range(2), at=(place + 1, 1))
    recording = open_recording([tmp_path / "trial"], calibration=calibration(tmp_path, ["cam1", "cam2", "cam3"]))
    assert recording.names == ("beta_cam1", "alpha_cam3")
    assert recording.detections.keypoints.positions[:, 0, 0, 0, 0].tolist() == [2, 1]
    assert recording.cameras.names == ("cam1", "cam3")


def test_open__videos(tmp_path):
    folder = video(tmp_path / "trial" / "b.mp4", 5).parent
    video(folder / "a.mp4", 4)
    recording = open_recording([folder])
    assert recording.names == ("a", "b")
    assert recording.fps == 30
    assert recording.length == 4
    assert recording.cameras is recording.detections is None
    assert "different lengths (a 4, b 5 frames)" in recording.notes[0]
    assert [frame.mean() for frame in recording.frames[0].frames(2, 3)] == pytest.approx([40], abs=3)


def test_open__videos_of_different_rates(tmp_path):
    video(tmp_path / "a.mp4", fps=30)
    video(tmp_path / "b.mp4", fps=60)
    with pytest.raises(InputError, match=r"different frame rates \(a 30, b 60"):
        open_recording([tmp_path / "a.mp4", tmp_path / "b.mp4"])


def test_open__video_slightly_off_its_calibration_is_fitted_with_a_warning(tmp_path):
    video(tmp_path / "cam1.mp4", width=640, height=480)
    rig = calibration(tmp_path, ["cam1"], width=644, height=480)
    with pytest.warns(UserWarning, match="640x480"):
        recording = open_recording([tmp_path / "cam1.mp4"], calibration=rig)
    assert recording.cameras.image_size.tolist() == [[640, 480]]
    assert any("640x480" in note for note in recording.notes)


def test_open__video_far_off_its_calibration(tmp_path):
    video(tmp_path / "cam1.mp4", width=64, height=48)
    with pytest.raises(CalibrationError, match="64x48"):
        open_recording([tmp_path / "cam1.mp4"], calibration=calibration(tmp_path, ["cam1"]))


def test_open__images(tmp_path):
    for name in ("left", "right"):
        (tmp_path / "trial" / name).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(tmp_path / "trial" / name / f"{number}.png"), np.zeros((4, 6, 3), np.uint8))
    recording = open_recording([tmp_path / "trial"])
    assert recording.names == ("left", "right")
    assert (recording.length, recording.fps) == (3, None)
    assert recording.frames[0].size == (6, 4)


def test_open__video_and_keypoints_of_the_same_cameras(tmp_path):
    for name in ("cam1", "cam2"):
        video(tmp_path / "videos" / f"{name}.mp4", 6, width=640, height=480)
        keypoints(tmp_path / "pose" / f"{name}_json", range(2, 5))
    recording = open_recording(
        [tmp_path / "videos", tmp_path / "pose"], calibration=calibration(tmp_path, ["cam1", "cam2"])
    )
    assert recording.names == ("cam1", "cam2")
    assert recording.length == 5
    seen = recording.detections.keypoints.score.sum((0, 2, 3)) > 0
    assert seen.tolist() == [False, False, True, True, True]
    assert all(source is not None for source in recording.frames)


def test_open__video_of_nearly_the_calibrated_size_beside_keypoints_is_told_and_keeps_the_cameras(tmp_path):
    inputs = [video(tmp_path / "cam1.mp4", width=640, height=480), keypoints(tmp_path / "cam1_json", range(4))]
    rig = calibration(tmp_path, ["cam1"], width=648, height=480)
    with pytest.warns(UserWarning, match="View cam1: its frames are 640x480 and its calibration is for 648x480"):
        recording = open_recording(inputs, calibration=rig)
    assert recording.cameras.image_size.tolist() == [[648, 480]]
    assert recording.cameras.intrinsics[0, 0, 2] == 320
    assert sum("pixels of the calibrated image" in note for note in recording.notes) == 1


def test_open__video_far_off_its_calibration_beside_keypoints(tmp_path):
    inputs = [video(tmp_path / "cam1.mp4", width=320, height=240), keypoints(tmp_path / "cam1_json", range(4))]
    with pytest.raises(CalibrationError, match="320x240 and its calibration is for 640x480"):
        open_recording(inputs, calibration=calibration(tmp_path, ["cam1"]))


def test_open__more_keypoint_files_than_frames_of_the_video(tmp_path):
    recording = open_recording([video(tmp_path / "cam1.mp4", 4), keypoints(tmp_path / "cam1_json", range(7))])
    assert recording.length == 4
    assert any("over 7 frames and the frames of the views over 4" in note for note in recording.notes)


def test_open__given_rate_that_contradicts_the_files(tmp_path):
    path = video(tmp_path / "a.mp4", fps=30)
    with pytest.warns(UserWarning, match="fps: 60 was given, but the files say 30 frames per second; the given 60"):
        recording = open_recording([path], fps=60)
    assert recording.fps == 60
    assert any("60 was given" in note for note in recording.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = open_recording([path], fps=29.97)
    assert recording.fps == 29.97
    assert not recording.notes


def test_open__given_rate_does_not_hide_views_of_different_rates(tmp_path):
    inputs = [video(tmp_path / "a.mp4", fps=30), video(tmp_path / "b.mp4", fps=60)]
    with pytest.raises(InputError, match="different frame rates"):
        open_recording(inputs, fps=30)


def test_open__video_of_one_camera_and_keypoints_of_another(tmp_path):
    video(tmp_path / "cam1.mp4")
    keypoints(tmp_path / "cam2", range(2))
    with pytest.raises(InputError, match="keypoints for cam2, but frames for cam1"):
        open_recording([tmp_path])


def test_open__keypoints_outside_the_calibrated_image_warn(tmp_path):
    keypoints(tmp_path / "trial" / "cam1", range(2), at=(1800.0, 900.0))
    keypoints(tmp_path / "trial" / "cam2", range(2))
    with pytest.warns(UserWarning, match="View cam1: 100 % of the keypoints lie outside the 640 x 480 pixels"):
        recording = open_recording([tmp_path / "trial"], calibration=calibration(tmp_path, ["cam1", "cam2"]))
    assert sum("lie outside" in note for note in recording.notes) == 1


def caliscope(path, times):
    """A table of what the cameras saw at `times` (V, T), seconds."""
    rows = [
        f"{index},{port},0,{time},{point},5,6,,"
        for port, taken in enumerate(times)
        for index, time in enumerate(taken)
        for point in range(33)
    ]
    head = "sync_index,port,frame_index,frame_time,point_id,img_loc_x,img_loc_y,obj_loc_x,obj_loc_y"
    path.write_text("\n".join([head, *rows]))
    return path


def test_open__caliscope_table_has_times(tmp_path):
    table = caliscope(tmp_path / "xy.csv", [np.arange(4) / 20, np.arange(4) / 20 + 0.01])
    recording = open_recording([table], calibration=calibration(tmp_path, ["cam_1", "cam_0"]))
    assert recording.names == ("cam_0", "cam_1")
    assert recording.fps == pytest.approx(20)
    np.testing.assert_allclose(recording.timestamps[1], np.arange(4) / 20 + 0.01)
    assert recording.detections.batch_shape == (2, 4, 1)
    assert any("up to 10.0 ms apart, 10.0 ms in the median (cam_1 after cam_0" in note for note in recording.notes)


def test_open__caliscope_rate_is_of_the_whole_time(tmp_path):
    times = np.cumsum([0, 0.03, 0.03, 0.03, 0.11])
    recording = open_recording([caliscope(tmp_path / "xy.csv", [times, times])])
    assert recording.fps == pytest.approx(20)
    assert not any("apart" in note for note in recording.notes)
    with pytest.warns(UserWarning, match="fps: 30 was given, but the files say 20"):
        assert open_recording([tmp_path / "xy.csv"], fps=30).fps == 30


def test_open__caliscope_cameras_more_than_half_a_frame_apart_warn(tmp_path):
    steady, late = np.arange(4) / 20, np.arange(4) / 20 + [0, 0, 0.03, 0]
    with pytest.warns(
        UserWarning, match=r"up to 30\.0 ms apart, 0\.0 ms .*\(cam_1 after cam_0 at frame 2\).*more than half"
    ):
        open_recording([caliscope(tmp_path / "xy.csv", [steady, late])])


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([], InputError, "no input"),
        (["absent"], InputError, "no such file or folder"),
        (["empty"], InputError, "nothing in it that could be a view"),
        (["broken"], FormatError, "none of the files can be read"),
    ],
)
def test_open__nothing_usable(tmp_path, inputs, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.json").write_text("{")
    with pytest.raises(error, match=message):
        open_recording([tmp_path / name for name in inputs])


def test_open__frame_rate_that_is_none(tmp_path):
    with pytest.raises(InputError, match="expected frames per second above 0, got -1"):
        open_recording([keypoints(tmp_path / "a", range(2))], fps=-1)


def test_open__calibration_of_other_cameras(tmp_path):
    keypoints(tmp_path / "trial" / "a", range(2))
    with pytest.raises(CalibrationError, match="of other cameras: it has cam1, cam2; the recording has the views a"):
        open_recording([tmp_path / "trial"], calibration=calibration(tmp_path, ["cam1", "cam2"]))


@pytest.mark.realdata
@pytest.mark.parametrize(("trial", "frames", "people"), [("static", 12, 1), ("balancing", 50, 3)])
def test_open__real_openpose_recording(shared_data, trial, frames, people):
    demo = shared_data / "pose2sim_demo"
    recording = open_recording([demo / trial / "pose"], calibration=demo / "calibration" / "Calib_qualisys.toml")
    assert recording.names == ("cam01_json", "cam02_json", "cam03_json", "cam04_json")
    assert recording.cameras.names == ("cam_01", "cam_02", "cam_03", "cam_04")
    assert recording.detections.batch_shape == (4, frames, people)
    assert recording.detections.keypoints.skeleton.name == "body_25b"


@pytest.mark.realdata
def test_open__real_videos_are_fitted_to_their_calibration(shared_data):
    demo = shared_data / "pose2sim_demo"
    with pytest.warns(UserWarning, match="is 1080x1920 and was calibrated at 1088x1920"):
        recording = open_recording(
            [demo / "balancing" / "videos"], calibration=demo / "calibration" / "Calib_qualisys.toml"
        )
    assert recording.length == 100
    assert recording.fps == 60
    assert recording.cameras.image_size[:, 0].tolist() == [1080, 1080, 1088, 1088]


@pytest.mark.realdata
def test_open__real_caliscope_person_fits_the_cameras(shared_data):
    """Points triangulated from two views lie where a third saw them, though Caliscope shows one of the two turned."""
    folder = shared_data / "caliscope_person"
    recording = open_recording([folder / "xy_mediapipe_holistic.csv"], calibration=folder / "config.toml")
    found = recording.detections.keypoints
    trunk = found.skeleton.indices(["nose", "left_ear", "left_shoulder", "right_shoulder"])
    seen = found.positions[:, :, 0, trunk].double().flatten(1, 2)
    points = seen[:, seen[[0, 2, 3]].isfinite().all(-1).all(0)].numpy()
    cameras = recording.cameras.to(torch.float64)
    rotation, translation = (part.numpy() for part in cameras.extrinsics)
    intrinsics, distortion = cameras.intrinsics.numpy(), cameras.distortion.numpy()
    rays = [cv2.undistortPoints(points[view][:, None], intrinsics[view], distortion[view])[:, 0] for view in (0, 2)]
    poses = [np.hstack([rotation[view], translation[view][:, None]]) for view in (0, 2)]
    world = cv2.triangulatePoints(*poses, rays[0].T, rays[1].T)
    world = (world[:3] / world[3]).T
    pixels, _ = cv2.projectPoints(world, cv2.Rodrigues(rotation[3])[0], translation[3], intrinsics[3], distortion[3])
    errors = np.linalg.norm(pixels[:, 0] - points[3], axis=-1)
    assert len(errors) > 300
    assert np.median(errors) < 16
