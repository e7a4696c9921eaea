import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from body.people import FPS, figures, joints_of
from marey.core import Estimate, Keypoints2D
from marey.io.bvh import read_bvh
from marey.io.c3d import read_c3d
from marey.io.gltf_reader import read_gltf
from marey.io.mot import read_mot
from marey.io.trc import read_trc
from marey.pipeline.config import DEFAULT_FORMATS, FORMATS, EstimateConfig
from marey.pipeline.motions import joints_y_up, motions_of, opensim_coordinates
from marey.pipeline.outputs import write_outputs
from marey.pipeline.world import to_y_up
from pipeline.recordings import recorded


@pytest.fixture
def estimate():
    """Two walking figures in a world with y up; the second is a slot that stays empty."""
    joints, _, _ = figures(4, people=2)
    positions = joints.positions.clone()
    positions[:, 1] = torch.nan
    return Estimate(
        joints=joints_of(positions, "body_25b"),
        fps=FPS,
        frames=(10, 11, 12, 13),
        provenance={"world_up": "y", "views": []},
    )


def _written(folder, estimate, formats):
    config = EstimateConfig(formats=formats, overlay=False)
    return {file.name for file in write_outputs(folder, estimate, [], config=config, progress=False)}


OF_DATASETS = ("coco", "humandata", "videopose3d")
OF_MOTION = tuple(name for name in FORMATS if name not in OF_DATASETS)


def test_every_format__is_written_for_those_who_are_there(tmp_path, estimate):
    written = _written(tmp_path, estimate, OF_MOTION)
    people = {f"person_0.{kind}" for kind in ("trc", "bvh", "mot", "c3d")} | {"person_0_amass.npz"}
    assert written == {"estimate.npz", "joints.csv", "motion.glb", "motion.usda", "report.html"} | people
    assert {file.name for file in tmp_path.iterdir()} == written


def test_default_formats__are_the_joints(tmp_path, estimate):
    assert _written(tmp_path, estimate, DEFAULT_FORMATS) == {
        "estimate.npz",
        "joints.csv",
        "person_0.trc",
        "report.html",
    }


def test_files_of_an_earlier_run__go(tmp_path, estimate):
    _written(tmp_path, estimate, OF_MOTION)
    _written(tmp_path, recorded(), OF_DATASETS)
    (tmp_path / "person_keypoints_val2017.json").write_text("{}")  # of the user
    assert len(_written(tmp_path, estimate, ("csv",))) == 2
    (tmp_path / "person_keypoints_val2017.json").unlink()
    assert {file.name for file in tmp_path.iterdir()} == {"joints.csv", "report.html"}


def test_files_of_one_result__agree(tmp_path, estimate):
    _written(tmp_path, estimate, OF_MOTION)
    markers = read_trc(tmp_path / "person_0.trc")
    c3d = read_c3d(tmp_path / "person_0.c3d")
    np.testing.assert_allclose(c3d.positions, markers.positions, atol=1e-5)
    assert (c3d.first_frame, int(markers.frames[0])) == (11, 11)
    bvh = read_bvh(tmp_path / "person_0.bvh", unit="cm")
    (scene,) = read_gltf(tmp_path / "motion.glb")
    for motion in (bvh, scene):
        places = [motion.tree.joints.index(name) for name in markers.names]
        error = np.linalg.norm(motion.positions()[:, places].numpy() - markers.positions, axis=-1)
        assert error.mean() < 0.005
    table = read_mot(tmp_path / "person_0.mot")
    np.testing.assert_allclose(table.times, np.arange(10, 14) / FPS, atol=1e-5)
    pelvis = table.values[:, [table.names.index(f"pelvis_t{axis}") for axis in "xyz"]]
    np.testing.assert_allclose(pelvis, bvh.translation.numpy(), atol=1e-4)


def test_nobody__gives_a_warning_and_no_motion(tmp_path, estimate):
    empty = replace(estimate, joints=joints_of(torch.full((4, 2, 25, 3), torch.nan), "body_25b"))
    with pytest.warns(UserWarning, match="no motion"):
        written = _written(tmp_path, empty, ("bvh", "glb", "mot", "usda"))
    assert written == {"report.html"}


