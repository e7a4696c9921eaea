"""The benchmark as methods see it: evidence and labels of the same person, and nothing that a cell does not tell."""

import cv2
import numpy as np
import pytest
import torch

from marey.core import FormatError, FrameSource, InputError
from marey.data.benchmark import Benchmark
from marey.data.benchmark.cells import CELLS
from marey.data.benchmark.mean_pose import draw_mean_pose, mean_pose, predict_mean_pose
from marey.data.benchmark.store import default_folder, label_file
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.methods.classical import ClassicalEstimator
from marey.metrics.protocols import protocol

QUICK = 16


@pytest.mark.parametrize("cell", ["single_easy", "single_hard", "calibrated_4", "uncalibrated_3", "occlusion_60"])
def test_samples__tell_what_the_cell_tells(benchmark, cell):
    samples = list(benchmark.samples(cell))
    views = len(CELLS[cell].views)
    assert len(samples) == len(benchmark.labels(cell)) == benchmark.count(cell) == QUICK
    for place, sample in enumerate(samples):
        assert sample.start == place
        assert sample.keypoints.batch_shape == sample.boxes.batch_shape == (views, 1, 1)
        assert len(sample.frames) == views
        told = CELLS[cell].cameras
        assert (sample.cameras is None) == (told == "none")
        assert told == "none" or sample.cameras.has_extrinsics == (told == "full")
        assert told == "none" or sample.cameras.batch_shape == (views,)


def test_labels__of_one_view_project_onto_its_picture_as_opencv_does(benchmark):
    joints, cameras = benchmark.labels("single_medium").values["joints"], benchmark.cameras("single_medium")
    scene = SyntheticGenerator(SyntheticConfig(tier="medium", split="benchmark"))
    index = benchmark.labels("single_medium").values["sample"].tolist()
    expected = scene.sample(20261, index, images=False).skeletons_2d["coco_17"][:, 0, 0].numpy()
    for sample in range(QUICK):
        camera = cameras[sample, 0]
        assert not bool(camera.fisheye)
        pixels = cv2.projectPoints(
            joints[sample].astype(np.float64),
            np.zeros(3),
            np.zeros(3),
            camera.intrinsics.double().numpy(),
            camera.distortion.double().numpy(),
        )[0][:, 0]
        assert np.abs(pixels - expected[sample]).max() < 0.01


def test_labels__of_uncalibrated_views_are_in_the_frame_of_the_first(benchmark):
    truth, labels = benchmark.truth("uncalibrated_2"), benchmark.labels("uncalibrated_2")
    rotation, translation = truth["camera_rotation"][:, 0], truth["camera_translation"][:, 0]
    expected = np.einsum("nab,njb->nja", rotation.astype(np.float64), truth["coco_17"]) + translation[:, None]
    assert np.abs(labels.values["joints"] - expected).max() < 1e-5
    assert labels.benchmark == "synthetic v1, first 16"


def test_labels__of_calibrated_views_are_in_the_world_and_of_any_labelled_skeleton(benchmark):
    truth = benchmark.truth("calibrated_8")
    for name, joints in (("coco_17", 17), ("h36m_17", 17), ("smpl_24", 24)):
        labels = benchmark.labels("calibrated_8", name)
        assert len(labels.joint_names) == joints
        assert np.array_equal(labels.values["joints"], truth[name])
    with pytest.raises(InputError, match="expected one of coco_17, h36m_17, smpl_24, got 'body_25'"):
        benchmark.labels("calibrated_8", "body_25")


def test_frames__are_the_pictures_of_the_cell(benchmark):
    cell = CELLS["uncalibrated_2"]
    samples = list(benchmark.samples("uncalibrated_2", 2, 4))
    expected = benchmark.images("uncalibrated_2", 2, 4)
    assert expected.shape == (2, 2, 3, 256, 256)
    for place, sample in enumerate(samples):
        for view in range(len(cell.views)):
            source = sample.frames[view]
            assert isinstance(source, FrameSource)
            assert source.size == (256, 256)
            assert len(source.timestamps) == 1
            (picture,) = source.frames()
            assert list(source.frames(1)) == []
            away = np.abs(picture.astype(int) - expected[place, view].permute(1, 2, 0).numpy())
            assert away.mean() < 0.01
    assert [sample.start for sample in samples] == [2, 3]


def test_occlusion__hides_the_share_of_the_person_that_it_says(benchmark):
    for percent in (0, 20, 40, 60, 80):
        occluded = benchmark.labels(f"occlusion_{percent}").values["occluded"]
        assert np.abs(100 * occluded - percent).max() < 5
    people = [benchmark.labels(f"occlusion_{percent}").values["joints"] for percent in (0, 80)]
    assert np.array_equal(*people)


def test_keypoints__of_calibrated_views_triangulate_to_the_labels(benchmark):
    labels = benchmark.labels("calibrated_8")
    found = [ClassicalEstimator()(sample).joints.positions[0, 0] for sample in benchmark.samples("calibrated_8")]
    away = 1000 * np.linalg.norm(torch.stack(found).numpy() - labels.values["joints"], axis=-1)
    assert np.nanmedian(away) < 25


def test_mean_pose__is_as_far_off_as_a_constant_is(benchmark):
    for cell in ("single_easy", "calibrated_4", "uncalibrated_2"):
        scores = protocol("synthetic").score(predict_mean_pose(benchmark, cell), benchmark.labels(cell))
        assert 150 < scores.values["mpjpe_mm"] < 450
    pose = mean_pose("easy")
    assert pose.shape == (17, 3)
    assert pose[0, 1] < -0.4  # the nose is above the hips, and y points down
    assert pose[5, 0] > 0.05  # people of this tier face the camera: their left shoulder is on its right


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["easy", "medium", "hard"])
def test_mean_pose__drawn_again_is_what_was_fixed(tier):
    assert torch.allclose(draw_mean_pose(tier), mean_pose(tier), rtol=0, atol=2e-4)


def test_cell__that_is_not_there__is_an_error(benchmark):
    with pytest.raises(InputError, match="no 'single' in synthetic v1, first 16; there are: single_easy, "):
        benchmark.labels("single")


def test_labels_file__of_something_else__is_an_error(tmp_path):
    np.savez(label_file(tmp_path, "easy"), index=np.arange(2000))
    with pytest.raises(FormatError, match=r"v1_easy.npz: labels of 'easy' are not those of synthetic v1"):
        Benchmark(tmp_path).labels("single_easy")


def test_default_folder__is_below_the_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MAREY_DATA", str(tmp_path))
    assert default_folder() == tmp_path / "marey" / "synthetic"
    monkeypatch.delenv("MAREY_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder() == tmp_path / "cache" / "marey" / "synthetic"
