"""Offsets and rates that make known cameras agree: people seen by two views lie on each other's epipolar lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.sync_evidence import COHERENCE, PairEvidence
from marey.calibrate.sync_signals import ViewMotion, local_line, on_grid
from marey.core import Cameras
from marey.geometry.projection import undistort_pixels
from marey.geometry.robust import RobustLoss

INDEPENDENT_JOINTS = 3.0
"""As many independent errors as all joints of a person make in one image at one moment."""
DRIFT = 0.45
"""Seconds: errors of the epipolar distance that change more slowly are the cameras' and the detector's, not time's."""
_LOSS = RobustLoss("geman_mcclure", 3.0)
_SMOOTHING = 1.2
"""Frames of the slowest view over which motion is smoothed."""
_BLOCK = 1.5
"""Seconds of one stretch of motion."""
_BLOCKS = 6
"""Stretches that are used of a long recording, those that hold the most motion in each sixth."""
_SPACING = 1 / 60
"""Seconds between the moments used."""
_MOMENTS = 32
"""Frames in which a lag is judged."""
_CANDIDATES = 96
"""Lags of each pair that are judged, the likeliest ones."""
_TOLERANCE = 0.02
"""Of a person's size: the epipolar distance at which a joint counts as wrong."""
_UNRELATED = 1.2
"""Negative log likelihood of a joint at three times the tolerance: so badly views agree that see different people."""
_PLACE = 0.1
"""Seconds: how far the coarse offsets may be off, one standard deviation."""
_STEPS = 10
_LONGEST_STEP = 0.05
_SETTLED = 1e-4
"""Seconds: smaller steps end the refinement."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clocks:
    """Common time = offset + rate * the view's own time."""

    offset: Tensor
    """(V,) seconds."""
    rate: Tensor
    """(V,)"""

    def to_common(self, view: int, times: Tensor) -> Tensor:
        """Common time of times of one view."""
        return self.offset[view] + self.rate[view] * times

    def to_view(self, view: int, times: Tensor) -> Tensor:
        """Time of one view at common times."""
        return (times - self.offset[view]) / self.rate[view]


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedClocks:
    """Clocks, and how well they are known."""

    clocks: Clocks
    covariance: Tensor
    """(2V, 2V) of the offsets in the middle of what was used, then of the rates; 0 for the view held."""
    moments: int
    """How many were used; 0: nothing could be refined."""


def ideal_tracks(views: Sequence[ViewMotion], cameras: Cameras) -> list[Tensor]:
    """Positions (T, P, J, 2) of every view in pixels of ideal pinhole cameras."""
    cameras = cameras.to(torch.float64)
    return [
        undistort_pixels(view.positions[None], cameras[index : index + 1])[0][0] for index, view in enumerate(views)
    ]


def with_geometry(
    evidence: PairEvidence, views: Sequence[ViewMotion], tracks: Sequence[Tensor], matrices: Tensor, mirror: Tensor
) -> Tensor:
    """Add to the log ratios (pairs, L) how well the cameras agree at the likeliest lags of every pair.

    The log likelihood of a long-tailed error of the epipolar distance, against the usual one among these lags, or
    against that of people who have nothing to do with each other where all lags are worse than that, or against that
    of the lag's own moments in another order: in a short overlap people hardly move, and views agree at any lag. A
    view whose detector exchanged the sides throughout is read as it fits.
    """
    ratios = evidence.log_ratio.clone()
    for pair, (i, j) in enumerate(torch.triu_indices(len(views), len(views), 1).mT.tolist()):
        likely = ratios[pair].topk(min(_CANDIDATES, ratios.shape[-1])).indices
        likely = likely[ratios[pair, likely] != 0]
        if len(likely):
            both = ((views[i], views[j]), (tracks[i], tracks[j]))
            costs, moments = _disagreement(*both, matrices[i, j], evidence.lags[likely], mirror)
            cost, disordered = torch.where(costs.isnan(), torch.inf, costs).amin(1)
            usual = (
                cost[cost.isfinite()].median().clamp_max(_UNRELATED) if cost.isfinite().any() else cost.new_zeros(())
            )
            gain = torch.where(cost.isfinite(), torch.minimum(usual, disordered) - cost, 0.0)
            ratios[pair, likely] += moments * INDEPENDENT_JOINTS * gain
    return ratios


