"""Views of other clocks on the way to an estimate: shifted if sure, left alone if not, errors that name the cause."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import marey
from marey.core import InputError
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.metrics.joints import mpjpe_mm
from marey.pipeline.synchronisation import found_in_one_time, synchronize

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


def test_found_in_one_time__clocks_that_never_overlap(shifted):
    recording = marey.open_recording([shifted], calibration=shifted / CALIBRATION_FILE, fps=60.0)
    with pytest.raises(InputError, match=r"cam_2.*no(ne of its frames| moment in common)"):
        found_in_one_time(recording, range(FRAMES), sync="cam_2=100", detector="auto", people=None, folder=None)
