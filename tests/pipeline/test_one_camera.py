"""`estimate` with one camera, from real pictures to files."""

import cv2
import pytest
import torch

from marey.core import InputError
from marey.geometry.projection import world_to_camera
from marey.io.npz import read_estimate_npz
from marey.pipeline import EstimateConfig, estimate

pytestmark = pytest.mark.realdata


@pytest.fixture(autouse=True, scope="module")
def _detector():
    pytest.importorskip("mediapipe", reason="the optional MediaPipe 0.10.14 is not installed")


def test_estimate__a_photo_without_anything(shared_data, tmp_path, recwarn):
    result = estimate(shared_data / "images" / "pose.jpg", out=tmp_path)
    assert result.provenance["method"] == "monocular"
    assert not [warning for warning in recwarn if "frame rate" in str(warning.message)]
    joints = result.joints
    assert joints.batch_shape == (1, 1)
    depth = joints.positions[0, 0, :, 2]
    assert depth.min() > 1.5  # the whole of her fits into the picture
    assert depth.max() < 8
    # an unknown lens: a quarter of the distance
    assert 0.2 < float((joints.covariance[0, 0, :, 2, 2].sqrt() / depth).median()) < 0.3
    assert result.diagnostics.residuals.median() < 6
    assert result.provenance["world_up"] == "-y"
    assert any("55 degrees" in note for note in result.notes)
    for name in ("estimate.npz", "joints.csv", "person_0.trc", "overlay.mp4", "report.html"):
        assert (tmp_path / name).stat().st_size > 0
    assert read_estimate_npz(tmp_path / "estimate.npz").joints.batch_shape == (1, 1)


def test_estimate__the_angle_decides_the_distance(shared_data):
    photo = shared_data / "images" / "pose.jpg"
    wide, narrow = (
        estimate(photo, config=EstimateConfig(field_of_view=angle, overlay=False)).joints.positions[..., 2].mean()
        for angle in (80.0, 40.0)
    )
    # tan 40 / tan 20
    assert float(narrow / wide) == pytest.approx(2.305, rel=0.1)


def test_estimate__half_a_body_and_nobody(shared_data, tmp_path):
    config = EstimateConfig(overlay=False)
    result = estimate(shared_data / "images" / "astronaut.png", config=config)
    assert result.joints.positions.isfinite().all()
    assert any("the size is the detector's own" in note for note in result.notes)
    cv2.imwrite(str(tmp_path / "grey.png"), torch.full((200, 300, 3), 128, dtype=torch.uint8).numpy())
    with pytest.raises(InputError, match="nobody is seen"):
        estimate(tmp_path / "grey.png", config=config)


def test_estimate__a_calibrated_video_ends_in_its_world(shared_data):
    folder = shared_data / "pose2sim_demo"
    config = EstimateConfig(people=1, unit="m", overlay=False)
    result = estimate(
        folder / "balancing" / "videos" / "cam04.mp4",
        calibration=folder / "calibration" / "Calib_qualisys.toml",
        frames=(0, 6),
        config=config,
    )
    assert result.provenance["world_up"] == "z"
    hips = result.joints.positions[:, 0, [23, 24]].mean(1)
    depth = world_to_camera(hips[None], result.cameras)[0, :, 2]
    # the triangulation of all four views says 3.0 m
    assert (depth / 3.03 - 1).abs().max() < 0.1
    away = (result.joints.positions - result.cameras.centers[0]).norm(dim=-1)
    spread = result.joints.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
    lasting = result.provenance["distance_deviation"][0]
    assert 0.03 < lasting < 0.06
    assert (spread / away >= lasting).all()  # smoothing takes nothing of it away
    assert float((spread / away).mean()) < 0.08
