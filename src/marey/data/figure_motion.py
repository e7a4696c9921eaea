"""Smooth, analytic motion for the jointed figure: walking through one another's paths, squatting, waving, turning."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from marey.data.figure import Array, FigurePose

WALKING_SPEED = 1.2
"""Metres per second at which the gait has its full amplitude."""
STRIDE = 0.8
"""Length of a stride (two steps) in statures."""
ACTIVITIES = ("squat", "wave", "turn")
"""What a figure does between two walks."""
SHORTEST, TALLEST = 1.5, 1.95
"""Metres."""


def walking_poses(
    times: Array, *, people: int, area: float, rng: np.random.Generator, stature: Array | None = None
) -> FigurePose:
    """Figures that walk on crossing ellipses, and squat, wave or turn where they pause.

    Person p walks the same ellipse as the others, turned by p / people of a circle: paths cross, yet nobody walks into
    anybody (up to four people stay more than 0.3 `area` apart).

    Args:
        times: (T,) seconds, ascending.
        people: P.
        area: Half the longest path, metres.
        rng: Draws sizes, speeds, pauses and the order of the activities.
        stature: (P,) metres; None: drawn.
    """
    if stature is None:
        smallest = np.linspace(SHORTEST, TALLEST, people + 1)[:-1]
        stature = rng.permutation(smallest + rng.uniform(0, 0.3 / people, people))
    period = rng.uniform(9, 12)
    clock = times / period + rng.uniform()
    walk = _smooth_step(0.5 + 1.6 * np.sin(2 * np.pi * clock) + 0.6)
    swing, phase, rate = (
        rng.uniform(0.05, 0.1, people),
        rng.uniform(0, 2 * np.pi, people),
        rng.uniform(0.1, 0.3, people),
    )
    travelled = rng.uniform(0, 2 * np.pi) + 2 * np.pi / rng.uniform(6.5, 8.5) * _integral(walk, times)
    along = travelled[:, None] + swing * np.sin(2 * np.pi * rate * times[:, None] + phase) * walk[:, None]
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(people) / people
    place = area * _ellipse(along, turn)
    ahead = _ellipse(along + 1e-4, turn) - _ellipse(along - 1e-4, turn)
    step = np.linalg.norm(np.gradient(place, times, axis=0), axis=-1) if len(times) > 1 else np.zeros_like(along)
    pause = np.floor(clock + 0.75).astype(np.int64)
    chosen = rng.integers(len(ACTIVITIES), size=(pause.max() - pause.min() + 1, people))[pause - pause.min()]
    squat, wave, spin = (np.where(chosen == kind, 1 - walk[:, None], 0.0) for kind in range(len(ACTIVITIES)))
    return _pose(
        times,
        stature=stature,
        place=place,
        heading=np.unwrap(np.arctan2(ahead[..., 1], ahead[..., 0]), axis=0) + 1.5 * spin * np.sin(1.3 * times)[:, None],
        effort=step / (step + 0.3 * WALKING_SPEED) * 1.3,
        gait=2 * np.pi * _integral(step, times) / (STRIDE * stature) + rng.uniform(0, 2 * np.pi, people),
        squat=squat * (0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.35, 0.5, people) * times[:, None])),
        wave=wave,
        tempo=rng.uniform(1.0, 1.8, people),
    )


def standing_poses(times: Array, places: Array, *, rng: np.random.Generator) -> FigurePose:
    """Figures that stand at `places` (P, 2), look around and shift a little."""
    people = len(places)
    drift = rng.uniform(0.1, 0.3, people) * times[:, None] * 2 * np.pi + rng.uniform(0, 2 * np.pi, people)
    still = np.zeros_like(drift)
    return _pose(
        times,
        stature=rng.uniform(SHORTEST, TALLEST, people),
        place=places + 0.02 * np.stack((np.sin(drift), np.cos(1.3 * drift)), axis=-1),
        heading=rng.uniform(0, 2 * np.pi, people) + 0.1 * np.sin(0.7 * drift),
        effort=still,
        gait=still,
        squat=still,
        wave=still,
        tempo=np.ones(people),
    )


def _pose(
    times: Array,
    *,
    stature: Array,
    place: Array,
    heading: Array,
    effort: Array,
    gait: Array,
    squat: Array,
    wave: Array,
    tempo: Array,
) -> FigurePose:
    """Joint angles from what the figure does: effort of walking, depth of squatting, waving, all (T, P) in 0..1."""
    cycle = np.stack((gait, gait + np.pi))
    beat = 2 * np.pi * tempo * times[:, None]
    one_sided = np.stack((wave, np.zeros_like(wave)))
    return FigurePose(
        stature=stature,
        place=place,
        heading=heading,
        lean=0.05 * effort + 0.6 * squat,
        look=0.3 * np.sin(0.31 * beat),
        hip=effort * (0.08 + 0.42 * np.cos(cycle)) + 1.5 * squat,
        knee=0.08 + effort * (0.4 - 0.4 * np.sin(cycle + 0.4) ** 3) + 1.9 * squat,
        shoulder=-0.35 * effort * np.cos(cycle) + 1.2 * squat,
        spread=0.12 + one_sided * (1.9 + 0.35 * np.sin(beat)),
        elbow=0.25 + 0.2 * effort * (1 - np.cos(cycle)) + one_sided * (0.7 + 0.6 * np.sin(beat)),
    )


def _ellipse(along: Array, turn: Array) -> Array:
    """Points (T, P, 2) of the unit ellipse with axes 1 and 0.4, turned."""
    x, y = np.cos(along), 0.4 * np.sin(along)
    return np.stack((x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)), axis=-1)


def _smooth_step(value: Array) -> Array:
    """0 below 0, 1 above 1, with continuous second derivative between."""
    x = np.clip(value, 0, 1)
    return x**3 * (x * (6 * x - 15) + 10)


def _integral(values: Array, times: Array) -> Array:
    """Cumulative integral over time, first axis, by the trapezoidal rule."""
    steps = np.diff(times).reshape(-1, *(1,) * (values.ndim - 1))
    area: npt.NDArray[np.float64] = np.cumsum(0.5 * (values[1:] + values[:-1]) * steps, axis=0)
    return np.concatenate((np.zeros_like(values[:1]), area))
