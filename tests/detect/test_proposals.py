import torch

from marey.core import Detections2D
from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.detect.proposals import propose
from marey.detect.scene import make_scene, sightings

CLEAN = DetectorFaults(outlier_fraction=0.0, swap_fraction=0.0, dropout_fraction=0.0, lost_fraction=0.0)


def first_frame(people=3, mirrored=(), **settings):
    capture = make_keypoint_capture(
        KeypointCaptureConfig(frames=1, people=people, seed=101, faults=CLEAN, shuffle=False, **settings)
    )
    keypoints = capture.detections.keypoints
    for view, slot in mirrored:
        keypoints.positions[view, 0, slot] = keypoints.positions[view, 0, slot][list(keypoints.skeleton.mirror)]
    detections = Detections2D(keypoints=keypoints)
    scene = make_scene(detections, capture.cameras, slack=0.03, outlier=0.05, swap_penalty=2.3)
    sighting = next(sightings(detections, capture.cameras, scene.mirror, least_joints=4))
    return scene, sighting, capture.truth.positions[0].double()


def found_in(scene, sighting, free=None, known=None):
    return propose(scene, sighting, sighting.present if free is None else free, known, 0.2)


def test_propose__everybody_with_all_their_detections():
    scene, sighting, truth = first_frame()
    found = found_in(scene, sighting)
    assert sorted(proposal.slots.tolist() for proposal in found) == [[person] * 4 for person in range(3)]
    for proposal in found:
        error = (proposal.position - truth[proposal.slots[0]]).norm(dim=-1)
        assert error.median() < 0.05


def test_propose__a_mirrored_detection_belongs():
    scene, sighting, _ = first_frame(people=2, mirrored=[(1, 0)])
    assert sorted(proposal.slots.tolist() for proposal in found_in(scene, sighting)) == [[0] * 4, [1] * 4]


def test_propose__one_view_is_not_enough():
    scene, sighting, _ = first_frame(people=2)
    free = torch.zeros_like(sighting.present)
    free[0] = True
    free[1, 0] = True
    found = found_in(scene, sighting, free)
    assert [proposal.slots.tolist() for proposal in found] == [[0, 0, -1, -1]]


def test_propose__nobody_where_somebody_is():
    scene, sighting, truth = first_frame(people=2)
    found = found_in(scene, sighting, known=truth[:1])
    assert [proposal.slots.tolist() for proposal in found] == [[1] * 4]


def test_propose__nothing_free():
    scene, sighting, _ = first_frame(people=1)
    assert found_in(scene, sighting, torch.zeros_like(sighting.present)) == []


def test_propose__a_giant_is_no_body():
    """Two cameras that see the whole scene ten times larger see no person."""
    scene, sighting, _ = first_frame(people=1, views=2)
    sighting.points[:] *= 10
    assert found_in(scene, sighting) == []
