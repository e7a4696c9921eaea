import dataclasses

import numpy as np
import pytest
import torch

import pickle2
from body.bodies import random_state
from body.smpl_files import COUNTS, PARENTS, family_arrays, python2_pickle
from body.test_skinning import skinned_by_loops
from marey.body.smpl import read_smpl
from marey.core import FormatError, InputError


def written(folder, arrays, suffix=".pkl"):
    path = folder / f"SMPL_NEUTRAL{suffix}"
    if suffix == ".pkl":
        path.write_bytes(python2_pickle(arrays))
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("family", ["smpl", "smplh"])
@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
def test_read__keeps_the_arrays(tmp_path, family, suffix):
    arrays = family_arrays(family)
    model = read_smpl(written(tmp_path, arrays, suffix), dtype=torch.float64)
    assert model.name == "SMPL_NEUTRAL"
    assert model.tree.parents == PARENTS[family]
    np.testing.assert_array_equal(model.template, arrays["v_template"])
    np.testing.assert_array_equal(model.faces, arrays["f"])
    np.testing.assert_array_equal(model.shape_basis, arrays["shapedirs"])
    np.testing.assert_allclose(model.joint_template, arrays["J_regressor"] @ arrays["v_template"], atol=1e-15)
    table = np.zeros_like(arrays["weights"])
    np.put_along_axis(table, model.skin_joints.numpy(), model.skin_weights.numpy(), axis=1)
    np.testing.assert_array_equal(table, arrays["weights"])
    assert model.skin_joints.shape == (60, 4)


def test_read__the_shape_of_the_body_moves_its_joints(tmp_path):
    arrays = family_arrays()
    model = read_smpl(written(tmp_path, arrays), dtype=torch.float64)
    beta = np.linspace(-2, 2, 10)
    shaped = arrays["v_template"] + np.einsum("nds,s->nd", arrays["shapedirs"], beta)
    body = dataclasses.replace(model.neutral(), shape=torch.tensor(beta))
    np.testing.assert_allclose(model(body).joints, arrays["J_regressor"] @ shaped, atol=1e-12)


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_read__poses_as_the_equations_say(tmp_path, family):
    arrays = family_arrays(family, shapes=20)
    model = read_smpl(written(tmp_path, arrays), dtype=torch.float64)
    body = random_state(model)
    shape, rotations = body.shape.numpy(), np.concatenate((body.orientation[None], body.pose))
    bent = (rotations[1:] - np.eye(3)).reshape(-1)
    shaped = arrays["v_template"] + arrays["shapedirs"][..., :10] @ shape
    by_hand = dataclasses.replace(
        model,
        template=torch.tensor(shaped + arrays["posedirs"] @ bent),
        shape_basis=torch.zeros_like(model.shape_basis),
        joint_template=torch.tensor(arrays["J_regressor"] @ shaped),
        joint_basis=torch.zeros_like(model.joint_basis),
        pose_basis=None,
    )
    np.testing.assert_allclose(model(body).vertices, skinned_by_loops(by_hand, body)[0], atol=1e-12)


@pytest.mark.parametrize(
    ("family", "stored", "betas", "kept"),
    [
        ("smpl", 10, None, 10),
        ("smpl", 300, 10, 10),
        ("smpl", 12, 0, 0),
        ("smplh", 16, None, 16),
        ("smplx", 20, None, 10),
        ("smplx", 400, None, 300),
        ("smplx", 400, 16, 16),
    ],
)
def test_read__number_of_shape_coefficients(tmp_path, family, stored, betas, kept):
    arrays = family_arrays(family, vertices=15, shapes=stored)
    model = read_smpl(written(tmp_path, arrays, ".npz"), betas=betas)
    assert model.shape_basis.shape == (15, 3, kept)
    np.testing.assert_array_equal(model.shape_basis, arrays["shapedirs"][..., :kept].astype(np.float32))
    assert model(model.neutral(2)).vertices.shape == (2, 15, 3)


