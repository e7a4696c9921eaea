import math

import numpy as np
import pytest
import torch

from body.bodies import TREE, random_body, random_state
from marey.body.skinning import BLOCK, blend_shapes, forward_kinematics, from_rest, joints_at_rest, skin
from marey.core.motion import JointTree


def skinned_by_loops(model, body):
    """One body by the equations of the SMPL paper, joint by joint and vertex by vertex, in NumPy."""
    shape = body.shape.numpy()
    rotations = np.concatenate((body.orientation.numpy()[None], body.pose.numpy()))
    joints = model.joint_template.numpy() + model.joint_basis.numpy() @ shape
    vertices = model.template.numpy() + model.shape_basis.numpy() @ shape
    if model.pose_basis is not None:
        bent = (rotations[1:] - np.eye(3)).reshape(-1)
        vertices = vertices + (bent @ model.pose_basis.numpy()).reshape(-1, 3)
    world = []
    for joint, parent in enumerate(model.tree.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    moved = np.zeros_like(vertices)
    for number, vertex in enumerate(vertices):
        for joint, weight in zip(model.skin_joints[number].tolist(), model.skin_weights[number].tolist(), strict=True):
            moved[number] += weight * (world[joint][:3, :3] @ (vertex - joints[joint]) + world[joint][:3, 3])
    places = np.array([transform[:3, 3] for transform in world])
    turns = np.array([transform[:3, :3] for transform in world])
    translation = body.translation.numpy()
    return moved + translation, places + translation, turns


@pytest.mark.parametrize("bends", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_posing__equals_the_equations_by_loops(bends, seed):
    model = random_body(bends=bends, seed=seed)
    body = random_state(model, 2 * BLOCK + 3, seed=seed)
    found = model(body)
    for place in (0, BLOCK, 2 * BLOCK + 2):
        vertices, joints, turns = skinned_by_loops(model, body[place])
        np.testing.assert_allclose(found.vertices[place], vertices, atol=1e-12)
        np.testing.assert_allclose(found.joints[place], joints, atol=1e-12)
        np.testing.assert_allclose(found.orientations[place], turns, atol=1e-12)


def test_kinematics__bent_knee_carries_the_ankle():
    leg = JointTree("leg", ("hip", "knee", "ankle"), (-1, 0, 1))
    rest = torch.tensor([[[0.1, 1.0, 0.0], [0.1, 0.5, 0.0], [0.1, 0.0, 0.0]]])
    back = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # a quarter turn about x: y to z, so down to the back
    found = forward_kinematics(leg, rest, torch.stack((torch.eye(3), back, torch.eye(3)))[None])
    torch.testing.assert_close(found[0, 2, :, 3], torch.tensor([0.1, 0.5, -0.5]))
    torch.testing.assert_close(found[0, 2, :, :3], back)


def test_kinematics__one_joint():
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = forward_kinematics(JointTree("ball", ("ball",), (-1,)), torch.tensor([[[1.0, 2, 3]]]), turn[None, None])
    torch.testing.assert_close(found, torch.tensor([[[[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]]]))


def test_transforms__leave_the_joint_itself_where_it_is():
    model = random_body()
    body = random_state(model, 4)
    rest = model.joint_template.expand(4, -1, -1)
    posed = forward_kinematics(TREE, rest, torch.cat((body.orientation[:, None], body.pose), 1))
    carried = from_rest(posed, rest)
    torch.testing.assert_close((carried[..., :3] @ rest[..., None])[..., 0] + carried[..., 3], posed[..., 3])


def test_skin__halfway_between_two_joints():
    rest = torch.tensor([[[1.0, 0, 0]]])
    still = torch.eye(3, 4)
    turned = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 2]])
    weights = torch.tensor([[0.5], [0.5]])
    found = skin(rest, torch.stack((still, turned))[None], weights, torch.tensor([[0.0, 0, 10]]))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.5, 11.0]]]))


