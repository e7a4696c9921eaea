import numpy as np
import pytest

from marey.core import InputError, ShapeError
from marey.viz.contact_sheet import contact_sheet, recording_sheet


def plain(level, height=4, width=6):
    return np.full((height, width, 3), level, np.uint8)


class Film:
    """Frames whose level is ten times their number."""

    size = (12, 8)

    def __len__(self):
        return 9

    def frames(self, start=0, stop=None):
        return (plain(10 * number, 8, 12) for number in range(start, stop))


def test_sheet__has_pictures_in_their_places_and_white_between():
    sheet = contact_sheet([[plain(1), plain(2)], [plain(3)]], gap=2)
    assert sheet.shape == (10, 14, 3)
    assert (sheet[:4, :6] == 1).all()
    assert (sheet[:4, 8:] == 2).all()
    assert (sheet[6:, :6] == 3).all()
    rest = sheet.copy()
    rest[:4, :6] = rest[:4, 8:] = rest[6:, :6] = 255
    assert (rest == 255).all()


def test_recording__is_shown_from_its_first_to_its_last_frame():
    sheet = recording_sheet([Film(), Film()], moments=3, width=6, gap=0)
    assert sheet.shape == (12, 12, 3)
    assert sheet[::4, 0, 0].tolist() == [0, 40, 80]
    assert recording_sheet([Film()], moments=99, width=6, gap=0).shape == (9 * 4, 6, 3)


def test_sheet__of_nothing_or_of_several_sizes_is_refused():
    for rows in ([], [[]], [[plain(1)], [plain(1), plain(2)]]):
        with pytest.raises(InputError, match="rows no longer than the first"):
            contact_sheet(rows)
    with pytest.raises(ShapeError, match="of one size"):
        contact_sheet([[plain(1), plain(1, 5)]])
    with pytest.raises(InputError, match="one or more views"):
        recording_sheet([])
