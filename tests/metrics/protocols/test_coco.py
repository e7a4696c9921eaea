"""COCO's average precision beside pycocotools."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from marey.core import InputError
from marey.io.predictions import pose_rows
from marey.metrics.protocols.coco import JOINTS, CocoKeypoints, similarities


def crowd_of_people(seed, images=40):
    """Annotations and results with crowds, people without keypoints, misses, doubles and equal scores."""
    source = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, images + 1):
        for _ in range(source.integers(1, 6)):
            size = source.uniform(15, 250)
            corner = source.uniform(0, 400, 2)
            points = corner + size * source.random((17, 2)) * (0.5, 1)
            seen = source.integers(0, 3, 17) * (source.random() > 0.15)
            flat = np.concatenate([points * (seen > 0)[:, None], seen[:, None]], 1).round(2)
            box = [*corner.round(2).tolist(), round(size / 2, 2), round(size, 2)]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "bbox": box,
                    "area": round(0.6 * box[2] * box[3], 2), "iscrowd": int(source.random() < 0.1),
                    "num_keypoints": int((seen > 0).sum()), "keypoints": flat.ravel().tolist(),
                }
            )  # fmt: skip
            for _ in range(source.choice([0, 1, 1, 2, 9])):
                found = points + source.normal(size=(17, 2)) * size * source.choice([0.01, 0.05, 0.15, 0.5])
                results.append(
                    {
                        "image_id": image, "category_id": 1, "score": round(float(source.random()), 1),
                        "keypoints": np.concatenate([found, np.ones((17, 1))], 1).round(2).ravel().tolist(),
                    }
                )  # fmt: skip
    return annotations, results


def rows(annotations, results):
    labels, found = (
        np.array([entry["keypoints"] for entry in entries]).reshape(-1, 17, 3) for entries in (annotations, results)
    )
    boxes = np.array([entry["bbox"] for entry in annotations])
    boxes[:, 2:] += boxes[:, :2]
    return (
        pose_rows(
            keypoint_names=JOINTS,
            sequence=["val"] * len(results),
            frame=[entry["image_id"] for entry in results],
            keypoints=found[..., :2],
            score=[entry["score"] for entry in results],
        ),
        pose_rows(
            keypoint_names=JOINTS,
            sequence=["val"] * len(annotations),
            frame=[entry["image_id"] for entry in annotations],
            keypoints=np.where(labels[..., 2:] > 0, labels[..., :2], np.nan),
            keypoints_visibility=labels[..., 2].astype(int),
            area=[entry["area"] for entry in annotations],
            box=boxes,
            crowd=[entry["iscrowd"] for entry in annotations],
        ),
    )


def pycocotools_values(annotations, results, folder):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    images = sorted({entry["image_id"] for entry in [*annotations, *results]})
    document = {
        "images": [{"id": image, "width": 640, "height": 640} for image in images],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    (folder / "labels.json").write_text(json.dumps(document), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(folder / "labels.json"))
        scored = evaluation.COCOeval(truth, truth.loadRes([dict(entry) for entry in results]), "keypoints")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    names = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")
    return dict(zip(names, 100 * scored.stats, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_values__equal_pycocotools(seed, tmp_path):
    case = crowd_of_people(seed)
    expected = pycocotools_values(*case, tmp_path)
    found = CocoKeypoints().score(*rows(*case)).values
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_values__without_large_people_there_is_no_value_of_them(tmp_path):
    annotations, results = crowd_of_people(5)
    small = [entry | {"area": min(entry["area"], 5000.0)} for entry in annotations]
    found = CocoKeypoints().score(*rows(small, results))
    expected = pycocotools_values(small, results, tmp_path)
    assert expected["ap_large"] == -100  # how pycocotools says that there is none
    assert "ap_large" not in found.values
    assert found.values["ap_medium"] == pytest.approx(expected["ap_medium"], abs=1e-9)
    assert found.notes == ("nobody of large size has keypoints, so there is no AP of that size",)


def test_similarities__of_a_known_offset():
    truth = torch.zeros(1, 17, 2, dtype=torch.float64)
    visible = torch.zeros(1, 17, dtype=torch.bool)
    visible[0, 5] = True  # the left shoulder, spread 0.079
    area, box = torch.tensor([10000.0], dtype=torch.float64), torch.tensor([[0.0, 0, 100, 100]], dtype=torch.float64)
    found = similarities(truth + torch.tensor([15.8, 0.0], dtype=torch.float64), truth, visible, area, box)
    # (15.8 / (2 0.079))^2 / 10000 / 2 = 0.5
    assert float(found) == pytest.approx(np.exp(-0.5), rel=1e-12)


def test_values__images_without_people_or_detections_equal_pycocotools(tmp_path):
    annotations, results = crowd_of_people(6)
    annotations = [entry for entry in annotations if entry["image_id"] not in (3, 40)]
    results = [entry for entry in results if entry["image_id"] not in (5, 39)]
    predictions, labels = rows(annotations, results)
    empty = labels[np.array([0, 1])]
    merged = pose_rows(
        keypoint_names=JOINTS,
        sequence=[*labels.sequence, "val", "val"],
        frame=[*labels.frame, 3, 40],
        person=[*labels.person, -1, -1],
        **{name: np.concatenate([array, empty.values[name]]) for name, array in labels.values.items()},
    )
    found = CocoKeypoints().score(predictions, merged).values
    for name, value in pycocotools_values(annotations, results, tmp_path).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_score__detections_of_unknown_images_are_refused():
    predictions, labels = rows(*crowd_of_people(0))
    with pytest.raises(InputError, match=r"are of images that the labels lack, rows .*val frame 3 person 0"):
        CocoKeypoints().score(predictions, labels[labels.frame != 3])


def test_score__detections_that_are_not_finite_are_refused():
    predictions, labels = rows(*crowd_of_people(0))
    predictions.values["keypoints"][7, 3, 0] = np.nan
    with pytest.raises(InputError, match="'keypoints' is not finite in 1 rows, rows 7"):
        CocoKeypoints().score(predictions, labels)


def test_score__labels_without_keypoints_are_refused():
    predictions, labels = rows(*crowd_of_people(0))
    labels.values["keypoints_visibility"][:] = 0
    with pytest.raises(InputError, match="nobody has keypoints"):
        CocoKeypoints().score(predictions, labels)
