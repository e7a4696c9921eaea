import math
import warnings

import pytest
import torch

from marey.body.ground import clearances
from marey.body.joint_limits import joint_limits
from marey.body.kinematics import inverse_kinematics
from marey.body.pose_sampling import LimitPoses, sample_poses
from marey.body.recorded_motions import read_motion
from marey.body.retarget import retarget
from marey.body.smpl_tree import POSED_JOINTS, SMPL_TREE, average_joints, joints_of
from marey.core import InputError, Joints3D, JointTree, Motion, ShapeError, Skeleton
from marey.geometry.rotations import euler_to_matrix, geodesic_angle, rotvec_to_matrix

REST = average_joints()
PARENTS = [max(parent, 0) for parent in SMPL_TREE.parents]


def smpl_motion(frames=6, seed=0):
    """Random poses on SMPL's tree, anywhere."""
    generator = torch.Generator().manual_seed(seed)
    root = rotvec_to_matrix(torch.randn(frames, 1, 3, generator=generator, dtype=torch.float64))
    pose = sample_poses(LimitPoses(fraction=0.7, tries=1), frames, seed=seed)
    return Motion(
        tree=SMPL_TREE,
        offsets=REST - REST[PARENTS],
        rotations=torch.cat((root, pose), 1),
        translation=torch.randn(frames, 3, generator=generator, dtype=torch.float64),
        fps=30.0,
    )


def in_another_rest_pose(motion, turns, *, names=None, axes=None, scale=1.0):
    """The same motion as a file with another rest pose has it.

    `turns`: of joints by name, the rotation of the rest pose's bones from the T-pose, in the world; children follow
    their parents.
    """
    turned = []
    for place, joint in enumerate(SMPL_TREE.joints):
        above = torch.eye(3, dtype=torch.float64) if place == 0 else turned[SMPL_TREE.parents[place]]
        turned.append(turns.get(joint, above))
    turned = torch.stack(turned)
    axes = torch.eye(3, dtype=torch.float64) if axes is None else axes
    offsets = (turned[PARENTS] @ motion.offsets[..., None])[..., 0] @ axes.T * scale
    # world orientations are kept: R = R_t turned^-1, so local = turned_parent local_t turned^-1
    rotations = turned[PARENTS] @ motion.rotations @ turned.mT
    rotations[:, 0] = motion.rotations[:, 0] @ turned[0].mT
    joints = SMPL_TREE.joints if names is None else names
    return Motion(
        tree=JointTree("file", joints, SMPL_TREE.parents),
        offsets=offsets,
        rotations=axes @ rotations @ axes.T,
        translation=motion.translation @ axes.T * scale,
        fps=30.0,
    )


def about(axis, degrees):
    angles = [0.0, 0.0, 0.0]
    angles["xyz".index(axis)] = math.radians(degrees)
    return euler_to_matrix(torch.tensor(angles, dtype=torch.float64), "XYZ")


HANGING = {"left_shoulder": about("z", -90), "right_shoulder": about("z", 90)}
SPREAD = {
    "left_hip": about("z", 20),
    "right_hip": about("z", -20),
    "left_ankle": about("z", 0),
    "right_ankle": about("z", 0),
}
A_POSE = {"left_shoulder": about("z", -45), "right_shoulder": about("z", 45)}
Z_UP = about("x", 90)
FACING_X = about("y", 90)
OTHER_NAMES = tuple(
    name.replace("left_", "Left")
    .replace("right_", "Right")
    .replace("hip", "UpLeg")
    .replace("knee", "Leg")
    .replace("ankle", "Foot")
    .replace("Leftfoot", "LeftToeBase")
    .replace("Rightfoot", "RightToeBase")
    .replace("collar", "Clavicle")
    .replace("shoulder", "Arm")
    .replace("elbow", "ForeArm")
    .replace("wrist", "Hand")
    .replace("Lefthand", "LeftFingers")
    .replace("Righthand", "RightFingers")
    for name in SMPL_TREE.joints
)


def test_retarget__smpl_is_taken_as_it_is():
    motion = smpl_motion()
    body = retarget(motion, ground=False)
    torch.testing.assert_close(body.pose, motion.rotations[:, 1:], atol=1e-9, rtol=0)
    torch.testing.assert_close(body.orientation, motion.rotations[:, 0], atol=1e-9, rtol=0)
    torch.testing.assert_close(body.translation, motion.translation, atol=1e-9, rtol=0)
    assert body.shape.shape == (6, 0)


