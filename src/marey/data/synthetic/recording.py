"""A synthetic recording: films of people by several cameras, the calibration, and the truth.

What lies in the folder afterwards:

======================  ========================================================================================
`cam_1.mp4`, ...        the film of each camera, all of one length, frame k of all taken at the same moment
`calibration.toml`      the cameras, metres
`truth.npz`             joints, bodies, cameras and what is seen of whom, in the keys of `marey.io.npz`
`recording.json`        what it was made from; the same makes the same again
`cam_1/`, ...           on demand: keypoints of a simulated detector, OpenPose JSON
`masks/cam_1/`, ...     on demand: 8-bit PNG, 0 nobody, p the person p of the truth counted from 1, 255 an occluder
======================  ========================================================================================
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from marey._version import __version__
from marey.body.model import BodyModel
from marey.body.open_body import open_body
from marey.body.skinning import joints_at_rest
from marey.body.smpl_tree import joints_of
from marey.core import Cameras, Estimate, InputError, Keypoints2D, skeleton
from marey.core.results import BodyState
from marey.data.keypoint_capture_files import write_keypoint_folders
from marey.data.simulated_detector import exact_joints, simulate_detections
from marey.data.synthetic.bodies import people_shapes
from marey.data.synthetic.cameras import place_cameras
from marey.data.synthetic.choreography import choreography
from marey.data.synthetic.config import SPLITS, SyntheticConfig
from marey.data.synthetic.generator import SyntheticGenerator, one_thread
from marey.data.synthetic.labels import OCCLUDER, PixelLabels, SyntheticBatch
from marey.data.synthetic.random import Draws
from marey.data.synthetic.staging import Staging
from marey.geometry.projection import world_to_camera
from marey.io.atomic import atomic_path, atomic_write_text, check_writable
from marey.io.camera_toml import write_camera_toml
from marey.io.npz import write_estimate_npz
from marey.io.video import video_writer

CALIBRATION_FILE, TRUTH_FILE, ABOUT_FILE = "calibration.toml", "truth.npz", "recording.json"
SHEET_FILE = "contact_sheet.jpg"
"""A picture of the recording, which who asks for one lays beside it."""
MASKS = "masks"
MOST_PEOPLE = 4
"""Who walk without walking into one another."""
_MOST_FRAMES = 100_000
_AT_ONCE = 16
"""Frames that are made before they are written."""
_FILLING = 0.9
"""Share of the picture that people may be in: lenses that bend outwards need the rest."""
_FLESH = 0.15
"""Metres of head, hands, feet and cloth around joints."""
_NEAREST = 1.5
"""Metres from a camera to a joint."""
_CHEST = 0.9
"""Metres above the ground that the cameras look at."""
_COVERED = 255


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """What is recorded. A recording is a pure function of this."""

    tier: Literal["easy", "medium", "hard"] = "easy"
    """How difficult: ages, poses of the upper body, lenses, occluders and flaws of the pictures; see `TIERS`."""
    views: int = 4
    """Cameras around the people."""
    people: int = 1
    """Who walk about, squat, wave and turn; 1 to 4."""
    frames: int = 150
    fps: float = 30.0
    image_size: tuple[int, int] = (640, 480)
    """Width and height, pixels."""
    skeleton: str = "body_25b"
    """Of the joints in the truth."""
    split: Literal["training", "benchmark"] = "benchmark"
    """Of the random numbers, clothes and backgrounds; they share none."""
    seed: int = 0
    """Another number is another recording."""

    def __post_init__(self) -> None:
        if not 1 <= self.people <= MOST_PEOPLE:
            raise InputError(f"people: expected 1 to {MOST_PEOPLE}, got {self.people}")
        if not 1 <= self.frames <= _MOST_FRAMES:
            raise InputError(f"frames: expected 1 to {_MOST_FRAMES}, got {self.frames}")
        if not 1 <= self.fps <= 1000:
            raise InputError(f"fps: expected 1 to 1000 frames per second, got {self.fps}")
        if any(length % 2 for length in self.image_size):
            raise InputError(f"image_size: expected even numbers, which videos need, got {self.image_size}")
        known = open_body("medium").regressors
        if self.skeleton not in known:
            raise InputError(f"skeleton: expected one of {', '.join(sorted(known))}, got '{self.skeleton}'")
        _ = self.pictures  # checks tier, split, views and sizes

    @property
    def pictures(self) -> SyntheticConfig:
        """What a generator of the frames is told."""
        return SyntheticConfig(
            tier=self.tier,
            split=self.split,
            image_size=self.image_size,
            views=self.views,
            people=self.people,
            framing="scene",
            level="medium",
            skeletons=(self.skeleton,),
        )


def write_recording(
    config: RecordingConfig,
    folder: str | os.PathLike[str],
    *,
    keypoints: bool = False,
    masks: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Estimate:
    """Render a recording into a folder; the files are listed at the top of this module.

    An earlier recording in the folder is removed. Memory does not grow with the number of frames but for the labels.
    Cost: about 0.1 s a picture of 640 x 480 on one thread.

    Args:
        config: What is recorded.
        folder: Made if absent.
        keypoints: Also write what a simulated, faulty detector reports, so that `marey.estimate` needs none.
        masks: Also write who is seen in every pixel.
        progress: Called with the number of frames done since the last call.

    Returns:
        The truth, as in `truth.npz`.

    Raises:
        InputError: the folder cannot be written.
    """
    place = check_writable(folder)
    _remove_earlier(place)
    staging = stage(config)
    generator = SyntheticGenerator(config.pictures, staging=staging)
    names, parts = staging.cameras.names, []
    with ExitStack() as stack:
        films = [stack.enter_context(video_writer(place / f"{name}.mp4", fps=config.fps)) for name in names]
        for frames in torch.split(torch.arange(config.frames), _AT_ONCE):
            batch = generator.sample(config.seed, torch.zeros_like(frames), frames / config.fps)
            for film, pictures in zip(films, batch.images.transpose(0, 1), strict=True):
                for picture in pictures.permute(0, 2, 3, 1).numpy():
                    film(np.ascontiguousarray(picture))
            if masks:
                _write_masks(place / MASKS, names, batch.pixels, int(frames[0]))
            parts.append(_known(batch, config))
            if progress is not None:
                progress(len(frames))
    truth = _whole(parts, config)
    assert truth.cameras is not None
    write_camera_toml(place / CALIBRATION_FILE, truth.cameras)
    write_estimate_npz(place / TRUTH_FILE, truth)
    if keypoints:
        write_keypoint_folders(place, names, simulate_detections(truth, seed=config.seed))
    atomic_write_text(place / ABOUT_FILE, json.dumps(_about(config), indent=2) + "\n")
    return truth


@one_thread()
def stage(config: RecordingConfig) -> Staging:
    """Lay down who moves how, and put every camera as near as all of that is in its picture."""
    tier = config.pictures.difficulty
    draws = Draws(seed=config.seed, split=config.split, indices=torch.zeros(1, dtype=torch.int64))
    persons = draws.fork(torch.arange(config.people)[None], "person")
    model = open_body("medium").to(torch.float64)
    people = choreography(
        model,
        people_shapes(persons, tier),
        tier,
        frames=config.frames,
        fps=config.fps,
        rng=np.random.default_rng([config.seed % (1 << 64), SPLITS.index(config.split)]),
    )
    cameras = place_cameras(draws, config.pictures, torch.tensor([[0.0, 0.0, _CHEST]], dtype=torch.float64))[0]
    return Staging(people=people, fps=config.fps, cameras=_fitted(cameras, _joints(model, people)))


def _joints(model: BodyModel, people: BodyState) -> Tensor:
    """(T, P, 24, 3) metres, about as high as they will be: the lowest of each body at the ground."""
    rest = joints_at_rest(model.joint_template, model.joint_basis, people.shape[0])
    places = joints_of(torch.cat((people.orientation[:, :, None], people.pose), 2), rest)
    lowest = torch.nn.functional.pad(places[..., 2].amin(-1)[..., None], (2, 0))
    return places + (people.translation - lowest)[..., None, :]


def _fitted(cameras: Cameras, points: Tensor) -> Cameras:
    """Move cameras (V,) along their optical axes to where points (..., 3) just fit into their pictures."""
    rotation, translation = cameras.extrinsics
    local = world_to_camera(points.reshape(1, -1, 3), cameras)
    focal = cameras.intrinsics.diagonal(dim1=-2, dim2=-1)[:, None, :2]
    half = 0.5 * _FILLING * cameras.image_size[:, None]
    needed = (focal * (local[..., :2].abs() + _FLESH) / half).amax(-1).clamp_min(_NEAREST) - local[..., 2]
    back = torch.nn.functional.pad(needed.amax(-1, keepdim=True), (2, 0))
    return replace(cameras, rotation=rotation, translation=translation + back)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is known of some frames."""

    joints: Tensor
    """(T, P, J, 3)"""
    keypoints: Tensor
    """(T, V, P, J, 2), NaN where not seen."""
    body: BodyState
    cameras: Cameras


