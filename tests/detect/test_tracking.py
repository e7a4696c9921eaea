import dataclasses

import pytest
import torch

from detect.rig import ring, walker
from marey.core import Detections2D, Keypoints2D, ShapeError
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.detect.settings import AssociationConfig
from marey.detect.tracking import chain_in_image, rejoin_in_image, track
from marey.geometry.projection import project

CONFIG = AssociationConfig(fps=30.0)


def strollers(places, frames=60, seed=0):
    """Figures (T, P) that walk on straight lines from place to place, seen by two cameras; slots shuffled."""
    joints, table = walker(frames, len(places))
    start, end = (torch.tensor([place[k] for place in places], dtype=torch.float64) for k in (0, 1))
    along = torch.linspace(0, 1, frames, dtype=torch.float64)[:, None, None]
    path = torch.cat((start + along * (end - start), torch.zeros(frames, len(places), 1)), -1)
    joints = joints - joints.mean((0, 1, 2)) * torch.tensor([1, 1, 0]) + path[:, :, None]
    cameras = ring(2)
    generator = torch.Generator().manual_seed(seed)
    positions = project(joints.expand(2, *joints.shape), cameras)
    positions += 2 * torch.randn(positions.shape, generator=generator, dtype=torch.float64)
    order = torch.rand(positions.shape[:3], generator=generator).argsort(-1)
    positions = positions.gather(2, order[..., None, None].expand_as(positions))
    keypoints = Keypoints2D(
        positions=positions,
        covariance=4 * torch.eye(2, dtype=torch.float64).expand(*positions.shape, 2),
        score=torch.ones(positions.shape[:-1], dtype=torch.float64),
        skeleton=table,
    )
    return Detections2D(keypoints=keypoints), order


def names_of(found, order, person):
    """The numbers (V, T) that a person was given."""
    return found.track[order == person].reshape(found.batch_shape[:2])


def test_track__people_apart_keep_their_numbers():
    detections, order = strollers([((-0.8, -0.8), (0.8, -0.6)), ((0.8, 0.8), (-0.5, 0.9))])
    found = track(detections, config=CONFIG)
    for person in range(2):
        names = names_of(found, order, person)
        assert (names == names[:, :1]).all()
    assert found.track.min() == 0
    assert found.track.max() == 1


def test_track__mirrored_detections_keep_their_number():
    detections, _ = strollers([((-0.8, 0.0), (0.8, 0.0))])
    mirror = list(detections.keypoints.skeleton.mirror)
    detections.keypoints.positions[:, 20:30] = detections.keypoints.positions[:, 20:30][..., mirror, :]
    assert (track(detections, config=CONFIG).track == 0).all()


def test_track__gap_short_and_long():
    detections, _ = strollers([((-0.5, 0.0), (0.5, 0.0))], frames=120)
    detections.keypoints.positions[:, 20:30] = torch.nan
    detections.keypoints.positions[:, 60:100] = torch.nan
    found = track(detections, config=CONFIG).track[..., 0]
    assert (found[:, :20] == 0).all()
    assert (found[:, 20:30] == -1).all()
    assert (found[:, 30:60] == 0).all()
    assert (found[:, 100:] == 1).all()


def test_track__views_are_independent():
    detections, _ = strollers([((-0.8, -0.8), (0.8, -0.6)), ((0.8, 0.8), (-0.5, 0.9))])
    both = track(detections, config=CONFIG).track
    alone = [track(detections[view : view + 1], config=CONFIG).track[0] for view in range(2)]
    assert torch.equal(both, torch.stack(alone))


def test_track__crossing_people_mostly_keep_their_numbers():
    """In one image identity may be lost where one person hides another; it must be rare."""
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=600, people=2, seed=101))
    found = track(capture.detections, config=AssociationConfig(fps=capture.fps))
    switches = 0
    for view in range(4):
        for person in range(2):
            names = found.track[view][capture.identity[view] == person]
            switches += int((names[1:] != names[:-1]).sum())
    assert switches <= 4


def test_track__other_fields_stay():
    detections, _ = strollers([((-0.8, 0.0), (0.8, 0.0))], frames=3)
    found = track(detections, config=CONFIG)
    assert found.keypoints is detections.keypoints
    assert found.track.dtype == torch.long


@pytest.mark.parametrize("shape", [(2, 0, 1), (2, 3, 0)])
def test_track__nothing(shape):
    detections, _ = strollers([((-0.8, 0.0), (0.8, 0.0))], frames=3)
    assert track(detections[:, : shape[1], : shape[2]], config=CONFIG).track.shape == shape


