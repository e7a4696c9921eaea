from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, InputError, ShapeError
from marey.geometry.projection import project
from marey.io.video import VideoFrames
from marey.viz.overlay import overlay_frames, project_estimate, write_overlay_video
from marey.viz.style import SIGMAS_90_PLANE, person_color
from viz.figure import JOINT, small_estimate


class Painted:
    """Frames of one grey each: frame n has the value 2 n."""

    size = (640, 480)
    fps = 60.0

    def __init__(self, length: int) -> None:
        self.timestamps = np.arange(length) / 60
        self.decoded = []

    def frames(self, start=0, stop=None):
        for number in range(start, stop):
            self.decoded.append(number)
            yield np.full((480, 640, 3), 2 * number, np.uint8)


@pytest.fixture(scope="module")
def estimate():
    return small_estimate(frames=6)


def test_projection__equals_the_cameras(estimate):
    found = project_estimate(estimate, slice(2, 5))
    true = project(estimate.joints.positions[2:5].expand(4, 3, 2, 25, 3), estimate.cameras)
    np.testing.assert_allclose(found.points, true.numpy(), atol=1e-3)
    assert found.filled.shape == (3, 2, 25)
    assert found.filled[1, 0, JOINT]


def test_ellipses__hold_ninety_percent_of_samples(estimate):
    small = replace(estimate, joints=replace(estimate.joints, covariance=1e-2 * estimate.joints.covariance))
    found = project_estimate(small, slice(0, 1))
    generator = torch.Generator().manual_seed(1)
    root = torch.linalg.cholesky(small.joints.covariance[0, 1].double())
    samples = small.joints.positions[0, 1] + (root @ torch.randn(25, 3, 4000, generator=generator).double()).movedim(
        -1, 0
    )
    pixels = project(samples.expand(4, 4000, 25, 3), estimate.cameras.to(torch.float64)).numpy()
    offset = pixels - found.points[:, :1, 1]
    c, s = np.cos(found.angle[:, :1, 1]), np.sin(found.angle[:, :1, 1])
    along = (c * offset[..., 0] + s * offset[..., 1]) / found.axes[:, :1, 1, :, 0]
    across = (-s * offset[..., 0] + c * offset[..., 1]) / found.axes[:, :1, 1, :, 1]
    inside = (along**2 + across**2 < 1).mean()
    assert inside == pytest.approx(0.9, abs=0.005)
    assert SIGMAS_90_PLANE > 2


def test_ellipses__of_unknown_joints_are_nan(estimate):
    found = project_estimate(estimate, slice(5, 6))
    assert np.isnan(found.axes[:, 0, 0, JOINT]).all()
    assert np.isfinite(found.axes[:, 0, 1]).all()


def test_frames__show_people_on_a_plain_background(estimate):
    bare = replace(estimate, keypoints=None)
    frames = list(overlay_frames(bare, size_limit=(960, 540)))
    assert len(frames) == 6
    assert {frame.shape for frame in frames} == {frames[0].shape}
    point = project_estimate(bare, slice(0, 1)).points[0, 0, 1, 10]  # right wrist of person 1, view 0
    scale = frames[0].shape[1] / 2 / 1920
    x, y = np.rint((point + 0.5) * scale - 0.5).astype(int)
    assert np.abs(frames[0][y, x].astype(int) - person_color(1)).max() < 60


def test_frames__are_drawn_on_the_images_that_the_estimate_names(estimate):
    sources = [Painted(200) for _ in range(4)]
    strided = replace(estimate, frames=(100, 102, 104, 106, 108, 110))
    frames = list(overlay_frames(strided, sources, size_limit=(1300, 1000)))
    assert [int(np.median(frame)) for frame in frames] == [int(0.8 * 2 * number) for number in strided.frames]
    assert sources[0].decoded == list(range(100, 111))


def test_frames__beyond_the_end_of_a_source_have_a_plain_background(estimate):
    class Short(Painted):
        def frames(self, start=0, stop=None):
            return super().frames(start, min(stop, 103))

    frames = list(overlay_frames(estimate, [Short(103)] * 4, size_limit=(1300, 1000)))
    assert [int(np.median(frame)) for frame in frames] == [160, 161, 163, 45, 45, 45]


def test_frames__are_made_one_by_one(estimate):
    sources = [Painted(200) for _ in range(4)]
    frames = overlay_frames(estimate, sources)
    next(frames)
    next(frames)
    assert sources[3].decoded == [100, 101]


def test_rejected_keypoints__are_crossed_out(estimate):
    def red(frame):
        return int(((frame[..., 0] > 200) & (frame[..., 2] < 120) & (frame[..., 1] < 120)).sum())

    weights = torch.zeros_like(estimate.diagnostics.weights)
    all_rejected = replace(estimate, diagnostics=replace(estimate.diagnostics, weights=weights))
    kept = replace(estimate, diagnostics=replace(estimate.diagnostics, weights=weights + 1))
    assert red(next(overlay_frames(all_rejected))) > red(next(overlay_frames(kept))) + 300


def test_wild_points__are_left_out(estimate):
    wild = estimate.joints.positions.clone()
    wild[0, 0, :5] *= 1e6
    assert next(overlay_frames(replace(estimate, joints=replace(estimate.joints, positions=wild)))).any()


def test_video__has_every_frame(tmp_path, estimate):
    write_overlay_video(tmp_path / "overlay.mp4", estimate, size_limit=(320, 180))
    video = VideoFrames(tmp_path / "overlay.mp4")
    assert len(video) == 6
    assert video.fps == pytest.approx(60)


def test_errors__say_what_to_do(estimate):
    with pytest.raises(CalibrationError, match="needs the cameras"):
        overlay_frames(replace(estimate, cameras=None))
    with pytest.raises(ShapeError, match="each of the 4 views"):
        overlay_frames(estimate, [None])
    unknown = replace(estimate.cameras, image_size=torch.full((4, 2), torch.nan))
    with pytest.raises(InputError, match="its size is unknown"):
        overlay_frames(replace(estimate, cameras=unknown))
