import dataclasses

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.detect.noise import NoiseModel, with_noise
from marey.detect.views import apply_rejection, reject_views

MODEL = NoiseModel(spread=(0.03,) * 4, score_power=0.0)


def recording(views=4, frames=40, people=1, sigma=3.0):
    cameras = ring(views)
    joints, table = walker(frames, people)
    return with_noise(seen_by(joints, cameras, table, sigma=sigma), MODEL), cameras


def shifted(keypoints, view, start, stop, by, person=slice(None)):
    positions = keypoints.positions.clone()
    positions[view, start:stop, person] += torch.tensor(by, dtype=positions.dtype)
    return dataclasses.replace(keypoints, positions=positions)


@pytest.mark.parametrize("views", [1, 2, 3, 5])
def test_reject_views__clean_recording_is_left_alone(views):
    keypoints, cameras = recording(views)
    left, report = reject_views(keypoints, cameras)
    assert not report.rejected.any()
    assert report.notes == ()
    assert left is keypoints


@pytest.mark.parametrize("views", [3, 4, 8])
def test_reject_views__bad_span_is_found_to_the_frame_or_two(views):
    keypoints, cameras = recording(views)
    left, report = reject_views(shifted(keypoints, 1, 10, 25, (60.0, 90.0)), cameras)
    assert report.rejected[1, 12:23].all()
    assert not report.rejected[1, :9].any()
    assert not report.rejected[1, 26:].any()
    assert not report.rejected[[0, *range(2, views)]].any()
    assert left.positions[1, 15].isnan().all()
    assert left.covariance[1, 15].isnan().all()
    assert (left.score[1, 15] == 0).all()
    assert torch.equal(left.positions[0], keypoints.positions[0])


def test_reject_views__two_bad_ones_of_four_in_different_ways():
    keypoints, cameras = recording()
    bad = shifted(shifted(keypoints, 2, 0, 40, (150.0, 40.0)), 0, 0, 40, (-80.0, 90.0))
    assert reject_views(bad, cameras)[1].rejected.all(1)[:, 0].tolist() == [True, False, True, False]


def test_reject_views__only_the_person_concerned():
    keypoints, cameras = recording(people=2)
    rejected = reject_views(shifted(keypoints, 3, 0, 40, (30.0, 120.0), person=1), cameras)[1].rejected
    assert rejected[3, :, 1].all()
    assert rejected.sum() == 40


def test_reject_views__two_views_never_tell_which_is_wrong():
    keypoints, cameras = recording(2)
    assert not reject_views(shifted(keypoints, 1, 0, 40, (0.0, 200.0)), cameras)[1].rejected.any()


def test_reject_views__wrong_limbs_and_single_frames_do_not_cost_a_view():
    keypoints, cameras = recording()
    limbs = [keypoints.skeleton.index(f"left_{part}") for part in ("elbow", "wrist", "knee", "ankle")]
    positions = keypoints.positions.clone()
    positions[1, :, :, limbs] += 150
    positions[2, 20] += 150
    assert not reject_views(dataclasses.replace(keypoints, positions=positions), cameras)[1].rejected.any()


def test_reject_views__order_of_the_views_does_not_matter():
    keypoints, cameras = recording(5)
    bad = shifted(keypoints, 4, 5, 30, (-100.0, 60.0))
    order = [4, 2, 0, 1, 3]
    assert torch.equal(
        reject_views(bad[order], cameras[order])[1].rejected, reject_views(bad, cameras)[1].rejected[order]
    )


def test_reject_views__notes_say_where_and_how_far():
    keypoints, cameras = recording()
    cameras = dataclasses.replace(cameras, names=("north", "east", "south", "west"))
    bad = shifted(shifted(keypoints, 1, 0, 10, (0.0, 150.0)), 1, 30, 40, (0.0, 150.0))
    (note,) = reject_views(bad, cameras)[1].notes
    assert note.startswith(
        "east, person 0: left out in 20 of 40 frames (0-9, 30-39): half of its keypoints lie more than 1"
    )


def test_reject_views__no_frames():
    keypoints, cameras = recording(frames=2)
    assert reject_views(keypoints[:, :0], cameras)[1].rejected.shape == (4, 0, 1)


def test_apply_rejection__leaves_the_rest():
    keypoints, _ = recording(frames=2)
    rejected = torch.zeros(4, 2, 1, dtype=torch.bool)
    rejected[1, 0] = True
    left = apply_rejection(keypoints, rejected)
    assert left.positions.isnan().sum() == 34
    assert (left.score == 0).sum() == 17


def test_reject_views__somebody_who_is_there_for_less_than_half_of_the_time():
    keypoints, cameras = recording(frames=100)
    absent = torch.arange(100) >= 40
    gone = dataclasses.replace(
        keypoints,
        positions=keypoints.positions.masked_fill(absent[None, :, None, None, None], torch.nan),
        score=keypoints.score.masked_fill(absent[None, :, None, None], 0.0),
    )
    rejected = reject_views(shifted(gone, 1, 10, 30, (60.0, 90.0)), cameras)[1].rejected
    assert rejected[1, 12:28].all()
    assert not rejected[:, 40:].any()
