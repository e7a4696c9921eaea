"""Picture in, people out: places, units, frames, batches, what is dropped, and bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Boxes, CalibrationError, Detections2D, InputError, Keypoints2D, ShapeError, Skeleton
from marey.io.weights import write_weights
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import CropPoses, MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import ENTRY, LoadedNetwork, describe
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_inputs import as_cameras, as_picture
from marey.methods.metrabs.people_options import PeopleOptions
from marey.methods.metrabs.published_config import PublishedOptions

JOINTS = Skeleton("three", ("pelvis", "left_hip", "right_hip"), ((0, 1), (0, 2)))
DISTANCE = 4.0
K = np.array([[300.0, 0, 99.5], [0, 300, 79.5], [0, 0, 1]])
LENS = (-0.2, 0.1, 0.001, -0.001, 0.02)
BOXES = np.array([[60.0, 40, 50, 70], [20, 90, 80, 40], [120, 10, 60, 60]])


class Straight:
    """Says that the pelvis is in the middle of the crop, the hips to its sides as a picture of a person has them."""

    side = 32

    def __init__(self, spread=None):
        self.batches = []
        self.spread = spread

    def __call__(self, images, intrinsics):
        self.batches.append(len(images))
        pose = torch.tensor([[0.0, 0, DISTANCE], [0.1, 0, DISTANCE], [-0.1, 0, DISTANCE]])
        joints = pose.expand(len(images), 3, 3)
        spread = None if self.spread is None else self.spread.expand(len(images), 3, 3, 3)
        return CropPoses(joints=joints, covariance=spread, keypoints=None, relative=joints)


class Bright:
    """Says a place that depends on the mean red of the crop."""

    side = 32

    def __call__(self, images, intrinsics):
        red = images[:, 0].mean((1, 2))
        joints = torch.stack((red, 0 * red, DISTANCE + red), -1)[:, None].expand(-1, 3, 3)
        return CropPoses(joints=joints, covariance=None, keypoints=None, relative=joints)


class Finds:
    """A detector that finds the same boxes in every picture, mirrored in a picture that is darker at its left."""

    name = "fixed"
    skeleton = JOINTS

    def __init__(self, corners, scores):
        self.corners, self.scores = torch.tensor(corners), torch.tensor(scores)

    def __call__(self, frames, boxes=None):
        for image in frames:
            corners = self.corners
            if image[0, 0, 0] > image[0, -1, 0]:
                last = image.shape[1] - 1
                corners = torch.stack((last - corners[:, 2], corners[:, 1], last - corners[:, 0], corners[:, 3]), -1)
            nothing = torch.full((len(corners), 3, 2), torch.nan)
            yield Detections2D(
                keypoints=Keypoints2D(
                    positions=nothing,
                    covariance=nothing[..., None].expand(-1, -1, -1, 2),
                    score=torch.zeros(len(corners), 3),
                    skeleton=JOINTS,
                ),
                boxes=Boxes(corners=corners, score=self.scores),
            )


def picture(seed=0, *, width=200):
    """Noise, darker at the left end of the first row than at the right one."""
    noise = np.random.default_rng(seed).integers(0, 256, (160, width, 3), dtype=np.uint8)
    noise[0, 0], noise[0, -1] = 0, 255
    return noise


def model(network=None, **options):
    return PeopleModel(network or Straight(), JOINTS, detector=Finds([[60.0, 40, 110, 110]], [0.9]), **options)


@pytest.mark.parametrize("views", [1, 2, 5])
@pytest.mark.parametrize("lens", [None, LENS])
def test_person__projects_to_the_middle_of_the_box(views, lens):
    found = model().estimate_poses(picture(), BOXES, K, lens, num_aug=views, average_aug=False)
    middles = torch.from_numpy(BOXES[:, :2] + BOXES[:, 2:] / 2).float()
    torch.testing.assert_close(found.poses2d[:, :, 0], middles[:, None].expand(-1, views, -1), rtol=0, atol=1e-3)
    distance = torch.full((3, views), DISTANCE)
    torch.testing.assert_close(found.poses3d[:, :, 0].norm(dim=-1), distance, rtol=1e-5, atol=0)


def test_person__has_the_left_side_left_also_in_mirrored_views():
    found = model().estimate_poses(picture(), BOXES, K, num_aug=5, average_aug=False)
    upright = found.poses3d[:, 2]
    assert (found.poses3d[..., 1, 0] != found.poses3d[..., 2, 0]).all()
    mirrored = found.poses3d[:, 1]  # turned by half of 25 degrees, left and right exchanged twice
    assert (upright[:, 1, 0] > upright[:, 2, 0]).all()
    assert (mirrored[:, 1, 0] > mirrored[:, 2, 0]).all()


def test_person__in_the_world():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double())[0]
    turn = turn * torch.linalg.det(turn)
    matrix = torch.eye(4).double()
    matrix[:3, :3], matrix[:3, 3] = turn, torch.tensor([0.1, -0.2, 0.3])
    up = (turn.T @ torch.tensor([0.0, -1, 0]).double()).tolist()
    network = Straight(spread=torch.diag(torch.tensor([0.01, 0.02, 0.03])))
    seen = model(network).estimate_poses(picture(), BOXES, K, num_aug=1)
    placed = {"extrinsic_matrix": matrix, "world_up_vector": up, "num_aug": 1}
    world = model(network).estimate_poses(picture(), BOXES, K, **placed)
    back = world.poses3d.double() @ turn.T + matrix[:3, 3]
    torch.testing.assert_close(back.float(), seen.poses3d, rtol=0, atol=1e-5)
    torch.testing.assert_close((turn @ world.covariance.double() @ turn.T).float(), seen.covariance, rtol=0, atol=1e-7)
    camera = model(network).estimate_poses(picture(), BOXES, K, frame="camera", **placed)
    torch.testing.assert_close(camera.poses3d, seen.poses3d, rtol=0, atol=1e-5)
    assert (world.frame, camera.frame) == ("world", "camera")


def test_person__in_millimetres():
    network = Straight(spread=0.01 * torch.eye(3))
    matrix = np.eye(4)
    matrix[:3, 3] = (100.0, 0, 0)
    metres = model(network).estimate_poses(picture(), BOXES, K, num_aug=1)
    found = model(network).estimate_poses(picture(), BOXES, K, extrinsic_matrix=matrix, unit="mm", num_aug=1)
    moved = 1000 * metres.poses3d - torch.tensor([100.0, 0, 0])
    torch.testing.assert_close(found.poses3d, moved, rtol=0, atol=1e-2)
    torch.testing.assert_close(found.covariance, 1e6 * metres.covariance, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("at_once", [1, 4, 7, 0])
def test_batches__of_the_network_are_bounded_and_change_nothing(at_once):
    pictures = [picture(seed, width=200 + 20 * seed) for seed in range(3)]
    boxes = [BOXES, np.zeros((0, 4)), BOXES[:2]]
    network = Straight()
    found = model(network).estimate_poses_batched(pictures, boxes, K, internal_batch_size=at_once, num_aug=3)
    total = 3 * 5
    assert network.batches == (
        [total] if at_once == 0 else [at_once] * (total // at_once) + [total % at_once] * (total % at_once > 0)
    )
    assert [len(each) for each in found.poses3d] == [3, 0, 2]
    looks = [
        model(Bright()).estimate_poses_batched(pictures, boxes, K, internal_batch_size=size, num_aug=3).poses3d
        for size in (at_once, 64)
    ]
    for first, second in zip(*looks, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_average__is_that_of_the_views_and_joins_their_spread():
    views = model(Bright()).estimate_poses(picture(), BOXES, K, num_aug=5, average_aug=False)
    found = model(Bright()).estimate_poses(picture(), BOXES, K, num_aug=5)
    torch.testing.assert_close(found.poses3d, views.poses3d.mean(1))
    torch.testing.assert_close(found.poses2d, views.poses2d.mean(1), rtol=0, atol=1e-3)
    variance = views.poses3d.var(1, correction=0)
    torch.testing.assert_close(found.covariance.diagonal(dim1=-2, dim2=-1), variance, rtol=1e-3, atol=1e-7)


def test_results__unpack_as_the_original():
    options = {"num_aug": 1, "suppress_implausible_poses": False}
    found = model().predict_single_image(picture(), K, **options)
    detections, poses3d, poses2d = found
    assert (detections.shape, poses3d.shape, poses2d.shape) == ((1, 5), (1, 3, 3), (1, 3, 2))
    assert detections[0].tolist() == pytest.approx([60, 40, 50, 70, 0.9])
    assert set(dict(found)) == {"boxes", "poses3d", "poses2d"}
    assert found["poses3d"] is found.poses3d
    several = model().predict_multi_image([picture(), picture(1)], K, **options)
    boxes, poses3d, _ = several
    assert [len(each) for each in boxes] == [1, 1]
    assert torch.equal(several["poses3d"][1], poses3d[1])
    with pytest.raises(InputError, match="got 'joints'"):
        found["joints"]


def test_entry_points__with_boxes_are_one():
    network = Bright()
    first = model(network).predict_single_image(picture(), K, BOXES, n_aug=2)
    second = model(network).estimate_poses(picture(), BOXES, K, num_aug=2)
    third = model(network).predict_multi_image(picture()[None], K, [BOXES], num_aug=2).pictures[0]
    assert torch.equal(first.poses3d, second.poses3d)
    assert torch.equal(first.poses3d, third.poses3d)
    assert first.boxes[:, 4].tolist() == [1, 1, 1]


def test_cameras__are_shared_or_one_a_picture_or_assumed():
    pictures = [picture(), picture(1, width=240)]
    each = np.stack((K, 2 * K))
    each[:, 2, 2] = 1
    found = model().estimate_poses_batched(pictures, [BOXES, BOXES], each, num_aug=1)
    alone = model().estimate_poses(pictures[1], BOXES, each[1], num_aug=1)
    torch.testing.assert_close(found.poses3d[1], alone.poses3d)
    assumed = [
        model().estimate_poses(picture(), BOXES, matrix, num_aug=1, default_fov_degrees=50.0)
        for matrix in (None, -np.ones((3, 3)))
    ]
    focal = 200 / (2 * math.tan(math.radians(25)))
    known = np.array([[focal, 0, 99.5], [0, focal, 79.5], [0, 0, 1]])
    expected = model().estimate_poses(picture(), BOXES, known, num_aug=1)
    for guess in assumed:
        torch.testing.assert_close(guess.poses3d, expected.poses3d)


@pytest.mark.parametrize("count", [4, 5, 6, 8, 12, 14])
def test_lens__may_have_so_many_coefficients(count):
    lens = [-0.1, 0.01, *[0.0] * (count - 2)]
    found = model().estimate_poses(picture(), BOXES, K, lens, num_aug=1)
    expected = model().estimate_poses(picture(), BOXES, K, [-0.1, 0.01, 0, 0, 0], num_aug=1)
    torch.testing.assert_close(found.poses3d, expected.poses3d)


def test_skeleton__is_a_choice_of_joints():
    hips = Skeleton("hips", ("right_hip", "left_hip"), ((0, 1),))
    chosen = model(skeletons={"hips": (hips, (2, 1))})
    found = chosen.estimate_poses(picture(), BOXES, K, skeleton="hips")
    whole = chosen.estimate_poses(picture(), BOXES, K)
    assert torch.equal(found.poses3d, whole.poses3d[:, [2, 1]])
    assert found.skeleton is hips
    assert chosen.per_skeleton_joint_names["hips"] == ("right_hip", "left_hip")
    assert chosen.per_skeleton_joint_edges[""] == JOINTS.links
    assert chosen.per_skeleton_indices["hips"] == (2, 1)
    with pytest.raises(InputError, match="no skeleton 'feet' in this network; there are: three, hips"):
        chosen.estimate_poses(picture(), BOXES, K, skeleton="feet")
    with pytest.raises(InputError, match="places below 3"):
        model(skeletons={"hips": (hips, (2, 3))})


def test_margin__shows_more_around_the_box():
    seen = []

    class Keeps(Straight):
        def __call__(self, images, intrinsics):
            seen.append(intrinsics[:, 0, 0])
            return super().__call__(images, intrinsics)

    for margin in (1.0, 1.25):
        model(Keeps(), margin=margin).estimate_poses(picture(), BOXES, K, num_aug=1)
    torch.testing.assert_close(seen[0] / seen[1], torch.full((3,), 1.25), rtol=0.02, atol=0)


def stored(folder, **settings):
    """Weights of a network that has learned nothing."""
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=JOINTS.joints, heatmaps=HeatmapConfig(side=64))
    network = LoadedNetwork(module=MetrabsNet(replace(config, **settings)), skeleton=JOINTS)
    write_weights(folder, network.module.state_dict(), {ENTRY: describe(network)})
    return folder


def test_model__of_stored_weights(tmp_path):
    loaded = PeopleModel.load(stored(tmp_path), options=PeopleOptions(unit="mm", num_aug=1))
    found = loaded.estimate_poses(picture(), BOXES, K)
    assert (found.unit, found.poses3d.shape) == ("mm", (3, 3, 3))
    assert loaded.joint_names == JOINTS.joints
    with pytest.raises(InputError, match="leave the options for published weights out"):
        PeopleModel.load(tmp_path, PublishedOptions())


def test_model__of_weights_that_place_nobody_is_refused(tmp_path):
    with pytest.raises(InputError, match="its scale recovery 'metro' gives no absolute joints"):
        PeopleModel.load(stored(tmp_path, scale_recovery="metro"))


# Who is dropped


def test_boxes__outside_of_the_picture_are_dropped_and_told():
    given = np.concatenate((BOXES[:1], [[-300.0, 0, 50, 50], [500, 10, 20, 20]], BOXES[1:2]))
    found = model().estimate_poses(picture(), given, K, num_aug=2)
    assert found.indices.tolist() == [0, 3]
    assert found.poses3d.shape == (2, 3, 3)
    assert [(drop.index, drop.reason) for drop in found.dropped] == [(1, "outside"), (2, "outside")]
    beyond = model().estimate_poses(picture(), BOXES, K, (-3.0, 0, 0, 0, 0), num_aug=1)
    assert {drop.detail for drop in beyond.dropped} == {"the lens cannot be undone at the box"}
    around = [[-1e4, -1e4, 2e4, 2e4], [-100, -100, 400, 400]]
    for matrix, told in ((np.diag([1e4, 1e4, 1]), "the box is far larger than the picture"), (K, "wide an angle")):
        found = model().estimate_poses(picture(), around, matrix, num_aug=1)
        assert [drop.index for drop in found.dropped] == [0]
        assert told in found.dropped[0].detail


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), [[900.0, 0, 10, 10]]])
def test_no_boxes__give_nobody_in_the_right_shape(boxes, average):
    found = model().estimate_poses(picture(), boxes, K, num_aug=5, average_aug=average)
    views = () if average else (5,)
    assert found.boxes.shape == (0, 5)
    assert found.poses3d.shape == (0, *views, 3, 3)
    assert found.poses2d.shape == (0, *views, 3, 2)
    assert found.covariance.shape == (0, *views, 3, 3, 3)
    assert list(model().estimate_poses_batched([], [], K).pictures) == []


def test_people__of_detected_boxes_are_filtered_unless_told_otherwise():
    twice = Finds([[60.0, 40, 110, 110], [62, 41, 112, 111], [150, 10, 190, 90]], [0.7, 0.9, 0.8])
    finds = PeopleModel(Straight(), JOINTS, detector=twice, options=PeopleOptions(detector_nms_iou_threshold=1.0))
    found = finds.detect_poses(picture(), K)  # three joints in a row cover no box
    assert [(drop.index, drop.reason) for drop in found.dropped] == [(0, "box"), (1, "box"), (2, "box")]
    kept = finds.detect_poses(picture(), K, suppress_implausible_poses=False)
    assert kept.boxes[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7])
    finds.plausible = replace(finds.plausible, box_share=-1.0)
    found = finds.detect_poses(picture(), K)
    assert found.indices.tolist() == [0, 1]
    assert [(drop.index, drop.reason) for drop in found.dropped] == [(2, "double")]


def test_detections__are_thresholded_suppressed_and_counted():
    twice = Finds([[60.0, 40, 110, 110], [62, 41, 112, 111], [150, 10, 190, 90]], [0.7, 0.9, 0.2])
    finds = PeopleModel(Straight(), JOINTS, detector=twice, options=PeopleOptions(suppress_implausible_poses=False))
    assert finds.detect_poses(picture(), K).boxes[:, 4].tolist() == pytest.approx([0.9, 0.2])
    assert finds.detect_poses(picture(), K, detector_threshold=0.3).boxes[:, 4].tolist() == pytest.approx([0.9])
    assert finds.detect_poses(picture(), K, max_detections=1).boxes[:, 4].tolist() == pytest.approx([0.9])
    assert len(finds.detect_poses(picture(), K, detector_nms_iou_threshold=1.0).boxes) == 3
    pooled = finds.detect_poses(picture(), K, detector_flip_aug=True)
    assert pooled.boxes.tolist() == finds.detect_poses(picture(), K).boxes.tolist()


def test_network__without_finite_poses_is_told():
    class Lost(Straight):
        def __call__(self, images, intrinsics):
            return super().__call__(images, intrinsics)._replace(joints=torch.full((len(images), 3, 3), torch.nan))

    found = model(Lost()).estimate_poses(picture(), BOXES, K, suppress_implausible_poses=True)
    assert [drop.reason for drop in found.dropped] == ["unknown"] * 3
    assert found.poses3d.shape == (0, 3, 3)


def test_network__of_other_joints_is_refused():
    four = Skeleton("four", ("a", "b", "c", "d"), ())
    with pytest.raises(ShapeError, match=r"network: expected joints \(3, 4, 3\) of skeleton four"):
        PeopleModel(Straight(), four).estimate_poses(picture(), BOXES, K, num_aug=1)


# Pictures of every kind


def test_pictures__of_every_kind_are_seen_alike():
    plain = picture()
    looks = [plain, plain.astype(np.uint16) * 257, plain / 255, (plain / 255).astype(np.float16)]
    looks += [
        np.concatenate((plain, plain[..., :1]), -1),
        plain[:, ::-1][:, ::-1],
        torch.from_numpy(plain).permute(2, 0, 1),
    ]
    expected = model(Bright()).estimate_poses(plain, BOXES, K, num_aug=1).poses3d
    for look in looks:
        found = model(Bright()).estimate_poses(look, BOXES, K, num_aug=1).poses3d
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_pictures__in_grey_are_three_equal_channels():
    grey = picture()[..., 0]
    expected = model(Bright()).estimate_poses(np.stack([grey] * 3, -1), BOXES, K).poses3d
    for look in (grey, grey[..., None], torch.from_numpy(grey)):
        assert torch.equal(model(Bright()).estimate_poses(look, BOXES, K).poses3d, expected)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((160, 200, 2), np.uint8), ShapeError, r"got \(160, 200, 2\) as ndarray"),
        (torch.zeros(160, 200, 3), ShapeError, "a tensor with the channels first"),
        (np.zeros((2, 160, 200, 3), np.uint8), ShapeError, "expected an array"),
        (np.zeros((160, 200, 3), np.int32), ShapeError, "got int32; convert it"),
        (torch.zeros(3, 160, 200, dtype=torch.int64), ShapeError, "got torch.int64; convert it"),
        (np.zeros((160, 200, 3), bool), ShapeError, "got bool; convert it"),
        (np.full((160, 200, 3), np.nan), InputError, "96000 of 96000 values are not finite"),
        (np.full((160, 200, 3), np.inf), InputError, "not finite"),
        (np.full((160, 200, 3), 200.0), InputError, r"expected floating-point values in 0..1, got 200 to 200; divide"),
        (np.zeros((0, 200, 3), np.uint8), InputError, "make it larger"),
        (np.zeros((7, 200, 3), np.uint8), InputError, "8 x 8 to 150000000 pixels, got 200 x 7; make it larger"),
        (np.broadcast_to(np.uint8(0), (20000, 20000, 3)), InputError, "got 20000 x 20000; make it smaller"),
        ([[1, 2], [3]], ShapeError, "expected an array of numbers"),
        ("photo.jpg", ShapeError, "expected an array"),
        (None, ShapeError, "expected an array"),
    ],
)
def test_pictures__that_are_none_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        model().estimate_poses(image, BOXES, K)


def test_a_single_picture__is_no_batch():
    with pytest.raises(ShapeError, match=r"add an axis, image\[None\]"):
        model().detect_poses_batched(picture(), K)


@pytest.mark.parametrize(
    ("boxes", "error", "message"),
    [
        (np.zeros((2, 3)), ShapeError, r"expected \(n, 4\).*got \(2, 3\)"),
        (np.zeros(4), ShapeError, r"got \(4,\)"),
        ([[0, 0, 0, 10]], InputError, "row 0 is .* a width and height above 0"),
        ([[0, 0, 10, -1]], InputError, "above 0"),
        ([[0, 0, 10, 10], [np.nan, 0, 10, 10]], InputError, "1 of 2 are none; row 1"),
        ([[0, np.inf, 10, 10]], InputError, "finite"),
    ],
)
def test_boxes__that_are_none_are_refused(boxes, error, message):
    with pytest.raises(error, match=message):
        model().estimate_poses(picture(), boxes, K)


def test_boxes__must_be_of_every_picture():
    with pytest.raises(ShapeError, match="boxes of 1"):
        model().estimate_poses_batched([picture(), picture()], [BOXES], K)


@pytest.mark.parametrize(
    ("intrinsics", "lens", "extrinsics", "error", "message"),
    [
        (np.zeros((3, 3)), None, None, CalibrationError, "intrinsic_matrix: number 0 is"),
        (np.diag([300.0, 0, 1]), None, None, CalibrationError, "focal lengths above 0"),
        (np.diag([300.0, 300, np.nan]), None, None, CalibrationError, "finite"),
        (np.eye(4), None, None, ShapeError, r"intrinsic_matrix: expected \(3, 3\)"),
        (np.stack([K, K]), None, None, ShapeError, "one for all 1 pictures or for each"),
        (K, np.zeros(15), None, ShapeError, "distortion_coeffs"),
        (K, [np.nan] * 5, None, CalibrationError, "finite numbers"),
        (K, None, np.zeros((4, 4)), CalibrationError, "rotations"),
        (K, None, np.diag([1.0, 1, -1, 1]), CalibrationError, "rotations"),
        (K, None, np.eye(3), ShapeError, "extrinsic_matrix"),
    ],
)
def test_cameras__that_are_none_are_refused(intrinsics, lens, extrinsics, error, message):
    with pytest.raises(error, match=message):
        model().estimate_poses(picture(), BOXES, intrinsics, lens, extrinsic_matrix=extrinsics)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_augs": 2}, "no option 'num_augs'; there are: unit, frame"),
        ({"num_aug": 0}, "num_aug"),
        ({"internal_batch_size": -1}, "internal_batch_size >= 0"),
        ({"unit": "cm"}, r"expected a unit \('m', 'mm'\)"),
        ({"frame": "room"}, "room"),
        ({"world_up_vector": (0, 0, 0)}, "world_up_vector"),
        ({"world_up_vector": (0, np.nan, 1)}, "world_up_vector"),
        ({"default_fov_degrees": 190.0}, "between 0 and 180"),
        ({"aug_turns": "some"}, "some"),
    ],
)
def test_options__that_are_none_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        model().estimate_poses(picture(), BOXES, **options)


def test_house_form__checks_that_there_are_as_many():
    cameras = as_cameras([(200, 160)])
    with pytest.raises(ShapeError, match="each of the 2 pictures"):
        model().find([as_picture(picture())] * 2, cameras)
    with pytest.raises(InputError, match="margin"):
        model(margin=0.0)
