"""Whole samples: exact labels, the same bits however they are asked for, tiers as difficult as they say."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from marey.body.open_body import open_body
from marey.core import InputError
from marey.data.synthetic import TIERS, SyntheticBatch, SyntheticConfig, SyntheticGenerator, SyntheticStream, Tier
from marey.data.synthetic.pictures import render_scenes
from marey.data.synthetic.scenes import draw_scenes
from marey.geometry.projection import world_to_camera

SEED, COUNT = 11, 24
FINE = 9
"""Samples a pixel, an odd number: a pixel's centre is a sample."""


def _same(first: SyntheticBatch, second: SyntheticBatch) -> list[str]:
    """Names of the tensors that differ in any bit."""
    left, right = first.tensors(), second.tensors()
    assert left.keys() == right.keys()
    return [name for name in left if left[name].numpy().tobytes() != right[name].numpy().tobytes()]


def _opencv_pixels(points: np.ndarray, batch: SyntheticBatch, sample: int, view: int) -> np.ndarray:
    """World points (K, 3) projected by OpenCV with the camera as labelled."""
    camera = batch.cameras[sample, view]
    rotation, translation = (value.double().numpy() for value in camera.extrinsics)
    matrix, coefficients = camera.intrinsics.double().numpy(), camera.distortion.double().numpy()
    rotvec = cv2.Rodrigues(rotation)[0]
    if bool(camera.fisheye):
        return cv2.fisheye.projectPoints(points[None], rotvec, translation, matrix, coefficients[:4])[0][0]
    return cv2.projectPoints(points, rotvec, translation, matrix, coefficients)[0][:, 0]


@pytest.mark.parametrize("sizes", [(1, 1, 21, 1), (5, 16, 3)])
def test_sample__has_the_same_bits_in_any_split(hard_generator, hard_batch, sizes):
    starts = np.cumsum((0, *sizes))
    parts = [hard_generator.sample(SEED, range(a, b)) for a, b in pairwise(starts)]
    assert _same(SyntheticBatch.cat(parts), hard_batch) == []


def test_sample__has_the_same_bits_in_any_order(generator, batch):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert _same(generator.sample(SEED, order), batch[order]) == []


