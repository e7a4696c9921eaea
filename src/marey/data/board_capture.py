"""A synthetic recording of a calibration board that is moved about before several cameras, with exact truth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, InputError
from marey.core.recording import Image
from marey.data.board_texture import Picture, draw_charuco, with_margin
from marey.geometry.projection import pixels_to_rays, project
from marey.io.atomic import check_writable

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]

TEXELS = 48
"""Of the drawn board, a square; more than an image has pixels for it."""
MARGIN = 0.5
"""White paper around the board, in squares."""
SHEET_TILT = 0.45
"""Radians: how far the board leans at most."""


@dataclass(frozen=True, kw_only=True)
class BoardCaptureConfig:
    """What is recorded, and by what. The recording is a pure function of this."""

    frames: int = 40
    fps: float = 10.0
    views: int = 3
    image_size: tuple[int, int] = (800, 600)
    """Width and height, pixels."""
    focal_length: float = 720.0
    """Pixels."""
    distortion: tuple[float, ...] = (-0.12, 0.06, 0.0008, -0.0005, 0.0)
    """Of every camera, in OpenCV's order."""
    arc: float = 80.0
    """Degrees over which the cameras stand, seen from the board's middle."""
    distance: float = 1.7
    """Metres from there to each camera."""
    columns: int = 7
    """Squares of the ChArUco board."""
    rows: int = 5
    square: float = 0.08
    """Metres."""
    dictionary: str = "DICT_4X4_50"
    noise: float = 3.0
    """Standard deviation of the grey values, in 0..255."""
    blur: float = 0.7
    """Standard deviation of the optics, pixels."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames < 1 or self.views < 1:
            raise InputError(f"expected one or more frames and views, got {self.frames} and {self.views}")
        if not (self.fps > 0 and self.focal_length > 0 and self.distance > 0 and self.square > 0):
            raise InputError("expected fps, focal_length, distance and square above 0")


@dataclass(frozen=True, kw_only=True)
class BoardCapture:
    """V simulated cameras, and where the board was in each of T frames."""

    config: BoardCaptureConfig
    cameras: Cameras
    """(V,) float64, named cam_1, cam_2, ..."""
    board_rotation: torch.Tensor
    """(T, 3, 3) board to world; the board's frame has its origin at the first inner corner, x along columns, y along
    rows."""
    board_translation: torch.Tensor
    """(T, 3) metres."""

    @property
    def board(self) -> str:
        """The board in the words of `marey calibrate --board`."""
        config = self.config
        return f"charuco:{config.columns}x{config.rows}:{config.square:g}:{config.dictionary}"

    def frames(self, view: int) -> Iterator[Image]:
        """Render what a view sees, frame by frame, (height, width, 3)."""
        return _rendered(self, view)


def board_capture(config: BoardCaptureConfig | None = None) -> BoardCapture:
    """Make cameras on an arc, and a board that is carried through what they see, turning towards each in turn.

    Nothing is rendered yet: `BoardCapture.frames` does that, `write_board_capture` writes videos.
    """
    config = config or BoardCaptureConfig()
    rng = np.random.default_rng(config.seed)
    rotation, translation = _carried(config, rng)
    return BoardCapture(
        config=config,
        cameras=_cameras_on_an_arc(config, rng),
        board_rotation=torch.from_numpy(rotation),
        board_translation=torch.from_numpy(translation),
    )


def write_board_capture(capture: BoardCapture, folder: str | os.PathLike[str]) -> Path:
    """Write what a user would record, `FOLDER/cam_1.mp4`, ...; not the truth. A few seconds.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written.
    """
    from marey.io.video import write_video

    place = check_writable(folder)
    for view, name in enumerate(capture.cameras.names):
        write_video(place / f"{name}.mp4", capture.frames(view), fps=capture.config.fps)
    return place


def _cameras_on_an_arc(config: BoardCaptureConfig, rng: np.random.Generator) -> Cameras:
    """Cameras around the middle (0, 0, 1.2) of a world whose z points up, looking at it; the board is at their side."""
    views = config.views
    spread = np.linspace(-0.5, 0.5, views) if views > 1 else np.zeros(1)
    angle = np.radians(config.arc * spread + rng.uniform(-3, 3, views))
    height = rng.uniform(-0.35, 0.45, views)
    level = np.sqrt(config.distance**2 - height**2)
    centers = np.stack((level * np.sin(angle), -level * np.cos(angle), 1.2 + height), axis=-1)
    forward = np.array([0, 0, 1.2]) - centers
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    rotation = np.stack((right, np.cross(forward, right), forward), axis=-2)
    width, high = config.image_size
    focal = config.focal_length * rng.uniform(0.95, 1.05, views)
    intrinsics = np.zeros((views, 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, 0, 2] = (width - 1) / 2 + rng.uniform(-8, 8, views)
    intrinsics[:, 1, 2] = (high - 1) / 2 + rng.uniform(-8, 8, views)
    intrinsics[:, 2, 2] = 1
    return Cameras(
        intrinsics=torch.from_numpy(intrinsics),
        distortion=torch.tensor(config.distortion, dtype=torch.float64).expand(views, -1).clone(),
        image_size=torch.tensor(config.image_size, dtype=torch.float64).expand(views, 2).clone(),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(-np.einsum("vij,vj->vi", rotation, centers)),
        names=tuple(f"cam_{view + 1}" for view in range(views)),
    )


def _carried(config: BoardCaptureConfig, rng: np.random.Generator) -> tuple[Array, Array]:
    """Where the board is, (T, 3, 3) and (T, 3): its middle wanders through the volume, its face between the cameras."""
    time = np.linspace(0, 1, config.frames)[:, None]
    phase = rng.uniform(0, 2 * np.pi, 6)
    wave = np.sin(2 * np.pi * np.array([1.0, 2.3, 3.1, 1.7, 2.9, 2.1]) * time + phase)
    reach = config.distance * np.array([0.33, 0.2, 0.24])
    middle = reach * wave[:, :3] + [0, 0, 1.2]
    azimuth = np.radians(config.arc / 2 + 10) * wave[:, 3]
    tilt, roll = SHEET_TILT * wave[:, 4], 0.3 * wave[:, 5]
    # x to the right and y down as a camera in front of it (at negative y) sees it, z away from the camera
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    rotation = _about(2, azimuth) @ upright @ _about(0, tilt) @ _about(2, roll)
    half = config.square * (np.array([config.columns, config.rows, 0]) / 2 - [1, 1, 0])
    return rotation, middle - rotation @ half


def _about(axis: int, angle: Array) -> Array:
    """Rotations (T, 3, 3) about a coordinate axis by angles (T,) in radians."""
    turn = np.zeros((len(angle), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first] = np.sin(angle)
    turn[:, first, second] = -np.sin(angle)
    return turn


def _rendered(capture: BoardCapture, view: int) -> Iterator[Image]:
    config, camera = capture.config, capture.cameras[view]
    rng = np.random.default_rng([config.seed, view])
    sheet = with_margin(
        draw_charuco(config.columns, config.rows, dictionary=config.dictionary, pixels=TEXELS), round(MARGIN * TEXELS)
    )
    width, height = config.image_size
    grid = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), dim=-1).double()
    rays = pixels_to_rays(grid, camera)[1].numpy().astype(np.float32)
    # a wall of soft light and shade, so that the picture is not empty
    wall = (105 + 40 * (grid[..., 0] / 97).sin() * (grid[..., 1] / 71).cos()).numpy().astype(np.float32)
    windows = _windows(capture, view)
    for rotation, origin, window in zip(
        capture.board_rotation.numpy(), capture.board_translation.numpy(), windows, strict=True
    ):
        picture = wall.copy()
        center, ahead = (camera.centers.numpy() - origin) @ rotation, rays[window] @ rotation.astype(np.float32)
        picture[window] = _painted(sheet, wall[window], center, ahead, config.square)
        blurred = cv2.GaussianBlur(picture, (0, 0), config.blur) if config.blur else picture
        blurred += config.noise * rng.standard_normal(blurred.shape, dtype=np.float32)
        yield cv2.cvtColor(cv2.convertScaleAbs(blurred), cv2.COLOR_GRAY2RGB)


def _windows(capture: BoardCapture, view: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the part of each picture in which the sheet can be."""
    config = capture.config
    first = -(1 + MARGIN) * config.square
    along = torch.linspace(0, 1, 9, dtype=torch.float64)
    x, y = torch.meshgrid(along * (config.columns + 2 * MARGIN), along * (config.rows + 2 * MARGIN), indexing="xy")
    on_board = torch.stack((x, y, torch.zeros_like(x)), dim=-1).reshape(-1, 3) * config.square
    on_board[:, :2] += first
    points = (capture.board_rotation[:, None] @ on_board[..., None])[..., 0] + capture.board_translation[:, None]
    pixels = project(points, capture.cameras[view]).numpy()
    limit = np.array(config.image_size)
    low = np.clip(np.nanmin(pixels, axis=1) - 12, 0, limit).astype(int)
    high = np.clip(np.nanmax(pixels, axis=1) + 12, 0, limit).astype(int)
    return [(slice(a[1], b[1]), slice(a[0], b[0])) for a, b in zip(low, high, strict=True)]


def _painted(sheet: Picture, wall: Pixels, center: Array, rays: Pixels, square: float) -> Pixels:
    """The sheet seen along rays (H, W, 3) from a centre (3,), both in the board's frame; the wall where it is not."""
    if not wall.size:
        return wall
    depth = np.float32(-center[2]) / rays[..., 2]
    meeting = center[:2].astype(np.float32) + depth[..., None] * rays[..., :2]
    # texel centres lie at half texels; the first inner corner is one square and the margin from the sheet's edge
    texel = (meeting / square + (1 + MARGIN)) * TEXELS - 0.5
    on_sheet = (depth > 0) & ((texel > -0.5) & (texel < np.array(sheet.shape[::-1]) - 0.5)).all(-1)
    texel = texel.astype(np.float32)
    printed = cv2.remap(sheet, texel[..., 0], texel[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    paper = printed if center[2] < 0 else np.full_like(printed, 255)  # the back is empty
    return np.where(on_sheet, np.float32(0.8) * paper + 25, wall)
