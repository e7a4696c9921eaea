"""Wrong and unusual pictures, boxes, cameras and options for the entry points of MeTRAbs's `PeopleModel`.

Used by `metrabs_bad_input.py`, which says what a case is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.methods.metrabs.networks import LoadedNetwork, trunk_network
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_results import People
from marey.methods.metrabs.trunk_model import MetricHead, TrunkMetrabs

SIDE, SEED = 320, 3


class Found(NamedTuple):
    """What came of a call."""

    joints: Tensor
    told: str = ""
    shaped: bool = True
    """Whether everything has the shape that it should."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of input at one entry point."""

    name: str
    call: Callable[[], Found]
    like: Callable[[], Tensor] | None = None
    """What it has to give; None: nothing can be said."""


class Scene(NamedTuple):
    """Somebody, and where."""

    picture: np.ndarray[Any, Any]
    box: np.ndarray[Any, Any]
    """(4,) left, top, width, height."""
    intrinsics: np.ndarray[Any, Any]


@cache
def scene() -> Scene:
    """A synthetic picture."""
    made = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(SIDE, SIDE))).sample(SEED, range(1))
    left, top, right, bottom = made.views.box[0, 0, 0].tolist()
    return Scene(
        made.images[0, 0].permute(1, 2, 0).contiguous().numpy(),
        np.array([left, top, right - left, bottom - top]),
        made.cameras.intrinsics[0, 0].double().numpy(),
    )


@cache
def network() -> LoadedNetwork:
    """Trunk and lifter, and a head that corrects nothing."""
    return trunk_network(TrunkMetrabs(shipped_trunk(), shipped_image_lifter(), MetricHead()).eval(), source="untrained")


@cache
def model() -> PeopleModel:
    """It at work."""
    loaded = network()
    return PeopleModel(loaded.module, loaded.skeleton, mirror=loaded.mirror, margin=loaded.margin)


def of_people(found: People) -> Found:
    """Poses, and who was dropped."""
    count, joints = len(found.indices), len(found.skeleton)
    shapes = {"boxes": (5,), "poses3d": (joints, 3), "poses2d": (joints, 2), "covariance": (joints, 3, 3)}
    shaped = all(getattr(found, name).shape == (count, *rest) for name, rest in shapes.items())
    return Found(found.poses3d, "; ".join(drop.detail for drop in found.dropped), shaped)


def _boxed(name: str, **given: Any) -> Found:
    """Call an entry point of `PeopleModel` with boxes; what is not given is the scene's."""
    image, boxes = given.pop("image", scene().picture), given.pop("boxes", scene().box[None])
    matrix = given.pop("intrinsic_matrix", scene().intrinsics)
    method = getattr(model(), name)
    if name == "predict_single_image":
        return of_people(method(image, matrix, boxes, **given))
    if name == "estimate_poses":
        return of_people(method(image, boxes, matrix, **given))
    images, several = [scene().picture, image], [scene().box[None], boxes]
    order = (images, matrix, several) if name == "predict_multi_image" else (images, several, matrix)
    return of_people(method(*order, **given).pictures[1])


def _detected(name: str, **given: Any) -> Found:
    """The same with the detector's boxes."""
    image, matrix = given.pop("image", scene().picture), given.pop("intrinsic_matrix", scene().intrinsics)
    found = getattr(model(), name)
    if name in ("detect_poses", "predict_single_image"):
        return of_people(found(image, matrix, **given))
    return of_people(found([scene().picture, image], matrix, **given).pictures[1])


BOXED = ("estimate_poses", "estimate_poses_batched", "predict_single_image", "predict_multi_image")
DETECTED = ("detect_poses", "detect_poses_batched", "predict_single_image", "predict_multi_image")
FULL = ("estimate_poses", "estimate_poses_batched", "detect_poses", "detect_poses_batched")
"""Entry points of 2021 to 2023: those with a lens and a place in the world."""


def nobody() -> Tensor:
    """Poses (0, J, 3)."""
    return torch.zeros(0, len(network().skeleton), 3)


@cache
def expected(way: str, picture: str) -> Tensor:
    """What one of the plain pictures gives."""
    call = _boxed if way == "boxes" else _detected
    name = "estimate_poses" if way == "boxes" else "detect_poses"
    return call(name, image=PLAIN[picture]()).joints


