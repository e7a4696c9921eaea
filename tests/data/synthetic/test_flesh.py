"""How much of the body is before a joint, and which parts are around it."""

import torch

from marey.body.open_body import open_body
from marey.body.smpl_tree import SMPL_TREE
from marey.data.synthetic.flesh import flesh_before, neighbours, rings
from marey.data.synthetic.labels import PixelLabels, joints_visible


def _near(joint: str) -> set[str]:
    row = neighbours(SMPL_TREE)[SMPL_TREE.joints.index(joint)]
    return {name for name, there in zip(SMPL_TREE.joints, row.tolist(), strict=True) if there}


def test_neighbours__are_next_to_the_joint_and_never_of_the_other_side():
    assert _near("left_elbow") == {"left_shoulder", "left_elbow", "left_wrist"}
    assert _near("left_hip") == {"pelvis", "left_hip", "left_knee", "spine1"}
    assert _near("right_shoulder") == {"right_collar", "right_shoulder", "right_elbow", "spine3"}
    for joint in SMPL_TREE.joints:
        side = joint.split("_")[0]
        other = {"left": "right_", "right": "left_"}.get(side)
        assert other is None or not any(name.startswith(other) for name in _near(joint))


def test_flesh__is_as_thick_as_the_body():
    model = open_body("small")
    flesh = flesh_before(model.template, model.joint_template, rings(model))
    thick = dict(zip(SMPL_TREE.joints, flesh.tolist(), strict=True))
    assert 0.06 < thick["left_wrist"] < 0.13
    assert 0.08 < thick["left_elbow"] < 0.15
    assert 0.1 < thick["left_knee"] < 0.18
    assert 0.14 < thick["left_hip"] < 0.3
    assert 0.18 < thick["spine2"] < 0.32
    assert abs(thick["left_knee"] - thick["right_knee"]) < 0.01
    larger = flesh_before(2 * model.template, 2 * model.joint_template, rings(model))
    assert torch.allclose(larger - flesh, flesh - 0.03, atol=1e-6)


def test_joints_visible__needs_the_person_the_part_and_the_depth():
    """One picture of 3 x 4 pixels, one person, three joints; the second part is beside the first, the third apart."""
    near = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    pixels = torch.tensor([[1.2, 0.9], [2.0, 1.0], [3.0, 2.0]]).expand(1, 1, 3, 2)
    depth = torch.tensor([[[2.1, 2.1, 2.1]]])
    thickness = torch.full((1, 1, 3), 0.2)
    person = torch.zeros(1, 3, 4, dtype=torch.int16)
    part = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 2]], dtype=torch.int16)[None]
    none = torch.zeros(1, 3, 4, dtype=torch.bool)
    nearest = torch.full((1, 3, 4), 2.0)

    def seen(**changes) -> list[bool]:
        maps = {"depth": nearest, "person": person, "part": part, "occluder": none} | changes
        shown = PixelLabels(**maps)
        return joints_visible(pixels, depth, thickness, shown=shown, near=near).flatten().tolist()

    assert seen() == [True, True, True]
    assert seen(depth=nearest - 0.2) == [False, False, False]
    assert seen(person=person - 1) == [False, False, False]
    covered = none.clone()
    covered[0, 1, 1] = True
    assert seen(occluder=covered) == [False, True, True]
    other = part.clone()
    other[0, 1, 1] = 2
    assert seen(part=other) == [False, True, True]
    pixels = pixels + torch.tensor((1.0, 0.0))
    assert seen()[2] is False
