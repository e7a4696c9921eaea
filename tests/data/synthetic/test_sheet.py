"""Contact sheets hold every picture once, in order."""

import numpy as np
import pytest

from marey.core import InputError
from marey.data.synthetic.sheet import contact_sheet


def test_sheet__lays_pictures_out_in_rows(hard_batch):
    sheet = contact_sheet(hard_batch[:5], columns=4)
    height, width = hard_batch.images.shape[-2:]
    assert sheet.shape == (3 * height, 4 * width, 3)
    second_view = hard_batch.images[2, 1].permute(1, 2, 0).numpy()
    assert np.array_equal(sheet[height : 2 * height, width : 2 * width], second_view)
    assert not sheet[2 * height :, 2 * width :].any()


def test_sheet__joints_are_drawn_on_a_copy(hard_batch):
    before = hard_batch.images.clone()
    plain, drawn = contact_sheet(hard_batch), contact_sheet(hard_batch, joints=True)
    assert (hard_batch.images == before).all()
    assert 0.01 < (plain != drawn).any(-1).mean() < 0.5


def test_sheet__without_columns_is_told(hard_batch):
    with pytest.raises(InputError, match="columns: expected 1 or more, got 0"):
        contact_sheet(hard_batch, columns=0)
