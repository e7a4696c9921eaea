"""The report of a calibration: complete, self-contained, safe with any name, honest about what is missing."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch

from calibrate.made import blind, capture, made
from marey.calibrate.assessment import assess
from marey.calibrate.calibration import Calibration, Finding, Rejection
from marey.calibrate.people_agreement import agree_about_people
from marey.calibrate.report import CalibrationReport, write_calibration_report
from marey.calibrate.report_maps import exaggeration, residual_map
from marey.calibrate.report_plans import pair_graph, plan, scene_axes, short_name
from marey.core import InputError, Keypoints2D
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture

VOID = {"meta", "link", "img", "br", "input"}


class Outline(HTMLParser):
    """Headings in order, and whether every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


class Pictures:
    """Frames of one view, kept."""

    def __init__(self, frames) -> None:
        self.images = list(frames)
        self.size = (800, 600)
        self.timestamps = np.arange(len(self.images), dtype=float)
        self.fps = None
        self.files = tuple(Path(f"picture_{place}.png") for place in range(len(self.images)))

    def frames(self, start=0, stop=None):
        yield from self.images[start:stop]


def written(tmp_path, calibration, **settings):
    agreement = settings.get("agreement")
    report = CalibrationReport(calibration=calibration, assessment=assess(calibration, agreement=agreement), **settings)
    page, numbers = write_calibration_report(tmp_path, report)
    return page.read_text(encoding="utf-8"), json.loads(numbers.read_text(encoding="utf-8"))


def headings(html: str) -> list[str]:
    outline = Outline()
    outline.feed(html)
    assert not outline.open
    return outline.headings


def test_report__has_every_part_and_nothing_from_outside(tmp_path):
    html, numbers = written(tmp_path, made(), title="Rig", facts={"Board": "charuco:7x5"}, rigid_mm=0.8123)
    assert headings(html) == [
        "Rig",
        "What was found, and what to do",
        "The cameras",
        "Where they stand",
        "Who sees what together",
        "Where in the image, and how it missed",
        "Parameters and how well they are known",
        "Boards left out",
        "Assumed and skipped on the way",
    ]
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert "http" not in html.replace("http-equiv", "")
    assert "0.81&nbsp;mm" in html
    assert numbers["rigid_board_rms_mm"] == 0.8123
    assert numbers["facts"] == {"Board": "charuco:7x5"}
    assert len(html) < 300_000


def test_report__its_drawings_are_well_formed(tmp_path):
    html, _ = written(tmp_path, made())
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 3 + 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing


def test_report__names_are_text_wherever_they_stand(tmp_path):
    evil = ("<script>alert(1)</script>", 'a" onload="x', "\u30ab\u30e1\u30e9 & co")
    finding = Finding(severity="problem", text="<b>bad</b>", advice="<i>do</i>")
    calibration = replace(
        made(names=evil), findings=(finding,), rejected=(Rejection(view=0, moment=0, why="<u>x</u>"),), notes=("<s>",)
    )
    html, numbers = written(tmp_path, calibration, title="<h1>", facts={"<dt>": "<dd>"})
    headings(html)
    assert not re.search(r"<script|<b>bad|<i>do|<u>x|<s>| onload=\"x", html)
    assert [view["name"] for view in numbers["views"]] == list(evil)


@pytest.mark.parametrize("views", [2, 8])
def test_report__pairs_that_share_nothing_are_named(tmp_path, views):
    html, numbers = written(tmp_path, blind(made(views), (0, 1)))
    assert numbers["missing_pairs"] == [["cam_1", "cam_2"]]
    assert "Nothing shared by:</b> cam_1 and cam_2." in html
    assert html.count('class="link missing"') == 1


def test_report__of_lenses_only_shows_no_places(tmp_path):
    whole = made(1)
    lenses = replace(
        whole,
        cameras=replace(whole.cameras, rotation=None, translation=None),
        parameter_names=whole.parameter_names[6:],
        deviation=whole.deviation[:, 6:],
        board_rotation=None,
        board_translation=None,
        observations=replace(whole.observations, simultaneous=False),
    )
    html, numbers = written(tmp_path, lenses)
    assert not {"Where they stand", "Who sees what together"} & set(headings(html))
    assert "the lenses describe the board within 0.29 px" in html
    assert numbers["views"][0]["center_m"] is None
    assert numbers["error_mm"] is None


def test_report__of_cameras_alone(tmp_path):
    html, numbers = written(tmp_path, Calibration(cameras=made(2).cameras))
    assert "as far as the file alone can tell" in html
    assert numbers["evidence"] == "file"
    assert numbers["rejected"] == []


def test_report__what_is_held_and_what_is_undetermined_is_said(tmp_path):
    calibration = made()
    calibration.deviation[0], calibration.deviation[1] = 0.0, torch.nan
    html, _ = written(tmp_path, calibration)
    assert html.count("held") >= 15
    assert html.count("undetermined") == 15


