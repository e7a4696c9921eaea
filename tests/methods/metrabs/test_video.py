"""Films of 3DPW in miniature: pictures whose grey says which frame it is, and estimators that know the truth."""

import pickle

import numpy as np
import pytest
import torch

from marey.body.open_body import open_body
from marey.core import InputError, MissingAssetError, ShapeError
from marey.core.skeletons import skeleton
from marey.io.images import write_image
from marey.io.predictions import pose_rows
from marey.io.predictions_published import read_pw3d_predictions
from marey.methods.metrabs import video
from marey.methods.metrabs.video import Film, VideoOptions, default_camera, follow_people, predict_pw3d
from marey.metrics.protocols import protocol

SIZE, FRAMES = (64, 48), 4
STANDING = torch.rand(24, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.5
"""Metres about the middle."""
PLACES = torch.tensor([[-1.5, 0, 5], [1.5, 0, 6]], dtype=torch.float64)
"""Of two people."""


def truth(frame: int) -> torch.Tensor:
    """(2, 24, 3) metres."""
    return STANDING + PLACES[:, None] + torch.tensor([0.05 * frame, 0, 0])


def frame_of(image: np.ndarray) -> int:
    return round(float(image.mean()) / 20) - 1


def people(image: np.ndarray) -> torch.Tensor:
    """In frame 2 the first person is not detected; the second one comes first everywhere."""
    boxes = torch.tensor([[40.0, 10, 20, 30, 0.9], [5, 10, 20, 30, 0.8]])
    return boxes[:1] if frame_of(image) == 2 else boxes


def poses(image: np.ndarray, boxes: torch.Tensor, cameras) -> torch.Tensor:
    return truth(frame_of(image))[(boxes[:, 0] < 20).logical_not().long()]


def everybody(found: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return scores.argsort(descending=True)


def pixels(frame: int) -> np.ndarray:
    """(2, 18, 3) OpenPose's joints, those that SMPL has too where they are, with confidence 1."""
    joints = truth(frame) @ default_camera(SIZE).intrinsics.T
    names, ours = skeleton("coco_18").joints, skeleton("smpl_24").joints
    found = np.zeros((2, 18, 3))
    for place, name in enumerate(names):
        if name in ours:
            joint = joints[:, ours.index(name)]
            found[:, place] = torch.cat((joint[:, :2] / joint[:, 2:], torch.ones(2, 1)), 1).numpy()
    return found


@pytest.fixture
def root(tmp_path):
    """The download in miniature, as its own programs wrote it: one sequence of two people."""
    for split, name in (("test", "downtown_walk_00"),):
        folder = tmp_path / "3dpw" / "imageFiles" / name
        folder.mkdir(parents=True)
        for frame in range(FRAMES):
            write_image(folder / f"image_{frame:05d}.jpg", np.full((*SIZE[::-1], 3), 20 * (frame + 1), np.uint8))
        labels = tmp_path / "3dpw" / "sequenceFiles" / split
        labels.mkdir(parents=True)
        document = {
            "sequence": name,
            "poses2d": [np.stack([pixels(frame)[who].T for frame in range(FRAMES)]) for who in range(2)],
            "jointPositions": [
                np.stack([truth(frame)[who].numpy().reshape(72) for frame in range(FRAMES)]) for who in range(2)
            ],
            "poses": [np.zeros((FRAMES, 72))] * 2,
            "betas": [np.zeros(10)] * 2,
            "trans": [np.zeros((FRAMES, 3))] * 2,
            "genders": ["m", "f"],
            "campose_valid": [np.ones(FRAMES, dtype=np.int64)] * 2,
            "cam_intrinsics": np.array([[55.0, 0, 32], [0, 55, 24], [0, 0, 1]]),
            "cam_poses": np.tile(np.eye(4), (FRAMES, 1, 1)),
        }
        (labels / f"{name}.pkl").write_bytes(pickle.dumps(document, protocol=2))
    return tmp_path / "3dpw"


def predicted(root, out, **options) -> np.ndarray:
    (path,) = predict_pw3d(root, out, people, poses, select=everybody, options=VideoOptions(**options))
    document = pickle.loads(path.read_bytes())
    assert set(document) == {"jointPositions"}
    return document["jointPositions"]


@pytest.mark.parametrize("association", ["labels", "first_frame"])
def test_predict_pw3d__everybody_is_who_the_labels_say(root, tmp_path, association):
    found = predicted(root, tmp_path / "out", association=association)
    expected = torch.stack([truth(frame) for frame in range(FRAMES)]).transpose(0, 1).numpy().copy()
    expected[0, 2] = expected[0, 1]  # not seen there: the pose of the frame before
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_predict_pw3d__files_lie_where_the_challenge_looks_and_score_as_they_should(root, tmp_path):
    predicted(root, tmp_path / "out", association="labels")
    path = tmp_path / "out" / "gtassoc" / "test" / "downtown_walk_00.pkl"
    assert b"_core" not in path.read_bytes()  # which NumPy 1 does not have
    person, frame = np.indices((2, FRAMES)).reshape(2, -1)
    labels = pose_rows(
        torch.stack([truth(number)[who] for who, number in zip(person, frame, strict=True)]).numpy(),
        joint_names=skeleton("smpl_24").joints,
        sequence=["downtown_walk_00"] * len(person),
        frame=frame,
        person=person,
    )
    scores = protocol("3dpw-metrabs").score(read_pw3d_predictions(path.parent, labels=labels), labels)
    assert scores.values["mpjpe_mm"] == pytest.approx(0, abs=1e-6)  # a shift of the whole pose costs nothing


def test_predict_pw3d__sequences_that_are_there_are_not_done_again(root, tmp_path):
    done = tmp_path / "out" / "nogtassoc" / "test" / "downtown_walk_00.pkl"
    done.parent.mkdir(parents=True)
    done.write_bytes(b"already")

    def must_not_look(image):
        raise AssertionError

    assert predict_pw3d(root, tmp_path / "out", must_not_look, poses, select=everybody) == [done]
    assert done.read_bytes() == b"already"


def test_predict_pw3d__the_camera_is_assumed_or_that_of_the_files(root, tmp_path):
    seen = []

    def watched(image, boxes, cameras):
        seen.append(cameras.intrinsics)
        return poses(image, boxes, cameras)

    for real in (False, True):
        options = VideoOptions(real_intrinsics=real)
        predict_pw3d(root, tmp_path / str(real), people, watched, select=everybody, options=options)
    focal = 64 / (2 * np.tan(np.deg2rad(30)))
    np.testing.assert_allclose(seen[0], [[focal, 0, 31.5], [0, focal, 23.5], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(seen[-1], [[55, 0, 32], [0, 55, 24], [0, 0, 1]])


def test_predict_pw3d__what_is_not_there_is_told(root, tmp_path):
    arguments = (tmp_path / "out", people, poses)
    with pytest.raises(InputError, match="no office_00"):
        predict_pw3d(root, *arguments, select=everybody, sequences=["office_00"])
    with pytest.raises(InputError, match="expected some of train, validation, test, got tests"):
        predict_pw3d(root, *arguments, select=everybody, splits=["tests"])
    with pytest.raises(MissingAssetError, match="no labels of the splits train"):
        predict_pw3d(root, *arguments, select=everybody, splits=["train"])
    (root / "imageFiles" / "downtown_walk_00" / "image_00002.jpg").unlink()
    with pytest.raises(MissingAssetError, match=r"image_00002\.jpg does not exist"):
        predict_pw3d(root, *arguments, select=everybody)


def images() -> list[np.ndarray]:
    return [np.full((*SIZE[::-1], 3), 20 * (frame + 1), np.uint8) for frame in range(FRAMES)]


def test_follow_people__without_labels_it_is_who_is_found_first():
    film = Film(images(), default_camera(SIZE))
    found = follow_people(film, people, poses, select=everybody, options=VideoOptions(association="none"))
    torch.testing.assert_close(found[0, 3], truth(3)[1])  # the surest of the first frame
    assert found[1].isfinite().all(-1).all(-1).tolist() == [True, True, False, True]


def test_follow_people__bad_input_is_told():
    film = Film(images(), default_camera(SIZE))
    with pytest.raises(InputError, match="by labels needs labels of the image"):
        follow_people(film, people, poses, select=everybody, options=VideoOptions(association="labels"))
    film = Film(images(), default_camera(SIZE), torch.zeros(2, 2, 8, 3))
    with pytest.raises(InputError, match="more frames than the 2 that are labelled"):
        follow_people(film, people, poses, select=everybody, options=VideoOptions(association="labels"))
    with pytest.raises(ShapeError, match=r"expected \(2, 24, 3\), joints of smpl_24, got \(2, 17, 3\)"):
        follow_people(film, people, lambda *given: poses(*given)[:, :17], select=everybody)


def test_completed_poses__start_and_smoothing():
    track = torch.full((1, 3, 24, 3), torch.nan)
    track[0, 1], track[0, 2] = 1.0, 10.0
    assert video.completed_poses(track)[0, :, 0, 0].tolist() == [1, 1, 10]
    assert video.completed_poses(track, VideoOptions(missing_start="nan"))[0, :, 0, 0].isnan().tolist() == [1, 0, 0]
    smooth = video.completed_poses(track, VideoOptions(smoothing="causal"))[0, :, 0, 0]
    torch.testing.assert_close(smooth, torch.tensor([1.0, 1.0, (6 * 10 + 2 + 1) / 9]))


def body() -> torch.Tensor:
    """(1, 24, 3) SMPL's joints of the open body, before the camera."""
    model = open_body("small")
    return model.regress(model(model.neutral()).vertices, "smpl_24").double()[None] + torch.tensor([0, 0, 4.0])


def test_plausible_people__no_monsters_and_nobody_twice():
    stretched = body().clone()
    stretched[0, 20] += 2  # a forearm of more than two metres
    unknown = body().clone()
    unknown[0, 3] = torch.nan
    everybody = torch.cat((body(), stretched, body() + 0.02, unknown, body() + 1))
    kept = video.plausible_people(everybody, torch.tensor([0.5, 0.9, 0.6, 0.9, 0.4]))
    assert kept.tolist() == [2, 4]
    assert not len(video.plausible_people(everybody[:0], torch.zeros(0)))
