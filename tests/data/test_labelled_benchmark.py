"""Prepared data sets as benchmarks: which samples, in which order, and what methods are shown of them."""

import numpy as np
import pytest

from labelled_set import cameras, moments_set, pose_of
from marey.core import InputError, MissingAssetError, skeleton
from marey.data.labelled_benchmark import DataChoice, LabelledBenchmark, prepared_folder
from marey.data.labels import write_labels
from marey.data.moment_table import MomentOptions
from marey.data.prepare.h36m_published import dataset_rows, moment_rows, read_published_labels
from marey.io.h36m_labels import read_h36m_labels

MOMENTS = [
    ("S9", "Greeting-2", 0),
    ("S9", "Greeting-2", 5),
    ("S9", "Walking-1", 0),
    ("S9", "Walking-1", 5),
    ("S9", "Walking-1", 10),
    ("S11", "Walking-2", 0),
]


@pytest.fixture
def folder(tmp_path):
    """Six moments of Human3.6M; the second camera misses the fourth."""
    return moments_set(tmp_path / "h36m", MOMENTS, missing=((3, 1),))


def benchmark(folder, **moments):
    return LabelledBenchmark(folder, DataChoice(moments=MomentOptions(**moments)))


def test_labels__are_one_row_a_sample_in_the_order_of_the_data_set(folder):
    found = benchmark(folder)
    assert list(found.cells) == ["val"]
    rows = found.labels("val")
    assert rows.sequence.tolist() == [f"{subject}/{action}" for subject, action, _ in MOMENTS]
    assert rows.frame.tolist() == [0, 5, 0, 5, 10, 0]
    assert rows.values["action"].tolist() == [action for _, action, _ in MOMENTS]
    assert rows.values["index"].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(rows.values["joints"], [pose_of(sample) for sample in range(6)], atol=1e-6)
    assert rows.benchmark == "h36m in miniature"


def test_samples__show_the_pictures_boxes_and_cameras_of_each(folder):
    observations = list(benchmark(folder).samples("val"))
    # runs end where the sequence changes, and where other cameras see the person
    assert [found.boxes.batch_shape for found in observations] == [
        (2, 2, 1), (2, 1, 1), (1, 1, 1), (2, 1, 1), (2, 1, 1),
    ]  # fmt: skip
    first = observations[0]
    assert first.start == 0
    assert first.cameras.names == ("cam0", "cam1")
    np.testing.assert_allclose(first.cameras.translation, cameras(2).translation)
    assert first.boxes.corners[1, :, 0].tolist() == [[2.0, 4.0, 32.0, 44.0], [3.0, 4.0, 33.0, 44.0]]
    greys = [[int(picture[0, 0, 0]) for picture in source.frames(0, 2)] for source in first.frames]
    assert greys == [[20, 40], [30, 50]]
    assert observations[2].cameras.names == ("cam0",)
    assert first.centers is None


def test_samples__a_part_of_them(folder):
    found = list(benchmark(folder).samples("val", 1, 3))
    assert [observation.boxes.corners[0, :, 0, 0].tolist() for observation in found] == [[3.0], [4.0]]


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"damaged": False}, [0, 5, 10, 0]),
        ({"every": 2}, [0, 0, 10]),
        ({"every": 2, "damaged": False}, [0, 10]),  # the damaged actions go before the others are thinned
        ({"split": "test"}, [0, 5, 0, 5, 10, 0]),
        ({"views": ("1",)}, [0, 5, 0, 10, 0]),
        ({"ignored_views": ("cam0",)}, [0, 5, 0, 10, 0]),
    ],
)
def test_options__choose_samples_as_the_original_does(folder, options, frames):
    found = benchmark(folder, **options)
    (cell,) = found.cells
    assert found.labels(cell).frame.tolist() == frames


def test_options__views_come_by_place_or_name_and_name_the_cell(folder):
    for views in (("1",), ("cam1",)):
        found = benchmark(folder, views=views)
        assert list(found.cells) == ["val_views_cam1"]
        assert all(one.cameras.names == ("cam1",) for one in found.samples("val_views_cam1"))


