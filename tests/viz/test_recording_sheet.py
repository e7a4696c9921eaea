import numpy as np
import pytest

from marey.core import InputError
from marey.viz.recording_sheet import recording_sheet


class Film:
    """Nine frames whose grey level is ten times their number."""

    size = (12, 8)
    timestamps = np.arange(9.0)
    fps = 1.0
    files = ()

    def frames(self, start=0, stop=None):
        return (np.full((8, 12, 3), 10 * number, np.uint8) for number in range(start, stop))


def test_sheet__shows_all_views_from_the_first_frame_to_the_last():
    sheet = recording_sheet([Film(), Film()], moments=3, width=6)
    assert sheet.shape == (12, 12, 3)
    assert (sheet.reshape(3, 4, 36) == np.array([0, 40, 80])[:, None, None]).all()


def test_sheet__has_no_more_rows_than_there_are_frames():
    assert recording_sheet([Film()], moments=99, width=6).shape == (9 * 4, 6, 3)


@pytest.mark.parametrize("change", [{"moments": 0}, {"width": 0}, {"sources": []}])
def test_sheet__of_nothing_is_refused(change):
    with pytest.raises(InputError, match="one or more views, moments and pixels"):
        recording_sheet(**{"sources": [Film()], **change})
