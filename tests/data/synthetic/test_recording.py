"""A recording in files, looked at with other eyes than those that wrote it: tomllib, numpy, OpenCV."""

import json
import tomllib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from marey.body.open_body import open_body
from marey.core import InputError
from marey.core.results import BodyState
from marey.data.synthetic import TIERS
from marey.data.synthetic.cameras import image_of
from marey.data.synthetic.recording import RecordingConfig, stage, write_recording
from marey.io.inputs import find_views

CONFIG = RecordingConfig(people=2, views=2, frames=5, fps=10, image_size=(128, 96), seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("recording")
    write_recording(CONFIG, place, keypoints=True, masks=True)
    return place


@pytest.fixture(scope="module")
def truth(folder):
    with np.load(folder / "truth.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def cameras(folder):
    return tomllib.loads((folder / "calibration.toml").read_text(encoding="utf-8"))


def seen_by(camera, points):
    """Pixels (..., 2) of world points (..., 3)."""
    distortion = np.array(camera["distortions"])
    vectors = np.array(camera["rotation"]), np.array(camera["translation"])
    flat = points.reshape(-1, 1, 3).astype(np.float64)
    pixels, _ = cv2.projectPoints(flat, *vectors, np.array(camera["matrix"]), distortion)
    return pixels.reshape(*points.shape[:-1], 2)


def read_film(path):
    film = cv2.VideoCapture(str(path))
    frames = []
    while (found := film.read())[0]:
        frames.append(found[1])
    return film.get(cv2.CAP_PROP_FPS), np.stack(frames)


def test_recording__is_the_files_it_promises(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.toml",
        "cam_1",
        "cam_1.mp4",
        "cam_2",
        "cam_2.mp4",
        "masks",
        "recording.json",
        "truth.npz",
    ]


def test_films__are_of_one_length_and_move(folder):
    for name in ("cam_1", "cam_2"):
        fps, frames = read_film(folder / f"{name}.mp4")
        assert fps == pytest.approx(10)
        assert frames.shape == (5, 96, 128, 3)
        assert np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3)).min() > 0.1


def test_truth__is_where_the_cameras_of_the_calibration_see_it(truth, cameras):
    for view, name in enumerate(("cam_1", "cam_2")):
        pixels = seen_by(cameras[name], truth["joints"])
        known = np.isfinite(truth["keypoints"][view]).all(-1)
        assert known.mean() > 0.6
        np.testing.assert_allclose(truth["keypoints"][view][known], pixels[known], atol=0.01)
        np.testing.assert_array_equal(truth["keypoints_score"][view], known.astype(np.float32))


def test_truth__says_what_is_what(truth, folder):
    assert truth["joints"].shape == (5, 2, 25, 3)
    assert truth["joint_names"][0] == "nose"
    assert truth["fps"] == 10
    assert (truth["frames"] == np.arange(5)).all()
    about = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
    assert (about["seed"], about["tier"], about["unit"], about["world_up"]) == (4, "easy", "m", "z")


def test_truth__its_bodies_have_its_joints_and_stand_on_the_ground(truth):
    model = open_body("medium")
    names = ("orientation", "pose", "shape", "translation")
    body = BodyState(**{name: torch.from_numpy(truth[f"body_{name}"]) for name in names})
    vertices = model(body).vertices
    torch.testing.assert_close(
        model.regress(vertices, "body_25b"), torch.from_numpy(truth["joints"]), atol=1e-4, rtol=0
    )
    lowest = vertices[..., 2].amin(-1)
    assert lowest.min() > -1e-3  # what is on the ground is the dressed body
    assert lowest.max() < 0.06


def test_people__are_in_every_picture(truth, cameras):
    for name in ("cam_1", "cam_2"):
        pixels = seen_by(cameras[name], truth["joints"])
        assert ((pixels > 0) & (pixels < (127, 95))).all()
        assert np.ptp(pixels[..., 1], axis=(0, 2)).min() > 96 / 4


def test_masks__show_who_is_where(folder, truth):
    for view, name in enumerate(("cam_1", "cam_2")):
        files = sorted((folder / "masks" / name).iterdir())
        assert [file.name for file in files] == [f"{frame:06d}.png" for frame in range(5)]
        masks = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])
        assert masks.shape == (5, 96, 128)
        assert set(np.unique(masks)) == {0, 1, 2}
        points, hips = (
            truth["keypoints"][view],
            [list(truth["joint_names"]).index(f"{side}_hip") for side in ("left", "right")],
        )
        for person in range(2):
            places = points[:, person, hips].mean(1)
            frames = np.isfinite(places).all(-1)
            x, y = places[frames].round().astype(int).T
            assert (masks[frames, y, x] == person + 1).mean() > 0.8