@pytest.mark.parametrize(
    ("turns", "axes", "names", "scale"),
    [
        (HANGING, None, None, 1.0),
        (A_POSE | SPREAD, None, None, 1.0),
        (HANGING | SPREAD, Z_UP, OTHER_NAMES, 1.0),
        (A_POSE, FACING_X, OTHER_NAMES, 1.3),
        ({}, Z_UP @ FACING_X, None, 0.6),
    ],
)
def test_retarget__other_rest_poses_axes_names_and_sizes(turns, axes, names, scale):
    motion = smpl_motion()
    body = retarget(in_another_rest_pose(motion, turns, names=names, axes=axes, scale=scale), ground=False)
    torch.testing.assert_close(body.pose, motion.rotations[:, 1:], atol=1e-7, rtol=0)
    torch.testing.assert_close(body.orientation, motion.rotations[:, 0], atol=1e-7, rtol=0)
    torch.testing.assert_close(body.translation, motion.translation, atol=1e-7, rtol=0)


def test_retarget__onto_other_people_keeps_rotations_and_scales_the_way():
    motion = smpl_motion()
    person = 1.2 * REST + torch.tensor([0.0, -0.3, 0.05], dtype=torch.float64)
    body = retarget(motion, joints=person, ground=False)
    torch.testing.assert_close(body.pose, motion.rotations[:, 1:], atol=1e-9, rtol=0)
    torch.testing.assert_close(body.translation + person[0], 1.2 * motion.translation, atol=1e-9, rtol=0)


def test_retarget__stands_on_the_ground():
    motion = smpl_motion()
    body = retarget(motion)
    places = joints_of(torch.cat((body.orientation[:, None], body.pose), 1), REST) + body.translation[:, None]
    assert clearances(places).amin().item() == pytest.approx(0, abs=1e-9)
    shift = body.translation - motion.translation
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-9, rtol=0)


def one_spine(motion):
    """Only the last joint of the spine and of the neck, with the whole rotation."""
    spine = [SMPL_TREE.joints.index(name) for name in ("spine1", "spine2", "spine3")]
    neck = [SMPL_TREE.joints.index(name) for name in ("neck", "head")]
    rotations = motion.rotations.clone()
    rotations[:, spine[2]] = rotations[:, spine[0]] @ rotations[:, spine[1]] @ rotations[:, spine[2]]
    rotations[:, neck[1]] = rotations[:, neck[0]] @ rotations[:, neck[1]]
    kept = [place for place in range(24) if place not in (spine[0], spine[1], neck[0])]
    above = {spine[2]: 0, neck[1]: spine[2]}
    parents = [-1] + [kept.index(above.get(place, SMPL_TREE.parents[place])) for place in kept[1:]]
    offsets = torch.stack([REST[place] - REST[kept[max(up, 0)]] for place, up in zip(kept, parents, strict=True)])
    return Motion(
        tree=JointTree("short", tuple(SMPL_TREE.joints[place] for place in kept), tuple(parents)),
        offsets=offsets,
        rotations=rotations[:, kept],
        translation=motion.translation,
        fps=30.0,
    )


def test_retarget__a_spine_of_one_joint_is_spread_over_three():
    motion = smpl_motion()
    body = retarget(one_spine(motion), ground=False)
    spine = body.pose[:, [POSED_JOINTS.index(name) for name in ("spine1", "spine2", "spine3")]]
    torch.testing.assert_close(spine[:, 0], spine[:, 1], atol=1e-9, rtol=0)
    torch.testing.assert_close(spine[:, 0], spine[:, 2], atol=1e-9, rtol=0)
    whole = motion.rotations[:, [3, 6, 9]]
    torch.testing.assert_close(
        spine[:, 0] @ spine[:, 1] @ spine[:, 2], whole[:, 0] @ whole[:, 1] @ whole[:, 2], atol=1e-9, rtol=0
    )
    neck = body.pose[:, [POSED_JOINTS.index(name) for name in ("neck", "head")]]
    torch.testing.assert_close(neck[:, 0], neck[:, 1], atol=1e-9, rtol=0)
    limbs = [place for place, name in enumerate(POSED_JOINTS) if name.startswith(("left", "right"))]
    torch.testing.assert_close(body.pose[:, limbs], motion.rotations[:, 1:][:, limbs], atol=1e-9, rtol=0)


