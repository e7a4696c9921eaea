import dataclasses
import hashlib
import re
from collections import Counter
from importlib import resources

import pytest
import torch

from house.source import ROOT
from marey.body.conventions import PARTS_14
from marey.body.model import BodyModel
from marey.body.open_body import ADULT_COMPONENTS, LEVELS, open_body
from marey.body.pose_sampling import LimitPoses, sample_poses
from marey.body.smpl_tree import SMPL_TREE
from marey.core import BodyState, InputError, skeleton

SKELETONS = (
    *("coco_17", "h36m_17", "mpi_inf_3dhp_17", "mpi_inf_3dhp_28", "body_25", "lsp_14", "mediapipe_33", "panoptic_19"),
    "smpl_24",
)
FILE = resources.files("marey.body") / "assets" / "open_body.safetensors"


def people(model: BodyModel, count: int, *, seed: int, fraction: float = 0.8) -> BodyState:
    """Adults of many shapes in many poses."""
    noise = torch.randn(count, model.shape_basis.shape[-1], generator=torch.Generator().manual_seed(seed))
    noise[:, ADULT_COMPONENTS:] = 0
    return BodyState(
        orientation=torch.eye(3).repeat(count, 1, 1),
        pose=sample_poses(LimitPoses(fraction=fraction), count, seed=seed).float(),
        shape=noise,
        translation=torch.zeros(count, 3),
    )


