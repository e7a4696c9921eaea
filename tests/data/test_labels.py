import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, FormatError, InputError, ShapeError, Skeleton, skeleton
from marey.data.labels import (
    Images,
    Labels,
    join_labels,
    joints_in_camera,
    read_labels,
    rows_to_score,
    with_keypoints,
    write_labels,
)
from marey.data.labels.joining import with_skeleton

STICK = Skeleton("stick", ("pelvis", "head"), ((0, 1),))


def two_cameras() -> Cameras:
    """Left looks along +z from the origin; right, at (0, 0, 4), looks back along -z."""
    turned = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    return Cameras(
        intrinsics=torch.tensor([[[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]] * 2, dtype=torch.float64),
        distortion=torch.zeros(2, 5, dtype=torch.float64),
        image_size=torch.tensor([[100.0, 80]] * 2, dtype=torch.float64),
        rotation=torch.stack((torch.eye(3, dtype=torch.float64), turned)),
        translation=torch.tensor([[0.0, 0, 0], [0, 0, 4]], dtype=torch.float64),
        names=("left", "right"),
    )


def example(**changes) -> Labels:
    """Two cameras at frame 0, the left one alone at frame 5; person 3 in all, person 1 on the left at frame 0."""
    images = Images(
        path=np.array(["l/0.jpg", "r/0.jpg", "l/5.jpg"]),
        size=np.array([[100, 80]] * 3),
        camera=np.array([0, 1, 0]),
        sequence=np.array(["walk", "walk", "walk"]),
        frame=np.array([0, 0, 5]),
        moment=np.array([0, 0, 1]),
    )
    joints = np.array([[[0, 0, 2], [0, -0.5, 2]]] * 4, dtype=np.float64)
    joints[1] += [0.2, 0, 0]
    values = {"joints": joints, "subject": np.array(["S3", "S1", "S3", "S3"])}
    table = Labels(
        name="set",
        version="2",
        skeleton=STICK,
        images=images,
        split=np.array(["train", "train", "test"]),
        image=np.array([0, 0, 1, 2]),
        person=np.array([3, 1, 3, 3]),
        values=values,
        cameras=two_cameras(),
    )
    return replace(table, **changes)


def test_by_moment__one_row_a_person_and_moment_one_column_a_view():
    assert example().by_moment().tolist() == [[1, -1], [0, 2], [3, -1]]


def test_by_moment__columns_are_ranks_within_cameras_that_film_together():
    # cameras 4 and 7 share moment 0, 7 and 9 share moment 1; camera 5 films alone
    images = Images(
        path=np.array(["", "", "", "", ""]),
        size=np.zeros((5, 2), np.int64),
        camera=np.array([7, 4, 9, 7, 5]),
        sequence=np.array(["a"] * 5),
        frame=np.arange(5),
        moment=np.array([0, 0, 1, 1, 2]),
    )
    assert images.views().tolist() == [1, 0, 2, 1, 0]
    assert replace(images, view=np.array([3, 0, 1, 0, 0])).views().tolist() == [3, 0, 1, 0, 0]


def test_by_moment__a_person_twice_in_a_view_is_an_error():
    table = example()
    twice = replace(table, images=replace(table.images, camera=np.array([0, 0, 0])))
    with pytest.raises(InputError, match=r"row 2 show a person twice in one view at one moment"):
        twice.by_moment()


def test_joints_in_camera__and_keypoints_where_none_are_labelled():
    table = example(values={"joints": example().values["joints"]})
    np.testing.assert_allclose(joints_in_camera(table)[2], [[0, 0, 2], [0, -0.5, 2]], atol=1e-12)
    np.testing.assert_allclose(joints_in_camera(table)[1], [[0.2, 0, 2], [0.2, -0.5, 2]], atol=1e-12)
    labelled = np.full((4, 2, 2), np.nan)
    labelled[0, 1] = [1, 2]
    seen = with_keypoints(replace(table, values={**table.values, "keypoints": labelled})).values["keypoints"]
    np.testing.assert_allclose(seen[0], [[50, 40], [1, 2]])
    np.testing.assert_allclose(seen[1], [[60, 40], [60, 15]])
    without = example(cameras=None, images=replace(example().images, camera=np.full(3, -1)))
    assert set(with_keypoints(without).values) == {"joints", "subject"}


def test_joints_in_camera__without_cameras_is_an_error():
    table = example(cameras=None, images=replace(example().images, camera=np.full(3, -1)))
    with pytest.raises(CalibrationError, match="no cameras to move joints with"):
        joints_in_camera(table)


def test_pose_rows__name_the_camera_where_several_see_the_person():
    rows = rows_to_score(example())
    assert rows.sequence.tolist() == ["walk/left", "walk/left", "walk/right", "walk/left"]
    assert rows.frame.tolist() == [0, 0, 0, 5]
    assert rows.person.tolist() == [3, 1, 3, 3]
    assert rows.benchmark == "set 2"
    assert rows.joint_names == ("pelvis", "head")
    np.testing.assert_array_equal(rows.values["joints"], example().values["joints"])
    assert rows.values["subject"].tolist() == ["S3", "S1", "S3", "S3"]
    left = rows_to_score(example().of_cameras("left"), "camera")
    assert left.sequence.tolist() == ["walk"] * 3
    np.testing.assert_allclose(left.values["joints"][1], [[0.2, 0, 2], [0.2, -0.5, 2]])


def test_selection__by_rows_split_camera_and_subject():
    table = example()
    assert table[np.array([3, 1])].images.path.tolist() == ["l/0.jpg", "l/5.jpg"]
    assert table[np.array([3, 1])].image.tolist() == [1, 0]
    assert table.of_split("test").person.tolist() == [3]
    assert table.of_cameras("right").images.path.tolist() == ["r/0.jpg"]
    assert table.of_subjects("S1").values["subject"].tolist() == ["S1"]
    assert len(table.of_subjects("S1").images) == 1
    empty = replace(table, image=np.zeros(0, int), person=np.zeros(0, int), values={})
    assert len(empty.of_split("train").images) == 2  # images without people stay


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (lambda table: table.of_split("validation"), "no split 'validation'; there are: test, train"),
        (lambda table: table.of_cameras("top"), "no camera 'top'; there are: left, right"),
        (lambda table: table.of_subjects("S9"), "no subject 'S9'; there are: S1, S3"),
    ],
)
def test_selection__of_what_is_not_there_lists_what_is(pick, message):
    with pytest.raises(InputError, match=message):
        pick(example())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": np.array([0, 0, 1, 3])}, InputError, r"image: expected 0 to 2, got 3 in row 3"),
        ({"image": np.zeros(4)}, ShapeError, r"image: expected \(4,\) integers, got \(4,\) of float64"),
        ({"person": np.array([3, 3, 3, 3])}, InputError, r"person: row 1 come twice"),
        ({"split": np.array(["train", "dev", "test"])}, InputError, r"split: expected train, .* got 'dev' in row 1"),
        ({"values": {"joints": np.zeros((4, 3, 3))}}, ShapeError, r"joints: expected \(4, 2, 3\) floating-point"),
        ({"values": {"visible": np.zeros((4, 2))}}, ShapeError, r"visible: expected \(4, 2\) booleans"),
        ({"values": {"box": np.full((4, 4), np.inf)}}, InputError, r"box: infinite in rows 0, 1, 2, 3"),
        ({"values": {"subject": np.arange(4)}}, ShapeError, r"subject: expected \(4,\) text"),
        ({"values": {"other": np.zeros(3)}}, ShapeError, r"other: expected 4 numbers"),
        ({"values": {"other": np.array([None] * 4)}}, ShapeError, r"other: expected 4 numbers"),
        ({"values": {"smpl_pose": np.zeros((4, 72))}}, ShapeError, r"smpl_pose: expected \(4, 69\)"),
        ({"cameras": None}, InputError, r"images.camera: expected -1 to -1, got 0 in rows 0, 1, 2"),
    ],
)
def test_labels__name_the_column_and_row_of_what_is_wrong(changes, error, message):
    with pytest.raises(error, match=message):
        example(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": np.array(["a", "/b", "c"])}, r"images.path: expected a path relative .* got '/b' in row 1"),
        ({"path": np.array(["a\\b", "b", "c"])}, r"images.path: expected a path relative"),
        ({"size": np.array([[1, 1], [-1, 1], [1, 1]])}, r"images.size: negative in row 1"),
        ({"frame": np.array([0, -1, 0])}, r"images.frame: expected 0 or more, got -1 in row 1"),
    ],
)
def test_images__name_the_column_and_row_of_what_is_wrong(changes, message):
    with pytest.raises(InputError, match=message):
        replace(example().images, **changes)


