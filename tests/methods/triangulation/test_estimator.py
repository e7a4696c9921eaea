"""From pictures to people: dots found by their colours stand where they were put, whatever the way there met."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from marey.core import CalibrationError, InputError, Keypoints2D, ShapeError, skeleton
from marey.methods.triangulation.estimator import (
    AlgebraicEstimator,
    RansacEstimator,
    VolumetricEstimator,
    fill_volumes,
    triangulate_people,
)
from marey.methods.triangulation.model import AlgebraicConfig, AlgebraicNet, BackboneConfig
from marey.methods.triangulation.networks import ImageConvention, LoadedNetwork, load_network
from methods.triangulation.dots import (
    BODY,
    FillDots,
    FindDots,
    bodies,
    network,
    observation,
    ring,
    seen_at,
)
from methods.triangulation.official import checkpoint


def away(estimate, joints):
    """Millimetres (T, P, J)."""
    return 1000 * np.linalg.norm(estimate.joints.positions.numpy() - joints, axis=-1)


@pytest.mark.parametrize("views", [2, 4])
def test_dots__of_several_people_are_where_they_were_put(views):
    cameras, joints = ring(views), bodies(3, 2)
    estimate = triangulate_people(observation(cameras, joints), network())
    assert away(estimate, joints).max() < 2
    assert estimate.joints.skeleton == BODY
    assert estimate.frames == (0, 1, 2)
    for view in range(views):
        expected = seen_at(joints, cameras, view)
        assert np.abs(estimate.keypoints.positions[view].numpy() - expected).max() < 0.15
    assert estimate.diagnostics.residuals.max() < 0.2
    assert (estimate.diagnostics.weights == 1).all()
    assert estimate.joints.covariance.isfinite().all()
    assert (torch.linalg.eigvalsh(estimate.joints.covariance) > 0).all()
    assert ((estimate.joints.score > 0.5) & (estimate.joints.score <= 1)).all()


def test_dots__far_from_the_origin_of_the_world():
    cameras, joints = ring(3), bodies(1, 1)
    shift = torch.tensor([4e3, -2e3, 50.0]).double()
    moved = replace(cameras, translation=cameras.translation - (cameras.rotation @ shift[:, None])[..., 0])
    estimate = triangulate_people(observation(moved, joints + shift.numpy()), network())
    assert away(estimate, joints + shift.numpy()).max() < 2.5


def test_views__that_miss_a_person_are_left_out():
    joints = bodies(2, 2)
    seen = observation(ring(4), joints, missing=[(2, 0, 0), (3, 0, 0), (0, 1, 1), (1, 1, 1), (2, 1, 1)])
    estimate = triangulate_people(seen, network())
    error = away(estimate, joints)
    assert np.isnan(error[1, 1]).all()
    assert np.nanmax(error) < 2
    assert estimate.diagnostics.weights[:, 0, 0].amax(-1).tolist() == [1, 1, 0, 0]
    assert estimate.keypoints.positions[2, 0, 0].isnan().all()
    assert estimate.joints.score[1, 1].tolist() == [0, 0, 0]
    assert "Person 1 is seen by fewer than 2 views in 1 of 2 frames: unknown there." in estimate.notes


def test_confidences__of_zero_in_all_views_are_no_joints():
    estimate = triangulate_people(observation(ring(3), bodies(2, 1)), network(module=FindDots(confidence=0.0)))
    assert estimate.joints.positions.isnan().all()
    assert (estimate.diagnostics.weights == 0).all()
    assert "Person 0 has a confidence of 0 in all views in 2 of 2 frames: unknown there." in estimate.notes


@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
def test_batches__of_any_size_give_the_same(kind):
    seen = observation(ring(2), bodies(2, 2), missing=[(1, 0, 0)])
    estimate = triangulate_people if kind == "algebraic" else fill_volumes
    found = [estimate(seen, network(kind), at_once=size) for size in (1, 3)]
    first, second = (estimate.joints for estimate in found)
    assert torch.allclose(first.positions, second.positions, atol=1e-5, equal_nan=True)
    assert torch.allclose(first.covariance, second.covariance, rtol=1e-3, equal_nan=True)
    assert first.positions.isfinite().any()


def test_one_view__is_not_for_triangulation():
    with pytest.raises(InputError, match=r"algebraic needs two or more views, got 1; .* volumetric or monocular"):
        triangulate_people(observation(ring(1), bodies(1, 1)), network())
    with pytest.raises(InputError, match="ransac needs two or more views, got 1"):
        triangulate_people(observation(ring(1), bodies(1, 1)), network("ransac"))


def test_uncalibrated_views__are_refused():
    seen = observation(ring(2), bodies(1, 1))
    unplaced = replace(seen.cameras, rotation=None, translation=None)
    for change in ({"cameras": None}, {"cameras": unplaced}):
        with pytest.raises(CalibrationError, match="calibrat"):
            fill_volumes(replace(seen, **change), network("volumetric"))


def test_volumes__stand_about_the_middles_of_boxes_and_find_their_place():
    joints = bodies(1, 2)
    estimate = fill_volumes(observation(ring(4), joints), network("volumetric"))
    assert away(estimate, joints).max() < 15
    assert estimate.keypoints is None
    assert estimate.diagnostics is None


def test_volumes__stand_where_the_observation_knows_the_people_to_be():
    joints, module = bodies(2, 1), FillDots()
    centers = torch.from_numpy(joints[:, :, :2].mean(2)) + torch.tensor([0.1, -0.1, 0.05])
    centers[1] = torch.nan
    seen = replace(observation(ring(3), joints), centers=centers)
    estimate = fill_volumes(seen, network("volumetric", module), at_once=1)
    assert away(estimate, joints).max() < 15
    amid = seen.cameras.centers.mean(0)
    assert torch.allclose(module.asked[0][0].double() + amid, centers[0, 0], atol=1e-5)
    with pytest.raises(ShapeError, match=r"centers: expected \(2, 1, 3\), got \(2, 3\)"):
        fill_volumes(replace(seen, centers=centers[:, 0]), network("volumetric"))


def test_volumes__are_put_anew_where_the_pelvis_is_far_from_the_middle():
    joints, module = bodies(1, 1), FillDots()
    center = torch.from_numpy(joints[:, :, :2].mean(2)) + torch.tensor([0.6, 0.3, 0.0])
    seen = replace(observation(ring(4), joints), centers=center)
    estimate = fill_volumes(seen, network("volumetric", module))
    assert len(module.asked) == 2
    assert away(estimate, joints).max() < 15


def test_volumes__elsewhere_say_that_nobody_is_there():
    joints = bodies(1, 1)
    seen = replace(observation(ring(4), joints), centers=torch.tensor([[[3.0, 3.0, 0.9]]]).double())
    estimate = fill_volumes(seen, network("volumetric"))
    assert estimate.joints.positions.isnan().all()
    assert estimate.joints.covariance.isnan().all()
    assert (
        "Person 0 is not found within the cuboid, whose place or size is wrong in 1 of 1 frames: unknown there."
        in estimate.notes
    )


@pytest.mark.parametrize("up", ["z", "-y", "y"])
def test_volumes__are_upright_as_in_training(up):
    """The world of the network has its own vertical; the joints come back in the recording's."""
    joints, module = bodies(1, 1), UprightDots()
    estimate = fill_volumes(observation(ring(3), joints), network("volumetric", module, up=up))
    assert away(estimate, joints).max() < 15
    rise = {"z": (0, 0, 1), "-y": (0, -1, 0), "y": (0, 1, 0)}[up]
    assert (module.rise @ torch.tensor(rise, dtype=torch.float32)).item() > 0.99