def _disagreement(
    pair: tuple[ViewMotion, ViewMotion], tracks: tuple[Tensor, Tensor], matrix: Tensor, lags: Tensor, mirror: Tensor
) -> tuple[Tensor, Tensor]:
    """How badly two views agree at each lag (L,): as given and with the sides of one exchanged.

    Returns:
        The mean negative log likelihood (2, 2, L) of a joint with the moments as they are and with those of one view
        half the overlap later, then with the sides as they are and exchanged, NaN where nothing is seen by both; and
        the number (L,) of independent moments that it rests on.
    """
    spans = [view.times[-1] - view.times[0] for view in pair]
    start, stop = (-lags).clamp_min(0.0), torch.minimum(spans[0], spans[1] - lags)
    share = (torch.arange(_MOMENTS, dtype=lags.dtype) + 0.5) / _MOMENTS
    at = start[:, None] + share * (stop - start)[:, None]
    first, second = (
        on_grid(track, view.times, (view.times[0] + when).flatten()).reshape(*at.shape, *track.shape[1:])
        for view, track, when in zip(pair, tracks, (at, at + lags[:, None]), strict=True)
    )
    sides = torch.stack((second, second[..., mirror, :]))
    sides = torch.stack((sides, sides.roll(_MOMENTS // 2, 2)))
    distance = epipolar_residual(first[:, :, :, None], sides[..., None, :, :, :], matrix)[0]  # (2, 2, L, M, P, P, J)
    if distance.shape[-3:-1] == (1, 1):  # what lasts is the cameras' and the detector's; with more people, who is who
        distance = distance - distance.nanmedian(3, keepdim=True).values
    tolerance = _TOLERANCE * (pair[0].size + pair[1].size) / 2
    cost = torch.log1p((distance / tolerance).square()).nanmean(-1) / 2
    nearest = torch.where(cost.isnan(), torch.inf, cost).amin(-1)
    nearest = torch.where(nearest.isfinite(), nearest, torch.nan)
    return nearest.nanmean((-1, -2)), ((stop - start) / COHERENCE).clamp_min(0.0)


def epipolar_residual(first: Tensor, second: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Signed Sampson distances (...) of points (..., 2) and their derivatives (..., 2) by the first and the second.

    The distance's own denominator is held, as in Gauss-Newton steps. `matrix` broadcasts: (..., 3, 3).
    """
    (u, v), (x, y) = first.unbind(-1), second.unbind(-1)
    entries = [[matrix[..., row, column] for column in range(3)] for row in range(3)]
    a, b, c = (m0 * u + m1 * v + m2 for m0, m1, m2 in entries)  # the line in the second view
    d, e = (m0 * x + m1 * y + m2 for m0, m1, m2 in list(zip(*entries, strict=True))[:2])  # and in the first
    steepness = (a * a + b * b + d * d + e * e).rsqrt()
    by_first, by_second = torch.stack((d, e), -1), torch.stack((a, b), -1)
    return (a * x + b * y + c) * steepness, by_first * steepness[..., None], by_second * steepness[..., None]


def median_distance(
    views: Sequence[ViewMotion], tracks: Sequence[Tensor], matrices: Tensor, clocks: Clocks, *, chosen: Tensor
) -> float:
    """Median epipolar distance in pixels of pairs of which one view is chosen (V,); people go with who is nearest.

    At the moments that are used for refinement; NaN without any.
    """
    moments = used_moments(views, clocks)
    if moments is None:
        return math.nan
    people = max(track.shape[1] for track in tracks)
    seen = torch.stack(
        [
            _padded(on_grid(track, view.times, clocks.to_view(index, moments.flatten())), people)
            for index, (view, track) in enumerate(zip(views, tracks, strict=True))
        ]
    )
    pairs = torch.triu_indices(len(views), len(views), 1)
    pairs = pairs[:, chosen[pairs[0]] ^ chosen[pairs[1]]]
    place = _partners(seen, pairs, matrices)[..., None, None].expand(-1, -1, -1, *seen.shape[3:])
    first, second = seen[pairs[0]], seen[pairs[1]].gather(2, place)
    distance = epipolar_residual(first, second, matrices[pairs[0], pairs[1]][:, None, None, None])[0]
    return float(distance.abs().nanmedian())


def refine_clocks(
    views: Sequence[ViewMotion], tracks: Sequence[Tensor], matrices: Tensor, start: Clocks, *, held: int, drift: float
) -> RefinedClocks:
    """Move offsets and rates until the quick part of the epipolar distances is least (robust Gauss-Newton).

    Slow errors of the distances, which cameras and detectors have, are taken out by subtracting their mean over
    `DRIFT` for every joint and pair of views, from the residuals and from their derivatives.

    Args:
        views: V views.
        tracks: their positions (T, P, J, 2) in the pixels that the matrices are for.
        matrices: (V, V, 3, 3) fundamental.
        start: right within some frames.
        held: the view whose clock is the common one.
        drift: standard deviation of the rates about those at the start.
    """
    moments = used_moments(views, start)
    if moments is None:
        return RefinedClocks(clocks=start, covariance=torch.zeros(2 * len(views), 2 * len(views)), moments=0)
    problem = _Problem.of(views, tracks, matrices, start, moments, drift=drift, held=held)
    parameters = torch.cat((torch.zeros_like(start.offset), torch.zeros_like(start.rate)))
    for _ in range(_STEPS):
        step, covariance = problem.step(parameters)
        longest = float(step[: len(views)].abs().max())
        parameters = parameters + min(1.0, _LONGEST_STEP / max(longest, _SETTLED)) * step
        if longest < _SETTLED:
            break
    return RefinedClocks(clocks=problem.clocks(parameters), covariance=covariance, moments=moments.numel())


@dataclass(frozen=True, eq=False)
class _Problem:
    """Which moments of whom are compared."""

    views: Sequence[ViewMotion]
    tracks: Sequence[Tensor]
    matrices: Tensor
    """(pairs, 1, 1, 3, 3)"""
    pairs: Tensor
    """(2, pairs)"""
    partner: Tensor
    """(pairs, M, P) slot in the second view of the person in each slot of the first."""
    start: Clocks
    moments: Tensor
    """(B, m) common times of B stretches."""
    averaging: Tensor
    """(B, m, m) weights over time of the slow errors."""
    width: float
    prior: Tensor
    """(2V,) inverse variances."""

    @classmethod
    def of(
        cls,
        views: Sequence[ViewMotion],
        tracks: Sequence[Tensor],
        matrices: Tensor,
        start: Clocks,
        moments: Tensor,
        *,
        drift: float,
        held: int,
    ) -> _Problem:
        pairs = torch.triu_indices(len(views), len(views), 1)
        apart = (moments[:, :, None] - moments[:, None]) / DRIFT
        prior = torch.cat((torch.full((len(views),), _PLACE**-2), torch.full((len(views),), drift**-2))).double()
        prior[[held, len(views) + held]] = torch.inf
        problem = cls(
            views,
            tracks,
            matrices[pairs[0], pairs[1]][:, None, None],
            pairs,
            torch.empty(0),
            start,
            moments,
            torch.exp(-apart.square() / 2),
            _SMOOTHING * max(view.step for view in views),
            prior,
        )
        positions, _ = problem._seen(start)
        return replace(problem, partner=_partners(positions, pairs, matrices))

    def clocks(self, parameters: Tensor) -> Clocks:
        """The clocks after their middle is moved and their rate changed."""
        shift, change = parameters.chunk(2)
        middle = self.moments.mean()
        rate = self.start.rate + change
        own = (middle - self.start.offset) / self.start.rate
        return Clocks(offset=middle + shift - rate * own, rate=rate)

    def step(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The Gauss-Newton step (2V,) and the covariance (2V, 2V) of the parameters."""
        clocks = self.clocks(parameters)
        columns, weight = self._columns(clocks)
        jacobian = self._spread(columns[..., 1:])
        scaled = weight[..., None] * jacobian
        normal = scaled.flatten(0, -2).mT @ jacobian.flatten(0, -2)
        gradient = scaled.flatten(0, -2).mT @ columns[..., 0].flatten()
        free = self.prior.isfinite()
        prior = self.prior[free]
        inverse = torch.linalg.inv(normal[free][:, free] + prior.diag())
        step, covariance = torch.zeros_like(parameters), torch.zeros_like(normal)
        step[free] = -inverse @ (gradient[free] + prior * parameters[free])
        covariance[free.nonzero(), free.nonzero()[:, 0]] = inverse
        return step, covariance

    def _seen(self, clocks: Clocks) -> tuple[Tensor, Tensor]:
        """Positions and velocities (V, B m, P, J, 2) at the moments; views with fewer people have NaN slots."""
        when = self.moments.flatten()
        fitted = [
            local_line(track, view.times, clocks.to_view(index, when), width=self.width)
            for index, (view, track) in enumerate(zip(self.views, self.tracks, strict=True))
        ]
        people = max(track.shape[1] for track in self.tracks)
        positions, velocities = (
            torch.stack([_padded(part, people) for part in parts]) for parts in zip(*fitted, strict=True)
        )
        return positions, velocities

    def _columns(self, clocks: Clocks) -> tuple[Tensor, Tensor]:
        """Whitened quick residuals and their derivatives by shift and rate of both clocks, (pairs, M, P, J, 5)."""
        positions, velocities = self._seen(clocks)
        i, j = self.pairs
        place = self.partner[..., None, None].expand(-1, -1, -1, *positions.shape[3:])
        residual, by_first, by_second = epipolar_residual(
            positions[i], positions[j].gather(2, place), self.matrices[:, :, None]
        )
        rate = clocks.rate[:, None]
        own = (self.moments.flatten() - self.moments.mean()) / rate
        first = -(by_first * velocities[i]).sum(-1) / rate[i][..., None, None]
        second = -(by_second * velocities[j].gather(2, place)).sum(-1) / rate[j][..., None, None]
        columns = torch.stack(
            (residual, first, second, first * own[i][..., None, None], second * own[j][..., None, None]), -1
        )
        seen = columns.isfinite().all(-1)
        return self._whitened(torch.where(seen[..., None], columns, 0.0), seen)

    def _whitened(self, columns: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Take slow errors out, twice because what is wrong should not count in their mean; scale; weigh."""
        weight = seen.to(columns.dtype)
        for _ in range(2):
            quick = columns - self._slow(columns, weight)
            distance = quick[..., 0].abs()
            scale = _usual(distance, seen)
            weight = torch.where(seen, _LOSS((distance / scale).square())[1], 0.0)
        joints = seen.sum((2, 3)).clamp_min(1)[..., None, None]
        people = seen.any(-1).sum(2).clamp_min(1)[..., None, None]
        views = len(self.views)
        shared = 2 * (2 * views - 3) / (views * (views - 1))  # what V views tell is less than what their pairs do
        worth = shared * (_SPACING / COHERENCE) * torch.clamp(INDEPENDENT_JOINTS * people / joints, max=1.0)
        return quick / scale[..., None], weight * worth

    def _slow(self, columns: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean over time of (pairs, B m, P, J, C) within each stretch."""
        shape = self.moments.shape
        both = torch.cat((columns * weight[..., None], weight[..., None]), -1)
        mean = torch.einsum("bst,kbtx->kbsx", self.averaging, both.reshape(both.shape[0], *shape, -1))
        mean = mean.reshape(both.shape)
        return mean[..., :-1] / mean[..., -1:].clamp_min(1e-6)

    def _spread(self, columns: Tensor) -> Tensor:
        """Derivatives (pairs, ..., 4) by the two clocks of a pair as derivatives (pairs, ..., 2V) by all clocks."""
        views = len(self.views)
        i, j = self.pairs
        place = torch.nn.functional.one_hot(torch.stack((i, j, i + views, j + views), -1), 2 * views)
        return torch.einsum("k...c,kcv->k...v", columns, place.to(columns.dtype))


def _usual(distance: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation (J,) of every joint's distances (pairs, M, P, J), robustly; detectors know joints differently.

    At least a third of that of all joints, which those that are never seen get.
    """
    if not seen.any():
        return distance.new_ones(distance.shape[-1])
    overall = 1.4826 * distance[seen].median().clamp_min(1e-3)
    own = 1.4826 * torch.where(seen, distance, torch.nan).flatten(0, -2).nanmedian(0).values
    return torch.where(own.isnan(), overall, own).clamp_min(overall / 3)


def used_moments(views: Sequence[ViewMotion], clocks: Clocks) -> Tensor | None:
    """Common times (B, m) at which two views or more record, where people move most; None if there are too few."""
    starts, stops = (
        torch.stack([clocks.to_common(index, view.times[end]) for index, view in enumerate(views)]) for end in (0, -1)
    )
    first, last = float(starts.sort().values[1]), float(stops.sort().values[-2])
    count = int((last - first) / _SPACING)
    if count < 8:
        return None
    grid = first + _SPACING * torch.arange(count, dtype=torch.float64)
    blocks = min(_BLOCKS, math.ceil(count * _SPACING / _BLOCK))
    length = min(count // blocks, math.ceil(_BLOCK / _SPACING))
    energy = torch.stack(
        [on_grid(view.energy, view.times, clocks.to_view(index, grid)) for index, view in enumerate(views)]
    )
    total = torch.nn.functional.pad(energy.nan_to_num().sum(0).cumsum(0), (1, 0))
    moving = (total[length:] - total[:-length])[: count - length + 1]
    section = count // blocks
    places = torch.arange(blocks) * section
    within = places[:, None] + torch.arange(max(1, section - length + 1))
    best = within.gather(1, moving[within].argmax(1, keepdim=True))
    return grid[best + torch.arange(length)]


def _partners(positions: Tensor, pairs: Tensor, matrices: Tensor) -> Tensor:
    """(pairs, M, P) who in the second view lies nearest to the epipolar lines of each person in the first."""
    moments, people = positions.shape[1:3]
    if people == 1:
        return torch.zeros(pairs.shape[1], moments, 1, dtype=torch.long)
    i, j = pairs
    distance = epipolar_residual(
        positions[i][:, :, :, None], positions[j][:, :, None], matrices[i, j][:, None, None, None, None]
    )[0]
    middle = distance.abs().nanmedian(-1).values
    return torch.where(middle.isnan(), torch.inf, middle).argmin(-1)


def _padded(values: Tensor, people: int) -> Tensor:
    missing = values.new_full((len(values), people - values.shape[1], *values.shape[2:]), torch.nan)
    return torch.cat((values, missing), 1)
