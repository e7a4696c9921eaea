"""Metrics against what MeTRAbs's programs computed (2020-11 and later), in double precision."""

import numpy as np
import pytest
import torch

from marey.geometry.alignment import align
from marey.metrics.accumulate import Tally
from marey.metrics.aligned import pa_mpjpe_mm, procrustes_errors
from marey.metrics.correct import auc_scores, pck_hits, percent
from marey.metrics.joints import joint_errors, mpjpe_mm, root_relative, root_relative_errors

pytestmark = pytest.mark.realdata

EXACT = {"rtol": 0, "atol": 1e-9}
STEPS = torch.linspace(0, 0.15, 31, dtype=torch.float64)


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        stored = {key: arrays[key] for key in arrays.files}
    return {key: torch.from_numpy(value) if value.dtype.kind in "fbi" else value for key, value in stored.items()}


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("aligned_rigid", {"transform": "rigid"}),
        ("aligned_scale", {"transform": "similarity"}),
        ("aligned_scale_reflect", {"transform": "similarity", "reflection": True}),
    ],
)
def test_alignment__equals_the_original(shared_parity, key, arguments):
    stored = load(shared_parity, "13_procrustes")
    pred, true = stored["pred"], stored["true"]
    torch.testing.assert_close(align(pred, true, **arguments).apply(pred), stored[key], **EXACT)
    distances = (stored[key] - true).norm(dim=-1)
    torch.testing.assert_close(procrustes_errors(pred, true, **arguments), distances, **EXACT)
    many = procrustes_errors(pred.repeat(10, 1, 1), true.repeat(10, 1, 1), **arguments)  # the way of large batches
    torch.testing.assert_close(many, distances.repeat(10, 1), **EXACT)


def test_alignment__on_the_joints_of_a_mask_equals_the_original(shared_parity):
    stored = load(shared_parity, "13_procrustes")
    weights = stored["mask"].double()
    found = align(stored["pred"], stored["true"], transform="similarity", weights=weights).apply(stored["pred"])
    torch.testing.assert_close(found, stored["aligned_scale_masked"], **EXACT)
    hidden = torch.where(stored["mask"][..., None], stored["true"], torch.nan)
    errors = procrustes_errors(stored["pred"], hidden)
    expected = (stored["aligned_scale_masked"] - hidden).norm(dim=-1)
    torch.testing.assert_close(errors, expected, equal_nan=True, **EXACT)


@pytest.mark.parametrize("procrustes", [False, True])
def test_human36m__by_action_equals_the_original(shared_parity, procrustes):
    stored = load(shared_parity, "14_eval_h36m")
    pred, true = stored["pred_world"], stored["true_world"]
    errors = procrustes_errors(pred, true) if procrustes else root_relative_errors(pred, true, root=-1)
    tally = Tally.of(errors, action=stored["activities"])
    means = tally.means()
    found = [*(means[(action,)] for action in stored["activity_order"]), tally.mean()]
    np.testing.assert_allclose(found, stored[f"metrics_procrustes{int(procrustes)}"], **EXACT)


def test_pck_and_auc__of_distances_equal_the_original(shared_parity):
    stored = load(shared_parity, "15_eval_3dhp_nov2020")
    estimated = torch.zeros(400, 1, 3, dtype=torch.float64)
    estimated[:, 0, 0] = stored["rel_dist"]  # of 150 mm
    truth = torch.zeros_like(estimated)
    assert float(percent(pck_hits(estimated, truth, threshold=1.0))) == pytest.approx(float(stored["pck"]), abs=1e-9)
    auc = auc_scores(estimated, truth, thresholds=STEPS / 0.15)
    assert float(percent(auc)) == pytest.approx(float(stored["auc"]), abs=1e-9)


@pytest.mark.parametrize("procrustes", [False, True])
def test_3dhp__as_shipped_equals_the_original(shared_parity, procrustes):
    stored = load(shared_parity, "15_eval_3dhp_nov2020")
    true = root_relative(stored["true14"] / 1000, -1)
    pred = root_relative(stored["pred14"] / 1000, -1)
    if procrustes:
        pred = align(pred, true, transform="similarity").apply(pred)
    _check_3dhp(pred, true, stored, stored[f"metrics_procrustes{int(procrustes)}"], 14)


def test_3dhp__corrected_equals_the_original(shared_parity):
    stored = load(shared_parity, "28_eval_3dhp_later_posepile")
    pred, true = (root_relative(stored[key] / 1000, 14) for key in ("pred17", "true17"))
    _check_3dhp(pred, true, stored, stored["metrics"], 14)


ACTIVITIES = "Stand/Walk", "Exercise", "Sit on Chair", "Reach/Crouch", "On Floor", "Sports", "Misc."
SCENES = "green-screen", "no-green-screen", "outdoor"


def _check_3dhp(pred, true, stored, expected, scored):
    hits = pck_hits(pred[:, :scored], true[:, :scored], threshold=0.15)
    tally = Tally.of(hits, activity=stored["activities"], scene=stored["scenes"])
    activities, scenes = tally.over("activity").means(), tally.over("scene").means()
    auc = percent(auc_scores(pred[:, :scored], true[:, :scored], thresholds=STEPS))
    found = [100 * activities[(name,)] for name in ACTIVITIES] + [100 * scenes[(name,)] for name in SCENES]
    found += [float(percent(hits)), float(auc), float(mpjpe_mm(pred, true))]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_3dpw__equals_the_original_to_the_digits_that_it_printed(shared_parity):
    stored = load(shared_parity, "16_eval_3dpw")
    true, pred = (root_relative(stored[key].double() / 1000, 0) for key in ("true", "pred"))
    limbs = [1, 2, 4, 5, 7, 8, *range(16, 22)]
    near, far = pred[:, limbs], true[:, limbs]
    steps = torch.linspace(0, 0.199, 51, dtype=torch.float64)
    found = [
        float(mpjpe_mm(pred, true)),
        float(pa_mpjpe_mm(pred, true)),
        float(percent(pck_hits(near, far, threshold=0.05, inclusive=True))),
        float(percent(auc_scores(near, far, thresholds=steps, rule="trapezoid"))),
    ]
    np.testing.assert_allclose(found, stored["mpjpe_pampjpe_pck_auc"], rtol=0, atol=1e-5)


def test_mupots__matched_poses_equal_the_original(shared_parity):
    stored = load(shared_parity, "17_eval_mupots")
    true, pred = (root_relative(stored[key] / 1000, 14) for key in ("matched_true", "matched_pred"))
    sequence = np.repeat(np.arange(20), stored["n_matched"].numpy())
    counts = {
        "mpjpe14": Tally.of(1000 * joint_errors(pred, true)[:, :14], sequence=sequence),
        "mpjpe17": Tally.of(1000 * joint_errors(pred, true), sequence=sequence),
        "pck_matched": Tally.of(100 * pck_hits(pred, true, threshold=0.15)[:, :14], sequence=sequence),
        "auc_matched": Tally.of(100 * auc_scores(pred, true, thresholds=STEPS)[:, :14], sequence=sequence),
    }
    for name, tally in counts.items():
        expected = stored[f"metric__nonuniv__rootrel__norescale__{name}"].numpy()
        means = tally.means()
        found = [means[(str(number),)] for number in range(20)] + [tally.mean_of_means()]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9, err_msg=name)
