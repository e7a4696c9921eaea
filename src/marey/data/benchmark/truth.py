"""What is known of the samples of a set of scenes: the arrays of its label file, and which samples count.

Of N samples with V cameras, and of the first person in each, which is the one that is asked for:

===========================  ========================================================================================
`index`                      (N,) of the sample
`smpl_24`, `coco_17`, ...    (N, J, 3) joints of these skeletons in the world, metres
`orientation`, `pose`,       (N, 3, 3), (N, 23, 3, 3), (N, S), (N, 3) of the open body, whose joints are `smpl_24`
`shape`, `translation`
`camera_intrinsics`, ...     (N, V, ...) every field of the cameras, which are those of the pictures: of crops
`box`                        (N, V, 4) left, top, right, bottom in pixels of all of the person, hidden or outside
`truncated`                  (N, V) share of the surface outside of the picture
`occluded`                   (N, V) share of the person's pixels that an occluder covers
`visible`                    (N, V, 24) which of `smpl_24` are seen: in the picture, and nothing before them, not even
                             the person's own arm
`hidden`                     (N, V, 17) which of `coco_17` are in the picture behind an occluder or somebody else
`detected`, ...              (N, V, 17, ...) what the simulated detector says of `coco_17`, `benchmark.detections`
===========================  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras
from marey.data.benchmark.cells import SKELETON, SceneSet
from marey.data.benchmark.detections import detect
from marey.data.benchmark.digests import Array
from marey.data.synthetic import SyntheticBatch, SyntheticGenerator

Truth = Mapping[str, Array]

CHUNK = 16
"""Samples that are made together."""
OWN = "smpl_24"
_CAMERA_FIELDS = ("intrinsics", "distortion", "rotation", "translation", "fisheye")
_LEAST_INSIDE = 0.5
"""Share of the person's joints that are in every picture of a sample that counts."""


def make_truth(scenes: SceneSet, indices: Sequence[int], *, seed: int) -> Iterator[dict[str, Array]]:
    """Make the labels of some samples, `CHUNK` at a time: 7 ms a picture, without painting any."""
    generator = SyntheticGenerator(scenes.config)
    for start in range(0, len(indices), CHUNK):
        batch = generator.sample(seed, list(indices[start : start + CHUNK]), images=False)
        yield with_detections(truth_of(batch), scenes, seed=seed)


def joined(parts: Sequence[Truth]) -> dict[str, Array]:
    """Arrays of several parts one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_detections(truth: Truth, scenes: SceneSet, *, seed: int) -> dict[str, Array]:
    """The same arrays and those of the simulated detector."""
    return {**truth, **detect(truth, cameras_of(truth, scenes.config.image_size), seed=seed)}


def truth_of(batch: SyntheticBatch) -> dict[str, Array]:
    """The arrays of a batch; see the top of the module."""
    first, body, cameras = batch.views[:, :, 0], batch.people.body, batch.cameras
    tensors = {
        "index": batch.indices,
        OWN: batch.people.joints[:, 0],
        **{name: joints[:, 0] for name, joints in batch.skeletons.items()},
        **{name: getattr(body, name)[:, 0] for name in ("orientation", "pose", "shape", "translation")},
        **{f"camera_{name}": getattr(cameras, name) for name in _CAMERA_FIELDS},
        **{name: getattr(first, name) for name in ("box", "truncated", "occluded", "visible")},
        "hidden": _hidden(batch, batch.skeletons_2d[SKELETON][:, :, 0]),
    }
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def counts(batch: SyntheticBatch) -> Tensor:
    """Which samples (B,) count: lenses image every joint of the first person, and pictures show half of them."""
    joints = batch.views.joints[:, :, 0]
    size = joints.new_tensor(batch.pixels.person.shape[:-3:-1])
    inside = ((joints >= -0.5) & (joints <= size - 0.5)).all(-1)
    imaged = [points[:, :, 0].isfinite().flatten(1).all(1) for points in batch.skeletons_2d.values()]
    enough = (inside.double().mean(-1) >= _LEAST_INSIDE).all(-1)
    return enough & joints.isfinite().flatten(1).all(1) & torch.stack(imaged).all(0)


def choose_samples(scenes: SceneSet, count: int, *, seed: int) -> dict[str, Array]:
    """The labels of the first samples that count, in the order of their indices."""
    generator, parts, start, found = SyntheticGenerator(scenes.config), list[dict[str, Array]](), 0, 0
    while found < count:
        batch = generator.sample(seed, range(start, start + CHUNK), images=False)
        kept = counts(batch)
        parts.append(truth_of(batch[kept]))
        start, found = start + CHUNK, found + int(kept.sum())
    return with_detections({name: array[:count] for name, array in joined(parts).items()}, scenes, seed=seed)


def cameras_of(truth: Truth, image_size: tuple[int, int]) -> Cameras:
    """The cameras (N, V) of the arrays of a label file."""
    fields = {name: torch.from_numpy(truth[f"camera_{name}"]) for name in _CAMERA_FIELDS}
    intrinsics = fields["intrinsics"]
    size = intrinsics.new_tensor(image_size).expand(*intrinsics.shape[:2], 2)
    return Cameras(image_size=size, names=tuple(f"cam_{view + 1}" for view in range(intrinsics.shape[1])), **fields)


def _hidden(batch: SyntheticBatch, points: Tensor) -> Tensor:
    """(B, V, J) whether points (B, V, J, 2) in the pictures are behind an occluder or somebody else."""
    shown = batch.pixels.visible
    height, width = shown.shape[-2:]
    x, y = points.round().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = torch.where(inside, y * width + x, 0.0).long()
    owner = shown.flatten(2).gather(2, place)
    return inside & ((owner > 0) | (owner < -1))
