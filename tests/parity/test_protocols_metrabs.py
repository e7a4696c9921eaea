"""MeTRAbs's evaluation programs (2020-11 and later) on random poses: every number they printed."""

import numpy as np
import pytest
import torch

from marey.io.predictions import pose_rows
from marey.metrics.protocols import association, human36m, mpi_inf_3dhp, mupots, pw3d
from marey.metrics.protocols.smoothing import completed_track, smoothed_track

pytestmark = pytest.mark.realdata

EXACT = {"rtol": 0, "atol": 1e-9}


def load(shared_parity, name):
    with np.load(shared_parity / "metrabs" / f"{name}.npz") as arrays:
        return dict(arrays)


def rows(millimetres, names, **values):
    count = len(millimetres)
    metres = {key: value / 1000 for key, value in values.pop("metres", {}).items()}
    return pose_rows(
        millimetres / 1000, joint_names=names, sequence=["all"] * count, frame=range(count), **metres, **values
    )


METRABS_H36M = (
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "neck", "head",
    "head_top", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist", "pelvis",
)  # fmt: skip


@pytest.mark.parametrize("procrustes", [False, True])
def test_human36m__equals_metrabs(shared_parity, procrustes):
    stored = load(shared_parity, "14_eval_h36m")
    found = human36m.MetrabsHuman36M(procrustes=procrustes).score(
        rows(stored["pred_world"], METRABS_H36M),
        rows(stored["true_world"], METRABS_H36M, action=stored["activities"]),
    )
    name = "pa_mpjpe_mm" if procrustes else "mpjpe_mm"
    by_action = [found.groups[f"{name}/action"][action] for action in stored["activity_order"]]
    expected = stored[f"metrics_procrustes{int(procrustes)}"]
    np.testing.assert_allclose([*by_action, found.values[name]], expected, **EXACT)


def listed(found):
    activities = [found.groups["pck/activity"][name] for name in mpi_inf_3dhp.ACTIVITIES]
    scenes = [found.groups["pck/scene"][name] for name in mpi_inf_3dhp.SCENES]
    return [*activities, *scenes, found.values["pck"], found.values["auc"], found.values["mpjpe_mm"]]


@pytest.mark.parametrize("procrustes", [False, True])
def test_3dhp__as_shipped_equals_metrabs(shared_parity, procrustes):
    stored = load(shared_parity, "15_eval_3dhp_nov2020")
    names = mpi_inf_3dhp.SHIPPED_JOINTS
    found = mpi_inf_3dhp.MpiInf3dhp(as_shipped=True, procrustes=procrustes).score(
        rows(stored["pred14"], names),
        rows(stored["true14"], names, activity=stored["activities"], scene=stored["scenes"]),
    )
    np.testing.assert_allclose(listed(found), stored[f"metrics_procrustes{int(procrustes)}"], **EXACT)


def test_3dhp__corrected_equals_the_successor(shared_parity):
    stored = load(shared_parity, "28_eval_3dhp_later_posepile")
    names = mpi_inf_3dhp.JOINTS
    found = mpi_inf_3dhp.MpiInf3dhp().score(
        rows(stored["pred17"], names),
        rows(stored["true17"], names, activity=stored["activities"], scene=stored["scenes"]),
    )
    np.testing.assert_allclose(listed(found), stored["metrics"], **EXACT)


def crowd(stored, key, *, names, **arrays):
    """Rows of people that the file counts by sequence and frame."""
    counts = stored[f"{key}_counts_seq_frame"]
    sequences, frames = np.indices(counts.shape).reshape(2, -1)
    repeat = counts.reshape(-1)
    return pose_rows(
        joint_names=names,
        sequence=[f"TS{place + 1:02}" for place in np.repeat(sequences, repeat)],
        frame=np.repeat(frames, repeat),
        **arrays,
    )


@pytest.fixture(scope="module")
def mupots_case(shared_parity):
    stored = load(shared_parity, "17_eval_mupots")
    names = mupots.JOINTS
    labels = crowd(
        stored,
        "true3d",
        names=names,
        joints=stored["true3d"] / 1000,
        joints_universal=stored["true3d_univ"] / 1000,
        keypoints=stored["true2d"],
    )
    predictions = crowd(stored, "pred3d", names=names, joints=stored["pred3d"] / 1000, keypoints=stored["pred2d"])
    return stored, predictions, labels


