"""The clocks of the views: what their files say, offsets that are given, frames at other moments."""

import numpy as np
import pytest
import torch

from marey.core import InputError, Recording
from marey.io.resampled_frames import ResampledFrames
from marey.pipeline.view_clocks import own_times, parse_sync, reference_view


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


def test_parse_sync__names_match_as_those_of_cameras_do():
    recording = Recording(names=("cam01_json", "Cam_2"), frames=films().frames, fps=60.0)
    offset = parse_sync("cam_1=0.5, cam02=6f", recording).offset
    assert offset.tolist() == pytest.approx([0.5, 0.1])


def test_parse_sync__a_name_that_two_views_share_means_neither():
    recording = Recording(names=("cam_1", "cam01"), frames=films().frames, fps=60.0)
    assert parse_sync("cam01=0.5", recording).offset.tolist() == [0.0, 0.5]
    with pytest.raises(InputError, match="there is no Cam-1"):
        parse_sync("Cam-1=0.5", recording)


def test_parse_sync__one_view_twice():
    with pytest.raises(InputError, match="one view is named twice"):
        parse_sync("slow=1, slow=2", films())