def test_keypoints__are_near_the_truth(folder, truth):
    distances = []
    for view, name in enumerate(("cam_1", "cam_2")):
        for frame, file in enumerate(sorted((folder / name).iterdir())):
            people = json.loads(file.read_text())["people"]
            found = np.array([person["pose_keypoints_2d"] for person in people]).reshape(-1, 25, 3)
            gaps = np.linalg.norm(found[:, None, :, :2] - truth["keypoints"][view, frame], axis=-1)
            gaps[np.broadcast_to(found[:, None, :, 2] == 0, gaps.shape)] = np.nan
            distances += np.nanmedian(gaps, axis=-1).min(-1).tolist()
    assert np.median(distances) < 96 / 200 * 2


def test_folder__is_a_recording_as_it_is(folder):
    views = [(view.name, view.kind) for view in find_views([folder])]
    assert sorted(views) == [("cam_1", "keypoints"), ("cam_1", "video"), ("cam_2", "keypoints"), ("cam_2", "video")]


def test_same_seed__makes_the_same_labels(folder, truth, tmp_path):
    write_recording(CONFIG, tmp_path)
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as again:
        for name, array in truth.items():
            assert array.tobytes() == again[name].tobytes(), name
    assert (tmp_path / "calibration.toml").read_bytes() == (folder / "calibration.toml").read_bytes()


def test_earlier_recording__is_taken_away(folder, tmp_path):
    for path in folder.rglob("*"):  # a copy, so that the others keep theirs
        target = tmp_path / path.relative_to(folder)
        target.mkdir(parents=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    (tmp_path / "notes.txt").write_text("mine")
    write_recording(replace(CONFIG, views=1, frames=2), tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "calibration.toml",
        "cam_1.mp4",
        "notes.txt",
        "recording.json",
        "truth.npz",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"people": 5}, "people: expected 1 to 4, got 5"),
        ({"people": 0}, "people: expected 1 to 4"),
        ({"frames": 0}, "frames: expected 1 to"),
        ({"fps": float("nan")}, "fps: expected 1 to 1000"),
        ({"views": 0}, "one or more views"),
        ({"tier": "harder"}, "tier: expected one of easy, medium, hard"),
        ({"split": "test"}, "split: expected one of training, benchmark"),
        ({"image_size": (641, 480)}, "even numbers"),
        ({"image_size": (8, 8)}, "16 to 8192"),
        ({"skeleton": "coco"}, "skeleton: expected one of .*coco_17"),
    ],
)
def test_config__names_what_is_wrong(change, text):
    with pytest.raises(InputError, match=text):
        replace(CONFIG, **change)


@pytest.mark.parametrize("tier", TIERS)
def test_stage__keeps_people_apart_and_moves_them_smoothly(tier):
    staging = stage(RecordingConfig(tier=tier, people=4, frames=240, fps=20, seed=1))
    places = staging.people.translation[..., :2]
    apart = torch.cdist(places, places) + 10 * torch.eye(4)
    assert apart.min() > 0.6
    assert 0.3 < places.diff(dim=0).norm(dim=-1).amax() * 20 < 3
    rotations = torch.cat((staging.people.orientation[:, :, None], staging.people.pose), 2)
    turned = rotations[1:] @ rotations[:-1].mT
    cosine = (turned.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    assert cosine.clamp(-1, 1).acos().max() * 20 < 15  # radians a second


def test_stage__is_the_same_with_any_number_of_threads():
    config = RecordingConfig(tier="hard", people=4, frames=50, seed=8)
    one, before = stage(config), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        several = stage(config)
    finally:
        torch.set_num_threads(before)
    for name in ("orientation", "pose", "shape", "translation"):
        assert torch.equal(getattr(one.people, name), getattr(several.people, name)), name
    assert torch.equal(one.cameras.translation, several.cameras.translation)


@pytest.mark.parametrize("tier", TIERS)
def test_stage__nobody_leaves_the_pictures(tier):
    config = RecordingConfig(tier=tier, people=3, frames=60, fps=10, seed=6, image_size=(240, 320))
    staging, model = stage(config), open_body("small").to(torch.float64)
    joints = model(staging.people).joints
    standing = joints - torch.nn.functional.pad(joints[..., 2].amin(-1)[..., None], (2, 0))[..., None, :]
    pixels, _ = image_of(standing[None, None].flatten(2, 4), staging.cameras[None])
    assert ((pixels > 0) & (pixels < torch.tensor([239.0, 319.0]))).all()


def test_stage__a_single_frame_of_a_single_camera():
    staging = stage(RecordingConfig(tier="hard", views=1, frames=1, seed=-1))
    assert staging.people.batch_shape == (1, 1)
    assert staging.people.pose.isfinite().all()


def test_stage__other_splits_and_seeds_are_other_recordings():
    first = stage(CONFIG)
    for change in ({"seed": 5}, {"split": "training"}):
        other = stage(replace(CONFIG, **change))
        assert (first.people.translation - other.people.translation).abs().max() > 0.1
        assert (first.cameras.centers - other.cameras.centers).abs().max() > 0.1