def test_read__more_shape_coefficients_than_there_are(tmp_path):
    path = written(tmp_path, family_arrays())
    with pytest.raises(InputError, match="betas=16, the file has 10 shape coefficients; betas=None keeps all"):
        read_smpl(path, betas=16)


def test_read__gendered_files_are_models_of_their_own(tmp_path):
    models = []
    for number, gender in enumerate(("MALE", "FEMALE")):
        (tmp_path / f"SMPL_{gender}.pkl").write_bytes(python2_pickle(family_arrays(seed=number)))
        models.append(read_smpl(tmp_path / f"SMPL_{gender}.pkl"))
    assert [model.name for model in models] == ["SMPL_MALE", "SMPL_FEMALE"]
    assert not torch.equal(models[0].template, models[1].template)


@pytest.mark.parametrize("root", [2**32 - 1, 2**64 - 1, -1])
def test_read__however_the_root_says_that_it_has_no_parent(tmp_path, root):
    arrays = family_arrays()
    kind = np.int64 if root < 0 else np.uint64
    arrays["kintree_table"] = np.array([(root, *PARENTS["smpl"][1:]), range(24)], dtype=kind)
    assert read_smpl(written(tmp_path, arrays)).tree.parents == PARENTS["smpl"]


def test_read__selected_shapes_and_dense_regressor_in_one_pickle(tmp_path):
    arrays = family_arrays(shapes=3)
    everything = np.concatenate((arrays["shapedirs"], np.ones((60, 3, 7))), -1)
    places = np.arange(everything.size).reshape(everything.shape)[..., :3].reshape(-1)
    content = python2_pickle(
        arrays,
        shapedirs=pickle2.selected(pickle2.chumpy(everything), places, (60, 3, 3)),
        J_regressor=pickle2.array(arrays["J_regressor"]),
        v_template=pickle2.chumpy(arrays["v_template"]),
    )
    (tmp_path / "m.pkl").write_bytes(content)
    model = read_smpl(tmp_path / "m.pkl", betas=None, dtype=torch.float64)
    np.testing.assert_array_equal(model.shape_basis, arrays["shapedirs"])


def test_parts__of_a_vertex_are_those_of_the_joint_that_moves_it_most(tmp_path):
    arrays = family_arrays("smplx", vertices=55, shapes=20)
    arrays["weights"] = 0.6 * np.eye(55) + 0.4 / 55
    parts = read_smpl(written(tmp_path, arrays)).vertex_parts
    assert parts["joints24"][:22].tolist() == list(range(22))
    assert parts["joints24"][22:25].tolist() == [15, 15, 15]
    assert parts["joints24"][25:40].tolist() == [22] * 15
    assert parts["joints24"][40:].tolist() == [23] * 15
    assert parts["parts14"][[0, 1, 4, 7, 15, 16, 18, 20, 30]].tolist() == [1, 6, 7, 14, 10, 2, 3, 12, 12]
    assert parts["parts14"][[3, 2, 5, 8, 12, 17, 19, 21, 50]].tolist() == [1, 8, 9, 13, 10, 4, 5, 11, 11]


def test_regressors__of_the_user(tmp_path):
    path = written(tmp_path, family_arrays())
    matrix = np.random.default_rng(0).random((17, 60))
    np.save(tmp_path / "J_regressor_h36m.npy", matrix)
    model = read_smpl(path, regressors={"h36m": tmp_path / "J_regressor_h36m.npy"}, dtype=torch.float64)
    np.testing.assert_array_equal(model.regressors["h36m"], matrix)
    left_hip, right_hip = 1, 4
    np.testing.assert_array_equal(model.regressors["h36m_17"][:5], matrix[[0, right_hip, 5, 6, left_hip]])


