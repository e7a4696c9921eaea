"""Human3.6M as it is downloaded, as MeTRAbs reads it: a miniature of two subjects, prepared whole."""

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from data.prepare.h36m_files import CAMERAS, write_masks, write_metadata, write_poses_cdf, write_video
from marey.core import FormatError, MissingAssetError
from marey.data.labels import rows_to_score
from marey.data.prepare.h36m import H36MOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.io.human_data import JOINTS
from marey.metrics.protocols.human36m import MetrabsHuman36M, TriangulationHuman36M

SIZE = (64, 48)
COUNT = 21
OPTIONS = H36MOptions(
    train_subjects=(1,), test_subjects=(9,), actions=("Greeting-2", "TakingPhoto-1"), train_step=5, test_step=8
)
NAMES = {"S1": ("Greeting", "TakingPhoto 1"), "S9": ("Greeting", "Photo 1")}
ALONG = {0: 0, 5: 60, 10: 120, 15: 190, 20: 221}
"""Where the joints are along x at some frames, mm; frames 0, 10 and 20 are 100 mm apart from the one kept before."""


def walk(frames):
    """All joints together along x, the pelvis (joint 0) 5 m from the cameras."""
    along = np.interp(np.arange(frames), list(ALONG), list(ALONG.values()))
    joints = np.zeros((frames, 32, 3))
    joints[..., 0] = along[:, None]
    joints[:, 15, 1] = -700  # the top of the head
    return joints


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "h36m"
    write_metadata(
        root / "Release-v1.2/metadata.xml",
        placed=lambda camera, _: (0, 0, 0, 10 * camera, 0, -5000),
        intrinsics=lambda _: (100, 100, 31.5, 23.5, 0, 0, 0, 0, 0),
    )
    for subject, names in NAMES.items():
        for name in names:
            write_poses_cdf(root / subject / "MyPoseFeatures/D3_Positions" / f"{name}.cdf", walk(COUNT))
            for camera in CAMERAS:
                write_video(root / subject / "Videos" / f"{name}.{camera}.mp4", range(0, 210, 10), SIZE)
                (root / subject / "BBoxes").mkdir(exist_ok=True)
                boxes = np.array([[frame, 2, 20, 40] for frame in range(COUNT)], dtype=np.float32)
                np.save(root / subject / "BBoxes" / f"{name}.{camera}.npy", boxes)
    return root


def prepared(root, out, options=OPTIONS, **arguments):
    return prepare_data_set(data_source("h36m"), root, out, options, show=False, **arguments)


def frames_of(labels, sequence):
    return np.unique(labels.images.frame[labels.images.sequence == sequence]).tolist()


