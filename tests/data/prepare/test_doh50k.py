"""3DOH50K, on annotations written down here: seven units are a metre."""

import json

import cv2
import numpy as np
import pytest

from body.smpl_files import family_arrays
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import joints_in_camera
from marey.data.prepare.doh50k import Doh50kOptions, read_doh50k_annotations
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.io.predictions import read_pose_rows
from marey.metrics.protocols.lsp14 import Lsp14

ROTATION = np.diag([1.0, -1.0, -1.0])
SHIFT = np.array([0.0, 7, 77])


def annotation(name="images\\00001.jpg", *, joints_in="camera", **changed):
    """A body whose joint j is 0.01 j metres to the right of the camera's axis, 5 metres away."""
    metres = np.zeros((24, 3))
    metres[:, 0], metres[:, 2] = 0.01 * np.arange(24), 5
    extrinsics = np.eye(4)
    extrinsics[:3, :3], extrinsics[:3, 3] = ROTATION, SHIFT
    camera = 7 * metres
    world = (camera - SHIFT) @ ROTATION
    lsp = camera[:14] + np.array([0, 0.7, 0])
    return {
        "img_path": name,
        "extri": extrinsics.tolist(),
        "intri": [[100, 0, 32], [0, 100, 24], [0, 0, 1]],
        "bbox": [[30, 20], [50, 40]],
        "betas": np.zeros((1, 10)).tolist(),
        "pose": np.zeros((1, 72)).tolist(),
        "trans": [[0, 0, 0]],
        "scale": [7],
        "smpl_joints_2d": (100 * metres[:, :2] / 5 + [32, 24]).tolist(),
        "smpl_joints_3d": (camera if joints_in == "camera" else world).tolist(),
        "lsp_joints_2d": np.zeros((14, 2)).tolist(),
        "lsp_joints_3d": (lsp if joints_in == "camera" else (lsp - SHIFT) @ ROTATION).tolist(),
        **changed,
    }


def write(root, split="test", **entries):
    folder = root / f"{split}set"
    (folder / "images").mkdir(parents=True)
    (folder / "annots.json").write_text(json.dumps(entries or {"00001": annotation()}))
    for number in (1, 2):
        cv2.imwrite(str(folder / f"images/0000{number}.jpg"), np.zeros((48, 64, 3), dtype=np.uint8))
    return root


def prepared(root, out, **options):
    return prepare_data_set(data_source("3doh50k"), root, out, Doh50kOptions(**options), show=False)


@pytest.mark.parametrize("joints_in", ["camera", "world"])
def test_prepare__labels_in_metres_whatever_the_frame(tmp_path, joints_in):
    labels = prepared(write(tmp_path / "d", one=annotation(joints_in=joints_in)), tmp_path / "out")
    assert labels.images.path.tolist() == ["../d/testset/images/00001.jpg"]
    assert labels.images.size.tolist() == [[64, 48]]
    np.testing.assert_allclose(joints_in_camera(labels)[0, 23], [0.23, 0, 5], atol=1e-12)
    np.testing.assert_allclose(labels.values["keypoints"][0, 23], [36.6, 24])
    assert labels.values["box"].tolist() == [[30, 20, 20, 20]]
    np.testing.assert_allclose(labels.cameras.translation, [[0, 1, 11]])
    # half a turn about x, as the camera sees a body at rest in the world
    np.testing.assert_allclose(np.abs(labels.values["smpl_orientation"]), [[np.pi, 0, 0]], atol=1e-6)
    assert f"points in the {joints_in}" in (tmp_path / "out/card.json").read_text()


def test_prepare__both_splits_in_order(tmp_path):
    write(tmp_path / "d", "train", b=annotation("images/00002.jpg"), a=annotation())
    write(tmp_path / "d", "test")
    labels = prepared(tmp_path / "d", tmp_path / "out", splits=("train", "test"))
    found = labels.images.sequence[labels.image].tolist()
    assert found == ["trainset/images/00002.jpg", "trainset/images/00001.jpg", "testset/images/00001.jpg"]
    assert labels.split[labels.image].tolist() == ["train", "train", "test"]


