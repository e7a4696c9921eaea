"""MeTRAbs's inference: augmentation, virtual cameras, crops, lenses, filter and doubles, against its own programs."""

import numpy as np
import pytest
import torch

from marey.core import Cameras, Skeleton
from marey.geometry.projection import distort, undistort
from marey.methods.metrabs import plausibility, virtual_cameras
from marey.methods.metrabs.augmented import augmentation_table
from marey.methods.metrabs.model import CropPoses
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.virtual_cameras import CropRule, look_at_people
from marey.methods.metrabs.virtual_crops import crop_views
from marey.metrics.protocols.association import pose_agreement

pytestmark = pytest.mark.realdata

PUBLISHED, LATER = Quirks.published(), Quirks.published_later()


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiub"}


def cameras(intrinsics, count, lens=None):
    return Cameras(
        intrinsics=intrinsics.double().expand(count, 3, 3),
        distortion=torch.zeros(count, 0).double() if lens is None else lens.double().expand(count, -1),
        image_size=torch.full((count, 2), torch.nan).double(),
    )


def close(found, expected, **tolerance):
    torch.testing.assert_close(found.double(), expected.double(), **{"rtol": 0, "atol": 0, **tolerance})


def views_first(values, views):
    """Rows of N boxes' A views as rows of A views' N boxes."""
    return values.reshape(-1, views, *values.shape[1:]).transpose(0, 1).flatten(0, 1)


# Augmentation


@pytest.mark.parametrize("count", range(1, 11))
def test_augmentations__equal_the_table_of_2020(shared_parity, count):
    stored = load(shared_parity, "09_tta_params_nov2020")
    table = augmentation_table(count, single="published")
    close(table.turns, stored[f"n{count}_maybe_flip"] @ stored[f"n{count}_rotmat"], atol=1e-7)
    close(table.scales, stored[f"n{count}_scales"], atol=1e-7)
    close(table.gammas, stored[f"n{count}_gammas"], atol=3e-4)  # stored in half precision
    assert torch.equal(table.flips, stored[f"n{count}_flips"])


# Virtual cameras and crops of November 2020


def crops_of_2020(stored, views, antialias=1):
    return crop_views(
        stored["image"].permute(2, 0, 1)[None],
        stored["boxes"].double(),
        cameras(stored["K"], 4),
        augmentations=augmentation_table(views, single="published"),
        rule=CropRule.of(PUBLISHED, side=64, antialias=antialias),
    )


@pytest.mark.parametrize("views", [1, 5])
def test_homographies__equal_those_of_2020(shared_parity, views):
    stored = load(shared_parity, "10_multiperson_homography_pipeline_nov2020")
    found = crops_of_2020(stored, views)
    moved = stored["K"].double() @ torch.linalg.inv(found.intrinsics @ found.rotation)
    moved = views_first(moved / moved[:, 2:, 2:], views).flatten(1)[:, :8]
    close(moved, stored[f"n{views}_aa1_homography8"], rtol=1e-4, atol=1e-5)
    close(views_first(found.intrinsics, views), stored[f"n{views}_aa1_crop_intrinsics"], rtol=1e-6)


@pytest.mark.parametrize("views", [1, 5])
def test_crops__equal_those_of_2020(shared_parity, views):
    stored = load(shared_parity, "10_multiperson_homography_pipeline_nov2020")
    found = views_first(crops_of_2020(stored, views).images, views).permute(0, 2, 3, 1).double()
    gammas = augmentation_table(views, single="published").gammas.repeat_interleave(4)[:, None, None, None]
    values = 255 * found ** (1 / gammas)
    expected = stored[f"n{views}_aa1_warped_uint8"].double()
    assert (values - expected).abs().max() < 1.01  # a value that is cut off may fall on either side
    assert ((values - expected).abs() < 0.01).double().mean() > 0.97
    assert (found - stored[f"n{views}_aa1_crops_after_gamma"]).abs().mean() < 1e-4


def test_antialiasing__equals_that_of_2020(shared_parity):
    stored = load(shared_parity, "10_multiperson_homography_pipeline_nov2020")
    found = views_first(crops_of_2020(stored, 2, antialias=4).images, 2).permute(0, 2, 3, 1)
    off = 255 * (found - stored["n2_aa4_crops_after_gamma"]).abs()
    assert off.mean() < 0.2
    assert (off < 1).double().mean() > 0.995


# Virtual cameras and crops of 2021 to 2023


def later(stored, views, *, antialias=1, lens=False, single="identity"):
    turned = stored["extrinsic"][:3, :3].double() @ torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    return crop_views(
        stored["image_CHW"][None],
        stored["boxes"].double(),
        cameras(stored["K"], 4, stored["dist5"] if lens else None),
        up=turned.expand(4, 3) if lens else None,
        augmentations=augmentation_table(views, single=single),
        rule=CropRule.of(LATER, side=64, antialias=antialias),
    )


def chunked(values, boxes, views):
    """Views in a row within every so many boxes, as the original's chunks have them."""
    return torch.cat([views_first(chunk, views) for chunk in values.split(boxes * views)])


@pytest.mark.parametrize(
    ("name", "views", "boxes", "options"),
    [
        ("plain_n1", 1, 4, {"single": "published-later"}),
        ("n5_aa2", 5, 1, {"antialias": 2}),
        ("dist_ext_n3", 3, 2, {"lens": True}),
    ],
)
def test_crops__equal_the_later_ones(shared_parity, name, views, boxes, options):
    stored = load(shared_parity, "25_multiperson_pipeline_later_pytorch")
    found = later(stored, views, **options)
    close(chunked(found.images, boxes, views), stored[f"{name}_crops"], atol=0.5 / 255)
    close(chunked(found.intrinsics, boxes, views), stored[f"{name}_crop_K"], rtol=1e-6)