def test_official__frames_that_are_taken(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    assert frames_of(labels, "S1/Greeting") == [0, 10, 20]
    assert frames_of(labels, "S1/TakingPhoto 1") == [0, 10, 20]
    assert frames_of(labels, "S9/Greeting") == [0, 8, 16]  # of a test subject none is left out
    assert len(labels) == 2 * 2 * 3 * 4
    everything = prepared(
        root, tmp_path / "all", H36MOptions(**{**vars(OPTIONS), "least_motion_mm": 0.0, "images": "none"})
    )
    assert frames_of(everything, "S1/Greeting") == [0, 5, 10, 15, 20]


def test_official__images_show_their_frames(root, tmp_path):
    prepared(root, tmp_path / "out")
    for frame in (0, 8, 16):
        path = tmp_path / "out/images/S9/Photo 1.58860488" / f"frame_{frame:06d}.jpg"
        picture = cv2.imread(str(path))
        assert picture.shape == (48, 64, 3)
        assert abs(picture.astype(float).mean() - 10 * frame) < 5
    assert len(list((tmp_path / "out/images").rglob("*.jpg"))) == 48


def test_official__labels(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    assert labels.skeleton.name == "h36m_17"
    assert labels.by_moment().shape == (12, 4)
    rows = np.flatnonzero((labels.images.sequence == "S1/TakingPhoto 1")[labels.image])
    row = rows[labels.images.frame[labels.image[rows]] == 10][1]
    image = labels.image[row]
    assert labels.images.path[image] == "images/S1/TakingPhoto 1.55011271/frame_000010.jpg"
    assert labels.images.size[image].tolist() == list(SIZE)
    assert labels.values["joints"][row, 0] == pytest.approx([0.12, 0, 0])
    assert labels.values["joints"][row, labels.skeleton.index("head_top")] == pytest.approx([0.12, -0.7, 0])
    assert labels.values["box"][row].tolist() == [10, 2, 20, 40]
    assert labels.values["action"][row] == "Photo"  # as MeTRAbs's protocol calls it
    assert labels.values["trial"][row] == "TakingPhoto-1"
    assert labels.values["subject"][row] == "S1"
    assert labels.split[image] == "train"
    camera = labels.cameras[int(labels.images.camera[image])]
    assert camera.centers.tolist() == pytest.approx([0.01, 0, -5])
    assert camera.image_size.tolist() == list(SIZE)


@pytest.mark.parametrize(("correct", "along", "left"), [(None, -0.2, -4.0), (False, 0.0, 0.0)])
def test_official__labels_of_s9_are_put_right(root, tmp_path, correct, along, left):
    options = H36MOptions(**{**vars(OPTIONS), "correct_s9": correct, "images": "none"})
    labels = prepared(root, tmp_path / "out", options)
    row = int(np.flatnonzero((labels.images.sequence == "S9/Greeting")[labels.image])[0])
    assert labels.values["joints"][row, 0] == pytest.approx([along, 0, 0])
    assert labels.values["box"][row] == pytest.approx([left, 2, 20, 40], abs=1e-4)  # 0.2 m at 5 m with f = 100: 4 px
    other = int(np.flatnonzero((labels.images.sequence == "S9/Photo 1")[labels.image])[0])
    assert labels.values["joints"][other, 0] == pytest.approx([0, 0, 0])
    assert ("S9 as published" in labels.version) == (correct is False)
    assert set(labels.images.path.tolist()) == {""}


def test_official__masks_where_there_are_no_tables(root, tmp_path):
    for subject, names in NAMES.items():
        for name in names:
            for camera in CAMERAS:
                (root / subject / "BBoxes" / f"{name}.{camera}.npy").unlink()
                boxes = [(5, 6, 15, 46)] * COUNT
                if (subject, name, camera) == ("S1", "Greeting", CAMERAS[2]):
                    boxes[10] = None
                write_masks(root / subject / "MySegmentsMat/ground_truth_bb" / f"{name}.{camera}.mat", boxes, SIZE)
    labels = prepared(root, tmp_path / "out")
    assert len(labels) == 47
    rows = labels.images.sequence[labels.image] != "S9/Greeting"
    assert np.unique(labels.values["box"][rows], axis=0).tolist() == [[5, 6, 10, 40]]
    assert not (tmp_path / "out/images/S1/Greeting.58860488/frame_000010.jpg").exists()
    notes = json.loads((tmp_path / "out/card.json").read_text(encoding="utf-8"))["notes"]
    assert notes == ["S1 Greeting-2: 1 boxes of camera 58860488 are empty; left out"]


def test_official__camera_that_recorded_nothing(root, tmp_path):
    """Camera 54138969 of S11's second Directions is not in the official data."""
    name = "Directions"
    write_poses_cdf(root / "S11/MyPoseFeatures/D3_Positions" / f"{name}.cdf", walk(COUNT))
    for camera in CAMERAS[1:]:
        write_video(root / "S11/Videos" / f"{name}.{camera}.mp4", range(0, 210, 10), SIZE)
        (root / "S11/BBoxes").mkdir(exist_ok=True)
        np.save(root / "S11/BBoxes" / f"{name}.{camera}.npy", np.full((COUNT, 4), 10.0))
    options = H36MOptions(train_subjects=(), test_subjects=(11,), actions=("Directions-2",), test_step=8)
    labels = prepared(root, tmp_path / "out", options)
    assert labels.by_moment()[:, 0].tolist() == [-1, -1, -1]
    assert len(labels) == 9
    (root / "S11/Videos" / f"{name}.{CAMERAS[0]}.mp4").write_bytes(b"in pieces")
    assert len(prepared(root, tmp_path / "damaged", options)) == 9
    (root / "S11/Videos" / f"{name}.{CAMERAS[1]}.mp4").unlink()
    with pytest.raises(MissingAssetError, match=r"video of S11 Directions\.55011271"):
        prepared(root, tmp_path / "other", options)


def test_official__video_that_ends_before_the_poses(root, tmp_path):
    write_video(root / "S9/Videos" / f"Greeting.{CAMERAS[3]}.mp4", range(0, 120, 10), SIZE)
    labels = prepared(root, tmp_path / "out")
    rows = (labels.images.sequence == "S9/Greeting")[labels.image]
    frames, cameras = labels.images.frame[labels.image], labels.camera_names()[labels.image]
    assert frames[rows & (cameras == CAMERAS[3])].tolist() == [0, 8]
    assert frames[rows & (cameras == CAMERAS[2])].tolist() == [0, 8, 16]
    notes = json.loads((tmp_path / "out/card.json").read_text(encoding="utf-8"))["notes"]
    assert "S9 Greeting: the video of camera 60457274 ends before 1 of the poses" in notes


@pytest.mark.parametrize("masks", [False, True])
def test_official__boxes_that_end_a_little_before_the_poses(root, tmp_path, masks):
    """A hundred poses, and boxes of all but the last."""
    write_poses_cdf(root / "S9/MyPoseFeatures/D3_Positions/Greeting.cdf", np.tile(walk(20), (5, 1, 1)))
    for camera in CAMERAS:
        table = root / "S9/BBoxes" / f"Greeting.{camera}.npy"
        np.save(table, np.tile([5.0, 6, 10, 40], (99, 1)))
        if masks:
            table.unlink()
            path = root / "S9/MySegmentsMat/ground_truth_bb" / f"Greeting.{camera}.mat"
            write_masks(path, [(5, 6, 15, 46)] * 99, SIZE)
    changed = {"images": "none", "train_subjects": (), "actions": ("Greeting-2",), "test_step": 3, "correct_s9": False}
    labels = prepared(root, tmp_path / "out", H36MOptions(**{**vars(OPTIONS), **changed}))
    assert np.unique(labels.images.frame).tolist() == list(range(0, 99, 3))
    assert np.unique(labels.values["box"], axis=0).tolist() == [[5, 6, 10, 40]]
    notes = json.loads((tmp_path / "out/card.json").read_text(encoding="utf-8"))["notes"]
    assert any("99 boxes, so that 1 of the poses have none" in note for note in notes)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("S9/MyPoseFeatures/D3_Positions/Greeting.cdf", "joints of S9 Greeting of Human3.6M"),
        ("S1/BBoxes/Greeting.60457274.npy", "nor is there .*ground_truth_bb.*--boxes joints does without"),
        ("S1/Videos/Greeting.60457274.mp4", r"video of S1 Greeting\.60457274"),
    ],
)
def test_official__missing_file_is_named_with_its_source(root, tmp_path, absent, message):
    (root / absent).unlink()
    with pytest.raises(MissingAssetError, match=message) as caught:
        prepared(root, tmp_path / "out")
    assert "vision.imar.ro/human3.6m" in str(caught.value)
    assert "non-commercial research only" in str(caught.value)


