"""Predictions drawn over pictures: what is where was worked out by hand."""

import pickle

import numpy as np
import pytest

from labelled_set import moments_set, pose_of
from marey.core import InputError, MissingAssetError, skeleton
from marey.data.moment_table import MomentOptions
from marey.io.images import read_image, write_image
from marey.io.predictions import pose_rows, write_pose_rows
from marey.pipeline.drawn_data import configured_data, prepared_data
from marey.pipeline.redrawing import redraw, skeleton_of

MOMENTS = [("S9", "Walking-1", 0), ("S9", "Walking-1", 5), ("S11", "Posing-2", 7)]
ORANGE, SKY = (230, 159, 0), (86, 180, 233)
HEAD, TILE, GAP = 30, 320, 4
SPOT = (166, 209)
"""In a tile: where the first camera sees (-5, 0, 0). It is (17.5, 31.5) in the picture: 60 pixels a metre at 1 m, seen
from 10 m, about the middle (47.5, 31.5). The box of the first sample, 2 to 32 by 4 to 44, is shown with room, as the
52 pixels from (-9, -2): 27 / 52 and 34 / 52 of the tile."""


@pytest.fixture
def folder(tmp_path):
    return moments_set(tmp_path / "set", MOMENTS, missing=((2, 1),))


def rows(count=3, **values):
    """All joints of every pose at (-5, 0, 0)."""
    joints = np.broadcast_to(np.array([-5.0, 0, 0]), (count, 17, 3))
    return pose_rows(
        joints,
        joint_names=skeleton("h36m_17").joints,
        sequence=[f"{subject}/{action}" for subject, action, _ in MOMENTS[:count]],
        frame=[frame for *_, frame in MOMENTS[:count]],
        **values,
    )


def data(folder, **options):
    side = options.pop("cuboid_side", None)
    return prepared_data(str(folder), MomentOptions(**options), cuboid_side=side)


def tile(figure, row, column):
    top, left = HEAD + row * (TILE + GAP), column * (TILE + GAP)
    return figure[top : top + TILE, left : left + TILE]


def close(pixel, color):
    return np.abs(pixel.astype(int) - color).max() < 40


def test_redraw__one_picture_a_pose_shows_all_views(folder, tmp_path):
    write_pose_rows(tmp_path / "predictions.npz", rows())
    files = redraw(tmp_path / "predictions.npz", data(folder), tmp_path / "out")
    assert [path.name for path in files] == [
        "000000_S9-Walking-1_000000_0.png",
        "000001_S9-Walking-1_000005_0.png",
        "000002_S11-Posing-2_000007_0.png",
    ]
    figures = [read_image(path) for path in files]
    # picture, estimate and label in rows; the last moment is seen by one camera only
    height = HEAD + 3 * (TILE + GAP)
    assert [figure.shape for figure in figures] == [
        (height, 2 * TILE + GAP, 3),
        (height, 2 * TILE + GAP, 3),
        (height, TILE, 3),
    ]
    estimate, picture = tile(figures[0], 1, 0), tile(figures[0], 0, 0)
    assert close(estimate[SPOT[1], SPOT[0]], ORANGE)
    assert picture[SPOT[1], SPOT[0]].tolist() == [20, 20, 20]  # the first picture is all of that grey
    # the second camera, half a metre to the right, sees it three pixels more to the left
    assert close(tile(figures[0], 1, 1)[SPOT[1], SPOT[0] - round(3 * TILE / 52)], ORANGE)


def test_redraw__beyond_the_picture_is_black(folder, tmp_path):
    write_pose_rows(tmp_path / "predictions.npz", rows())
    (file, *_) = redraw(tmp_path / "predictions.npz", data(folder), tmp_path / "out", limit=1)
    picture = tile(read_image(file), 0, 0)
    # nine of the 52 pixels that are shown lie left of the picture, two above it (under the name of the view)
    edge = round(9 * TILE / 52)
    assert not picture[200, : edge - 4].any()
    assert picture[200, edge + 4].tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("options", "numbers"), [({"step": 2}, [0, 2]), ({"step": 5}, [0]), ({"limit": 2}, [0, 1]), ({}, [0, 1, 2])]
)
def test_redraw__every_so_many(folder, tmp_path, options, numbers):
    write_pose_rows(tmp_path / "predictions.npz", rows())
    files = redraw(tmp_path / "predictions.npz", data(folder), tmp_path / "out", **options)
    assert [int(path.name[:6]) for path in files] == numbers
    assert sorted((tmp_path / "out").iterdir()) == files


def test_redraw__chosen_views_only(folder, tmp_path):
    write_pose_rows(tmp_path / "predictions.npz", rows())
    files = redraw(tmp_path / "predictions.npz", data(folder, views=("1",)), tmp_path / "out")
    assert [read_image(path).shape[1] for path in files] == [TILE, TILE]  # the second camera misses the last moment