PLAIN: Mapping[str, Callable[[], np.ndarray[Any, Any]]] = {
    "colour": lambda: scene().picture,
    "grey": lambda: np.repeat(grey()[..., None], 3, axis=-1),
    "mirrored": lambda: np.ascontiguousarray(scene().picture[:, ::-1]),
    "black": lambda: np.zeros((SIDE, SIDE, 3), np.uint8),
}
"""Pictures of 8 bits that others are to be like."""


def grey() -> np.ndarray[Any, Any]:
    """The picture without colours, (H, W)."""
    return cv2.cvtColor(scene().picture, cv2.COLOR_RGB2GRAY)


def spoiled(value: float) -> np.ndarray[Any, Any]:
    """The picture as floats, one of which is another value."""
    shares = scene().picture / np.float32(255)
    shares[SIDE // 2, SIDE // 2, 1] = value
    return shares


def with_16_bits() -> np.ndarray[Any, Any]:
    """The picture in 16 bits."""
    return scene().picture.astype(np.uint16) * 257


def with_alpha(picture: np.ndarray[Any, Any], opaque: int) -> np.ndarray[Any, Any]:
    """With a fourth channel, from 0 to what is opaque."""
    return np.dstack((picture, np.linspace(0, opaque, SIDE * SIDE).reshape(SIDE, SIDE).astype(picture.dtype)))


PICTURES: Mapping[str, tuple[Callable[[], Any], str]] = {
    "16 bits": (with_16_bits, "colour"),
    "16 bits, bytes swapped": (lambda: with_16_bits().astype(">u2"), "colour"),
    "16 bits, transparent": (lambda: with_alpha(with_16_bits(), 65535), "colour"),
    "16 bits, grey": (lambda: grey().astype(np.uint16) * 257, "grey"),
    "grey": (grey, "grey"),
    "grey, one channel": (lambda: grey()[..., None], "grey"),
    "transparent": (lambda: with_alpha(scene().picture, 255), "colour"),
    "single precision": (lambda: scene().picture / np.float32(255), "colour"),
    "double precision": (lambda: scene().picture / 255.0, "colour"),
    "more than double precision": (lambda: (scene().picture / 255.0).astype(np.longdouble), "colour"),
    "single precision, bytes swapped": (lambda: (scene().picture / 255.0).astype(">f4"), "colour"),
    "tensor": (lambda: torch.from_numpy(scene().picture).permute(2, 0, 1), "colour"),
    "tensor of 16 bits": (lambda: torch.from_numpy(with_16_bits()).permute(2, 0, 1), "colour"),
    "tensor that learns": (
        lambda: torch.from_numpy(scene().picture / np.float32(255)).permute(2, 0, 1).requires_grad_(),
        "colour",
    ),
    "view from right to left": (lambda: scene().picture[:, ::-1], "mirrored"),
    "8 bits in 16": (lambda: scene().picture.astype(np.uint16), ""),
    "12 bits in 16": (lambda: scene().picture.astype(np.uint16) * 16, ""),
    "0 to 255 as floats": (lambda: scene().picture.astype(np.float32), ""),
    "-1 to 1 as floats": (lambda: scene().picture / np.float32(127.5) - 1, ""),
    "one NaN": (lambda: spoiled(np.nan), ""),
    "one infinity": (lambda: spoiled(np.inf), ""),
    "all NaN": (lambda: np.full((SIDE, SIDE, 3), np.nan, np.float32), ""),
    "tensor with a NaN": (lambda: torch.from_numpy(spoiled(np.nan)).permute(2, 0, 1), ""),
    "masked": (lambda: np.ma.masked_greater(scene().picture, 99), ""),
    "32 bits": (lambda: scene().picture.astype(np.int32), ""),
    "tensor of 64 bits": (lambda: torch.from_numpy(scene().picture.astype(np.int64)).permute(2, 0, 1), ""),
    "true and false": (lambda: scene().picture > 99, ""),
    "complex": (lambda: scene().picture.astype(np.complex64), ""),
    "objects": (lambda: scene().picture.astype(object), ""),
    "two channels": (lambda: scene().picture[..., :2], ""),
    "channels first": (lambda: scene().picture.transpose(2, 0, 1), ""),
    "tensor with channels last": (lambda: torch.from_numpy(scene().picture), ""),
    "one dimension": (lambda: scene().picture.ravel(), ""),
    "five dimensions": (lambda: scene().picture[None, None], ""),
    "no pixels": (lambda: scene().picture[:0], ""),
    "four pixels": (lambda: scene().picture[:2, :2], ""),
    "more than 150 million pixels": (lambda: np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), ""),
    "ragged": (lambda: [[1, 2], [3]], ""),
    "a name": (lambda: "photo.jpg", ""),
    "nothing": (lambda: None, ""),
}
"""Name -> picture, and which one it is to be like."""