def test_options__training_moments_are_never_thinned(tmp_path):
    folder = moments_set(tmp_path / "set", MOMENTS, split="train")
    assert len(benchmark(folder, split="train", every=3, damaged=False).labels("train")) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, r"no split 'train'; there are: test"),
        ({"views": ("7",)}, r"views: h36m has no '7'; there are: cam0, cam1, also by place from 0 to 1"),
    ],
)
def test_options__what_is_not_there(folder, options, message):
    with pytest.raises(InputError, match=message):
        benchmark(folder, **options)


def test_labels__lack_samples_that_too_few_views_see(folder):
    with pytest.warns(UserWarning, match="1 of 6 samples are seen by fewer than 2 of these views, and left out"):
        rows = LabelledBenchmark(folder, least_views=2).labels("val")
    assert rows.values["index"].tolist() == [0, 1, 2, 4, 5]  # they keep their numbers
    with pytest.raises(InputError, match=r"no sample is seen by 2 of the views cam1; choose more of them"):
        LabelledBenchmark(folder, DataChoice(moments=MomentOptions(views=("1",))), least_views=2)


def test_labels__without_joints_there_is_nothing_to_score(tmp_path):
    folder = moments_set(tmp_path / "set", MOMENTS[:1], joints=np.full((1, 17, 3), np.nan))
    with pytest.raises(InputError, match="no sample has 3D joints"):
        LabelledBenchmark(folder)


def test_labels__of_panoptic_lack_the_samples_without_a_neck(tmp_path):
    joints = np.tile(np.linspace(0, 1, 19)[:, None], (3, 1, 3))
    joints[1, skeleton("panoptic_19").joints.index("neck")] = np.nan
    moments = [("", "171204_pose5", frame) for frame in (0, 1, 2)]
    folder = moments_set(tmp_path / "cmu", moments, name="cmu", split="validation", bones="panoptic_19", joints=joints)
    assert benchmark(folder).labels("val").frame.tolist() == [0, 2]


def test_cell__must_be_the_one(folder):
    with pytest.raises(InputError, match="no 'train' in h36m; there is: val"):
        benchmark(folder).labels("train")


def test_prepared_folder__is_a_path_or_a_name_below_the_data_root(folder, tmp_path, monkeypatch):
    assert prepared_folder(str(folder)) == folder
    assert prepared_folder(str(folder / "labels.npz")) == folder
    (tmp_path / "root" / "marey").mkdir(parents=True)
    folder.rename(tmp_path / "root" / "marey" / "h36m")
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "root"))
    assert prepared_folder("h36m") == tmp_path / "root" / "marey" / "h36m"
    with pytest.raises(MissingAssetError, match=r"there is no .*cmu.labels\.npz nor .*; prepare the data set"):
        prepared_folder("cmu")


@pytest.mark.parametrize(("damaged", "every"), [(True, 1), (False, 1), (True, 3), (False, 2)])
def test_order__is_that_of_the_originals_data_set(tmp_path, damaged, every):
    """Of a label file by its words: the samples are the rows that the original's loader counts, in its order."""
    subjects, actions = ["S1", "S9", "S11"], ["Greeting-2", "Walking-1"]
    moments = [(s, a, f) for s in (0, 1, 2) for a in (0, 1) for f in (0, 5, 10)]
    fields = [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2"), ("keypoints", "f4", (17, 3))]
    table = np.zeros(len(moments), dtype=[*fields, ("bbox_by_camera_tlbr", "i2", (2, 4))])
    table["subject_idx"], table["action_idx"], table["frame_idx"] = np.array(moments).T
    table["bbox_by_camera_tlbr"] = [10, 20, 110, 120]
    table["bbox_by_camera_tlbr"][4, 1] = 0
    poses = np.zeros((3, 2), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    poses["R"], poses["K"] = np.eye(3), np.eye(3)
    names = {"subject_names": subjects, "camera_names": ["54138969", "55011271"], "action_names": actions}
    path = tmp_path / "human36m-multiview-labels-GTbboxes.npy"
    np.save(path, {**names, "cameras": poses, "table": table})
    write_labels(tmp_path / "labels.npz", read_published_labels(path))
    rows = benchmark(tmp_path, damaged=damaged, every=every).labels("val")
    found = read_h36m_labels(path)
    expected = moment_rows(found, dataset_rows(found, test=True, damaged=damaged, every=every))
    assert rows.sequence.tolist() == expected.sequence.tolist()
    assert rows.frame.tolist() == expected.frame.tolist()
    assert rows.values["action"].tolist() == expected.values["action"].tolist()
