import math

import pytest
import torch

from marey.core import InputError, JointTree, Motion, ShapeError

TREE = JointTree("arm", ("shoulder", "elbow", "hip", "wrist"), (-1, 0, 0, 1))


def about_z(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def still(**change):
    fields = {
        "tree": TREE,
        "offsets": torch.tensor([[0, 0, 0], [0.3, 0, 0], [0, -0.5, 0], [0.25, 0, 0]], dtype=torch.float64),
        "rotations": torch.eye(3, dtype=torch.float64).repeat(2, 4, 1, 1),
        "translation": torch.tensor([[0, 1.0, 0], [0, 1.0, 0]], dtype=torch.float64),
        "fps": 50.0,
    }
    return Motion(**(fields | change))


def test_tree__levels_children_and_depth_first():
    assert TREE.levels == ((0,), (1, 2), (3,))
    assert TREE.children == ((1, 2), (3,), (), ())
    assert TREE.depth_first == (0, 1, 3, 2)
    assert len(TREE) == 4


def test_tree__one_joint():
    tree = JointTree("point", ("root",), (-1,))
    assert tree.levels == ((0,),)
    assert tree.children == ((),)
    assert tree.depth_first == (0,)


def test_tree__chain_of_thousands_is_quick():
    count = 5000
    tree = JointTree("chain", tuple(f"j{place}" for place in range(count)), tuple(range(-1, count - 1)))
    assert len(tree.levels) == count
    assert tree.depth_first == tuple(range(count))


@pytest.mark.parametrize(
    ("joints", "parents", "message"),
    [
        (("a", "b"), (-1,), "one parent a joint"),
        ((), (), "one parent a joint"),
        (("a", "a"), (-1, 0), "names repeat"),
        (("a", ""), (-1, 0), "no name"),
        (("a", "b"), (0, -1), "the root first"),
        (("a", "b", "c"), (-1, 2, 1), "every joint after its parent"),
        (("a", "b"), (-1, 1), "every joint after its parent"),
        (("a", "b"), (-1, -1), "every joint after its parent"),
    ],
)
def test_tree__malformed(joints, parents, message):
    with pytest.raises(InputError, match=message):
        JointTree("bad", joints, parents)


def test_positions__rest_pose_adds_the_offsets():
    expected = [[0, 1, 0], [0.3, 1, 0], [0, 0.5, 0], [0.55, 1, 0]]
    assert still().positions()[1].tolist() == [pytest.approx(place) for place in expected]


def test_positions__rotations_act_on_what_hangs_below():
    rotations = torch.eye(3, dtype=torch.float64).repeat(2, 4, 1, 1)
    rotations[1, 0] = about_z(90)
    rotations[1, 1] = about_z(-90)
    rotations[1, 3] = about_z(45)
    found = still(rotations=rotations).positions()
    torch.testing.assert_close(found[0], still().positions()[0])
    expected = torch.tensor([[0, 1.0, 0], [0, 1.3, 0], [0.5, 1.0, 0], [0.25, 1.3, 0]], dtype=torch.float64)
    torch.testing.assert_close(found[1], expected)


def test_positions__differentiable():
    angle = torch.tensor([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]], dtype=torch.float64, requires_grad=True)

    def places(angles):
        rotations = torch.matrix_exp(torch.stack([torch.stack([_skew(a) for a in row]) for row in angles]))
        tree = JointTree("chain", ("a", "b", "c"), (-1, 0, 1))
        offsets = torch.tensor([[0, 0, 0], [0.1, 0.2, 0.3], [0.3, -0.1, 0]], dtype=torch.float64)
        rotations = torch.stack((rotations[:, 0], rotations[:, 1], rotations[:, 2]), 1)
        return Motion(tree=tree, offsets=offsets, rotations=rotations, translation=angles[:, 0], fps=1).positions()

    assert torch.autograd.gradcheck(lambda a: places(a[..., None] * torch.ones(3, dtype=torch.float64)), (angle,))


def _skew(vector):
    x, y, z = vector
    zero = torch.zeros((), dtype=vector.dtype)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).reshape(3, 3)


def test_known__a_missing_joint_or_place_makes_the_frame_unknown():
    motion = still()
    assert motion.known.tolist() == [True, True]
    motion.rotations[0, 2] = math.nan
    assert motion.known.tolist() == [False, True]
    motion.translation[1, 0] = math.nan
    assert motion.known.tolist() == [False, False]


def test_positions__nan_only_where_unknown():
    motion = still()
    motion.rotations[0, 1] = math.nan
    found = motion.positions().isfinite().all(-1)
    assert found.tolist() == [[True, True, True, False], [True] * 4]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"offsets": torch.zeros(3, 3)}, ShapeError, r"Motion.offsets: expected \(4, 3\), got \(3, 3\)"),
        ({"rotations": torch.zeros(2, 4, 3)}, ShapeError, "Motion.rotations"),
        ({"rotations": torch.zeros(())}, ShapeError, "Motion.rotations"),
        ({"translation": torch.zeros(3, 3)}, ShapeError, "Motion.translation"),
        ({"covariance": torch.zeros(2, 4, 3)}, ShapeError, "Motion.covariance"),
        ({"fps": 0.0}, InputError, "frames per second above 0, got 0"),
        ({"fps": math.nan}, InputError, "frames per second"),
        ({"fps": math.inf}, InputError, "frames per second"),
        ({"offsets": torch.full((4, 3), math.nan)}, InputError, "lengths of all bones"),
    ],
)
def test_motion__malformed(change, error, message):
    with pytest.raises(error, match=message):
        still(**change)


def test_motion__without_frames():
    motion = still(rotations=torch.zeros(0, 4, 3, 3), translation=torch.zeros(0, 3))
    assert motion.length == 0
    assert motion.positions().shape == (0, 4, 3)
