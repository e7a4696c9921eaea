"""3DPW's conventions where they part, and the smoothing of tracks."""

import numpy as np
import pytest
import torch

from marey.core import InputError, ShapeError
from marey.core.skeletons import skeleton
from marey.io.predictions import pose_rows
from marey.metrics.protocols.lsp14 import Lsp14
from marey.metrics.protocols.pw3d import JOINTS, Pw3d
from marey.metrics.protocols.smoothing import completed_track, smoothed_track

POSE = np.random.default_rng(0).normal(scale=0.3, size=(24, 3))
LSP = (*skeleton("lsp_14").joints, "pelvis")


def one(joints, names=JOINTS, **values):
    return pose_rows(np.array(joints)[None], joint_names=names, sequence=["s"], frame=[0], **values)


def off(*pairs):
    found = POSE.copy()
    for joint, millimetres in pairs:
        found[joint, 0] += millimetres / 1000
    return found


def test_pck__counts_limbs_up_to_50_mm():
    # right_elbow 19 is a limb, neck 12 is not; the pelvis brings everything together.
    found = Pw3d().score(one(off((19, 51), (12, 500))), one(POSE)).values
    assert found["pck"] == pytest.approx(100 * 11 / 12)
    assert found["mpjpe_mm"] == pytest.approx(551 / 24)
    assert Pw3d().score(one(off((19, 49.999), (12, 500))), one(POSE)).values["pck"] == 100


def test_auc__challenge_by_hand():
    # Twelve limbs, one off by 100.5 mm: its share rises from 0 to 1 between the thresholds 100 and 101.
    found = Pw3d(program="challenge").score(one(off((19, 100.5))), one(POSE)).values
    assert found["auc"] == pytest.approx(100 * (11 + (199 - 100.5) / 199) / 12, rel=1e-9)


def test_auc__metrabs_by_hand():
    # The same joint lies in the 26th of 50 bins of 3.98 mm, whose middle is 25.5 / 50, the others in the first.
    found = Pw3d().score(one(off((19, 100.5))), one(POSE)).values
    assert found["auc"] == pytest.approx(100 * (11 * (1 - 0.5 / 50) + 1 - 25.5 / 50) / 12, rel=1e-9)


def test_challenge__a_pose_without_extent_gets_the_mean_of_the_truth():
    spread = 1000 * np.linalg.norm(POSE - POSE.mean(0), axis=-1).mean()
    nothing = one(np.zeros((24, 3)))
    scores = Pw3d(program="challenge").score(nothing, one(POSE))
    assert scores.values["pa_mpjpe_mm"] == pytest.approx(spread)
    assert scores.counts["without_extent"] == 1


def lsp_pose(pelvis_offset=0.0):
    joints = np.random.default_rng(1).normal(scale=0.3, size=(15, 3))
    joints[14] = joints[2:4].mean(0) + np.array([pelvis_offset, 0, 0])
    return joints


@pytest.mark.parametrize(("root", "expected"), [("mid_hips", 0.0), ("pelvis", 30.0), ("as_3dnbf", 70.0), ("none", 0.0)])
def test_lsp14__the_root_decides(root, expected):
    """Predicted and true joints are the same, but their pelves lie 100 and 70 mm beside the middle of the hips."""
    found = Lsp14(root=root).score(one(lsp_pose(0.100), LSP), one(lsp_pose(0.070), LSP))
    assert found.values["mpjpe_mm"] == pytest.approx(expected, abs=1e-9)
    assert found.values["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_lsp14__hidden_joints_count_only_where_asked():
    wrong = lsp_pose()
    wrong[6] += (0.5, 0, 0)
    visible = np.ones((1, 15), dtype=bool)
    visible[0, 6] = False
    labels = one(lsp_pose(), LSP, visible=visible)
    assert Lsp14().score(one(wrong, LSP), labels).values["mpjpe_mm"] == pytest.approx(500 / 14)
    seen = Lsp14(visible_only=True).score(one(wrong, LSP), labels)
    assert seen.values["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert seen.values["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert seen.counts["joints"] == 13


def test_lsp14__nothing_visible_at_all_is_refused():
    labels = one(lsp_pose(), LSP, visible=np.zeros((1, 15), dtype=bool))
    with pytest.raises(InputError, match="no joint is visible in rows 0 to 0"):
        Lsp14(visible_only=True).score(one(lsp_pose(), LSP), labels)


def test_lsp14__sequences_of_another_benchmark_are_named():
    labels = one(lsp_pose(), LSP)
    with pytest.raises(InputError, match=r"1 are of no sequence of 3dpw-occ, rows 0 \(s frame 0"):
        Lsp14(name="3dpw-occ", scenes=("courtyard_box",)).score(one(lsp_pose(), LSP), labels)


def test_lsp14__vertices_move_with_the_root():
    mesh = np.random.default_rng(2).normal(size=(1, 50, 3))
    aside = np.array([0.2, 0.0, 0.0])
    moved = mesh + aside
    moved[0, 0] += (0, 0.05, 0)
    found = Lsp14().score(one(lsp_pose() + aside, LSP, vertices=moved), one(lsp_pose(), LSP, vertices=mesh))
    assert found.values["pve_mm"] == pytest.approx(50 / 50)


def test_smoothed_track__weights_of_a_pulse():
    track = torch.zeros(7, 1, 1)
    track[3] = 36.0
    assert smoothed_track(track).flatten().tolist() == pytest.approx([0, 3, 6, 18, 6, 3, 0])
    assert smoothed_track(track, causal=True).flatten().tolist() == pytest.approx([0, 0, 0, 24, 8, 4, 0])


def test_smoothed_track__ends_see_the_track_mirrored():
    track = torch.tensor([12.0, 24.0, 36.0, 48.0])[:, None, None]
    # before the first frame come 12 and 24 again
    assert smoothed_track(track)[0].item() == pytest.approx((24 + 2 * 12 + 6 * 12 + 2 * 24 + 36) / 12)
    assert smoothed_track(track.expand(2, 4, 1, 1)).shape == (2, 4, 1, 1)


def test_smoothed_track__too_little_is_refused():
    with pytest.raises(InputError, match="at least two frames"):
        smoothed_track(torch.zeros(1, 24, 3))
    with pytest.raises(ShapeError, match=r"\(\.\.\., T, J, 3\)"):
        smoothed_track(torch.zeros(24, 3))


def test_completed_track__keeps_what_is_missing_before_the_first():
    track = torch.full((5, 2, 3), torch.nan)
    track[1], track[3] = 1.0, 3.0
    found = completed_track(track)[:, 0, 0]
    assert found.isnan().tolist() == [True, False, False, False, False]
    assert found[1:].tolist() == [1, 1, 3, 3]
