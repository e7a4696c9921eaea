"""The numbers of a report are those of the calibration."""

import json
import math
from dataclasses import replace

import pytest
import torch

from calibrate.made import blind, made
from marey.calibrate.assessment import as_numbers, assess, coverage, judge
from marey.calibrate.calibration import Calibration, Finding, Rejection
from marey.geometry.projection import world_to_camera

NOTICE = Finding(severity="notice", text="Few boards.", advice="Film more.")
PROBLEM = Finding(severity="problem", text="cam_2 has moved.", advice="Fix it.")


def test_assess__errors_are_root_mean_squares_in_pixels_and_in_millimetres():
    calibration = made(noise=0.2)
    found = assess(calibration)
    assert found.evidence == "boards"
    assert found.error_px == pytest.approx(0.2 * math.sqrt(2), rel=0.05)
    view = found.views[0]
    used = calibration.used[0]
    corners = calibration.observations.board.points @ calibration.board_rotation.mT
    corners = corners + calibration.board_translation[:, None]
    depth = world_to_camera(corners, calibration.cameras[0])[..., 2][used]
    length = calibration.residuals[0].norm(dim=-1)[used]
    focal = float(calibration.cameras.intrinsics[0, 0, 0])
    assert view.error_mm == pytest.approx(1000 * float((length * depth / focal).square().mean().sqrt()))
    assert view.error_px == pytest.approx(float(length.square().mean().sqrt()))


def test_assess__pairs_count_boards_that_both_saw():
    found = assess(blind(made(), (0, 2)))
    counts = {pair.views: pair.pictures for pair in found.pairs}
    assert counts[0, 2] == 0
    assert 0 < counts[0, 1] <= 6
    assert found.missing_pairs == (("cam_1", "cam_3"),)


def test_assess__parameters_keep_their_deviation():
    calibration = made()
    calibration.deviation[1, 3], calibration.deviation[1, 4] = 0.0, torch.nan
    by_name = {parameter.name: parameter for parameter in assess(calibration).views[1].parameters}
    assert by_name["x"].deviation == 0
    assert math.isnan(by_name["y"].deviation)
    assert by_name["fx"].value == float(calibration.cameras.intrinsics[1, 0, 0])
    assert (by_name["rx"].unit, by_name["z"].unit, by_name["cx"].unit, by_name["k1"].unit) == ("rad", "m", "px", "")


def test_assess__rejected_boards_count_for_their_view():
    rejected = tuple(Rejection(view=1, moment=moment, why="blurred") for moment in (0, 2, 2))
    assert [view.rejected for view in assess(replace(made(), rejected=rejected)).views] == [0, 2, 0]


def test_assess__parameters_that_were_not_estimated_are_held():
    calibration = made()
    places = replace(
        calibration, parameter_names=calibration.parameter_names[:6], deviation=calibration.deviation[:, :6]
    )
    by_name = {parameter.name: parameter.deviation for parameter in assess(places).views[0].parameters}
    assert by_name["fx"] == by_name["k1"] == 0
    assert by_name["x"] == 1e-3
    bare = assess(Calibration(cameras=calibration.cameras)).views[0].parameters
    assert {parameter.deviation for parameter in bare} == {None}


def test_assess__of_cameras_alone_knows_their_fields_of_view():
    cameras = made().cameras
    bare = replace(cameras, distortion=torch.zeros_like(cameras.distortion))
    found = assess(Calibration(cameras=bare))
    assert found.evidence == "file"
    assert found.pairs == ()
    focal, (cx, cy) = float(bare.intrinsics[0, 0, 0]), bare.intrinsics[0, :2, 2].tolist()
    across = math.degrees(math.atan((cx + 0.5) / focal) + math.atan((799.5 - cx) / focal))
    down = math.degrees(math.atan((cy + 0.5) / focal) + math.atan((599.5 - cy) / focal))
    assert found.views[0].field_of_view == pytest.approx((across, down))
    assert math.isnan(found.views[0].error_px)


@pytest.mark.parametrize(
    ("findings", "level"),
    [((), "good"), ((NOTICE,), "usable"), ((NOTICE, PROBLEM), "not usable")],
)
def test_judge__the_worst_finding_decides(findings, level):
    assert judge(findings) == level


def test_assess__the_verdict_names_the_problem():
    assert assess(made(), findings=(PROBLEM,)).verdict == "Not usable as it is: cam_2 has moved."
    assert assess(made(), findings=(NOTICE,)).verdict.startswith("Usable, with reservations: the views agree")


def test_coverage__counts_cells_of_the_image():
    observations = made(views=1).observations
    pixels = torch.full_like(observations.pixels, torch.nan)
    pixels[0, 0, :4] = torch.tensor([[1.0, 1.0], [2.0, 2.0], [799.0, 599.0], [150.0, 1.0]])
    observations = replace(observations, pixels=pixels)
    # 800 x 600 has 8 x 6 cells of 100 pixels; the first two corners share one
    assert float(coverage(observations, observations.seen)[0]) == pytest.approx(3 / 48)


def test_as_numbers__is_strict_json_without_nan():
    calibration = made()
    calibration.deviation[0, 0] = torch.nan
    text = json.dumps(as_numbers(assess(calibration, findings=(NOTICE,))), allow_nan=False)
    numbers = json.loads(text)
    assert numbers["verdict"]["level"] == "usable"
    assert numbers["views"][0]["parameters"]["rx"]["deviation"] is None
    assert numbers["views"][0]["parameters"]["x"] == {
        "value": float(calibration.cameras.centers[0, 0]),
        "deviation": 1e-3,
        "unit": "m",
    }
    assert len(numbers["pairs"]) == 3
    assert numbers["pairs"][0]["shared_boards"] > 0
