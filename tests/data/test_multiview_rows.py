"""Which rows of labels make samples, by tables of a few rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, InputError, Skeleton
from marey.data.labels import Images, Labels
from marey.data.multiview_rows import damaged_rows, sample_rows, usable_rows

NAMES = ("00_03", "00_13", "00_24")


def table(rows, *, name="h36m", **values):
    """Labels of rows (split, moment, view, person), each in an image of its own unless one has it already."""
    places = {}
    image = np.array([places.setdefault((split, moment, view), len(places)) for split, moment, view, _ in rows])
    split, moment, view = zip(*places, strict=True)
    count = len(NAMES)
    return Labels(
        name=name,
        version="1",
        skeleton=Skeleton("two", ("a", "b"), ()),
        images=Images(
            path=np.array([f"{place}.png" for place in range(len(places))]),
            size=np.full((len(places), 2), 64),
            camera=np.array(view),
            sequence=np.full(len(places), "s"),
            frame=np.array(moment),
            moment=np.array(moment),
            view=np.array(view),
        ),
        split=np.array(split),
        image=image,
        person=np.array([person for *_, person in rows]),
        values={"box": np.tile([1.0, 2, 30, 40], (len(rows), 1)), **values},
        cameras=Cameras(
            intrinsics=torch.eye(3).expand(count, 3, 3),
            distortion=torch.zeros(count, 0),
            image_size=torch.full((count, 2), 64.0),
            rotation=torch.eye(3).expand(count, 3, 3),
            translation=torch.zeros(count, 3),
            names=NAMES,
        ),
    )


def rows_of(labels, **options):
    return sample_rows(labels, usable=np.ones(len(labels), dtype=bool), **options).tolist()


def full(split, moments, views=(0, 1), people=(0,)):
    return [(split, moment, view, person) for moment in moments for view in views for person in people]


def test_rows__several_people_are_samples_of_their_own():
    labels = table([("train", 0, 0, 5), ("train", 0, 0, 2), ("train", 0, 1, 5), ("train", 1, 1, 2)])
    assert rows_of(labels) == [[1, -1], [0, 2], [-1, 3]]


def test_rows__of_training_come_first():
    labels = table([*full("test", [0]), *full("train", [1]), *full("validation", [2])])
    assert rows_of(labels) == [[2, 3], [4, 5], [0, 1]]


def test_rows__are_thinned_by_moment_and_not_for_training():
    labels = table([*full("train", range(3)), *full("test", range(10, 15), views=(0,), people=(0, 1))])
    assert rows_of(labels, every=2) == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, -1],
        [7, -1],
        [10, -1],
        [11, -1],
        [14, -1],
        [15, -1],
    ]


def test_rows__damaged_scenes_go_before_thinning():
    """Moments 0 to 5 of S9: the second and third are of a damaged scene, so that 0, 3, 4, 5 stay, and of those 0, 4."""
    trial = np.array(["Walking-1", "Greeting-2", "Waiting-1", "Greeting-1", "Waiting-2", "SittingDown-1"])
    labels = table(full("test", range(6), views=(0,)), trial=trial, subject=np.full(6, "S9"))
    assert damaged_rows(labels).tolist() == [False, True, True, False, False, False]
    assert rows_of(labels, damaged=False, every=2) == [[0], [4]]
    assert rows_of(labels, every=2) == [[0], [2], [4]]
    other = table(full("test", range(6), views=(0,)), trial=trial, subject=np.full(6, "S11"))
    assert len(rows_of(other, damaged=False)) == 6


def test_rows__damaged_scenes_stay_in_training():
    values = {"trial": np.array(["Greeting-2"] * 2), "subject": np.full(2, "S9")}
    assert rows_of(table(full("train", [0]), **values), damaged=False) == [[0, 1]]


def test_rows__of_chosen_cameras_by_name_or_number():
    labels = table(full("train", [0, 1], views=(0, 1, 2)))
    assert rows_of(labels, cameras=("00_13", "24")) == [[1, 2], [4, 5]]
    assert rows_of(labels, ignored_cameras=("13",)) == [[0, 2], [3, 5]]
    assert rows_of(labels, cameras=("3", "24"), ignored_cameras=("00_24",)) == [[0], [3]]


def test_rows__without_any_view_are_left_out_after_thinning():
    labels = table([("test", 0, 0, 0), ("test", 1, 1, 0), ("test", 2, 1, 0)])
    assert rows_of(labels, cameras=("00_13",), every=2) == [[2]]


def test_rows__that_cannot_be_shown_are_absent():
    labels = table(full("train", [0, 1]))
    assert sample_rows(labels, usable=np.array([True, False, False, False])).tolist() == [[0]]


def test_rows__of_an_unknown_camera_are_an_error():
    with pytest.raises(InputError, match=r"no 5; there are: 00_03, 00_13, 00_24"):
        rows_of(table(full("train", [0], views=(0, 1, 2))), cameras=("5",))


def test_rows__none_left_is_an_error():
    labels = table(full("train", [0]))
    with pytest.raises(InputError, match="nobody is left"):
        sample_rows(labels, usable=np.zeros(2, dtype=bool))
    with pytest.raises(InputError, match="retain_every_n"):
        rows_of(labels, every=0)


def test_usable__needs_box_file_and_placed_camera():
    box = np.array([[1.0, 2, 30, 40], [np.nan] * 4, [1, 2, 0.5, 40], [1, 2, 30, 40], [1, 2, 30, 40]])
    labels = table([("train", moment, 0, 0) for moment in range(5)], box=box)
    labels.images.path[3] = ""
    labels.images.camera[4] = -1
    assert usable_rows(labels, boxed=True).tolist() == [True, False, False, False, False]
    assert usable_rows(labels, boxed=False).tolist() == [True, True, True, False, False]


def test_usable__cameras_without_a_place_are_not():
    labels = table(full("train", [0], views=(0, 1, 2)))
    rotation, _ = labels.cameras.extrinsics
    rotation = rotation.clone()
    rotation[1] = torch.nan
    object.__setattr__(labels.cameras, "rotation", rotation)
    assert usable_rows(labels, boxed=True).tolist() == [True, False, True]


def test_usable__says_what_is_missing_altogether():
    labels = table(full("train", [0]))
    with pytest.raises(CalibrationError, match="cameras whose places are known"):
        usable_rows(replace(labels, cameras=replace(labels.cameras, rotation=None, translation=None)), boxed=True)
    labels.images.path[:] = ""
    with pytest.raises(InputError, match="--images"):
        usable_rows(labels, boxed=True)
    del labels.values["box"]
    with pytest.raises(InputError, match="crop=False"):
        usable_rows(labels, boxed=True)
