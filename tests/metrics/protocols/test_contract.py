"""What holds for every protocol: cards, and errors that name the rows."""

import json

import numpy as np
import pytest

from marey.core import InputError, ShapeError
from marey.io.predictions import pose_rows
from marey.metrics.protocols import PROTOCOLS, ProtocolCard, Scores, protocol
from marey.metrics.protocols.mupots import MuPoTS
from protocol_cases import MISSING_ALLOWED, ONE_TO_ONE, case, changed


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__is_finite_and_goes_into_json(name):
    scores = protocol(name).score(*case(name))
    assert scores.values
    document = json.loads(json.dumps(scores.asdict(), allow_nan=False))
    assert document["card"]["name"] == name
    assert all(document["card"].values())
    assert all(np.isfinite(value) for value in document["values"].values())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__the_order_of_the_rows_does_not_matter(name):
    predictions, labels = case(name)
    order = np.array([3, 0, 5, 1, 4, 2])
    expected = protocol(name).score(predictions, labels).values
    found = protocol(name).score(predictions[order], labels[order[::-1]]).values
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__the_truth_itself_is_perfect(name):
    predictions, labels = case(name)
    keys = [key for key in labels.values if key in predictions.values]
    best = changed(predictions, **{key: labels.values[key] for key in keys})
    for metric, value in protocol(name).score(best, labels).values.items():
        if "best" in metric or "samples" in metric or metric.startswith("universal"):
            continue  # other samples, another skeleton
        if metric in ("nll", "energy_score_mm"):
            continue  # of the stated covariance, which is wide
        if "estimated hips on the true pelvis" in protocol(name).card.alignment and metric != "pa_mpjpe_mm":
            continue  # two different points are brought together
        perfect = 0 if metric.endswith(("_mm", "_px")) else 100
        if metric.startswith("auc") or "/auc" in metric:
            assert value > 95, metric
        else:
            assert value == pytest.approx(perfect, abs=0.01), metric


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in MISSING_ALLOWED])
def test_score__values_that_are_not_finite_are_named(name):
    predictions, labels = case(name)
    key = {"ssp3d": "vertices", "coco-keypoints": "keypoints"}.get(name, "joints")
    broken = predictions.values[key].copy()
    broken[3, 2, 0] = np.nan
    with pytest.raises(InputError, match=rf"predictions: '{key}' is not finite in 1 rows, rows 3 \(\w+ frame 3"):
        protocol(name).score(changed(predictions, **{key: broken}), labels)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__doubled_rows_are_named(name):
    predictions, labels = case(name)
    twice = np.array([0, 1, 2, 3, 4, 5, 2])
    with pytest.raises(InputError, match=r"predictions: 1 rows come twice, rows 2 \(.* frame 2 person 0\)"):
        protocol(name).score(predictions[twice], labels)
    with pytest.raises(InputError, match="labels: 1 rows come twice, rows 2"):
        protocol(name).score(predictions, labels[twice])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__no_rows_are_refused(name):
    predictions, labels = case(name)
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(InputError, match="predictions: no rows; there is nothing to score"):
        protocol(name).score(predictions[none], labels)
    with pytest.raises(InputError, match="labels: no rows"):
        protocol(name).score(predictions[none], labels[none])


@pytest.mark.parametrize("name", ONE_TO_ONE)
def test_score__missing_frames_are_named(name):
    predictions, labels = case(name)
    with pytest.raises(InputError, match=r"predictions: none for 1 labels, rows 3 \(.* frame 3 person 0\)"):
        protocol(name).score(predictions[np.array([0, 1, 2, 4, 5])], labels)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__frames_of_other_labels_are_named(name):
    predictions, labels = case(name)
    with pytest.raises(InputError, match=r"predictions: .* rows 4 \(.* frame 4 person 0\).*another"):
        protocol(name).score(predictions, labels[np.array([0, 1, 2, 3, 5])])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__labels_of_another_version_are_refused(name):
    predictions, labels = case(name)
    with pytest.raises(InputError, match=r"made for the labels 'box v1', rows 0 to 5; these labels are 'box v2'"):
        protocol(name).score(changed(predictions, benchmark="box v1"), changed(labels, benchmark="box v2"))


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in ("ssp3d", "common-joints")])
def test_score__other_joints_are_named(name):
    predictions, labels = case(name)
    key = "keypoint_names" if name == "coco-keypoints" else "joint_names"
    names = getattr(predictions, key)
    missing = "right_wrist"
    other = tuple("tail" if joint == missing else joint for joint in names)
    with pytest.raises(
        InputError, match=r"predictions: '\w+': every row lacks the joints right_wrist; they have .*tail"
    ):
        protocol(name).score(changed(predictions, **{key: other}), labels)


