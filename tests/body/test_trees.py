import pytest
import torch

from marey.body.trees import body_tree
from marey.core import InputError, Skeleton, skeleton
from marey.core.skeletons import skeleton_names


@pytest.mark.parametrize("name", skeleton_names())
def test_tree__has_every_joint_of_the_skeleton_once(name):
    body, known = body_tree(skeleton(name)), skeleton(name)
    used = [known.joints[place] for place in body.measured if place >= 0]
    assert sorted(used) == sorted(known.joints)
    assert body.unused == ()
    assert body.tree.joints[0] == "pelvis"
    assert [body.tree.joints[place] for place, source in enumerate(body.measured) if source >= 0] == used


@pytest.mark.parametrize("name", skeleton_names())
def test_tree__ends_in_joints_that_are_measured(name):
    body = body_tree(skeleton(name))
    ends = [place for place, children in enumerate(body.tree.children) if not children]
    assert all(body.measured[place] >= 0 for place in ends)


@pytest.mark.parametrize("name", skeleton_names())
def test_rest_pose__is_the_same_on_both_sides(name):
    body = body_tree(skeleton(name))
    flipped = body.rest[list(body.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(flipped, body.rest)


def test_rest_pose__is_arms_out_looking_along_z_with_the_left_side_at_positive_x():
    body = body_tree(skeleton("body_25b"))
    rest = dict(zip(body.tree.joints, body.rest.tolist(), strict=True))
    assert rest["left_wrist"][0] > rest["left_elbow"][0] > rest["left_shoulder"][0] > 0
    assert rest["left_wrist"][1] == rest["left_shoulder"][1]
    assert rest["nose"][2] > 0
    assert rest["right_big_toe"][2] > 0
    assert rest["right_knee"][1] < rest["right_hip"][1] < rest["neck"][1] < rest["head_top"][1]


def test_parents__are_those_of_the_body():
    tree = body_tree(skeleton("smpl_24")).tree
    above = {joint: tree.joints[parent] for joint, parent in zip(tree.joints[1:], tree.parents[1:], strict=True)}
    assert above["left_elbow"] == "left_shoulder"
    assert above["left_shoulder"] == "left_collar"
    assert above["left_collar"] == above["neck"] == "spine3"
    assert above["spine1"] == above["right_hip"] == "pelvis"


def test_tree__leaves_out_joints_it_does_not_know():
    names = Skeleton("odd", ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "sword"), ())
    body = body_tree(names)
    assert body.unused == ("sword",)
    assert body.tree.joints == (
        "pelvis",
        "lumbar",
        "left_collar",
        "left_shoulder",
        "left_hip",
        "right_collar",
        "right_shoulder",
        "right_hip",
    )


def test_tree__without_hips_names_them():
    names = Skeleton("bust", ("left_shoulder", "right_shoulder", "nose"), ())
    with pytest.raises(InputError, match="no left_hip, right_hip"):
        body_tree(names)