def edges(faces: torch.Tensor) -> Counter:
    """How often each directed edge occurs."""
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return Counter(map(tuple, pairs.tolist()))


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Litres (...) inside vertices (..., N, 3)."""
    a, b, c = (vertices[..., corner, :] for corner in faces.unbind(-1))
    return 1000 * (torch.linalg.cross(a, b) * c).sum((-1, -2)) / 6


def turns_around(points: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """How often (P,) a closed surface of triangles (F, 3, 3) goes around points: 1 inside, 0 outside.

    The solid angles of Van Oosterom and Strackee, IEEE Trans. Biomedical Engineering 30, 1983."""
    a, b, c = (corners[None] - points[:, None, None]).double().unbind(-2)
    la, lb, lc = (side.norm(dim=-1) for side in (a, b, c))
    box = (a * torch.linalg.cross(b, c)).sum(-1)
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(box, below).sum(-1) / (2 * torch.pi)


@pytest.mark.parametrize(
    ("level", "vertices", "surfaces"), [("full", 13112, 3), ("medium", 6900, 3), ("small", 1899, 1)]
)
def test_mesh__is_closed_and_faces_outwards(level, vertices, surfaces):
    model = open_body(level)
    assert model.template.shape == (vertices, 3)
    found = edges(model.faces)
    assert set(found.values()) == {1}
    assert all((other, one) in found for one, other in found)
    # V - E + F is 2 for every surface without holes: the skin, and in the finer levels the two eyes
    assert vertices - len(found) // 2 + len(model.faces) == 2 * surfaces
    assert 50 < float(volume(model.template, model.faces)) < 75
    assert len(model.faces.unique()) == vertices


@pytest.mark.parametrize("level", LEVELS)
def test_texture__every_corner_has_its_place(level):
    model = open_body(level)
    assert model.uv_faces.shape == model.faces.shape
    assert model.uv.amin() >= 0
    assert model.uv.amax() <= 1
    corners = torch.stack((model.faces.flatten(), model.uv_faces.flatten()), 1).unique(dim=0)
    assert len(corners) == len(model.uv)  # a place in the texture belongs to one vertex
    assert len(model.uv) > len(model.template)  # vertices on a seam have two
    a, b, c = model.uv[model.uv_faces].unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).float().mean() > 0.95


def test_levels__coarser_is_the_beginning_of_finer():
    full = open_body("full")
    for level in ("medium", "small"):
        model = open_body(level)
        count = len(model.template)
        assert torch.equal(model.template, full.template[:count])
        assert torch.equal(model.shape_basis, full.shape_basis[:count])
        assert torch.equal(model.skin_weights, full.skin_weights[:count])
        assert torch.equal(model.uv, full.uv[: len(model.uv)])


@pytest.mark.parametrize(("level", "share"), [("medium", 0.002), ("small", 0.012)])
def test_levels__hold_the_same_people(level, share):
    full, coarse = open_body("full"), open_body(level)
    body = people(full, 4, seed=1)
    fine, rough = full(body).vertices, coarse(body).vertices
    torch.testing.assert_close(volume(rough, coarse.faces), volume(fine, full.faces), rtol=share, atol=0)
    torch.testing.assert_close(rough.amax(-2), fine.amax(-2), rtol=0, atol=0.004)
    torch.testing.assert_close(rough.amin(-2), fine.amin(-2), rtol=0, atol=0.004)


def test_skin__moves_by_at_most_six_joints():
    model = open_body("full")
    assert model.skin_joints.shape == model.skin_weights.shape == (len(model.template), 6)
    assert (model.skin_weights >= 0).all()
    torch.testing.assert_close(model.skin_weights.sum(-1), torch.ones(len(model.template)))
    moved = torch.zeros(24).index_add(0, model.skin_joints.flatten(), model.skin_weights.flatten())
    assert (moved > 10).all()


@pytest.mark.parametrize("level", LEVELS)
def test_template__left_mirrors_right(level):
    model = open_body(level)
    mirrored = model.template * torch.tensor([-1.0, 1, 1])
    exact = "donot_use_mm_for_euclid_dist"  # the quicker way is off by 0.3 mm
    assert torch.cdist(mirrored, model.template, compute_mode=exact).amin(1).max() < 1e-4
    tree = SMPL_TREE
    for joint, name in enumerate(tree.joints):
        if name.startswith("left_"):
            other = tree.joints.index(name.replace("left_", "right_"))
            expected = model.joint_template[other] * torch.tensor([-1.0, 1, 1])
            torch.testing.assert_close(model.joint_template[joint], expected, rtol=0, atol=1e-5)


def test_template__is_a_t():
    model = open_body("full")
    place = dict(zip(SMPL_TREE.joints, model.joint_template, strict=True))
    arm = torch.stack([place[f"left_{name}"] for name in ("shoulder", "elbow", "wrist", "hand")])
    assert (arm[:, 1:].amax(0) - arm[:, 1:].amin(0)).max() < 1e-4
    assert (arm[:, 0].diff() > 0.05).all()
    leg = torch.stack([place[f"left_{name}"] for name in ("hip", "knee", "ankle")])
    assert (leg[:, [0, 2]].amax(0) - leg[:, [0, 2]].amin(0)).max() < 1e-4
    assert place["left_shoulder"][0] > 0.1
    assert place["left_foot"][2] > place["left_ankle"][2] + 0.08
    torch.testing.assert_close(place["pelvis"], torch.zeros(3), rtol=0, atol=1e-6)
    assert model.joint_basis[0].abs().max() < 1e-6


def test_template__looks_along_z_with_its_palms_down():
    model = open_body("medium")
    point = dict(zip(skeleton("mediapipe_33").joints, model.regress(model.template, "mediapipe_33"), strict=True))
    assert point["nose"][2] > point["left_ear"][2] + 0.05
    assert point["left_eye"][0] > 0.02 > -0.02 > point["right_eye"][0]
    assert point["left_big_toe"][2] > point["left_heel"][2] + 0.15
    assert point["left_index"][2] > point["left_pinky"][2] + 0.04  # the thumb's side is in front
    assert point["left_mouth"][1] < point["nose"][1] < point["left_eye"][1]


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_joints__are_inside_the_body(fraction):
    model = open_body("small")
    posed = model(people(model, 3, seed=2, fraction=fraction))
    for vertices, joints in zip(posed.vertices, posed.joints, strict=True):
        around = turns_around(joints, vertices[model.faces])
        outside = {name: float(turn) for name, turn in zip(SMPL_TREE.joints, around, strict=True) if turn < 0.5}
        assert not outside


@pytest.mark.parametrize("name", SKELETONS)
def test_regressors__joints_keep_to_the_body(name):
    model = open_body("medium")
    body = people(model, 6, seed=3)
    vertices = model(body).vertices
    joints = model.regress(vertices, name)
    assert joints.shape == (6, len(skeleton(name)), 3)
    torch.testing.assert_close(model.regressors[name].sum(1), torch.ones(len(skeleton(name))))
    assert torch.cdist(joints, vertices).amin(-1).max() < 0.15
    mirrored = model.regress(model.template, name) * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(
        mirrored[list(skeleton(name).mirror)], model.regress(model.template, name), atol=1e-4, rtol=0
    )


def test_regressors__find_the_joints_of_the_tree():
    model = open_body("medium")
    posed = model(people(model, 40, seed=4))
    distance = (model.regress(posed.vertices, "smpl_24") - posed.joints).norm(dim=-1).square().mean(0).sqrt()
    assert distance.mean() < 0.006
    assert distance.max() < 0.013  # the knee, whose skin moves most


def test_regressors__are_the_same_on_every_level():
    body = people(open_body("full"), 3, seed=5)
    for name in ("coco_17", "body_25"):
        found = [open_body(level).regress(open_body(level)(body).vertices, name) for level in LEVELS]
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-5)


def test_parts__of_the_left_are_on_the_left():
    model = open_body("medium")
    assert model.vertex_parts["joints24"].unique().tolist() == list(range(24))
    parts = model.vertex_parts["parts14"]
    assert parts.unique().tolist() == list(range(1, 15))
    middle = {name: model.template[parts == number].mean(0) for number, name in enumerate(PARTS_14) if number}
    for name in (name for name in middle if name.startswith("left_")):
        assert middle[name][0] > 0.03
        assert middle[name.replace("left_", "right_")][0] < -0.03
    assert middle["head"][1] > middle["torso"][1] > middle["left_upper_leg"][1] > middle["left_foot"][1]


def test_shape__of_small_random_numbers_is_a_grown_person():
    model = open_body("small")
    count = 200
    noise = torch.randn(count, ADULT_COMPONENTS, generator=torch.Generator().manual_seed(6))
    shape = torch.cat((noise, torch.zeros(count, model.shape_basis.shape[-1] - ADULT_COMPONENTS)), 1)
    vertices = model(dataclasses.replace(model.neutral(count), shape=shape)).vertices
    height = vertices[..., 1].amax(1) - vertices[..., 1].amin(1)
    assert 1.65 < height.mean() < 1.75
    assert 0.09 < height.std() < 0.15
    litres = volume(vertices, model.faces)
    assert litres.min() > 25
    assert 50 < litres.mean() < 85


def test_level__unknown_name_lists_the_known():
    with pytest.raises(InputError, match="level: expected one of full, medium, small, got 'huge'"):
        open_body("huge")


def test_file__is_small_and_the_one_that_the_card_describes():
    content = FILE.read_bytes()
    assert len(content) <= 3_000_000
    card = (ROOT / "docs" / "concepts" / "body.md").read_text(encoding="utf-8")
    assert re.search(r"`([0-9a-f]{64})`", card).group(1) == hashlib.sha256(content).hexdigest()


def test_file__comes_with_its_licence():
    notice = (resources.files("marey.body") / "assets" / "NOTICE.md").read_text(encoding="utf-8")
    assert all(word in notice for word in ("CC0", "MakeHuman", "NAVER", "Apache License"))
