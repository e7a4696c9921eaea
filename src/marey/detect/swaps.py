"""Left and right: which side a detector took for which, decided per view, frame and person before triangulation.

A detector that sees crossed limbs or takes a back for a front exchanges the sides, of the whole body, or of the upper
or lower half alone. Each half of the body in each view and frame is read as given or mirrored:

- given the other views, a reading costs the sum over its joints of the squared Mahalanobis distance from where the
  others predict them, cut at 5 sigma;
- over time, reading two frames differently costs how much further the joints then jump in the image.

The cheapest sequence of readings of a view is found exactly (Viterbi's algorithm, as a parallel prefix of 2 x 2
matrices in the min-plus semiring): from the motion alone to begin with, so that the views hardly contradict each other,
then with the other views, which are asked again and again, since their predictions improve. In one round
only the view with most to gain is asked to change its reading of a frame: two views that disagree would otherwise
change places for ever.

Agreement fixes the readings only up to mirroring all of them: left is what most views, weighted by score, call left.

Of a single view the motion alone tells: the readings change where the joints would jump, and as few frames as possible
are read mirrored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, Keypoints2D, Skeleton
from marey.detect.noise import is_seen, mahalanobis_squared, person_size, predict_from_others
from marey.geometry.projection import project
from marey.geometry.triangulation import triangulate

_LOWER_PARTS = ("hip", "knee", "ankle", "heel", "big_toe", "small_toe", "foot")
_MOST_DISTANCE = 25.0
_PRIOR = 10.0
"""Cost of reading a frame mirrored; evidence weaker than this leaves it as given."""
_MOTION = 0.1
"""Standard deviation of a joint's motion between two frames, as a fraction of the person's size."""
_VOTE = 20.0
"""Cost of calling left what all views call right."""
_ROUNDS = 6
_BLOCK = 400_000
"""Keypoints handled at once, which bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class SwapReport:
    """Where left and right were exchanged."""

    halves: Tensor
    """(V, T, P, 2) boolean: the upper, the lower half of the body was mirrored."""
    notes: tuple[str, ...]
    """A sentence for each view and person concerned."""

    @property
    def swapped(self) -> Tensor:
        """(V, T, P) boolean: any half was mirrored."""
        return self.halves.any(-1)


def correct_swaps(keypoints: Keypoints2D, cameras: Cameras) -> tuple[Keypoints2D, SwapReport]:
    """Exchange left and right where the other views and the motion say that the detector mixed them up.

    With two views the sides of one relative to the other are told by the epipolar geometry, and the motion tells which
    of them is wrong. Cost: linear in views, frames and people, one robust triangulation of everything, and up to
    6 more of the frames whose reading changes; the memory beyond the result is bounded.

    Args:
        keypoints: (V, T, P) with covariance; slot p is one person in all views and frames.
        cameras: (V,) full.
    """
    halves = halves_of(keypoints.skeleton).to(keypoints.score.device)
    given = torch.zeros((*keypoints.batch_shape, 2), dtype=torch.bool, device=keypoints.score.device)
    if keypoints.score.numel() == 0 or not halves.any():
        return keypoints, SwapReport(halves=given, notes=())
    motion = _motion(keypoints, halves)
    state = _cheapest_sequence(torch.full_like(given, _PRIOR, dtype=motion.dtype), motion)
    gain = _evidence(keypoints, state, cameras, halves)
    for _ in range(_ROUNDS):
        strongest = gain == gain.amax(0, keepdim=True)
        gained = torch.where(strongest, gain, gain.clamp(max=0))
        previous, state = state, _cheapest_sequence(torch.where(state, gained, -gained) + _PRIOR, motion)
        changed = (state ^ previous).transpose(0, 1).flatten(1).any(1)
        if not changed.any():
            break
        gain[:, changed] = _evidence(keypoints[:, changed], state[:, changed], cameras, halves)
    if state.any():
        state = state ^ _outvoted(keypoints, state, motion, halves)
    report = SwapReport(halves=state, notes=_notes(state, is_seen(keypoints).any(-1), cameras.names))
    return apply_swaps(keypoints, state), report