class UprightDots(FillDots):
    def forward(self, images, projections, centers):
        output = super().forward(images, projections, centers)
        body = output.joints[0, 2] - output.joints[0, :2].mean(0)
        self.rise = body / body.norm()
        return output


def with_keypoints(seen, joints, names):
    """An observation with the dots as keypoints of other names."""
    views = seen.cameras.batch_shape[0]
    pixels = torch.from_numpy(np.stack([seen_at(joints, seen.cameras, view) for view in range(views)])).float()
    keypoints = Keypoints2D(
        positions=pixels,
        covariance=torch.eye(2).expand(*pixels.shape, 2).clone(),
        score=torch.ones(pixels.shape[:-1]),
        skeleton=BODY.select(BODY.joints, "other") if names is None else replace(BODY, joints=names),
    )
    return replace(seen, keypoints=keypoints)


def test_volumes__keep_the_observations_keypoints_by_name_beside_them():
    cameras, joints = ring(3), bodies(2, 1)
    seen = with_keypoints(observation(cameras, joints), joints, ("left_hip", "right_hip", "nose"))
    estimate = fill_volumes(seen, network("volumetric"))
    assert estimate.keypoints.skeleton == BODY
    assert estimate.keypoints.positions[..., 2, :].isnan().all()
    assert estimate.diagnostics.residuals[..., :2].max() < 3
    assert estimate.diagnostics.weights[0, 0, 0].tolist() == [1, 1, 0]


