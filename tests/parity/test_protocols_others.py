"""The evaluation programs of MetaPose, 3DNBF and Learnable Triangulation, on the poses that they were run on."""

import json
import math

import numpy as np
import pytest
import torch

from marey.io.predictions import pose_rows
from marey.metrics.aligned import nmpjpe_errors, procrustes_errors
from marey.metrics.protocols import human36m, lsp14, metapose
from marey.metrics.protocols.occluders import OccluderGrid, hidden

pytestmark = pytest.mark.realdata

EXACT = {"rtol": 0, "atol": 1e-9}


def load(folder, name):
    with np.load(folder / name) as arrays:
        return dict(arrays)


def in_frames(joints, names, **values):
    count = len(joints)
    return pose_rows(joints, joint_names=names, sequence=["all"] * count, frame=range(count), **values)


def first_camera(state):
    """Pose and rotation of the first camera in MetaPose's flat vectors, whose rows of a rotation are stored."""
    x, y = state[:, 51:54], state[:, 54:57]
    first = x / np.linalg.norm(x, axis=1, keepdims=True)
    third = np.cross(first, y)
    third /= np.linalg.norm(third, axis=1, keepdims=True)
    rows = np.stack([first, np.cross(third, first), third], axis=1)
    return state[:, :51].reshape(-1, 17, 3) / 1000, rows.transpose(0, 2, 1)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("state", ["x_init", "x_mirrored"])
def test_metapose__equals_the_original(shared_parity, state, mirror):
    stored = load(shared_parity / "metapose", "metrics.npz")
    joints, rotation = first_camera(stored[state])
    labels = in_frames(stored["gt_pose"] / 1000, metapose.JOINTS, rotation=stored["cam_rot"][:, 0])
    found = metapose.MetaPose(mirror=mirror).score(in_frames(joints, metapose.JOINTS, rotation=rotation), labels)
    suffix = "init" if state == "x_init" else "mirrored_x"
    np.testing.assert_allclose(found.per_row["pmpjpe_mm"], stored[f"pmpjpe_{suffix}"], **EXACT)
    np.testing.assert_allclose(found.per_row["nmpjpe_mm"], stored[f"nmpjpe_{suffix}_mirror{int(mirror)}"], **EXACT)
    if state == "x_init":
        np.testing.assert_allclose(found.per_row["pck"], stored[f"pck_init_mirror{int(mirror)}"], rtol=1e-6)
        strict = metapose.MetaPose(mirror=mirror, near_mm=30.0)
        closer = strict.score(in_frames(joints, metapose.JOINTS, rotation=rotation), labels)
        np.testing.assert_allclose(closer.per_row["pck"], stored[f"pck30_init_mirror{int(mirror)}"], rtol=1e-6)


def test_metapose__each_view_alone_equals_the_original(shared_parity):
    stored = load(shared_parity / "metapose", "metrics.npz")
    truth = torch.from_numpy(stored["gt_pose"][:, None] @ stored["cam_rot"].transpose(0, 1, 3, 2))
    alone = torch.from_numpy(stored["mono"])
    errors = [
        procrustes_errors(alone, truth, transform="symmetric", reflection=True).mean(-1),
        nmpjpe_errors(alone, truth).mean(-1),
    ]
    np.testing.assert_allclose(torch.stack(errors, -1).numpy(), stored["mono_pmpjpe_nmpjpe"], **EXACT)


def nbf_case(stored, **values):
    predictions = in_frames(stored["pred3d_mm"] / 1000, lsp14.JOINTS, keypoints=stored["pred2d"])
    labels = in_frames(stored["gt3d_mm"] / 1000, lsp14.JOINTS, keypoints=stored["gt2d"], visible=stored["mask"])
    return predictions, labels


def test_3dnbf__visible_joints_equal_the_original(shared_parity):
    stored = load(shared_parity / "nbf", "metrics.npz")
    found = lsp14.Lsp14(root="none", visible_only=True).score(*nbf_case(stored))
    assert found.values["mpjpe_mm"] == pytest.approx(float(stored["mpjpe"]), abs=1e-9)
    assert found.values["pa_mpjpe_mm"] == pytest.approx(float(stored["pa_mpjpe"]), abs=1e-9)
    assert found.values["pckh"] == pytest.approx(float(stored["pckh"]), abs=1e-9)
    assert found.values["pck"] == pytest.approx(float(stored["pck3d_150"]), rel=1e-6)
    assert found.values["auc"] == pytest.approx(float(stored["auc3d"]), rel=1e-6)
    seen = stored["mask"].any(1)
    for name, key in (("mpjpe_mm", "mpjpe"), ("pa_mpjpe_mm", "pa_mpjpe")):
        np.testing.assert_allclose(found.per_row[name][seen], stored[f"{key}_per_sample"][seen], rtol=1e-8, atol=1e-9)
        assert np.isnan(found.per_row[name][~seen]).all()
    fraction = stored["pckh_per_sample_correct_fraction"]
    np.testing.assert_allclose(found.per_row["pckh"][seen] / 100, fraction[seen], rtol=1e-8)
    assert found.counts["rows_without_visible_joint"] == 1


