"""Preparation of data against what the program of learnable triangulation computed."""

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.core.skeletons import skeleton
from marey.data.prepare.h36m_names import ACTIONS, SUBJECTS
from marey.data.prepare.h36m_published import dataset_rows
from marey.data.square_boxes import cut_out, scale_boxes, square_boxes
from marey.geometry import project
from marey.geometry.views import crop_cameras
from marey.io.h36m_labels import MultiviewLabels

pytestmark = pytest.mark.realdata


@pytest.fixture
def stored(shared_parity):
    with np.load(shared_parity / "triangulation" / "camera_image.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_boxes__squared_and_scaled_as_the_original(stored):
    boxes = stored["boxes_ltrb"]
    assert (square_boxes(boxes) == stored["boxes_square"]).all()
    assert (scale_boxes(boxes, 1.25) == stored["boxes_scaled_1_25"]).all()
    assert (scale_boxes(boxes, 1.0) == stored["boxes_scaled_1_0"]).all()


def test_cameras__project_and_are_cropped_as_the_original(stored):
    camera = Cameras(
        intrinsics=torch.from_numpy(stored["K"]),
        distortion=torch.zeros(0, dtype=torch.float64),
        image_size=torch.tensor([1000.0, 1002.0], dtype=torch.float64),
        rotation=torch.from_numpy(stored["R"]),
        translation=torch.from_numpy(stored["t"][:, 0] / 1000),
    )
    projected = project(torch.from_numpy(stored["points_3d"] / 1000), camera).numpy()
    np.testing.assert_allclose(projected, stored["projected"], rtol=0, atol=1e-9)
    cropped = crop_cameras(camera, torch.from_numpy(stored["bbox_ltrb"]) - 0.5)  # its boxes count pixels, ours edges
    np.testing.assert_allclose(cropped.intrinsics.numpy(), stored["K_after_crop"], rtol=0, atol=1e-9)


def test_images__are_cut_out_as_the_original(stored):
    assert (cut_out(stored["image_uint8"], stored["crop_box"]) == stored["cropped"]).all()


@pytest.mark.parametrize(("run", "damaged", "every"), [("human36m_damaged1", True, 1), ("human36m_damaged0", False, 2)])
def test_rows__of_the_test_set_are_those_of_the_original(shared_parity, run, damaged, every):
    """Its damaged scenes left out, then thinned; the labels are made up, of all subjects and actions."""
    with np.load(shared_parity / "triangulation" / "metrics.npz") as arrays:
        table = {name: arrays[f"table_{name}"] for name in ("subject_idx", "action_idx", "keypoints")}
        expected = {name: arrays[f"{name}_{run}"] for name in ("subject", "action", "gt")}
    count = len(table["subject_idx"])
    camera = Cameras(
        intrinsics=torch.eye(3).expand(7, 4, 3, 3), distortion=torch.zeros(7, 4, 0), image_size=torch.zeros(7, 4, 2)
    )
    found = MultiviewLabels(
        skeleton=skeleton("h36m_17"),
        subjects=SUBJECTS,
        actions=ACTIONS,
        cameras=camera,
        subject=table["subject_idx"].astype(np.int64),
        action=table["action_idx"].astype(np.int64),
        frame=np.arange(count),
        person=np.zeros(count, dtype=np.int64),
        joints=table["keypoints"].astype(np.float64),
        boxes=np.full((count, 4, 4), np.nan),
    )
    rows = dataset_rows(found, test=True, damaged=damaged, every=every)
    assert found.subject[rows].tolist() == expected["subject"].tolist()
    assert found.action[rows].tolist() == expected["action"].tolist()
    assert (table["keypoints"][rows] == expected["gt"]).all()
