"""How likely each offset between two views is, for all offsets at once, without knowing the cameras.

Two kinds of evidence, both free of who is who:

- Shape. Affine cameras that see the same moving points agree on one coordinate: some linear combination of x and y in
  one image equals some linear combination in the other (the affine epipolar constraint). At the right offset the
  canonical correlation of the two pairs of coordinates, over all joints and frames, is closest to one. Only motion
  counts: slow changes are taken out. Done twice: for the joints as they are, and for the mean of left and right, which
  does not mind sides exchanged by the detector.
- Speed. The mean vertical speed of all joints, normalised by the size of the person.

Every sum over the overlap of two views is a correlation of masked signals, so the fast Fourier transform gives it for
all lags: Padfield, "Masked object registration in the Fourier domain" (2012). The log likelihood ratio of a correlation
against none is that of Gaussian signals, `-n / 2 log(1 - rho^2)`, with n the number of independent moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.calibrate.sync_signals import ViewMotion, band_passed, on_grid

COHERENCE = 0.2
"""Seconds over which what keypoints tell about time repeats itself: one independent moment. Measured: with it, views
of different people who walk alike are taken for synchronous, with a confidence above 0.9, in at most 5 % of cases."""
BAND = (0.03, 0.25)
"""Seconds: motion quicker than the first is noise, slower than the second tells little about time and much about
perspective."""
_REGULAR = 1e-6
_STILL = 1e-12
_FINEST = 0.02
"""Seconds: a grid finer than motion is quick costs time and tells nothing."""
_LARGEST_GRID = 1 << 20
_PART = 1 << 17
"""Samples of a view that are transformed at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairEvidence:
    """Of the pairs of views i < j in the order of `torch.triu_indices`, for every lag."""

    lags: Tensor
    """(L,) seconds, ascending: what the clock of j shows less what that of i shows at the same moment, counted from
    the first frames."""
    log_ratio: Tensor
    """(pairs, L) of the likelihoods of this lag and of none; 0 where too little overlaps to tell."""
    overlap: Tensor
    """(pairs, L) seconds in which both views see somebody."""
    step: float
    """Seconds from lag to lag."""


def pair_evidence(views: Sequence[ViewMotion], *, mirror: Tensor, least_overlap: float) -> PairEvidence:
    """Weigh every lag of every pair of views.

    Args:
        views: V views; all their clocks tick alike.
        mirror: (J,) index of the joint on the other side.
        least_overlap: seconds that two views have to share.
    """
    step = max(min(view.step for view in views), _FINEST, max(_span(view) for view in views) / _LARGEST_GRID)
    length = 1 + int(max(_span(view) for view in views) / step + 1e-6)
    grids = [view.times[0] + step * torch.arange(length, dtype=torch.float64) for view in views]
    shape, energy = (
        torch.stack(
            [on_grid(values, view.times, grid) for view, grid, values in zip(views, grids, signals, strict=True)]
        )
        for signals in ([view.shape for view in views], [view.energy for view in views])
    )
    shape = band_passed(shape, *(width / step for width in BAND))
    pairs = torch.triu_indices(len(views), len(views), 1)
    sums = _ShapeSums.of(shape, pairs)
    mirrored = _ShapeSums.of((shape + shape[:, :, mirror]) / 2, pairs)
    speed, speed_frames = _speed_correlation(energy, pairs)
    enough = torch.maximum(sums.frames, speed_frames) * step >= least_overlap
    wilks = (sums.log_wilks() + mirrored.log_wilks()) / 2
    ratio = -sums.frames * step / COHERENCE / 2 * wilks
    ratio = ratio - speed_frames * step / COHERENCE / 2 * torch.log1p(-speed.nan_to_num().clamp(0.0, 0.999).square())
    return PairEvidence(
        lags=step * torch.arange(1 - length, length, dtype=torch.float64),
        log_ratio=torch.where(enough, ratio, 0.0),
        overlap=torch.maximum(sums.frames, speed_frames) * step,
        step=step,
    )


