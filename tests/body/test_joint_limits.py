import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.body.joint_limits import RANGES, joint_limits
from marey.body.smpl_tree import POSED_JOINTS, SMPL_TREE, average_joints, joints_of, mirrored_pose
from marey.core import InputError, ShapeError
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix

LIMITS = joint_limits()


def pose_with(**rotvecs):
    """(23, 3, 3): degrees about x, y, z for the joints named, the others at rest."""
    vectors = torch.zeros(23, 3, dtype=torch.float64)
    for joint, degrees in rotvecs.items():
        vectors[POSED_JOINTS.index(joint)] = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return rotvec_to_matrix(vectors)


def random_poses(*batch, seed=0, size=1.2):
    generator = torch.Generator().manual_seed(seed)
    return rotvec_to_matrix(size * torch.randn(*batch, 23, 3, generator=generator, dtype=torch.float64))


def random_coordinates(count, seed=0):
    """Within the limits, by rejection: (count, 23, 3)."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 23, 3, generator=generator, dtype=torch.float64)
    coordinates = LIMITS.low + share * (LIMITS.high - LIMITS.low)
    return torch.where((LIMITS.fullness(coordinates[..., 1:]) <= 1)[..., None], coordinates, LIMITS.standing)


def is_inside(joint, degrees, **options):
    return bool(LIMITS.inside(pose_with(**{joint: degrees}), **options)[POSED_JOINTS.index(joint)])


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_coordinates__come_back_as_the_rotations(batch):
    poses = random_poses(*batch)
    coordinates = LIMITS.coordinates(poses)
    assert coordinates.shape == (*batch, 23, 3)
    torch.testing.assert_close(LIMITS.pose(coordinates), poses, atol=1e-12, rtol=0)


def test_pose__comes_back_as_its_coordinates():
    coordinates = random_coordinates(50)
    torch.testing.assert_close(LIMITS.coordinates(LIMITS.pose(coordinates)), coordinates, atol=1e-9, rtol=0)


def test_coordinates__in_single_precision():
    poses = random_poses(20).float()
    coordinates = LIMITS.coordinates(poses)
    assert coordinates.dtype == torch.float32
    torch.testing.assert_close(LIMITS.pose(coordinates), poses, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("joint", "degrees"),
    [
        ("left_knee", (90, 0, 0)),
        ("right_knee", (140, 0, 0)),
        ("left_elbow", (0, -90, 0)),
        ("right_elbow", (0, 140, 0)),
        ("left_hip", (-110, 0, 0)),
        ("left_hip", (15, 0, 0)),
        ("left_hip", (0, 0, 40)),
        ("right_hip", (0, 0, -40)),
        ("left_shoulder", (0, 0, -85)),
        ("left_shoulder", (0, 0, 85)),
        ("right_shoulder", (0, 0, 85)),
        ("left_shoulder", (0, -120, 0)),
        ("spine1", (25, 0, 0)),
        ("head", (0, 40, 0)),
        ("left_ankle", (40, 0, 0)),
        ("left_foot", (-40, 0, 0)),
        ("left_wrist", (0, 0, -60)),
    ],
)
def test_inside__what_people_do(joint, degrees):
    assert is_inside(joint, degrees)


@pytest.mark.parametrize(
    ("joint", "degrees"),
    [
        ("left_knee", (-20, 0, 0)),
        ("right_knee", (-20, 0, 0)),
        ("left_knee", (175, 0, 0)),
        ("left_knee", (40, 0, 40)),
        ("left_elbow", (0, 30, 0)),
        ("right_elbow", (0, -30, 0)),
        ("left_elbow", (0, 0, 40)),
        ("left_hip", (60, 0, 0)),
        ("left_hip", (0, 0, -60)),
        ("left_hip", (0, 80, 0)),
        ("left_shoulder", (0, 90, 0)),
        ("left_shoulder", (0, -170, 0)),
        ("spine2", (50, 0, 0)),
        ("spine2", (-40, 0, 0)),
        ("head", (0, 70, 0)),
        ("left_ankle", (-60, 0, 0)),
        ("left_wrist", (0, 60, 0)),
    ],
)
def test_inside__what_no_joint_does(joint, degrees):
    assert not is_inside(joint, degrees)
    flipped = mirrored_pose(pose_with(**{joint: degrees}))
    assert not LIMITS.inside(flipped).all()


def test_knee_and_elbow__bend_backwards_and_forwards():
    identity = torch.eye(3, dtype=torch.float64)[None]
    bent = pose_with(left_knee=(90, 0, 0), left_elbow=(0, -90, 0), right_elbow=(0, 90, 0))
    places = joints_of(torch.cat((identity, bent)), average_joints())
    at = dict(zip(SMPL_TREE.joints, places, strict=True))
    assert at["left_ankle"][2] < at["left_knee"][2] - 0.3  # behind: people look along z
    assert at["left_wrist"][2] > at["left_elbow"][2] + 0.2
    assert at["right_wrist"][2] > at["right_elbow"][2] + 0.2


def test_inside__tolerance():
    assert not is_inside("left_knee", (-15, 0, 0))
    assert is_inside("left_knee", (-15, 0, 0), tolerance=math.radians(7.1))
    assert not is_inside("left_knee", (-15, 0, 0), tolerance=math.radians(6.9))


def test_excess__is_in_radians():
    excess = LIMITS.excess(pose_with(left_knee=(-15, 0, 0), spine2=(50, 0, 0)))
    high = math.radians(RANGES["spine2"].third[1])
    torch.testing.assert_close(
        excess[POSED_JOINTS.index("left_knee")],
        torch.tensor([math.radians(15 + RANGES["knee"].turn[0]), 0.0], dtype=torch.float64),
        atol=1e-9,
        rtol=0,
    )
    assert excess[POSED_JOINTS.index("spine2"), 1].item() == pytest.approx(math.radians(50) - high, abs=1e-9)
    assert (excess > 1e-9).sum() == 2


def test_limits__mirror_exactly():
    poses = random_poses(30)
    torch.testing.assert_close(LIMITS.penalty(mirrored_pose(poses)), LIMITS.penalty(poses), atol=1e-9, rtol=0)
    standing = LIMITS.pose(LIMITS.standing)
    torch.testing.assert_close(mirrored_pose(standing), standing, atol=1e-15, rtol=0)


def test_clamp__brings_inside_and_keeps_what_is_inside():
    poses = random_poses(200)
    clamped = LIMITS.clamp(poses)
    assert LIMITS.inside(clamped).all()
    assert not LIMITS.inside(poses).all()
    kept = LIMITS.inside(poses)
    assert torch.equal(clamped[kept], poses[kept])
    # what is moved is moved as far as it was beyond, about
    moved, excess = geodesic_angle(clamped, poses)[~kept], LIMITS.excess(poses)[~kept]
    assert (moved <= excess.sum(-1) + 1e-9).all()
    assert (moved > 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_limits__are_convex_in_the_coordinates(seed, share):
    first, second = random_coordinates(8, seed), random_coordinates(8, seed + 1)
    assert LIMITS.inside(LIMITS.pose(first + share * (second - first)), tolerance=1e-7).all()


def test_standing__is_inside_with_hanging_arms():
    standing = LIMITS.pose(LIMITS.standing)
    assert LIMITS.inside(standing).all()
    identity = torch.eye(3, dtype=torch.float64)[None]
    at = dict(zip(SMPL_TREE.joints, joints_of(torch.cat((identity, standing)), average_joints()), strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        wrist, hip = at[f"{side}_wrist"], at[f"{side}_hip"]
        assert abs(wrist[1] - hip[1]) < 0.15
        assert 0.05 < sign * (wrist[0] - hip[0]) < 0.35


def test_penalty__is_differentiable_and_leads_inside():
    vectors = 1.2 * torch.randn(5, 23, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda v: LIMITS.penalty(rotvec_to_matrix(v)), (vectors[:1].requires_grad_(),), atol=1e-5
    )
    vectors = vectors.detach().requires_grad_()
    before = LIMITS.penalty(rotvec_to_matrix(vectors)).sum().item()
    optimiser = torch.optim.Adam([vectors], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        penalty = LIMITS.penalty(rotvec_to_matrix(vectors)).sum()
        penalty.backward()
        optimiser.step()
    assert LIMITS.penalty(rotvec_to_matrix(vectors)).sum() < 0.02 * before


def test_penalty__has_a_finite_gradient_at_rest():
    vectors = torch.zeros(23, 3, dtype=torch.float64, requires_grad=True)
    LIMITS.penalty(rotvec_to_matrix(vectors)).backward()
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))


def test_limits__refuse_other_shapes():
    with pytest.raises(ShapeError, match="the root is not among them"):
        LIMITS.coordinates(torch.zeros(24, 3, 3))
    with pytest.raises(InputError, match="expected floating point"):
        LIMITS.pose(torch.zeros(23, 3, dtype=torch.int64))