def _known(batch: SyntheticBatch, config: RecordingConfig) -> _Part:
    pixels = batch.skeletons_2d[config.skeleton]
    seen = _seen(pixels, batch.pixels)
    return _Part(
        joints=batch.skeletons[config.skeleton],
        keypoints=torch.where(seen[..., None], pixels, torch.nan),
        body=batch.people.body,
        cameras=batch.cameras[0],
    )


def _seen(pixels: Tensor, shown: PixelLabels) -> Tensor:
    """Which points (T, V, P, J, 2) are in the picture, and neither another person nor an occluder is before them."""
    height, width = shown.person.shape[-2:]
    x, y = pixels.round().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = torch.where(inside, y * width + x, 0.0).long()
    found = shown.visible.flatten(2).gather(2, place.flatten(2)).reshape(place.shape)
    owner = torch.arange(pixels.shape[2])[:, None]
    return inside & ((found == owner) | (found == -1))


def _whole(parts: list[_Part], config: RecordingConfig) -> Estimate:
    points = torch.cat([part.keypoints for part in parts]).transpose(0, 1)
    seen = points.isfinite().all(-1)
    names = skeleton(config.skeleton)
    return Estimate(
        joints=exact_joints(torch.cat([part.joints for part in parts]), names),
        cameras=parts[0].cameras,
        keypoints=Keypoints2D(
            positions=points,
            covariance=torch.where(seen[..., None, None], torch.zeros(2, 2), torch.nan),
            score=seen.to(torch.float32),
            skeleton=names,
        ),
        body=BodyState.cat([part.body for part in parts]),
        fps=config.fps,
        frames=tuple(range(config.frames)),
        notes=(
            "The truth of a synthetic recording: joints and bodies without any error, their covariance zero.",
            "Keypoints are known where they are in the picture and nothing but the person itself is before them.",
            "The bodies are those of marey.body.open_body.open_body('medium').",
        ),
        provenance=_about(config),
    )