def test_prepare__human_data_and_given_joints(tmp_path):
    prepared(write(tmp_path / "d"), tmp_path / "out")
    with np.load(tmp_path / "out/human_data/oh50k3d_test.npz", allow_pickle=True) as found:
        assert found["image_path"].tolist() == ["testset/images/00001.jpg"]
        assert found["bbox_xywh"].tolist() == [[28, 18, 24, 24, 1]]
        assert found["keypoints2d"].shape == (1, 190, 3)
        np.testing.assert_allclose(found["keypoints3d"][0, 1], [0.01, 0, 5, 1])
        assert set(found["smpl"].item()) == {"global_orient", "body_pose", "betas"}
    rows = read_pose_rows(tmp_path / "out/protocols/test_lsp.npz")
    np.testing.assert_allclose(rows.values["joints"][0, [0, 13, 14]], [[0, 0.1, 5], [0.13, 0.1, 5], [0, 0, 5]])
    assert rows.joint_names[-2:] == ("head_top", "pelvis")
    assert not (tmp_path / "out/protocols/test_14.npz").exists()


def test_prepare__14_joints_of_the_neutral_body(tmp_path):
    smpl = tmp_path / "smpl"
    smpl.mkdir()
    body = family_arrays(seed=3)
    np.savez(smpl / "SMPL_NEUTRAL.npz", **body)
    np.save(smpl / "J_regressor_h36m.npy", np.eye(17, 60))
    betas = np.zeros(10)
    betas[2] = 1.5
    write(tmp_path / "d", one=annotation(betas=[betas.tolist()]))
    labels = prepared(tmp_path / "d", tmp_path / "out", smpl=smpl)
    shaped = body["v_template"] + 1.5 * body["shapedirs"][..., 2]
    pelvis = body["J_regressor"][0] @ shaped
    # the body turns about its pelvis at rest and stands where its first joint is annotated, at (0, 0, 5)
    np.testing.assert_allclose(labels.values["smpl_translation"][0], [0, 0, 5] - pelvis, atol=1e-5)
    rows = read_pose_rows(tmp_path / "out/protocols/test_14.npz")
    expected = (shaped - pelvis) @ ROTATION + [0, 0, 5]
    np.testing.assert_allclose(rows.values["joints"][0, [0, 14]], expected[[6, 0]], atol=1e-5)
    assert Lsp14(root="as_3dnbf").score(rows, rows).values["mpjpe_mm"] >= 0


def test_prepare__nobody(tmp_path):
    write(tmp_path / "d")
    (tmp_path / "d/testset/annots.json").write_text("{}")
    labels = prepared(tmp_path / "d", tmp_path / "out")
    assert (len(labels), len(labels.images)) == (0, 0)


def test_prepare__missing_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"annots.json: not found, the annotations of the split test"):
        prepared(tmp_path / "d", tmp_path / "out")
    write(tmp_path / "d", one=annotation("images/00009.jpg"))
    with pytest.raises(MissingAssetError, match=r"00009.jpg: not found, the picture"):
        prepared(tmp_path / "d", tmp_path / "out")
    with pytest.raises(InputError, match="splits"):
        Doh50kOptions(splits=("validation",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected a mapping"),
        (json.dumps({"7": {"extri": np.eye(4).tolist()}}), "annotation 7 has no 'intri'"),
        (json.dumps({"7": annotation(pose=[0] * 71)}), "'pose' of annotation 7: expected"),
        (json.dumps({"7": annotation(betas=["a"] * 10)}), "'betas' of annotation 7 holds no numbers"),
        (json.dumps({"7": annotation(scale=0)}), "'scale' of annotation 7 is not positive"),
        (json.dumps({"7": annotation("../../etc/passwd")}), "'img_path' of annotation 7"),
        (json.dumps({"7": annotation(bbox=[[1, 2], [3, float("nan")]])}), "finite"),
    ],
)
def test_read_doh50k_annotations__damaged(tmp_path, text, message):
    (tmp_path / "annots.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_doh50k_annotations(tmp_path / "annots.json")