def test_retarget__unknown_frames_stay_unknown():
    motion = smpl_motion()
    rotations = motion.rotations.clone()
    rotations[2] = torch.nan
    gap = Motion(
        tree=motion.tree, offsets=motion.offsets, rotations=rotations, translation=motion.translation, fps=30.0
    )
    body, whole = retarget(gap, ground=False), retarget(motion, ground=False)
    for name in ("orientation", "pose", "translation"):
        found = getattr(body, name)
        assert found[2].isnan().all()
        kept = [0, 1, 3, 4, 5]
        torch.testing.assert_close(found[kept], getattr(whole, name)[kept], atol=1e-9, rtol=0)


def test_retarget__refusals():
    motion = smpl_motion()
    flat = Motion(
        tree=motion.tree,
        offsets=motion.offsets * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64),
        rotations=motion.rotations,
        translation=motion.translation,
        fps=30.0,
    )
    with pytest.raises(InputError, match=r"its rest pose .* does not stand"):
        retarget(flat)
    with pytest.raises(ShapeError, match=r"joints: expected \(24, 3\)"):
        retarget(motion, joints=torch.zeros(22, 3))


@pytest.mark.realdata
def test_real_recording__the_same_from_both_of_its_files(shared_data):
    folder = shared_data / "mocap_cmu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        asf, bvh = retarget(read_motion(folder / "01_01.amc")), retarget(read_motion(folder / "01_01.bvh"))
    apart = geodesic_angle(asf.pose[::50], bvh.pose[1::50]).rad2deg()
    # the BVH has its T-pose as a first frame, four decimals, and a foot that is twisted in its rest pose
    assert apart.amax() < 2.0
    assert apart.mean() < 0.1


@pytest.mark.realdata
def test_real_clips__lie_within_the_limits(shared_data):
    limits, excess = joint_limits(), []
    paths = [*sorted((shared_data / "motion_clips").glob("*.txt")), *sorted((shared_data / "mocap_cmu").glob("*.amc"))]
    assert len(paths) == 22
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            excess.append(limits.excess(retarget(read_motion(path)).pose).amax((-1, -2)).rad2deg())
    frames = torch.cat(excess)
    assert (frames <= 1e-6).double().mean() > 0.88
    assert (frames <= 10).double().mean() > 0.98
    assert (frames <= 20).double().mean() > 0.995


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["walk", "jog", "stealthy_walk"])
def test_real_clips__feet_that_stand_slide_no_more_than_in_the_file(shared_data, name):
    motion = read_motion(shared_data / "motion_clips" / f"humanoid3d_{name}.txt")
    body = retarget(motion)
    ours = joints_of(torch.cat((body.orientation[:, None], body.pose), 1), REST) + body.translation[:, None]
    for side in ("left", "right"):
        speeds = []
        for tree, places in ((SMPL_TREE, ours), (motion.tree, motion.positions())):
            ankle = places[:, tree.joints.index(f"{side}_ankle")]
            standing = ankle[:-1, 1] < ankle[:, 1].min() + 0.02
            speeds.append((ankle.diff(dim=0)[:, [0, 2]].norm(dim=-1) * motion.fps)[standing].mean())
        assert speeds[0] < speeds[1] + 0.06


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["dance_b", "walk"])
def test_real_clips__the_same_as_from_where_their_joints_stand(shared_data, name):
    """Inverse kinematics knows nothing of the file's rest pose and rotations, and finds the same limbs."""
    motion = read_motion(shared_data / "motion_clips" / f"humanoid3d_{name}.txt")
    parts = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    limbs = tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))
    places = motion.positions()[:, [motion.tree.joints.index(joint) for joint in limbs]][:, None]
    known = torch.ones(places.shape[:-1], dtype=torch.float64)
    joints = Joints3D(
        positions=places,
        covariance=(0.005**2 * torch.eye(3, dtype=torch.float64)).expand(*known.shape, 3, 3),
        score=known,
        filled=known < 1,
        skeleton=Skeleton("limbs", limbs, ()),
    )
    ours, theirs = retarget(motion), retarget(inverse_kinematics(joints, fps=motion.fps)[0])
    apart = dict(zip(POSED_JOINTS, geodesic_angle(ours.pose, theirs.pose).rad2deg().mean(0).tolist(), strict=True))
    for side in ("left", "right"):
        assert apart[f"{side}_knee"] < 2
        assert apart[f"{side}_elbow"] < 2
        assert apart[f"{side}_hip"] < 6
        assert apart[f"{side}_shoulder"] < 9  # of a straight arm points do not tell the twist
    assert geodesic_angle(ours.orientation, theirs.orientation).rad2deg().mean() < 4
