import json
import tomllib

import numpy as np

from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import write_keypoint_capture


def test_files__hold_the_recording(tmp_path):
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=4, people=2, views=3))
    folder = write_keypoint_capture(capture, tmp_path / "capture")
    assert sorted(path.name for path in folder.iterdir()) == ["cam_1", "cam_2", "cam_3", "cameras.toml"]
    cameras = tomllib.loads((folder / "cameras.toml").read_text())
    np.testing.assert_allclose(cameras["cam_2"]["matrix"], capture.cameras.intrinsics[1].numpy())
    frame = json.loads((folder / "cam_2" / "cam_2_000000000003_keypoints.json").read_text())
    keypoints = capture.detections.keypoints
    present = (keypoints.score[1, 3] > 0).any(-1)
    assert len(frame["people"]) == int(present.sum())
    written = np.array(frame["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
    np.testing.assert_allclose(written[:, :2], keypoints.positions[1, 3, 0].nan_to_num(), atol=1e-3)
    np.testing.assert_allclose(written[:, 2], keypoints.score[1, 3, 0], atol=1e-5)
