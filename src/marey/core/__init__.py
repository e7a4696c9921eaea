"""The vocabulary of the house: types, contracts and errors; no mathematics, no files."""

from marey.core.cameras import Cameras
from marey.core.contracts import Batch, Estimator, Observation, Requirements, TrainingTask
from marey.core.errors import (
    CalibrationError,
    FormatError,
    InputError,
    MareyError,
    MissingAssetError,
    MissingDependencyError,
    ShapeError,
    TrainingError,
)
from marey.core.evidence import Boxes, Detections2D, Keypoints2D
from marey.core.motion import JointTree, Motion
from marey.core.recording import FrameSource, Image, Recording
from marey.core.results import BodyState, Diagnostics, Estimate, Joints3D
from marey.core.skeletons import Skeleton, skeleton, skeleton_names
from marey.core.tensors import TensorFields, Trailing

__all__ = [
    "Batch",
    "BodyState",
    "Boxes",
    "CalibrationError",
    "Cameras",
    "Detections2D",
    "Diagnostics",
    "Estimate",
    "Estimator",
    "FormatError",
    "FrameSource",
    "Image",
    "InputError",
    "JointTree",
    "Joints3D",
    "Keypoints2D",
    "MareyError",
    "MissingAssetError",
    "MissingDependencyError",
    "Motion",
    "Observation",
    "Recording",
    "Requirements",
    "ShapeError",
    "Skeleton",
    "TensorFields",
    "Trailing",
    "TrainingError",
    "TrainingTask",
    "skeleton",
    "skeleton_names",
]
