"""The exportable triangulation against the one of geometry."""

from dataclasses import replace

import pytest
import torch

from marey.core import Cameras
from marey.geometry.triangulation import triangulate
from marey.methods.classical.network import pinhole, with_lens


@pytest.mark.parametrize("factory", [pinhole, with_lens])
def test_network__equals_triangulate(factory):
    network = factory()
    given = dict(zip((port.name for port in network.inputs), network.example, strict=True))
    views = len(given["intrinsics"])
    cameras = Cameras(
        intrinsics=given["intrinsics"],
        distortion=given.get("distortion", torch.zeros(views, 0)),
        image_size=torch.full((views, 2), torch.nan),
        rotation=given["rotation"],
        translation=given["translation"],
    )
    keypoints = given["keypoints"].clone()
    keypoints[0, 0, 0] = torch.nan  # one view did not see it
    keypoints[1:, 1, 1] = torch.nan  # all but one
    keypoints[0, 1, 2] += 80.0  # an outlier
    expected = triangulate(keypoints, cameras, covariance=given["keypoint_covariance"])
    found = network.run((keypoints, *network.example[1:]))
    for ours, theirs in zip(found, (expected.positions, expected.covariance, expected.weights), strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-4, atol=1e-6)
    assert found[0][1, 1].isnan().all()
    assert found[2][0, 1, 2] < 0.5


def test_network__a_lens_of_zeros_is_none():
    plain, lens = pinhole(), with_lens()
    flat = replace(lens, example=(*plain.example, torch.zeros_like(lens.example[-1])))
    for ours, theirs in zip(flat.run(flat.example), plain.run(plain.example), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
