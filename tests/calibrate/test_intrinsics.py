"""Intrinsics from boards: the truth within its deviations, false boards, lenses, and advice."""

from dataclasses import replace

import pytest
import torch

from calibrate.board_pictures import a_camera, some_poses
from marey.calibrate.board_detection import detect_boards
from marey.calibrate.boards import parse_board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.intrinsic_findings import coverage, lens_findings
from marey.calibrate.intrinsics import IntrinsicsConfig, calibrate_intrinsics
from marey.core import Cameras, InputError
from marey.geometry.projection import invertible_share, project_from_camera
from marey.io.recordings import open_recording

BOARD = parse_board("checkerboard:8x6:0.05")
NOISE = 0.2


def observed(camera, count=14, *, seed=0, noise=NOISE, tilt=0.7, board=BOARD, fill=0.5):
    """What one camera sees of a board, with Gaussian noise; corners outside of the image are not seen."""
    rotation, translation = some_poses(board, camera, count, seed=seed, tilt=tilt, fill=fill)
    pixels = project_from_camera((board.points @ rotation.mT + translation[:, None])[None], camera)
    random = torch.Generator().manual_seed(seed)
    pixels = pixels + noise * torch.randn(pixels.shape, generator=random, dtype=torch.float64)
    inside = ((pixels > 0) & (pixels < camera.image_size[0] - 1)).all(-1, keepdim=True)
    return observations(torch.where(inside, pixels, torch.nan), camera, board)


def observations(pixels, camera, board=BOARD):
    views, moments = pixels.shape[:2]
    return BoardObservations(
        board=board,
        pixels=pixels,
        names=tuple(f"cam_{view}" for view in range(views)),
        sizes=camera.image_size.long().expand(views, 2),
        moments=tuple(range(moments)),
        frame_indices=torch.arange(moments).expand(views, moments),
        simultaneous=False,
    )


def truth(camera, names):
    K = camera.intrinsics[0]
    values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *camera.distortion[0]]
    return torch.stack(values)[: len(names)]


def test_calibrate_intrinsics__finds_the_camera_and_the_simplest_lens():
    camera = a_camera(distortion=(-0.25, 0.08, 0.0, 0.0))
    result = calibrate_intrinsics(observed(camera, 20))
    assert result.models == ("k1_k2",)
    assert float(result.rms[0]) == pytest.approx(NOISE * 2**0.5, rel=0.1)
    off = (truth(camera, result.parameter_names) - _values(result)[0])[:6]
    assert (off.abs() < 4 * result.deviation[0, :6]).all()
    assert float(result.deviation[0, 0]) < 3
    assert not result.rejected
    assert not any(finding.severity == "problem" for finding in result.findings)


def _values(result):
    K = result.cameras.intrinsics
    return torch.cat((K[:, [0, 1, 0, 1], [0, 1, 2, 2]], result.cameras.distortion), -1)


def test_calibrate_intrinsics__without_noise_it_is_exact():
    camera = a_camera()
    result = calibrate_intrinsics(observed(camera, noise=0.0), config=IntrinsicsConfig(model="k1_k2_p1_p2"))
    torch.testing.assert_close(_values(result)[0], truth(camera, result.parameter_names), rtol=1e-5, atol=1e-5)
    placed = BOARD.points @ result.board_rotation[0].mT + result.board_translation[0][:, None]
    seen = observed(camera, noise=0.0).pixels[0]
    there = seen.isfinite()
    projected = project_from_camera(placed[None], camera)[0]
    torch.testing.assert_close(projected[there], seen[there], rtol=0, atol=1e-4)


def test_calibrate_intrinsics__false_boards_are_named_and_left_out():
    camera = a_camera()
    right = observed(camera, 12)
    pixels = right.pixels.clone()
    pixels[0, 3] = pixels[0, 3][torch.randperm(48, generator=torch.Generator().manual_seed(1))]
    pixels[0, 7, :24] += torch.tensor([9.0, -4.0])
    pixels[0, 9, 5] += 12.0
    result = calibrate_intrinsics(observations(pixels, camera), config=IntrinsicsConfig(model="k1_k2_p1_p2"))
    assert [(item.view, item.moment) for item in result.rejected] == [(0, 3), (0, 7)]
    assert result.rejected[0].why.startswith("moment 3: a false board: its corners are")
    assert not result.used[0, [3, 7]].any()
    assert result.used[0, 9].sum() == right.seen[0, 9].sum() - 1, "one wrong corner is left out, its board stays"
    assert float(result.rms[0]) == pytest.approx(NOISE * 2**0.5, rel=0.1)


def test_calibrate_intrinsics__views_are_independent_and_may_have_different_lenses():
    straight, bent = a_camera(distortion=(0.0, 0.0, 0.0, 0.0)), a_camera(distortion=(-0.25, 0.08, 0.0, 0.0))
    alone = [observed(camera, 16, seed=seed) for seed, camera in enumerate((straight, bent))]
    both = observations(torch.cat([item.pixels for item in alone]), straight)
    result = calibrate_intrinsics(both)
    assert result.models[0] == "none"
    assert result.models[1] in ("k1", "k1_k2")
    single = calibrate_intrinsics(alone[1])
    torch.testing.assert_close(result.cameras.intrinsics[1], single.cameras.intrinsics[0])
    assert result.cameras.names == ("cam_0", "cam_1")
    assert not result.cameras.has_extrinsics


def test_calibrate_intrinsics__a_fisheye_lens_is_recognised():
    camera = a_camera(focal=280.0, distortion=(0.05, -0.02, 0.01, -0.003), fisheye=torch.tensor([True]))
    result = calibrate_intrinsics(observed(camera, 25, fill=0.6))
    assert result.models == ("fisheye",)
    assert float(result.cameras.intrinsics[0, 0, 0]) == pytest.approx(280, rel=0.01)


