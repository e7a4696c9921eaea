"""Joints of every skeleton without surfaces: the same as regressed from skinned vertices."""

import torch

from marey.body.open_body import open_body
from marey.body.phenotypes import PEOPLE_NUMBERS, shapes_of_people
from marey.body.pose_prior import PriorPoses
from marey.body.pose_sampling import sample_poses
from marey.core import skeleton
from marey.core.results import BodyState
from marey.methods.lifting.body_points import BodyPoints
from marey.methods.lifting.samples import SKELETONS
from marey.nn.lifter import JOINTS, slots_of

POINTS = BodyPoints.of(tuple(SKELETONS))


def test_points__equal_the_regressors_on_skinned_vertices():
    model = open_body("small")
    pose = sample_poses(PriorPoses(tries=1), 6, seed=4).float()
    numbers = torch.rand(5, PEOPLE_NUMBERS, generator=torch.Generator().manual_seed(2))
    shape = shapes_of_people(numbers)
    rotations = torch.cat((pose[:5, 3:4], pose[1:]), 1)  # any rotation for the root
    body = BodyState(orientation=rotations[:, 0], pose=rotations[:, 1:], shape=shape, translation=torch.zeros(5, 3))
    vertices = model(body).vertices
    points = POINTS(rotations, shape)
    for own, name in zip(POINTS.own, POINTS.skeletons, strict=True):
        slots = list(slots_of(skeleton(name)))
        torch.testing.assert_close(points[:, own[slots]], model.regress(vertices, name), rtol=0, atol=2e-6, msg=name)


def test_tables__a_skeleton_has_its_joints_and_no_others():
    for own, name in zip(POINTS.own, POINTS.skeletons, strict=True):
        assert {JOINTS[place] for place in (own >= 0).nonzero()[:, 0]} == set(skeleton(name).joints)


def test_tables__every_joint_means_something():
    assert (POINTS.meant >= 0).all()
    own = POINTS.own >= 0
    assert torch.equal(POINTS.meant[own], POINTS.own[own])


def test_tables__skeletons_mean_other_points_by_a_name():
    row = {name: place for place, name in enumerate(POINTS.skeletons)}
    neck, wrist = JOINTS.index("neck"), JOINTS.index("left_wrist")
    assert POINTS.own[row["body_25"], neck] != POINTS.own[row["h36m_17"], neck]
    assert POINTS.own[row["coco_17"], wrist] == POINTS.own[row["mediapipe_33"], wrist]
    assert POINTS.own[row["coco_17"], wrist] != POINTS.own[row["h36m_17"], wrist]
