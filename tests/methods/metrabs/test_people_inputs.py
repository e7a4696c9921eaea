"""What users hand over: numbers of every kind are read as what they are, or refused with a word."""

import warnings

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, InputError, ShapeError
from marey.methods.metrabs.people_inputs import as_boxes, as_boxes_of_pictures, as_cameras, as_picture, as_pictures
from marey.methods.metrabs.people_options import PeopleOptions

K = np.array([[300.0, 0, 99.5], [0, 300, 79.5], [0, 0, 1]])


def values():
    """A picture (8, 10, 3) of 8 bits, in which all values from 15 on are."""
    return np.arange(15, 255, dtype=np.uint8).reshape(8, 10, 3)


@pytest.mark.parametrize("kind", [">u2", "<u2", ">f4", "<f8", np.longdouble, np.float16])
def test_picture__of_any_order_of_bytes_and_any_precision_is_the_same(kind):
    plain = values()
    given = (plain.astype(np.uint16) * 257 if "u2" in str(kind) else plain / 255).astype(kind)
    found = as_picture(given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, as_picture(plain) / 255, rtol=0, atol=3e-4)


def test_picture__that_learns_is_only_looked_at():
    learning = torch.rand(3, 8, 10, requires_grad=True)
    found = as_picture(learning)
    assert not found.requires_grad
    torch.testing.assert_close(found, learning.detach())


def test_picture__of_16_bits_that_holds_fewer_is_told():
    with pytest.warns(UserWarning, match="image: the largest of its 16-bit values is 254 of 65535"):
        found = as_picture(values().astype(np.uint16))
    assert found.max() < 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_picture(values().astype(np.uint16) * 257)
        as_picture(np.zeros((8, 10, 3), np.uint16))  # black


def test_picture__with_masked_values_is_refused():
    masked = np.ma.masked_equal(values(), 20)
    with pytest.raises(InputError, match="image: 1 values are masked"):
        as_picture(masked)
    whole = np.ma.masked_array(values(), mask=False)
    assert torch.equal(as_picture(whole), as_picture(values()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_picture__of_one_value_that_is_not_finite_is_refused(value):
    bad = values() / 255
    bad[3, 4, 1] = value
    with pytest.raises(InputError, match="image: 1 of 240 values are not finite"):
        as_picture(bad)


def test_pictures__that_are_wrong_are_named():
    bad = np.full((8, 10, 3), np.nan)
    with pytest.raises(InputError, match=r"images\[1\]: 240 of 240 values"):
        as_pictures([values(), bad])
    with pytest.raises(InputError, match=r"^image: 240 of 240 values"):
        as_pictures([bad])
    assert len(as_pictures(each for each in (values(), values()))) == 2


@pytest.mark.parametrize("images", [None, 5, "photo.jpg", {"a": 1}, b"data"])
def test_pictures__that_are_no_list_are_refused(images):
    with pytest.raises(ShapeError, match="images: expected a list"):
        as_pictures(images)


@pytest.mark.parametrize(
    ("boxes", "error", "message"),
    [
        ("abc", ShapeError, "boxes: expected an array of numbers, got str"),
        ([[1, 2, 3, 4], [1, 2]], ShapeError, "array of numbers, got list"),
        (None, ShapeError, r"expected \(n, 4\)"),
        (torch.zeros(1, 4, dtype=torch.complex64), ShapeError, "real numbers"),
        ([[10, 10, 0.5, 0.9]], InputError, "one of them of a pixel or more"),
    ],
)
def test_boxes__that_are_none_are_refused(boxes, error, message):
    with pytest.raises(error, match=message):
        as_boxes(boxes)


def test_boxes__may_be_narrow():
    assert as_boxes([[10, 10, 0.5, 60]]).tolist() == [[10, 10, 0.5, 60, 1]]


@pytest.mark.parametrize("boxes", [None, 5, "abc"])
def test_boxes__of_pictures_are_a_list(boxes):
    with pytest.raises(ShapeError, match="boxes: expected a list"):
        as_boxes_of_pictures(boxes)


def test_boxes__of_a_picture_that_are_wrong_are_named():
    with pytest.raises(InputError, match=r"boxes\[1\]: 1 of 1 are none"):
        as_boxes_of_pictures([[[0, 0, 10, 10]], [[0, 0, 10, 0]]])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"intrinsics": "abc"}, ShapeError, "intrinsic_matrix: expected an array of numbers"),
        ({"intrinsics": [[1, 2], [3]]}, ShapeError, "intrinsic_matrix: expected an array of numbers"),
        ({"intrinsics": np.diag([1e-6, 1e-6, 1])}, CalibrationError, "0.001 to 1e"),
        ({"intrinsics": np.diag([1e12, 1e12, 1])}, CalibrationError, "0.001 to 1e"),
        ({"intrinsics": np.array([[300, 1e200, 0], [0, 300, 0], [0, 0, 1]])}, CalibrationError, "intrinsic_matrix"),
        ({"intrinsics": K.T}, CalibrationError, "intrinsic_matrix"),
        ({"distortion": "abc"}, ShapeError, "distortion_coeffs: expected an array of numbers"),
        ({"extrinsics": "abc"}, ShapeError, "extrinsic_matrix: expected an array of numbers"),
        ({"extrinsics": np.eye(4)[::-1]}, CalibrationError, "extrinsic_matrix: expected rotations"),
        ({"extrinsics": np.eye(4) + np.eye(4)[3][:, None]}, CalibrationError, r"\[0, 0, 0, 1\] below"),
    ],
)
def test_cameras__that_are_none_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        as_cameras([(200, 160)], **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_aug": 2.5}, "whole number num_aug >= 1, got 2.5"),
        ({"num_aug": "5"}, "whole number num_aug"),
        ({"num_aug": True}, "whole number num_aug"),
        ({"internal_batch_size": None}, "whole number internal_batch_size >= 0"),
        ({"antialias_factor": 17}, "antialias_factor: expected 16 or less"),
        ({"max_detections": -2}, "whole number max_detections >= -1"),
        ({"skeleton": ["a"]}, "skeleton: expected a name"),
        ({"world_up_vector": "abc"}, "world_up_vector: expected three finite numbers"),
        ({"world_up_vector": None}, "world_up_vector: expected three finite numbers"),
        ({"default_fov_degrees": "wide"}, "default_fov_degrees: expected a number"),
        ({"default_fov_degrees": None}, "default_fov_degrees: expected a number"),
        ({"detector_threshold": float("nan")}, "detector_threshold: expected a number"),
        ({"average_aug": None}, "average_aug: expected True or False"),
        ({"suppress_implausible_poses": "no"}, "suppress_implausible_poses: expected True or False"),
    ],
)
def test_options__of_the_wrong_kind_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PeopleOptions().changed(options)


def test_options__may_be_numbers_of_numpy():
    options = PeopleOptions().changed({"num_aug": np.int64(3), "default_fov_degrees": np.float32(50)})
    assert (options.num_aug, options.default_fov_degrees) == (3, 50)
