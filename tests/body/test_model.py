import dataclasses

import pytest
import torch

from body.bodies import random_body, random_state
from marey.core import InputError, ShapeError


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3), (0,)])
def test_call__keeps_the_batch_shape(batch):
    model = random_body()
    found = model(random_state(model, *batch))
    assert found.batch_shape == batch
    assert found.vertices.shape == (*batch, 40, 3)
    assert found.joints.shape == (*batch, 7, 3)
    assert found.orientations.shape == (*batch, 7, 3, 3)
    assert found.vertices.is_contiguous()


def test_call__batch_of_any_shape_is_its_bodies_one_by_one():
    model = random_body()
    body = random_state(model, 2, 3)
    found = model(body)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(found.vertices[row, column], model(body[row, column]).vertices)


def test_neutral__is_the_template():
    model = random_body()
    found = model(model.neutral(2))
    torch.testing.assert_close(found.vertices, model.template.expand(2, -1, -1))
    torch.testing.assert_close(found.joints, model.joint_template.expand(2, -1, -1))


def test_call__unknown_parameter_spoils_its_own_body_alone():
    model = random_body()
    body = random_state(model, 3)
    body.pose[1, 2, 0, 0] = torch.nan
    found = model(body).vertices
    assert found[1].isnan().any()
    assert found[[0, 2]].isfinite().all()


@pytest.mark.parametrize(
    ("field", "shape", "message"),
    [("pose", (5, 3, 3), r"BodyState\.pose: expected the 6 of model random, got 5"), ("shape", (9,), "the 5 of model")],
)
def test_call__parameters_of_another_model_are_refused(field, shape, message):
    model = random_body()
    body = dataclasses.replace(model.neutral(), **{field: torch.zeros(shape, dtype=torch.float64)})
    with pytest.raises(ShapeError, match=message):
        model(body)


def test_call__other_precision_is_refused_with_the_way_out():
    model = random_body()
    with pytest.raises(ShapeError, match=r"expected torch.float64 .*got torch.float32.*use body\.to"):
        model(model.neutral().to(torch.float32))


def test_to__changes_real_numbers_only():
    model = random_body().to(torch.float32)
    assert model.template.dtype == model.pose_basis.dtype == model.regressors["two"].dtype == torch.float32
    assert model.faces.dtype == model.skin_joints.dtype == model.vertex_parts["parts"].dtype == torch.int64
    assert model(model.neutral()).vertices.dtype == torch.float32


def test_joint__by_name():
    model = random_body()
    assert model.joint("left_knee") == 4
    with pytest.raises(InputError, match=r"random has no joint 'knee'; it has: pelvis, spine, left_hip, head"):
        model.joint("knee")


def test_regress__is_the_weighted_sum_of_vertices():
    model = random_body()
    weights = torch.rand(4, 40, dtype=torch.float64)
    weights[:, 10:] = 0
    model = dataclasses.replace(model, regressors={"mixed": weights, "two": model.regressors["two"]})
    vertices = model(random_state(model, 2, 3)).vertices
    torch.testing.assert_close(model.regress(vertices, "mixed"), weights @ vertices)
    assert torch.equal(model.regress(vertices, "two"), vertices[..., [3, 7], :])


def test_regress__of_a_vertex_that_is_not_used_says_nothing():
    model = random_body()
    vertices = model.template.clone()
    vertices[0] = torch.nan
    assert model.regress(vertices, "two").isfinite().all()


def test_regress__unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"random has no regressor 'coco_17'; it has: two"):
        random_body().regress(torch.zeros(40, 3, dtype=torch.float64), "coco_17")


def test_face_parts__are_those_of_most_vertices():
    model = random_body(
        faces=torch.tensor([[0, 1, 2], [0, 3, 1], [1, 2, 3]]),
        vertex_parts={"parts": torch.tensor([4, 2, 2, 1] + [0] * 36)},
    )
    assert model.face_parts("parts").tolist() == [2, 1, 2]
    with pytest.raises(InputError, match="not divided into 'joints24'; it has: parts"):
        model.face_parts("joints24")


FAULTS = {
    "a template of pairs": ({"template": torch.zeros(40, 2)}, ShapeError, r"template: expected \(any, 3\)"),
    "a flat template": ({"template": torch.zeros(())}, ShapeError, "template: expected"),
    "a shape basis of a matrix": (
        {"shape_basis": torch.zeros(40, 3)},
        ShapeError,
        r"shape_basis: expected \(any, 3",
    ),
    "other vertices": ({"template": torch.zeros(39, 3).double()}, ShapeError, r"shape_basis: expected \(39, 3, 5\)"),
    "joints of another tree": (
        {"joint_template": torch.zeros(6, 3).double()},
        ShapeError,
        r"joint_template: expected \(7, 3\) .*got \(6, 3\)",
    ),
    "another pose basis": (
        {"pose_basis": torch.zeros(63, 120).double()},
        ShapeError,
        r"pose_basis: expected \(54, 120\)",
    ),
    "a regressor of another body": (
        {"regressors": {"h36m_17": torch.zeros(17, 6890).double()}},
        ShapeError,
        r"regressors\['h36m_17'\]: expected \(any, 40\).*got \(17, 6890\)",
    ),
    "parts of another body": (
        {"vertex_parts": {"a": torch.zeros(41, dtype=torch.int64)}},
        ShapeError,
        r"vertex_parts\['a'\]: expected \(40\)",
    ),
    "faces of real numbers": ({"faces": torch.zeros(5, 3)}, ShapeError, "faces: expected torch.int64"),
    "two precisions": ({"joint_template": torch.zeros(7, 3)}, ShapeError, "joint_template: expected torch.float64"),
    "whole numbers": ({"template": torch.zeros(40, 3).long()}, ShapeError, "template: expected torch.int64"),
    "NaN": ({"joint_template": torch.full((7, 3), torch.nan).double()}, InputError, "joint_template: expected finite"),
    "a face too far": ({"faces": torch.tensor([[0, 1, 40]])}, InputError, r"faces: expected indices in 0\.\.39, got 0"),
    "a joint below 0": (
        {"skin_joints": torch.full((40, 4), -1)},
        InputError,
        r"skin_joints: expected indices in 0\.\.6, got -1",
    ),
    "weights of half": (
        {"skin_weights": torch.full((40, 4), 0.125).double()},
        InputError,
        r"sums of 0\.5\.\.0\.5; divide",
    ),
    "uv faces without uv": ({"uv_faces": torch.zeros(60, 3, dtype=torch.int64)}, InputError, r"uv_faces: .* 0\.\.-1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_model__arrays_that_do_not_fit_are_refused(fault):
    changes, kind, message = FAULTS[fault]
    with pytest.raises(kind, match=message):
        random_body(**changes)