# the file


def archive(**changes) -> bytes:
    """A labels file from the words of its format: one image of one person with two joints."""
    arrays = {
        "format": np.array(1),
        "name": np.array("mine"),
        "version": np.array("7"),
        "skeleton": np.array("stick"),
        "skeleton_note": np.array(""),
        "joint_names.texts": np.frombuffer(b"pelvis\0head\0", np.uint8),
        "joint_names.codes": np.array([0, 1]),
        "links": np.array([[0, 1]]),
        "images_path.texts": np.frombuffer("bäd.jpg\0".encode(), np.uint8),
        "images_path.codes": np.array([0]),
        "images_sequence.texts": np.frombuffer(b"\0", np.uint8),
        "images_sequence.codes": np.array([0]),
        "images_split.texts": np.frombuffer(b"train\0", np.uint8),
        "images_split.codes": np.array([0]),
        "images_size": np.array([[64, 48]]),
        "images_camera": np.array([-1]),
        "images_frame": np.array([0]),
        "images_moment": np.array([0]),
        "row_image": np.array([0]),
        "row_person": np.array([0]),
        "value_keypoints": np.array([[[1.0, 2], [np.nan, np.nan]]]),
        "value_gender.texts": np.frombuffer(b"female\0", np.uint8),
        "value_gender.codes": np.array([0]),
    }
    stream = io.BytesIO()
    np.savez(stream, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return stream.getvalue()


def test_read_labels__a_file_written_from_its_description(tmp_path):
    path = tmp_path / "labels.npz"
    path.write_bytes(archive())
    table = read_labels(path)
    assert (table.name, table.version, table.skeleton.joints, table.skeleton.links) == (
        "mine",
        "7",
        ("pelvis", "head"),
        ((0, 1),),
    )
    assert table.images.path.tolist() == ["bäd.jpg"]
    assert table.images.sequence.tolist() == [""]
    assert table.split.tolist() == ["train"]
    assert table.images.size.tolist() == [[64, 48]]
    assert table.values["gender"].tolist() == ["female"]
    np.testing.assert_array_equal(table.values["keypoints"], [[[1, 2], [np.nan, np.nan]]])
    assert table.cameras is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array(2)}, "format 2, this version reads 1"),
        ({"row_image": None}, "the key 'row_image' is missing"),
        ({"images_path.texts": None}, "the key 'images_path.texts' is missing"),
        ({"images_path.codes": np.array([1])}, "expected codes from 0 to 0, got 1 to 1"),
        ({"images_path.codes": np.array([0.0])}, "expected bytes and integers"),
        ({"images_path.texts": np.frombuffer(b"\xff\0", np.uint8)}, "utf-8"),
        ({"row_image": np.array([5])}, "image: expected 0 to 0, got 5 in row 0"),
        ({"value_box": np.zeros((2, 4))}, r"box: expected \(1, 4\)"),
        ({"links": np.array([[0, 9]])}, "a link names a joint that is not there"),
    ],
)
def test_read_labels__what_does_not_fit_is_told(tmp_path, changes, message):
    path = tmp_path / "labels.npz"
    path.write_bytes(archive(**changes))
    with pytest.raises(FormatError, match=message):
        read_labels(path)


