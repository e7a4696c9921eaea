"""The linear and the weak start against what the original MeTRAbs program computed (2020-11)."""

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.geometry.absolute import place_by_projection

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def stored(shared_parity):
    with np.load(shared_parity / "metrabs" / "04_reconstruct_absolute_nov2020.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype.kind in "fb"}


def placed(stored, weights, perspective):
    intrinsics = stored["intrinsics"]
    cameras = Cameras(
        intrinsics=intrinsics,
        distortion=torch.zeros(len(intrinsics), 0, dtype=torch.float64),
        image_size=torch.full((len(intrinsics), 2), torch.nan, dtype=torch.float64),
    )
    metres = stored["coords3d_rel"] / 1000
    found = place_by_projection(
        metres, stored["coords2d_px"], cameras, weights=weights, perspective=perspective, robust=False, steps=0
    )
    return 1000 * found.translation


def test_full_perspective__equals_the_original(stored):
    rows = stored["fov_mask"].double() + 1e-4  # the original's weight of an equation
    found = placed(stored, rows.square(), "full")
    torch.testing.assert_close(found, stored["ref_full_persp_lstsq"].double(), rtol=0, atol=0.1)


def test_weak_perspective__equals_the_original_where_two_joints_are_reliable(stored):
    enough = stored["fov_mask"].sum(-1) >= 2
    found = placed(stored, stored["fov_mask"].double(), "weak")
    torch.testing.assert_close(found[enough], stored["ref_weak"][enough].double(), rtol=0, atol=0.05)
    assert found[~enough].isnan().all()  # the original puts these at one metre
    assert enough.any()
