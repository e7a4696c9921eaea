from dataclasses import replace

import pytest
import torch

from marey.calibrate.boards import parse_board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.extrinsics import ExtrinsicsConfig, calibrate_extrinsics
from marey.calibrate.rigidity import board_rigidity
from marey.calibrate.timing_findings import estimate_time_offsets
from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.bundle import CameraPrior
from marey.geometry.bundle_cameras import FreeIntrinsics, move_cameras
from marey.geometry.projection import project
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix

CHARUCO = "charuco:5x7:0.04:DICT_4X4_50"


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ring(views=4):
    """Cameras 2 m from the origin that look at it, spread over 90 degrees."""
    angle = torch.linspace(-0.8, 0.8, views, dtype=torch.float64)
    rotation = rotvec_to_matrix(torch.stack((0.1 * angle.cos(), angle, 0.1 * angle), -1))
    K = torch.tensor([[900.0, 0, 640], [0, 910, 360], [0, 0, 1]]).double().repeat(views, 1, 1)
    return Cameras(
        intrinsics=K,
        distortion=torch.tensor([-0.1, 0.02, 0, 0, 0]).double().repeat(views, 1),
        image_size=torch.tensor([1280.0, 720]).double().expand(views, 2),
        rotation=rotation,
        translation=torch.tensor([0.0, 0.0, 2.0]).double().expand(views, 3),
        names=tuple(f"cam_{view}" for view in range(views)),
    )


def board_at(times):
    """Where a board is that somebody carries around and turns."""
    turn = torch.stack((0.5 * (0.13 * times).sin(), 0.5 * (0.09 * times + 1).sin(), 0.6 * (0.05 * times).sin()), -1)
    place = torch.stack((0.35 * (0.11 * times).sin(), 0.2 * (0.17 * times).cos(), 0.3 * (0.07 * times).sin()), -1)
    return rotvec_to_matrix(turn), place


def seen(cameras, board, moments=40, late=None, noise=0.3, speed=1.0, seed=3):
    """Corners (V, M, C, 2); `late` frames by which each view shows the past."""
    views = len(cameras.intrinsics)
    times = torch.arange(moments)[None] - torch.tensor(late or (0,) * views)[:, None]
    rotation, place = board_at(speed * times.double() + 10)
    world = (board.points - board.points.mean(0)) @ rotation.mT + place[..., None, :]
    pixels = project(world, cameras) + noise * randn(views, moments, len(board.points), 2, seed=seed)
    inside = ((pixels > 0) & (pixels < torch.tensor([1279.0, 719]))).all(-1, keepdim=True)
    return torch.where(inside, pixels, torch.nan)


def observed(board, pixels, names=None, moments=None):
    views, count = pixels.shape[:2]
    return BoardObservations(
        board=board,
        pixels=pixels,
        names=names or tuple(f"cam_{view}" for view in range(views)),
        sizes=torch.tensor([[1280, 720]]).expand(views, 2),
        moments=tuple(moments or range(count)),
        frame_indices=torch.full((views, count), -1),
    )


def bare(cameras):
    return replace(cameras, rotation=None, translation=None)


def errors(cameras, truth):
    """Largest angle, radians, and distance of centres, metres, in the frame of the first camera."""
    turn = truth.rotation[0]
    centers = (truth.centers - truth.centers[0]) @ turn.T
    return (
        float(geodesic_angle(cameras.rotation, truth.rotation @ turn.T).max()),
        float((cameras.centers - centers).norm(dim=-1).max()),
    )


def told(calibration, *, severity="problem"):
    return [finding.text for finding in calibration.findings if finding.severity == severity]


@pytest.fixture(scope="module")
def charuco():
    truth, board = ring(), parse_board(CHARUCO)
    return truth, board, seen(truth, board)


def test_calibrate_extrinsics__finds_the_cameras(charuco):
    truth, board, pixels = charuco
    result = calibrate_extrinsics(observed(board, pixels), bare(truth))
    angle, distance = errors(result.cameras, truth)
    assert angle < 0.0015
    assert distance < 0.003
    assert result.cameras.names == truth.names
    assert torch.equal(result.cameras.rotation[0], torch.eye(3, dtype=torch.float64))
    assert result.parameter_names == ("rx", "ry", "rz", "x", "y", "z")
    assert (result.deviation[0] == 0).all()
    away = result.cameras.centers - (truth.centers - truth.centers[0]) @ truth.rotation[0].T
    assert (away[1:].abs() < 4 * result.deviation[1:, 3:]).all()
    assert result.deviation[1:].max() < 0.002
    torch.testing.assert_close(result.used, pixels.isfinite().all(-1))
    assert result.residuals[result.used].norm(dim=-1).median() == pytest.approx(0.3 * 1.18, rel=0.1)
    assert result.rejected == ()
    assert told(result) == told(result, severity="notice") == []
    assert any("cam_0 and cam_1 40" in text for text in told(result, severity="good"))
    assert any("The world is the frame of cam_0" in note for note in result.notes)


