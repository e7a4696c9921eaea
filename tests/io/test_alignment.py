import numpy as np
import pytest

from marey.core import InputError, Skeleton, skeleton
from marey.io.alignment import align_keypoints, common_rate, note_drift, note_lengths, rate_of
from marey.io.keypoint_files import KeypointFile

PAIR = Skeleton("pair", ("a", "b"), ((0, 1),))


def view(numbers, people=1, skeleton=PAIR, notes=()):
    """Positions that tell frame number and person."""
    frames = np.arange(numbers[0], numbers[1] + 1)
    positions = np.empty((len(frames), people, len(skeleton), 2), np.float32)
    positions[..., 0] = frames[:, None, None]
    positions[..., 1] = np.arange(people)[None, :, None]
    score = np.ones(positions.shape[:-1], np.float32)
    return KeypointFile(positions=positions, score=score, skeleton=skeleton, frame_numbers=frames, notes=notes)


def test_align__by_number_with_gaps_and_empty_slots():
    detections, notes = align_keypoints(["x", "y"], [view((3, 5), people=2), view((4, 7))])
    keypoints = detections.keypoints
    assert detections.batch_shape == (2, 5, 2)
    assert keypoints.positions[0, :3, 1, 0].tolist() == [[3, 1], [4, 1], [5, 1]]
    assert keypoints.positions[1, 1:, 0, 0, 0].tolist() == [4, 5, 6, 7]
    missing = keypoints.score == 0
    assert keypoints.positions[missing].isnan().all()
    assert missing.sum((2, 3)).tolist() == [[0, 0, 0, 4, 4], [4, 2, 2, 2, 2]]
    assert keypoints.covariance.isnan().all()
    assert "different frames (x 3..5, y 4..7)" in notes[0]
    assert notes[1] == "Frame 0 of the recording is frame number 3 of the files."


def test_align__from_zero_keeps_the_numbers_as_places():
    detections, notes = align_keypoints(["x"], [view((2, 4))], from_zero=True)
    assert detections.keypoints.positions[0, 2:, 0, 0, 0].tolist() == [2, 3, 4]
    assert detections.keypoints.score[0, :2].sum() == 0
    assert not notes


def test_align__a_counter_that_began_anew_is_suspected():
    _, notes = align_keypoints(["x", "y"], [view((0, 9)), view((0, 255))])
    assert notes[1].startswith("y: the frame numbers reach much farther")
    assert "rename the files" in notes[1]


def test_align__no_common_number_is_aligned_at_the_start():
    detections, notes = align_keypoints(["x", "y"], [view((0, 2)), view((1000, 1001))])
    assert detections.batch_shape == (2, 3, 1)
    assert detections.keypoints.positions[:, 0, 0, 0, 0].tolist() == [0, 1000]
    assert "no frame in common" in notes[0]


def test_align__view_without_people_takes_the_skeleton_of_the_others():
    detections, _ = align_keypoints(["x", "y"], [view((0, 2), people=0, skeleton=skeleton("body_25")), view((0, 2))])
    assert detections.keypoints.skeleton == PAIR
    assert detections.keypoints.score.sum((1, 2, 3)).tolist() == [0, 6]


def test_align__views_that_disagree_on_25_joints_follow_most():
    three = [view((0, 1), skeleton=skeleton(name)) for name in ("body_25b", "body_25", "body_25b")]
    detections, notes = align_keypoints("xyz", three)
    assert detections.keypoints.skeleton.name == "body_25b"
    assert "body_25b was taken" in notes[0]


def test_align__same_note_of_every_view_is_told_once():
    assert align_keypoints("xy", [view((0, 1), notes=("same",))] * 2)[1] == ["same"]


def test_align__different_skeletons_and_nobody():
    with pytest.raises(InputError, match="different skeletons \\(x: pair, y: coco_17\\)"):
        align_keypoints("xy", [view((0, 1)), view((0, 1), skeleton=skeleton("coco_17"))])
    with pytest.raises(InputError, match="nobody was detected in any frame of the views x, y"):
        align_keypoints("xy", [view((0, 1), people=0)] * 2)


def test_common_rate():
    assert common_rate("xy", [None, None]) is None
    assert common_rate("xyz", [60, None, 59.94]) == pytest.approx(59.97)
    with pytest.raises(InputError, match=r"different frame rates \(x 60, y 29.97 frames per second\)"):
        common_rate("xy", [60.0, 29.97])


def test_rate_of__steps_over_the_whole_time_with_gaps_counted():
    assert rate_of(np.array([np.nan, 0.1, 0.14, np.nan, 0.4, 0.5, np.nan])) == pytest.approx(10)
    assert rate_of(np.array([np.nan, 1.0])) is None
    assert rate_of(np.array([1.0, 1.0])) is None


class Source:
    def __init__(self, times):
        self.timestamps = np.asarray(times, float)


def test_note_drift():
    steady = Source(5 + np.arange(100) / 25)
    jitter = Source(np.arange(90) / 25 + 0.01 * (np.arange(90) % 2))
    assert note_drift("xy", [steady, jitter], 25) == []
    assert note_drift("xy", [steady, None], 25) == note_drift("xy", [steady, steady], None) == []
    dropped = Source(np.delete(np.arange(100) / 25, 40))
    with pytest.warns(UserWarning, match="up to 40 ms.* from frame 40 on y is late against x"):
        (note,) = note_drift("xy", [steady, dropped], 25)
    assert "synchronise" in note


def test_note_lengths():
    assert note_lengths("xy", [Source([0, 1, 2]), Source([0, 1, 2])]) == []
    assert (
        "(x 3, y 5 frames); frames after number 3 are left out"
        in note_lengths("xy", [Source(range(3)), Source(range(5))])[0]
    )


def test_note_lengths__keypoints_beside_frames():
    pair = [Source(range(5)), Source(range(5))]
    assert note_lengths("xy", pair, 5) == note_lengths("xy", [None, None], 7) == []
    (surplus,) = note_lengths("xy", pair, 8)
    assert "over 8 frames and the frames of the views over 5; only the first 5 are used" in surplus
    assert "only the first 3 are used" in note_lengths("xy", pair, 3)[0]
    assert len(note_lengths("xy", [Source(range(4)), Source(range(5))], 8)) == 2
