"""Crops and cameras of views against what the program of learnable triangulation computed."""

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.data.view_crops import ViewCropRule, crop_edges, crop_projections, cut_view

pytestmark = pytest.mark.realdata


@pytest.fixture
def stored(shared_parity):
    with np.load(shared_parity / "triangulation" / "camera_image.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def camera(stored):
    return Cameras(
        intrinsics=torch.from_numpy(stored["K"])[None],
        distortion=torch.zeros(1, 0, dtype=torch.float64),
        image_size=torch.tensor([[1000.0, 1002.0]], dtype=torch.float64),
        rotation=torch.from_numpy(stored["R"])[None],
        translation=torch.from_numpy(stored["t"][:, 0] / 1000)[None],
    )


def test_projection__of_a_crop_as_the_original(stored):
    """A box of 800 pixels at 384, its coordinates multiplied by the ratio; lengths there are millimetres."""
    rule = ViewCropRule(size=(384, 384), half_pixels=False)
    found = crop_projections(camera(stored), stored["bbox_ltrb"][None], rule)[0].numpy()
    np.testing.assert_allclose(found * [1, 1, 1, 1000], stored["P_384"], rtol=1e-12, atol=1e-6)


def test_edges__as_the_original(stored):
    boxes = stored["boxes_square"]
    spans = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).astype(np.float64)
    cameras = Cameras.cat([camera(stored)] * len(boxes))
    for scale, expected in ((1.25, "scaled_1_25"), (1.0, "scaled_1_0")):
        loose = stored["boxes_ltrb"]
        kept = np.concatenate((loose[:, :2], loose[:, 2:] - loose[:, :2]), axis=1).astype(np.float64)
        found = crop_edges(kept, cameras, ViewCropRule(square=False, scale=scale))
        assert found.tolist() == stored[f"boxes_{expected}"].tolist()
    assert crop_edges(spans, cameras, ViewCropRule()).tolist() == boxes.tolist()


def test_pixels__of_a_crop_as_the_original(stored):
    """Cut beyond the border, then made smaller by areas; other versions of OpenCV differ by a grey level."""
    found = cut_view(stored["image_uint8"], stored["crop_box"], camera(stored)[0], ViewCropRule(size=(24, 24)))
    assert np.abs(found.astype(int) - stored["resized_24"]).max() <= 1