def correct_swaps_in_view(keypoints: Keypoints2D, names: tuple[str, ...] = ()) -> tuple[Keypoints2D, SwapReport]:
    """Exchange left and right where the motion in a view says that the detector mixed them up.

    Each view and person is judged alone; the reading of most frames stays. Sides that are mixed up throughout, or cross
    slowly, cannot be told. Cost: linear in views, frames and people.

    Args:
        keypoints: (V, T, P) with slot p one person in all frames.
        names: of the views, for the notes.
    """
    halves = halves_of(keypoints.skeleton).to(keypoints.score.device)
    state = torch.zeros((*keypoints.batch_shape, 2), dtype=torch.bool, device=keypoints.score.device)
    if keypoints.score.numel() and halves.any():
        motion = _motion(keypoints, halves)
        state = _cheapest_sequence(torch.full_like(state, _PRIOR, dtype=motion.dtype), motion)
    report = SwapReport(halves=state, notes=_notes(state, is_seen(keypoints).any(-1), names))
    return apply_swaps(keypoints, state), report


def exchange_sides(values: Tensor, halves: Tensor, skeleton: Skeleton) -> Tensor:
    """Exchange left and right of values (V, T, P, J, D) of joints, in the halves (V, T, P, 2) of the body."""
    exchanged = (halves[..., None] & halves_of(skeleton).to(halves.device)).any(-2)
    return torch.where(exchanged[..., None], values[..., list(skeleton.mirror), :], values)


def apply_swaps(keypoints: Keypoints2D, halves: Tensor) -> Keypoints2D:
    """Exchange left and right in the halves (V, T, P, 2) of the body, as `SwapReport.halves` has them."""
    if not halves.any():
        return keypoints
    mirror = torch.tensor(keypoints.skeleton.mirror, device=halves.device)
    exchanged = (halves[..., None] & halves_of(keypoints.skeleton).to(halves.device)).any(-2)
    return dataclasses.replace(
        keypoints,
        positions=torch.where(exchanged[..., None], keypoints.positions[..., mirror, :], keypoints.positions),
        covariance=torch.where(
            exchanged[..., None, None], keypoints.covariance[..., mirror, :, :], keypoints.covariance
        ),
        score=torch.where(exchanged, keypoints.score[..., mirror], keypoints.score),
    )


def halves_of(skeleton: Skeleton) -> Tensor:
    """The paired joints of the upper and of the lower half of the body, boolean (2, J)."""
    paired = torch.tensor([other != place for place, other in enumerate(skeleton.mirror)])
    lower = torch.tensor([joint.partition("_")[2] in _LOWER_PARTS for joint in skeleton.joints])
    return torch.stack((paired & ~lower, paired & lower))