def test_calibrate_extrinsics__poses_of_the_board_are_in_the_world(charuco):
    truth, board, pixels = charuco
    result = calibrate_extrinsics(observed(board, pixels), bare(truth))
    corners = board.points @ result.board_rotation.mT + result.board_translation[:, None]
    again = pixels - project(corners[None], result.cameras)
    torch.testing.assert_close(again, result.residuals, equal_nan=True)


def test_calibrate_extrinsics__names_decide_which_camera_is_which(charuco):
    truth, board, pixels = charuco
    lens = truth.intrinsics.clone()
    lens[2, :2, :2] *= 0.7
    mixed = replace(truth, intrinsics=lens)
    pixels = seen(mixed, board)
    order = [3, 1, 0, 2]
    result = calibrate_extrinsics(observed(board, pixels), bare(mixed)[order])
    assert errors(result.cameras, mixed)[1] < 0.004
    with pytest.raises(CalibrationError, match="the intrinsics are of cam_0, cam_1, cam_2, cam_3 and the views are a"):
        calibrate_extrinsics(observed(board, pixels, names=("a", "b", "c", "d")), bare(mixed))
    with pytest.raises(CalibrationError, match="expected one for each of the views"):
        calibrate_extrinsics(observed(board, pixels), bare(mixed)[:3])


def test_calibrate_extrinsics__views_tied_through_others(charuco):
    truth, board, pixels = charuco
    chain = torch.full_like(pixels, torch.nan)
    for first, second, moments in ((0, 1, slice(0, 13)), (1, 2, slice(13, 26)), (2, 3, slice(26, 40))):
        chain[[first, second], moments] = pixels[[first, second], moments]
    result = calibrate_extrinsics(observed(board, chain), bare(truth))
    assert errors(result.cameras, truth)[1] < 0.015
    notices = told(result, severity="notice")
    assert any("No direct link: cam_0 and cam_2; cam_0 and cam_3; cam_1 and cam_3" in text for text in notices)
    assert (result.deviation[:, 3:6].norm(dim=-1).diff() > 0).all()  # farther along the chain, less is known


def test_calibrate_extrinsics__unconnected_views_are_named(charuco):
    truth, board, pixels = charuco
    apart = pixels.clone()
    apart[3, 1:] = torch.nan  # one shared board
    message = (
        r"separate groups cam_0 \+ cam_1 \+ cam_2; cam_3\. Show the board to cam_0 and cam_3 together \(so far 1\)"
    )
    with pytest.raises(CalibrationError, match=message):
        calibrate_extrinsics(observed(board, apart), bare(truth))
    result = calibrate_extrinsics(observed(board, apart), bare(truth), config=ExtrinsicsConfig(unconnected="leave_out"))
    assert result.cameras.names == result.observations.names == ("cam_0", "cam_1", "cam_2")
    assert result.residuals.shape[0] == len(result.observations.sizes) == 3
    assert errors(result.cameras, truth[:3])[1] < 0.004
    assert any("Left out" in note and "cam_3" in note for note in result.notes)
    two = pixels.clone()
    two[:2, ::2] = torch.nan
    two[2:, 1::2] = torch.nan
    with pytest.raises(CalibrationError, match=r"cam_0 \+ cam_1; cam_2 \+ cam_3\. Show the board to cam_0 and cam_2"):
        calibrate_extrinsics(observed(board, two), bare(truth))


def test_calibrate_extrinsics__false_boards_are_named(charuco):
    truth, board, pixels = charuco
    wrong = pixels.clone()
    wrong[1, 5] += 40 * randn(*pixels.shape[2:], seed=1)  # no grid at all
    wrong[2, 8] = pixels[2, 30]  # a board, but not at this moment
    wrong[0, 11, 4:] = torch.nan  # four corners
    result = calibrate_extrinsics(observed(board, wrong), bare(truth))
    why = {(item.view, item.moment): item.why for item in result.rejected}
    assert set(why) == {(1, 5), (2, 8), (0, 11)}
    assert "no place of the board explains them" in why[1, 5] or "something else was taken for it" in why[1, 5]
    assert why[2, 8].startswith("cam_0 and cam_1 and cam_3 saw the board of this moment elsewhere")
    assert "only 4 corners" in why[0, 11]
    assert not result.used[[1, 2, 0], [5, 8, 11]].any()
    assert result.residuals[2, 8].norm(dim=-1).nanmedian() > 10  # told, though not used
    assert errors(result.cameras, truth)[1] < 0.004


