"""MeTRAbs's heatmaps and places before the camera, as its own functions of 2020 and of 2023 computed them.

The original computes in millimetres; its tolerances are those of the parity README.
"""

import numpy as np
import pytest
import torch

from marey.methods.metrabs.bone_lengths import depth_from_bone_lengths, joints_at_depth
from marey.methods.metrabs.heatmaps import (
    HeatmapConfig,
    Places,
    decode_2d,
    decode_3d,
    is_reliable,
    to_25d,
    to_metric,
    to_pixels,
)
from marey.methods.metrabs.model import HeatmapHeads
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.reconstruction import Placing, normalised_keypoints, reconstruct_absolute

pytestmark = pytest.mark.realdata

DECODED = {"rtol": 0, "atol": 1e-6}
MILLIMETRES = {"rtol": 0, "atol": 0.01}
LATER = Quirks.published_later()


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        numbers = {key: np.asarray(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fib"}
    return {key: torch.from_numpy(array) for key, array in numbers.items()}


def exact(positions):
    return Places(positions, torch.zeros(*positions.shape, positions.shape[-1], dtype=positions.dtype))


def placed(data, keypoints, reliable, dtype=torch.float64, **placing):
    """Millimetres."""
    return 1000 * reconstruct_absolute(
        data[keypoints].to(dtype),
        data["coords3d_rel"].to(dtype) / 1000,
        data["intrinsics"].to(dtype),
        reliable=reliable,
        placing=Placing(**placing),
    )


# 01: soft-argmax


def test_soft_argmax__of_volumes(shared_parity):
    data = load(shared_parity, "01_soft_argmax")
    nearest_first = data["logits3d_BJHWD"].permute(0, 4, 1, 2, 3).flatten(1, 2)
    found = decode_3d(nearest_first, data["logits3d_BJHWD"].shape[-1])
    torch.testing.assert_close(found.positions, data["coords3d_xyz"], **DECODED)
    single = decode_3d(nearest_first.float(), data["logits3d_BJHWD"].shape[-1])
    torch.testing.assert_close(single.positions, data["coords3d_xyz_f32"], **DECODED)


def test_soft_argmax__of_heatmaps(shared_parity):
    data = load(shared_parity, "01_soft_argmax")
    torch.testing.assert_close(decode_2d(data["logits2d_BJHW"]).positions, data["coords2d_xy"], **DECODED)


def test_soft_argmax__of_what_a_convolution_gives(shared_parity):
    data = load(shared_parity, "01_soft_argmax")
    found = decode_3d(data["conv_out_NCHW"], int(data["n_depth"])).positions
    torch.testing.assert_close(found, data["conv_coords_xyz"], **DECODED)


# 02: heatmaps to pixels and metres


@pytest.mark.parametrize("side", [256, 384])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_units__of_places(shared_parity, stride, centered, side):
    data = load(shared_parity, "02_heatmap_to_metric")
    config = HeatmapConfig(side=side, stride=stride, centered_stride=centered)
    key, places = f"s{stride}_c{centered:d}_p{side}", exact(data["coords01"])
    metres_away = torch.tensor([1.0, 1.0, 1000.0])
    torch.testing.assert_close(to_pixels(places, config, Quirks()).positions, data[f"image_{key}"], rtol=0, atol=1e-9)
    found = 1000 * to_metric(places, config, Quirks()).positions
    torch.testing.assert_close(found, data[f"metric_{key}"], rtol=0, atol=1e-9)
    found = to_25d(places, config, Quirks()).positions * metres_away
    torch.testing.assert_close(found, data[f"25d_{key}"], rtol=0, atol=1e-9)


# 04: places before the camera, November 2020


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weak_perspective__of_2020(shared_parity, dtype):
    data = load(shared_parity, "04_reconstruct_absolute_nov2020")
    reliable = is_reliable(data["coords2d_px"], HeatmapConfig(), border=32)
    assert torch.equal(reliable, data["fov_mask"])
    found = placed(data, "coords2d_px", reliable, dtype, perspective="weak", mix=0, quirks=Quirks.published())
    torch.testing.assert_close(found.double(), data["coords_abs_weak"].double(), **MILLIMETRES)


def test_weak_perspective__of_2020_with_nobody_in_view(shared_parity):
    data = load(shared_parity, "04_reconstruct_absolute_nov2020")
    reliable = is_reliable(data["coords2d_px_nofov"], HeatmapConfig(), border=32)
    assert (~reliable).all(1).any()
    found = placed(data, "coords2d_px_nofov", reliable, perspective="weak", mix=0, quirks=Quirks.published())
    torch.testing.assert_close(found, data["coords_abs_weak_nofov"].double(), **MILLIMETRES)


def test_full_perspective__of_2020(shared_parity):
    data = load(shared_parity, "04_reconstruct_absolute_nov2020")
    found = placed(data, "coords2d_px", data["fov_mask"], mix=1, quirks=Quirks.published())
    place = (found - data["coords3d_rel"]).mean(1)
    torch.testing.assert_close(place, data["ref_full_persp_lstsq"].double(), **MILLIMETRES)


def test_normalised_keypoints__of_2020(shared_parity):
    data = load(shared_parity, "04_reconstruct_absolute_nov2020")
    found = normalised_keypoints(data["coords2d_px"], data["intrinsics"])
    torch.testing.assert_close(found, data["normalized2d"], rtol=0, atol=1e-6)


# 05: depth from bone lengths, November 2020


def bones_of(data):
    return [(int(first), int(second)) for first, second in data["edges"]]


def excess(data, depth):
    """Root mean square of the errors of the bones' lengths, millimetres, at depths of the root."""
    joints = data["camcoords2d_homog"] * (depth[:, None] + data["delta_z"])[..., None]
    first, second = data["edges"].unbind(1)
    lengths = (joints[:, first] - joints[:, second]).norm(dim=-1)
    return (lengths - data["target_bone_lengths"]).square().mean(1).sqrt()


def depths_of(data, quirks):
    """Millimetres."""
    points, depths = data["camcoords2d_homog"][..., :2], data["delta_z"] / 1000
    lengths = data["target_bone_lengths"] / 1000
    return 1000 * depth_from_bone_lengths(points, depths, lengths, bones=bones_of(data), quirks=quirks)


def test_depth_from_bone_lengths__fits_better_than_that_of_2020(shared_parity):
    data = load(shared_parity, "05_bone_length_backprojection")
    found = depths_of(data, Quirks())
    assert (excess(data, found) <= excess(data, data["z_offset"])).all()
    torch.testing.assert_close(found, data["z_offset"], rtol=0, atol=4)


def test_depth_from_bone_lengths__of_2020(shared_parity):
    data = load(shared_parity, "05_bone_length_backprojection")
    torch.testing.assert_close(depths_of(data, Quirks.published()), data["z_offset"], rtol=0, atol=1e-5)


def test_joints_at_depth__of_2020(shared_parity):
    data = load(shared_parity, "05_bone_length_backprojection")
    points, depths = data["camcoords2d_homog"][..., :2], data["delta_z"] / 1000
    found = 1000 * joints_at_depth(points, depths, data["z_offset"] / 1000)
    torch.testing.assert_close(found, data["coords_abs"].double(), **MILLIMETRES)


# 21: heads of 2023


def test_heads__of_2023(shared_parity):
    data = load(shared_parity, "21_heads_later_pytorch")
    joints, depth, config = int(data["n_joints"]), int(data["depth"]), HeatmapConfig()
    heads = HeatmapHeads(joints * (1 + depth), [joints, depth * joints], "shared").double()
    with torch.no_grad():  # the convolution hands its features on
        heads.conv_final.weight.copy_(torch.eye(joints * (1 + depth))[..., None, None])
        heads.conv_final.bias.zero_()
        flat, volume = heads(data["conv_out"])
    found, solid = decode_2d(flat), decode_3d(volume, depth)
    torch.testing.assert_close(found.positions, data["coords2d01"], **DECODED)
    torch.testing.assert_close(solid.positions, data["coords3d01"], **DECODED)
    pixels, metres = to_pixels(found, config, LATER).positions, to_metric(solid, config, LATER).positions
    torch.testing.assert_close(pixels, data["image"], rtol=0, atol=1e-4)
    torch.testing.assert_close(1000 * metres, data["metric"], rtol=0, atol=1e-3)


# 22: places before the camera, 2023


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("key", "mix"), [("None", 0.0), ("0.0", 0.0), ("0.5", 0.5), ("1.0", 1.0)])
def test_full_perspective__of_2023(shared_parity, key, mix, dtype):
    data = load(shared_parity, "22_reconstruct_absolute_later_pytorch")
    reliable = is_reliable(data["coords2d"], HeatmapConfig(), border=24)
    assert torch.equal(reliable, data["mask_fov075"])
    found = placed(data, "coords2d", reliable, dtype, mix=mix, quirks=LATER)
    torch.testing.assert_close(found.double(), data[f"abs_full_mix{key}"].double(), **MILLIMETRES)


def test_full_perspective__of_2023_in_double_precision(shared_parity):
    data = load(shared_parity, "22_reconstruct_absolute_later_pytorch")
    found = placed(data, "coords2d", data["mask_fov075"], mix=1, quirks=LATER)
    place = (found - data["coords3d_rel"]).mean(1)
    torch.testing.assert_close(place, data["ref_full_float64_numpy"], rtol=0, atol=1e-3)


def test_full_perspective__ours_is_as_near_to_the_truth(shared_parity):
    data = load(shared_parity, "22_reconstruct_absolute_later_pytorch")
    ours, theirs = (
        (placed(data, "coords2d", data["mask_fov075"], quirks=quirks) - data["true_abs"]).norm(dim=-1).mean()
        for quirks in (Quirks(), LATER)
    )
    assert ours < theirs