def test_calibrate_intrinsics__most_boards_are_chosen_and_the_same_every_time():
    seen = observed(a_camera(), 40)
    config = IntrinsicsConfig(model="k1_k2_p1_p2", most_boards=12)
    first, second = calibrate_intrinsics(seen, config=config), calibrate_intrinsics(seen, config=config)
    assert int(first.used[0].any(-1).sum()) == 12
    assert torch.equal(first.cameras.intrinsics, second.cameras.intrinsics)
    assert first.residuals[0].isfinite().all(-1).equal(seen.seen[0]), "boards that were not used are placed too"


def test_calibrate_intrinsics__orders_that_the_pattern_leaves_open_do_not_matter():
    camera, board = a_camera(), parse_board("checkerboard:6x4:0.06")
    seen = observed(camera, 12, board=board)
    turned = seen.pixels.clone()
    turned[0, ::2] = turned[0, ::2][:, board.orders[1]]
    config = IntrinsicsConfig(model="k1_k2_p1_p2")
    results = [
        calibrate_intrinsics(observations(pixels, camera, board), config=config) for pixels in (seen.pixels, turned)
    ]
    torch.testing.assert_close(results[0].cameras.intrinsics, results[1].cameras.intrinsics, rtol=1e-6, atol=1e-4)


def test_calibrate_intrinsics__too_few_boards_are_an_error_that_names_the_view():
    with pytest.raises(InputError, match=r"view cam_0 saw 2 with 6 corners or more; take 3 pictures or more"):
        calibrate_intrinsics(observed(a_camera(), 2))


def test_calibrate_intrinsics__frontal_boards_are_a_problem_with_advice():
    result = calibrate_intrinsics(observed(a_camera(), 12, tilt=0.02), config=IntrinsicsConfig(model="k1"))
    problems = [finding for finding in result.findings if finding.severity == "problem"]
    assert any("tilt the board by 30 to 45 degrees" in finding.advice for finding in problems)


def test_calibrate_intrinsics__a_covered_corner_of_the_image_is_told():
    camera = a_camera(distortion=(0.0, 0.0, 0.0, 0.0))
    seen = observed(camera, 30)
    left = seen.pixels[..., :1] < 320
    result = calibrate_intrinsics(
        observations(torch.where(left, seen.pixels, torch.nan), camera), config=IntrinsicsConfig(model="none")
    )
    told = [finding for finding in result.findings if "nothing in the" in finding.text]
    assert len(told) == 1
    assert "middle right" in told[0].text
    assert "left" not in told[0].text.split("nothing in the")[1]


def test_coverage__counts_cells_reach_and_empty_ninths():
    share, reach, empty = coverage(
        torch.tensor([[0.0, 0.0], [639.0, 479.0], [torch.nan, 1.0]]), torch.tensor([640, 480])
    )
    assert share == 2 / 64
    assert reach == pytest.approx(1.0, abs=0.01)
    assert len(empty) == 7
    assert "top left" not in empty


def test_lens_findings__a_lens_that_folds_within_the_image_is_a_problem():
    camera = a_camera(distortion=(-0.9, 0.0, 0.0, 0.0))
    assert float(invertible_share(camera)[0]) < 0.95
    assert float(invertible_share(a_camera())[0]) == 1
    (finding,) = lens_findings(replace(camera, names=("left",)))
    assert finding.severity == "problem"
    assert "View left: the distortion has no inverse in" in finding.text
    assert lens_findings(a_camera()) == ()


def test_calibrate_intrinsics__a_model_that_folds_is_told():
    camera = a_camera(distortion=(-0.35, 0.0, 0.0, 0.0), focal=400.0)
    seen = observed(camera, 12, fill=0.3)
    near = (seen.pixels - camera.image_size[0] / 2).norm(dim=-1, keepdim=True) < 150
    kept = observations(torch.where(near, seen.pixels, torch.nan), camera)
    result = calibrate_intrinsics(kept, config=IntrinsicsConfig(model="k1"))
    assert float(invertible_share(result.cameras)[0]) < 1
    assert any(finding.severity == "problem" and "folds" in finding.text for finding in result.findings)


@pytest.mark.slow
def test_deviation__holds_the_truth_as_often_as_it_says():
    camera = a_camera()
    config = IntrinsicsConfig(model="k1_k2_p1_p2")
    scores = []
    for seed in range(60):
        result = calibrate_intrinsics(observed(camera, 8, seed=seed), config=config)
        scores.append((_values(result)[0] - truth(camera, result.parameter_names)) / result.deviation[0])
    scores = torch.stack(scores)
    inside = (scores.abs() < 1.645).double().mean(0)
    assert (inside > 0.77).all()
    assert 0.84 < float(inside.mean()) < 0.95
    assert (scores.mean(0).abs() < 0.5).all()


@pytest.mark.realdata
@pytest.mark.slow
def test_calibrate_intrinsics__real_photographs_within_a_fifth_of_a_pixel(shared_data):
    folder = shared_data / "pose2sim_demo/calibration/intrinsics"
    results = []
    for spec in ("checkerboard:7x4:0.060", "checkerboard:4x7:0.060"):
        seen = detect_boards(open_recording([folder]), parse_board(spec), simultaneous=False)
        results.append(calibrate_intrinsics(seen))
    for result in results:
        assert (result.rms < 0.2).all()
        # four cameras of one make
        focal = result.cameras.intrinsics[:, [0, 1], [0, 1]]
        assert (focal - 1674).abs().max() < 4
    assert isinstance(results[0].cameras, Cameras)
    torch.testing.assert_close(results[0].cameras.intrinsics, results[1].cameras.intrinsics, rtol=2e-3, atol=2.0)