def test_mupots__matches_the_same_people(mupots_case):
    stored, predictions, labels = mupots_case
    match = mupots.match_people(predictions, labels)
    assert (match >= 0).sum() == len(stored["matched_true"])
    np.testing.assert_allclose(labels.values["joints"][match >= 0] * 1000, stored["matched_true"], **EXACT)
    found = predictions.values["joints"][match[match >= 0]]
    np.testing.assert_allclose(found * 1000, stored["matched_pred"], **EXACT)


def test_mupots__rescales_the_same_bones(mupots_case):
    stored, _, _ = mupots_case
    found = mupots.rescale_bones(torch.from_numpy(stored["matched_pred"]), torch.from_numpy(stored["matched_true"]))
    np.testing.assert_allclose(found.numpy(), stored["rescaled_pred_to_true"], **EXACT)


def test_mupots__every_variant_equals_metrabs(mupots_case):
    stored, predictions, labels = mupots_case
    found = mupots.MuPoTS().score(predictions, labels)
    words = {
        "univ": "universal", "nonuniv": "metric", "rootrel": "relative", "nonrootrel": "absolute",
        "rescale": "rescaled", "norescale": "raw", "pck_all_anno": "pck_all", "auc_all_anno": "auc_all",
    }  # fmt: skip
    words |= {f"mpjpe{count}": f"mpjpe{count}_mm" for count in (14, 16, 17)}
    checked = 0
    for key in [key for key in stored if key.startswith("metric__")]:
        name = "/".join(words.get(part, part) for part in key.split("__")[1:])
        values = [*found.groups[name].values(), found.values[name]]
        np.testing.assert_allclose(values, stored[key], **EXACT, err_msg=key)
        checked += 1
    assert checked == 56
    assert found.values["recall"] == pytest.approx(100 * stored["recall"], abs=1e-9)


def test_3dpw__equals_metrabs(shared_parity):
    stored = load(shared_parity, "16_eval_3dpw")
    case = [
        pose_rows(stored[key].astype(np.float64) / 1000, joint_names=pw3d.JOINTS, sequence=["s"] * 60, frame=range(60))
        for key in ("pred", "true")
    ]
    found = pw3d.Pw3d().score(*case).values
    printed = [found[name] for name in ("mpjpe_mm", "pa_mpjpe_mm", "pck", "auc")]
    np.testing.assert_allclose(printed, stored["mpjpe_pampjpe_pck_auc"], rtol=0, atol=5.1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_smoothed_track__equals_metrabs(shared_parity, causal):
    stored = load(shared_parity, "16_eval_3dpw")
    found = smoothed_track(torch.from_numpy(stored["tracks"]), causal=causal)
    expected = stored["causal_smooth" if causal else "acausal_smooth"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)  # its weights are of single precision


def test_completed_track__equals_metrabs(shared_parity):
    stored = load(shared_parity, "26_video_inference_functions")["complete_track"]
    track = torch.full((5, 3, 3), torch.nan, dtype=torch.float64)
    track[0], track[2] = torch.from_numpy(stored[0]), torch.from_numpy(stored[2])
    np.testing.assert_array_equal(completed_track(track).numpy(), stored)


def test_track_agreement__equals_metrabs(shared_parity):
    stored = load(shared_parity, "26_video_inference_functions")
    short = {
        "left_shoulder": "lsho", "right_shoulder": "rsho", "left_elbow": "lelb", "right_elbow": "relb",
        "left_hip": "lhip", "right_hip": "rhip", "left_knee": "lkne", "right_knee": "rkne",
    }  # fmt: skip
    places = [stored["names2d"].tolist().index(short[name]) for name in association.JOINTS]
    keypoints = torch.from_numpy(stored["assoc_true2d"])[:, places]
    found = association.track_agreement(keypoints[..., :2], keypoints[..., 2], torch.from_numpy(stored["assoc_pred2d"]))
    np.testing.assert_allclose(found.numpy(), stored["pose2d_auc_matrix"], **EXACT)
    given = stored["assoc_pred2d"][found.argmax(1)]
    np.testing.assert_array_equal(given, stored["assoc_prev"])  # both are in their place