def test_virtual_cameras__behind_a_lens_equal_the_later_ones(shared_parity):
    stored = load(shared_parity, "25_multiperson_pipeline_later_pytorch")
    seen = cameras(stored["K"], 4, stored["dist5"])
    for rule in (CropRule.of(LATER, side=64), CropRule(side=64)):
        found = look_at_people(stored["boxes"].double(), seen, rule=rule)
        close(found.rotation, stored["R_noaug"], atol=1e-6)
        close(found.scale, stored["box_scales"], rtol=2e-6)


# Lenses


@pytest.mark.parametrize("count", [5, 12])
def test_lens__equals_the_later_one(shared_parity, count):
    stored = load(shared_parity, "23_lens_distortion_later_pytorch")
    lenses = cameras(torch.eye(3), 7)
    lenses = Cameras(intrinsics=lenses.intrinsics, distortion=stored[f"d{count}"], image_size=lenses.image_size)
    bent = distort(stored["points"], lenses)
    close(bent, stored[f"distorted{count}"], atol=1e-14)
    close(bent, stored[f"opencv_distorted{count}"], atol=1e-14)
    rounds = virtual_cameras._by_rounds(stored["points"], lenses)
    close(rounds, stored[f"undistorted{count}"], atol=1e-14)
    close(undistort(stored[f"distorted{count}"], lenses), stored["points"], atol=1e-12)  # ours goes to the end


# Filter


def test_plausibility__equals_the_later_filter(shared_parity):
    stored = load(shared_parity, "27_plausibility_filter_later_tf")
    poses, edges, lengths = stored["poses"] / 1000, stored["edges"], stored["mean_bones"] / 1000
    assert torch.equal(plausibility.has_plausible_bones(poses, edges, lengths), stored["plausible"])
    close(plausibility.view_deviations(stored["aug_poses"] / 1000), stored["stdev"] / 1000, atol=1e-6)
    assert torch.equal(plausibility.have_consistent_views(stored["aug_poses"] / 1000), stored["consistent"])
    assert torch.equal(plausibility.are_in_their_boxes(stored["poses2d"], stored["boxes"]), stored["box_consistent"])
    close(plausibility.pose_similarity(poses), stored["similarity"], atol=1e-6)


def test_doubles__are_the_later_ones(shared_parity):
    stored = load(shared_parity, "27_plausibility_filter_later_tf")
    alive = stored["plausible"].nonzero()[:, 0]
    similar = plausibility.pose_similarity(stored["poses"][alive] / 1000)
    kept = alive[plausibility.suppress_similar(similar, stored["scores"][alive])]
    assert kept.tolist() == stored["nms_indices"].tolist()


def test_sanity_and_doubles__are_those_of_2020(shared_parity):
    stored = load(shared_parity, "26_video_inference_functions")
    poses = stored["poses"] / 1000
    sane = plausibility.has_plausible_bones(poses, stored["edges"], stored["mean_bones"] / 1000)
    assert torch.equal(sane, stored["is_sane"])
    given = stored["nms_in_idx"]
    kept = given[plausibility.suppress_similar(pose_agreement(poses[given], poses[given]), stored["confs"][given])]
    close(poses[kept], stored["nms_poses"] / 1000, atol=1e-12)
    close(stored["confs"][kept], stored["nms_confs"], atol=0)


# Whole pipelines, with the stand-in network of the parity files


class MeanColours:
    """Says a pose that moves with the mean red and green of the crop and with its focal length."""

    side = 64

    def __init__(self, joints):
        self.base = torch.linspace(-400, 400, 18, dtype=torch.float64).reshape(6, 3)[joints]

    def __call__(self, images, intrinsics):
        red, green, _ = images.double().mean((2, 3)).unbind(-1)
        place = torch.stack((300 * red - 150, 300 * green - 150, 1000 + 2 * intrinsics[:, 0, 0].double()), -1)
        joints = (self.base + place[:, None]) / 1000
        return CropPoses(joints=joints, covariance=None, keypoints=None, relative=joints)


SIX = Skeleton("six", ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "head"), ())
FOUR = SIX.select(SIX.joints[1:5])


@pytest.mark.parametrize("views", [1, 5])
def test_people__are_those_of_2020(shared_parity, views):
    stored = load(shared_parity, "10_multiperson_homography_pipeline_nov2020")
    model = PeopleModel(MeanColours(slice(6)), SIX, quirks=PUBLISHED)
    found = model.predict_single_image(stored["image"].numpy(), stored["K"], stored["boxes"], n_aug=views, unit="mm")
    close(found.poses3d, stored[f"n{views}_aa1_poses_out"], atol=0.05)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain_n1", {"num_aug": 1}),
        ("n5_aa2", {"num_aug": 5, "antialias_factor": 2}),
        ("dist_ext_n3", {"num_aug": 3}),
    ],
)
@pytest.mark.parametrize("at_once", [0, 4, 64])
def test_people__are_the_later_ones(shared_parity, name, options, at_once):
    stored = load(shared_parity, "25_multiperson_pipeline_later_pytorch")
    placed = {"distortion_coeffs": stored["dist5"], "extrinsic_matrix": stored["extrinsic"]}
    found = PeopleModel(MeanColours(slice(1, 5)), FOUR, quirks=LATER).estimate_poses(
        stored["image_CHW"],
        stored["boxes"],
        stored["K"],
        unit="mm",
        internal_batch_size=at_once,
        **(placed if name.startswith("dist") else {}),
        **options,
    )
    close(found.poses3d, stored[f"{name}_poses3d"], atol=0.02)
    close(found.poses2d, stored[f"{name}_poses2d"], atol=0.01)
