"""The miniature is COCO's annotation file, written out as its description says."""

import json

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.masks import read_mask
from marey.data.prepare import annotated_pictures
from marey.data.prepare.coco import CocoOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import DATA_SETS


def person(identity, image, keypoints, box, **more):
    """Seventeen triples; those not given are zeros, as the file has them."""
    flat = [0] * 51
    for joint, triple in keypoints.items():
        flat[3 * joint : 3 * joint + 3] = triple
    entry = {"id": identity, "image_id": image, "category_id": 1, "bbox": box, "keypoints": flat, "iscrowd": 0}
    return {**entry, "num_keypoints": len(keypoints), "area": 600.0, "segmentation": [], **more}


def document(images, annotations):
    return {
        "images": [
            {"id": identity, "file_name": f"{identity:012d}.jpg", "width": 80, "height": 60} for identity in images
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    square = [[10, 10, 40, 10, 40, 50, 10, 50]]
    train = [
        person(71, 9, {0: (20, 15, 2), 5: (30, 25, 1)}, [10, 10, 30, 40], segmentation=square),
        person(72, 9, {}, [50, 10, 20, 20]),
        person(73, 4, {0: (5, 5, 2)}, [0, 0, 20, 20], iscrowd=1, segmentation={"counts": [4800], "size": [60, 80]}),
        person(74, 4, {16: (60, 55, 2)}, [50, 30, 20, 28]),
        {"id": 75, "image_id": 4, "category_id": 3, "bbox": [0, 0, 9, 9]},
    ]
    crowd = {"counts": [4800], "size": [60, 80]}
    validation = [
        person(81, 2, {0: (20, 15, 2)}, [10, 10, 30, 40]),
        person(82, 2, {}, [50, 10, 20, 20], iscrowd=1, segmentation=crowd),
    ]
    for name, found in (("train", document([9, 4, 7], train)), ("val", document([2, 6], validation))):
        (root / "annotations" / f"person_keypoints_{name}2017.json").write_text(json.dumps(found))
        (root / f"{name}2017").mkdir()
        for image in found["images"]:
            cv2.imwrite(str(root / f"{name}2017" / image["file_name"]), np.full((60, 80, 3), 90, np.uint8))
    return root


def prepared(root, **options):
    return prepare_data_set(DATA_SETS["coco"], root, root.parent / "out", CocoOptions(**options), show=False)


def test_prepare__crops_for_training_and_pictures_for_validation(root):
    labels = prepared(root)
    out = root.parent / "out"
    train, validation = labels.of_split("train"), labels.of_split("validation")
    assert train.images.path.tolist() == ["images/coco_000000000009_71.jpg", "images/coco_000000000004_74.jpg"]
    assert train.person.tolist() == [71, 74]
    assert train.values["crowd"].tolist() == [False, False]
    # nothing is enlarged. Of the first the whole upper left of the picture is kept. The second's box, 20 x 28 around
    # (60, 44), is 34.25 high when it is turned by 30 degrees; times 1.1 / 0.85^2 its crop begins at (33.93, 17.93)
    np.testing.assert_allclose(train.values["box"], [[10, 10, 30, 40], [16.07, 12.07, 20, 28]], atol=0.01)
    np.testing.assert_allclose(train.values["keypoints"][0, [0, 5]], [[20, 15], [30, 25]], atol=1e-4)
    assert np.isnan(train.values["keypoints"][0, 1]).all()
    assert train.values["visible"][0].nonzero()[0].tolist() == [0]
    assert train.values["keypoints_visibility"][0, [0, 1, 5]].tolist() == [2, 0, 1]
    assert train.values["mask"].tolist() == ["masks/coco_000000000009_71.png", ""]
    mask = read_mask(out / train.values["mask"][0])
    assert mask.shape == (train.images.size[0, 1], train.images.size[0, 0])
    assert abs(int(mask.sum()) - 30 * 40) <= 2 * (30 + 40)
    assert validation.images.path.tolist() == [
        "../coco/val2017/000000000002.jpg",
        "../coco/val2017/000000000006.jpg",
    ]
    assert validation.images.frame.tolist() == [2, 6]
    assert validation.images.sequence.tolist() == ["coco", "coco"]
    assert validation.person.tolist() == [81, 82]
    assert validation.values["crowd"].tolist() == [False, True]
    assert validation.values["area"].tolist() == [600, 600]
    assert labels.version == "1"


def test_prepare__pictures_with_masks(root):
    labels = prepared(root, splits=("train",), crops=False)
    assert labels.images.frame.tolist() == [4, 7, 9]
    assert labels.images.frame[labels.image].tolist() == [9, 4]
    assert labels.values["mask"].tolist() == ["masks/000000000009_71.png", ""]
    mask = read_mask(root.parent / "out" / "masks" / "000000000009_71.png")
    assert np.argwhere(mask).min(0).tolist() == [10, 10]
    assert np.argwhere(mask).max(0).tolist() == [49, 39]
    assert mask.sum() == 30 * 40


def test_prepare__fewest_joints(root):
    assert prepared(root, splits=("train",), crops=False, masks=False, least_joints=2).person.tolist() == [71]


@pytest.mark.parametrize("missing", ["annotations/person_keypoints_val2017.json", "train2017/000000000009.jpg"])
def test_prepare__a_missing_file_is_named_with_its_source(root, missing):
    (root / missing).unlink()
    with pytest.raises(MissingAssetError, match=r"not found, the .* of COCO keypoints 2017.*cocodataset\.org"):
        prepared(root)


def test_prepare__an_outline_that_is_none_names_its_annotation(root):
    path = root / "annotations" / "person_keypoints_train2017.json"
    found = json.loads(path.read_text())
    found["annotations"][0]["segmentation"] = [[1, 2]]
    path.write_text(json.dumps(found))
    with pytest.raises(FormatError, match=r"train2017\.json: annotation 71: outline: expected polygons"):
        prepared(root)


def test_prepare__an_annotation_of_no_picture_is_told(root):
    path = root / "annotations" / "person_keypoints_train2017.json"
    found = json.loads(path.read_text())
    found["annotations"][0]["image_id"] = 12
    path.write_text(json.dumps(found))
    with pytest.raises(FormatError, match=r"annotation 71 is of picture 12"):
        prepared(root)


def test_prepare__no_split_is_an_error(root):
    with pytest.raises(InputError, match="expected train, validation or both"):
        prepared(root, splits=())


def test_prepare__goes_on_after_the_crop_that_failed(root, monkeypatch):
    monkeypatch.setattr(annotated_pictures, "_CHUNK", 1)
    last = root / "train2017" / "000000000004.jpg"
    picture = last.read_bytes()
    last.unlink()
    with pytest.raises(MissingAssetError, match="000000000004"):
        prepared(root, splits=("train",))
    last.write_bytes(picture)
    (root / "train2017" / "000000000009.jpg").unlink()  # of the first crop, which is done
    labels = prepared(root, splits=("train",))
    assert labels.values["mask"].tolist() == ["masks/coco_000000000009_71.png", ""]
    assert all((root.parent / "out" / path).exists() for path in labels.images.path.tolist())
    assert not (root.parent / "out" / "parts").exists()
