"""What the trunk learns from, held against the captures it is taken from."""

import pytest
import torch

from marey.body.open_body import open_body
from marey.core.skeletons import skeleton
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.data.synthetic.keypoint_sight import keypoint_parts
from marey.methods.trunk.samples import trunk_samples
from marey.nn.trunk import KEYPOINTS


@pytest.fixture(scope="module")
def near():
    return keypoint_parts(open_body("small"), "halpe_26")


@pytest.fixture(scope="module")
def scene():
    config = SyntheticConfig(tier="hard", framing="scene", image_size=(96, 96), skeletons=(KEYPOINTS,))
    return SyntheticGenerator(config).sample(3, range(4))


def test_parts_around_keypoints__are_those_of_their_limb(near):
    joints, parts = skeleton(KEYPOINTS), skeleton("smpl_24")
    around = {
        name: {parts.joints[place] for place in near[joints.index(name)].nonzero()[:, 0]} for name in joints.joints
    }
    assert {"left_wrist", "left_elbow"} <= around["left_wrist"]
    assert not any(name.startswith("right") for name in around["left_wrist"] | around["left_ankle"])
    assert "head" in around["nose"]


def test_person_in_the_middle__is_the_first_one(near):
    config = SyntheticConfig(tier="easy", image_size=(96, 96), skeletons=(KEYPOINTS,))
    batch = SyntheticGenerator(config).sample(5, range(6))
    found = trunk_samples(batch, near, whole_scene=False)
    torch.testing.assert_close(found.keypoints, batch.skeletons_2d[KEYPOINTS][:, 0, 0])
    torch.testing.assert_close(found.boxes, batch.views.box[:, 0])
    nose = skeleton(KEYPOINTS).index("nose")
    assert found.seen[:, nose].any()  # they are turned by at most 60 degrees
    x, y = found.keypoints[..., 0], found.keypoints[..., 1]
    outside = (x < -0.5) | (y < -0.5) | (x > 95.5) | (y > 95.5)
    assert not found.seen[outside].any()
    assert found.parts.shape == (6, 24, 24)
    assert found.parts.max() == 24
    assert (found.parts < 24).any()


def test_scenes__have_boxes_and_no_keypoints(near, scene):
    found = trunk_samples(scene, near, whole_scene=True)
    assert found.keypoints.isnan().all()
    assert not found.seen.any()
    present = found.boxes.isfinite().all(-1)
    assert present.any()
    assert not present[~scene.people.present].any()
