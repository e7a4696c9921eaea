"""Label files of Learnable Triangulation and its fork, saved here as those programs save them."""

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.io.h36m_labels import read_cmu_labels, read_h36m_labels, write_h36m_labels

CAMERA = np.dtype(
    [("R", np.float32, (3, 3)), ("t", np.float32, (3, 1)), ("K", np.float32, (3, 3)), ("dist", np.float32, 5)]
)
ROW = np.dtype(
    [
        ("subject_idx", np.int8),
        ("action_idx", np.int8),
        ("frame_idx", np.int16),
        ("keypoints", np.float32, (17, 3)),
        ("bbox_by_camera_tlbr", np.int16, (2, 4)),
    ]
)
CMU_ROW = np.dtype(
    [
        ("action_idx", np.int8),
        ("person_id", np.int8),
        ("frame_name", np.int16),
        ("keypoints", np.float32, (19, 4)),
        ("bbox_by_camera_tlbr", np.int16, (2, 5)),
    ]
)


def cameras(shape):
    found = np.zeros(shape, dtype=CAMERA)
    found["R"], found["t"] = np.eye(3), np.array([[100], [200], [3000]])
    found["K"], found["dist"] = [[1000, 0, 500], [0, 1100, 510], [0, 0, 1]], [-0.2, 0.25, -0.001, -0.002, -0.003]
    return found


def h36m():
    table = np.zeros(3, dtype=ROW)
    table["subject_idx"], table["action_idx"], table["frame_idx"] = [0, 1, 1], [0, 0, 1], [0, 64, 32767]
    table["keypoints"][1] = np.arange(51).reshape(17, 3)
    table["bbox_by_camera_tlbr"][0] = [[20, 10, 70, 60], [0, 0, 0, 0]]
    table["bbox_by_camera_tlbr"][1] = [[-5, 10, 45, 60], [1, 2, 3, 4]]
    return {
        "subject_names": ["S1", "S9"],
        "camera_names": ["54138969", "55011271"],
        "action_names": ["Directions-1", "Greeting-2"],
        "cameras": cameras((2, 2)),
        "table": table,
    }


def cmu(**changed):
    table = np.zeros(2, dtype=CMU_ROW)
    table["person_id"], table["frame_name"] = [0, 4], [300, 37699 - 65536]
    table["keypoints"][:, :, :3] = [50, -120, 30]
    table["keypoints"][:, :, 3] = 0.8
    table["keypoints"][0, 5, 3] = 0
    table["keypoints"][0, 6, 3] = -1
    table["bbox_by_camera_tlbr"][0] = [[10, 20, 60, 90, 0], [0, 0, 0, 0, 0]]  # left, top, right, bottom
    return {
        "camera_names": ["00_03", "00_24"],
        "action_names": ["171204_pose2"],
        "person_ids": [0],
        "cameras": cameras((1, 2)),
        "table": table,
        **changed,
    }


def test_h36m__names_units_and_boxes(tmp_path):
    np.save(tmp_path / "labels.npy", h36m())
    found = read_h36m_labels(tmp_path / "labels.npy")
    assert len(found) == 3
    assert (found.subjects, found.actions) == (("S1", "S9"), ("Directions-1", "Greeting-2"))
    assert found.subject.tolist() == [0, 1, 1]
    assert found.frame.tolist() == [0, 64, 32767]
    assert found.group.tolist() == [0, 1, 1]
    assert found.joints[1, found.skeleton.index("pelvis")].tolist() == pytest.approx([0.018, 0.019, 0.020])
    assert found.joints[1, found.skeleton.index("head")].tolist() == pytest.approx([0.048, 0.049, 0.050])
    assert found.boxes[0, 0].tolist() == [10, 20, 50, 50]
    assert found.boxes[1, 0].tolist() == [10, -5, 50, 50]
    assert np.isnan(found.boxes[0, 1]).all()
    assert found.cameras.names == ("54138969", "55011271")
    assert found.cameras.translation[1, 0].tolist() == pytest.approx([0.1, 0.2, 3.0])
    assert found.cameras.distortion[0, 0].tolist() == pytest.approx([-0.2, 0.25, -0.001, -0.002, -0.003])
    assert found.cameras.image_size.isnan().all()


def test_cmu__people_confidence_and_frames_that_had_overflown(tmp_path):
    np.save(tmp_path / "labels.npy", cmu())
    with pytest.warns(UserWarning, match="1 frames above 32767"):
        found = read_cmu_labels(tmp_path / "labels.npy")
    assert found.frame.tolist() == [300, 37699]
    assert found.person.tolist() == [0, 4]
    assert found.subjects == ()
    assert found.group.tolist() == [0, 0]
    assert found.skeleton.joints[15:] == ("left_eye", "left_ear", "right_eye", "right_ear")
    assert found.joints[0, 0].tolist() == pytest.approx([0.5, -1.2, 0.3])
    assert np.isnan(found.joints[0, [5, 6]]).all()
    assert found.boxes[0, 0].tolist() == [10, 20, 50, 70]
    assert np.isnan(found.boxes[0, 1]).all()
    assert found.cameras.translation[0, 0].tolist() == pytest.approx([1, 2, 30])  # centimetres


def changed_table(field, value):
    content = h36m()
    content["table"][field][0] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"table": np.zeros(3)}, "lacks subject_names"),
        ([1, 2], "expected one dict"),
        ({**h36m(), "table": np.zeros((3, 4))}, "expected an array of records"),
        ({**h36m(), "table": h36m()["table"][["subject_idx", "action_idx", "frame_idx"]]}, "lacks keypoints"),
        ({**h36m(), "cameras": cameras((2, 3))}, r"expected \(2, 2\) of these names, got \(2, 3\)"),
        ({**h36m(), "camera_names": ["54138969"]}, r"expected \(N, 1, 4\)"),
        ({**h36m(), "subject_names": "S1"}, "expected a list of text"),
        (changed_table("subject_idx", 7), r"'subject_idx' of rows \[0\] is 7, expected 0 to 1"),
        (cmu(), "lacks subject_names"),
    ],
)
def test_h36m__other_content_is_a_typed_error(tmp_path, content, message):
    np.save(tmp_path / "labels.npy", content, allow_pickle=True)
    with pytest.raises(FormatError, match=message):
        read_h36m_labels(tmp_path / "labels.npy")


def test_h36m__written_and_read_by_the_program_itself(tmp_path):
    np.save(tmp_path / "labels.npy", h36m())
    write_h36m_labels(tmp_path / "again.npy", read_h36m_labels(tmp_path / "labels.npy"))
    content, expected = np.load(tmp_path / "again.npy", allow_pickle=True).item(), h36m()
    assert {key: content[key] for key in ("subject_names", "camera_names", "action_names")} == {
        key: expected[key] for key in ("subject_names", "camera_names", "action_names")
    }
    assert content["table"].dtype == expected["table"].dtype
    assert (content["table"] == expected["table"]).all()
    assert content["cameras"].dtype == expected["cameras"].dtype
    for field in ("R", "K", "dist"):
        assert (content["cameras"][field] == expected["cameras"][field]).all()
    np.testing.assert_allclose(content["cameras"]["t"], expected["cameras"]["t"], rtol=1e-6)


def test_h36m__frames_beyond_the_format_are_refused(tmp_path):
    np.save(tmp_path / "labels.npy", cmu())
    with pytest.warns(UserWarning, match="above 32767"):
        found = read_cmu_labels(tmp_path / "labels.npy")
    with pytest.raises(InputError):
        write_h36m_labels(tmp_path / "again.npy", found)
