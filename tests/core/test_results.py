"""Evidence, results and recordings: the checks beyond those of every container."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from marey.core import (
    Cameras,
    Detections2D,
    Diagnostics,
    Estimate,
    FrameSource,
    InputError,
    Joints3D,
    Keypoints2D,
    MareyError,
    MissingDependencyError,
    Recording,
    ShapeError,
    skeleton,
)

COCO = skeleton("coco_17")


def joints(*batch: int, count: int = 17) -> Joints3D:
    return Joints3D(
        positions=torch.zeros(*batch, count, 3),
        covariance=torch.eye(3).expand(*batch, count, 3, 3),
        score=torch.ones(*batch, count),
        filled=torch.zeros(*batch, count, dtype=torch.bool),
        skeleton=COCO,
    )


def keypoints(*batch: int, count: int = 17) -> Keypoints2D:
    return Keypoints2D(
        positions=torch.zeros(*batch, count, 2),
        covariance=torch.eye(2).expand(*batch, count, 2, 2),
        score=torch.ones(*batch, count),
        skeleton=COCO,
    )


@pytest.mark.parametrize("make", [joints, keypoints])
def test_joints__must_be_those_of_the_skeleton(make):
    assert make(5, 2).batch_shape == (5, 2)
    with pytest.raises(ShapeError, match="positions: expected the 17 joints of skeleton coco_17, got 16"):
        make(5, 2, count=16)


def test_joints__of_different_skeletons_do_not_join():
    other = Joints3D(
        positions=torch.zeros(17, 3),
        covariance=torch.zeros(17, 3, 3),
        score=torch.zeros(17),
        filled=torch.zeros(17, dtype=torch.bool),
        skeleton=skeleton("h36m_17"),
    )
    with pytest.raises(ShapeError, match=r"Joints3D\.skeleton: differs"):
        Joints3D.stack([joints(), other])


def test_detections__index_their_keypoints_too():
    found = Detections2D(keypoints=keypoints(4, 10, 2), track=torch.zeros(4, 10, 2, dtype=torch.long))
    assert found[:, 3:5].keypoints.batch_shape == (4, 2, 2)
    with pytest.raises(ShapeError, match=r"Detections2D.track: expected the batch shape \(4, 10, 2\)"):
        Detections2D(keypoints=keypoints(4, 10, 2), track=torch.zeros(4, 10, dtype=torch.long))


def test_diagnostics__shapes_agree():
    with pytest.raises(ShapeError, match=r"Diagnostics\.residuals"):
        Diagnostics(weights=torch.zeros(4, 10, 1, 17), residuals=torch.zeros(4, 10, 1, 16))


def test_estimate__needs_joints_only():
    made = Estimate(joints=joints(3, 1))
    assert made.notes == ()
    assert made.provenance == {}


@dataclass
class Clock:
    """A frame source of a given length, without pictures."""

    length: int
    size: tuple[int, int] = (640, 480)
    fps: float | None = 30.0
    files: tuple = ()

    @property
    def timestamps(self) -> np.ndarray:
        return np.arange(self.length) / 30.0

    def frames(self, start: int = 0, stop: int | None = None):
        yield from ()


def test_recording__is_as_long_as_its_shortest_view():
    assert isinstance(Clock(3), FrameSource)
    recording = Recording(names=("a", "b"), frames=(Clock(12), Clock(9)))
    assert recording.length == 9
    found = Detections2D(keypoints=keypoints(2, 7, 1))
    assert Recording(names=("a", "b"), frames=(Clock(12), None), detections=found).length == 7
    assert Recording(names=("a",), frames=(None,)).length == 0


def test_recording__views_are_as_many_as_names():
    with pytest.raises(ShapeError, match="one source for each of the views"):
        Recording(names=("a", "b"), frames=(None,))
    with pytest.raises(ShapeError, match=r"cameras: expected the batch shape \(2,\), got \(3,\)"):
        Recording(
            names=("a", "b"),
            frames=(None, None),
            cameras=Cameras(
                intrinsics=torch.eye(3).expand(3, 3, 3), distortion=torch.zeros(3, 5), image_size=torch.zeros(3, 2)
            ),
        )
    with pytest.raises(ShapeError, match=r"detections: expected the batch shape \(2, T, P\), got \(3, 7, 1\)"):
        Recording(names=("a", "b"), frames=(None, None), detections=Detections2D(keypoints=keypoints(3, 7, 1)))


def test_errors__are_of_one_family_and_of_the_builtin_kind():
    assert issubclass(ShapeError, MareyError)
    assert issubclass(InputError, ValueError)
    error = MissingDependencyError.of("onnxruntime", "an ONNX detector", "pip install 'marey[onnx]'")
    assert isinstance(error, ImportError)
    assert str(error) == (
        "an ONNX detector needs the package 'onnxruntime', which is not installed; run: pip install 'marey[onnx]'"
    )