def test_files_of_data_sets__hold_keypoints_and_joints_of_each_view(tmp_path):
    written = _written(tmp_path, recorded(), OF_DATASETS)
    assert written == {
        "view_front_coco.json",
        "view_side_coco.json",
        "view_front_human_data.npz",
        "view_side_human_data.npz",
        "data_3d_marey.npz",
        "data_2d_custom_marey.npz",
        "report.html",
    }
    front = json.loads((tmp_path / "view_front_coco.json").read_text())
    assert front[1] == {"image_id": 11, "category_id": 1, "keypoints": [5.0, 5.0, 0.5] * 17, "score": 0.5}
    with np.load(tmp_path / "view_front_human_data.npz", allow_pickle=False) as archive:
        assert archive["keypoints3d_original"][0, 57].tolist() == [1, 2, 4, 1]  # the left eye
    joints = np.load(tmp_path / "data_3d_marey.npz", allow_pickle=True)["positions_3d"].item()
    assert joints["person_0"]["recording"].shape == (3, 17, 3)


def test_files_of_data_sets__what_an_estimate_lacks_is_told_once_and_the_rest_written(tmp_path):
    with pytest.warns(UserWarning, match="not written") as told:
        written = _written(tmp_path, recorded(keypoints=None), (*OF_DATASETS, "csv"))
    assert written == {"data_3d_marey.npz", "joints.csv", "report.html"}
    (message,) = [str(warning.message) for warning in told]
    assert message == (
        "not written: COCO results, HumanData, VideoPose3D's 2D keypoints (there are no keypoints in images, only "
        "joints)"
    )
    with pytest.warns(UserWarning, match=r"^not written: HumanData \(there are no placed cameras") as told:
        written = _written(tmp_path, recorded(cameras=None), OF_DATASETS)
    assert len(told) == 1
    assert "view_side_coco.json" in written
    assert not list(tmp_path.glob("*human_data*"))


def test_files_of_data_sets__coco_lacks_joints_of_others(tmp_path):
    full = recorded()
    without_nose = full.keypoints.skeleton.select(full.keypoints.skeleton.joints[1:])
    keypoints = Keypoints2D(
        positions=full.keypoints.positions[..., 1:, :],
        covariance=full.keypoints.covariance[..., 1:, :, :],
        score=full.keypoints.score[..., 1:],
        skeleton=without_nose,
    )
    with pytest.warns(UserWarning, match="not written: COCO results .*has no joint 'nose'"):
        assert _written(tmp_path, replace(full, keypoints=keypoints), ("coco",)) == {"report.html"}


def test_amass__rotations_of_smpl_h_with_z_up(tmp_path, estimate):
    _written(tmp_path, estimate, ("amass", "glb"))
    with np.load(tmp_path / "person_0_amass.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {"poses", "trans", "betas", "gender", "mocap_framerate", "dmpls"}
        assert archive["poses"].shape == (4, 156)
        assert float(archive["mocap_framerate"]) == FPS
        poses, places = archive["poses"], archive["trans"]
    (motion,) = read_gltf(tmp_path / "motion.glb")
    x, y, z = motion.translation.double().numpy().T
    np.testing.assert_allclose(places, np.stack((x, -z, y), 1), atol=1e-5)
    knee = motion.rotations[2, motion.tree.joints.index("left_knee")].double()
    cosine = (torch.diagonal(knee).sum() - 1) / 2
    assert np.linalg.norm(poses[2, 12:15]) == pytest.approx(float(torch.acos(cosine)), abs=1e-3)  # joint 4 of SMPL
    assert (poses[:, 66:] == 0).all()  # hands


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_joints_y_up__turn_their_covariance_too(up):
    joints, _, _ = figures(1)
    generator = torch.Generator().manual_seed(0)
    root = 0.01 * torch.randn(*joints.positions.shape, 3, generator=generator, dtype=torch.float64)
    turned = joints_y_up(replace(joints, covariance=root @ root.mT), up)
    columns = to_y_up(root.mT, up).mT
    torch.testing.assert_close(turned.positions, to_y_up(joints.positions, up))
    torch.testing.assert_close(turned.covariance, columns @ columns.mT)


def test_coordinates__have_the_place_of_the_pelvis_after_its_turns(estimate):
    (motion,) = motions_of(estimate).values()
    names, values = opensim_coordinates(motion)
    assert names[:6] == (
        "pelvis_tilt",
        "pelvis_list",
        "pelvis_rotation",
        "pelvis_tx",
        "pelvis_ty",
        "pelvis_tz",
    )
    torch.testing.assert_close(values[:, 3:6], motion.translation)
    assert values.shape == (4, len(names))
