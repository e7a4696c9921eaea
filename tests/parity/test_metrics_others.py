"""Metrics against what the programs of learnable triangulation, HierProb3D, MetaPose and 3DNBF computed."""

import json

import numpy as np
import pytest
import torch

from marey.geometry.alignment import align
from marey.metrics.accumulate import Tally, Total
from marey.metrics.aligned import (
    nmpjpe_errors,
    pa_mpjpe_mm,
    pmpjpe_mm,
    procrustes_errors,
    scale_corrected_errors,
    scaled_errors,
)
from marey.metrics.correct import auc_scores, pck_hits, pckh_hits, percent
from marey.metrics.joints import joint_errors, keypoint_errors, mpjpe_mm, root_relative_errors
from marey.metrics.mesh import pve_mm, pve_pa_mm, pve_sc_mm, pve_t_sc_mm
from marey.metrics.samples import best_of
from marey.metrics.silhouette import silhouette_counts, silhouette_iou

pytestmark = pytest.mark.realdata

EXACT = {"rtol": 0, "atol": 1e-9}


def load(shared_parity, *name):
    with np.load(shared_parity.joinpath(*name)) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


# Learnable triangulation: single precision, means over frames.

SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown",
    "Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkingTogether",
)  # fmt: skip
"""Each in two trials, one after the other."""


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("run", ["human36m_damaged1", "human36m_damaged0", "mpii_damaged1", "mpii_damaged0"])
def test_triangulation__by_subject_and_action_equals_the_original(shared_parity, run, relative):
    stored = load(shared_parity, "triangulation", "metrics.npz")
    table = json.loads((shared_parity / "triangulation" / "metrics.json").read_text(encoding="utf-8"))[run]
    pred, truth = stored[f"pred_{run}"], stored[f"gt_{run}"]
    errors = root_relative_errors(pred, truth, root=6) if relative else joint_errors(pred, truth)
    tally = Tally.of(
        errors,
        subject=[SUBJECTS[place] for place in stored[f"subject_{run}"].tolist()],
        action=[ACTIONS[place // 2] for place in stored[f"action_{run}"].tolist()],
    )
    expected = table["per_pose_error_relative" if relative else "per_pose_error"]
    compared = 0
    for (subject, action), mean in tally.means().items():
        assert mean == pytest.approx(expected[subject][action], abs=2e-5)
        compared += 1
    for (subject,), mean in tally.over("subject").means().items():
        assert mean == pytest.approx(expected[subject]["Average"], abs=2e-5)
    for (action,), mean in tally.over("action").means().items():
        assert mean == pytest.approx(expected["Average"][action], abs=2e-5)
    assert tally.mean() == pytest.approx(expected["Average"]["Average"], abs=2e-5)
    assert compared >= 27
    if relative:
        assert tally.mean() == pytest.approx(float(stored[f"scalar_{run}"]), abs=2e-5)


# HierProb3D


def test_hierprob__alignments_equal_the_original(shared_parity):
    stored = load(shared_parity, "hierprob", "alignment.npz")
    pred, truth = stored["pred"], stored["target"]
    found = align(pred, truth, transform="similarity").apply(pred)
    torch.testing.assert_close(found, stored["procrustes"], **EXACT)
    torch.testing.assert_close(procrustes_errors(pred, truth), (stored["procrustes"] - truth).norm(dim=-1), **EXACT)
    corrected = (stored["scale_translation"] - truth).norm(dim=-1)
    torch.testing.assert_close(scale_corrected_errors(pred, truth), corrected, **EXACT)


@pytest.fixture(scope="module")
def frames():
    """The tracker's inputs, drawn as its README says, in that order."""
    source = np.random.RandomState(2024)
    found = []
    for _ in range(4):
        draw = {
            "tv": 0.3 * source.randn(1, 6890, 3),
            "tt": 0.3 * source.randn(1, 6890, 3),
            "tj": 0.3 * source.randn(1, 14, 3),
            "t2": 256 * source.rand(1, 17, 2),
            "ts": source.rand(1, 64, 64) > 0.5,
        }
        draw |= {
            "pv": 1.1 * draw["tv"] + 0.02 * source.randn(1, 6890, 3),
            "pt": 0.9 * draw["tt"] + 0.02 * source.randn(1, 6890, 3),
            "pj": 1.05 * draw["tj"] + 0.03 * source.randn(1, 14, 3),
            "p2": draw["t2"] + 2 * source.randn(1, 17, 2),
            "ps": source.rand(1, 64, 64) > 0.4,
        }
        draw |= {
            "sv": 1.1 * draw["tv"] + 0.05 * source.randn(5, 6890, 3),
            "st": 0.9 * draw["tt"] + 0.05 * source.randn(5, 6890, 3),
            "sj": 1.05 * draw["tj"] + 0.05 * source.randn(5, 14, 3),
            "s2": draw["t2"][:, None] + 3 * source.randn(1, 5, 17, 2),
            "ss": source.rand(1, 5, 64, 64) > 0.4,
        }
        found.append(draw)
    return {key: torch.from_numpy(np.stack([frame[key] for frame in found])) for key in found[0]}


KINDS = {"": joint_errors, "-SC": scale_corrected_errors, "-PA": procrustes_errors}
FIGURES = {"PVE": ("pv", "tv", "sv"), "PVE-T": ("pt", "tt", "st"), "MPJPE": ("pj", "tj", "sj")}
KNOWN = [(figure, kind) for figure in FIGURES for kind in KINDS if figure + kind != "PVE-T-PA"]


@pytest.mark.parametrize(("figure", "kind"), KNOWN)
def test_hierprob__errors_equal_the_tracker(shared_parity, frames, figure, kind):
    table = json.loads((shared_parity / "hierprob" / "metrics_tracker.json").read_text(encoding="utf-8"))
    single = load(shared_parity, "hierprob", "metrics_tracker_per_frame.npz")
    pred, truth, samples = (frames[key] for key in FIGURES[figure])
    errors = KINDS[kind](pred[:, 0], truth[:, 0])
    torch.testing.assert_close(errors.mean(-1), single[figure + kind], **EXACT)
    assert Total.of(errors).sum == pytest.approx(table["metric_sums"][figure + kind], abs=1e-8)
    best = best_of(KINDS[kind](samples, truth))
    assert Total.of(best).sum == pytest.approx(table["metric_sums"][f"{figure}{kind}_samples_min"], abs=1e-8)
    printed = 1000 * Total.of(best).mean()
    assert printed == pytest.approx(table["printed"][f"{figure}{kind}_samples_min"], abs=0.005001)


def test_hierprob__means_in_millimetres_equal_what_was_printed(shared_parity, frames):
    printed = json.loads((shared_parity / "hierprob" / "metrics_tracker.json").read_text(encoding="utf-8"))["printed"]
    pv, tv, pt, tt, pj, tj = (frames[key][:, 0] for key in ("pv", "tv", "pt", "tt", "pj", "tj"))
    found = {
        "PVE": pve_mm(pv, tv),
        "PVE-SC": pve_sc_mm(pv, tv),
        "PVE-PA": pve_pa_mm(pv, tv),
        "PVE-T-SC": pve_t_sc_mm(pt, tt),
        "MPJPE": mpjpe_mm(pj, tj),
        "MPJPE-PA": pa_mpjpe_mm(pj, tj),
    }
    for name, value in found.items():
        assert float(value) == pytest.approx(printed[name], abs=0.005001), name


def test_hierprob__pixels_equal_the_tracker(shared_parity, frames):
    sums = json.loads((shared_parity / "hierprob" / "metrics_tracker.json").read_text(encoding="utf-8"))["metric_sums"]
    single = load(shared_parity, "hierprob", "metrics_tracker_per_frame.npz")
    points = keypoint_errors(frames["p2"], frames["t2"])
    torch.testing.assert_close(points[:, 0].mean(-1), single["joints2D-L2E"], **EXACT)
    assert Total.of(points).sum == pytest.approx(sums["joints2D-L2E"], abs=1e-8)
    samples = Total.of(keypoint_errors(frames["s2"], frames["t2"][:, :, None]))
    assert samples.sum == pytest.approx(sums["joints2Dsamples-L2E"], abs=1e-8)
    assert samples.count == sums["num_vis_joints2Dsamples"]
    counts = silhouette_counts(frames["ps"], frames["ts"])
    torch.testing.assert_close(counts.iou()[:, 0], single["silhouette-IOU"], **EXACT)
    many = silhouette_counts(frames["ss"], frames["ts"][:, :, None])
    for name in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
        assert int(getattr(counts.total(), name)) == sums[f"num_{name}"]
        assert int(getattr(many.total(), name)) == sums[f"num_samples_{name}"]
    assert float(silhouette_iou(frames["ps"], frames["ts"])) == pytest.approx(0.38, abs=0.005001)


# MetaPose


@pytest.fixture(scope="module")
def metapose(shared_parity):
    return load(shared_parity, "metapose", "metrics.npz")


def in_first_camera(state):
    """Poses of the flat vectors in the frame of the first camera; two rows of its rotation are stored (Zhou 2019)."""
    pose, x, y = state[:, :51].reshape(-1, 17, 3), state[:, 51:54], state[:, 54:57]
    first = x / x.norm(dim=-1, keepdim=True)
    third = torch.linalg.cross(first, y)
    third = third / third.norm(dim=-1, keepdim=True)
    rows = torch.stack((first, torch.linalg.cross(third, first), third), 1)
    return pose @ rows


@pytest.mark.parametrize("state", ["init", "best", "mirrored_x"])
def test_metapose__pmpjpe_equals_the_original(metapose, state):
    pose = metapose["x_mirrored" if state == "mirrored_x" else f"x_{state}"][:, :51].reshape(-1, 17, 3)
    truth = metapose["gt_pose"]
    errors = procrustes_errors(pose, truth, transform="symmetric", reflection=True)
    torch.testing.assert_close(errors.mean(-1), metapose[f"pmpjpe_{state}"], **EXACT)
    assert float(pmpjpe_mm(pose / 1000, truth / 1000)) == pytest.approx(float(metapose[f"pmpjpe_{state}"].mean()))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("state", ["init", "mirrored_x"])
def test_metapose__nmpjpe_and_pck_equal_the_original(metapose, state, mirror):
    pose = in_first_camera(metapose["x_mirrored" if state == "mirrored_x" else "x_init"])
    truth = metapose["gt_pose_cam0"]
    errors = nmpjpe_errors(pose, truth, allow_mirror=mirror)
    key = f"{state}_mirror{int(mirror)}"
    torch.testing.assert_close(errors.mean(-1), metapose[f"nmpjpe_{key}"], **EXACT)
    if state == "init":
        for limit, name in ((150.0, "pck"), (30.0, "pck30")):
            share = 100 * (errors < limit).double().mean(-1)
            torch.testing.assert_close(share, metapose[f"{name}_{key}"].double(), rtol=1e-6, atol=0)


def test_metapose__each_view_alone_equals_the_original(metapose):
    truth = metapose["gt_pose"][:, None] @ metapose["cam_rot"].mT
    found = (
        procrustes_errors(metapose["mono"], truth, transform="symmetric", reflection=True).mean(-1),
        nmpjpe_errors(metapose["mono"], truth).mean(-1),
    )
    torch.testing.assert_close(torch.stack(found, -1), metapose["mono_pmpjpe_nmpjpe"], **EXACT)


def test_metapose__alignment_equals_the_original(shared_parity):
    stored = load(shared_parity, "metapose", "procrustes_stage1.npz")
    a, b = stored["a"], stored["b"]
    there = align(a, b, transform="symmetric", reflection=True)
    torch.testing.assert_close(there.apply(a), stored["a2b"], **EXACT)
    torch.testing.assert_close(there.inverse().apply(b), stored["b2a"], **EXACT)
    torch.testing.assert_close(there.rotation.mT, stored["R"], **EXACT)
    torch.testing.assert_close(there.scale, stored["scale"], **EXACT)
    mirrored = align(a, stored["refl_target"], transform="symmetric", reflection=True)
    assert torch.linalg.det(mirrored.rotation) < 0
    torch.testing.assert_close(mirrored.apply(a), stored["refl_a2b"], **EXACT)


# 3DNBF: errors of visible joints only


@pytest.fixture(scope="module")
def nbf(shared_parity):
    stored = load(shared_parity, "nbf", "metrics.npz")
    for key in ("gt3d_mm", "gt2d"):
        stored[f"visible_{key}"] = torch.where(stored["mask"][..., None], stored[key], torch.nan)
    return stored


def test_nbf__errors_of_visible_joints_equal_the_original(nbf):
    pred, truth = nbf["pred3d_mm"] / 1000, nbf["visible_gt3d_mm"] / 1000
    assert float(mpjpe_mm(pred, truth)) == pytest.approx(float(nbf["mpjpe"]), abs=1e-9)
    assert float(pa_mpjpe_mm(pred, truth)) == pytest.approx(float(nbf["pa_mpjpe"]), abs=1e-9)
    errors = scaled_errors(pred, nbf["gt3d_mm"] / 1000)  # the original's scale is that of all joints
    scaled = 1000 * Total.of(torch.where(nbf["mask"], errors, torch.nan)).mean()
    assert scaled == pytest.approx(float(nbf["scale_mpjpe"]), abs=1e-9)
    for errors, name in ((joint_errors(pred, truth), "mpjpe"), (procrustes_errors(pred, truth), "pa_mpjpe")):
        single = 1000 * errors.nanmean(-1).nan_to_num(0.0)  # the original writes 0 where nothing is visible
        torch.testing.assert_close(single, nbf[f"{name}_per_sample"], rtol=0, atol=1e-5)


def test_nbf__errors_of_all_joints_equal_the_original(nbf):
    pred, truth = nbf["pred3d_mm"] / 1000, nbf["gt3d_mm"] / 1000
    assert float(mpjpe_mm(pred, truth)) == pytest.approx(float(nbf["mpjpe_allvis"]), abs=1e-9)
    assert float(pa_mpjpe_mm(pred, truth)) == pytest.approx(float(nbf["pa_allvis"]), abs=1e-9)


def test_nbf__shares_equal_the_original(nbf):
    hits = pckh_hits(nbf["pred2d"], nbf["gt2d"], head=(12, 13))
    seen = torch.where(nbf["mask"], hits, torch.nan)
    assert float(percent(seen, by_joint=True)) == pytest.approx(float(nbf["pckh"]), abs=1e-9)
    fractions = seen.nanmean(-1).nan_to_num(0.0)
    torch.testing.assert_close(fractions, nbf["pckh_per_sample_correct_fraction"], rtol=0, atol=1e-7)
    pred, truth = nbf["pred3d_mm"], nbf["visible_gt3d_mm"]
    found = percent(pck_hits(pred, truth, threshold=150.0))
    assert float(found) == pytest.approx(float(nbf["pck3d_150"]), rel=1e-6)  # single precision there
    steps = torch.linspace(0, 150, 31, dtype=torch.float64)
    assert float(percent(auc_scores(pred, truth, thresholds=steps))) == pytest.approx(float(nbf["auc3d"]), rel=1e-6)