def _evidence(keypoints: Keypoints2D, state: Tensor, cameras: Cameras, halves: Tensor) -> Tensor:
    """What the other views gain if a half (V, T, P, 2) is mirrored against its present reading, in blocks of frames."""
    frames = keypoints.score.shape[1]
    step = max(1, _BLOCK // max(1, keypoints.score.numel() // frames))
    parts = [
        _block_evidence(apply_swaps(keypoints[:, at : at + step], state[:, at : at + step]), cameras, halves)
        for at in range(0, frames, step)
    ]
    return torch.cat(parts, dim=1)


def _block_evidence(keypoints: Keypoints2D, cameras: Cameras, halves: Tensor) -> Tensor:
    if keypoints.score.shape[0] == 2:
        return _two_view_evidence(keypoints, cameras, halves)
    predicted, spread = predict_from_others(keypoints, cameras)
    mirror = list(keypoints.skeleton.mirror)
    both = is_seen(keypoints) & is_seen(keypoints)[..., mirror]
    as_given = _distance(keypoints.positions, predicted, spread + keypoints.covariance)
    mirrored = _distance(
        keypoints.positions[..., mirror, :], predicted, spread + keypoints.covariance[..., mirror, :, :]
    )
    return _per_half(torch.where(both & predicted.isfinite().all(-1), as_given - mirrored, 0.0), halves)


def _two_view_evidence(keypoints: Keypoints2D, cameras: Cameras, halves: Tensor) -> Tensor:
    """The same for two views, which can only tell their readings alike or not: it is the first view's to change."""
    first = torch.zeros((*keypoints.batch_shape, 2), dtype=torch.bool, device=halves.device)
    first[0] = True
    misfit = [_pair_misfit(reading, cameras) for reading in (keypoints, apply_swaps(keypoints, first))]
    mirror = list(keypoints.skeleton.mirror)
    seen = is_seen(keypoints).all(0)
    gain = _per_half(torch.where(seen & seen[..., mirror], misfit[0] - misfit[1], 0.0), halves)
    return torch.stack((gain, torch.zeros_like(gain)))


def _pair_misfit(keypoints: Keypoints2D, cameras: Cameras) -> Tensor:
    found = triangulate(keypoints.positions, cameras, covariance=keypoints.covariance, method="weighted")
    pixels = project(found.positions[None], cameras)
    return _distance(keypoints.positions, pixels, keypoints.covariance).sum(0).clamp(max=_MOST_DISTANCE)


def _distance(positions: Tensor, predicted: Tensor, covariance: Tensor) -> Tensor:
    distance = mahalanobis_squared(positions - predicted, covariance)
    return distance.nan_to_num(nan=_MOST_DISTANCE).clamp(max=_MOST_DISTANCE)


def _per_half(values: Tensor, halves: Tensor) -> Tensor:
    """Sum values (..., J) over the joints of each half: (..., 2), in double precision for the sums over time."""
    return values.double() @ halves.T.double()


def _motion(keypoints: Keypoints2D, halves: Tensor) -> Tensor:
    """Cost of reading frames t - 1 and t differently rather than alike, (V, T - 1, P, 2); negative at an exchange."""
    seen = is_seen(keypoints)
    mirror = list(keypoints.skeleton.mirror)
    whole = seen & seen[..., mirror]
    positions = keypoints.positions
    variance = (_MOTION * person_size(positions)[:, 1:, :, None]).square()
    alike = (positions[:, 1:] - positions[:, :-1]).square().sum(-1) / variance
    crossed = (positions[:, 1:][..., mirror, :] - positions[:, :-1]).square().sum(-1) / variance
    jump = crossed.clamp(max=_MOST_DISTANCE) - alike.clamp(max=_MOST_DISTANCE)
    return _per_half(torch.where(whole[:, 1:] & whole[:, :-1], jump, 0.0), halves)


def _cheapest_sequence(preference: Tensor, motion: Tensor) -> Tensor:
    """The cheapest sequence of readings over time.

    Args:
        preference: (V, T, P, 2) cost of mirrored minus cost of as given.
        motion: (V, T - 1, P, 2) cost of reading neighbours differently.

    Returns:
        Boolean (V, T, P, 2), mirrored; as given on a tie.
    """
    unary = torch.stack((torch.zeros_like(preference), preference), -1).movedim(1, 0)
    switch = motion.movedim(1, 0)
    stay = torch.zeros_like(switch)
    change = torch.stack((torch.stack((stay, switch), -1), torch.stack((switch, stay), -1)), -2)
    step = change + unary[1:, ..., None, :]
    forward = _min_plus_prefix(step)
    backward = _min_plus_prefix(step.mT.flip(0)).flip(0)  # the transpose of M_t ... M_last
    until = torch.cat((unary[:1], (unary[:1, ..., :, None] + forward).amin(-2)))
    after = torch.cat((backward.amin(-2), torch.zeros_like(unary[:1])))
    total = until + after
    return (total[..., 1] < total[..., 0]).movedim(0, 1)


def _min_plus_prefix(matrices: Tensor) -> Tensor:
    """Products M_0 ... M_t for every t of (T, ..., 2, 2) in the min-plus semiring, by doubling: log2(T) steps."""
    reach = 1
    while reach < matrices.shape[0]:
        product = (matrices[:-reach, ..., :, :, None] + matrices[reach:, ..., None, :, :]).amin(-2)
        matrices = torch.cat((matrices[:reach], product))
        reach *= 2
    return matrices


def _outvoted(keypoints: Keypoints2D, state: Tensor, motion: Tensor, halves: Tensor) -> Tensor:
    """Where all readings (T, P, 2) are to be exchanged, because most views would then stay as they were given."""
    weight = _per_half(torch.where(is_seen(keypoints), keypoints.score, 0.0), halves)
    vote = torch.where(state, -weight, weight).sum(0) / weight.sum(0).clamp(min=1e-9)
    differently = state[:, 1:] ^ state[:, :-1]
    jump = torch.where(differently, -motion, motion).sum(0)
    return _cheapest_sequence(_VOTE * vote[None], jump[None])[0]


def _notes(state: Tensor, present: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
    counts = torch.stack((state.all(-1), state[..., 0] & ~state[..., 1], state[..., 1] & ~state[..., 0])).sum(2)
    notes = []
    for view, person in state.any(-1).any(1).nonzero().tolist():
        whole, upper, lower = counts[:, view, person].tolist()
        kinds = ((whole, "whole body"), (upper, "upper body"), (lower, "lower body"))
        detail = ", ".join(f"{kind} {count}" for count, kind in kinds if count)
        notes.append(
            f"{names[view] if names else f'view {view}'}, person {person}: left and right exchanged in "
            f"{whole + upper + lower} of {int(present[view, :, person].sum())} frames ({detail})."
        )
    return tuple(notes)