def test_report__pictures_show_the_worst_and_the_rejected_boards(tmp_path):
    film = capture(frames=12)
    calibration = made()
    sources = tuple(Pictures(film.frames(view)) for view in range(3))
    off = calibration.residuals.clone()
    off[1, 4] += 7.0
    calibration = replace(
        calibration,
        observations=replace(calibration.observations, sources=sources),
        residuals=off,
        rejected=(Rejection(view=2, moment=3, why="it is blurred"),),
    )
    html, _ = written(tmp_path, calibration)
    figures = re.findall(
        r'data:image/jpeg;base64,([^"]+)" width="(\d+)" height="(\d+)" alt=""><figcaption>(.*?)</', html
    )
    captions = [caption for *_, caption in figures]
    assert captions[0].startswith("cam_2, picture_4.png: ")
    assert captions[-1] == "cam_3, picture_3.png: it is blurred"
    assert len(captions) == 7
    image = cv2.imdecode(np.frombuffer(base64.b64decode(figures[0][0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (int(figures[0][2]), int(figures[0][1]), 3)
    assert max(image.shape) <= 520
    assert (image[..., 0].astype(int) - image[..., 2] > 60).any()  # blue crosses on a grey picture
    assert len(html) < 1_500_000


def test_report__of_people(tmp_path):
    recording = make_keypoint_capture(KeypointCaptureConfig(frames=20, people=1, seed=3))
    keypoints: Keypoints2D = recording.detections.keypoints
    agreement = agree_about_people(keypoints, recording.cameras)
    html, numbers = written(tmp_path, Calibration(cameras=recording.cameras), agreement=agreement)
    assert numbers["evidence"] == "people"
    assert numbers["pairs"][0]["epipolar_px"] > 0
    assert "people&#x27;s joints" in html
    assert 'class="joint"' in html


def test_report__a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        written(tmp_path / "absent", made())


def test_scene_axes__up_is_how_cameras_are_held():
    cameras = capture().cameras
    assert np.allclose(scene_axes(cameras), np.eye(3))
    turn = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # z up becomes -y up
    rotation, _ = cameras.extrinsics
    assert np.allclose(scene_axes(replace(cameras, rotation=rotation @ turn.mT))[2], turn.numpy()[:, 2])


def test_plan__keeps_the_scale_of_the_world():
    calibration = made()
    found = assess(calibration)
    drawing = plan(
        found, calibration.cameras, outlines=np.zeros((0, 4, 3)), points=np.zeros((0, 3)), side=False, label="plan"
    )
    root = ElementTree.fromstring(drawing)
    drawn = np.array([[float(dot.get("cx")), float(dot.get("cy"))] for dot in root.iter("circle")])
    centers = calibration.cameras.centers[:, :2].numpy() * [1, -1]
    scale = np.linalg.norm(drawn[1:] - drawn[0], axis=-1) / np.linalg.norm(centers[1:] - centers[0], axis=-1)
    assert scale == pytest.approx(scale[0], rel=0.01)
    bar = next(path.get("d") for path in root.iter("path") if path.get("class") == "bar")
    length = float(re.search(r"H([\d.]+)", bar).group(1)) - 14
    words = next(text.text for text in root.iter("text") if text.get("class") == "unit").split()
    assert length == pytest.approx(scale[0] * float(words[0]) * {"cm": 0.01, "m": 1}[words[1]], rel=0.01)


def test_pair_graph__cameras_at_one_place_are_drawn_apart():
    calibration = made()
    rotation, translation = calibration.cameras.extrinsics
    same = replace(calibration.cameras, rotation=rotation[:1].repeat(3, 1, 1), translation=translation[:1].repeat(3, 1))
    root = ElementTree.fromstring(pair_graph(assess(calibration), same))
    drawn = np.array([[float(dot.get("cx")), float(dot.get("cy"))] for dot in root.iter("circle")])
    gaps = np.linalg.norm(drawn[:, None] - drawn, axis=-1)[~np.eye(3, dtype=bool)]
    assert gaps.min() > 70


def test_short_name__keeps_both_ends():
    assert short_name("cam_1") == "cam_1"
    assert short_name("GoPro_front_left_take_03") == "GoPro_fr\u2026take_03"


def test_residual_map__arrows_are_exaggerated_by_a_round_factor():
    assert exaggeration(np.full((50, 2), 0.1), 1000) == 200
    assert exaggeration(np.zeros((0, 2)), 1000) == 1
    svg, factor = residual_map(
        np.array([[10.0, 20.0], [np.nan, 1.0]]),
        np.array([[0.5, 0.0], [1.0, 1.0]]),
        left_out=np.array([[5.0, 6.0]]),
        size=(100, 80),
        label="x",
    )
    assert factor == 5
    assert "M10.0 20.0l2.5 0.0" in svg
    assert 'class="out" d="M5 6h0"' in svg
