"""A recording of one's own becomes samples of several views: calibration and joints as text, pictures with dots."""

import math

import cv2
import numpy as np
import pytest
import torch

from marey.core import InputError
from marey.data.folder import SOURCE, FolderOptions
from marey.data.labels import read_labels
from marey.data.multiview import MultiViewLabels, MultiViewOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.world_axes import world_up
from marey.io.video import write_video

SIZE = (320, 240)
K1, K2 = -0.2, 0.05
ANGLES = {"front": 0.0, "side": 1.2}
"""Of cameras 4 m from the origin, turned about the vertical, y down."""
PELVIS = {(0, 0): (0.3, 0.1, 0.2), (0, 1): (-0.4, 0.0, -0.3), (2, 0): (0.1, 0.2, 0.0)}
"""By frame and person."""


def calibration():
    return "\n".join(
        f"""
[{name}]
name = "{name}"
size = [ {SIZE[0]}.0, {SIZE[1]}.0]
matrix = [ [ 300.0, 0.0, 161.0], [ 0.0, 310.0, 118.0], [ 0.0, 0.0, 1.0]]
distortions = [ {K1}, {K2}, 0.0, 0.0]
rotation = [ 0.0, {angle}, 0.0]
translation = [ 0.0, 0.0, 4.0]
"""
        for name, angle in ANGLES.items()
    )


def joint_rows():
    """The pelvis, a neck 0.5 m above it (y points down), and wrists 0.3 m to its sides."""
    offsets = {"pelvis": (0, 0), "neck": (0, -0.5), "left_wrist": (0.3, 0), "right_wrist": (-0.3, 0)}
    rows = ["frame,time,person,joint,x,y,z,sd_x,sd_y,sd_z,score,filled"]
    for (frame, person), (x, y, z) in PELVIS.items():
        for joint, (right, down) in offsets.items():
            rows.append(f"{frame},,{person},{joint},{x + right:.6f},{y + down:.6f},{z},,,,1,0")
    return "\n".join(rows) + "\n"


def pixel(angle, point):
    """By the words of OpenCV: turned, moved 4 m away, divided by depth, bent by k1 and k2."""
    x, y, z = point
    x, z = math.cos(angle) * x + math.sin(angle) * z, -math.sin(angle) * x + math.cos(angle) * z + 4
    x, y = x / z, y / z
    square = x * x + y * y
    bent = 1 + K1 * square + K2 * square * square
    return 161 + 300 * x * bent, 118 + 310 * y * bent


def picture(angle, frame):
    image = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    for (of_frame, _), point in PELVIS.items():
        if of_frame == frame:
            u, v = pixel(angle, point)
            spot = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2))
            image = np.maximum(image, np.rint(spot).astype(np.uint8)[..., None])
    return image


def recording(folder, kind):
    (folder / "views").mkdir(parents=True)
    for name, angle in ANGLES.items():
        frames = [picture(angle, frame) for frame in range(3)]
        if kind == "images":
            (folder / "views" / name).mkdir()
            for frame, image in enumerate(frames):
                cv2.imwrite(str(folder / "views" / name / f"{frame:03d}.png"), image)
        else:
            write_video(folder / "views" / f"{name}.mp4", iter(frames), fps=30)
    (folder / "calibration.toml").write_text(calibration(), encoding="utf-8")
    (folder / "labels.csv").write_text(joint_rows(), encoding="utf-8")
    return folder


def prepared(folder, **options):
    return prepare_data_set(SOURCE, folder, folder.parent / "out", FolderOptions(**options), show=False)


def near(image, place, reach=12):
    """Centre of mass (x, y) of what is within some pixels of a place."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = np.where(image > 30, image, 0) * (np.hypot(x - place[0], y - place[1]) < reach)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("kind", ["images", "videos"])
def test_recording__becomes_samples_whose_projections_fit_their_pictures(tmp_path, kind):
    prepared(recording(tmp_path / "walk", kind), images=True)
    labels = read_labels(tmp_path / "out" / "labels.npz")
    data = MultiViewLabels(labels, tmp_path / "out", MultiViewOptions(image_shape=(96, 96), scale_bbox=1.3))
    assert len(data) == 3
    assert data.view_names == ("front", "side")
    samples = data.samples(torch.arange(3))
    assert samples.present.all()
    assert world_up(labels) == "-y"
    keys = zip(data.reference().frame.tolist(), data.reference().person.tolist(), strict=True)
    for item, key in enumerate(keys):
        assert samples.centers[item].tolist() == pytest.approx(PELVIS[key], abs=1e-6)
        for view in range(2):
            seen = samples.projections[item, view].double().numpy() @ np.append(PELVIS[key], 1.0)
            expected = seen[:2] / seen[2]
            assert 15 < expected.min() <= expected.max() < 81
            found = near(samples.images[item, view, 0].double().numpy(), expected)
            assert np.abs(found - expected).max() < 0.5


def test_recording__of_videos_without_images_says_how_to_write_them(tmp_path):
    labels = prepared(recording(tmp_path / "walk", "videos"))
    with pytest.raises(InputError, match="--images"):
        MultiViewLabels(labels, tmp_path / "out")


def test_recording__of_frames_skipped_keeps_its_numbers(tmp_path):
    prepared(recording(tmp_path / "walk", "images"), step=2)
    data = MultiViewLabels(read_labels(tmp_path / "out" / "labels.npz"), tmp_path / "out")
    assert data.reference().frame.tolist() == [0, 0, 2]