def _inside_and_outside() -> np.ndarray[Any, Any]:
    aside, above = np.array([9.0 * SIDE, 0, 0, 0]), np.array([0, -9.0 * SIDE, 0, 0])
    return np.stack((scene().box + aside, scene().box, scene().box + above))


def _box(**changed: float) -> np.ndarray[Any, Any]:
    box = scene().box.copy()
    for name, value in changed.items():
        box[("left", "top", "width", "height").index(name)] = value
    return box[None]


BOXES: Mapping[str, tuple[Callable[[], Any], Callable[[], Tensor] | None]] = {
    "none, a list": (list, nobody),
    "none, an array": (lambda: np.zeros((0, 4)), nobody),
    "one inside and two outside": (_inside_and_outside, partial(expected, "boxes", "colour")),
    "with scores": (lambda: np.append(scene().box, 0.7)[None], partial(expected, "boxes", "colour")),
    "tensor": (lambda: torch.from_numpy(scene().box[None]).float(), partial(expected, "boxes", "colour")),
    "to the right of the picture": (lambda: _box(left=SIDE + 40.0), None),
    "above the picture": (lambda: _box(top=-900.0), None),
    "NaN": (lambda: _box(left=np.nan), None),
    "infinite": (lambda: _box(width=np.inf), None),
    "without width": (lambda: _box(width=0.0), None),
    "of negative height": (lambda: _box(height=-5.0), None),
    "smaller than a pixel": (lambda: _box(width=1e-9, height=1e-9), None),
    "a thousand times as large as the picture": (
        lambda: _box(left=-500.0 * SIDE, top=-500.0 * SIDE, width=1000.0 * SIDE, height=1000.0 * SIDE),
        None,
    ),
    "larger than numbers": (lambda: _box(left=-1e300, top=-1e300, width=2e300, height=2e300), None),
    "three numbers": (lambda: scene().box[None, :3], None),
    "one dimension": (lambda: scene().box, None),
    "three dimensions": (lambda: scene().box[None, None], None),
    "ragged": (lambda: [[1, 2, 3, 4], [1, 2]], None),
    "words": (lambda: "somebody", None),
    "complex": (lambda: torch.zeros(1, 4, dtype=torch.complex64), None),
}