def test_redraw__keypoints_and_confidences_of_views_by_the_name_of_the_camera(folder, tmp_path):
    """The file has the second camera first; its keypoints are at (17.5, 31.5), its weights 1 and 0."""
    keypoints = np.full((3, 2, 17, 2), np.nan)
    keypoints[:, 0] = [17.5, 31.5]
    weights = np.full((3, 2, 17), np.nan)
    weights[:, 0] = np.arange(17) % 2 == 0
    names = np.array([["cam1", "cam0"]] * 3)
    found = rows(view_keypoints=keypoints, view_weights=weights, view_names=names)
    write_pose_rows(tmp_path / "predictions.npz", found)
    (file, *_) = redraw(tmp_path / "predictions.npz", data(folder), tmp_path / "out", limit=1)
    figure = read_image(file)
    assert figure.shape[0] == HEAD + 5 * (TILE + GAP)
    assert close(tile(figure, 1, 1)[SPOT[1], SPOT[0]], SKY)
    assert not close(tile(figure, 1, 0)[SPOT[1], SPOT[0]], SKY)
    bars = tile(figure, 4, 1)
    pitch = (TILE - 30) / 17
    middles = [round(30 + (place + 0.6) * pitch) for place in (0, 1)]
    assert [bool(close(bars[middle, round(0.9 * TILE)], SKY)) for middle in middles] == [True, False]
    assert not close(tile(figure, 4, 0)[middles[0], round(0.9 * TILE)], SKY)


def test_redraw__the_cuboid_about_the_pelvis(folder, tmp_path):
    """Of 2 m about (0, 0, 0): its front is 9 m away, so its corners are 60 / 9 pixels from the middle."""
    found = pose_rows(
        np.stack([pose_of(0)]), joint_names=skeleton("h36m_17").joints, sequence=["S9/Walking-1"], frame=[0]
    )
    write_pose_rows(tmp_path / "predictions.npz", found)
    (file,) = redraw(tmp_path / "predictions.npz", data(folder, cuboid_side=2.0), tmp_path / "out")
    volume = tile(read_image(file), 3, 0)
    # the 13.3 pixels of the front are shown with room, as 17 pixels about (47.5, 31.5), from (39, 23)
    side = round(1.3 * 2 * 60 / 9)
    scale = TILE / side
    right = round((47.5 + 60 / 9 - 39 + 0.5) * scale - 0.5)
    top = round((31.5 - 60 / 9 - 23 + 0.5) * scale - 0.5)
    column, line = volume[160, right - 2 : right + 3], volume[top - 2 : top + 3, 160]
    for pixels, there in ((column, True), (line, True), (volume[160, right + 6 :], False)):
        assert (pixels[:, 0].astype(int) - pixels[:, 2] > 50).any() == there  # red without blue: the rest is grey


def test_redraw__results_of_the_original_by_their_indexes(folder, tmp_path):
    """Shuffled; the second of the file is the first sample. Joints in millimetres, its own order."""
    poses = np.full((3, 17, 3), 1e6)
    poses[1] = [-5000, 0, 0]
    document = {"keypoints_3d": np.float32(poses), "indexes": np.array([2, 0, 1])}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(document))
    files = redraw(tmp_path / "results.pkl", data(folder), tmp_path / "out")
    assert [path.name[7:] for path in files] == [
        "S11-Posing-2_000007_0.png",
        "S9-Walking-1_000000_0.png",
        "S9-Walking-1_000005_0.png",
    ]
    assert close(tile(read_image(files[1]), 1, 0)[SPOT[1], SPOT[0]], ORANGE)


def test_redraw__results_that_hold_2d_too(folder, tmp_path):
    document = {
        "keypoints_3d": np.zeros((3, 17, 3), np.float32),
        "indexes": np.arange(3),
        "keypoints_2d": np.full((3, 2, 17, 2), [17.5, 31.5], np.float32),
        "confidences": np.ones((3, 2, 17), np.float32),
    }
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(document))
    (file, *_) = redraw(tmp_path / "results.pkl", data(folder), tmp_path / "out")
    figure = read_image(file)
    assert figure.shape[0] == HEAD + 5 * (TILE + GAP)
    assert close(tile(figure, 1, 0)[SPOT[1], SPOT[0]], SKY)