@pytest.mark.parametrize("threads", [2, 4])
def test_sample__has_the_same_bits_on_any_number_of_threads(hard_generator, hard_batch, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert _same(hard_generator.sample(SEED, range(COUNT)), hard_batch) == []
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_sample__differs_by_seed_index_and_split(generator, batch):
    other = generator.sample(SEED + 1, range(10))
    benchmark = SyntheticGenerator(
        SyntheticConfig(tier=generator.config.tier, image_size=generator.config.image_size, split="benchmark")
    ).sample(SEED, range(10))
    pictures = [sample.images[k].numpy().tobytes() for sample in (batch, other, benchmark) for k in range(10)]
    poses = [sample.people.body.pose[k, 0].numpy().tobytes() for sample in (batch, other, benchmark) for k in range(10)]
    assert len(set(pictures)) == len(set(poses)) == 30


def test_joints_2d__are_what_opencv_projects(batch):
    width, height = batch.images.shape[-1], batch.images.shape[-2]
    checked = 0
    for sample in range(COUNT):
        for person in torch.nonzero(batch.people.present[sample])[:, 0].tolist():
            found = batch.views.joints[sample, 0, person].double().numpy()
            points = batch.people.joints[sample, person].double().numpy()
            expected = _opencv_pixels(points, batch, sample, 0)
            # of people beside the crop some are behind the lens
            near = (np.abs(found - (width / 2, height / 2)) < 4 * max(width, height)).all(-1)
            assert np.abs(found - expected)[near].max(initial=0) < 1e-3
            checked += int(near.sum())
    assert checked > 20 * COUNT


def test_skeletons__are_regressed_and_projected(batch):
    points = batch.skeletons["coco_17"][:, 0]
    for sample in range(COUNT):
        expected = _opencv_pixels(points[sample].double().numpy(), batch, sample, 0)
        assert np.abs(batch.skeletons_2d["coco_17"][sample, 0, 0].double().numpy() - expected).max() < 1e-3


def test_vertices__are_those_of_the_body_parameters(generator, batch):
    posed = open_body("small").to(torch.float64)(batch.people.body.to(torch.float64))
    present = batch.people.present
    assert (posed.vertices - batch.people.vertices)[present].abs().max() < 1e-5
    assert (posed.joints - batch.people.joints)[present].abs().max() < 1e-5
    assert batch.people.joints[~present].isnan().all()


def test_silhouette__is_that_of_the_projected_triangles():
    generator = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(160, 160)))
    batch = generator.sample(SEED, range(12))
    faces = generator.model.faces.numpy()
    for sample in range(12):
        pixels = _opencv_pixels(batch.people.surface[sample, 0].double().numpy(), batch, sample, 0)
        fine = np.zeros((160 * FINE, 160 * FINE), np.uint8)
        for triangle in np.round(pixels * FINE + FINE // 2).astype(np.int32)[faces]:
            cv2.fillConvexPoly(fine, triangle, 1)
        expected = fine[FINE // 2 :: FINE, FINE // 2 :: FINE] > 0
        found = (batch.pixels.person[sample, 0] == 0).numpy()
        assert (expected & found).sum() / (expected | found).sum() > 0.98


def test_joints__lie_between_the_front_and_the_back_of_the_body(generator, batch):
    faces = generator.model.faces
    inside, total = 0, 0
    for sample in range(COUNT):
        local = world_to_camera(
            batch.people.surface[sample, 0].double()[None, None], batch.cameras[sample : sample + 1]
        )
        joints = world_to_camera(
            batch.people.joints[sample, 0].double()[None, None], batch.cameras[sample : sample + 1]
        )
        near, far = _crossings(local[0, 0][faces], joints[0, 0])
        inside += int(((near < 1) & (far > 1)).sum())
        total += len(near)
    assert inside / total > 0.98


def _crossings(triangles: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the rays from the camera to points (J, 3) first and last cross triangles (F, 3, 3); 1 is the point."""
    a, b, c = triangles.unbind(1)
    volumes = [torch.linalg.cross(p, q) @ points.mT for p, q in ((a, b), (b, c), (c, a))]
    hit = torch.stack([v >= 0 for v in volumes]).all(0) | torch.stack([v <= 0 for v in volumes]).all(0)
    normal = torch.linalg.cross(b - a, c - a)
    distance = (normal * a).sum(-1, keepdim=True) / (normal @ points.mT)
    near = torch.where(hit, distance, torch.inf).amin(0)
    return near, torch.where(hit, distance, -torch.inf).amax(0)


def test_depth__at_visible_joints_is_just_before_the_joint(batch):
    joints, depth = batch.views.joints[:, 0], batch.views.depth[:, 0]
    sample, person, joint = batch.views.visible[:, 0].nonzero(as_tuple=True)
    x, y = joints[sample, person, joint].round().long().unbind(-1)
    before = depth[sample, person, joint] - batch.pixels.depth[sample, 0, y, x]
    assert len(before) > 5 * COUNT
    assert before.max() < 0.3
    assert (before > -0.03).float().mean() > 0.98
    assert (batch.pixels.visible[sample, 0, y, x] == person).all()


def test_parts__are_those_of_the_side_they_are_on(batch):
    names = open_body("small").tree.joints
    left = torch.tensor([name.startswith("left") for name in names])
    right = torch.tensor([name.startswith("right") for name in names])
    sample, person, joint = batch.views.visible[:, 0].nonzero(as_tuple=True)
    x, y = batch.views.joints[sample, 0, person, joint].round().long().unbind(-1)
    part = batch.pixels.part[sample, 0, y, x].long()
    assert (left[joint] & left[part]).sum() > COUNT
    assert not (left[joint] & right[part]).any()
    assert not (right[joint] & left[part]).any()


def test_people__have_their_left_on_the_left(batch):
    """The left hip, seen from behind, is on the left: left x up points ahead, where the toes are."""
    names = open_body("small").tree.joints
    place = {name: batch.people.joints[:, :, names.index(name)] for name in names}
    left = place["left_hip"] - place["right_hip"]
    up = place["spine1"] - 0.5 * (place["left_hip"] + place["right_hip"])
    # the pelvis carries no toes, but the spine's first joint lies behind the line of the hips
    ahead = torch.linalg.cross(left, up)
    behind = place["spine1"] - place["pelvis"]
    aside = (behind * ahead).sum(-1)[batch.people.present]
    assert (aside < 0).all()


def test_tiers__occlude_truncate_and_fill_as_they_say(generator, batch):
    tier = generator.config.difficulty
    occluded, truncated = batch.views.occluded[:, 0, 0], batch.views.truncated[:, 0, 0]
    assert occluded.nan_to_num().max() <= tier.occlusion[1] + 0.01
    assert (occluded.nan_to_num() > 0).any() == (tier.occluded > 0)
    assert abs(float((truncated > 0).float().mean()) - tier.truncated) < 0.25
    lengths = (batch.cameras.centers[:, 0] - batch.people.joints[:, 0].mean(1)).norm(dim=-1)
    assert lengths.min() > 0.6 * tier.distance[0]
    mean = batch.images.float().mean((1, 2, 3, 4))
    assert ((mean > 8) & (mean < 247)).all()


def test_easy_people__face_the_camera_within_sixty_degrees():
    generator = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(32, 32)))
    batch = generator.sample(1, range(64))
    ahead = batch.people.body.orientation[:, 0, :2, 2]
    towards = (batch.cameras.centers[:, 0] - batch.people.joints[:, 0].mean(1))[:, :2]
    cosine = (ahead * towards).sum(-1) / (ahead.norm(dim=-1) * towards.norm(dim=-1))
    angle = cosine.clamp(-1, 1).acos().rad2deg()
    assert angle.max() < 75
    assert angle.max() > 45
    assert (towards.norm(dim=-1) < 6.2).all()


@pytest.mark.parametrize(("tier", "least"), [("easy", 0.2), ("hard", 0.3)])
def test_mean_pose__is_as_far_off_as_the_tier_says(tier, least):
    generator = SyntheticGenerator(SyntheticConfig(tier=tier, image_size=(32, 32)))
    scenes = [
        draw_scenes(generator._cast, 0, torch.arange(k, k + 32), torch.zeros(32, dtype=torch.float64))
        for k in (0, 32, 64, 96)
    ]
    joints = torch.cat([world_to_camera(s.people.joints[:, :1].double()[:, None], s.cameras)[:, 0, 0] for s in scenes])
    centred = joints - joints[:, :1]
    error = (centred[64:] - centred[:64].mean(0)).norm(dim=-1).mean()
    assert error > least


def test_views__see_one_scene():
    batch = SyntheticGenerator(
        SyntheticConfig(tier="easy", views=3, people=2, framing="scene", image_size=(96, 64))
    ).sample(0, range(4))
    assert batch.images.shape == (4, 3, 3, 64, 96)
    assert batch.cameras.batch_shape == (4, 3)
    assert batch.cameras.names == ("cam_1", "cam_2", "cam_3")
    assert batch.people.batch_shape == (4, 2)
    assert (batch.pixels.person >= 0).flatten(2).any(-1).all()
    assert len({batch.images[0, view].numpy().tobytes() for view in range(3)}) == 3
    inside = (batch.views.truncated == 0).float().mean()
    assert inside > 0.6


def test_films__move_smoothly_and_begin_with_the_still_picture():
    generator = SyntheticGenerator(SyntheticConfig(tier="medium", people=2, framing="scene", image_size=(64, 48)))
    times = [k / 30 for k in range(48)]
    film = generator.sample(4, [9] * 48, times)
    still = generator.sample(4, [9])
    assert _same(film[:1], still) == []
    steps = (film.people.joints[1:] - film.people.joints[:-1]).norm(dim=-1)
    assert steps.max() < 0.35
    assert steps.max() > 0.005
    bends = (film.people.joints[2:] - 2 * film.people.joints[1:-1] + film.people.joints[:-2]).norm(dim=-1)
    assert bends.max() < 0.08
    assert (film.cameras.intrinsics == film.cameras.intrinsics[:1]).all()
    assert (film.pixels.occluder == film.pixels.occluder[:1]).all()
    assert (film.people.body.shape == film.people.body.shape[:1]).all()
    assert _same(film[30:31], generator.sample(4, [9], [times[30]])) == []


def test_batches__are_dealt_to_processes_without_gap_or_overlap():
    generator = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(16, 16)))
    alone = generator.batches(0, batch_size=2)
    expected = [next(alone).indices.tolist() for _ in range(4)]
    dealt = [generator.batches(0, batch_size=2, rank=rank, world=2) for rank in range(2)]
    assert [next(dealt[k % 2]).indices.tolist() for k in range(4)] == expected
    assert expected == [[2 * k, 2 * k + 1] for k in range(4)]
    assert next(generator.batches(0, batch_size=2, start=5)).indices.tolist() == [10, 11]


@pytest.mark.parametrize("workers", [0, 2])
def test_stream__is_the_same_for_any_number_of_workers(workers):
    config = SyntheticConfig(tier="easy", image_size=(16, 16))
    stream = SyntheticStream(config, seed=3, batch_size=2, batches=3, rank=1, world=2)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    found = list(loader)
    expected = SyntheticGenerator(config).sample(3, [2, 3, 6, 7, 10, 11])
    assert len(stream) == len(found) == 3
    assert _same(SyntheticBatch.cat(found), expected) == []


def test_tier__of_ones_own():
    tier = Tier(**{**vars(TIERS["easy"]), "people": (2, 2), "children": 1.0})
    batch = SyntheticGenerator(SyntheticConfig(tier=tier, image_size=(32, 32))).sample(0, range(8))
    assert batch.people.present.all()
    stature = batch.people.vertices[..., 2].amax(-1)
    assert stature.max() < 2.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "one or more indices"),
        (([1, 2], [0.0]), "as many times, got 2 and 1"),
    ],
)
def test_sample__tells_what_does_not_fit(generator, arguments, message):
    with pytest.raises(InputError, match=message):
        generator.sample(0, *arguments)


def test_generator__impossible_numbers_are_named(generator):
    with pytest.raises(InputError, match="scenes_at_once: expected 1 or more, got 0"):
        SyntheticGenerator(scenes_at_once=0)
    with pytest.raises(InputError, match="0 <= rank < world"):
        next(generator.batches(0, batch_size=1, rank=2, world=2))
    with pytest.raises(InputError, match="batches: expected 0 or more"):
        SyntheticStream(SyntheticConfig(), seed=0, batch_size=1, batches=-1)


def test_levels_and_paint__finer_meshes_and_bare_surfaces():
    config = SyntheticConfig(tier="easy", level="medium", surface_detail=False, image_size=(48, 48))
    batch = SyntheticGenerator(config).sample(0, [0])
    assert batch.people.vertices.shape[-2] == len(open_body("medium").template)
    assert torch.equal(batch.people.surface, batch.people.vertices)


def test_bodies__are_on_the_ground(batch):
    lowest = batch.people.surface[..., 2].amin(-1)[batch.people.present]
    assert lowest.abs().max() < 1e-5


def test_sample__through_some_cameras_has_their_labels(hard_generator, hard_batch):
    found = hard_generator.sample(SEED, range(5), cameras=(1,))
    expected = hard_batch[:5]
    assert torch.equal(found.views.joints.nan_to_num(), expected.views.joints[:, 1:].nan_to_num())
    assert torch.equal(found.views.visible, expected.views.visible[:, 1:])
    assert torch.equal(found.pixels.visible, expected.pixels.visible[:, 1:])
    assert torch.equal(found.cameras.intrinsics, expected.cameras.intrinsics[:, 1:])
    away = (found.images.int() - expected.images[:, 1:].int()).abs()
    assert away.max() <= 8
    assert away.double().mean() < 1e-3


def test_sample__in_another_order_of_cameras(hard_generator, hard_batch):
    found = hard_generator.sample(SEED, range(3), cameras=(1, 0))
    assert torch.equal(found.cameras.translation, hard_batch.cameras.translation[:3, [1, 0]])


@pytest.mark.parametrize("cameras", [(), (2,), (-1,)])
def test_sample__of_no_such_camera__is_an_error(hard_generator, cameras):
    with pytest.raises(InputError, match="some of the numbers 0 to 1"):
        hard_generator.sample(SEED, range(2), cameras=cameras)


def test_sample__without_images_has_the_same_labels(hard_generator, hard_batch):
    found, expected = hard_generator.sample(SEED, range(5), images=False), hard_batch[:5]
    assert found.images.shape == (5, 2, 3, 0, 0)
    assert [name for name in _same(found, expected) if name != "images"] == []


def test_pictures__painted_together_are_those_painted_alone(hard_generator):
    """As an accelerator paints them."""
    cast, indices = hard_generator._cast, torch.arange(16)
    scenes = draw_scenes(cast, SEED, indices, torch.zeros(16, dtype=torch.float64))
    with torch.no_grad():
        alone, together = (render_scenes(cast, scenes, indices, at_once=count) for count in (1, 16))
    assert set(_same(alone, together)) <= {"images"}
    difference = (alone.images.int() - together.images.int()).abs()
    assert (difference > 1).double().mean() < 1e-3
