"""The parts of the baking of the open body that do not need the package it is made from."""

import importlib
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from house.source import ROOT

sys.path.insert(0, str(ROOT / "tools" / "bake_body"))
mesh = importlib.import_module("mesh")
decimate = importlib.import_module("decimate")
groups = importlib.import_module("groups")
regressors = importlib.import_module("regressors")
rest_pose = importlib.import_module("rest_pose")
shape_space = importlib.import_module("shape_space")
skin_fit = importlib.import_module("skin_fit")


def ball(rounds=3):
    """An octahedron whose faces are split in four again and again, on the unit sphere: places, faces, mirror."""
    places = [(1.0, 0, 0), (-1.0, 0, 0), (0, 1.0, 0), (0, -1.0, 0), (0, 0, 1.0), (0, 0, -1.0)]
    number = {place: index for index, place in enumerate(places)}
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]

    def between(a, b):
        middle = tuple(((np.array(places[a]) + places[b]) / np.linalg.norm(np.array(places[a]) + places[b])).round(12))
        if middle not in number:
            number[middle] = len(places)
            places.append(middle)
        return number[middle]

    for _ in range(rounds):
        split = []
        for a, b, c in faces:
            ab, bc, ca = between(a, b), between(b, c), between(c, a)
            split += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = split
    mirror = np.array([number[(-x + 0.0, y, z)] for x, y, z in places])
    return np.array(places), np.array(faces), mirror


def made(faces, uv_faces=None, labels=None):
    labels = np.zeros(len(faces), dtype=np.int64) if labels is None else labels
    return mesh.Mesh(faces=faces, uv_faces=faces if uv_faces is None else uv_faces, labels=labels)


