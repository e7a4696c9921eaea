"""What a view tells about time: where people are and how fast they move, on a regular grid, whoever is who."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Keypoints2D
from marey.detect.noise import person_size

_CUT = 2.5
"""Standard deviations at which the weights of `local_line` end."""
_FAR = 0.5
"""Of a person's size: detections of two frames that are farther apart are different people."""
_MOST_FOLLOWED = 5
"""People of one view; the orders of more are too many to try."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewMotion:
    """One view on its own clock, T frames."""

    times: Tensor
    """(T,) seconds, ascending, float64."""
    positions: Tensor
    """(T, P, J, 2) pixels, float64, NaN = not seen; a slot is one person for as long as that person is seen."""
    size: float
    """Pixels: of a person, see `person_size`."""
    shape: Tensor
    """(T, J, 2) mean of all people, in sizes; NaN where not everybody is seen."""
    energy: Tensor
    """(T,) mean vertical speed of the joints of all people, sizes per second; NaN where unknown."""

    @property
    def step(self) -> float:
        """Seconds from frame to frame."""
        return float(self.times.diff().median())


def view_motion(keypoints: Keypoints2D, times: Tensor, *, least_score: float) -> ViewMotion:
    """Read what moves in one view.

    Nobody has to be followed: the mean place of all people is the image of their mean place for any affine camera, and
    the sum of speeds asks only which detections of two neighbouring frames are the same person.

    Args:
        keypoints: (T, P)
        times: (T,) seconds.
        least_score: joints below are left out.
    """
    seen = keypoints.positions.isfinite().all(-1) & (keypoints.score >= least_score)
    positions = torch.where(seen[..., None], keypoints.positions, torch.nan).double()
    sizes = person_size(positions)
    there = seen.any(-1)
    size = float(sizes[there].median()) if there.any() else math.nan
    positions = followed(positions, size)
    return ViewMotion(
        times=times.double(),
        positions=positions,
        size=size,
        shape=_mean_person(positions) / size,
        energy=_vertical_energy(positions / size, times.double()),
    )


def _mean_person(positions: Tensor) -> Tensor:
    """The mean (T, J, 2) of people (T, P, J, 2) in frames that hold as many as most frames do, else NaN."""
    count = positions.isfinite().all(-1).any(-1).sum(-1)
    usual = count[count > 0].mode().values if (count > 0).any() else count.new_tensor(0)
    everybody = (count == usual)[:, None, None] & (positions.isfinite().all(-1).sum(1) == usual)[..., None]
    return torch.where(everybody, positions.nansum(1) / usual.clamp_min(1), torch.nan)


def followed(positions: Tensor, size: float) -> Tensor:
    """Sort people (T, P, J, 2) so that everybody keeps a slot while seen.

    From each frame to the next the order with the least sum of distances is taken, of all orders; the orders are then
    composed over time by doubling. Recordings of more than five people stay as they are.
    """
    frames, people = positions.shape[:2]
    if not 1 < people <= _MOST_FOLLOWED or frames < 2:
        return positions
    between = (positions[:-1, :, None] - positions[1:, None]).square().sum(-1).sqrt().nanmedian(-1).values
    cost = torch.where(between.isnan(), torch.inf, between).clamp_max(_FAR * size)
    orders = torch.tensor(list(itertools.permutations(range(people))))
    best = orders[cost[:, torch.arange(people), orders].sum(-1).argmin(-1)]
    order = torch.cat((torch.arange(people)[None], best))
    reach = 1
    while reach < frames:
        order = torch.cat((order[:reach], order[reach:].gather(1, order[:-reach])))
        reach *= 2
    return positions.gather(1, order[..., None, None].expand_as(positions))


def _vertical_energy(positions: Tensor, times: Tensor) -> Tensor:
    """Mean |dy / dt| (T,) of the joints of people (T, P, J, 2) who keep their slots.

    Vertical, because cameras that stand upright agree on it wherever they stand; the mean over joints does not mind
    left and right exchanged. A joint that leaps counts as much as one that runs: speeds are cut at four times the
    usual, and who leaps as a whole is somebody else.
    """
    move = positions.diff(dim=0)
    same = move.square().sum(-1).sqrt().nanmedian(-1).values < _FAR
    step = torch.where(same[..., None], move[..., 1].abs() / times.diff()[:, None, None], torch.nan).flatten(1)
    step = step.clamp_max(4 * float(step.nanmedian()) if step.isfinite().any() else math.inf)
    return torch.cat((step.nanmean(-1), torch.full_like(times[:1], torch.nan)))


def on_grid(values: Tensor, times: Tensor, grid: Tensor) -> Tensor:
    """Linear interpolation of (T, ...) at the times (S,); NaN outside, next to NaN, and in gaps of over two steps."""
    after = torch.searchsorted(times, grid).clamp(1, len(times) - 1)
    start, stop = times[after - 1], times[after]
    share = ((grid - start) / (stop - start)).reshape(-1, *(1,) * (values.ndim - 1))
    mixed = torch.lerp(values[after - 1], values[after], share)
    mixed = torch.where(share == 0, values[after - 1], torch.where(share == 1, values[after], mixed))
    near = (grid >= times[0]) & (grid <= times[-1]) & (stop - start <= 2.5 * times.diff().median())
    return torch.where(near.reshape(share.shape), mixed, torch.nan)


def local_line(values: Tensor, times: Tensor, at: Tensor, *, width: float) -> tuple[Tensor, Tensor]:
    """Fit a line around each moment, with Gaussian weights over time: its value there and its slope.

    Unlike interpolation it is as noisy between frames as on them; otherwise a search for the best offset would prefer
    half frames, where interpolation averages.

    Args:
        values: (T, ..., D), NaN = missing.
        times: (T,) seconds, about regular.
        at: (S,) seconds.
        width: standard deviation of the weights, seconds.

    Returns:
        Values and slopes (S, ..., D), NaN outside the times or where fewer than two samples are near.
    """
    reach = math.ceil(_CUT * width / float(times.diff().median()))
    place = torch.searchsorted(times, at)[:, None] + torch.arange(-reach - 1, reach + 1)
    inside = (place >= 0) & (place < len(times))
    place = place.clamp(0, len(times) - 1)
    lag = times[place] - at[:, None]
    weight = torch.where(inside & (lag.abs() <= _CUT * width), torch.exp(-(lag / width).square() / 2), 0.0)
    seen = values.isfinite().all(-1)[place]
    free = (1,) * (values.ndim - 2)
    weight = torch.where(seen, weight.reshape(*weight.shape, *free), 0.0)
    lag = lag.reshape(*lag.shape, *free)
    near = torch.where(seen[..., None], values[place], 0.0)
    s0, s1, s2 = weight.sum(1), (weight * lag).sum(1), (weight * lag * lag).sum(1)
    y0, y1 = (weight[..., None] * near).sum(1), ((weight * lag)[..., None] * near).sum(1)
    determinant = s0 * s2 - s1 * s1
    known = (s0 > 0.5) & (determinant > 0.02 * (s0 * width).square())
    known = known & ((at >= times[0]) & (at <= times[-1])).reshape(-1, *free)
    safe = torch.where(known, determinant, torch.nan)[..., None]
    return (s2[..., None] * y0 - s1[..., None] * y1) / safe, (s0[..., None] * y1 - s1[..., None] * y0) / safe


def band_passed(values: Tensor, short: float, long: float) -> Tensor:
    """Motion (V, S, J, 2) between two widths of Gaussian windows, in samples; gaps stay, leaps are cut.

    A detector that exchanges sides makes joints leap; values are cut at four robust standard deviations of their view.
    """
    seen = values.isfinite()
    filled = torch.where(seen, values, 0.0)
    quick = _averaged(filled, seen, short) - _averaged(filled, seen, long)
    quick = torch.where(seen, quick, torch.nan)
    bound = 4 * 1.4826 * quick.abs().flatten(1).nanmedian(1).values.nan_to_num()[:, None, None, None]
    return torch.where(seen, torch.maximum(torch.minimum(quick, bound), -bound), torch.nan)


def _averaged(filled: Tensor, seen: Tensor, width: float) -> Tensor:
    """Gaussian mean over time of what is seen, as good as none where the window is narrower than a sample."""
    if width < 0.3:
        return filled
    length = filled.shape[1]
    reach = min(length, math.ceil(3 * width))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1, dtype=filled.dtype) / width).square() / 2)
    samples = 1 << (length + 2 * reach).bit_length()
    series = torch.stack((filled, seen.to(filled.dtype))).movedim(2, -1)
    spectrum = torch.fft.rfft(series, n=samples) * torch.fft.rfft(kernel, n=samples)
    total, count = torch.fft.irfft(spectrum, n=samples)[..., reach : reach + length].movedim(-1, 2)
    mean: Tensor = total / count.clamp_min(0.1)
    return mean