def test_calibrate_extrinsics__single_wrong_corners_count_little(charuco):
    truth, board, pixels = charuco
    wrong = torch.rand(pixels.shape[:3], generator=torch.Generator().manual_seed(1)) < 0.02
    result = calibrate_extrinsics(observed(board, pixels + 8.0 * wrong[..., None]), bare(truth))
    assert errors(result.cameras, truth)[1] < 0.004


@pytest.mark.parametrize("spec", ["checkerboard:7x5:0.04", "checkerboard:5x5:0.04"])
def test_calibrate_extrinsics__checkerboards_in_any_order(spec):
    truth, board = ring(), parse_board(spec)
    pixels = seen(truth, board)
    columns, rows = board.grid
    grid = torch.arange(columns * rows).reshape(rows, columns)
    quarter = torch.rot90(grid, 1 if columns == rows else 2).flatten()
    turned = pixels.clone()
    turned[1, ::2] = pixels[1, ::2].flip(1)
    turned[2, 1::3] = pixels[2, 1::3][:, quarter]
    result = calibrate_extrinsics(observed(board, turned), bare(truth))
    assert errors(result.cameras, truth)[1] < 0.004
    assert result.rejected == ()
    assert any("listed the other way round" in note for note in result.notes)
    corners = board.points @ result.board_rotation.mT + result.board_translation[:, None]
    again = result.observations.pixels - project(corners[None], result.cameras)
    assert again[again.isfinite()].abs().max() < 3
    assert board_rigidity(result.observations, result.cameras).rms_mm < 2


@pytest.mark.parametrize(("step", "at"), [(0.05, 28), (0.012, 20)])
def test_calibrate_extrinsics__camera_that_moved_is_named(charuco, step, at):
    truth, board, pixels = charuco
    by = torch.zeros(4, 6, dtype=torch.float64)
    by[2] = step * torch.tensor([0.8, -0.5, 0.3, 0.4, -0.7, 0.6])
    after = seen(move_cameras(truth, by, FreeIntrinsics()), board)
    moved = pixels.clone()
    moved[2, at:] = after[2, at:]
    result = calibrate_extrinsics(observed(board, moved, moments=range(100, 140)), bare(truth))
    (text,) = [text for text in told(result) if "moved" in text]
    shift, angle = 1000 * float(by[2, 3:].norm()), float(by[2, :3].norm().rad2deg())
    assert text.startswith(f"cam_2 moved between moments {99 + at} and {100 + at}: by ")
    numbers = text.split("by ")[1].split()
    assert float(numbers[0]) == pytest.approx(shift, rel=0.25, abs=1)
    assert float(numbers[3]) == pytest.approx(angle, rel=0.25)


def test_calibrate_extrinsics__late_view_is_named():
    truth, board = ring(), parse_board(CHARUCO)
    pixels = seen(truth, board, moments=60, late=(0, 0, 3, 0))
    result = calibrate_extrinsics(observed(board, pixels), bare(truth))
    (text,) = [text for text in told(result) if "clocks" in text]
    assert "against cam_0, cam_2 is late by 3.0" in text
    assert not any("moved" in text for text in told(result))


@pytest.mark.slow
def test_estimate_time_offsets__all_views_differ_by_parts_of_frames():
    truth, board = ring(), parse_board(CHARUCO)
    late = (0, -2.4, 3.3, 1.0)
    pixels = seen(truth, board, moments=80, late=late, speed=0.5)
    observations = observed(board, pixels)
    rough = calibrate_extrinsics(observations, bare(truth), config=ExtrinsicsConfig(time_offsets=False))
    found = estimate_time_offsets(observations, pixels, rough.cameras)
    torch.testing.assert_close(found.late, torch.tensor(late).double(), rtol=0, atol=0.1)
    assert found.deviation[0] == 0
    assert found.deviation[1:].max() < 0.05


def test_calibrate_extrinsics__board_that_is_never_turned_is_a_problem():
    truth, board = ring(), parse_board(CHARUCO)
    result = calibrate_extrinsics(observed(board, seen(truth, board, moments=15, speed=0.03)), bare(truth))
    assert any("hardly turned (by 1 degrees)" in text for text in told(result))
    with pytest.raises(CalibrationError, match="If the board was hardly turned"):
        calibrate_extrinsics(observed(board, seen(truth, board, moments=15, speed=0.0)), bare(truth))


