"""MeTRAbs's stored training crops, boxes and colour changes (2020-11), as its own functions computed them."""

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.data import boxes, colour, crops
from marey.geometry.projection import pixels_to_normalised, project, undistort

pytestmark = pytest.mark.realdata


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        return dict(arrays)


def camera(stored, size, *, lens=True):
    rotation = torch.from_numpy(stored["cam_R"]).double()
    centre = torch.from_numpy(stored["cam_t"]).double()
    return Cameras(
        intrinsics=torch.from_numpy(stored["cam_K"]).double(),
        distortion=torch.from_numpy(stored["cam_dist"]).double() * lens,
        image_size=torch.tensor(size, dtype=torch.float64),
        rotation=rotation,
        translation=-rotation @ centre,
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_crop__has_the_camera_box_and_size_of_the_original(shared_parity, place):
    stored = load(shared_parity, "20_preproc_boxes")
    source = camera(stored, (1000.0, 1002.0))[None]
    box = stored[f"b{place}_in"][None]
    found = crops.plan_crops(source, box, up=(0, 0, 1))
    # the original undoes the lens by five steps of a fixed-point iteration, which here is a tenth of a pixel off
    near = {"rtol": 0, "atol": 0.1}
    np.testing.assert_allclose(found.cameras.rotation[0], stored[f"b{place}_new_R"], rtol=0, atol=6e-5)
    np.testing.assert_allclose(found.cameras.intrinsics[0], stored[f"b{place}_new_K"], **near)
    np.testing.assert_allclose(found.boxes[0], stored[f"b{place}_final_box"], **near)
    assert found.size(0) == tuple(stored[f"b{place}_dst_hw"][::-1])


def test_crop__steps_equal_the_original_within_its_iteration(shared_parity):
    stored = load(shared_parity, "20_preproc_boxes")
    source = camera(stored, (1000.0, 1002.0))[None].to(torch.float64)
    for place in range(3):
        box = stored[f"b{place}_in"][None]
        turned = crops.upright_towards(source, boxes.box_centers(box), up=(0, 0, 1))
        seen = boxes.boxes_of_points(crops.moved_pixels(crops._side_middles(box), source, turned))
        np.testing.assert_allclose(seen[0], stored[f"b{place}_reproj"], rtol=0, atol=0.1)
        room = crops._with_room(stored[f"b{place}_reproj"][None].astype(np.float64), crops.CropRule())
        kept = boxes.intersect_boxes(room[0], stored[f"b{place}_full"].astype(np.float64))
        np.testing.assert_allclose(kept, stored[f"b{place}_expanded"], rtol=1e-6, atol=1e-4)
        longest = stored[f"b{place}_reproj"][2:].max()
        assert min(1.2, crops.CropRule().longest / longest) == pytest.approx(float(stored[f"b{place}_scale"]), rel=1e-6)


def test_boxes__equal_the_original(shared_parity):
    stored = load(shared_parity, "20_preproc_boxes")
    first, second = stored["boxlib_a"], stored["boxlib_b"]
    np.testing.assert_allclose(boxes.box_iou(first, second), stored["boxlib_iou"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(boxes.expand_boxes(first, 1.25), stored["boxlib_expand125"], rtol=1e-12)
    np.testing.assert_allclose(boxes.hull_of_boxes(first, second), stored["boxlib_hull"], rtol=1e-12)


def test_camera__projects_undoes_its_lens_and_turns_as_the_original(shared_parity):
    stored = load(shared_parity, "18_camera_and_training_loader")
    source = camera(stored, (240.0, 200.0))
    world = torch.from_numpy(stored["world"]).double()
    np.testing.assert_allclose(project(world, source), stored["world_to_image"], rtol=0, atol=1e-3)
    ideal = undistort(pixels_to_normalised(torch.from_numpy(stored["pts"]), source), source)
    np.testing.assert_allclose(ideal, stored["image_to_camera"][:, :2], rtol=0, atol=2e-4)
    for name, lens in (("test_side128", True), ("nodist_test_side128", False)):
        seen = camera(stored, (240.0, 200.0), lens=lens)[None]
        turned = crops.upright_towards(seen, boxes.box_centers(stored["bbox"][None]), up=(0, 0, 1))
        own = turned.rotation[0].T
        np.testing.assert_allclose(own, stored[f"{name}__rot_to_world"], rtol=0, atol=2e-5)
        np.testing.assert_allclose(seen.rotation[0] @ own, stored[f"{name}__rot_to_orig_cam"], rtol=0, atol=2e-5)
        np.testing.assert_allclose(turned.centers[0], stored[f"{name}__cam_loc"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "lens"), [("test_side128", True), ("nodist_test_side128", False)])
def test_warp__equals_the_original_pixels(shared_parity, name, lens):
    """The warp of its loader: the same camera, bilinear, rendered four times as large, in stored values."""
    stored = load(shared_parity, "18_camera_and_training_loader")
    source = camera(stored, (240.0, 200.0), lens=lens)[None]
    own = torch.from_numpy(stored[f"{name}__rot_to_world"].T).double()
    virtual = Cameras(
        intrinsics=torch.linalg.inv(torch.from_numpy(stored[f"{name}__inv_intrinsics"]).double())[None],
        distortion=torch.zeros(1, 0, dtype=torch.float64),
        image_size=torch.tensor([[128.0, 128.0]], dtype=torch.float64),
        rotation=own[None],
        translation=(-own @ source.centers[0])[None],
    )
    turn = virtual.intrinsics @ own @ source.rotation.mT @ torch.linalg.inv(source.intrinsics)
    made = crops.Crops(
        sources=source,
        cameras=virtual,
        boxes=np.zeros((1, 4)),
        homographies=turn,
        rule=crops.CropRule(antialias=4, gamma=1.0, cubic=False),
    )
    found = crops.render_crop(stored["image"], made, 0).astype(int)
    expected = np.round(stored[f"{name}__im"] * 255).astype(int)
    assert np.abs(found - expected).max() <= 2
    assert (np.abs(found - expected) <= 1).mean() > 0.999


def test_colours__equal_the_original(shared_parity):
    stored = load(shared_parity, "19_augmentations")
    np.testing.assert_array_equal(colour.change_exponent(stored["im"], 0.67), stored["gamma067"])
    np.testing.assert_array_equal(colour.balance_white(stored["im"]), stored["white_balance_110_145"])
