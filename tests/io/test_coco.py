"""COCO keypoints: annotations and results, against files written by hand."""

import json

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError, Keypoints2D, ShapeError, skeleton
from marey.io.coco import read_coco_annotations, read_coco_results, write_coco_results

NOSE, LEFT_EYE, RIGHT_ANKLE = 0, 1, 16
TRIPLES = [[10, 20, 2], [12.5, 18, 1], *[[0, 0, 0]] * 14, [30, 90, 2]]
FLAT = [number for triple in TRIPLES for number in triple]


def annotations(**changes):
    person = {
        "id": 7,
        "image_id": 785,
        "category_id": 1,
        "keypoints": FLAT,
        "num_keypoints": 3,
        "bbox": [5, 10, 40, 85],
        "area": 1234.5,
        "iscrowd": 0,
    }
    dog = {"id": 8, "image_id": 785, "category_id": 18, "bbox": [1, 2, 3, 4]}
    return {
        "images": [{"id": 785, "file_name": "000000000785.jpg", "width": 640, "height": 425}],
        "annotations": [person | changes, dog],
        "categories": [{"id": 1, "name": "person"}],
    }


def written(tmp_path, document):
    (tmp_path / "coco.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return tmp_path / "coco.json"


def test_read_coco_annotations__by_hand(tmp_path):
    found = read_coco_annotations(written(tmp_path, annotations()))
    assert found.positions.shape == (1, 17, 2)
    assert found.positions[0, LEFT_EYE].tolist() == [12.5, 18]
    assert found.positions[0, RIGHT_ANKLE].tolist() == [30, 90]
    assert np.isnan(found.positions[0, 2:16]).all()
    assert found.visibility[0].tolist() == [2, 1, *[0] * 14, 2]
    assert found.boxes.tolist() == [[5, 10, 45, 95]]
    assert (found.ids.tolist(), found.image_ids.tolist(), found.area.tolist()) == ([7], [785], [1234.5])
    assert found.images == {785: ("000000000785.jpg", 640, 425)}
    assert not found.crowd.any()


@pytest.mark.realdata
def test_read_coco_annotations__of_the_data_set(shared_data):
    found = read_coco_annotations(shared_data / "images" / "coco_annotations.json")
    assert 785 in found.image_ids


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "not COCO annotations"),
        (annotations(keypoints=[1, 2, 3]), "'keypoints' of some entry is not 51"),
        (annotations(keypoints=["a"] * 51), "'keypoints' of some entry is not 51"),
        (annotations(keypoints=[0.7] * 51), "are these results"),
        (annotations(id="x"), "'id' of some entry"),
        (annotations(bbox=[1, 2]), "'bbox'"),
        (annotations() | {"images": [{"id": 1}]}, "an image has no"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_read_coco_annotations__malformed(tmp_path, document, message):
    with pytest.raises(FormatError, match=message):
        read_coco_annotations(written(tmp_path, document))


def test_read_coco_results__by_hand(tmp_path):
    entry = {"image_id": 42, "category_id": 1, "keypoints": FLAT, "score": 0.75}
    found = read_coco_results(written(tmp_path, [entry]))
    assert found.positions[0, NOSE].tolist() == [10, 20]
    assert found.joint_scores[0, LEFT_EYE] == 1
    assert (found.scores.tolist(), found.image_ids.tolist()) == ([0.75], [42])


def test_read_coco_results__of_annotations(tmp_path):
    with pytest.raises(FormatError, match="not COCO results"):
        read_coco_results(written(tmp_path, annotations()))


def people(names, positions, score):
    return Keypoints2D(
        positions=torch.tensor(positions),
        covariance=torch.ones(*torch.tensor(score).shape, 2, 2),
        score=torch.tensor(score),
        skeleton=skeleton(names),
    )


def test_write_coco_results__another_skeleton_and_missing_joints(tmp_path):
    halpe = skeleton("halpe_26")
    positions = torch.full((2, 26, 2), torch.nan)
    positions[0, halpe.index("right_ankle")] = torch.tensor([30.0, 90.125])
    positions[0, halpe.index("nose")] = torch.tensor([10.0, 20.0])
    score = torch.zeros(2, 26)
    score[0, halpe.index("right_ankle")], score[0, halpe.index("nose")] = 0.5, 1.0
    write_coco_results(tmp_path / "r.json", people("halpe_26", positions.tolist(), score.tolist()), [3, 4])
    document = json.loads((tmp_path / "r.json").read_text())
    assert document == [
        {
            "image_id": 3,
            "category_id": 1,
            "keypoints": [10.0, 20.0, 1.0, *[0.0] * 45, 30.0, 90.125, 0.5],
            "score": 0.75,
        }
    ]


def test_write_coco_results__errors(tmp_path):
    one = people("h36m_17", [[[1.0, 2.0]] * 17], [[1.0] * 17])
    with pytest.raises(InputError, match="no joint 'nose'"):
        write_coco_results(tmp_path / "r.json", one, [1])
    with pytest.raises(ShapeError, match="N image ids"):
        write_coco_results(tmp_path / "r.json", one, [1, 2])


def test_coco__cut_anywhere(tmp_path):
    text = json.dumps(annotations())
    for end in range(len(text)):
        with pytest.raises(FormatError):
            read_coco_annotations(written(tmp_path, text[:end]))