def assert_closed(faces):
    edges = Counter((int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)


def volume(places, faces):
    a, b, c = (places[faces[:, corner]] for corner in range(3))
    return (np.cross(a, b) * c).sum() / 6


def test_shrink__ball_stays_a_ball_of_both_sides_alike():
    places, faces, mirror = ball()
    found = decimate.Decimation(made(faces), places[:, None], mirror).shrink(100)
    assert len(found.used) in (99, 100)
    assert_closed(found.faces)
    assert len(found.faces) == 2 * len(found.used) - 4
    assert volume(places, found.faces) > 0.9 * volume(places, faces)
    sides = {frozenset(face) for face in found.faces.tolist()}
    assert {frozenset(mirror[list(face)].tolist()) for face in sides} == sides


def test_shrink__flat_parts_go_first():
    places, faces, mirror = ball()
    places = places.copy()
    places[:, 1] = places[:, 1].clip(-0.3, 0.3)  # a drum: discs above and below
    found = decimate.Decimation(made(faces), places[:, None], mirror).shrink(120)
    flat = np.abs(places[:, 1]) > 0.299
    assert flat[found.used].mean() < 0.6 * flat.mean()
    assert volume(places, found.faces) > 0.99 * volume(places, faces)


def test_shrink__seam_of_the_texture_stays_whole():
    places, faces, mirror = ball()
    right = places[faces][..., 0].mean(1) < 0
    uv_faces = faces + len(places) * right[:, None]  # two charts that meet in the plane x = 0
    found = decimate.Decimation(made(faces, uv_faces), places[:, None], mirror).shrink(80)
    assert (found.uv_faces % len(places) == found.faces).all()
    chart = found.uv_faces >= len(places)
    assert (chart == chart[:, :1]).all()
    assert (chart[:, 0] == (places[found.faces][..., 0].mean(1) < 0)).all()


def test_closed_without__hole_becomes_a_lid():
    places, faces, _ = ball()
    gone = places[faces].mean(1)[:, 2] > 0.8
    found = mesh.closed_without(made(faces, labels=gone.astype(np.int64)), 1, places)
    assert_closed(found.faces)
    assert len(found.used) < len(places)
    lid = found.faces[(~gone).sum() :]
    assert np.cross(*(places[lid[:, k]] - places[lid[:, 0]] for k in (1, 2)))[:, 2].sum() > 0  # it faces outwards
    assert set(lid.ravel()) == set(faces[gone].ravel()) & set(faces[~gone].ravel())


def test_closed_without__two_holes_are_refused():
    places, faces, _ = ball()
    gone = np.abs(places[faces].mean(1)[:, 2]) > 0.8
    with pytest.raises(ValueError, match="expected a region with one border"):
        mesh.closed_without(made(faces, labels=gone.astype(np.int64)), 1, places)


def test_triangles__quads_split_alike_on_both_sides():
    places = np.array([(x, y, 0.1 * x * x * y) for x in (-2.0, -1.0, 0.0, 1.0, 2.0) for y in (0.0, 0.8, 2.1)])
    mirror = np.array([3 * (4 - place // 3) + place % 3 for place in range(15)])
    quads = np.array([(k, k + 3, k + 4, k + 1) for k in (0, 1, 3, 4, 6, 7, 9, 10)])
    found = mesh.triangles(made(quads), places, mirror)
    assert len(found.faces) == 16
    sides = {frozenset(face) for face in found.faces.tolist()}
    assert {frozenset(mirror[list(face)].tolist()) for face in sides} == sides
    normals = np.cross(*(places[found.faces[:, k]] - places[found.faces[:, 0]] for k in (1, 2)))
    assert (normals[:, 2] > 0).all()


RIG = ["root", "spine05", "spine04", "spine03", "spine02", "neck01", "head"]
RIG_PARENTS = [-1, 0, 1, 2, 3, 4, 5]
for _side in ("L", "R"):
    _leg, _arm = len(RIG), len(RIG) + 8
    RIG += [f"{bone}.{_side}" for bone in ("upperleg01", "lowerleg01", "foot", *(f"toe{k}-1" for k in range(1, 6)))]
    RIG_PARENTS += [0, _leg, _leg + 1, *[_leg + 2] * 5]
    RIG += [f"{bone}.{_side}" for bone in ("clavicle", "upperarm01", "lowerarm01", "wrist")]
    RIG_PARENTS += [4, _arm, _arm + 1, _arm + 2]
    RIG += [f"finger{number}-1.{_side}" for number in range(2, 6)]
    RIG_PARENTS += [_arm + 3] * 4


def rig_heads():
    """(1, bones, 3) A person with hanging, bent arms and straddled legs."""
    at = {"root": (0, 0, -0.1), "spine05": (0, 0, 0), "spine04": (0, 0.1, 0), "spine03": (0, 0.2, 0)}
    at |= {"spine02": (0, 0.3, 0), "neck01": (0, 0.5, 0), "head": (0, 0.6, 0)}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        left = {"upperleg01": (0.1, 0, 0), "lowerleg01": (0.15, -0.4, 0.03), "foot": (0.2, -0.8, 0)}
        left |= {f"toe{k}-1": (0.17 + 0.02 * k, -0.85, 0.14 - 0.01 * k) for k in range(1, 6)}
        left |= {"clavicle": (0.02, 0.45, 0), "upperarm01": (0.15, 0.45, 0), "lowerarm01": (0.3, 0.25, 0)}
        left |= {"wrist": (0.4, 0.1, 0.15)}
        left |= {f"finger{k}-1": (0.43, 0.05 - 0.01 * k, 0.26 - 0.02 * k) for k in range(2, 6)}
        at |= {f"{bone}.{side}": (sign * x, y, z) for bone, (x, y, z) in left.items()}
    return torch.tensor([[at[bone] for bone in RIG]], dtype=torch.float64)


def test_t_pose__stretches_arms_and_legs():
    rig = groups.Groups.of(RIG, RIG_PARENTS)
    heads = rig_heads()
    turned = rest_pose.t_pose(rig, heads)
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(turned @ turned.mT, eye.expand_as(turned))
    moved = rig.transforms(heads, turned, torch.zeros(1, 3, dtype=torch.float64))
    placed = heads.clone()
    placed[:, rig.pivot] = (moved[..., :3] @ heads[:, rig.pivot, :, None])[..., 0] + moved[..., 3]
    joints = dict(zip(skin_fit.SMPL_TREE.joints, rig.joints(placed)[0], strict=True))
    zero = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(joints["pelvis"], zero)
    for side in ("left", "right"):
        arm = torch.stack([joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand")])
        torch.testing.assert_close(arm[:, 1:], arm[:1, 1:].expand(4, 2))
        leg = torch.stack([joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle")])
        torch.testing.assert_close(leg[:, [0, 2]], leg[:1, [0, 2]].expand(3, 2))
        torch.testing.assert_close(joints[f"{side}_foot"][0], joints[f"{side}_ankle"][0])
    assert joints["left_hand"][0] > joints["left_shoulder"][0]
    assert joints["right_hand"][0] < joints["right_shoulder"][0]


def test_groups__weights_and_bones_fold_completely():
    rig = groups.Groups.of(RIG, RIG_PARENTS)
    weights = torch.rand(7, len(RIG), generator=torch.Generator().manual_seed(0))
    folded = rig.fold_to_joints(rig.fold(weights))
    assert folded.shape == (7, 24)
    torch.testing.assert_close(folded.sum(1), weights.sum(1))
    hand = skin_fit.SMPL_TREE.joints.index("left_hand")
    fingers = [place for place, bone in enumerate(RIG) if bone.startswith("finger") and bone.endswith("L")]
    torch.testing.assert_close(folded[:, hand], weights[:, fingers].sum(1))


def test_weight_fit__known_weights_come_back():
    generator = torch.Generator().manual_seed(1)
    count, poses = 30, 40
    rest = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    true = torch.zeros(count, 24, dtype=torch.float64)
    chain = [0, 3, 6, 9]  # pelvis and spine, neighbours in the tree
    true[:, chain] = torch.rand(count, 4, generator=generator, dtype=torch.float64)
    true /= true.sum(1, keepdim=True)
    turned = torch.linalg.qr(torch.randn(poses, 24, 3, 3, generator=generator, dtype=torch.float64)).Q
    moved = torch.cat((turned, torch.randn(poses, 24, 3, 1, generator=generator, dtype=torch.float64)), -1)
    target = groups.skin(rest.expand(poses, -1, -1), true, moved)
    sample = skin_fit.Posed(person=0, transforms=moved, target=target)
    start = torch.zeros_like(true)
    start[:, 3] = 1
    fitting = skin_fit.WeightFit(start)
    fitting.add(sample, rest)
    torch.testing.assert_close(fitting.solve(), true, atol=2e-3, rtol=0)
    found = skin_fit.fit_rest(sample, torch.zeros_like(rest), true)
    torch.testing.assert_close(found, rest, atol=2e-3, rtol=0)


def test_regressor__point_inside_is_found_from_the_skin():
    generator = torch.Generator().manual_seed(2)
    skin = torch.randn(200, 400, 3, generator=generator, dtype=torch.float64)
    true = torch.zeros(400, dtype=torch.float64)
    true[[3, 8, 20]] = torch.tensor([0.5, 0.8, -0.3], dtype=torch.float64)
    target = torch.einsum("n,bnc->bc", true, skin)
    found = regressors.fit(target, skin, np.arange(400), inside=True)
    weights = torch.zeros(400, dtype=torch.float64).scatter_add(
        0, torch.tensor(found.vertices), torch.tensor(found.weights)
    )
    torch.testing.assert_close(weights, true, atol=1e-3, rtol=0)
    assert found.error(target, skin) < 1e-3


def test_regressor__point_of_the_middle_is_of_both_sides():
    generator = torch.Generator().manual_seed(4)
    left = torch.randn(150, 40, 3, generator=generator, dtype=torch.float64)
    skin = torch.cat((left, left * torch.tensor([-1.0, 1, 1])), 1)
    mirror = np.concatenate((np.arange(40, 80), np.arange(40)))
    target = skin[:, [3, 43, 10, 50]].mean(1)
    found = regressors.balanced(regressors.fit(target, skin, np.arange(80), inside=True), mirror)
    weights = np.zeros(80)
    np.add.at(weights, found.vertices, found.weights)
    np.testing.assert_allclose(weights, weights[mirror], atol=1e-12)
    assert found.error(target, skin) < 1e-3


def test_shape_space__of_adults_is_standard_normal_and_children_need_the_rest():
    generator = torch.Generator().manual_seed(3)

    def people(count, modes):
        return torch.einsum("bk,kqc->bqc", torch.randn(count, len(modes), generator=generator), modes)

    modes = torch.randn(5, 40, 3, generator=generator)
    adults, children = people(400, modes[:3]), 1.0 + people(300, modes)
    space = shape_space.shape_space(adults, children, (3, 4), joints=4)
    grown = space.coefficients(adults)
    torch.testing.assert_close(grown[:, :3].square().mean(0), torch.ones(3), atol=1e-3, rtol=0)
    assert grown[:, 3:].abs().max() < 1e-2
    torch.testing.assert_close(space.points(space.coefficients(children)), children, atol=2e-2, rtol=0)