def test_read_labels__objects_are_never_unpickled(tmp_path):
    path = tmp_path / "labels.npz"
    path.write_bytes(archive(value_extra=np.array([{"a": 1}], dtype=object)))
    with pytest.raises(FormatError, match="pickled Python objects"):
        read_labels(path)


def test_read_labels__text_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "labels.npz"
    longest = np.frombuffer(b"x" * (1 << 20) + b"\0", np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        with zipfile.ZipFile(io.BytesIO(archive())) as source:
            for name in source.namelist():
                if not name.startswith("images_path"):
                    target.writestr(name, source.read(name))
        for name, array in (("texts", longest), ("codes", np.zeros(1 << 14, np.int64))):
            stream = io.BytesIO()
            np.save(stream, array)
            target.writestr(f"images_path.{name}.npy", stream.getvalue())
    with pytest.raises(FormatError, match="the file is damaged"):
        read_labels(path)


def test_write_labels__keeps_everything_and_no_pickle(tmp_path):
    table = example()
    write_labels(tmp_path / "labels.npz", table)
    with np.load(tmp_path / "labels.npz", allow_pickle=False) as stored:
        assert stored["images_path.texts"].tobytes() == b"l/0.jpg\0r/0.jpg\0l/5.jpg\0"
        assert stored["value_subject.codes"].tolist() == [0, 1, 0, 0]
        assert stored["camera_names.texts"].tobytes() == b"left\0right\0"
        assert all(array.dtype.kind != "O" for array in stored.values())
    again = read_labels(tmp_path / "labels.npz")
    assert again.cameras is not None
    assert again.cameras.names == ("left", "right")
    assert again.cameras.translation.tolist() == [[0, 0, 0], [0, 0, 4]]
    assert again.by_moment().tolist() == table.by_moment().tolist()
    np.testing.assert_array_equal(again.values["joints"], table.values["joints"])


def test_write_labels__no_rows_and_no_text_survive(tmp_path):
    bare = Labels(
        name="none",
        version="",
        skeleton=Skeleton("none", (), ()),
        images=Images(
            path=np.zeros(0, "U1"),
            size=np.zeros((0, 2), np.int64),
            camera=np.zeros(0, np.int64),
            sequence=np.zeros(0, "U1"),
            frame=np.zeros(0, np.int64),
            moment=np.zeros(0, np.int64),
        ),
        split=np.zeros(0, "U1"),
        image=np.zeros(0, np.int64),
        person=np.zeros(0, np.int64),
    )
    write_labels(tmp_path / "labels.npz", bare)
    assert len(read_labels(tmp_path / "labels.npz")) == 0
    assert bare.by_moment().shape == (0, 0)
    assert len(rows_to_score(bare)) == 0


# joining


def test_join_labels__joints_by_name_and_by_synonym():
    ours = Skeleton("a", ("pelvis", "spine"), ())
    theirs = Skeleton("b", ("spine1", "head"), ())
    values = np.arange(4 * 2 * 3, dtype=np.float64).reshape(4, 2, 3)
    first = example(skeleton=ours, values={"joints": values})
    second = example(skeleton=theirs, name="other", values={"joints": values, "score": np.ones(4)})
    both = join_labels([first, second], skeleton=Skeleton("c", ("spine", "head", "pelvis"), ()), name="both")
    assert len(both) == 8
    np.testing.assert_array_equal(both.values["joints"][0], [[3, 4, 5], [np.nan] * 3, [0, 1, 2]])
    np.testing.assert_array_equal(both.values["joints"][4], [[0, 1, 2], [3, 4, 5], [np.nan] * 3])
    np.testing.assert_array_equal(both.values["score"], [np.nan] * 4 + [1] * 4)
    assert both.images.sequence.tolist() == ["set/walk"] * 3 + ["other/walk"] * 3
    assert both.images.moment.tolist() == [0, 0, 1, 2, 2, 3]
    assert both.images.camera.tolist() == [0, 1, 0, 2, 3, 2]
    assert both.by_moment().tolist() == [[1, -1], [0, 2], [3, -1], [5, -1], [4, 6], [7, -1]]
    assert both.version == "set 2, other 2"


def test_join_labels__paths_begin_in_the_folder_of_each():
    table = example(values={"mask": np.array(["m/0.png", "", "m/1.png", "m/2.png"])})
    both = join_labels([table, table], skeleton=STICK, name="both", folders=["one", "../two/"])
    assert both.images.path.tolist()[::3] == ["one/l/0.jpg", "../two/l/0.jpg"]
    assert both.values["mask"].tolist()[:2] == ["one/m/0.png", ""]
    assert both.values["mask"].tolist()[4] == "../two/m/0.png"


def test_join_labels__cameras_of_other_lenses_and_without_places():
    plain = two_cameras()
    lens = Cameras(
        intrinsics=plain.intrinsics.float(),
        distortion=torch.ones(2, 8),
        image_size=plain.image_size.float(),
        fisheye=torch.tensor([True, False]),
    )
    both = join_labels([example(), example(cameras=lens)], skeleton=STICK, name="both").cameras
    assert both is not None
    assert both.distortion.tolist() == [[0] * 8] * 2 + [[1] * 8] * 2
    assert both.fisheye.tolist() == [False, False, True, False]
    assert both.rotation.isfinite().all((1, 2)).tolist() == [True, True, False, False]
    assert both.names == ("left", "right", "0", "1")
    assert both.dtype == torch.float64


def test_join_labels__values_of_other_shapes_are_an_error():
    first = example(values={"extra": np.zeros((4, 2))})
    second = example(values={"extra": np.zeros((4, 3))})
    with pytest.raises(ShapeError, match="extra: differs among the labels to join"):
        join_labels([first, second], skeleton=STICK, name="both")
    with pytest.raises(InputError, match="one folder for each"):
        join_labels([first], skeleton=STICK, name="both", folders=["a", "b"])


def test_with_skeleton__visibility_of_absent_joints_is_false():
    table = example(values={"visible": np.ones((4, 2), bool)})
    assert with_skeleton(table, skeleton("coco_17")).values["visible"].sum() == 0
    assert with_skeleton(table, skeleton("h36m_17")).values["visible"].sum() == 8


@pytest.mark.slow
def test_labels__of_a_million_and_a_half_rows_are_written_and_read_in_seconds(tmp_path):
    rows = 1_500_000
    numbers = np.arange(rows)
    table = Labels(
        name="large",
        version="1",
        skeleton=skeleton("h36m_17"),
        images=Images(
            path=np.char.add(np.char.add("images/", numbers.astype("U7")), ".jpg"),
            size=np.full((rows, 2), 256),
            camera=np.full(rows, -1),
            sequence=np.array(["walking"])[np.zeros(rows, int)],
            frame=numbers,
            moment=numbers // 4,
        ),
        split=np.array(["train"])[np.zeros(rows, int)],
        image=numbers,
        person=np.zeros(rows, int),
        values={"joints": np.zeros((rows, 17, 3), np.float32)},
    )
    write_labels(tmp_path / "labels.npz", table)
    assert (tmp_path / "labels.npz").stat().st_size < 500e6
    again = read_labels(tmp_path / "labels.npz")
    assert again.images.path[-1] == "images/1499999.jpg"
    assert again.by_moment().shape == (375_000, 4)
