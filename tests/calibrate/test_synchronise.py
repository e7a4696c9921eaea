"""Clocks are found from motion: offsets, parts of frames, rates; and what cannot be told is refused."""

from dataclasses import replace

import pytest
import torch

from marey.calibrate.sync_geometry import Clocks
from marey.calibrate.synchronise import SynchroniseConfig, disagreement, synchronise
from marey.core import InputError, Keypoints2D, ShapeError
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import project

FPS = 60.0


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=240, views=3, seed=5))


def seen(capture: KeypointCapture, view: int, frames: slice = slice(None)) -> Keypoints2D:
    return capture.detections.keypoints[view, frames]


def clock(count: int, fps: float = FPS, start: float = 0.0) -> torch.Tensor:
    return start + torch.arange(count, dtype=torch.float64) / fps


def filmed(capture: KeypointCapture, view: int, times: torch.Tensor) -> Keypoints2D:
    """What a camera sees of the true motion at any times, with noise of 2 px."""
    place = times * capture.fps
    frame = place.floor().long().clamp(0, len(capture.truth.positions) - 2)
    share = (place - frame)[:, None, None, None]
    truth = capture.truth.positions.double()
    cameras = capture.cameras.to(torch.float64)[view : view + 1]
    pixels = project(torch.lerp(truth[frame], truth[frame + 1], share)[None], cameras)[0]
    random = torch.Generator().manual_seed(view)
    pixels = pixels + 2.0 * torch.randn(pixels.shape, generator=random, dtype=torch.float64)
    return Keypoints2D(
        positions=pixels,
        covariance=torch.full((), torch.nan, dtype=torch.float64).expand(*pixels.shape, 2),
        score=pixels.isfinite().all(-1).double(),
        skeleton=capture.truth.skeleton,
    )


def off(result, *, rates=(1.0, 1.0, 1.0), starts, middle: float) -> torch.Tensor:
    """Frames by which the common times of views, `middle` seconds after their start, are wrong."""
    common = result.offset + result.rate * middle
    true = torch.tensor(starts) - starts[0] + torch.tensor(rates) * middle
    return FPS * (common - true)


def test_synchronise__views_that_are_synchronous(capture):
    views = [seen(capture, view) for view in range(3)]
    result = synchronise(views, [clock(240)] * 3, cameras=capture.cameras)
    assert result.is_sure
    assert (FPS * result.offset).abs().max() < 0.3
    assert ((result.rate - 1).abs() < 1e-3).all()


@pytest.mark.parametrize("calibrated", [True, False])
def test_synchronise__views_started_at_other_moments(capture, calibrated):
    starts = [0, 43, 21]
    views = [seen(capture, view, slice(start, 240 - 9 * view)) for view, start in enumerate(starts)]
    times = [clock(len(view.score), start=7.0 * place) for place, view in enumerate(views)]
    result = synchronise(views, times, cameras=capture.cameras if calibrated else None)
    assert result.confidence.min() > (0.95 if calibrated else 0.25)
    found = FPS * (result.offset + torch.tensor([0.0, 7.0, 14.0]))
    assert (found - torch.tensor(starts)).abs().max() < (0.5 if calibrated else 3.0)
    torch.testing.assert_close(result.pair_confidence, result.pair_confidence.mT)


def test_synchronise__parts_of_frames_and_other_frame_rates(capture):
    starts, rates = [0.1, 0.6371, 0.2519], [60.0, 50.0, 30.0]
    times = [clock(int(3.2 * fps), fps) for fps in rates]
    views = [filmed(capture, view, start + own) for view, (start, own) in enumerate(zip(starts, times, strict=True))]
    result = synchronise(views, times, cameras=capture.cameras)
    assert result.is_sure
    assert off(result, starts=starts, middle=1.6).abs().max() < 0.3


def test_synchronise__a_frame_rate_that_is_stated_wrongly(capture):
    starts = [0.1, 0.4371, 0.2519]
    times = [clock(200), clock(170), clock(200)]  # the second camera made 50 frames per second and claims 60
    real = [times[0], times[1] * 60 / 50, times[2]]
    views = [filmed(capture, view, start + own) for view, (start, own) in enumerate(zip(starts, real, strict=True))]
    result = synchronise(views, times, cameras=capture.cameras)
    assert abs(float(result.rate[1]) / 1.2 - 1) < 1e-3
    assert off(result, starts=starts, rates=(1.0, 1.2, 1.0), middle=1.5).abs().max() < 0.5


@pytest.mark.slow
def test_synchronise__a_clock_that_drifts():
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=3600, views=2, seed=8))
    times = [clock(3300), clock(3300)]
    views = [filmed(capture, 0, times[0]), filmed(capture, 1, 0.5 + 1.0006 * times[1])]
    result = synchronise(views, times, cameras=capture.cameras)
    assert result.is_sure
    assert abs(float(result.rate[1]) - 1.0006) < 2e-4
    assert abs(float(result.rate[1]) - 1.0006) < 4 * float(result.rate_deviation[1])


