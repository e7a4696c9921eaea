"""Wrong and unusual photos' files, observations and crops for MeTRAbs's estimator and networks.

Used by `metrabs_bad_input.py`, which says what a case is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

import marey
from marey.core import Cameras, Estimate, Observation, skeleton
from marey.data.benchmark import Benchmark
from marey.io.weights import write_weights
from marey.methods.metrabs.estimator import estimate_people
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import ENTRY, describe
from marey.pipeline.config import EstimateConfig
from metrabs_wrong_people import PLAIN, SIDE, Case, Found, grey, network, scene, spoiled, with_16_bits, with_alpha


def _png(picture: np.ndarray[Any, Any]) -> bytes:
    return _encoded(".png", picture)


def _encoded(suffix: str, picture: np.ndarray[Any, Any]) -> bytes:
    channels = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, channels[picture.shape[2]])
    return cv2.imencode(suffix, stored)[1].tobytes()


def _claiming(width: int, height: int) -> bytes:
    """A picture whose header claims another size."""
    data = bytearray(_png(scene().picture))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


PHOTOS: Mapping[str, tuple[str, Callable[[], bytes], str]] = {
    "16 bits": (".png", lambda: _png(with_16_bits()), "colour"),
    "16 bits, TIFF": (".tif", lambda: _encoded(".tif", with_16_bits()), "colour"),
    "16 bits, transparent": (".png", lambda: _png(with_alpha(with_16_bits(), 65535)), "colour"),
    "transparent": (".png", lambda: _png(with_alpha(scene().picture, 255)), "colour"),
    "grey": (".png", lambda: _png(grey()), "grey"),
    "16 bits, grey": (".png", lambda: _png(grey().astype(np.uint16) * 257), "grey"),
    "bitmap": (".bmp", lambda: _encoded(".bmp", scene().picture), "colour"),
    "floats": (".tif", lambda: _encoded(".tif", scene().picture / np.float32(255)), ""),
    "floats with a NaN": (".tif", lambda: _encoded(".tif", spoiled(np.nan)), ""),
    "8 bits in 16": (".png", lambda: _png(scene().picture.astype(np.uint16)), ""),
    "black": (".png", lambda: _png(PLAIN["black"]()), ""),
    "four pixels": (".png", lambda: _png(scene().picture[:2, :2]), ""),
    "cut off": (".png", lambda: _png(scene().picture)[:9000], ""),
    "claims 40 gigapixels": (".png", lambda: _claiming(200_000, 200_000), ""),
    "claims no pixels": (".png", lambda: _claiming(0, 0), ""),
    "text": (".jpg", lambda: b"a photo", ""),
    "nothing": (".png", lambda: b"", ""),
}
CAMERA = """[cam_0]
name = "photo"
size = [{size}, {size}]
matrix = [[{focal}, 0, 160], [0, {focal}, 160], [0, 0, 1]]
distortions = [{lens}, 0, 0, 0]
rotation = [0, 0, 0]
translation = [0, 0, 0]
"""
CALIBRATIONS: Mapping[str, str] = {
    "singular": CAMERA.format(size=SIDE, focal=0, lens=0),
    "NaN": CAMERA.format(size=SIDE, focal="nan", lens=0),
    "of another size": CAMERA.format(size=2 * SIDE, focal=300, lens=0),
    "with a lens of NaN": CAMERA.format(size=SIDE, focal=300, lens="nan"),
    "text": "a camera",
    "nothing": "",
}


def photo_cases(folder: Path) -> Iterator[Case]:
    """Of `marey.estimate` on files, which are written to a folder."""
    weights = folder / "weights"
    loaded = network()
    write_weights(weights, loaded.module.state_dict(), {ENTRY: describe(loaded)})
    photo = folder / "photo.png"
    photo.write_bytes(_png(scene().picture))
    for place, (kind, (suffix, data, plain)) in enumerate(PHOTOS.items()):
        call = partial(_from_bytes, folder / f"{place}{suffix}", data, weights=weights)
        like = partial(_plain_joints, folder, plain, weights) if plain else None
        yield Case(name=f"marey.estimate, photo: {kind}", call=call, like=like)
    for place, (kind, text) in enumerate(CALIBRATIONS.items()):
        file = folder / f"camera_{place}.toml"
        file.write_text(text, encoding="utf-8")
        call = partial(_estimated, photo, weights=weights, calibration=file)
        yield Case(name=f"marey.estimate, calibration: {kind}", call=call)
    for kind, wrong in {"not there": folder / "absent", "a picture": photo}.items():
        yield Case(name=f"marey.estimate, weights: {kind}", call=partial(_estimated, photo, weights=wrong))
    for kind, paths in {"not there": folder / "absent.png", "two": [photo, photo], "none": []}.items():
        yield Case(name=f"marey.estimate, photos: {kind}", call=partial(_estimated, paths, weights=weights))


def _from_bytes(path: Path, data: Callable[[], bytes], *, weights: Path) -> Found:
    path.write_bytes(data())
    return _estimated(path, weights=weights)


@cache
def _plain_joints(folder: Path, plain: str, weights: Path) -> Tensor:
    return _from_bytes(folder / f"{plain}.png", lambda: _png(PLAIN[plain]()), weights=weights).joints


def _estimated(inputs: Any, *, weights: Path, **given: Any) -> Found:
    config = EstimateConfig(weights=weights, detector="marey", overlay=False)
    return of_estimate(marey.estimate(inputs, method="metrabs", config=config, **given))


def of_estimate(estimate: Estimate) -> Found:
    """Joints, and what the notes say of people who are not there."""
    joints = estimate.joints
    shape = (*joints.batch_shape, len(joints.skeleton))
    shaped = joints.positions.shape == (*shape, 3) and joints.covariance.shape == (*shape, 3, 3)
    known = joints.positions.isfinite().all(-1)
    shaped &= bool((joints.score[~known] == 0).all())
    told = "; ".join(note for note in estimate.notes if note.startswith("Person"))
    return Found(joints.positions, told, shaped)


def _camera(observation: Observation, **changed: Tensor) -> Observation:
    cameras = observation.cameras
    assert cameras is not None
    known = {"intrinsics": cameras.intrinsics, "distortion": cameras.distortion, "image_size": cameras.image_size}
    return replace(observation, cameras=Cameras(**{**known, **changed}))


def _corners(observation: Observation, change: Callable[[Tensor], Tensor]) -> Observation:
    assert observation.boxes is not None
    boxes = replace(observation.boxes, corners=change(observation.boxes.corners))
    return replace(observation, boxes=boxes, keypoints=None)


def _twice(observation: Observation) -> Observation:
    both = torch.zeros(2, dtype=torch.long)
    assert observation.boxes is not None
    assert observation.cameras is not None
    return replace(
        observation,
        frames=observation.frames * 2,
        boxes=observation.boxes[both],
        cameras=observation.cameras[both],
        keypoints=None,
    )


def _intrinsics(times: float) -> Callable[[Observation], Observation]:
    def changed(seen: Observation) -> Observation:
        assert seen.cameras is not None
        return _camera(seen, intrinsics=times * seen.cameras.intrinsics)

    return changed


def _lens(value: float) -> Callable[[Observation], Observation]:
    return lambda seen: _camera(seen, distortion=torch.full((1, 5), value))


OBSERVATIONS: Mapping[str, Callable[[Observation], Observation]] = {
    "no images": lambda seen: replace(seen, frames=()),
    "no images in the view": lambda seen: replace(seen, frames=(None,)),
    "no cameras": lambda seen: replace(seen, cameras=None),
    "two views": _twice,
    "neither boxes nor keypoints": lambda seen: replace(seen, boxes=None, keypoints=None),
    "nobody": lambda seen: _corners(seen, lambda corners: torch.full_like(corners, torch.nan)),
    "boxes beside the picture": lambda seen: _corners(seen, lambda corners: corners + 5000.0),
    "boxes inside out": lambda seen: _corners(seen, lambda corners: corners.roll(2, -1)),
    "cameras for another size": lambda seen: _camera(seen, image_size=torch.tensor([[9999.0, 9999.0]])),
    "singular cameras": _intrinsics(0.0),
    "cameras of NaN": _intrinsics(torch.nan),
    "lens of NaN": _lens(torch.nan),
    "lens that cannot be undone": _lens(-1e6),
}


def observation_cases() -> Iterator[Case]:
    """Of the estimator on what a pipeline hands to it."""
    sample = next(iter(Benchmark(quick=True).samples("single_easy", 0, 1)))
    for kind, spoil in OBSERVATIONS.items():
        yield Case(name=f"estimator, observation: {kind}", call=partial(_observed, spoil, sample))


def _observed(spoil: Callable[[Observation], Observation], sample: Observation) -> Found:
    return of_estimate(estimate_people(spoil(sample), network(), device="cpu"))


@cache
def _networks() -> Mapping[str, tuple[torch.nn.Module, int, int]]:
    """Name -> network, side of its crops and number of joints."""
    torch.manual_seed(0)
    joints = skeleton("smpl_24").joints
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=joints, heatmaps=HeatmapConfig(side=64))
    made: dict[str, tuple[torch.nn.Module, int, int]] = {
        f"network {recovery}": (MetrabsNet(replace(config, scale_recovery=recovery)).eval(), 64, len(joints))
        for recovery in ("metrabs", "metro")
    }
    loaded = network()
    return {**made, "network on the trunk": (loaded.module, loaded.side, len(loaded.skeleton))}


CROPS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "8 bits": lambda crops: (255 * crops).to(torch.uint8),
    "whole numbers": lambda crops: (255 * crops).long(),
    "double precision": lambda crops: crops.double(),
    "one crop without a batch": lambda crops: crops[0],
    "grey": lambda crops: crops[:, :1],
    "transparent": lambda crops: crops[:, [0, 1, 2, 2]],
    "channels last": lambda crops: crops.permute(0, 2, 3, 1),
    "of another side": lambda crops: crops[..., ::2, ::2],
    "NaN": lambda crops: torch.full_like(crops, torch.nan),
    "one NaN each": lambda crops: crops.index_fill(3, torch.tensor([5]), torch.nan),
    "infinite": lambda crops: torch.full_like(crops, torch.inf),
}
CROP_MATRICES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "one for two crops": lambda matrices: matrices[:1],
    "without a batch": lambda matrices: matrices[0],
    "(4, 4)": lambda matrices: torch.eye(4).expand(2, 4, 4),
    "zeros": torch.zeros_like,
    "without focal length": lambda matrices: torch.diag(torch.tensor([0.0, 0, 1])).expand(2, 3, 3),
    "NaN": lambda matrices: torch.full_like(matrices, torch.nan),
}


def network_cases() -> Iterator[Case]:
    """Of networks on crops."""
    for name, (module, side, joints) in _networks().items():
        torch.manual_seed(1)
        crops = torch.rand(2, 3, side, side)
        matrices = torch.tensor([[1.2 * side, 0, side / 2], [0, 1.2 * side, side / 2], [0, 0, 1]]).expand(2, 3, 3)
        looked = partial(_looked, module, joints)
        for kind, spoil in CROPS.items():
            yield Case(name=f"{name}, crops: {kind}", call=partial(looked, spoil, crops, _same, matrices))
        if "metro" not in name:  # its joints are relative to the root: it does not look at the matrices
            for kind, spoil in CROP_MATRICES.items():
                yield Case(name=f"{name}, matrices: {kind}", call=partial(looked, _same, crops, spoil, matrices))
        none = partial(looked, _same, crops[:0], _same, matrices[:0])
        yield Case(name=f"{name}, crops: none", call=none, like=partial(torch.zeros, 0, joints, 3))


def _same(values: Tensor) -> Tensor:
    return values


def _looked(
    module: torch.nn.Module,
    joints: int,
    spoil: Callable[[Tensor], Tensor],
    crops: Tensor,
    turn: Callable[[Tensor], Tensor],
    matrices: Tensor,
) -> Found:
    images = spoil(crops)
    with torch.inference_mode():
        said = module(images, turn(matrices))
    count = images.shape[0]
    shaped = said.joints.shape == (count, joints, 3) and said.covariance.shape == (count, joints, 3, 3)
    return Found(said.joints, shaped=shaped)