MATRICES: Mapping[str, Callable[[], Any]] = {
    "zeros": lambda: np.zeros((3, 3)),
    "without focal length": lambda: np.diag([0.0, 0.0, 1.0]),
    "singular": lambda: np.diag([300.0, 0.0, 1.0]),
    "ones": lambda: np.ones((3, 3)),
    "negative focal length": lambda: scene().intrinsics * [[-1], [1], [1]],
    "NaN": lambda: np.full((3, 3), np.nan),
    "infinite": lambda: scene().intrinsics + np.diag([np.inf, 0, 0]),
    "beyond single precision": lambda: np.diag([1e300, 1e300, 1.0]),
    "nearly without focal length": lambda: np.diag([1e-300, 1e-300, 1.0]),
    "transposed": lambda: scene().intrinsics.T,
    "doubled": lambda: 2 * scene().intrinsics,
    "(4, 4)": lambda: np.eye(4),
    "(3, 4)": lambda: np.eye(4)[:3],
    "five of them": lambda: np.stack([scene().intrinsics] * 5),
    "ragged": lambda: [[1, 2], [3]],
    "words": lambda: "wide",
}
LENSES: Mapping[str, Callable[[], Any]] = {
    "NaN": lambda: [np.nan] * 5,
    "infinite": lambda: [np.inf, 0, 0, 0],
    "that cannot be undone": lambda: [-1e6] * 5,
    "of 15 numbers": lambda: [0.1] * 15,
    "words": lambda: "fisheye",
}
PLACES: Mapping[str, Callable[[], Any]] = {
    "zeros": lambda: np.zeros((4, 4)),
    "mirrored": lambda: np.diag([1.0, 1, -1, 1]),
    "scaled": lambda: np.diag([2.0, 2, 2, 1]),
    "NaN": lambda: np.full((4, 4), np.nan),
    "transposed": lambda: (np.eye(4) + np.eye(4, k=3)).T,
    "(3, 3)": lambda: np.eye(3),
    "words": lambda: "here",
}
CHOICES: tuple[tuple[str, Any], ...] = (
    ("num_aug", 0),
    ("num_aug", 2.5),
    ("num_aug", "five"),
    ("internal_batch_size", -1),
    ("internal_batch_size", None),
    ("antialias_factor", 0),
    ("antialias_factor", 1000),
    ("unit", "cm"),
    ("frame", "room"),
    ("skeleton", "centipede"),
    ("skeleton", ["coco_17"]),
    ("world_up_vector", (0, 0, 0)),
    ("world_up_vector", (0, np.nan, 1)),
    ("world_up_vector", "up"),
    ("default_fov_degrees", "wide"),
    ("average_aug", "no"),
    ("suppress_implausible_poses", 2),
    ("max_detections", -2),
    ("detector_threshold", "high"),
    ("num_augs", 5),
)
SEVERAL: Mapping[str, Any] = {"nothing": None, "a number": 5, "a name": "photo.jpg", "a dictionary": {"a": 1}}


def people_cases() -> Iterator[Case]:
    """All of them."""
    for name, way in (*((name, "boxes") for name in BOXED), *((name, "detector") for name in DETECTED)):
        yield from _picture_cases(name, way)
        kinds = {"intrinsic_matrix": MATRICES}
        if name in FULL:
            kinds |= {"distortion_coeffs": LENSES, "extrinsic_matrix": PLACES}
        for argument, values in kinds.items():
            for kind, make in values.items():
                yield Case(name=f"{name}, {way}, {argument}: {kind}", call=_calling(name, way, {argument: make}))
        for option, value in CHOICES:
            call = _calling(name, way, {option: partial(_itself, value)})
            yield Case(name=f"{name}, {way}, {option}: {value}", call=call)
    for name in BOXED:
        for kind, (make, like) in BOXES.items():
            yield Case(name=f"{name}, boxes: {kind}", call=_calling(name, "boxes", {"boxes": make}), like=like)
    yield from _several_cases()


def _picture_cases(name: str, way: str) -> Iterator[Case]:
    for kind, (make, plain) in PICTURES.items():
        like = partial(expected, way, plain) if plain else None
        yield Case(name=f"{name}, {way}, picture: {kind}", call=_calling(name, way, {"image": make}), like=like)


def _several_cases() -> Iterator[Case]:
    """What is no list of pictures, or of boxes of each."""
    for kind, given in SEVERAL.items():
        for name in ("predict_multi_image", "detect_poses_batched"):
            yield Case(name=f"{name}, pictures: {kind}", call=partial(_of_several, name, given))
        boxed = partial(_of_several, "estimate_poses_batched", [scene().picture] * 2, given)
        yield Case(name=f"estimate_poses_batched, boxes of pictures: {kind}", call=boxed)
    boxes = [scene().box[None]] * 3
    more = partial(_of_several, "estimate_poses_batched", [scene().picture] * 2, boxes)
    yield Case(name="estimate_poses_batched, boxes of pictures: one more than pictures", call=more)


def _of_several(name: str, *given: Any) -> Found:
    return of_people(getattr(model(), name)(*given).pictures[0])


def _calling(name: str, way: str, given: Mapping[str, Callable[[], Any]]) -> Callable[[], Found]:
    call = _boxed if way == "boxes" else _detected
    return lambda: call(name, **{argument: make() for argument, make in given.items()})


def _itself(value: Any) -> Any:
    return value


def least_difference_mm() -> float:
    """How far a joint moves at least when a picture is read in a wrong way."""
    picture, right = scene().picture, expected("boxes", "colour")
    wrong = (picture[..., ::-1], picture // 2, PLAIN["mirrored"]())
    return min(1e3 * float((_boxed("estimate_poses", image=each).joints - right).abs().max()) for each in wrong)