def guess(cameras, joints):
    """The bodies about their pelvis in the axes of the one camera."""
    relative = joints - joints[..., :2, :].mean(-2, keepdims=True)
    return torch.from_numpy(relative @ cameras.rotation[0].numpy().T)[None]


def test_one_view__is_placed_by_its_keypoints_and_told_to_be_uncertain():
    cameras, joints = ring(1), bodies(2, 1)
    seen = with_keypoints(observation(cameras, joints), joints, None)
    seen = replace(seen, monocular=guess(cameras, joints))
    estimate = fill_volumes(seen, network("volumetric", OnRays()), focal_deviation=0.06)
    assert away(estimate, joints).max() < 130
    # 8 and 6 percent of the distance along the ray
    ray = torch.from_numpy(joints) - cameras.centers[0]
    distance = ray.norm(dim=-1)
    along = ray / distance[..., None]
    deviation = (along[..., None, :] @ estimate.joints.covariance.double() @ along[..., None])[..., 0, 0].sqrt()
    assert torch.allclose(deviation, 0.1 * distance, rtol=0.03)
    assert estimate.provenance["distance_deviation"] == [pytest.approx(0.1)]


class OnRays(FillDots):
    """Of what one view shows, the points that are as deep as the middle of the cuboid."""

    def forward(self, images, projections, centers):
        output = super().forward(images, projections, centers)
        row = projections[:, 0, 2]
        depth = (row[:, :3] * centers).sum(-1) + row[:, 3]
        twice = FindDots()(images.repeat(1, 2, 1, 1, 1), projections.repeat(1, 2, 1, 1))
        pixels = twice.keypoints[:, 0]
        linear, shift = projections[:, 0, :, :3], projections[:, 0, :, 3]
        rays = torch.cat((pixels, torch.ones_like(pixels[..., :1])), -1) * depth[:, None, None]
        joints = torch.linalg.solve(linear[:, None], (rays - shift[:, None])[..., None])[..., 0]
        return replace(output, joints=joints, covariance=1e-6 * torch.eye(3).expand(*joints.shape, 3))


def test_one_view__of_a_camera_whose_place_is_unknown_is_the_world():
    cameras, joints = ring(1), bodies(1, 1)
    seen = with_keypoints(observation(cameras, joints), joints, None)
    unplaced = replace(cameras, rotation=None, translation=None)
    estimate = fill_volumes(
        replace(seen, monocular=guess(cameras, joints), cameras=unplaced), network("volumetric", OnRays())
    )
    own = joints @ cameras.rotation[0].numpy().T + cameras.translation[0].numpy()
    assert away(estimate, own).max() < 130
    assert torch.equal(estimate.cameras.rotation[0], torch.eye(3).double())


def test_one_view__without_keypoints_has_no_place():
    estimate = fill_volumes(observation(ring(1), bodies(2, 1)), network("volumetric"))
    assert estimate.joints.positions.isnan().all()
    assert "Person 0 has no centre for the volume in 2 of 2 frames: unknown there." in estimate.notes


