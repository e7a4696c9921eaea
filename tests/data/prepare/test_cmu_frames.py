"""Lists of frames of the fork for CMU Panoptic."""

import numpy as np
import pytest

from marey.core import FormatError, InputError, Skeleton
from marey.data.labels import Images, Labels
from marey.data.prepare.cmu_frames import FORK, read_frame_lists, with_frame_lists

LIST = """\
train:
  - one:
    - [2, 4]
    - [6, 7]

  - two:
    - [0, 1]
val:
  - two:
    - [1, 40000]
"""


def labels_of(*images):
    sequence, frame = zip(*images, strict=True)
    count = len(images)
    return Labels(
        name="cmu",
        version="1",
        skeleton=Skeleton("one", ("a",), ()),
        images=Images(
            path=np.array([f"{place}.jpg" for place in range(count)]),
            size=np.zeros((count, 2), dtype=np.int64),
            camera=np.full(count, -1),
            sequence=np.array(sequence),
            frame=np.array(frame),
            moment=np.arange(count),
        ),
        split=np.full(count, "train"),
        image=np.arange(count),
        person=np.zeros(count, dtype=np.int64),
    )


def test_lists__are_read(tmp_path):
    (tmp_path / "frames.yaml").write_text(LIST, encoding="utf-8")
    assert read_frame_lists(tmp_path / "frames.yaml") == {
        "train": {"one": ((2, 4), (6, 7)), "two": ((0, 1),)},
        "validation": {"two": ((1, 40000),)},
    }


def test_lists__choose_images_and_say_their_split(tmp_path):
    """Ends do not belong to ranges; frames beyond 16 bits do; sequence three is not listed."""
    (tmp_path / "frames.yaml").write_text(LIST, encoding="utf-8")
    images = [("one", 1), ("one", 2), ("one", 3), ("one", 4), ("one", 6), ("one", 7)]
    images += [("two", 0), ("two", 1), ("two", 39999), ("two", 40000), ("three", 2)]
    found = with_frame_lists(labels_of(*images), read_frame_lists(tmp_path / "frames.yaml"))
    kept = list(zip(found.images.sequence.tolist(), found.images.frame.tolist(), found.split.tolist(), strict=True))
    assert kept == [
        ("one", 2, "train"),
        ("one", 3, "train"),
        ("one", 6, "train"),
        ("two", 0, "train"),
        ("two", 1, "validation"),
        ("two", 39999, "validation"),
    ]
    assert len(found) == 6


def test_lists__of_the_fork():
    found = with_frame_lists(labels_of(("171204_pose2", 37699), ("171204_pose2", 37700), ("171204_pose6", 1000)))
    assert found.images.frame.tolist() == [37699, 1000]
    assert found.split.tolist() == ["train", "validation"]
    assert {split: len(sequences) for split, sequences in FORK.items()} == {"train": 7, "validation": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected lists called train"),
        ("training: {}", "expected lists called train"),
        ("train: 5", "expected sequences"),
        ("train: [{a: [[1, 2]]}, {a: [[3, 4]]}]", "comes twice"),
        ("train: {a: [[4, 2]]}", "expected ranges"),
        ("train: {a: [[1, 2, 3]]}", "expected ranges"),
        ("train: {a: [[1.0, 2]]}", "expected ranges"),
        ("train: {a: 7}", "expected ranges"),
        ("train: {a: [", "not a YAML file"),
        ("train: !!python/object/apply:os.getcwd []", "not a YAML file"),
    ],
)
def test_lists__that_are_none(tmp_path, text, message):
    (tmp_path / "frames.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_frame_lists(tmp_path / "frames.yaml")


def test_lists__that_overlap_or_choose_nothing():
    labels = labels_of(("one", 1))
    with pytest.raises(InputError, match="another split"):
        with_frame_lists(labels, {"train": {"one": ((0, 5),)}, "test": {"one": ((1, 2),)}})
    with pytest.raises(InputError, match="its sequences are one"):
        with_frame_lists(labels)