@pytest.mark.parametrize("name", ["mupots", "panoptic-ap", "shelf"])
def test_score__a_sequence_without_any_prediction_is_named(name):
    predictions, labels = case(name)
    with pytest.raises(InputError, match=r"none for the whole of second, rows 3, 4, 5"):
        protocol(name).score(predictions[np.array([0, 1, 2])], labels)


@pytest.mark.parametrize(
    ("name", "side", "key"),
    [
        ("metapose", 0, "rotation"),
        ("metapose", 1, "rotation"),
        ("coco-keypoints", 0, "score"),
        ("coco-keypoints", 1, "area"),
        ("coco-keypoints", 1, "box"),
        ("coco-keypoints", 1, "keypoints_visibility"),
        ("coco-keypoints", 1, "crowd"),
        ("panoptic-ap", 0, "score"),
        ("3dpw-3dnbf", 1, "visible"),
    ],
)
def test_score__an_array_of_another_shape_is_named(name, side, key):
    sides = list(case(name))
    sides[side] = changed(sides[side], **{key: np.ones((6, 2))})
    with pytest.raises(ShapeError, match=f"'{key}': expected"):
        protocol(name).score(*sides)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_score__an_array_that_is_missing_is_named(name):
    predictions, labels = case(name)
    bare = pose_rows(
        joint_names=predictions.joint_names,
        keypoint_names=predictions.keypoint_names,
        sequence=predictions.sequence,
        frame=predictions.frame,
        person=predictions.person,
    )
    with pytest.raises(InputError, match=r"predictions: every row lacks '\w+', which this protocol needs"):
        protocol(name).score(bare, labels)


def test_mupots__a_sequence_in_which_nobody_is_found_is_named():
    predictions, labels = case("mupots")
    far = predictions.values["keypoints"].copy()
    far[3:] += 5000
    with pytest.raises(InputError, match=r"nobody was found in second, rows 3, 4, 5"):
        protocol("mupots").score(changed(predictions, keypoints=far), labels)


def test_mupots__a_sequence_in_which_nobody_is_found_can_be_left_out():
    predictions, labels = case("mupots")
    far = predictions.values["keypoints"].copy()
    far[3:] += 5000
    scores = MuPoTS(unmatched="leave_out").score(changed(predictions, keypoints=far), labels)
    first = np.array([0, 1, 2])
    alone = MuPoTS().score(predictions[first], labels[first])
    assert scores.values["recall"] == 50
    name = "metric/absolute/raw/mpjpe14_mm"
    assert scores.values[name] == alone.values[name]
    assert scores.asdict()["groups"][name] == {"first": alone.values[name], "second": None}
    assert scores.notes == ("left out of the averages, since nobody was found in them: second",)


def test_mupots__nobody_found_anywhere_cannot_be_left_out():
    predictions, labels = case("mupots")
    far = predictions.values["keypoints"] + 5000
    with pytest.raises(InputError, match="nobody was found in first, second"):
        MuPoTS(unmatched="leave_out").score(changed(predictions, keypoints=far), labels)


def test_mupots__of_two_people_the_first_takes_the_detection():
    """Both annotated people are near the one detection: the first in the file gets it, the second is missed."""
    predictions, labels = case("mupots")
    same = pose_rows(
        joint_names=labels.joint_names,
        sequence=["first", "first"],
        frame=[0, 0],
        **{name: array[[0, 0]] for name, array in labels.values.items()},
    )
    found = MuPoTS().score(predictions[np.array([0])], same)
    assert found.per_row["matched"].tolist() == [1, 0]
    name = "metric/relative/raw/pck"
    assert found.values[f"{name}_all"] == pytest.approx(found.values[f"{name}_matched"] / 2)


def test_scores__a_mean_of_nothing_is_refused():
    card = ProtocolCard(name="x", source="y", joints="z", alignment="none", averaging="all")
    with pytest.raises(InputError, match="x: mpjpe_mm came out as no finite number"):
        Scores(card=card, values={"mpjpe_mm": float("nan"), "pck": 3.0})


def test_protocol__an_unknown_name_is_answered_with_a_near_one():
    with pytest.raises(InputError, match="no 'mupot'; did you mean 'mupots'"):
        protocol("mupot")
