"""Networks for export: what the API says of the same pictures, in graphs of tensors alone."""

import json

import pytest
import torch

from marey.core import Cameras, skeleton
from marey.detect.trunk import SearchSettings, shipped_trunk
from marey.detect.trunk_people import TrunkPeople
from marey.methods.metrabs.exported import (
    BoxEstimator,
    CropEstimator,
    PeopleEstimator,
    network_of_boxes,
    network_of_crops,
    network_of_people,
)
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import LoadedNetwork
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_options import PeopleOptions

JOINTS = skeleton("coco_17")
QUICK = SearchSettings(sides=(128,), small_side=None)


@pytest.fixture(scope="module")
def loaded():
    """A small network of random weights."""
    torch.manual_seed(0)
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=JOINTS.joints, heatmaps=HeatmapConfig(side=64))
    return LoadedNetwork(module=MetrabsNet(config).eval(), skeleton=JOINTS, margin=1.2, source="random")


@pytest.fixture(scope="module")
def boxes(loaded):
    """The network for pictures and boxes, with its example."""
    return network_of_boxes(loaded)


@pytest.mark.parametrize("views", [1, 3])
def test_boxes__give_what_the_api_gives(loaded, boxes, views):
    images, given, intrinsics, distortion = boxes.example
    with torch.no_grad():
        joints, covariance, pixels = BoxEstimator(loaded, augmentations=views)(*boxes.example)
    model = PeopleModel(loaded.module, JOINTS, mirror=loaded.mirror, margin=loaded.margin)
    cameras = Cameras(
        intrinsics=intrinsics.double(),
        distortion=distortion.double(),
        image_size=torch.full((2, 2), torch.nan).double(),
    )
    rows = [box[box.isfinite().all(-1)].double() for box in given]
    sure = [torch.cat((row, torch.ones_like(row[:, :1])), -1) for row in rows]
    options = PeopleOptions(num_aug=views, suppress_implausible_poses=False)
    found = model.find(tuple(images), cameras, sure, options=options)
    for place, people in enumerate(found.pictures):
        count = len(rows[place])
        torch.testing.assert_close(joints[place, :count], people.poses3d, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(covariance[place, :count], people.covariance, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(pixels[place, :count], people.poses2d, rtol=1e-2, atol=0.5, equal_nan=True)
        assert joints[place, count:].isnan().all()
    assert [len(row) for row in rows] == [2, 1]


def test_crops__are_made_ready_within(loaded):
    network = network_of_crops(loaded)
    images, intrinsics = network.example
    assert images.dtype == torch.uint8
    with torch.no_grad():
        said = loaded.module(images / 255, intrinsics)
        joints, covariance, keypoints = CropEstimator(loaded)(images, intrinsics)
    torch.testing.assert_close(joints, said.joints)
    torch.testing.assert_close(covariance, said.covariance)
    torch.testing.assert_close(keypoints, said.keypoints)


def test_people__are_found_and_then_looked_at(loaded, boxes):
    images, _, intrinsics, distortion = boxes.example
    finder = TrunkPeople(shipped_trunk(), people=2, search=QUICK)
    with torch.no_grad():
        found, scores, keep, *poses = PeopleEstimator(loaded, finder)(images, intrinsics, distortion)
        corners, expected_scores, expected_keep = finder(images)
        expected = BoxEstimator(loaded)(images, found, intrinsics, distortion)
    assert keep.any(1).all()
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(scores, expected_scores)
    torch.testing.assert_close(found[keep][:, :2] + found[keep][:, 2:], corners[keep][:, 2:])
    assert found[~keep].isnan().all()
    for ours, theirs in zip(poses, expected, strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)
    assert poses[0][~keep].isnan().all()


def test_networks__say_what_goes_in_and_comes_out(loaded):
    for network in (network_of_crops(loaded), network_of_boxes(loaded), network_of_people(loaded, most=3)):
        assert network.facts["joints"] == list(JOINTS.joints)
        assert network.facts["crops"] == {"side": 64, "margin": 1.2}
        assert all(port.meaning or port.unit for port in (*network.inputs, *network.outputs))
        json.dumps(network.facts)


def test_crops__of_networks_without_a_2d_head_have_no_keypoints():
    config = MetrabsConfig(
        backbone="mobilenet_v3_small",
        joints=JOINTS.joints,
        heatmaps=HeatmapConfig(side=64),
        scale_recovery="metro",
    )
    metro = LoadedNetwork(module=MetrabsNet(config).eval(), skeleton=JOINTS, source="random")
    assert [port.name for port in network_of_crops(metro).outputs] == ["joints", "joint_covariance"]
