"""Pictures of the report: the worst boards with what was seen and what the cameras say, and the boards left out."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from marey.calibrate.assessment import camera_names, used_corners
from marey.calibrate.calibration import BoardObservations, Calibration, Rejection
from marey.calibrate.picture_names import observed_name
from marey.core import Image

WORST = 6
"""Pictures of used boards, at most two of one camera."""
REJECTED = 8
"""Pictures of boards left out."""
SIDE = 520
"""Pixels of the longer side of an embedded picture."""
QUALITY = 78
"""Of the JPEG."""

SEEN, PROJECTED = (255, 140, 0), (0, 190, 255)
"""Red green blue of the corners as seen and as projected."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BoardPicture:
    """A picture to embed, and what is to be said about it."""

    data: str
    """JPEG in base64."""
    size: tuple[int, int]
    caption: str


def worst_pictures(calibration: Calibration) -> list[BoardPicture]:
    """The used boards with the largest errors, cut out, with the corners as seen and as projected.

    Nothing where the pictures cannot be had any more.
    """
    observations, residuals = calibration.observations, calibration.residuals
    if observations is None or residuals is None or not observations.sources:
        return []
    used = used_corners(calibration)
    squared = torch.where(used, residuals.square().sum(-1), torch.nan).nanmean(-1)
    pictures = []
    names = camera_names(calibration.cameras)
    for view, moment in _worst_places(squared):
        image = _frame(observations, view, moment)
        if image is None:
            continue
        seen = observations.pixels[view, moment]
        projected = seen - residuals[view, moment]
        error = float(squared[view, moment].sqrt())
        caption = f"{names[view]}, {observed_name(observations, view, moment)}: {error:.2f} px"
        pictures.append(_picture(image, seen.numpy(), projected.double().numpy(), caption))
    return pictures


def rejected_pictures(calibration: Calibration, rejected: Sequence[Rejection]) -> list[BoardPicture]:
    """Some of the boards that were left out, as seen, with the reason; of different reasons and cameras first."""
    observations = calibration.observations
    if observations is None or not observations.sources:
        return []
    names = camera_names(calibration.cameras)
    pictures = []
    for rejection in _varied(rejected):
        image = _frame(observations, rejection.view, rejection.moment)
        if image is None:
            continue
        caption = rejection_text(rejection, observations, names)
        seen = observations.pixels[rejection.view, rejection.moment].numpy()
        pictures.append(_picture(image, seen, None, caption))
        if len(pictures) == REJECTED:
            break
    return pictures


def rejection_text(rejection: Rejection, observations: BoardObservations, names: Sequence[str]) -> str:
    """Which camera, which picture, and why it was left out."""
    picture = observed_name(observations, rejection.view, rejection.moment)
    why = rejection.why if picture in rejection.why else f"{picture}: {rejection.why}"
    return f"{names[rejection.view]}, {why}"


def _worst_places(squared: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Views and moments by falling error (V, M), at most two of a view and `WORST` together."""
    taken: dict[int, int] = {}
    order = torch.argsort(squared.nan_to_num(-1).flatten(), descending=True, stable=True)
    for place in order.tolist():
        view, moment = divmod(place, squared.shape[1])
        if not squared[view, moment] >= 0 or sum(taken.values()) == WORST:
            return
        if taken.get(view, 0) < 2:
            taken[view] = taken.get(view, 0) + 1
            yield view, moment


def _varied(rejected: Sequence[Rejection]) -> list[Rejection]:
    """Each view in turn, so that the first few are not all of one camera."""
    turn: dict[int, int] = {}
    keyed = []
    for rejection in rejected:
        turn[rejection.view] = turn.get(rejection.view, 0) + 1
        keyed.append((turn[rejection.view], rejection.view, rejection))
    return [rejection for _, _, rejection in sorted(keyed, key=lambda item: item[:2])][: 3 * REJECTED]


def _frame(observations: BoardObservations, view: int, moment: int) -> Image | None:
    source, index = observations.sources[view], int(observations.frame_indices[view, moment])
    if source is None or index < 0:
        return None
    return next(source.frames(index, index + 1), None)


def _picture(image: Image, seen: Array, projected: Array | None, caption: str) -> BoardPicture:
    points = seen if projected is None else np.concatenate((seen, projected))
    left, top, right, bottom = _window(points[np.isfinite(points).all(-1)], image.shape[1], image.shape[0])
    scale = SIDE / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = np.ascontiguousarray(cv2.resize(image[top:bottom, left:right], size, interpolation=method))
    for marks, color, cross in ((seen, SEEN, False), (projected, PROJECTED, True)):
        if marks is not None:
            # the middle of a pixel is at integer coordinates before and after
            placed = (marks - [left, top] + 0.5) * scale - 0.5
            _mark(shown, placed[np.isfinite(placed).all(-1)], color, cross=cross)
    _, encoded = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return BoardPicture(data=base64.b64encode(encoded.tobytes()).decode("ascii"), size=size, caption=caption)


def _window(points: Array, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom around the board with some margin; the whole image where no corner is known."""
    if len(points):
        low, high = points.min(0), points.max(0)
        margin = 0.18 * float((high - low).max()) + 12
        left, top = np.clip(low - margin, 0, [width, height]).astype(int)
        right, bottom = np.clip(high + margin, 0, [width, height]).astype(int)
        if right - left >= 8 and bottom - top >= 8:
            return int(left), int(top), int(right), int(bottom)
    return 0, 0, width, height


def _mark(image: Image, points: Array, color: tuple[int, int, int], *, cross: bool) -> None:
    """Draw circles or crosses at sub-pixel places, a sixteenth of a pixel fine."""
    for x, y in (16 * points).round().astype(int).tolist():
        if cross:
            for dx, dy in ((72, 72), (72, -72)):
                cv2.line(image, (x - dx, y - dy), (x + dx, y + dy), color, 1, cv2.LINE_AA, 4)
        else:
            cv2.circle(image, (x, y), 96, color, 1, cv2.LINE_AA, 4)
