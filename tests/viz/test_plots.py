from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Estimate, InputError
from marey.viz.plots import save_contact_sheet, save_overview
from viz.figure import small_estimate


@pytest.fixture(scope="module")
def estimate():
    return small_estimate(frames=6)


def pixels(path) -> np.ndarray:
    import cv2

    return cv2.imread(str(path))


def test_overview__shows_people_and_cameras(tmp_path, estimate):
    save_overview(tmp_path / "all.png", estimate, 2, dpi=60)
    save_overview(tmp_path / "people.png", Estimate(joints=estimate.joints, fps=60.0), 2, dpi=60)
    first, second = pixels(tmp_path / "all.png"), pixels(tmp_path / "people.png")
    assert first.shape == second.shape
    assert (first < 200).any(-1).mean() > 0.002
    assert (first != second).any()


def test_overview__as_vector_graphics(tmp_path, estimate):
    save_overview(tmp_path / "all.svg", estimate)
    assert "<svg" in (tmp_path / "all.svg").read_text()


def test_contact_sheet__has_a_panel_for_every_frame(tmp_path, estimate):
    save_contact_sheet(tmp_path / "sheet.png", estimate, [0, 3], dpi=50)
    picture = pixels(tmp_path / "sheet.png")
    half = picture.shape[1] // 2
    assert (picture[:, :half] < 200).any()
    assert (picture[:, half:] < 200).any()


@pytest.mark.parametrize("frames", [[], [6], [-1]])
def test_frames__outside_are_an_error(tmp_path, estimate, frames):
    with pytest.raises(InputError, match=r"expected some of 0\.\.5"):
        save_contact_sheet(tmp_path / "sheet.png", estimate, frames)


def test_nothing_known__is_an_error(tmp_path, estimate):
    nothing = replace(estimate.joints, positions=torch.full_like(estimate.joints.positions, torch.nan))
    with pytest.raises(InputError, match="no joint is known"):
        save_overview(tmp_path / "all.png", replace(estimate, joints=nothing), 0)


def test_unknown_suffix__is_an_error_that_names_the_file(tmp_path, estimate):
    with pytest.raises(InputError, match=r"cannot write .*all\.xyz"):
        save_overview(tmp_path / "all.xyz", estimate)