def test_3dnbf__all_joints_equal_the_original(shared_parity):
    stored = load(shared_parity / "nbf", "metrics.npz")
    found = lsp14.Lsp14(root="none").score(*nbf_case(stored))
    assert found.values["mpjpe_mm"] == pytest.approx(float(stored["mpjpe_allvis"]), abs=1e-9)
    assert found.values["pa_mpjpe_mm"] == pytest.approx(float(stored["pa_allvis"]), abs=1e-9)


def test_occluder__places_equal_the_original(shared_parity):
    stored = load(shared_parity / "nbf", "occluder.npz")
    for size, stride, row, column, top, bottom, left, right, *_ in stored[
        "placements_size_stride_h_w_y0_y1_x0_x1_tlx_tly"
    ].astype(int):
        grid = OccluderGrid(size=int(size), stride=int(stride))
        assert grid.places == stored[f"n_grid_{size}_{stride}"]
        assert grid.boxes()[row * grid.places + column].tolist() == [left, top, right, bottom]


def test_occluder__hides_the_same_keypoints(shared_parity):
    stored = load(shared_parity / "nbf", "occluder.npz")
    checked = 0
    for name in [name for name in stored if name.startswith("kp_")]:
        size, stride, row, column = map(int, name.split("_")[1:])
        grid = OccluderGrid(size=size, stride=stride)
        x, y, before, after = torch.from_numpy(stored[name]).T
        covered = hidden(torch.stack([x, y], -1), grid.boxes()[row * grid.places + column])
        np.testing.assert_array_equal(torch.where(covered, 0.0, before).numpy(), after.numpy(), err_msg=name)
        checked += 1
    assert checked == 16


TRIANGULATION = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "neck",
    "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head",
)  # fmt: skip
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
ACTIONS = tuple(
    f"{action}-{trial}"
    for action in (
        "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown",
        "Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkingTogether",
    )
    for trial in (1, 2)
)  # fmt: skip


def triangulation_case(stored, kind, damaged, picks=(None, None)):
    name = f"{kind}_damaged{damaged}"
    names = np.array(TRIANGULATION[: stored[f"gt_{name}"].shape[1]])
    words = {
        "subject": np.array(SUBJECTS)[stored[f"subject_{name}"]],
        "action": np.array(ACTIONS)[stored[f"action_{name}"]],
    }
    joints = [stored[f"{which}_{name}"].astype(np.float64) / 1000 for which in ("pred", "gt")]
    if picks[0] is not None:
        joints = [found[:, pick] for found, pick in zip(joints, picks, strict=True)]
        names = human36m.TRANSFER_JOINTS
    return in_frames(joints[0], names), in_frames(joints[1], names, **words)


@pytest.mark.parametrize("kind", ["human36m", "mpii"])
@pytest.mark.parametrize("damaged", [0, 1])
def test_triangulation__every_table_equals_the_original(shared_parity, kind, damaged):
    folder = shared_parity / "triangulation"
    stored, tables = load(folder, "metrics.npz"), json.loads((folder / "metrics.json").read_text("utf-8"))
    found = human36m.TriangulationHuman36M(kind=kind).score(*triangulation_case(stored, kind, damaged))
    scalar = float(stored[f"scalar_{kind}_damaged{damaged}"])
    assert found.values["mpjpe_relative_mm"] == pytest.approx(scalar, rel=1e-6)
    checked = 0
    for key, name in (("per_pose_error", "mpjpe_mm"), ("per_pose_error_relative", "mpjpe_relative_mm")):
        table = found.groups[f"{name}/subject/action"]
        expected = {
            f"{subject}/{action}": value
            for subject, row in tables[f"{kind}_damaged{damaged}"][key].items()
            for action, value in row.items()
        }
        assert {cell for cell, value in expected.items() if not math.isnan(value)} == set(table)
        for cell, value in table.items():
            assert value == pytest.approx(expected[cell], rel=1e-6), cell
            checked += 1
    assert checked == 96


def test_triangulation__without_the_invalid_scenes_the_rest_is_scored(shared_parity):
    stored = load(shared_parity / "triangulation", "metrics.npz")
    predictions, labels = triangulation_case(stored, "human36m", 1)
    found = human36m.TriangulationHuman36M(invalid_scenes=False).score(predictions, labels)
    invalid = (labels.values["subject"] == "S9") & np.isin(labels.values["action"], human36m.INVALID_SCENES)
    kept = human36m.TriangulationHuman36M().score(predictions[~invalid], labels[~invalid])
    assert found.values == kept.values
    assert found.counts == {"rows": len(labels) - invalid.sum(), "left_out": invalid.sum()}
    assert invalid.sum() > 0


@pytest.mark.parametrize(
    ("mode", "picks"),
    [
        ("cmu", ([10, 8, 9, 7, 14, 13], [10, 11, 15, 14, 1, 4])),
        ("h36m", ([10, 11, 15, 14, 1, 4], [10, 11, 15, 14, 1, 4])),
    ],
)
def test_triangulation__transfer_equals_the_original(shared_parity, mode, picks):
    stored = load(shared_parity / "triangulation", "metrics.npz")
    found = human36m.TriangulationHuman36M(kind="transfer").score(
        *triangulation_case(stored, "human36m", 1, picks=picks)
    )
    assert found.values["mpjpe_relative_mm"] == pytest.approx(float(stored[f"scalar_transfer_{mode}"]), rel=1e-6)
