import numpy as np
import pytest
import torch

from marey.core import Boxes, Detections2D, InputError, Keypoints2D, Recording, ShapeError, Skeleton
from marey.detect.detector import detect_recording, open_detector, pack_detections

PAIR = Skeleton("pair", ("left_hand", "right_hand"), ())


class Frames:
    """Images whose first pixel says how many people there are."""

    def __init__(self, counts, promised=None):
        self.counts = counts
        self.promised = promised or len(counts)

    size = (2, 2)
    fps = 30.0

    @property
    def timestamps(self):
        return np.arange(self.promised) / 30.0

    def frames(self, start=0, stop=None):
        for count in self.counts[start:stop]:
            yield np.full((2, 2, 3), count, np.uint8)


class Counter:
    """Puts person p of a frame at (p, p)."""

    name = "counter"
    skeleton = PAIR

    def __call__(self, frames, boxes=None):
        for image in frames:
            yield people(int(image[0, 0, 0]))


def people(count, extras=True):
    at = torch.arange(count, dtype=torch.float32)[:, None, None].expand(count, 2, 2)
    return Detections2D(
        keypoints=Keypoints2D(
            positions=at, covariance=torch.full((count, 2, 2, 2), torch.nan), score=torch.ones(count, 2), skeleton=PAIR
        ),
        boxes=Boxes(corners=torch.ones(count, 4), score=torch.ones(count)) if extras else None,
        monocular=torch.ones(count, 2, 3) if extras else None,
    )


def recording(*views):
    return Recording(names=tuple(f"cam{i}" for i in range(len(views))), frames=views)


def test_detect_recording__slots_are_filled_from_the_first_and_gaps_are_missing():
    done = []
    found = detect_recording(recording(Frames([0, 2, 1]), Frames([1, 0, 3])), Counter(), progress=done.append)
    assert found.batch_shape == (2, 3, 3)
    assert (found.keypoints.score[..., 0] > 0).sum(-1).tolist() == [[0, 2, 1], [1, 0, 3]]
    assert found.keypoints.positions[1, 2, :, 0, 0].tolist() == [0, 1, 2]
    assert found.keypoints.positions[0, 0].isnan().all()
    assert found.boxes.score.sum() == 7
    assert found.monocular.isnan().sum() == (18 - 7) * 6
    assert sum(done) == 6


def test_detect_recording__span_and_people():
    found = detect_recording(recording(Frames([3, 2, 1, 0])), Counter(), span=(1, 3), people=1)
    assert found.batch_shape == (1, 2, 1)
    assert (found.keypoints.positions[..., 0, 0] == 0).all()


def test_detect_recording__nobody_anywhere_leaves_one_empty_slot():
    found = detect_recording(recording(Frames([0, 0])), Counter())
    assert found.batch_shape == (1, 2, 1)
    assert found.keypoints.positions.isnan().all()
    assert (found.keypoints.score == 0).all()


def test_detect_recording__views_of_different_length_stop_at_the_shorter():
    assert detect_recording(recording(Frames([1] * 5), Frames([1] * 3)), Counter()).batch_shape == (2, 3, 1)


def test_detect_recording__video_that_breaks_off():
    with pytest.raises(InputError, match="cam0: expected the frames 0 to 4, got 3"):
        detect_recording(recording(Frames([1] * 3, promised=5)), Counter())


def test_detect_recording__view_without_frames():
    with pytest.raises(InputError, match="cam1: expected a video or images"):
        detect_recording(recording(Frames([1]), None), Counter())


def test_pack_detections__fields_that_nobody_has_stay_out():
    found = pack_detections([[people(1, extras=False), people(0, extras=False)]], PAIR)
    assert found.boxes is None
    assert found.monocular is None


def test_pack_detections__a_stretch_without_people_has_the_same_fields_as_one_with():
    for extras in (True, False):
        nobody = pack_detections([[people(0, extras)] * 2], PAIR)
        somebody = pack_detections([[people(1, extras)] * 2], PAIR)
        assert Detections2D.cat([nobody, somebody], dim=1).batch_shape == (1, 4, 1)


def test_pack_detections__views_must_agree_on_the_frames():
    with pytest.raises(ShapeError, match=r"same number of frames in every view, got \[1, 2\]"):
        pack_detections([[people(1)], [people(1), people(1)]], PAIR)


def test_open_detector__unknown_name():
    with pytest.raises(InputError, match="no detector 'yolo'; expected marey, mediapipe, or the path"):
        open_detector("yolo")
