"""The way of the methods that look at images: people's boxes reach them, and what they lack is told before any work."""

import math

import pytest
import torch

import marey
from marey.core import Boxes, InputError, MissingAssetError
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.io.images import write_image
from marey.io.weights import write_weights
from marey.methods.metrabs.networks import describe, trunk_network
from marey.methods.metrabs.trunk_model import MetricHead, TrunkMetrabs
from marey.pipeline.evidence import taken_boxes


def test_boxes__follow_their_people():
    corners = torch.tensor([[0.0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]).repeat(1, 2, 1, 1)
    boxes = Boxes(corners=corners, score=torch.tensor([0.9, 0.8, 0.7]).repeat(1, 2, 1))
    found = taken_boxes(boxes, torch.tensor([[[2, 0], [-1, 1]]]))
    assert found.corners[0, 0].tolist() == [[4, 4, 5, 5], [0, 0, 1, 1]]
    assert found.corners[0, 1, 0].isnan().all()
    assert found.corners[0, 1, 1].tolist() == [2, 2, 3, 3]
    assert torch.equal(found.score, torch.tensor([[[0.7, 0.9], [0.0, 0.8]]]))
    assert taken_boxes(None, torch.zeros(1, 2, 2, dtype=torch.long)) is None


@pytest.mark.parametrize("method", ["algebraic", "volumetric", "ransac"])
def test_estimate__keypoints_alone_are_not_enough(tmp_path, method):
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=5, people=1, seed=3))
    recording = write_keypoint_capture(capture, tmp_path / "recording")
    config = marey.EstimateConfig(fps=60.0)
    with pytest.raises(InputError, match=f"the method {method} looks at images"):
        marey.estimate(recording, calibration=recording / CALIBRATION_FILE, method=method, config=config)


def test_estimate__a_photo_by_metrabs(tmp_path):
    """By the trunk and a head that has learned nothing: it starts as the lifter's guess, placed before the camera."""
    torch.manual_seed(0)
    module = TrunkMetrabs(shipped_trunk(), shipped_image_lifter(), MetricHead())
    weights = tmp_path / "weights"
    write_weights(weights, module.state_dict(), {"metrabs": describe(trunk_network(module))})
    made = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(256, 256))).sample(2, range(1))
    write_image(tmp_path / "photo.png", made.images[0, 0].permute(1, 2, 0).numpy())
    angle = 2 * math.degrees(math.atan(128 / float(made.cameras.intrinsics[0, 0, 0, 0])))
    config = marey.EstimateConfig(detector="marey", weights=weights, field_of_view=angle)
    estimate = marey.estimate(tmp_path / "photo.png", method="metrabs", config=config)
    assert estimate.joints.skeleton.name == "halpe_26"
    assert estimate.joints.batch_shape == (1, 1)
    depth = estimate.joints.positions[0, 0, :, 2].mean()
    assert 0.5 < depth / made.views.depth[0, 0, 0].mean() < 1.6
    assert (torch.linalg.eigvalsh(estimate.joints.covariance) > 0).all()
    assert any(note.startswith("The camera is not calibrated") for note in estimate.notes)
    assert any(note.startswith("Joints by the network metrabs, 26 joints (halpe_26)") for note in estimate.notes)
    assert estimate.provenance["method"] == "metrabs"


@pytest.mark.slow
@pytest.mark.realdata
def test_estimate__videos_by_sample_consensus(shared_data):
    """The detector's people are looked at again, by the network with the weights that are shipped."""
    pytest.importorskip("mediapipe")
    place = shared_data / "pose2sim_demo"
    estimate = marey.estimate(
        place / "balancing" / "videos",
        calibration=place / "calibration" / "Calib_qualisys.toml",
        frames=(0, 6),
        method="ransac",
        config=marey.EstimateConfig(detector="mediapipe", people=1, refine="none"),
    )
    assert estimate.joints.skeleton.name == "halpe_26"
    assert estimate.joints.batch_shape == (6, 1)
    assert estimate.joints.positions.isfinite().all(-1).float().mean() > 0.9
    assert estimate.keypoints.batch_shape == (4, 6, 1)
    assert estimate.provenance["weights"] == "the shipped trunk"
    assert estimate.provenance["method"] == "ransac"


def test_config__weights_that_are_not_there(tmp_path):
    with pytest.raises(MissingAssetError, match=r"nothing\.pth: expected a checkpoint or a folder of weights"):
        marey.EstimateConfig(weights=tmp_path / "nothing.pth")
