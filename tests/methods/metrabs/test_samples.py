"""Which rows become crops, and what is said of labels that cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import InputError, MissingAssetError
from marey.data.colour import balance_white, change_exponent
from marey.data.labels import read_labels, write_labels
from marey.methods.metrabs.recipe import H36M_JOINTS
from marey.methods.metrabs.samples import (
    CropStyle,
    PeopleSet,
    open_people,
    open_pictures,
    person_free_pictures,
)
from marey.methods.metrabs.task import network_skeleton
from methods.metrabs.crowd import PICTURE_JOINTS, write_sets

SKELETON = network_skeleton(H36M_JOINTS)
STYLE = CropStyle(side=48, crops=None, appearance=None, interpolation="linear", antialias=1)


@pytest.fixture
def data(tmp_path):
    write_sets(tmp_path, people=4, pictures=3)
    return tmp_path


def relabel(folder, **changes):
    path = folder / "labels.npz"
    write_labels(path, replace(read_labels(path), **changes))


def crops(opened, count=2):
    return opened.samples(torch.arange(count), range(count), STYLE)


def test_rows__without_a_box_or_joints_are_left_out(data):
    labels = read_labels(data / "space" / "labels.npz")
    box, joints = labels.values["box"].copy(), labels.values["joints"].copy()
    box[0, 2] = 0
    joints[1] = np.nan
    relabel(data / "space", values={**labels.values, "box": box, "joints": joints})
    opened = open_people(PeopleSet(labels="space", splits=("train", "validation")), data, SKELETON)
    assert opened.rows.tolist() == [2, 3]


def test_pictures__labels_at_the_lower_rim_are_mistakes(data):
    labels = read_labels(data / "flat" / "labels.npz")
    keypoints = labels.values["keypoints"].copy()
    keypoints[0, 0] = (80, 115)  # of 120
    relabel(data / "flat", values={**labels.values, "keypoints": keypoints})
    weak = replace(SKELETON, joints=PICTURE_JOINTS[:-1], links=())
    found = crops(open_pictures(PeopleSet(labels="flat"), data, weak)).keypoints
    assert found[0, 0].isnan().all()
    assert found[0, 1:].isfinite().all()


@pytest.mark.parametrize(
    ("name", "sequence", "change"),
    [
        ("mupots", "TS5", lambda image: change_exponent(image, 0.67)),
        ("mupots", "TS6", lambda image: image),
        ("3dhp", "TS4", lambda image: balance_white(change_exponent(image, 0.67))),
        ("3dhp", "S1/Seq1", lambda image: image),
    ],
)
def test_dark_sequences__are_shown_brighter(data, name, sequence, change):
    plain = crops(open_people(PeopleSet(labels="space"), data, SKELETON)).images.permute(0, 2, 3, 1).numpy()
    images = read_labels(data / "space" / "labels.npz").images
    relabel(data / "space", name=name, images=replace(images, sequence=np.full(len(images), sequence)))
    opened = open_people(PeopleSet(labels="space", up="camera"), data, SKELETON)
    found = crops(opened).images.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(found, np.stack([change(np.ascontiguousarray(image)) for image in plain]))


def test_up__turns_the_crop(data):
    upright, lying = (crops(open_people(PeopleSet(labels="space", up=up), data, SKELETON)).joints for up in ("z", "x"))
    spine = [H36M_JOINTS.index("pelvis"), H36M_JOINTS.index("head")]
    for joints, axis in ((upright, 1), (lying, 0)):
        direction = (joints[:, spine[1]] - joints[:, spine[0]]).abs()
        assert (direction.argmax(-1) == axis).all()


def test_backgrounds__need_their_list(data):
    assert [path.name for path in person_free_pictures(data / "inria")] == ["sea.jpg"]
    (data / "inria" / "non_person_images.txt").unlink()
    with pytest.raises(MissingAssetError, match="marey data prepare inria"):
        person_free_pictures(data / "inria")


@pytest.mark.parametrize(
    ("drop", "message"), [("box", "no boxes of people"), ("joints", "expected labels with joints in space")]
)
def test_labels__that_lack_something_are_refused(data, drop, message):
    values = {
        name: column for name, column in read_labels(data / "space" / "labels.npz").values.items() if name != drop
    }
    relabel(data / "space", values=values)
    with pytest.raises(InputError, match=message):
        open_people(PeopleSet(labels="space"), data, SKELETON)


def test_universal__needs_its_joints(data):
    labels = read_labels(data / "space" / "labels.npz")
    relabel(data / "space", values={n: v for n, v in labels.values.items() if n != "joints_universal"})
    with pytest.raises(InputError, match="universal_skeleton=false"):
        open_people(PeopleSet(labels="space"), data, SKELETON, universal=True)


@pytest.mark.parametrize("changes", [{"count": 0}, {"background": 2.0}, {"up": "w"}])
def test_sets__refuse(changes):
    with pytest.raises(InputError, match="set labels"):
        PeopleSet(**changes)
