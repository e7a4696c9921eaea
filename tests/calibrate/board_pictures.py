"""Pictures of boards as a camera with a lens takes them, for the tests of the room."""

from pathlib import Path

import cv2
import numpy as np
import torch

from marey.calibrate.boards import Board
from marey.calibrate.charuco import charuco_pattern
from marey.core import Cameras
from marey.geometry.projection import pixels_to_normalised, undistort
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.images import write_image

SIDE = 48
"""Pixels a square of the drawn board."""
OVERSAMPLING = 2
_KNOWN_RAYS: dict[tuple[float, ...], torch.Tensor] = {}


def a_camera(size=(640, 480), focal=600.0, distortion=(-0.2, 0.05, 0.001, -0.001), fisheye=None) -> Cameras:
    """One camera (1,) with the identity as extrinsics and its principal point a little off the middle."""
    width, height = size
    return Cameras(
        intrinsics=torch.tensor([[[focal, 0, width / 2 + 5], [0, focal * 1.002, height / 2 - 7], [0, 0, 1]]]).double(),
        distortion=torch.tensor([distortion]).double(),
        image_size=torch.tensor([[width, height]]).double(),
        rotation=torch.eye(3).double()[None],
        translation=torch.zeros(1, 3).double(),
        fisheye=fisheye,
    )


def some_poses(board: Board, camera: Cameras, count: int, *, tilt=0.6, seed=0, fill=0.5, aside=1.0):
    """Rotations (M, 3, 3) and translations (M, 3), board to camera, that keep most of the board in the picture."""
    random = np.random.default_rng(seed)
    rotation = rotvec_to_matrix(torch.from_numpy(random.uniform(-tilt, tilt, (count, 3))))
    middle = board.points.mean(0)
    extent = float((board.points[-1] - board.points[0]).norm())
    width, height = camera.image_size[0].tolist()
    focal = float(camera.intrinsics[0, 0, 0])
    distance = focal * extent / (fill * height) * torch.from_numpy(random.uniform(0.9, 1.3, count))
    room = torch.tensor([(width - fill * height) / 2, (height - fill * height) / 2]).double() / focal
    off = torch.from_numpy(random.uniform(-aside, aside, (count, 2))) * room
    place = torch.cat((off * distance[:, None], distance[:, None]), -1)
    return rotation, place - middle @ rotation.mT


def draw_board(board: Board) -> np.ndarray:
    """The board as printed, grey, with a border of one square."""
    squares = (board.columns, board.rows) if board.kind == "charuco" else (board.columns + 1, board.rows + 1)
    if board.kind == "charuco":
        drawn = charuco_pattern(board).generateImage((squares[0] * SIDE, squares[1] * SIDE))
    else:
        x, y = np.meshgrid(np.arange(squares[0] * SIDE) // SIDE, np.arange(squares[1] * SIDE) // SIDE)
        drawn = np.where((x + y) % 2 == 0, 0, 255).astype(np.uint8)
    framed = cv2.copyMakeBorder(drawn, SIDE, SIDE, SIDE, SIDE, cv2.BORDER_CONSTANT, value=255)
    return 255 - framed if board.inverted else framed


def render_board(board, camera, rotation, translation, *, blur=0.7, noise=2.0, seed=0, background=110) -> np.ndarray:
    """The picture (height, width, 3) of the board at a pose, board to camera."""
    width, height = (int(side) for side in camera.image_size[0])
    rays = _rays(camera)
    # where the ray meets the board's plane, in the board's frame
    normal = rotation[:, 2]
    hits = rays * ((normal @ translation) / (rays @ normal))[..., None]
    local = (hits - translation) @ rotation
    drawn = draw_board(board)
    # the first corner lies two squares inside of the drawing, whose pixel centres are at integers
    places = (local[..., :2] / board.square + 2) * SIDE - 0.5
    places = places.nan_to_num(-1e6).clamp(-1e6, 1e6).numpy().astype(np.float32)
    seen = cv2.remap(drawn, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=background)
    grey = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    grey = 30 + 0.75 * grey
    if blur:
        grey = cv2.GaussianBlur(grey, (0, 0), blur)
    grey += noise * np.random.default_rng(seed).normal(size=grey.shape)
    return np.repeat(np.clip(np.round(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def _rays(camera: Cameras) -> torch.Tensor:
    """Of all the places that are sampled, (height, width, 3) in the camera's frame; z is 1."""
    key = tuple(torch.cat([part.flatten() for part in camera.tensors()]).tolist())
    if key not in _KNOWN_RAYS:
        width, height = (int(side) for side in camera.image_size[0])
        sides = [(torch.arange(count * OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5 for count in (width, height)]
        y, x = torch.meshgrid(sides[1].double(), sides[0].double(), indexing="ij")
        ideal = undistort(pixels_to_normalised(torch.stack((x, y), -1)[None], camera), camera)[0]
        _KNOWN_RAYS[key] = torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1)
    return _KNOWN_RAYS[key]


def render_boards(board, camera, rotations, translations, **options) -> list[np.ndarray]:
    """One picture a pose."""
    return [
        render_board(board, camera, rotation, translation, seed=seed, **options)
        for seed, (rotation, translation) in enumerate(zip(rotations, translations, strict=True))
    ]


def write_pictures(folder: Path, images) -> Path:
    """Write pictures 00.png, 01.png, ... into a new folder."""
    folder.mkdir(parents=True)
    for place, image in enumerate(images):
        write_image(folder / f"{place:02d}.png", image)
    return folder