def test_redraw__what_does_not_fit(folder, tmp_path):
    other = pose_rows(np.zeros((1, 17, 3)), joint_names=skeleton("h36m_17").joints, sequence=["S1/x"], frame=[0])
    write_pose_rows(tmp_path / "other.npz", other)
    with pytest.raises(InputError, match=r"other\.npz: none of its 1 poses is of the split val of h36m"):
        redraw(tmp_path / "other.npz", data(folder), tmp_path / "out")
    with pytest.raises(InputError, match=r"step and limit: expected 1 or more, got 0"):
        redraw(tmp_path / "other.npz", data(folder), tmp_path / "out", step=0)
    document = {"keypoints_3d": np.zeros((9, 17, 3), np.float32), "indexes": np.arange(9)}
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(document))
    with pytest.raises(InputError, match=r"9 poses, but val of these labels has 3 samples"):
        redraw(tmp_path / "results.pkl", data(folder), tmp_path / "out")
    write_pose_rows(tmp_path / "predictions.npz", rows())
    (folder / "images" / "0_0.png").unlink()
    with pytest.raises(InputError, match=r"0_0\.png"):
        redraw(tmp_path / "predictions.npz", data(folder), tmp_path / "out")


CONFIG = """
title: "human36m_vol_softmax"
kind: "human36m"
image_shape: [384, 384]
opt: {criterion: "MAE", lr: 1e-4}
model: {name: "vol", kind: "mpii", cuboid_side: 2500.0, volume_size: 64}
dataset:
  kind: "human36m"
  train: {h36m_root: "none", labels_path: "none.npy"}
  val:
    h36m_root: "processed/"
    labels_path: "labels.npy"
    with_damaged_actions: true
    retain_every_n_frames_in_test: 2
    undistort_images: true
    ignore_cameras: [1]
"""


@pytest.fixture
def original(tmp_path):
    """The original's folders: label file, two cameras, four moments of S9; its configuration beside them."""
    subjects, actions, names = ["S1", "S9"], ["Walking-1"], ["54138969", "55011271"]
    fields = [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2"), ("keypoints", "f4", (17, 3))]
    table = np.zeros(5, dtype=[*fields, ("bbox_by_camera_tlbr", "i2", (2, 4))])
    table["subject_idx"], table["frame_idx"] = [0, 1, 1, 1, 1], [0, 0, 1, 2, 3]
    table["bbox_by_camera_tlbr"] = [4, 2, 44, 32]
    cameras = np.zeros((2, 2), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    cameras["R"], cameras["K"] = np.eye(3), [[60, 0, 47.5], [0, 60, 31.5], [0, 0, 1]]
    cameras["t"], cameras["dist"] = [[0], [0], [10000]], 0.5  # the pictures are without the lens
    content = {"subject_names": subjects, "camera_names": names, "action_names": actions}
    np.save(tmp_path / "labels.npy", {**content, "cameras": cameras, "table": table})
    for frame in range(4):
        place = tmp_path / "processed" / "S9" / "Walking-1" / "imageSequence-undistorted" / "54138969"
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"img_{frame + 1:06d}.jpg", np.full((64, 96, 3), 100, np.uint8))
    (tmp_path / "eval.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_config__names_data_options_and_cuboid(original, tmp_path):
    pytest.importorskip("yaml")
    found = configured_data(original / "eval.yaml")
    assert found.cuboid_side == 2.5
    assert found.folder == original / "processed"
    assert found.moments == MomentOptions(every=2, damaged=True, ignored_views=("1",))
    poses = np.full((2, 17, 3), 1e6)
    poses[1] = [-5000, 0, 0]
    document = {"keypoints_3d": np.float32(poses), "indexes": np.arange(2)}  # every second of the four
    (tmp_path / "results.pkl").write_bytes(pickle.dumps(document))
    files = redraw(tmp_path / "results.pkl", found, tmp_path / "out")
    assert [path.name[7:] for path in files] == ["S9-Walking-1_000000_0.png", "S9-Walking-1_000002_0.png"]
    figure = read_image(files[1])
    assert figure.shape == (HEAD + 4 * (TILE + GAP), TILE, 3)  # with the volume; the second camera is ignored
    assert close(tile(figure, 1, 0)[SPOT[1], SPOT[0]], ORANGE)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("labels.npy", "nowhere.npy", MissingAssetError, r"dataset\.val\.labels_path: neither .*nowhere\.npy"),
        ('labels_path: "labels.npy"', "", InputError, r"dataset\.val\.labels_path: expected a path, got nothing"),
        ('kind: "human36m"\n  train', 'kind: "coo"\n  train', InputError, r"dataset\.kind: expected one of human36m"),
    ],
)
def test_config__that_is_wrong(original, old, new, error, message):
    pytest.importorskip("yaml")
    (original / "eval.yaml").write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(error, match=message):
        configured_data(original / "eval.yaml")


def test_skeleton_of__links_come_from_the_smallest_skeleton_that_has_the_joints():
    found = skeleton_of(("left_elbow", "left_wrist", "nose"))
    assert found.joints == ("left_elbow", "left_wrist", "nose")
    assert {frozenset(link) for link in found.links} == {frozenset((0, 1))}
    assert skeleton_of(("tail", "nose")).links == ()
