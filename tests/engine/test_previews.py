"""Sheets of what batches hold."""

import numpy as np
import pytest
import torch

from engine.small_task import SmallRecipe, SmallTask
from marey.core import InputError
from marey.engine.previews import contact_sheet, preview_sheet


def test_contact_sheet__lays_pictures_of_any_size_out():
    red, blue = np.zeros((30, 40, 3), np.uint8), np.zeros((50, 20, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 255
    sheet = contact_sheet([{"first": red, "second": blue}, {"first": red}])
    # 18 pixels of title above and 4 between
    assert sheet.shape == (50 + 22 + 30 + 22, 40 + 4 + 20 + 4, 3)
    assert (sheet[18:48, :40] == (255, 0, 0)).all()
    assert (sheet[18:68, 44:64] == (0, 0, 255)).all()
    assert (sheet[72 + 18 : 72 + 48, :40] == (255, 0, 0)).all()
    assert (sheet[:18, :40] > 100).any()  # the name
    assert (sheet[72:, 48:] == 24).all()


def test_preview_sheet__is_of_the_first_batches_and_touches_nothing():
    task = SmallTask(SmallRecipe())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sheet = preview_sheet(task, seed=5, batches=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert sheet.shape == (3 * (16 * 8 + 22), 3 * 1 + 4, 3)
    shown = sheet[18 : 18 + 16 * 8 : 8, 0, 0]
    first = next(iter(task.batches("train", seed=5, rank=0, world=1)))
    assert shown.tolist() == (first["truth"][:, 0].sigmoid() * 255).to(torch.uint8).tolist()


class Plain(SmallTask):
    preview = None


def test_preview_sheet__of_a_task_that_draws_none():
    with pytest.raises(InputError, match="Plain draws no preview"):
        preview_sheet(Plain(SmallRecipe()), seed=0)
    with pytest.raises(InputError, match="one or more pictures"):
        contact_sheet([{}])
