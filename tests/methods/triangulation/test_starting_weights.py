"""Weights that recipes on the trunk start with."""

import dataclasses

import pytest
import torch

from marey.core import FormatError
from marey.io.weights import write_weights
from marey.methods.triangulation.lifter_recipe import small as small_lifter
from marey.methods.triangulation.trunk_recipe import small as small_head


@pytest.mark.parametrize("recipe", [small_head("algebraic"), small_lifter()], ids=["head", "lifter"])
def test_weights__are_what_training_starts_with(recipe, tmp_path):
    torch.manual_seed(1)
    first = recipe.task().model
    write_weights(tmp_path / "kept", first.state_dict(), {})
    second = dataclasses.replace(recipe, weights=str(tmp_path / "kept")).task().model
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    write_weights(tmp_path / "other", {"spread": torch.zeros(1)}, {})
    with pytest.raises(FormatError, match=r"does not fit .* lacks"):
        dataclasses.replace(recipe, weights=str(tmp_path / "other")).task()
