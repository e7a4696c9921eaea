"""Crops and occluders of HierarchicalProbabilistic3DHuman and 3DNBF, on the images that the originals were run on."""

import numpy as np
import pytest

from marey.data.boxes import boxes_around
from marey.data.square_crops import crop_image, crop_matrices, crop_points
from marey.data.texture_patches import occluded, resized_texture, texture_patch
from marey.metrics.protocols.occluders import OccluderGrid

pytestmark = pytest.mark.realdata


def load(folder, name):
    with np.load(folder / name) as arrays:
        return dict(arrays)


def square(x, y, side):
    return boxes_around(np.array([x, y], dtype=np.float64), np.array([side]))


def test_hierprob__crop_with_opencv(shared_parity):
    stored = load(shared_parity / "hierprob", "crops.npz")
    matrix = crop_matrices(square(43, 61, 1.2 * 80), 64)
    crop = crop_image(stored["rgb"][0].transpose(1, 2, 0), matrix, 64)
    np.testing.assert_allclose(crop, stored["cv_rgb"][0].transpose(1, 2, 0), atol=1e-5)
    np.testing.assert_allclose(crop_points(stored["joints"][0], matrix), stored["cv_joints"][0], atol=1e-5)


def test_3dnbf__crop_of_a_box(shared_parity):
    stored = load(shared_parity / "nbf", "crop_affine.npz")
    matrix = crop_matrices(square(*stored["center"], stored["scale"][0]), 320)
    np.testing.assert_allclose(matrix, stored["M_0"], atol=1e-12)
    np.testing.assert_array_equal(crop_image(stored["src"], matrix, 320), stored["warp_0"])


def test_3dnbf__pasted_occluder(shared_parity):
    stored = load(shared_parity / "nbf", "occluder.npz")
    grid = OccluderGrid(size=80, stride=10)
    box = grid.boxes()[1 * grid.places + 2].numpy()
    patch = texture_patch(resized_texture(stored["texture"]), (271, 7), (114, 114))
    found = occluded(np.full((320, 320, 3), 7, dtype=np.uint8), box, patch).astype(int)
    difference = np.abs(found - stored["occ_img_80_10_1_2"])
    assert difference.max() <= 1  # one level: the two libraries round the resized texture apart
    assert (difference > 0).mean() < 0.01