@dataclass(frozen=True, eq=False)
class _ShapeSums:
    """Second moments of two views over their overlap, for every lag."""

    frames: Tensor
    """(pairs, L) in which both see somebody."""
    joint: Tensor
    """(pairs, L, 4, 4) of x and y in the first view, then in the second: centred sums of products."""

    @classmethod
    def of(cls, shape: Tensor, pairs: Tensor) -> _ShapeSums:
        """Sum over the joints and the overlapping frames of shapes (V, S, J, 2)."""
        length = shape.shape[1]
        seen = shape.isfinite().all(-1)
        centre = shape.flatten(1, 2).nanmean(1).nan_to_num()
        x, y = torch.where(seen[..., None], shape - centre[:, None, None], 0.0).unbind(-1)
        signals = torch.stack((seen.double(), x, y, x * x, x * y, y * y))
        parts = torch.split(signals, max(1, _PART // length), dim=-1)  # of the joints, for memory
        spectra = sum((_products(part, pairs) for part in parts), start=torch.zeros((), dtype=torch.complex128))
        count, *rest = _lagged(spectra, length)
        axx, axy, ayy, bxx, bxy, byy, xx, xy, yx, yy = rest[4:]
        rows = ((axx, axy, xx, xy), (axy, ayy, yx, yy), (xx, yx, bxx, bxy), (xy, yy, bxy, byy))
        squares = torch.stack([torch.stack(row, -1) for row in rows], -2)
        mean = torch.stack(rest[:4], -1)
        squares = squares - mean[..., :, None] * mean[..., None, :] / count.clamp_min(1.0)[..., None, None]
        anybody = _spectrum(seen.any(-1).double())
        frames = _lagged(anybody[pairs[0]].conj() * anybody[pairs[1]], length)
        return cls(frames.round(), squares)

    def log_wilks(self) -> Tensor:
        """The sum (pairs, L) of the logs of one minus the squared canonical correlations: `log(|S| / |S_a| |S_b|)`."""
        scale = self.joint.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(self.joint.dtype).tiny).rsqrt()
        joint = self.joint * scale[..., :, None] * scale[..., None, :]
        joint = joint + _REGULAR * torch.eye(4, dtype=joint.dtype)
        determinant = torch.linalg.det(joint)
        apart = torch.linalg.det(joint[..., :2, :2]) * torch.linalg.det(joint[..., 2:, 2:])
        known = (determinant > 0) & (apart > 0)
        logs: Tensor = torch.where(known, determinant / torch.where(known, apart, 1.0), 1.0).log()
        return logs.clamp(-20.0, 0.0)


_FIRST = (0, 1, 2, 0, 0, 3, 4, 5, 0, 0, 0, 1, 1, 2, 2)
_SECOND = (0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 5, 1, 2, 1, 2)
"""Which of mask, x, y, xx, xy, yy of either view are multiplied: the count, four means, six squares, four mixed."""


def _products(signals: Tensor, pairs: Tensor) -> Tensor:
    """Cross spectra (C, pairs, F) of signals (6, V, S, J), summed over the joints."""
    spectra = _spectrum(signals.movedim(-1, -2))
    first, second = spectra[:, pairs[0]].conj(), spectra[:, pairs[1]]
    return torch.stack([(first[a] * second[b]).sum(-2) for a, b in zip(_FIRST, _SECOND, strict=True)])


def _speed_correlation(energy: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation (pairs, L) of speeds (V, S) over the overlap, mean of the overlap removed, and its frames."""
    length = energy.shape[1]
    seen = energy.isfinite()
    value = torch.where(seen, energy - energy.nanmean(1, keepdim=True).nan_to_num(), 0.0)
    spectra = _spectrum(torch.stack((seen.double(), value, value.square())))
    first, second = spectra[:, pairs[0]].conj(), spectra[:, pairs[1]]
    one, two = [0, 1, 0, 2, 0, 1], [0, 0, 1, 0, 2, 1]
    count, sum_a, sum_b, square_a, square_b, mixed = _lagged(first[one] * second[two], length)
    floor = count.round().clamp_min(1.0)
    variance = (square_a - sum_a.square() / floor) * (square_b - sum_b.square() / floor)
    moving = variance > _STILL
    scale = torch.where(moving, variance, 1.0).rsqrt()
    return torch.where(moving, ((mixed - sum_a * sum_b / floor) * scale).clamp(-1.0, 1.0), torch.nan), count.round()


def _spectrum(series: Tensor) -> Tensor:
    """Of (..., S), padded so that the ends do not meet."""
    transformed: Tensor = torch.fft.rfft(series, n=1 << (2 * series.shape[-1] - 1).bit_length())
    return transformed


def _lagged(spectrum: Tensor, length: int) -> Tensor:
    """Cross spectra (..., F) as sums over time, for the lags 1 - S to S - 1."""
    series = torch.fft.irfft(spectrum)
    return torch.cat((series[..., 1 - length :], series[..., :length]), -1)


def _span(view: ViewMotion) -> float:
    return float(view.times[-1] - view.times[0])
