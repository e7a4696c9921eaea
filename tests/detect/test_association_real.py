"""Association on the four-camera OpenPose recording of a balancing man, with another man at a desk behind him."""

import pytest
import torch

from marey.core import Detections2D, Keypoints2D
from marey.detect.association import AssociationConfig, associate
from marey.detect.noise import default_noise, with_noise
from marey.geometry.triangulation import triangulate
from marey.io.camera_toml import read_camera_toml
from marey.io.openpose import read_openpose_folder

pytestmark = pytest.mark.realdata
CONFIG = AssociationConfig(fps=60.0)


@pytest.fixture(scope="module")
def balancing(shared_data):
    folder = shared_data / "pose2sim_demo"
    files = [read_openpose_folder(path) for path in sorted((folder / "balancing" / "pose").iterdir())]
    slots = max(file.positions.shape[1] for file in files)
    positions = torch.full((4, 50, slots, 25, 2), torch.nan)
    score = torch.zeros(4, 50, slots, 25)
    for view, file in enumerate(files):
        positions[view, :, : file.positions.shape[1]] = torch.from_numpy(file.positions)
        score[view, :, : file.positions.shape[1]] = torch.from_numpy(file.score)
    keypoints = Keypoints2D(
        positions=positions,
        covariance=torch.full((*positions.shape, 2), torch.nan),
        score=score,
        skeleton=files[0].skeleton,
    )
    keypoints = with_noise(keypoints, default_noise("openpose"))
    return Detections2D(keypoints=keypoints), read_camera_toml(folder / "calibration" / "Calib_qualisys.toml")


def test_associate__the_man_is_found_everywhere_and_the_bystander_set_aside(balancing):
    detections, cameras = balancing
    found = associate(detections, cameras, config=CONFIG)
    assert found.slots.shape == (4, 50, 1)
    assert (found.slots >= 0).all()
    # OpenPose splits the man in two in one frame of the first view; else he is its first slot
    assert (found.slots > 0).sum() <= 1
    assert any("set aside: somebody seen by 2.0 views" in note for note in found.notes)


def test_associate__the_bystander_is_there_for_who_asks(balancing):
    """Two cameras see the man at the desk, and agree on where he is: 3 m from the other."""
    detections, cameras = balancing
    found = associate(detections, cameras, people=2, config=CONFIG)
    assert (found.slots[:2, :, 1] >= 0).float().mean() > 0.95
    assert (found.slots[2:, :, 1] == -1).all()
    points = triangulate(found.keypoints.positions, cameras, covariance=found.keypoints.covariance).positions
    apart = (points[:, 0].nanmedian(-2).values - points[:, 1].nanmedian(-2).values).norm(dim=-1)
    assert ((apart > 2.5) & (apart < 4.5)).all()


def test_associate__slots_in_any_order(balancing):
    detections, cameras = balancing
    generator = torch.Generator().manual_seed(101)
    order = torch.rand(detections.batch_shape, generator=generator).argsort(-1)
    keypoints = detections.keypoints
    shuffled = Keypoints2D(
        positions=keypoints.positions.take_along_dim(order[..., None, None], 2),
        covariance=keypoints.covariance.take_along_dim(order[..., None, None, None], 2),
        score=keypoints.score.take_along_dim(order[..., None], 2),
        skeleton=keypoints.skeleton,
    )
    plain = associate(detections, cameras, config=CONFIG)
    found = associate(Detections2D(keypoints=shuffled), cameras, config=CONFIG)
    torch.testing.assert_close(found.keypoints.positions, plain.keypoints.positions, equal_nan=True)
