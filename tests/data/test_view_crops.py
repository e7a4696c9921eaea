"""Crops of views: what they show, and that their projections say where."""

import math

import cv2
import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, InputError
from marey.data.prepare.undistortion import source_pixels
from marey.data.view_crops import (
    ViewCropRule,
    crop_edges,
    crop_projections,
    cut_view,
    lens_places,
    reductions,
    with_h36m_lenses,
)
from marey.geometry import project

LENS = (-0.3, 0.1, 0.002, -0.003, 0.01)


def camera(distortion=(), *, fisheye=False, skew=0.0, size=(640, 480), placed=True):
    count = 1
    return Cameras(
        intrinsics=torch.tensor([[[500.0, skew, 330.0], [0, 510.0, 235.0], [0, 0, 1]]], dtype=torch.float64),
        distortion=torch.tensor([distortion], dtype=torch.float64).reshape(count, -1),
        image_size=torch.tensor([size], dtype=torch.float64),
        rotation=torch.eye(3, dtype=torch.float64)[None] if placed else None,
        translation=torch.tensor([[0.1, -0.2, 3.0]], dtype=torch.float64) if placed else None,
        fisheye=torch.tensor([True]) if fisheye else None,
    )


def dotted(pixel, size=(640, 480)):
    """A black image with a round spot whose centre of mass is at a pixel."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    spot = 255 * np.exp(-((x - pixel[0]) ** 2 + (y - pixel[1]) ** 2) / (2 * 4.0**2))
    return np.repeat(np.rint(spot).astype(np.uint8)[..., None], 3, axis=2)


def centre_of_mass(image):
    weight = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def in_crop(point, projection):
    seen = projection[0].numpy() @ np.append(point, 1.0)
    return seen[:2] / seen[2]


@pytest.mark.parametrize("size", [(384, 384), (96, 128), (31, 57)])
@pytest.mark.parametrize(
    ("lens", "more"),
    [((), {}), (LENS, {}), (LENS, {"skew": 3.0}), ((0.05, -0.01, 0.002, 0.0), {"fisheye": True})],
    ids=["none", "usual", "skewed", "fisheye"],
)
def test_point__lies_where_its_dot_is_in_the_crop(lens, more, size):
    cameras, point = camera(lens, **more), np.array([0.55, -0.45, 0.3])
    pixel = project(torch.from_numpy(point)[None], cameras)[0].numpy()
    rule = ViewCropRule(size=size)
    edges = crop_edges(np.array([[pixel[0] - 61, pixel[1] - 103, 141.0, 187.0]]), cameras, rule)
    crop = cut_view(dotted(pixel), edges[0], cameras[0], rule)
    assert crop.shape == (size[1], size[0], 3)
    expected = in_crop(point, crop_projections(cameras, edges, rule))
    assert np.abs(centre_of_mass(crop) - expected).max() < 0.1


def test_lens__bends_the_crop_unless_it_is_taken_out():
    cameras, point = camera(LENS), np.array([1.2, -0.7, 0.0])
    pixel = project(torch.from_numpy(point)[None], cameras)[0].numpy()
    rule = ViewCropRule(size=(200, 200), straighten=False)
    edges = crop_edges(np.array([[pixel[0] - 100, pixel[1] - 100, 200.0, 200.0]]), cameras, rule)
    off = centre_of_mass(cut_view(dotted(pixel), edges[0], cameras[0], rule)) - in_crop(
        point, crop_projections(cameras, edges, rule)
    )
    assert np.linalg.norm(off) > 5


def test_edges__by_hand():
    """Middle and half sides rounded down: 141 x 187 at (20, 10) is square at (-3, 10), and 1.5 times at (-50, -37)."""
    box = np.array([[20.0, 10.0, 141.0, 187.0]])
    assert crop_edges(box, camera(), ViewCropRule(square=False)).tolist() == [[20, 10, 161, 197]]
    assert crop_edges(box, camera(), ViewCropRule()).tolist() == [[-3, 10, 184, 197]]
    assert crop_edges(box, camera(), ViewCropRule(scale=1.5)).tolist() == [[-50, -37, 230, 243]]


def test_edges__of_no_box_are_nothing():
    boxes = np.array([[math.nan] * 4, [5.0, 5.0, 0.0, 9.0], [5.0, 5.0, 1e9, 9.0]])
    cameras = Cameras.cat([camera()] * 3)
    edges = crop_edges(boxes, cameras, ViewCropRule())
    assert edges.tolist() == [[0, 0, 0, 0]] * 3
    assert not crop_projections(cameras, edges, ViewCropRule()).any()


def test_edges__beyond_the_fold_of_the_lens_are_nothing():
    """r (1 - 0.9 r^2) has its largest value 0.41 at 0.61: 205 pixels from the middle, and the box begins at 250."""
    cameras = camera((-0.9, 0, 0, 0))
    assert crop_edges(np.array([[580.0, 200.0, 30.0, 40.0]]), cameras, ViewCropRule()).tolist() == [[0, 0, 0, 0]]


def test_projections__by_hand():
    """A cut at (100, 50) of 200 pixels shown at 100: (x - 100 + 0.5) / 2 - 0.5, as published (x - 100) / 2."""
    cameras, edges = camera(), np.array([[100, 50, 300, 250]])
    point = np.array([-0.1, 0.2, 1.0])  # four metres in front of the middle of the picture
    ours = in_crop(point, crop_projections(cameras, edges, ViewCropRule(size=(100, 100))))
    published = in_crop(point, crop_projections(cameras, edges, ViewCropRule(size=(100, 100), half_pixels=False)))
    np.testing.assert_allclose(ours, [(330 - 99.5) / 2 - 0.5, (235 - 49.5) / 2 - 0.5], atol=1e-12)
    np.testing.assert_allclose(published, [115, 92.5], atol=1e-12)


def test_projections__need_places():
    with pytest.raises(CalibrationError, match="intrinsics only"):
        crop_projections(camera(placed=False), np.array([[0, 0, 9, 9]]), ViewCropRule())


def test_cut__is_black_beyond_the_image():
    image = np.full((480, 640, 3), 200, dtype=np.uint8)
    crop = cut_view(image, np.array([-20, -10, 20, 30]), camera()[0], ViewCropRule(size=(40, 40)))
    assert not crop[:10].any()
    assert not crop[:, :20].any()
    assert (crop[10:, 20:] == 200).all()
    bent = cut_view(image, np.array([-200, -200, -100, -100]), camera((0.01, 0, 0, 0))[0], ViewCropRule(size=(40, 40)))
    assert not bent.any()


def test_cut__averages_areas():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2, :2] = [[[0, 10, 20], [40, 50, 60]], [[80, 90, 100], [120, 130, 140]]]
    crop = cut_view(image, np.array([0, 0, 4, 4]), camera()[0], ViewCropRule(size=(2, 2)))
    assert crop.tolist() == [[[60, 70, 80], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_human36m_lens__is_opencv_s_of_twelve_coefficients():
    cameras = camera((-0.2, 0.25, -0.007, -0.003, -0.002))
    turned = with_h36m_lenses(cameras)
    expected = source_pixels(cameras[0], (640, 480), formula="h36m")
    places = lens_places(np.array([0, 0, 640, 480]), turned[0])
    assert np.abs(places - expected).max() < 1e-3
    assert np.abs(lens_places(np.array([0, 0, 640, 480]), cameras[0]) - expected).max() > 0.3


def test_human36m_lens__of_other_models_is_refused():
    with pytest.raises(InputError, match="k1 k2 p1 p2"):
        with_h36m_lenses(camera((0.1,) * 8))
    with pytest.raises(InputError, match="k1 k2 p1 p2"):
        with_h36m_lenses(camera((0.1, 0, 0, 0), fisheye=True))
    assert with_h36m_lenses(camera()).distortion.shape == (1, 0)


def test_reductions__are_as_large_as_the_crop_allows():
    edges = np.array([[0, 0, side, side] for side in (99, 199, 200, 399, 400, 799, 800, 5000)])
    assert reductions(edges, ViewCropRule(size=(100, 100), reduce=True)).tolist() == [1, 1, 2, 2, 4, 4, 8, 8]
    assert reductions(edges, ViewCropRule(size=(100, 100))).tolist() == [1] * 8


@pytest.mark.parametrize("lens", [(), LENS], ids=["none", "usual"])
def test_point__lies_where_its_dot_is_in_the_crop_of_a_smaller_image(lens):
    cameras, point = camera(lens), np.array([0.55, -0.45, 0.3])
    pixel = project(torch.from_numpy(point)[None], cameras)[0].numpy()
    rule = ViewCropRule(size=(48, 48), reduce=True)
    edges = crop_edges(np.array([[pixel[0] - 61, pixel[1] - 103, 199.0, 201.0]]), cameras, rule)
    assert (edges % 4 == 0).all()
    smaller = cv2.resize(dotted(pixel), (160, 120), interpolation=cv2.INTER_AREA)
    crop = cut_view(smaller, edges[0], cameras[0], rule, reduction=4)
    assert np.abs(centre_of_mass(crop) - in_crop(point, crop_projections(cameras, edges, rule))).max() < 0.1


@pytest.mark.parametrize("rule", [{"size": (0, 5)}, {"scale": 0.0}, {"scale": math.nan}])
def test_rule__that_cuts_nothing_is_refused(rule):
    with pytest.raises(InputError, match="crops"):
        ViewCropRule(**rule)
