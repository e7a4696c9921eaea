"""Extrinsics from a real board: corners that another program found, held against the board's rigidity."""

import csv
from dataclasses import replace

import pytest
import torch

from marey.calibrate.boards import parse_board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.extrinsics import calibrate_extrinsics
from marey.calibrate.rigidity import board_rigidity
from marey.geometry.rotations import geodesic_angle
from marey.io.camera_toml import read_camera_toml

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def recording(shared_data):
    folder = shared_data / "caliscope_charuco" / "4_cam_recording"
    with (folder / "calibration" / "extrinsic" / "xy.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    moments = sorted({int(row["sync_index"]) for row in rows})
    pixels = torch.full((4, len(moments), 12, 2), torch.nan, dtype=torch.float64)
    for row in rows:
        place = int(row["cam_id"]), moments.index(int(row["sync_index"])), int(row["keypoint_id"])
        pixels[place] = torch.tensor([float(row["img_loc_x"]), float(row["img_loc_y"])], dtype=torch.float64)
    cameras = replace(read_camera_toml(folder / "camera_array.toml", dtype=torch.float64), names=())
    board = parse_board("charuco:4x5:0.054:DICT_4X4_1000:inverted")
    return cameras, board, pixels, moments


def observed(board, pixels, moments):
    return BoardObservations(
        board=board,
        pixels=pixels,
        names=tuple(f"cam_{view}" for view in range(4)),
        sizes=torch.tensor([[1280, 720]]).expand(4, 2),
        moments=tuple(moments),
        frame_indices=torch.full(pixels.shape[:2], -1),
    )


def test_calibrate_extrinsics__better_than_the_given_calibration_on_unseen_frames(recording):
    given, board, pixels, moments = recording
    bare = replace(given, rotation=None, translation=None)
    result = calibrate_extrinsics(observed(board, pixels[:, ::2], moments[::2]), bare)
    unseen = observed(board, pixels[:, 1::2], moments[1::2])
    ours, theirs = board_rigidity(unseen, result.cameras), board_rigidity(unseen, given)
    assert ours.corners == theirs.corners == 286
    assert ours.rms_mm < 0.9 < theirs.rms_mm  # these corners are only good to 0.5 px; theirs saw the frames
    assert ours.scale == pytest.approx(1, abs=0.004)
    assert not [finding.text for finding in result.findings if finding.severity == "problem"]
    rotation = given.rotation @ given.rotation[0].T
    assert geodesic_angle(result.cameras.rotation, rotation).rad2deg().max() < 0.6


def test_calibrate_extrinsics__uncertainty_covers_what_halves_of_the_recording_differ_by(recording):
    given, board, pixels, moments = recording
    bare = replace(given, rotation=None, translation=None)
    halves = [calibrate_extrinsics(observed(board, pixels[:, at::2], moments[at::2]), bare) for at in (0, 1)]
    apart = (halves[0].cameras.centers - halves[1].cameras.centers)[1:]
    deviation = (halves[0].deviation.square() + halves[1].deviation.square())[1:, 3:6].sqrt()
    assert (apart.abs() < 3.5 * deviation).all()
    assert 0.2 < (apart / deviation).square().mean().sqrt() < 2