def test_person_seen_by_one_of_several_views__is_placed_by_it():
    cameras, joints = ring(3), bodies(2, 1)
    seen = with_keypoints(observation(cameras, joints), joints, None)
    hidden = [(0, 1, 0), (2, 1, 0)]
    keypoints, boxes = seen.keypoints.map(torch.clone), seen.boxes.map(torch.clone)
    for place in hidden:
        keypoints.positions[place], keypoints.score[place], boxes.corners[place] = torch.nan, 0, torch.nan
    relative = joints - joints[..., :2, :].mean(-2, keepdims=True)
    monocular = torch.from_numpy(np.stack([relative @ turn.numpy().T for turn in cameras.rotation]))
    module = FillDots()
    fill_volumes(replace(seen, keypoints=keypoints, boxes=boxes, monocular=monocular), network("volumetric", module))
    amid = cameras.centers.mean(0)
    asked = torch.cat(module.asked).double() + amid
    away = (asked - torch.from_numpy(joints[1, 0, :2].mean(0))).norm(dim=-1)
    assert away.min() < 0.02


def small_network():
    torch.manual_seed(0)
    module = AlgebraicNet(AlgebraicConfig(backbone=BackboneConfig(depth=18, joints=17))).eval()
    return LoadedNetwork(
        module=module, kind="algebraic", skeleton=skeleton("coco_17"), image=ImageConvention(side=(128, 128))
    )


def test_network__of_random_weights_gives_the_same_twice_and_other_views_in_any_order():
    seen = observation(ring(3), bodies(1, 1))
    own = small_network()
    first, second = (triangulate_people(seen, own) for _ in range(2))
    assert torch.equal(first.joints.positions, second.joints.positions)
    order = [2, 0, 1]
    turned = replace(
        seen, cameras=seen.cameras[order], frames=tuple(seen.frames[view] for view in order), boxes=seen.boxes[order]
    )
    other = triangulate_people(turned, own)
    assert torch.allclose(first.joints.positions, other.joints.positions, atol=1e-3)
    assert torch.allclose(first.keypoints.positions[order], other.keypoints.positions, atol=1e-2)


def test_network__in_half_precision_says_nearly_the_same():
    seen = observation(ring(3), bodies(1, 1))
    own = load_network("ransac")
    whole, half = (triangulate_people(seen, own, precision=name) for name in ("float32", "bfloat16"))
    apart = (whole.keypoints.positions - half.keypoints.positions).norm(dim=-1)
    assert 0.001 < apart.median() < 2
    assert half.joints.positions.dtype == whole.joints.positions.dtype


def test_official_checkpoint__by_the_estimators(tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "algebraic", confidences=False)
    seen = observation(ring(2), bodies(1, 1))
    for cls, kind in ((AlgebraicEstimator, "algebraic"), (RansacEstimator, "ransac")):
        loaded = cls(weights=path).network
        assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.module.modules())
        # smaller than the published 384 pixels: the same network, faster
        estimate = triangulate_people(seen, replace(loaded, image=replace(loaded.image, side=(128, 128))))
        assert estimate.joints.skeleton == skeleton("h36m_17")  # the house's order of the same joints
        assert estimate.provenance == {"network": kind, "weights": str(path)}
        assert estimate.notes[0] == f"Joints by the network {kind}, 17 joints (h36m_17); weights: {path}."
        assert estimate.keypoints.positions.isfinite().all()


def test_estimators__have_settings():
    with pytest.raises(InputError, match="internal_batch_size: expected 1 or more, got 0"):
        VolumetricEstimator(internal_batch_size=0)
    with pytest.raises(InputError, match="precision: expected auto, float32 or bfloat16, got 'half'"):
        RansacEstimator(precision="half")
    assert AlgebraicEstimator().requires.views == RansacEstimator().requires.views == (2, None)
    assert VolumetricEstimator().requires.views == (1, None)
    assert VolumetricEstimator().requires.evidence == "images"


class Nobody(nn.Module):
    """A network that must not be asked."""

    def forward(self, *_):
        raise AssertionError("nobody is there")


def test_nobody__is_no_error():
    seen = observation(ring(3), bodies(1, 1), missing=[(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    estimate = triangulate_people(seen, network(module=Nobody()))
    assert estimate.joints.positions.isnan().all()
    assert estimate.joints.batch_shape == (1, 1)