def test_calibrate_extrinsics__board_on_the_ground_is_the_world(charuco):
    truth, board, pixels = charuco
    plain = calibrate_extrinsics(observed(board, pixels, moments=range(50, 90)), bare(truth))
    config = ExtrinsicsConfig(world_moment=63)
    result = calibrate_extrinsics(observed(board, pixels, moments=range(50, 90)), bare(truth), config=config)
    corners = board.points @ result.board_rotation[13].T + result.board_translation[13]
    torch.testing.assert_close(corners[0], torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(corners[1], torch.tensor([0.04, 0, 0]).double(), rtol=0, atol=1e-9)
    assert corners[:, 2].abs().max() < 1e-9
    assert (result.cameras.centers[:, 2] > 0).all()  # z is up, where the cameras are
    between = (result.cameras.centers[:, None] - result.cameras.centers).norm(dim=-1)
    torch.testing.assert_close(
        between, (plain.cameras.centers[:, None] - plain.cameras.centers).norm(dim=-1), rtol=0, atol=1e-5
    )
    assert (result.deviation > 0).all()
    assert any("The world is the board at 63" in note for note in result.notes)
    with pytest.raises(InputError, match="world_moment: no board at -7"):
        calibrate_extrinsics(observed(board, pixels), bare(truth), config=ExtrinsicsConfig(world_moment=-7))


def test_calibrate_extrinsics__intrinsics_are_adjusted_together_or_within_a_prior(charuco):
    truth, board, _ = charuco
    pixels = seen(truth, board, moments=80)
    off = truth.intrinsics.clone()
    off[1, :2, :2] *= 1.02
    wrong = replace(bare(truth), intrinsics=off)
    held = calibrate_extrinsics(observed(board, pixels), wrong)
    freed = calibrate_extrinsics(observed(board, pixels), wrong, config=ExtrinsicsConfig(intrinsics="adjust"))
    assert freed.parameter_names[6:] == ("fx", "fy", "cx", "cy", "k1", "k2")
    assert (freed.deviation[:, 6:] > 0).all()
    away = (freed.cameras.intrinsics - truth.intrinsics)[:, [0, 1], [0, 1]].abs()
    assert (away < 4.5 * freed.deviation[:, 6:8]).all()
    assert away[1].max() < 9 < (held.cameras.intrinsics - truth.intrinsics)[1, 0, 0]
    firm = ExtrinsicsConfig(
        intrinsics="adjust", prior=CameraPrior(focal=1e-5, aspect=1e-5, principal_point=0.01, distortion=1e-5)
    )
    kept = calibrate_extrinsics(observed(board, pixels), wrong, config=firm)
    torch.testing.assert_close(kept.cameras.intrinsics, off, rtol=0, atol=0.5)


def test_calibrate_extrinsics__two_views(charuco):
    truth, board, pixels = charuco
    result = calibrate_extrinsics(observed(board, pixels[:2]), bare(truth)[:2])
    assert errors(result.cameras, truth[:2])[1] < 0.004


def test_calibrate_extrinsics__names_what_is_wrong(charuco):
    truth, board, pixels = charuco
    with pytest.raises(InputError, match="two or more views, got one"):
        calibrate_extrinsics(observed(board, pixels[:1]), bare(truth)[:1])
    with pytest.raises(InputError, match="not taken at the same time"):
        calibrate_extrinsics(replace(observed(board, pixels), simultaneous=False), bare(truth))
    broken = truth.intrinsics.clone()
    broken[1] = torch.nan
    with pytest.raises(CalibrationError, match="known and finite"):
        calibrate_extrinsics(observed(board, pixels), replace(bare(truth), intrinsics=broken))
    large = torch.tensor([1920.0, 1080]).double().expand(4, 2)
    with pytest.raises(CalibrationError, match="its images are 1280x720 and its calibration is for 1920x1080"):
        calibrate_extrinsics(observed(board, pixels), replace(bare(truth), image_size=large))
    with pytest.raises(CalibrationError, match="not all cameras can be placed"):
        calibrate_extrinsics(observed(board, pixels[:, :2]), bare(truth))
    with pytest.raises(CalibrationError, match="not all cameras can be placed"):
        calibrate_extrinsics(observed(board, pixels * torch.nan), bare(truth))
    infinite = pixels.clone()
    infinite[0, 3, 2] = torch.inf
    assert calibrate_extrinsics(observed(board, infinite), bare(truth)).cameras.rotation.isfinite().all()