def test_official__boxes_of_another_take_are_refused(root, tmp_path):
    np.save(root / "S1/BBoxes/Greeting.60457274.npy", np.zeros((7, 4)))
    with pytest.raises(FormatError, match=r"7 boxes, but frame 20 \(from 0\)"):
        prepared(root, tmp_path / "out")


def test_official__interrupted_and_gone_on_with(root, tmp_path):
    prepared(root, tmp_path / "whole", workers=3)
    # a folder where a picture belongs stops the run in its middle
    out = tmp_path / "out"
    obstacle = out / "images/S9/Greeting.58860488/frame_000008.jpg"
    obstacle.mkdir(parents=True)
    with pytest.raises(Exception, match="frame_000008"):
        prepared(root, out)
    done = out / "images/S1/Greeting.54138969/frame_000010.jpg"
    before = done.stat().st_mtime_ns
    assert not (out / "labels.npz").exists()
    obstacle.rmdir()
    prepared(root, out)
    assert done.stat().st_mtime_ns == before
    names = sorted(path.relative_to(out) for path in out.rglob("*.jpg"))
    assert names == sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.jpg"))
    for name in [*names, "labels.npz"]:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("parts", [False, True])
def test_official__crops_are_seen_by_their_own_cameras(root, tmp_path, parts):
    write_metadata(  # upright, as crops are: looking along the world's y, its z up
        root / "Release-v1.2/metadata.xml",
        placed=lambda camera, _: (math.pi / 2, 0, 0, 10 * camera, -5000, 0),
        intrinsics=lambda _: (100, 100, 31.5, 23.5, 0, 0, 0, 0, 0),
    )
    options = H36MOptions(**{**vars(OPTIONS), "images": "crops", "partial": parts})
    labels = prepared(root, tmp_path / "out", options)
    whole = prepared(root, tmp_path / "whole", H36MOptions(**{**vars(OPTIONS), "images": "none"}))
    assert len(labels) == len(whole) == 48
    assert labels.cameras.batch_shape == (48,)
    assert labels.cameras.is_pinhole
    assert (labels.by_moment() == whole.by_moment()).all()
    assert (labels.values["joints"] == whole.values["joints"]).all()
    row = int(np.flatnonzero((labels.images.sequence == "S1/Greeting")[labels.image])[5])
    image = labels.image[row]
    assert labels.images.path[image] == "images/S1/Greeting.55011271/frame_000010.jpg"
    picture = cv2.imread(str(tmp_path / "out" / labels.images.path[image]))
    assert picture.shape[1::-1] == tuple(labels.images.size[image].tolist())
    assert abs(np.median(picture[picture > 20]) - 100) < 8  # the grey of frame 10, black beyond the image
    before, after = whole.cameras[int(whole.images.camera[image])], labels.cameras[int(labels.images.camera[image])]
    assert after.centers.tolist() == pytest.approx(before.centers.tolist(), abs=1e-5)
    # the camera looks at the middle of the box, 20 x 40 at 10, 2 in the whole image: pixel 20, 22
    ray = torch.tensor([20 - 31.5, 22 - 23.5, 100.0])
    seen = after.rotation @ before.rotation.T @ (ray / ray.norm())
    assert seen.tolist() == pytest.approx([0, 0, 1], abs=1e-5)
    # 1.2 times as large, which is the most for so small a person
    assert labels.values["box"][row, 2:].tolist() == pytest.approx([1.2 * 20, 1.2 * 40], rel=0.03)
    assert ("partial" in labels.version) == parts


