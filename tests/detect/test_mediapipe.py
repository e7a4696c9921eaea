import sys

import numpy as np
import pytest
import torch

from marey.core import Boxes, MissingDependencyError
from marey.detect.mediapipe import MediaPipePose


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("mediapipe", reason="the optional MediaPipe 0.10.14 is not installed")
    return MediaPipePose()


@pytest.fixture(scope="module")
def photo(shared_data):
    import cv2

    image = cv2.imread(str(shared_data / "images" / "pose.jpg"))
    return np.ascontiguousarray(image[..., ::-1])


def test_mediapipe__missing_library_names_the_commands(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps mediapipe==0\.10\.14"):
        MediaPipePose()


def test_mediapipe__nobody_in_the_image(detector):
    (found,) = detector([np.zeros((64, 48, 3), np.uint8)])
    assert found.batch_shape == (0,)
    assert found.keypoints.positions.shape == (0, 33, 2)
    assert found.monocular.shape == (0, 33, 3)


def test_mediapipe__one_pixel(detector):
    (found,) = detector([np.zeros((1, 1, 3), np.uint8)])
    assert found.batch_shape == (0,)


@pytest.mark.realdata
def test_mediapipe__finds_the_person_upright_in_front_of_the_camera(detector, photo, capfd):
    (found,) = detector([photo])
    assert capfd.readouterr().err == ""
    assert found.batch_shape == (1,)
    table = detector.skeleton
    positions, world = found.keypoints.positions[0], found.monocular[0]
    height, width = photo.shape[:2]
    core = table.indices(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])
    assert ((positions[core] >= 0) & (positions[core] < torch.tensor([width, height]))).all()
    assert found.keypoints.score.max() <= 1
    assert found.keypoints.covariance.isnan().all()
    nose, ankle = table.index("nose"), table.index("left_ankle")
    assert positions[nose, 1] < positions[ankle, 1]
    assert world[nose, 1] < world[ankle, 1]
    assert world[table.indices(["left_hip", "right_hip"])].mean(0).abs().max() < 0.02


@pytest.mark.realdata
def test_mediapipe__a_box_around_the_person_gives_the_same_place(detector, photo):
    (found,) = detector([photo])
    at = found.keypoints.positions[0]
    box = torch.cat((at.min(0).values, at.max(0).values))
    gap = torch.full((4,), torch.nan)
    boxes = Boxes(corners=torch.stack((gap, box))[None], score=torch.tensor([[0.0, 1.0]]))
    (again,) = detector([photo], boxes)
    assert again.batch_shape == (1,)
    size = (box[2:] - box[:2]).norm()
    assert (again.keypoints.positions[0] - at).norm(dim=-1).median() < 0.03 * size


@pytest.mark.realdata
def test_mediapipe__images_are_judged_by_themselves(detector, photo):
    once = [found.keypoints.positions for found in detector([photo])]
    thrice = [found.keypoints.positions for found in detector([photo, photo[:, ::-1], photo])]
    assert torch.equal(once[0], thrice[2])
