"""Detections are kept in chunks while they are made, and an interrupted run goes on from there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.core import Detections2D, FormatError, Image, InputError, Keypoints2D, Recording, skeleton
from marey.pipeline import detections as module
from marey.pipeline.detections import find_detections

COCO = skeleton("coco_17")
SIZE = (64, 48)


class PlainFrames:
    """Frames whose first pixel counts them."""

    size = SIZE
    fps = 30.0
    files = (Path(__file__),)

    def __init__(self, length: int) -> None:
        self.timestamps = np.arange(length) / 30.0

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        for index in range(start, len(self.timestamps) if stop is None else stop):
            image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
            image[0, 0] = index
            yield image


class Counting:
    """A detector that finds as many people as the frame's number is odd, and may be interrupted."""

    name = "counting"
    skeleton = COCO

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen, self.stop_after = 0, stop_after

    def __call__(self, frames, boxes=None):
        for image in frames:
            if self.seen == self.stop_after:
                raise KeyboardInterrupt
            self.seen += 1
            people = 1 + int(image[0, 0, 0]) % 2
            yield Detections2D(
                keypoints=Keypoints2D(
                    positions=torch.full((people, 17, 2), float(image[0, 0, 0])),
                    covariance=torch.full((people, 17, 2, 2), torch.nan),
                    score=torch.ones(people, 17),
                    skeleton=COCO,
                )
            )


@pytest.fixture
def recording() -> Recording:
    return Recording(names=("a", "b"), frames=(PlainFrames(25), PlainFrames(25)))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)


def find(recording, detector, monkeypatch, folder, span=range(25)):
    monkeypatch.setattr(module, "open_detector", lambda spec: detector)
    return find_detections(recording, span, detector="mediapipe", people=None, folder=folder)


def test_find_detections__chunks_join_to_the_whole(recording, monkeypatch, tmp_path):
    found = find(recording, Counting(), monkeypatch, tmp_path).detections
    assert found.batch_shape == (2, 25, 2)
    torch.testing.assert_close(found.keypoints.positions[1, :, 0, 0, 0], torch.arange(25.0))
    assert found.keypoints.positions[0, ::2, 1].isnan().all()
    assert (found.keypoints.score[0, ::2, 1] == 0).all()
    assert (found.keypoints.score[0, 1::2, 1] == 1).all()


def test_find_detections__an_interrupted_run_goes_on(recording, monkeypatch, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="20 frames are kept"):
        find(recording, Counting(stop_after=45), monkeypatch, tmp_path)
    rest = Counting()
    resumed = find(recording, rest, monkeypatch, tmp_path).detections
    assert rest.seen == 10  # two chunks of ten frames were kept, five frames of two views were left
    whole = find(recording, Counting(), monkeypatch, None).detections
    torch.testing.assert_close(resumed.keypoints.positions, whole.keypoints.positions, equal_nan=True)


def test_find_detections__without_a_folder_nothing_is_kept(recording, monkeypatch, tmp_path):
    again = Counting()
    find(recording, Counting(), monkeypatch, None)
    find(recording, again, monkeypatch, None)
    assert again.seen == 50


def test_find_detections__a_damaged_chunk_says_what_to_do(recording, monkeypatch, tmp_path):
    find(recording, Counting(), monkeypatch, tmp_path)
    next((tmp_path / "detections").iterdir()).write_bytes(b"not an archive")
    with pytest.raises(FormatError, match="delete it"):
        find(recording, Counting(), monkeypatch, tmp_path)


def test_find_detections__a_view_without_images(monkeypatch):
    mixed = Recording(names=("a", "b"), frames=(PlainFrames(5), None))
    with pytest.raises(InputError, match="every view"):
        find(mixed, Counting(), monkeypatch, None, span=range(5))


def test_find_detections__other_images_are_other_work(recording, monkeypatch, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(b"first")
    for source in recording.frames:
        monkeypatch.setattr(source, "files", (image,), raising=False)
    find(recording, Counting(), monkeypatch, tmp_path)
    image.write_bytes(b"the second")
    again = Counting()
    find(recording, again, monkeypatch, tmp_path)
    assert again.seen == 50


def test_find_detections__auto_without_mediapipe_takes_the_own_detector_and_says_so(recording, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    found = find_detections(recording, range(2), detector="auto", people=1, folder=None)
    assert found.detector == "marey"
    assert found.detections.keypoints.skeleton.name == "halpe_26"
    assert any("MediaPipe is not installed" in note for note in found.notes)


def test_find_detections__other_weights_are_other_work(recording, monkeypatch, tmp_path):
    first, same, other = Counting(), Counting(), Counting()
    first.fingerprint = same.fingerprint = "weights of Monday"
    other.fingerprint = "weights of Tuesday"
    for detector in (first, same, other):
        find(recording, detector, monkeypatch, tmp_path)
    assert (first.seen, same.seen, other.seen) == (50, 0, 50)