def _about(config: RecordingConfig) -> dict[str, Any]:
    return {
        "made_by": f"marey {__version__} synth",
        **asdict(config),
        "image_size": list(config.image_size),
        "unit": "m",
        "world_up": "z",
        "body": "marey.body.open_body.open_body('medium')",
    }


def _write_masks(folder: Path, names: tuple[str, ...], pixels: PixelLabels, first: int) -> None:
    """Write who is seen in every pixel of some frames, the first of which has a number."""
    shown = pixels.visible
    values = torch.where(shown == OCCLUDER, _COVERED, shown + 1).to(torch.uint8).numpy()
    for view, name in enumerate(names):
        check_writable(folder / name)
        for offset, mask in enumerate(values[:, view]):
            with atomic_path(folder / name / f"{first + offset:06d}.png") as temporary:
                cv2.imencode(".png", mask)[1].tofile(temporary)


def _remove_earlier(folder: Path) -> None:
    """Take away what an earlier recording left, so that all files are of one."""
    if not (folder / ABOUT_FILE).is_file():
        return
    for name in (CALIBRATION_FILE, TRUTH_FILE, ABOUT_FILE, SHEET_FILE):
        (folder / name).unlink(missing_ok=True)
    for film in folder.glob("cam_*.mp4"):
        film.unlink()
    for keypoints in folder.glob("cam_*/*_keypoints.json"):
        keypoints.unlink()
    shutil.rmtree(folder / MASKS, ignore_errors=True)