def test_regressors__of_another_size_are_refused(tmp_path):
    path = written(tmp_path, family_arrays())
    np.save(tmp_path / "J.npy", np.ones((17, 6890)))
    with pytest.raises(FormatError, match=r"J\.npy: \(17, 6890\), expected \(17, 60\) for 'h36m'"):
        read_smpl(path, regressors={"h36m": tmp_path / "J.npy"})
    with pytest.raises(FormatError, match=r"expected \(9, 60\) for 'extra'"):
        read_smpl(path, regressors={"extra": tmp_path / "J.npy"})


def without(name):
    arrays = family_arrays()
    del arrays[name]
    return arrays


def spoiled(name, place=(3, 1)):
    arrays = family_arrays()
    arrays[name][place] = np.nan
    return arrays


def joined_otherwise():
    arrays = family_arrays()
    arrays["kintree_table"][0, 5] = 1
    return arrays


FAULTS = {
    "no weights": (without("weights"), r"without weights; a body model .* has v_template, f, weights"),
    "no joints": (without("kintree_table"), "without kintree_table"),
    "a motion": ({"poses": np.zeros((3, 72)), "trans": np.zeros((3, 3))}, "it holds a motion, see read_amass_npz"),
    "a hand": (
        family_arrays() | {"kintree_table": np.zeros((2, 16), np.uint32)},
        r"J joints of 24 \(smpl\), 52 \(smpl",
    ),
    "another tree": (joined_otherwise(), "does not join the 24 joints as smpl does"),
    "the pose basis of SMPL-H": (
        family_arrays() | {"posedirs": family_arrays("smplh")["posedirs"]},
        r"'posedirs' is \(60, 3, 459\), the other arrays want \(60, 3, 207\)",
    ),
    "the weights of SMPL-X": (
        family_arrays() | {"weights": family_arrays("smplx")["weights"]},
        r"'weights' is \(60, 55\), the other arrays want \(60, 24\)",
    ),
    "other vertices": (
        family_arrays() | {"v_template": np.zeros((61, 3))},
        r"'weights' is \(60, 24\), the other arrays want \(61, 24\)",
    ),
    "flat vertices": (
        family_arrays() | {"v_template": np.zeros(180)},
        r"'v_template' is \(180,\), the other arrays want",
    ),
    "a number for vertices": (family_arrays() | {"v_template": np.float64(1)}, r"'v_template' is \(\)"),
    "flat shapes": (family_arrays() | {"shapedirs": np.zeros((180, 10))}, r"'shapedirs' is .* want \(60, 3, any\)"),
    "NaN": (spoiled("v_template"), "'v_template' holds NaN or infinity"),
    "NaN in the weights": (spoiled("weights"), "'weights' holds NaN"),
    "faces of reals": (family_arrays() | {"f": np.zeros((5, 3))}, "'f' is float64"),
    "faces of four": (family_arrays() | {"f": np.zeros((5, 4), int)}, r"'f' is int64 \(5, 4\), expected whole numbers"),
    "a face too far": (family_arrays() | {"f": np.full((1, 3), 60)}, r"'f' names vertices 60\.\.60, there are 60"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_read__arrays_that_do_not_fit_are_refused(tmp_path, fault):
    arrays, message = FAULTS[fault]
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(FormatError, match=rf"model\.npz: .*{message}"):
        read_smpl(tmp_path / "model.npz")


def test_read__weights_that_do_not_sum_to_one_are_refused(tmp_path):
    arrays = family_arrays()
    arrays["weights"] /= 2
    with pytest.raises(InputError, match=r"skin_weights: .*sums of 0\.5\.\.0\.5; divide"):
        read_smpl(written(tmp_path, arrays))


def test_read__without_derivatives_used_with_them(tmp_path):
    path = written(tmp_path, family_arrays())
    with torch.inference_mode():
        model = read_smpl(path)
    body = model.neutral()
    body.shape.requires_grad_()
    model(body).vertices.sum().backward()
    assert body.shape.grad.isfinite().all()


def test_families__have_the_joints_of_their_poses():
    assert {family: len(parents) for family, parents in PARENTS.items()} == COUNTS
