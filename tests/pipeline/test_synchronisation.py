"""Views of other clocks on the way to an estimate: shifted if sure, left alone if not, errors that name the cause."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import marey
from marey.core import FormatError, InputError, Recording
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.io.resampled_frames import ResampledFrames
from marey.metrics.joints import mpjpe_mm
from marey.pipeline.synchronisation import (
    found_in_one_time,
    own_times,
    parse_sync,
    read_synchronisation,
    reference_view,
    synchronize,
)

FRAMES = 160
SHIFT = 11


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, seed=21))


@pytest.fixture(scope="module")
def recording(capture, tmp_path_factory) -> Path:
    return write_keypoint_capture(capture, tmp_path_factory.mktemp("sync") / "recording")


@pytest.fixture(scope="module")
def shifted(recording, tmp_path_factory) -> Path:
    """The same with cam_2 started 11 frames late."""
    copy = Path(shutil.copytree(recording, tmp_path_factory.mktemp("sync") / "shifted"))
    files = sorted((copy / "cam_2").glob("*.json"))
    for file in files[:SHIFT]:
        file.unlink()
    for number, file in enumerate(files[SHIFT:]):
        file.rename(copy / "cam_2" / f"{number:06d}_keypoints.json")
    return copy


def estimated(folder: Path, sync: str) -> marey.core.Estimate:
    config = marey.EstimateConfig(fps=60.0, sync=sync, refine="none", overlay=False, formats=("npz",))
    return marey.estimate(folder, calibration=folder / CALIBRATION_FILE, config=config)


def test_estimate__a_synchronous_recording_stays_bit_for_bit(recording):
    automatic, never = estimated(recording, "auto"), estimated(recording, "none")
    assert torch.equal(automatic.joints.positions.nan_to_num(), never.joints.positions.nan_to_num())
    assert torch.equal(automatic.joints.covariance.nan_to_num(), never.joints.covariance.nan_to_num())
    assert automatic.notes == never.notes


def test_estimate__a_view_that_started_late_is_shifted(shifted, recording):
    right = estimated(recording, "none").joints.positions
    late, put_right = estimated(shifted, "none"), estimated(shifted, "auto")
    assert any("were not synchronous" in note for note in put_right.notes)
    said = next(note for note in put_right.notes if note.startswith("cam_2: "))
    assert abs(float(said.split()[1]) - 1000 * SHIFT / 60) < 8  # milliseconds, half a frame
    errors = [mpjpe_mm(result.joints.positions, right) for result in (late, put_right)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("sync", [f"cam_2={SHIFT}f", f"cam_2={SHIFT / 60}"])
def test_estimate__given_offsets(shifted, recording, sync):
    given, right = estimated(shifted, sync), estimated(recording, "none")
    both = given.joints.positions.isfinite() & right.joints.positions.isfinite()
    inner = slice(SHIFT + 1, FRAMES - SHIFT - 1)
    assert both[inner].float().mean() > 0.95
    apart = (given.joints.positions - right.joints.positions)[inner].norm(dim=-1)
    assert apart.nanmedian() < 0.002


def test_synchronize__writes_what_estimate_takes(shifted, tmp_path):
    result = synchronize(shifted, calibration=shifted / CALIBRATION_FILE, fps=60.0, out=tmp_path)
    assert result.names == ("cam_1", "cam_2", "cam_3", "cam_4")
    assert abs(60 * float(result.offset[1]) - SHIFT) < 0.5
    document = json.loads((tmp_path / "synchronisation.json").read_text())
    assert document["reference"] == "cam_1"
    assert document["views"]["cam_2"]["offset_seconds"] == pytest.approx(float(result.offset[1]))
    assert document["views"]["cam_2"]["confidence"] > 0.9
    assert (tmp_path / "synchronisation.png").read_bytes().startswith(b"\x89PNG")
    estimate = estimated(shifted, str(tmp_path / "synchronisation.json"))
    assert any("given offsets" in note for note in estimate.notes)


def test_synchronize__one_view(recording):
    with pytest.raises(InputError, match="one view, cam_1"):
        synchronize(recording / "cam_1", fps=60.0)


class _Film:
    """Frames whose brightness is their number."""

    def __init__(self, count: int, fps: float) -> None:
        self.timestamps = 5.0 + np.arange(count) / fps
        self.fps = fps
        self.size = (4, 2)
        self.files = ()

    def frames(self, start=0, stop=None):
        stop = len(self.timestamps) if stop is None else stop
        return (np.full((2, 4, 3), number, np.uint8) for number in range(start, stop))


def films() -> Recording:
    return Recording(names=("slow", "fast"), frames=(_Film(50, 50.0), _Film(60, 60.0)), fps=60.0)


def test_own_times__begin_at_zero_and_the_fastest_view_is_the_reference():
    assert reference_view(films()) == 1
    torch.testing.assert_close(own_times(films(), 0), torch.arange(50).double() / 50)


def test_resampled_frames__show_the_nearest_frame():
    places = np.array([-1, 3, 3, 5, 9, -1])
    frames = ResampledFrames(_Film(50, 50.0), places, timestamps=np.arange(6) / 60, fps=60.0)
    assert [int(image[0, 0, 0]) for image in frames.frames()] == [0, 3, 3, 5, 9, 0]
    assert [int(image[0, 0, 0]) for image in frames.frames(2, 4)] == [3, 5]
    assert list(frames.frames(1, 1)) == []
    assert len(frames) == 6
    with pytest.raises(InputError, match="asked for"):
        frames.frames(0, 7)
    with pytest.raises(InputError, match="ascending"):
        ResampledFrames(_Film(50, 50.0), np.array([4, 3]), timestamps=np.arange(2) / 60, fps=60.0)


@pytest.mark.parametrize(
    ("text", "offset"), [("slow=0.25", 0.25), ("slow=-5f", -0.1), (" slow = 3f , fast=1f", 0.06), ("slow=-0.5", -0.5)]
)
def test_parse_sync__seconds_and_frames(text, offset):
    assert float(parse_sync(text, films()).offset[0]) == pytest.approx(offset)


@pytest.mark.parametrize("text", ["", "other=1", "slow", "slow=soon", "slow=nan", "slow=inf", "atuo"])
def test_parse_sync__what_is_meant_is_said(text):
    with pytest.raises(InputError, match="expected auto, none"):
        parse_sync(text, films())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"views": {"slow": {"offset_seconds": "soon", "rate": 1}}}',
        '{"views": {"a": {"rate": 1}}}',
        '{"views": {"slow": {"offset_seconds": 1e999, "rate": 1}}}',
        '{"views": {"slow": {"offset_seconds": 0, "rate": 0}}}',
    ],
)
def test_read_synchronisation__what_is_none(tmp_path, content):
    file = tmp_path / "synchronisation.json"
    file.write_text(content)
    with pytest.raises(FormatError):
        read_synchronisation(file)


def test_read_synchronisation__literal(tmp_path):
    file = tmp_path / "s.json"
    file.write_text(
        '{"reference": "a", "views": {"a": {"offset_seconds": 0, "rate": 1}, '
        '"b": {"offset_seconds": -0.5, "rate": 1.001}}}'
    )
    assert read_synchronisation(file) == {"a": (0.0, 1.0), "b": (-0.5, 1.001)}
    with pytest.raises(InputError, match="cannot be read"):
        read_synchronisation(tmp_path / "none.json")


def test_found_in_one_time__clocks_that_never_overlap(shifted):
    recording = marey.open_recording([shifted], calibration=shifted / CALIBRATION_FILE, fps=60.0)
    with pytest.raises(InputError, match=r"cam_2.*no(ne of its frames| moment in common)"):
        found_in_one_time(recording, range(FRAMES), sync="cam_2=100", detector="auto", people=None, folder=None)
