"""MeTRAbs's training (2020-11) as its own functions computed it: crops, appearance, losses, learning rate."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.data import augmentation
from marey.data.training_crops import (
    CropAugmentation,
    CropDraws,
    draw_crop,
    plan_picture_crops,
    plan_training_crops,
    render_training_crop,
)
from marey.methods.metrabs import losses
from marey.methods.metrabs.heatmaps import HeatmapConfig, is_reliable
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.recipe import MPI_JOINTS, metrabs_muco, metro_h36m
from marey.methods.metrabs.reconstruction import Placing, reconstruct_absolute
from marey.methods.metrabs.task import network_skeleton

pytestmark = pytest.mark.realdata

SIDE = 128


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        return dict(arrays)


def cutouts(stored):
    return [(stored[f"occluder{place}_im"], stored[f"occluder{place}_mask"]) for place in range(4)]


class TestAppearance:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_colours_erasing_and_objects__equal_the_original_bit_by_bit(self, shared_parity, seed):
        stored = load(shared_parity, "19_augmentations")
        image, draws = stored["im"], lambda: np.random.RandomState(seed)
        np.testing.assert_array_equal(augmentation.change_colours(image, draws()), stored[f"color_seed{seed}"])
        np.testing.assert_array_equal(augmentation.erase(image, draws()), stored[f"erase_seed{seed}"])
        found = augmentation.paste_objects(image, draws(), cutouts(stored))
        np.testing.assert_array_equal(found, stored[f"occlude_seed{seed}"])

    @pytest.mark.parametrize("seed", [0, 1])
    def test_background__equals_the_original_bit_by_bit(self, shared_parity, seed):
        stored = load(shared_parity, "19_augmentations")
        draws = np.random.RandomState(seed)
        draws.randint(1)  # the original chooses among one picture
        found = augmentation.other_background(stored["im"], stored["fgmask"], stored["background_source"], draws)
        np.testing.assert_array_equal(found, stored[f"background_seed{seed}"])

    @pytest.mark.parametrize("seed", range(6))
    def test_parts_and_shifts__equal_the_original(self, shared_parity, seed):
        stored = load(shared_parity, "19_augmentations")
        draws = np.random.RandomState(seed)
        np.testing.assert_allclose(augmentation.point_in_disc(draws), stored["uniform_disc"][seed], rtol=1e-12)
        box = np.array([10.0, 20.0, 100.0, 100.0])
        part = augmentation.part_of_box(box, np.random.RandomState(seed))
        np.testing.assert_allclose(part, stored["partial_subboxes"][seed], rtol=1e-12)


def source(stored, lens):
    rotation = torch.from_numpy(stored["cam_R"]).double()
    return Cameras(
        intrinsics=torch.from_numpy(stored["cam_K"]).double(),
        distortion=torch.from_numpy(stored["cam_dist"]).double() * lens,
        image_size=torch.tensor((240.0, 200.0), dtype=torch.float64),
        rotation=rotation,
        translation=-rotation @ torch.from_numpy(stored["cam_t"]).double(),
    )[None]


class TestCrops:
    CASES: ClassVar = [
        ("test_side128", None, True, "linear", False),
        ("train_seed1_noocc_nocolor", 1, True, "nearest", False),
        ("train_seed2_noocc_nocolor", 2, True, "nearest", False),
        ("train_seed3_noocc_nocolor", 3, True, "nearest", False),
        ("train_seed4_full", 4, True, "nearest", True),
        ("train_seed5_full", 5, True, "linear", True),
        ("nodist_test_side128", None, False, "linear", False),
        ("nodist_train_seed7", 7, False, "linear", False),
    ]

    @pytest.mark.parametrize(("name", "seed", "lens", "way", "varied"), CASES)
    def test_crop__equals_the_original_loader(self, shared_parity, name, seed, lens, way, varied):
        stored = load(shared_parity, "18_camera_and_training_loader")
        draws = CropDraws.none(1)
        if seed is not None:
            parent = np.random.RandomState(seed)
            appearance, _, geometry, _ = (augmentation.child(parent) for _ in range(4))
            draws = CropDraws.stack([draw_crop(geometry, CropAugmentation())])
        crops = plan_training_crops(source(stored, lens), stored["bbox"][None], draws, side=SIDE, up=(0, 0, 1))
        camera = crops.cameras[0]
        inverse = torch.linalg.inv(camera.intrinsics)
        # the original undoes the lens in five steps and single precision
        np.testing.assert_allclose(inverse, stored[f"{name}__inv_intrinsics"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(camera.rotation.T, stored[f"{name}__rot_to_world"], rtol=0, atol=1e-4)
        world = torch.from_numpy(stored["world"]).double()
        joints = world @ camera.rotation.T + camera.translation
        joints = joints[list(stored["mirror"])] if crops.mirrored[0] else joints
        np.testing.assert_allclose(joints, stored[f"{name}__camcoords"], rtol=0, atol=0.3)
        image = render_training_crop(stored["image"], crops, 0, interpolation=way, antialias=4 if seed is None else 1)
        if varied:
            options = augmentation.AppearanceOptions()
            image = augmentation.change_appearance(image, appearance, options, objects=cutouts(stored))
        difference = np.abs(image.astype(int) - np.round(stored[f"{name}__im"] * 255).astype(int))
        # nearest pixels flip where a coordinate lies between two; colours enlarge differences of one
        assert (difference > (5 if way == "linear" else 1)).mean() < 0.01

    @pytest.mark.parametrize("seed", [1, 2])
    def test_picture_crop__equals_the_original_loader_bit_by_bit(self, shared_parity, seed):
        stored = load(shared_parity, "18_camera_and_training_loader")
        parent = np.random.RandomState(seed)
        appearance, geometry, _ = (augmentation.child(parent) for _ in range(3))
        draws = CropDraws.stack([draw_crop(geometry, CropAugmentation())])
        box = stored["bbox2d"][None]
        crops = plan_picture_crops(np.array([[240, 200]]), box, draws, side=SIDE, extent=box.max(-1))
        found = crops.pixels(stored["coords2d_in"][None].astype(np.float64))[0]
        np.testing.assert_allclose(found, stored[f"load2d_seed{seed}__imcoords"], rtol=0, atol=1e-4)
        image = render_training_crop(stored["image"], crops, 0, interpolation="nearest")
        options = augmentation.AppearanceOptions()
        image = augmentation.change_appearance(image, appearance, options, objects=cutouts(stored))
        np.testing.assert_array_equal(image, np.round(stored[f"load2d_seed{seed}__im"] * 255).astype(int))


HOUSE = {"htop": "head_top", "neck": "neck", "head": "head", "spin": "spine1", "pelv": "pelvis"}
PARTS = {"sho": "shoulder", "elb": "elbow", "wri": "wrist", "hip": "hip", "kne": "knee", "ank": "ankle"}


def house_name(name):
    return HOUSE.get(name) or f"{'left' if name[0] == 'l' else 'right'}_{PARTS[name[1:]]}"


class TestLosses:
    MAPS = HeatmapConfig()
    SCALE = 2.2 / 256

    def terms(self, stored):
        metres = {name: torch.from_numpy(stored[f"in_{name}"]) / 1000 for name in ("coords3d_true", "p3d", "p3d_2d")}
        pixels = {
            name: torch.from_numpy(stored[f"in_{name}"])
            for name in ("coords2d_true", "p2d", "p2d_2d", "true2d_2d", "vm", "vm2d")
        }
        people = losses.People(metres["coords3d_true"], pixels["coords2d_true"], pixels["vm"])
        pictures = losses.Pictures(pixels["true2d_2d"], pixels["vm2d"])
        names = [house_name(name) for name in stored["names3d"]]
        shared = [names.index(house_name(name)) for name in stored["names2d"]]
        return people, pictures, {**metres, **pixels}, shared

    @pytest.mark.parametrize("factor", [1.0, 0.5])
    @pytest.mark.parametrize("step", [10, 100, 6000])
    def test_placed__equals_the_original(self, shared_parity, factor, step):
        stored = load(shared_parity, "07_losses_nov2020")
        people, pictures, found, shared = self.terms(stored)
        intrinsics = torch.linalg.inv(torch.from_numpy(stored["in_inv_intrinsics"]))
        joints = reconstruct_absolute(
            found["p2d"],
            found["p3d"],
            intrinsics,
            reliable=is_reliable(found["p2d"], self.MAPS, 32),
            placing=Placing(perspective="weak", mix=0.0, quirks=Quirks.published()),
        )
        guess = losses.Guess(found["p2d"], found["p3d"], joints)
        terms = losses.placed_terms(guess, people, root=-1, scale=self.SCALE)
        weak = losses.weak_keypoint_terms(found["p2d_2d"][:, shared], pictures, scale=self.SCALE)
        weak |= losses.weak_joint_terms(found["p3d_2d"][:, shared], pictures, scale=self.SCALE)
        name = f"metrabs_abs{factor}_step{step}"
        near = {"rel": 2e-6, "abs": 1e-8}
        assert float(terms["joints"]) == pytest.approx(float(stored[f"{name}_loss3d"]), **near)
        assert float(terms["keypoints"]) == pytest.approx(float(stored[f"{name}_loss23d"]), **near)
        assert float(weak["weak_keypoints"]) == pytest.approx(float(stored[f"{name}_loss22d"]), **near)
        assert float(weak["weak_joints"]) == pytest.approx(float(stored[f"{name}_loss32d"]), **near)
        once = factor * terms["absolute"] * (step > 5000)
        assert float(once) == pytest.approx(float(stored[f"{name}_loss3d_abs"]), **near)
        twice = factor * once
        total = terms["joints"] + terms["keypoints"] + twice + 0.1 * sum(weak.values())
        assert float(total) == pytest.approx(float(stored[f"{name}_loss"]), **near)

    @pytest.mark.parametrize(("root", "mean"), [(-1, 0), (None, 1)])
    def test_root_relative__equals_the_original(self, shared_parity, root, mean):
        stored = load(shared_parity, "07_losses_nov2020")
        people, pictures, found, shared = self.terms(stored)
        term = losses.joint_terms(losses.Guess(None, found["p3d"]), people, root=root)["joints"]
        weak = losses.weak_joint_terms(found["p3d_2d"][:, shared], pictures, scale=self.SCALE)["weak_joints"]
        assert float(term) == pytest.approx(float(stored[f"metro_meanrel{mean}_loss3d"]), rel=2e-6)
        assert float(weak) == pytest.approx(float(stored[f"metro_meanrel{mean}_loss2d"]), rel=2e-6)
        assert float(term + 0.1 * weak) == pytest.approx(float(stored[f"metro_meanrel{mean}_loss"]), rel=2e-6)

    def test_depths__equal_the_original_which_counts_unknown_joints_too(self, shared_parity):
        stored = load(shared_parity, "07_losses_nov2020")
        people, pictures, found, shared = self.terms(stored)
        people = people._replace(known=torch.ones_like(people.known))
        guess = losses.Guess(found["p2d"], found["p3d"])
        terms = losses.depth_terms(guess, people, root=-1, scale=self.SCALE, box_size=2.2)
        weak = losses.weak_keypoint_terms(found["p2d_2d"][:, shared], pictures, scale=self.SCALE)["weak_keypoints"]
        assert float(terms["keypoints"]) == pytest.approx(float(stored["twofive_loss2d_3d"]), rel=2e-6)
        assert float(terms["depth"]) == pytest.approx(float(stored["twofive_loss_z"]), rel=2e-6)
        assert float(weak) == pytest.approx(float(stored["twofive_loss2d"]), rel=2e-6)
        total = (2 * terms["keypoints"] + terms["depth"]) / 3 + 0.1 * weak
        assert float(total) == pytest.approx(float(stored["twofive_loss"]), rel=2e-6)


class TestJoints:
    def test_higher_hips__equal_the_original(self, shared_parity):
        stored = load(shared_parity, "06_skeleton_adjust_and_orig_cam")
        assert tuple(house_name(name) for name in stored["names"]) == MPI_JOINTS
        pose = torch.from_numpy(stored["pose"])
        found = losses.with_higher_hips(pose, network_skeleton(MPI_JOINTS), 0.2)
        np.testing.assert_allclose(found, stored["adjusted_3dhp_to_mpii"], rtol=0, atol=1e-3)

    def test_mirrored_crops__have_the_sides_of_the_original(self, shared_parity):
        stored = load(shared_parity, "06_skeleton_adjust_and_orig_cam")
        mirror = list(network_skeleton(MPI_JOINTS).mirror)
        assert mirror == stored["mirror_mapping"].tolist()
        turned = stored["pose"] @ stored["R_to_orig"].transpose(0, 2, 1)
        mirrored = np.linalg.det(stored["R_to_orig"]) < 0
        assert mirrored.any()
        assert not mirrored.all()
        found = np.where(mirrored[:, None, None], turned[:, mirror], turned)
        np.testing.assert_allclose(found, stored["pose_orig_cam"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("recipe", [metro_h36m(), metrabs_muco()])
def test_learning_rate__equals_the_original(shared_parity, recipe):
    stored = load(shared_parity, "08_lr_schedule")
    steps = float(stored["steps_per_epoch"] * stored["epochs"])
    training = recipe.training
    assert training.optimiser.learning_rate == float(stored["base_lr"])
    found = [training.optimiser.learning_rate * training.schedule.factor(int(step), steps) for step in stored["steps"]]
    np.testing.assert_allclose(found, stored["lr"], rtol=1e-5)