def test_blend_shapes__both_layouts_of_a_basis_are_one():
    source = torch.Generator().manual_seed(0)
    base, basis = (torch.randn(6, 3, *more, generator=source) for more in ((), (4,)))
    coefficients = torch.randn(5, 4, generator=source)
    expected = base + torch.einsum("nds,bs->bnd", basis, coefficients)
    torch.testing.assert_close(blend_shapes(base, basis, coefficients), expected)
    torch.testing.assert_close(blend_shapes(base, basis.permute(2, 0, 1).reshape(4, 18), coefficients), expected)


def test_joints__at_rest_are_blended_as_vertices_are():
    source = torch.Generator().manual_seed(0)
    base, basis, coefficients = (torch.randn(*shape, generator=source) for shape in ((6, 3), (6, 3, 4), (5, 4)))
    torch.testing.assert_close(joints_at_rest(base, basis, coefficients), blend_shapes(base, basis, coefficients))


@pytest.mark.parametrize("bends", [False, True])
def test_posing__has_right_derivatives(bends):
    model = random_body(vertices=9, shapes=2, bends=bends)
    body = random_state(model, 2)
    fields = ("orientation", "pose", "shape", "translation")
    inputs = [getattr(body, field).clone().requires_grad_() for field in fields]

    def posed(*parts):
        found = model(type(body)(**dict(zip(fields, parts, strict=True))))
        return found.vertices, found.joints, found.orientations

    assert torch.autograd.gradcheck(posed, inputs)


@pytest.mark.parametrize("size", [1, 3, BLOCK, 13])
def test_posing__bits_do_not_depend_on_the_rest_of_the_batch(size):
    model = random_body(vertices=701, shapes=16, bends=False, dtype=torch.float32)
    body = random_state(model, 2 * BLOCK + 5)
    whole = model(body)
    parts = type(whole).cat([model(body[start : start + size]) for start in range(0, 2 * BLOCK + 5, size)])
    for name in ("vertices", "joints", "orientations"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_posing__bits_do_not_depend_on_the_number_of_threads(threads):
    model = random_body(vertices=1900, shapes=16, bends=False, dtype=torch.float32)
    body = random_state(model, 3 * BLOCK + 5)
    alone = model(body)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = model(body)
    finally:
        torch.set_num_threads(before)
    for name in ("vertices", "joints", "orientations"):
        assert torch.equal(getattr(alone, name), getattr(found, name))


def test_posing__rigid_motion_moves_everything_alike():
    model = random_body()
    body = random_state(model, 3)
    turn = random_state(model, seed=5).orientation
    shift = torch.tensor([1.0, -2, 0.5], dtype=torch.float64)
    root = model(body).joints[:, :1]
    moved = model(
        type(body)(
            orientation=turn @ body.orientation, pose=body.pose, shape=body.shape, translation=body.translation + shift
        )
    )
    torch.testing.assert_close(moved.vertices, (model(body).vertices - root) @ turn.mT + root + shift)
    torch.testing.assert_close(moved.joints, (model(body).joints - root) @ turn.mT + root + shift)


def test_posing__single_precision_is_good_to_a_micrometre_at_human_size():
    model = random_body(vertices=200)
    body = random_state(model, 8)
    rough = model.to(torch.float32)(body.to(torch.float32))
    assert math.isclose(float((rough.vertices - model(body).vertices).abs().max()), 0, abs_tol=5e-6)


def test_posing__first_without_derivatives_then_with_them():
    model = random_body()
    body = random_state(model, 2)
    with torch.inference_mode():
        model(body)
        model.regress(model.template, "two")
    body = type(body)(**{**vars(body), "shape": body.shape.clone().requires_grad_()})
    posed = model(body)
    (posed.vertices.sum() + model.regress(posed.vertices, "two").sum()).backward()
    assert body.shape.grad.isfinite().all()


def test_posing__can_be_exported():
    model = random_body()
    body = random_state(model, 11)

    class Posing(torch.nn.Module):
        def forward(self, **parts):
            return model(type(body)(**parts)).vertices

    exported = torch.export.export(Posing(), (), vars(body), strict=False)
    torch.testing.assert_close(exported.module()(**vars(body)), model(body).vertices)
