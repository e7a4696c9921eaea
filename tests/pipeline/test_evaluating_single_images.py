"""Methods for single images on prepared data sets in miniature: numbers worked out by hand, and MeTRAbs's files."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from labelled_set import SIZE, cameras, estimate_of, moments_set, pose_of
from marey.core import Cameras, InputError, MissingAssetError, Requirements, skeleton
from marey.data.labelled_benchmark import DataChoice
from marey.data.labels import Images, Labels, read_labels, write_labels
from marey.data.moment_table import MomentOptions
from marey.data.single_images import SingleImageBenchmark
from marey.io.images import write_image
from marey.pipeline import evaluating
from marey.pipeline.evaluating import evaluate_method
from marey.pipeline.scoring import of_single_images, score_predictions

MOMENTS = [("S9", "Walking-1", 0), ("S9", "Walking-1", 64), ("S11", "Posing-2", 0)]
BENT = {0: 17.0, 1: 34.0, 2: 51.0}
"""Millimetres by which the left elbow of each sample is off, and the whole pose by a metre."""


@dataclass(frozen=True, kw_only=True)
class Bent:
    """Knows who is asked for by the left side of the box."""

    requires = Requirements(views=(1, 1), evidence="images", calibration="intrinsics", temporal="frame")

    def __call__(self, observation):
        samples = (observation.boxes.corners[0, :, 0, 0] - 2).round().long().tolist()
        assert len(list(observation.frames[0].frames())) == len(samples)
        names = skeleton("h36m_17").joints
        poses = np.stack([pose_of(sample) + 1.0 for sample in samples])
        poses[:, names.index("left_elbow"), 1] += [BENT[sample] / 1000 for sample in samples]
        return estimate_of(poses, skeleton("h36m_17"), observation.cameras)


@pytest.fixture(autouse=True)
def methods(monkeypatch):
    monkeypatch.setattr(evaluating, "ESTIMATORS", {"bent": f"{__name__}:Bent", "found": f"{__name__}:Found"})


@pytest.fixture
def human36m(tmp_path):
    return moments_set(tmp_path / "h36m", MOMENTS)


def test_h36m__every_image_is_a_sample_and_actions_are_averaged(human36m, tmp_path):
    scores = evaluate_method("bent", str(human36m), tmp_path / "out")["val"]["h36m-metrabs"]
    assert scores.counts["rows"] == 6  # three moments, two cameras
    assert scores.values["mpjpe_mm"] == pytest.approx((1 + 2 + 3) / 3, abs=1e-3)
    assert scores.values["mean_of_actions_mm"] == pytest.approx((1.5 + 3) / 2, abs=1e-3)
    assert scores.groups["mpjpe_mm/action"] == pytest.approx({"Posing": 3.0, "Walking": 1.5}, abs=1e-3)


def test_h36m__the_file_is_that_of_metrabs(human36m, tmp_path):
    evaluate_method("bent", str(human36m), tmp_path / "out")
    path = tmp_path / "out" / "val" / "predictions_h36m.npz"
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    assert arrays["image_path"].tolist() == [
        f"h36m/{take}.cam{camera}/frame_{frame:06d}.jpg"
        for take, camera, frame in [
            ("S11/Images/Posing-2", 0, 0),
            ("S11/Images/Posing-2", 1, 0),
            ("S9/Images/Walking-1", 0, 0),
            ("S9/Images/Walking-1", 0, 64),
            ("S9/Images/Walking-1", 1, 0),
            ("S9/Images/Walking-1", 1, 64),
        ]
    ]
    assert arrays["activity_name"].tolist() == ["Posing"] * 2 + ["Walking"] * 4
    assert arrays["coords3d_true_world"].shape == (6, 17, 3)
    # the pelvis is last; sample 2 stands two metres from the first, cameras are ten metres behind
    np.testing.assert_allclose(arrays["coords3d_true_world"][0, 16], [2000, 0, 0], atol=1e-3)
    np.testing.assert_allclose(arrays["coords3d_true"][0, 16], [2000, 0, 10000], atol=1e-3)
    np.testing.assert_allclose(arrays["coords3d_true"][1, 16], [1500, 0, 10000], atol=1e-3)
    np.testing.assert_allclose(arrays["coords3d_pred"][1, 16], [2500, 1000, 11000], atol=1e-3)
    again = score_predictions(path, protocol_name="h36m-metrabs")
    assert again.values["mpjpe_mm"] == pytest.approx(2.0, abs=1e-3)


def test_h36m__scoring_again_takes_the_protocols_of_single_images(human36m, tmp_path):
    from marey.cli.main import main

    evaluate_method("bent", str(human36m), tmp_path / "out")
    assert of_single_images(tmp_path / "out" / "val")
    assert main(["evaluate", "--predictions", str(tmp_path / "out" / "val"), "--out", str(tmp_path / "s.json")]) == 0
    assert {"h36m-metrabs", "h36m-metrabs-pa"} <= set(json.loads((tmp_path / "s.json").read_text("utf-8")))


def test_choice__cameras_moments_and_damaged_labels(tmp_path):
    moments = [("S9", "Waiting-1", 0), *MOMENTS]
    folder = moments_set(tmp_path / "h36m", moments, missing=((3, 0),))

    def chosen(**options):
        ruler = SingleImageBenchmark(folder, DataChoice(moments=MomentOptions(**options)))
        rows = ruler.detections(*ruler.cells)
        return sorted(zip(rows.values["box"][:, 0].astype(int) - 2, rows.sequence.tolist(), strict=True))

    assert [sample for sample, _ in chosen()] == [0, 0, 1, 1, 2, 2, 3]
    assert [sample for sample, _ in chosen(damaged=False)] == [1, 1, 2, 2, 3]
    assert [sample for sample, _ in chosen(views=("cam0",))] == [0, 1, 2]
    assert [sample for sample, _ in chosen(ignored_views=("0",))] == [0, 1, 2, 3]
    assert [sample for sample, _ in chosen(every=2)] == [0, 0, 2, 2]
    with pytest.raises(InputError, match="views: h36m has no 'cam7'; there are: cam0, cam1"):
        chosen(views=("cam7",))
    with pytest.raises(InputError, match="no split 'train'"):
        chosen(split="train")


def test_choice__centres_are_refused(human36m):
    with pytest.raises(InputError, match="finds by itself where people are"):
        SingleImageBenchmark(human36m, DataChoice(labelled_centers=True))


MUPOTS_POSE = np.linspace(-0.3, 0.3, 17 * 3).reshape(17, 3)


def standing(x: float) -> np.ndarray:
    return MUPOTS_POSE + np.array([x, 0.0, 10.0])


@dataclass(frozen=True, kw_only=True)
class Found:
    """Says that somebody stands where the box is."""

    nobody: bool = False
    """Whether boxes right of the middle are empty."""

    requires = Requirements(views=(1, 1), evidence="images", calibration="intrinsics", temporal="frame")

    def __call__(self, observation):
        corners = observation.boxes.corners[0, :, 0]
        middles = corners[:, (0, 2)].mean(-1)
        rays = (middles - observation.cameras.intrinsics[0, 0, 2]) / observation.cameras.intrinsics[0, 0, 0]
        poses = np.stack([standing(10 * float(ray)) for ray in rays])
        poses[(rays.numpy() > 0) & self.nobody] = np.nan
        return estimate_of(poses, skeleton("mpi_inf_3dhp_17"), observation.cameras)


@pytest.fixture
def mupots(tmp_path):
    """Two people in each of the first two frames, nobody in the third; who stands at -2 is detected in one frame."""
    folder = tmp_path / "mupots"
    (folder / "images").mkdir(parents=True)
    for frame in range(3):
        write_image(folder / f"images/img_{frame:06d}.jpg", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    camera = cameras(1)
    camera = Cameras(
        intrinsics=camera.intrinsics * torch.tensor([[10.0, 1, 1], [1, 10, 1], [1, 1, 1]]),
        distortion=camera.distortion,
        image_size=camera.image_size,
        names=("TS1",),
    )
    images = Images(
        path=np.array([f"images/img_{frame:06d}.jpg" for frame in range(3)]),
        size=np.array([SIZE] * 3),
        camera=np.zeros(3, dtype=np.int64),
        sequence=np.array(["TS1"] * 3),
        frame=np.arange(3),
        moment=np.arange(3),
        view=np.zeros(3, dtype=np.int64),
    )
    matrix = camera.intrinsics[0].numpy()
    joints = np.stack([standing(x) for x in (-2, 2, -2, 2)])
    pixels = joints @ matrix.T
    common = {"skeleton": skeleton("mpi_inf_3dhp_17"), "images": images, "split": np.array(["test"] * 3)}
    people = {"image": np.array([0, 0, 1, 1]), "person": np.array([0, 1, 0, 1])}
    values = {
        "joints_camera": joints,
        "joints_universal": joints,
        "keypoints": pixels[..., :2] / pixels[..., 2:],
        "box": np.ones((4, 4)),
        "intrinsics": np.stack([matrix] * 4),
    }
    labels = Labels(name="mupots", version="1", cameras=camera, values=values, **common, **people)
    write_labels(folder / "labels.npz", labels)
    found = {"image": np.array([0, 0, 1, 2]), "person": np.array([0, 1, 0, 0])}
    boxes = np.array([[600 * x / 10 + 47.5 - 3, 10, 6, 20] for x in (2, -2, 2, 0.5)])
    detected = {"box": boxes, "score": np.array([0.9, 0.8, 0.7, 0.6]), "intrinsics": values["intrinsics"]}
    write_labels(
        folder / "detections.npz",
        Labels(name="mupots-detections", version="1", cameras=camera, values=detected, **common, **found),
    )
    return folder


def test_mupots__detections_are_the_samples_and_everybody_annotated_is_scored(mupots, tmp_path):
    scores = evaluate_method("found", str(mupots), tmp_path / "out")["val"]["mupots"]
    assert scores.counts == {"people": 4, "matched": 3, "detections": 4}
    assert scores.values["recall"] == pytest.approx(75)
    assert scores.values["metric/absolute/raw/mpjpe14_mm"] == pytest.approx(0, abs=1e-3)
    assert scores.values["metric/absolute/raw/pck_all"] == pytest.approx(75)
    path = tmp_path / "out" / "val" / "predictions_mupots.npz"
    with np.load(path, allow_pickle=False) as stored:
        paths, poses, truth = (stored[key] for key in ("image_path", "coords3d_pred", "coords3d_true"))
    assert paths.tolist() == [f"mupots/TS1/img_{frame:06d}.jpg" for frame in (0, 0, 1, 2)]
    # the pelvis is last here and in place 14 in ours
    np.testing.assert_allclose(poses[:, 16, 0], 1000 * (np.array([2, -2, 2, 0.5]) + MUPOTS_POSE[14, 0]), atol=1e-2)
    assert np.isnan(truth).all()


def test_mupots__detections_in_which_the_method_finds_nobody_are_none(mupots, tmp_path):
    scores = evaluate_method("found", str(mupots), tmp_path / "out", changes=["nobody=true"])["val"]["mupots"]
    assert scores.counts == {"people": 4, "matched": 1, "detections": 1}
    with np.load(tmp_path / "out" / "val" / "predictions_mupots.npz") as stored:
        assert stored["image_path"].tolist() == ["mupots/TS1/img_000000.jpg"]


def test_mupots__a_part_is_scored_against_the_frames_that_were_looked_at(mupots, tmp_path):
    scores = evaluate_method("found", str(mupots), tmp_path / "out", limit=1)["val"]["mupots"]
    assert scores.counts == {"people": 2, "matched": 1, "detections": 1}


def test_mupots__dark_films_are_shown_as_the_original_shows_them(mupots):
    (first, *_) = SingleImageBenchmark(mupots).samples("val")
    (picture, *_) = first.frames[0].frames()
    assert first.frames[0].size == SIZE
    assert picture.tolist() == np.full((SIZE[1], SIZE[0], 3), int(255 * (90 / 255) ** 0.67)).tolist()


def test_mupots__without_detections_it_is_told_what_to_do(mupots, tmp_path):
    (mupots / "detections.npz").unlink()
    with pytest.raises(MissingAssetError, match="marey data prepare mupots --detections FILE"):
        evaluate_method("found", str(mupots), tmp_path / "out")


def test_labels__without_boxes_or_pictures_are_refused(human36m, tmp_path):
    labels = read_labels(human36m / "labels.npz")
    for name, changed, message in (
        ("a", {"values": {key: value for key, value in labels.values.items() if key != "box"}}, "lack some"),
        ("b", {"cameras": None}, "lack some"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        images = replace(labels.images, camera=np.full(len(labels.images), -1)) if name == "b" else labels.images
        write_labels(folder / "labels.npz", replace(labels, images=images, **changed))
        with pytest.raises(InputError, match=message):
            SingleImageBenchmark(folder)