def test_synchronise__gaps_and_missing_joints(capture):
    views = [seen(capture, view, slice(20 * view, None)) for view in range(3)]
    holes = torch.rand(views[1].score.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    holes[100:140] = True
    gappy = replace(
        views[1],
        positions=torch.where(holes[..., None], torch.nan, views[1].positions),
        score=torch.where(holes, 0.0, views[1].score),
    )
    result = synchronise(
        [views[0], gappy, views[2]], [clock(len(view.score)) for view in views], cameras=capture.cameras
    )
    assert result.is_sure
    assert (FPS * result.offset - torch.tensor([0.0, 20.0, 40.0])).abs().max() < 0.5


def test_synchronise__two_people_in_slots_of_no_order():
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=240, people=2, views=3, seed=11, shuffle=True))
    views = [seen(capture, view, slice(15 * view, None)) for view in range(3)]
    result = synchronise(views, [clock(len(view.score)) for view in views], cameras=capture.cameras)
    assert result.is_sure
    assert (FPS * result.offset - torch.tensor([0.0, 15.0, 30.0])).abs().max() < 0.5


@pytest.mark.parametrize("calibrated", [True, False])
def test_synchronise__nobody_moves(capture, calibrated):
    still = [
        replace(seen(capture, view), positions=seen(capture, view).positions[:1].expand(240, -1, -1, -1))
        for view in range(3)
    ]
    random = torch.Generator().manual_seed(1)
    noisy = [
        replace(view, positions=view.positions + torch.randn(view.positions.shape, generator=random)) for view in still
    ]
    result = synchronise(noisy, [clock(240)] * 3, cameras=capture.cameras if calibrated else None)
    assert not result.is_sure
    assert result.confidence.max() < 0.9


def test_synchronise__views_of_different_people(capture):
    other = make_keypoint_capture(KeypointCaptureConfig(frames=240, views=3, seed=77))
    views = [seen(capture, 0), seen(capture, 1), seen(other, 2)]
    result = synchronise(views, [clock(240)] * 3, cameras=capture.cameras, names=("a", "b", "c"))
    assert result.confidence[2] < 0.9
    assert any(note.startswith("c: ") and "confidence" in note for note in result.notes)


def test_synchronise__motion_that_repeats_itself_exactly(capture):
    """A motion of one period over and over leaves several offsets equally good."""
    period = 60
    views = [seen(capture, view) for view in range(2)]
    truth = capture.truth.positions[100 : 100 + period].double()
    wave = torch.sin(torch.arange(240) / period * 2 * torch.pi)[:, None, None, None]
    moving = truth[:1] + wave * torch.randn(1, *truth.shape[1:], generator=torch.Generator().manual_seed(3)) * 0.1
    pixels = project(moving[None], capture.cameras.to(torch.float64)[:2])
    periodic = [
        replace(view, positions=part.float(), score=torch.ones_like(view.score))
        for view, part in zip(views, pixels, strict=True)
    ]
    result = synchronise(periodic, [clock(240)] * 2, cameras=capture.cameras[:2])
    assert result.confidence.max() < 0.9


def test_synchronise__a_view_without_anybody(capture):
    nobody = seen(capture, 2)
    nobody = replace(
        nobody, positions=torch.full_like(nobody.positions, torch.nan), score=torch.zeros_like(nobody.score)
    )
    views = [seen(capture, 0), seen(capture, 1, slice(30, None)), nobody]
    result = synchronise(views, [clock(len(view.score)) for view in views], cameras=capture.cameras)
    assert result.confidence[2] < 0.5
    assert abs(FPS * float(result.offset[1]) - 30) < 0.5
    assert any("nobody is seen" in note for note in result.notes)


def test_synchronise__a_reference_of_choice(capture):
    views = [seen(capture, view, slice(10 * view, None)) for view in range(3)]
    times = [clock(len(view.score)) for view in views]
    result = synchronise(views, times, cameras=capture.cameras, config=SynchroniseConfig(reference=2))
    assert result.offset[2] == 0.0
    assert result.rate[2] == 1.0
    assert (FPS * result.offset - torch.tensor([-20.0, -10.0, 0.0])).abs().max() < 0.5


def test_disagreement__is_least_where_views_are_synchronous(capture):
    views, times = [seen(capture, view) for view in range(3)], [clock(240)] * 3
    one = torch.ones(3, dtype=torch.float64)

    def at(frames: float) -> float:
        clocks = Clocks(offset=torch.tensor([0.0, frames / FPS, 0.0], dtype=torch.float64), rate=one)
        return disagreement(views, times, capture.cameras, clocks, chosen=torch.tensor([False, True, False]))

    assert at(0) < at(4) < at(12)
    assert at(0) < 3.0


def test_synchronise__what_does_not_go_together(capture):
    view = seen(capture, 0)
    with pytest.raises(InputError, match="two views or more"):
        synchronise([view], [clock(240)])
    with pytest.raises(ShapeError, match="view 2: expected keypoints"):
        synchronise([view, view], [clock(240), clock(10)])
    with pytest.raises(InputError, match="ascend"):
        synchronise([view, view], [clock(240), clock(240).flip(0)])
    other = make_keypoint_capture(KeypointCaptureConfig(frames=10, views=1, skeleton="coco_17"))
    with pytest.raises(InputError, match="skeleton"):
        synchronise([view, other.detections.keypoints[0]], [clock(240), clock(10)])
