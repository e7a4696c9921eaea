"""MeTRAbs's program for films (2020-11): how poses are compared, handed out, filled in, and the camera it assumes."""

import numpy as np
import pytest
import torch

from marey.methods.metrabs.tracks import TrackingRules, Tracks
from marey.methods.metrabs.video import VideoOptions, completed_poses, default_camera
from marey.metrics.protocols.association import JOINTS, pose_agreement

pytestmark = pytest.mark.realdata

EXACT = {"rtol": 0, "atol": 1e-9}
SHORT = {"shoulder": "sho", "elbow": "elb", "hip": "hip", "knee": "kne"}


@pytest.fixture(scope="module")
def stored(shared_parity):
    with np.load(shared_parity / "metrabs" / "26_video_inference_functions.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("key", "reach", "closest"), [("auc_300_5", 0.3, 5), ("auc_500_20", 0.5, 20)])
def test_pose_agreement__equals_the_original_where_poses_are_known(stored, key, reach, closest):
    poses = torch.from_numpy(stored["poses"]) / 1000
    found = pose_agreement(poses, poses, reach=reach, closest=closest).numpy()
    known = stored[key] >= 0  # -1 where a joint is NaN
    assert known.sum() == 49
    np.testing.assert_allclose(found[known], stored[key][known], **EXACT)
    assert not found[~known].any()


def labelled(stored):
    short = [f"{name[0]}{SHORT[name.partition('_')[2]]}" for name in JOINTS]
    places = [stored["names2d"].tolist().index(name) for name in short]
    return torch.from_numpy(stored["assoc_true2d"])[:, places]


@pytest.mark.parametrize("rules", [TrackingRules(), TrackingRules.published()])
def test_tracks__labelled_people_get_the_poses_that_the_original_gives_them(stored, rules):
    tracks = Tracks(24, people=2, rules=rules)
    pixels = torch.from_numpy(stored["assoc_pred2d"])
    # the file has the poses that were given, not the five that were there: each pose carries its number
    numbers = torch.arange(5.0)[:, None, None].expand(5, 24, 3)
    tracks.by_labels(0, numbers, pixels, labelled(stored))
    np.testing.assert_array_equal(tracks.pixels.numpy(), stored["assoc_prev"])
    given = tracks.finished(1)[:, 0, 0, 0].long().tolist()
    assert given == [1, 4]
    poses, camera = stored["assoc_result"], stored["main_camera_K_1080x1920"].astype(np.float64)
    projected = poses @ camera.T
    np.testing.assert_allclose(projected[..., :2] / projected[..., 2:], stored["assoc_pred2d"][given], atol=1e-3)


def test_completed_poses__equal_the_original(stored):
    expected = stored["complete_track"]
    track = torch.full((1, 5, 3, 3), torch.nan, dtype=torch.float64)
    track[0, 0], track[0, 2] = torch.from_numpy(expected[0]), torch.from_numpy(expected[2])
    found = completed_poses(track, VideoOptions(missing_start="nan"))
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_default_camera__equals_the_original(stored):
    expected = stored["main_camera_K_1080x1920"]
    np.testing.assert_allclose(default_camera((1920, 1080), published=True).intrinsics, expected, rtol=1e-7)
    shift = expected - default_camera((1920, 1080)).intrinsics.numpy()
    np.testing.assert_allclose(shift, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-4)
