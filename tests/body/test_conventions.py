import dataclasses

import pytest
import torch

from body.bodies import random_body, random_state
from marey.body.conventions import (
    COCO_17_OF_90,
    H36M_17_OF_H36M,
    HIERPROB_90,
    LSP_14_OF_H36M,
    PARTS_14,
    PARTS_14_OF_JOINTS_24,
    REGRESSED,
    SMPL_24,
    SMPL_VERTICES,
    SPIN_49,
)
from marey.body.smpl_tree import SMPL_TREE
from marey.core import InputError, ShapeError, skeleton

VERTICES = 6890


def smpl(*, names=tuple(REGRESSED)):
    """A body with SMPL's joints and regressors whose joint k of a source is the vertex k + an offset of the source."""
    source = torch.Generator().manual_seed(0)
    regressors = {}
    for offset, name in enumerate(names):
        rows = torch.arange(len(REGRESSED[name])) + 100 * offset
        rows = torch.tensor(list(SMPL_VERTICES.values())) if name == "smpl_vertices" else rows
        regressors[name] = torch.nn.functional.one_hot(rows, VERTICES).double()
    return random_body(
        vertices=VERTICES,
        bends=False,
        tree=SMPL_TREE,
        joint_template=torch.randn(24, 3, generator=source, dtype=torch.float64),
        joint_basis=torch.zeros(24, 3, 5, dtype=torch.float64),
        regressors=regressors,
        vertex_parts={},
    )


def test_90__are_24_joints_21_vertices_and_three_regressors():
    model = smpl()
    posed = model(random_state(model, 2))
    found = HIERPROB_90(model, posed)
    assert found.shape == (2, 90, 3)
    torch.testing.assert_close(found[:, :24], posed.joints)
    vertices = [332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787]
    tips = [2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133]
    assert torch.equal(found[:, 24:45], posed.vertices[:, vertices + tips])
    assert torch.equal(found[:, 45:54], posed.vertices[:, 100:109])
    assert torch.equal(found[:, 54:73], posed.vertices[:, 200:219])
    assert torch.equal(found[:, 73:], posed.vertices[:, 300:317])


def test_90__coco_by_name():
    names = [HIERPROB_90.skeleton.joints[row] for row in COCO_17_OF_90]
    assert names == list(skeleton("coco_17").joints)


def test_h36m__orders_by_name():
    lsp = [REGRESSED["h36m"][row] for row in LSP_14_OF_H36M]
    assert lsp[:6] == ["right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"]
    assert lsp[6:12] == [
        *("right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ]
    assert lsp[12:] == ["neck", "head_top"]
    assert tuple(REGRESSED["h36m"][row] for row in H36M_17_OF_H36M) == skeleton("h36m_17").joints


def test_49__are_the_published_rows_of_54():
    model = smpl(names=("smpl_vertices", "extra"))
    posed = model(random_state(model))
    all_54 = torch.cat((posed.joints, model.regress(posed.vertices, "smpl_vertices"), posed.vertices[100:109]))
    found = SPIN_49(model, posed)
    rows = (
        "24,12,17,19,21,16,18,20,0,2,5,8,1,4,7,25,26,27,28,29,30,31,32,33,34,8,5,45,46,4,7,21,19,17,16,18,20,47,48,49"
    )
    rows = [int(row) for row in f"{rows},50,51,52,53,24,26,25,28,27".split(",")]
    torch.testing.assert_close(found, all_54[rows])


def test_49__start_as_body_25():
    assert SPIN_49.skeleton.joints[:25] == skeleton("body_25").joints
    sources = (*SMPL_24, *SMPL_VERTICES, *REGRESSED["extra"])
    for joint, row in zip(SPIN_49.skeleton.joints[:25], SPIN_49.rows, strict=False):
        assert sources[row] == joint


def test_49__mirror_is_the_published_one():
    pairs = "2,5 3,6 4,7 9,12 10,13 11,14 15,16 17,18 19,22 20,23 21,24 27,28 26,29 25,30 33,34 32,35 31,36 45,46 47,48"
    expected = list(range(49))
    for pair in pairs.split():
        first, second = map(int, pair.split(","))
        expected[first], expected[second] = second, first
    assert list(SPIN_49.mirror) == expected


def test_joint_set__without_its_regressor_says_how_to_bring_it():
    model = smpl(names=("smpl_vertices", "h36m"))
    posed = model(model.neutral())
    with pytest.raises(InputError, match=r"needs the regressors extra, cocoplus.*regressors=\{'extra': 'FILE.npy'"):
        HIERPROB_90(model, posed)
    with pytest.raises(InputError, match=r"spin_49 needs the regressor extra, which model random lacks"):
        SPIN_49(model, posed)


def test_joint_set__of_another_tree_is_refused():
    model = random_body()
    with pytest.raises(ShapeError, match="made of SMPL's 24 joints, model random has others"):
        SPIN_49(model, model(model.neutral()))


def test_joint_set__is_differentiable():
    model = smpl(names=("smpl_vertices", "extra"))
    body = random_state(model)
    body = dataclasses.replace(body, shape=body.shape.clone().requires_grad_())
    SPIN_49(model, model(body)).square().sum().backward()
    assert body.shape.grad.abs().sum() > 0


def test_parts__of_joints():
    parts = {joint: PARTS_14[part] for joint, part in zip(SMPL_24, PARTS_14_OF_JOINTS_24, strict=True)}
    assert parts["pelvis"] == parts["spine3"] == parts["right_collar"] == "torso"
    assert parts["left_hip"] == "left_upper_leg"
    assert parts["right_knee"] == "right_lower_leg"
    assert parts["left_ankle"] == parts["left_foot"] == "left_foot"
    assert parts["right_elbow"] == "right_lower_arm"
    assert parts["right_wrist"] == parts["right_hand"] == "right_hand"
    assert parts["neck"] == parts["head"] == "head"


def test_parts__numbers_are_those_that_occlusion_goes_by():
    limbs = ("left_lower_arm", "right_lower_arm", "left_hand", "right_hand")
    assert [PARTS_14.index(limb) for limb in limbs] == [3, 5, 12, 11]
    limbs = ("left_lower_leg", "right_lower_leg", "left_foot", "right_foot")
    assert [PARTS_14.index(limb) for limb in limbs] == [7, 9, 14, 13]
