"""Following people: who is looked for, who is handed a pose, by hand-made situations."""

import pytest
import torch

from marey.core import Cameras, ShapeError
from marey.methods.metrabs.tracks import TrackingRules, Tracks

POSE = torch.rand(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + torch.tensor([0, 0, 3.0])
CAMERA = Cameras(
    intrinsics=torch.tensor([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]]),
    distortion=torch.zeros(0),
    image_size=torch.tensor([1000.0, 1000.0]),
)
SURE = torch.ones(1)
NOBODY = torch.zeros(0, 5)


def at(x: float) -> torch.Tensor:
    return POSE + torch.tensor([x, 0, 0])


def several(*places: float) -> torch.Tensor:
    return torch.stack([at(x) for x in places])


def test_by_motion__poses_go_to_those_who_stood_there():
    tracks = Tracks(24)
    tracks.by_motion(0, several(0, 2), torch.tensor([0.9, 0.8]))
    tracks.by_motion(1, several(2.1, 0.1), torch.tensor([0.9, 0.8]))
    found = tracks.finished(2)
    torch.testing.assert_close(found[0, 1], at(0.1))
    torch.testing.assert_close(found[1, 1], at(2.1))


def test_by_motion__tracks_begin_with_the_first_frame_that_shows_somebody_and_with_real_detections():
    tracks = Tracks(24)
    tracks.by_motion(0, torch.zeros(0, 24, 3), torch.zeros(0))
    tracks.by_motion(1, several(0, 2), torch.tensor([0.0, 0.8]))
    assert tracks.finished(2).shape == (1, 2, 24, 3)
    torch.testing.assert_close(tracks.finished(2)[0, 1], at(2))


def test_by_motion__somebody_who_is_far_away_is_taken_for_the_same_only_when_the_track_is_stale():
    tracks = Tracks(24, rules=TrackingRules(stale=3))
    tracks.by_motion(0, several(0), SURE)
    for frame in range(1, 6):
        tracks.by_motion(frame, several(5, 9), torch.tensor([0.2, 0.6]))
    known = tracks.finished(6)[0].isfinite().all(-1).all(-1)
    assert known.tolist() == [True, False, False, False, True, True]
    torch.testing.assert_close(tracks.last[0], at(9))  # the surest of those that nobody took


def test_by_labels__who_agrees_with_nothing_keeps_the_last_pose_but_in_the_original():
    labelled = torch.full((1, 8, 3), 1e5)
    pixels = torch.rand(1, 24, 2, generator=torch.Generator().manual_seed(1)) * 100
    for rules, given in ((TrackingRules(), False), (TrackingRules.published(), True)):
        tracks = Tracks(24, people=1, rules=rules)
        tracks.by_labels(0, several(0), pixels, labelled)
        assert bool(tracks.finished(1).isfinite().any()) is given


def test_by_labels__another_number_of_people_is_an_error():
    with pytest.raises(ShapeError, match="the 2 people of the tracks, got 1"):
        Tracks(24, people=2).by_labels(0, several(0), torch.zeros(1, 24, 2), torch.zeros(1, 8, 3))


@pytest.fixture
def long_track():
    tracks = Tracks(24, rules=TrackingRules(live_frames=2, live_within=4))
    for frame in range(3):
        tracks.by_motion(frame, several(-0.5), SURE)
    return tracks


def test_boxes__a_live_track_asks_for_its_joints_box_a_fifth_larger(long_track):
    points = 1000 * at(-0.5)[:, :2] / at(-0.5)[:, 2:] + 500
    low, high = points.amin(0), points.amax(0)
    expected = torch.cat((low - 0.1 * (high - low), 1.2 * (high - low), torch.zeros(1)))
    torch.testing.assert_close(long_track.boxes(5, NOBODY, CAMERA), expected[None])


def test_boxes__none_is_asked_for_where_one_is_looked_at_or_nobody_was_for_long(long_track):
    asked = long_track.boxes(5, NOBODY, CAMERA)
    detected = torch.cat((asked[:, :4], torch.full((1, 1), 0.7)), dim=1)
    torch.testing.assert_close(long_track.boxes(5, detected, CAMERA), detected)
    elsewhere = detected + torch.tensor([900.0, 0, 0, 0, 0])
    assert len(long_track.boxes(5, elsewhere, CAMERA)) == 2
    assert not len(long_track.boxes(6, NOBODY, CAMERA))


def test_boxes__a_short_track_asks_for_none():
    tracks = Tracks(24)
    tracks.by_motion(0, several(0), SURE)
    assert not len(tracks.boxes(1, NOBODY, CAMERA))