def test_track__empty_slots_and_few_joints():
    detections, _ = strollers([((-0.2, 0.0), (0.2, 0.0))])
    detections.keypoints.positions[:, :, :, 3:] = torch.nan
    assert (track(detections, config=CONFIG).track == -1).all()
    assert (track(detections, config=dataclasses.replace(CONFIG, least_joints=3)).track == 0).all()


def test_track__joints_hidden_at_first_are_learned_when_they_appear():
    """Born without legs, later seen by the legs alone."""
    detections, _ = strollers([((-0.5, 0.0), (0.5, 0.0))])
    table = detections.keypoints.skeleton
    legs = [index for index, joint in enumerate(table.joints) if joint.endswith(("hip", "knee", "ankle"))]
    rest = [index for index in range(len(table)) if index not in legs]
    detections.keypoints.positions[:, :10, :, legs] = torch.nan
    detections.keypoints.positions[:, 30:, :, rest] = torch.nan
    assert (track(detections, config=CONFIG).track == 0).all()


def test_track__nothing_in_common_is_no_evidence():
    """A detection of joints that the person never showed is somebody else, though no joint disagrees."""
    detections, _ = strollers([((-0.2, 0.0), (0.2, 0.0))], frames=20)
    table = detections.keypoints.skeleton
    legs = [index for index, joint in enumerate(table.joints) if joint.endswith(("hip", "knee", "ankle"))]
    rest = [index for index in range(len(table)) if index not in legs]
    detections.keypoints.positions[:, :10, :, legs] = torch.nan
    detections.keypoints.positions[:, 10:, :, rest] = torch.nan
    found = track(detections, config=CONFIG).track
    assert (found[:, :10] == 0).all()
    assert (found[:, 10:] == 1).all()


def test_track__wrong_shape():
    detections, _ = strollers([((-0.8, 0.0), (0.8, 0.0))], frames=5)
    with pytest.raises(ShapeError, match="V, T, P"):
        track(detections[0])


def test_chain_in_image__two_people_leave_and_return():
    """Tracks 0 and 1 end together; 2 and 3 begin where they were. Track 4 would be a third person."""
    identities = torch.full((30, 3), -1)
    positions = torch.full((30, 3, 4, 2), torch.nan)
    for name, (first, last, slot, place) in enumerate(
        [(0, 12, 0, 100.0), (0, 11, 1, 500.0), (20, 30, 0, 480.0), (20, 29, 1, 120.0), (2, 8, 2, 300.0)]
    ):
        identities[first:last, slot] = name
        positions[first:last, slot] = place + torch.tensor([[-20.0, -40], [20, -40], [-20, 40], [20, 40]])
    assert chain_in_image(identities, positions, [0, 1, 2, 3, 4], 2) == [[0, 3], [1, 2]]
    assert chain_in_image(identities, positions, [0, 1, 2, 3, 4], 1) == [[0, 3]]  # 2 is too far to be walked to
    assert chain_in_image(identities, positions, [0, 1, 2, 3, 4], 3) == [[0, 3], [1, 2], [4]]
    assert chain_in_image(identities, positions, [], 2) == []


@pytest.mark.parametrize(
    ("gap", "shift", "scale", "people"),
    [(60, 0.0, 1.0, 1), (160, 0.0, 1.0, 2), (30, 2.5, 1.0, 1), (30, 6.0, 1.0, 2), (30, 0.0, 1.6, 2)],
    ids=["two seconds", "longer than the memory", "walked on", "too far", "another size"],
)
def test_rejoin_in_image__somebody_lost_and_found(gap, shift, scale, people):
    joints, _ = walker(1)
    figure = 100 * joints[0, 0][:, [1, 2]]  # pixels, 100 in a metre
    center = figure.mean(0)
    frames = 40 + gap
    positions = figure.expand(frames, 1, 17, 2).clone()
    positions[-20:] = center + scale * (figure - center) + torch.tensor([100 * shift, 0.0])
    identities = torch.full((frames, 1), -1)
    identities[:20], identities[-20:] = 3, 7
    found = rejoin_in_image(identities, positions, [7, 3], CONFIG)
    assert found == ([[3, 7]] if people == 1 else [[3], [7]])


def test_rejoin_in_image__who_are_there_together_are_two_and_the_nearest_goes_on():
    joints, _ = walker(1)
    figure = 100 * joints[0, 0][:, [1, 2]]
    positions = torch.stack((figure, figure + torch.tensor([80.0, 0.0])))[None].repeat(60, 1, 1, 1)
    identities = torch.tensor([0, 1]).repeat(60, 1)
    identities[20:40] = -1
    identities[40:] = torch.tensor([2, 3])
    assert rejoin_in_image(identities, positions, [0, 1, 2, 3], CONFIG) == [[0, 2], [1, 3]]
