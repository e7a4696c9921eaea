"""Crops and cameras of views against what the program of learnable triangulation computed."""

import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.data.multiview import MultiViewLabels, MultiViewOptions
from marey.data.prepare.h36m_names import ACTIONS, CAMERAS, SUBJECTS
from marey.data.prepare.h36m_published import read_published_labels
from marey.data.view_crops import ViewCropRule, crop_edges, crop_projections, cut_view
from marey.io.predictions_published import TRIANGULATION_JOINTS

pytestmark = pytest.mark.realdata


@pytest.fixture
def stored(shared_parity):
    with np.load(shared_parity / "triangulation" / "camera_image.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def camera(stored):
    return Cameras(
        intrinsics=torch.from_numpy(stored["K"])[None],
        distortion=torch.zeros(1, 0, dtype=torch.float64),
        image_size=torch.tensor([[1000.0, 1002.0]], dtype=torch.float64),
        rotation=torch.from_numpy(stored["R"])[None],
        translation=torch.from_numpy(stored["t"][:, 0] / 1000)[None],
    )


def test_projection__of_a_crop_as_the_original(stored):
    """A box of 800 pixels at 384, its coordinates multiplied by the ratio; lengths there are millimetres."""
    rule = ViewCropRule(size=(384, 384), half_pixels=False)
    found = crop_projections(camera(stored), stored["bbox_ltrb"][None], rule)[0].numpy()
    np.testing.assert_allclose(found * [1, 1, 1, 1000], stored["P_384"], rtol=1e-12, atol=1e-6)


def test_edges__as_the_original(stored):
    boxes = stored["boxes_square"]
    spans = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).astype(np.float64)
    cameras = Cameras.cat([camera(stored)] * len(boxes))
    for scale, expected in ((1.25, "scaled_1_25"), (1.0, "scaled_1_0")):
        loose = stored["boxes_ltrb"]
        kept = np.concatenate((loose[:, :2], loose[:, 2:] - loose[:, :2]), axis=1).astype(np.float64)
        found = crop_edges(kept, cameras, ViewCropRule(square=False, scale=scale))
        assert found.tolist() == stored[f"boxes_{expected}"].tolist()
    assert crop_edges(spans, cameras, ViewCropRule()).tolist() == boxes.tolist()


def test_pixels__of_a_crop_as_the_original(stored):
    """Cut beyond the border, then made smaller by areas; other versions of OpenCV differ by a grey level."""
    found = cut_view(stored["image_uint8"], stored["crop_box"], camera(stored)[0], ViewCropRule(size=(24, 24)))
    assert np.abs(found.astype(int) - stored["resized_24"]).max() <= 1


def label_file(path, table):
    """The original's label file of a table of made-up poses; every camera has a box of everybody."""
    parts = [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2"), ("keypoints", "f4", (17, 3))]
    rows = np.zeros(len(table["keypoints"]), dtype=[*parts, ("bbox_by_camera_tlbr", "i2", (4, 4))])
    for name, column in table.items():
        rows[name] = column
    rows["frame_idx"] = np.arange(len(rows))
    rows["bbox_by_camera_tlbr"] = [100, 200, 500, 600]
    cameras = np.zeros((7, 4), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    cameras["R"] = cameras["K"] = np.eye(3)
    names = {"subject_names": list(SUBJECTS), "camera_names": list(CAMERAS), "action_names": list(ACTIONS)}
    np.save(path, {**names, "cameras": cameras, "table": rows})
    return path


@pytest.mark.parametrize(("run", "damaged", "every"), [("human36m_damaged1", True, 1), ("human36m_damaged0", False, 2)])
def test_samples__of_the_test_set_are_those_of_the_original(shared_parity, tmp_path, run, damaged, every):
    with np.load(shared_parity / "triangulation" / "metrics.npz") as arrays:
        table = {name: arrays[f"table_{name}"] for name in ("subject_idx", "action_idx", "keypoints")}
        expected = {name: arrays[f"{name}_{run}"] for name in ("subject", "action", "gt")}
    labels = read_published_labels(label_file(tmp_path / "labels.npy", table)).of_split("test")
    options = MultiViewOptions(with_damaged_actions=damaged, retain_every_n=every)
    data = MultiViewLabels(labels, tmp_path, options)
    rows = data.reference()
    assert data.n_views == 4
    assert data.view_names == CAMERAS
    assert rows.values["subject"].tolist() == [SUBJECTS[place] for place in expected["subject"]]
    assert rows.values["trial"].tolist() == [ACTIONS[place] for place in expected["action"]]
    order = labels.skeleton.indices(TRIANGULATION_JOINTS)
    np.testing.assert_allclose(data.joints[:, order] * 1000, expected["gt"], rtol=1e-6)
