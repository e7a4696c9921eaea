"""Calibrations made by hand: known cameras, a board carried about, corners with known errors."""

from dataclasses import replace

import torch

from marey.calibrate.boards import Board
from marey.calibrate.calibration import BoardObservations, Calibration
from marey.data.board_capture import BoardCapture, BoardCaptureConfig, board_capture
from marey.geometry.projection import project

BOARD = Board(kind="charuco", columns=7, rows=5, square=0.08, dictionary="DICT_4X4_50")
NAMES = ("rx", "ry", "rz", "x", "y", "z", "fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3")


def capture(views: int = 3, frames: int = 12) -> BoardCapture:
    """Nothing of it is rendered."""
    return board_capture(BoardCaptureConfig(views=views, frames=frames))


def made(views: int = 3, *, noise: float = 0.2, names: tuple[str, ...] = ()) -> Calibration:
    """A calibration whose cameras are right, with corners that are `noise` pixels off along each axis."""
    truth = capture(views)
    cameras = replace(truth.cameras, names=names or truth.cameras.names)
    rotation, translation = truth.board_rotation, truth.board_translation
    corners = BOARD.points @ rotation.mT + translation[:, None]
    exact = project(corners[None].expand(views, *corners.shape), cameras)
    pixels = exact + noise * torch.randn(exact.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inside = ((pixels > 0) & (pixels < cameras.image_size[:, None, None])).all(-1, keepdim=True)
    pixels = torch.where(inside, pixels, torch.nan)
    observations = BoardObservations(
        board=BOARD,
        pixels=pixels,
        names=cameras.names,
        sizes=cameras.image_size,
        moments=tuple(range(len(rotation))),
        frame_indices=torch.arange(len(rotation)).expand(views, -1),
    )
    return Calibration(
        cameras=cameras,
        parameter_names=NAMES,
        deviation=torch.full((views, len(NAMES)), 1e-3, dtype=torch.float64),
        observations=observations,
        board_rotation=rotation,
        board_translation=translation,
        residuals=pixels - exact,
        used=observations.seen,
    )


def blind(calibration: Calibration, *pairs: tuple[int, int]) -> Calibration:
    """As if these pairs of views never had seen the board at one moment: they take turns."""
    observations = calibration.observations
    pixels = observations.pixels.clone()
    for first, second in pairs:
        pixels[first, 0::2], pixels[second, 1::2] = torch.nan, torch.nan
    residuals = torch.where(pixels.isnan(), torch.nan, calibration.residuals)
    seen = replace(observations, pixels=pixels)
    return replace(calibration, observations=seen, residuals=residuals, used=seen.seen)
