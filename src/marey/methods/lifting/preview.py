"""Pictures of what the lifter is trained on, and of what it makes of it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from marey.core import Image
from marey.core.skeletons import skeleton, skeleton_names
from marey.methods.lifting.samples import Samples
from marey.nn.lifter import JOINTS, LiftedJoints
from marey.viz.figure_sketch import GUESS, HIDDEN, TRUTH, blank, draw_figure, fitted

SIDE = 220
"""Of a picture, pixels."""
_METRES, _SIZES = 1.3, 3.0
"""From the middle of a picture to its rim: metres, and sizes of the person."""
_AXES = {"from_the_camera": (0, 1), "from_the_side": (2, 1), "from_above": (0, 2)}


def lifting_preview(samples: Samples, lifted: LiftedJoints) -> dict[str, Image]:
    """Show the first person: keypoints (grey where hardly believed), then truth (green) and guess (orange) in 3D."""
    there = samples.there[0].numpy(force=True)
    view = samples.view
    score = view.score[0].numpy(force=True)
    points = fitted(view.points[0].float().numpy(force=True), SIDE, extent=_SIZES)
    seen = blank(SIDE)
    links = _links(there)
    draw_figure(seen, points, links, color=HIDDEN, shown=score > 0)
    draw_figure(seen, points, links, color=TRUTH, shown=score > 0.5)
    pictures = {"keypoints": seen}
    truth, guess = (part[0].float().numpy(force=True) for part in (samples.joints, lifted.positions))
    for name, axes in _AXES.items():
        pictures[name] = blank(SIDE)
        for joints, color in ((truth, TRUTH), (guess, GUESS)):
            flat = fitted(joints[:, axes], SIDE, extent=_METRES)
            draw_figure(pictures[name], flat, links, color=color, shown=there)
    return pictures


def _links(there: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Links among the joints that a sample has: those of the first skeleton that has just these, or of all."""
    names = [name for name, own in zip(JOINTS, there.tolist(), strict=True) if own]
    fitting = [skeleton(name) for name in skeleton_names() if set(skeleton(name).joints) == set(names)]
    known = fitting[:1] or [skeleton("halpe_26"), skeleton("smpl_24")]
    linked = {frozenset((found.joints[a], found.joints[b])) for found in known for a, b in found.links}
    return [(a, b) for a, b in combinations(range(len(JOINTS)), 2) if frozenset((JOINTS[a], JOINTS[b])) in linked]
