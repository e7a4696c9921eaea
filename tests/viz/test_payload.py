"""The data in a report, decoded by the layout that payload.py states, equal the estimate's."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Estimate, InputError
from marey.viz.payload import JOINT_TOLERANCE, KEYPOINT_TOLERANCE, build_payload
from viz.figure import JOINT, small_estimate

NAMES = ("a", "b", "c", "d")


def decode(payload, name):
    """As the documentation says, and not as the code does."""
    entry = payload.manifest["arrays"][name]
    raw = base64.b64decode("".join(payload.blocks[name].base64()))
    dtype = {"int16": "<i2", "float16": "<f2", "float32": "<f4", "int32": "<i4", "uint8": "<u1"}[entry["dtype"]]
    stored = np.frombuffer(raw, dtype).reshape(entry["shape"])
    missing = {"int16": -32768, "uint8": 255}.get(entry["dtype"])
    values = np.array(entry["offset"]) + np.array(entry["scale"]) * stored.astype(np.float64)
    return np.where(stored == missing, np.nan, values) if missing is not None else values


@pytest.fixture(scope="module")
def estimate() -> Estimate:
    return small_estimate()


@pytest.fixture(scope="module")
def payload(estimate):
    return build_payload(estimate, NAMES)


def test_joints__equal_the_estimate_within_the_stated_tolerance(estimate, payload):
    found, true = decode(payload, "joints"), estimate.joints.positions.numpy()
    assert payload.manifest["arrays"]["joints"]["dtype"] == "int16"
    np.testing.assert_array_equal(np.isnan(found), np.isnan(true))
    assert np.nanmax(np.abs(found - true)) <= JOINT_TOLERANCE
    assert np.isnan(found[5, 0, JOINT]).all()


def test_joints__far_apart_are_stored_in_float32(estimate):
    far = estimate.joints.positions.clone()
    far[0, 1] += 5000
    payload = build_payload(replace(estimate, joints=replace(estimate.joints, positions=far)), NAMES)
    assert payload.manifest["arrays"]["joints"]["dtype"] == "float32"
    np.testing.assert_allclose(decode(payload, "joints"), far.numpy(), rtol=1e-7)


def test_spread__is_the_cholesky_factor_of_the_covariance(estimate, payload):
    l00, l10, l11, l20, l21, l22 = np.moveaxis(decode(payload, "spread") / 1000, -1, 0)
    zero = np.zeros_like(l00)
    factor = np.stack([np.stack(row, -1) for row in ((l00, zero, zero), (l10, l11, zero), (l20, l21, l22))], -2)
    true = estimate.joints.covariance.numpy()
    scale = np.sqrt(np.einsum("...ii,...jj->...ij", true, true))
    assert np.nanmax(np.abs(factor @ np.swapaxes(factor, -1, -2) - true) / scale) < 2e-3
    np.testing.assert_array_equal(np.isnan(l22), np.isnan(true[..., 0, 0]))


def test_spread__of_a_flat_covariance_is_finite(estimate):
    flat = torch.zeros_like(estimate.joints.covariance)
    flat[..., 2, 2] = 4e-4
    payload = build_payload(replace(estimate, joints=replace(estimate.joints, covariance=flat)), NAMES)
    np.testing.assert_allclose(decode(payload, "spread")[0, 0, 0], [0, 0, 0, 0, 0, 20], atol=0.01)


def test_keypoints_and_weights__equal_the_estimate(estimate, payload):
    found, true = decode(payload, "keypoints"), estimate.keypoints.positions.numpy()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(true))
    assert np.nanmax(np.abs(found - true)) <= KEYPOINT_TOLERANCE
    np.testing.assert_allclose(decode(payload, "weights"), estimate.diagnostics.weights.numpy(), atol=0.002)


def test_keypoints__of_another_skeleton_are_matched_by_name(estimate):
    names = ["right_knee", "nose", "left_knee"]
    places = estimate.keypoints.skeleton.indices(names)
    fewer = replace(
        estimate.keypoints,
        positions=estimate.keypoints.positions[..., places, :],
        covariance=estimate.keypoints.covariance[..., places, :, :],
        score=estimate.keypoints.score[..., places],
        skeleton=estimate.keypoints.skeleton.select(names),
    )
    found = decode(build_payload(replace(estimate, keypoints=fewer), NAMES), "keypoints")
    true = estimate.keypoints.positions.numpy()
    np.testing.assert_allclose(found[..., places, :], true[..., places, :], atol=KEYPOINT_TOLERANCE)
    others = [place for place in range(25) if place not in places]
    assert np.isnan(found[..., others, :]).all()


def test_filled_and_frames(payload):
    assert np.argwhere(decode(payload, "filled")).tolist() == [[3, 0, JOINT]]
    assert decode(payload, "frames").tolist() == list(range(100, 112))


def test_stride__keeps_the_playback_within_the_limit_and_the_heat_map_whole(estimate):
    whole = sum(block.values.nbytes for block in build_payload(estimate, NAMES).blocks.values())
    payload = build_payload(estimate, NAMES, max_bytes=whole // 3)
    stride = payload.manifest["stride"]
    assert 3 <= stride <= 4
    assert payload.manifest["frameCount"] == 12
    assert decode(payload, "frames").tolist() == list(range(100, 112, stride))
    np.testing.assert_allclose(
        decode(payload, "joints"), estimate.joints.positions.numpy()[::stride], atol=JOINT_TOLERANCE
    )
    assert payload.manifest["arrays"]["heat_residual"]["shape"] == [4, 12]


def test_manifest__cameras_and_names(estimate, payload):
    assert [camera["name"] for camera in payload.manifest["cameras"]] == list(NAMES)
    camera = payload.manifest["cameras"][2]
    np.testing.assert_allclose(camera["rotation"], estimate.cameras.rotation[2].numpy(), atol=1e-6)
    assert camera["size"] == [1920, 1080]
    assert camera["fold"] is None


def test_fold__is_where_the_lens_model_turns_back():
    estimate = small_estimate(frames=6, distortion=(-0.3, 0, 0, 0))
    fold = build_payload(estimate, NAMES).manifest["cameras"][0]["fold"]
    assert fold == pytest.approx(0.9**-0.5, rel=0.03)  # r (1 - 0.3 r^2) grows until 0.9 r^2 = 1


def test_cameras__that_are_not_finite_or_have_no_place_are_left_out(estimate):
    broken = estimate.cameras.intrinsics.clone()
    broken[1, 0, 0] = torch.nan
    partly = build_payload(replace(estimate, cameras=replace(estimate.cameras, intrinsics=broken)), NAMES)
    assert [camera["view"] for camera in partly.manifest["cameras"]] == [0, 2, 3]
    nowhere = replace(estimate.cameras, rotation=None, translation=None)
    assert build_payload(replace(estimate, cameras=nowhere), NAMES).manifest["cameras"] == []


def test_ground__follows_the_up_axis(estimate):
    down = replace(estimate, provenance={"world_up": "-z"})
    payload = build_payload(down, NAMES)
    assert payload.manifest["ground"] == pytest.approx(
        -float(estimate.joints.positions[..., 2].nan_to_num(0).max()), abs=0.05
    )
    with pytest.raises(InputError, match="up axis: expected one of x, y, z"):
        build_payload(replace(estimate, provenance={"world_up": "w"}), NAMES)


def test_bare_estimate__has_the_joints_alone(estimate):
    payload = build_payload(Estimate(joints=estimate.joints), ())
    assert set(payload.blocks) == {"frames", "joints", "spread", "filled"}
    assert decode(payload, "frames").tolist() == list(range(12))
