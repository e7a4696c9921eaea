"""HierarchicalProbabilistic3DHuman's tracker of metrics, on the random numbers that it was fed."""

import json

import numpy as np
import pytest
import torch

from marey.io.predictions import pose_rows
from marey.metrics.aligned import procrustes_errors, scale_corrected_errors
from marey.metrics.joints import joint_errors
from marey.metrics.protocols import bodies

pytestmark = pytest.mark.realdata

NAMES = {
    "pve_mm": "PVE", "pve_sc_mm": "PVE-SC", "pve_pa_mm": "PVE-PA", "pve_t_mm": "PVE-T", "pve_t_sc_mm": "PVE-T-SC",
    "mpjpe_mm": "MPJPE", "mpjpe_sc_mm": "MPJPE-SC", "mpjpe_pa_mm": "MPJPE-PA",
}  # fmt: skip
BEST = {f"{ours.removesuffix('_mm')}_best_mm": f"{theirs}_samples_min" for ours, theirs in NAMES.items()}
POINTS = {"PVE": 6890, "MPJ": 14}


def frames():
    """What the tracker was fed, four frames, drawn in the order that its notes state."""
    r = np.random.RandomState(2024)
    for _ in range(4):
        labels = {
            "vertices": 0.3 * r.randn(1, 6890, 3),
            "vertices_rest": 0.3 * r.randn(1, 6890, 3),
            "joints": 0.3 * r.randn(1, 14, 3),
            "keypoints": 256 * r.rand(1, 17, 2),
            "silhouette": r.rand(1, 64, 64) > 0.5,
        }
        vertices, rest, joints, keypoints, _ = labels.values()
        predictions = {
            "vertices": 1.1 * vertices + 0.02 * r.randn(1, 6890, 3),
            "vertices_rest": 0.9 * rest + 0.02 * r.randn(1, 6890, 3),
            "joints": 1.05 * joints + 0.03 * r.randn(1, 14, 3),
            "keypoints": keypoints + 2 * r.randn(1, 17, 2),
            "silhouette": r.rand(1, 64, 64) > 0.4,
            "vertices_samples": (1.1 * vertices + 0.05 * r.randn(5, 6890, 3))[None],
            "vertices_rest_samples": (0.9 * rest + 0.05 * r.randn(5, 6890, 3))[None],
            "joints_samples": (1.05 * joints + 0.05 * r.randn(5, 14, 3))[None],
            "keypoints_samples": keypoints[:, None] + 3 * r.randn(1, 5, 17, 2),
            "silhouette_samples": r.rand(1, 5, 64, 64) > 0.4,
        }
        yield predictions, labels


@pytest.fixture(scope="module")
def scores():
    cases = [
        {key: np.concatenate([frame[key] for frame in side]) for key in side[0]} for side in zip(*frames(), strict=True)
    ]
    names = {"joint_names": bodies.JOINTS, "keypoint_names": bodies.KEYPOINTS}
    rows = [pose_rows(sequence=["all"] * 4, frame=range(4), **names, **case) for case in cases]
    return bodies.Bodies(name="tracker", metrics=bodies.TRACKER).score(*rows)


@pytest.fixture(scope="module")
def tracked(shared_parity):
    folder = shared_parity / "hierprob"
    with np.load(folder / "metrics_tracker_per_frame.npz") as arrays:
        return json.loads((folder / "metrics_tracker.json").read_text("utf-8"))["metric_sums"], dict(arrays)


@pytest.mark.parametrize("name", [*NAMES, *BEST])
def test_tracker__mean_distances_equal_the_original(scores, tracked, name):
    theirs = (NAMES | BEST)[name]
    expected = 1000 * tracked[0][theirs] / (4 * POINTS[theirs[:3]])
    assert scores.values[name] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", list(NAMES))
def test_tracker__each_frame_equals_the_original(scores, tracked, name):
    np.testing.assert_allclose(scores.per_row[name] / 1000, tracked[1][NAMES[name]], rtol=0, atol=1e-12)


def test_tracker__pixels_equal_the_original(scores, tracked):
    sums, rows = tracked
    assert scores.values["joints2d_px"] == pytest.approx(sums["joints2D-L2E"] / 68, abs=1e-9)
    assert scores.values["joints2d_samples_px"] == pytest.approx(sums["joints2Dsamples-L2E"] / 340, abs=1e-9)
    np.testing.assert_allclose(scores.per_row["joints2d_px"], rows["joints2D-L2E"], rtol=1e-12)


@pytest.mark.parametrize(("name", "key"), [("silhouette_iou", "num_"), ("silhouette_samples_iou", "num_samples_")])
def test_tracker__silhouettes_equal_the_original(scores, tracked, name, key):
    true, missed, wrong = (
        tracked[0][f"{key}{kind}"] for kind in ("true_positives", "false_negatives", "false_positives")
    )
    assert scores.values[name] == pytest.approx(100 * true / (true + missed + wrong), abs=1e-9)
    if name == "silhouette_iou":
        np.testing.assert_allclose(scores.per_row[name] / 100, tracked[1]["silhouette-IOU"], rtol=1e-12)


def test_alignments__equal_the_original(shared_parity):
    with np.load(shared_parity / "hierprob" / "alignment.npz") as arrays:
        stored = {name: torch.from_numpy(array) for name, array in arrays.items()}
    poses = stored["pred"], stored["target"]
    for errors, key in ((procrustes_errors, "procrustes"), (scale_corrected_errors, "scale_translation")):
        expected = joint_errors(stored[key], stored["target"])
        torch.testing.assert_close(errors(*poses), expected, rtol=0, atol=1e-10)
