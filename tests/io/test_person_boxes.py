import json
import pickle

import numpy as np
import pytest

from marey.core import FormatError, ShapeError
from marey.io.person_boxes import boxes_of_image, read_person_boxes, write_person_boxes

BOXES = {"S1/Seq1/img_0.jpg": [[1.0, 2.0, 3.0, 4.0, 0.5], [5, 6, 7, 8, 1]], "empty.jpg": []}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickle__of_any_protocol(tmp_path, protocol):
    path = tmp_path / "yolov3_detections.pkl"
    path.write_bytes(pickle.dumps(BOXES, protocol=protocol))
    found = read_person_boxes(path)
    np.testing.assert_array_equal(found["S1/Seq1/img_0.jpg"], [[1, 2, 3, 4, 0.5], [5, 6, 7, 8, 1]])
    assert found["empty.jpg"].shape == (0, 5)


def test_pickle__of_arrays_and_bytes(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({b".\\a\\b.jpg": np.float32([[1, 2, 3, 4, 0.5]])}))
    assert read_person_boxes(path)["a/b.jpg"].tolist() == [[1, 2, 3, 4, 0.5]]


def test_pickle__that_is_more_than_data_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(FormatError, match="print"):
        read_person_boxes(path)


def test_json__is_the_same(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(BOXES))
    found = read_person_boxes(path)
    assert found["S1/Seq1/img_0.jpg"][1].tolist() == [5, 6, 7, 8, 1]
    assert boxes_of_image(found, "img_0.jpg", "S1/Seq1/img_0.jpg").shape == (2, 5)
    assert boxes_of_image(found, "nowhere").shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a mapping"),
        ('{"a": [[1, 2, 3, 4]]}', "'a': expected a list of"),
        ('{"a": [[1, 2, 3, 4, "x"]]}', "the boxes of 'a' are no numbers"),
        ('{"a": [[1, 2, 3, 4, NaN]]}', "'a': expected a list of"),
        ('{"a": [[1, 2, 3, 4, 5]', "not JSON"),
    ],
)
def test_json__damaged(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_person_boxes(tmp_path / "a.json")


def test_write__is_json_by_image(tmp_path):
    write_person_boxes(tmp_path / "a.json", {"a.jpg": np.array([[1, 2, 3, 4, 0.5]]), "b.jpg": np.empty((0, 5))})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a.jpg": [[1.0, 2.0, 3.0, 4.0, 0.5]], "b.jpg": []}
    with pytest.raises(ShapeError, match=r"'a.jpg': expected finite"):
        write_person_boxes(tmp_path / "b.json", {"a.jpg": np.zeros((1, 4))})
