"""Pictures of what the trunk is trained on, and of what it makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from marey.core import Image
from marey.core.skeletons import skeleton
from marey.methods.trunk.samples import TrunkSamples
from marey.nn.trunk import KEYPOINTS, STRIDE, TrunkMaps, read_keypoints
from marey.viz.figure_sketch import GUESS, HIDDEN, TRUTH, draw_figure

_ENLARGED = 2


def trunk_preview(samples: TrunkSamples, maps: TrunkMaps) -> dict[str, Image]:
    """Show the first picture with a person in the middle: labels, keypoints found, and both maps of parts."""
    place = int(samples.keypoints.isfinite().flatten(1).any(1).int().argmax())
    picture = cv2.resize(
        np.ascontiguousarray(samples.images[place].permute(1, 2, 0).numpy(force=True)),
        None,
        fx=_ENLARGED,
        fy=_ENLARGED,
        interpolation=cv2.INTER_CUBIC,
    ).astype(np.uint8)
    links = skeleton(KEYPOINTS).links
    truth = _enlarged(samples.keypoints[place])
    seen = samples.seen[place].numpy(force=True)
    everything = np.ones_like(seen)
    labels, guesses = picture.copy(), picture.copy()
    draw_figure(labels, truth, links, color=HIDDEN, shown=everything)
    draw_figure(labels, truth, links, color=TRUTH, shown=seen)
    for box in samples.boxes[place].numpy(force=True):
        if np.isfinite(box).all():
            left, top, right, bottom = ((box + 0.5) * _ENLARGED).round().astype(int).tolist()
            cv2.rectangle(labels, (left, top), (right, bottom), TRUTH, 1, cv2.LINE_AA)
    background = maps.parts.shape[1] - 1
    found = _enlarged(read_keypoints(maps).positions[place])
    draw_figure(guesses, found, links, color=GUESS, shown=everything)
    return {
        "labels": labels,
        "keypoints": guesses,
        "parts": _parts(samples.parts[place], background),
        "parts_found": _parts(maps.parts[place].argmax(0), background),
    }


def _enlarged(points: Tensor) -> npt.NDArray[np.floating]:
    found: npt.NDArray[np.floating] = (points.float().numpy(force=True) + 0.5) * _ENLARGED - 0.5
    return found


def _parts(parts: Tensor, background: int) -> Image:
    """Each part in a colour of its own, the background dark."""
    values = parts.numpy(force=True)
    colors = cv2.applyColorMap(((values * 53 + 30) % 256).astype(np.uint8), cv2.COLORMAP_TURBO)
    colors[values == background] = 24
    scale = STRIDE * _ENLARGED
    enlarged = cv2.resize(colors, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(enlarged[..., ::-1]).astype(np.uint8)