def test_official__second_protocol_as_human_data(root, tmp_path):
    options = H36MOptions(**{**vars(OPTIONS), "test_step": 5})
    prepared(root, tmp_path / "out", options)
    with np.load(tmp_path / "out/human_data/h36m_valid_protocol2.npz") as archive:
        paths = archive["image_path"].tolist()
        boxes, joints = archive["bbox_xywh"], archive["keypoints3d"]
        mask = archive["keypoints3d_mask"]
    folders = [f"images/S9/{name}.60457274" for name in ("Greeting", "Photo 1")]
    assert paths == [f"{folder}/frame_{frame:06d}.jpg" for folder in folders for frame in (0, 5, 10, 15, 20)]
    assert all((tmp_path / "out" / path).is_file() for path in paths)
    assert joints.shape == (10, 190, 4)
    assert mask.sum() == 17
    # camera 3 stands 30 mm along x; at frame 10 the joints are at 120 mm, and 5 m away; of Greeting 200 mm less
    pelvis = joints[:, JOINTS.index("pelvis_extra")]
    assert pelvis[7].tolist() == pytest.approx([0.09, 0, 5, 1])
    assert pelvis[2].tolist() == pytest.approx([-0.11, 0, 5, 1])
    # a box of 20 x 40 from 10, 2, nine tenths as large
    assert boxes[7].tolist() == pytest.approx([11, 4, 18, 36, 1])


def test_official__labels_are_scored_by_both_protocols(root, tmp_path):
    labels = prepared(root, tmp_path / "out", H36MOptions(**{**vars(OPTIONS), "images": "none"}))
    rows = rows_to_score(labels.of_split("test"))
    moved = replace(rows, values={**rows.values, "joints": rows.values["joints"] + np.float32([0.003, 0, 0.004])})
    assert MetrabsHuman36M().score(moved, rows).values["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    named = replace(rows, values={**rows.values, "action": rows.values["trial"]})
    scores = TriangulationHuman36M(invalid_scenes=False).score(moved, named)
    assert scores.values["mpjpe_mm"] == pytest.approx(5, abs=1e-3)
    assert scores.counts == {"rows": 12, "left_out": 12}  # Greeting-2 of S9
