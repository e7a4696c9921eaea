import torch

from marey.core import Detections2D
from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.detect.matching import agreement, evidence
from marey.detect.people import PeopleTracker
from marey.detect.scene import make_scene, sightings
from marey.detect.settings import AssociationConfig

CLEAN = DetectorFaults(outlier_fraction=0.0, swap_fraction=0.0, dropout_fraction=0.0, lost_fraction=0.0)


def prepare(frames=40, people=2, **settings):
    capture = make_keypoint_capture(
        KeypointCaptureConfig(frames=frames, people=people, seed=101, faults=CLEAN, shuffle=False, **settings)
    )
    scene = make_scene(capture.detections, capture.cameras, slack=0.03, outlier=0.05, swap_penalty=2.3)
    return capture, scene


def follow(capture, scene, detections: Detections2D | None = None):
    tracker = PeopleTracker(scene, AssociationConfig(fps=capture.fps))
    frames = sightings(detections or capture.detections, capture.cameras, scene.mirror, least_joints=4)
    identities = torch.stack([tracker.step(number, frame) for number, frame in enumerate(frames)], 1)
    return identities, tracker.finish()


def test_follow__history_of_each_track():
    capture, scene = prepare()
    identities, tracks = follow(capture, scene)
    assert (identities == identities[:1, :1]).all()
    assert [(track.first, track.last, track.seen, track.sightings) for track in tracks] == [(0, 39, 40, 160)] * 2
    links = scene.links
    for track in tracks:
        person = (identities[0, 0] == track.identity).nonzero().item()
        truth = capture.truth.positions[:, person].double()
        lengths = (truth[:, links[:, 0]] - truth[:, links[:, 1]]).norm(dim=-1).mean(0)
        assert (track.bones - lengths).abs().nanmedian() < 0.01
        error = (track.end - truth[-1]).norm(dim=-1)
        assert error.median() < 0.04


def test_follow__a_flash_is_never_confirmed():
    capture, scene = prepare(frames=12)
    keypoints = capture.detections.keypoints
    keypoints.positions[:, 2:, 1] = torch.nan
    _, tracks = follow(capture, scene)
    assert [track.first for track in tracks] == [0]
    assert len(tracks) == 1


def test_follow__who_is_gone_for_long_returns_as_somebody_new():
    capture, scene = prepare(frames=200, people=1)
    capture.detections.keypoints.positions[:, 60:120] = torch.nan
    identities, tracks = follow(capture, scene)
    assert [(track.first, track.last) for track in tracks] == [(0, 59), (120, 199)]
    assert (identities[:, 60:120] == -1).all()


def test_evidence__puts_the_sides_right():
    capture, scene = prepare(frames=1)
    keypoints = capture.detections.keypoints
    mirror = list(keypoints.skeleton.mirror)
    sighting = next(sightings(capture.detections, capture.cameras, scene.mirror, least_joints=4))
    keypoints.positions[2, 0, 1] = keypoints.positions[2, 0, 1][mirror]
    exchanged = next(sightings(capture.detections, capture.cameras, scene.mirror, least_joints=4))
    position = capture.truth.positions[0].double()
    covariance = 1e-4 * torch.eye(3, dtype=torch.float64).expand(2, 25, 3, 3)
    chosen = torch.tensor([[0, 1]] * 4)
    plain, turned = (
        evidence(scene, seen, chosen, *agreement(scene, position, covariance, seen)[1:])[0]
        for seen in (sighting, exchanged)
    )
    # eyes that are seen one before the other may stay exchanged; arms and legs are ten times as far apart
    torch.testing.assert_close(turned, plain, equal_nan=True, atol=0.01, rtol=0)
