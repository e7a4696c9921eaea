"""Rotations of joints from their places: inverse kinematics with bones of constant length.

The bones of a person come from frames of the whole recording (`marey.body.proportions`), a first guess of every pose
from closed forms (`marey.body.posture`). Then Levenberg and Marquardt's method fits pose by pose: joints by their
covariance, turns as people turn (`marey.body.priors`); and once more, when what the points of a frame do not tell, such
as the twist of a straight arm, is told by other frames (`marey.body.continuity`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.body.chain import Chain, split
from marey.body.continuity import told_by_others
from marey.body.fitting import Poses, whitening_of
from marey.body.posture import first_guess
from marey.body.priors import Habits, habits_of, turn_and_swing
from marey.body.proportions import average_person, better_offsets, frames_to_measure, with_offsets
from marey.body.trees import STATURE, BodyTree, body_tree
from marey.core import InputError, Joints3D, ShapeError
from marey.core.motion import Motion
from marey.geometry.least_squares import LeastSquaresSolution
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import quaternion_to_matrix

BLOCK = 256
"""Poses solved at once, about 0.3 MB each."""
FEW_ITERATIONS = 7
"""After which most poses have converged, and the others go on alone."""


@dataclass(frozen=True, kw_only=True)
class KinematicsConfig:
    """Settings of the inverse kinematics."""

    model_deviation: float = 0.004
    """Metres by which joints of people differ from points that are fixed in rigid bones; added to their covariance."""
    unknown_deviation: float = 0.02
    """Metres, standard deviation of joints that come without a covariance."""
    asymmetry: float = 0.01
    """Standard deviation of the difference between a left and a right bone, in lengths; inf: they are unrelated."""
    memory: float = 0.5
    """Seconds over which turns that points do not tell are remembered."""
    largest: float = 4.0
    """Standard deviations beyond which a joint counts less and less, by the loss of Huber."""
    calibration_frames: int = 60
    """Frames from which bones are measured, at most."""
    calibration_rounds: int = 3
    """Steps of the bones, with all poses solved before each."""
    tolerance: float = 1e-5
    """Relative change of the cost that ends the iterations of a pose."""
    max_iterations: int = 25

    def __post_init__(self) -> None:
        for name in ("unknown_deviation", "asymmetry", "memory", "largest"):
            if not getattr(self, name) > 0:
                raise InputError(f"KinematicsConfig.{name}: expected a number above 0, got {getattr(self, name)}")
        if not self.model_deviation >= 0:
            raise InputError(f"KinematicsConfig.model_deviation: expected 0 or more, got {self.model_deviation}")


def inverse_kinematics(joints: Joints3D, *, fps: float, config: KinematicsConfig | None = None) -> tuple[Motion, ...]:
    """Find the rotations of joints and the constant bones that explain where the joints of people are.

    Minimises, over the rotations of all joints of a frame and the place of the root, the squared Mahalanobis distances
    of the joints from where they were measured, robustly, plus the squared deviations of the turns from how people turn
    (`marey.body.priors`). Turns that the points of a frame do not tell (the twist of a straight arm, a wrist that is
    hidden) are told by other frames, with the uncertainty that grows with the time between. A joint that is missing
    gets its place so; a frame is left out where trunk and head do not say how the person stands.

    The covariance of a rotation is its block of the inverse of the normal equations. It counts the uncertainty of the
    joints in that frame and of what is undetermined, not that of the bones. The result is in double precision and has
    no gradient. Cost: about 4 ms a frame and person on one core; memory: a few kB a frame and person.

    Args:
        joints: (T, P) in any world; their covariances decide what counts how much.
        fps: Frames per second.
        config: None: the defaults.

    Returns:
        One motion a person, in the world of the joints. Whoever is never known has NaN throughout.

    Raises:
        ShapeError: the joints are not (T, P).
        InputError: fps is not positive, or the skeleton has no hips or shoulders.
    """
    if len(joints.batch_shape) != 2:
        raise ShapeError(f"joints: expected the batch shape (T, P), got {joints.batch_shape}")
    if not 0 < fps < math.inf:
        raise InputError(f"fps: expected frames per second > 0, got {fps}")
    config = config or KinematicsConfig()
    body = body_tree(joints.skeleton)
    with torch.no_grad():
        people = _People.of(joints, body, config)
        offsets = people.measured_bones()
        parameters, covariance = people.posed(offsets, memory=config.memory * fps)
    return tuple(people.motion(person, offsets, parameters, covariance, fps) for person in range(people.known.shape[1]))


@dataclass(frozen=True, kw_only=True)
class _People:
    """A recording of P people over T frames as the solver takes it."""

    body: BodyTree
    chain: Chain
    habits: Habits
    config: KinematicsConfig
    places: Tensor
    """(T, P, K, 3) of the joints of the tree, metres, NaN where nothing measured them."""
    whitening: Tensor
    """(T, P, K, 3, 3) see `whitening_of`."""
    known: Tensor
    """(T, P) boolean: trunk and head say how the person stands."""

    @classmethod
    def of(cls, joints: Joints3D, body: BodyTree, config: KinematicsConfig) -> _People:
        chain, habits = Chain(body.tree), habits_of(body)
        measured = torch.tensor(body.measured)
        places = joints.positions.detach().cpu().double()[..., measured.clamp_min(0), :]
        covariance = joints.covariance.detach().cpu().double()[..., measured.clamp_min(0), :, :]
        there = places.isfinite().all(-1) & (measured >= 0)
        stated = covariance.isfinite().all(-1).all(-1)[..., None, None]
        guess = config.unknown_deviation**2 * torch.eye(3, dtype=torch.float64)
        covariance = torch.where(stated, covariance, guess)
        places = torch.where(there[..., None], places, torch.nan)
        people = cls(
            body=body,
            chain=chain,
            habits=habits,
            config=config,
            places=places,
            whitening=whitening_of(covariance, floor=config.model_deviation),
            known=torch.zeros(places.shape[:2], dtype=torch.bool),
        )
        rest = (body.rest_offsets * STATURE).expand(places.shape)
        _, known = first_guess(chain, habits, rest.flatten(0, 1), places.flatten(0, 1))
        return replace(people, known=known.reshape(places.shape[:2]))

    def measured_bones(self) -> Tensor:
        """Offsets (P, K, 3) metres."""
        if not self.known.any():
            return (STATURE * self.body.rest_offsets).expand(self.known.shape[1], -1, -1)
        frames = frames_to_measure(self.known, self.config.calibration_frames)
        person = torch.arange(len(frames))[:, None].expand(frames.shape)
        known = self.known[frames, person]
        places = torch.where(known[..., None, None], self.places[frames, person], torch.nan)
        average = average_person(self.body, places, asymmetry=self.config.asymmetry)
        offsets = average.offsets
        poses = self._poses(frames.flatten(), person.flatten(), offsets[person.flatten()])
        start, _ = first_guess(self.chain, self.habits, poses.offsets, self.places[frames, person].flatten(0, 1))
        for _ in range(self.config.calibration_rounds):
            poses = with_offsets(poses, offsets)
            start = self._solve_fast(poses, start)
            solution = self._solve(poses, start, max_iterations=0)
            offsets = better_offsets(poses, solution, offsets, average)
        return offsets

    def posed(self, offsets: Tensor, *, memory: float) -> tuple[Tensor, Tensor]:
        """Parameters (N, 3 + 4 A) and covariance (N, A, 3, 3) of the N poses that are known, in the order of `known`.

        Args:
            offsets: (P, K, 3) metres.
            memory: frames over which turns are remembered.
        """
        frame, person = self.known.nonzero().unbind(1)
        shape = (*self.known.shape, len(self.chain.moving), 3)
        mean, deviation = self.habits.mean.expand(shape), self.habits.deviation.expand(shape)
        parameters = self._guessed(frame, person, offsets)
        parameters, covariance = self._solved(parameters, frame, person, offsets, (mean, deviation))
        told = self._told_by_others(parameters, covariance, memory)
        return self._solved(parameters, frame, person, offsets, told)

    def motion(self, person: int, offsets: Tensor, parameters: Tensor, covariance: Tensor, fps: float) -> Motion:
        """One person's motion of the poses of all people."""
        row = self.known.nonzero()[:, 1] == person
        known = self.known[:, person]
        place, quaternions = split(parameters[row])
        shape = (len(known), len(self.body.tree))
        rotations = torch.eye(3, dtype=torch.float64).repeat(*shape, 1, 1)
        spread = torch.zeros(*shape, 3, 3, dtype=torch.float64)
        translation = torch.full((len(known), 3), torch.nan, dtype=torch.float64)
        rotations[~known], spread[~known] = torch.nan, torch.nan
        at = known.nonzero()
        rotations[at, self.chain.moving] = quaternion_to_matrix(quaternions)
        spread[at, self.chain.moving] = covariance[row]
        translation[known] = place
        return Motion(
            tree=self.body.tree,
            offsets=offsets[person],
            rotations=rotations,
            translation=translation,
            fps=fps,
            covariance=spread,
            name=f"person_{person}",
        )

    def _guessed(self, frame: Tensor, person: Tensor, offsets: Tensor) -> Tensor:
        parts = [
            first_guess(self.chain, self.habits, offsets[p], self.places[t, p])[0]
            for t, p in zip(torch.split(frame, BLOCK), torch.split(person, BLOCK), strict=True)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, 3 + 4 * len(self.chain.moving), dtype=torch.float64)

    def _solved(
        self, start: Tensor, frame: Tensor, person: Tensor, offsets: Tensor, expected: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Poses from a start, and the covariance of each rotation, given the expected coordinates (T, P, A, 3)."""
        count = len(self.chain.moving)
        parameters, covariance = torch.empty_like(start), start.new_empty(len(start), count, 3, 3)
        for first in range(0, len(start), BLOCK):
            rows = slice(first, first + BLOCK)
            t, p = frame[rows], person[rows]
            poses = self._poses(t, p, offsets[p], tuple(part[t, p] for part in expected))
            parameters[rows] = self._solve_fast(poses, start[rows])
            solution = self._solve(poses, parameters[rows], max_iterations=0)
            whole = torch.cholesky_inverse(torch.linalg.cholesky(solution.information))
            blocks = whole[:, 3:, 3:].reshape(-1, count, 3, count, 3)
            covariance[rows] = blocks.diagonal(dim1=1, dim2=3).movedim(-1, 1)
        return parameters, covariance

    def _told_by_others(self, parameters: Tensor, covariance: Tensor, memory: float) -> tuple[Tensor, Tensor]:
        """Expected coordinates (T, P, A, 3) and their deviations in each frame, by the other frames.

        What a frame itself tells is its posterior without what was expected of it.
        """
        usual = self.habits.deviation.square()
        value = torch.zeros(*self.known.shape, *usual.shape, dtype=torch.float64)
        variance = torch.full_like(value, torch.inf)
        coordinates, by_turn = turn_and_swing(split(parameters)[1], self.habits.basis)
        spread = (by_turn @ covariance @ by_turn.mT).diagonal(dim1=-2, dim2=-1)
        # frames close in time err alike: as many as are remembered count as one
        information = (1 / spread - 1 / usual).clamp_min(0) / (1 + 2 * memory)
        told = information > 1e-3 / (1 + 2 * memory) / usual
        share = 1 / (spread * information * (1 + 2 * memory))
        value[self.known] = torch.where(told, share * (coordinates - self.habits.mean), 0.0)
        variance[self.known] = torch.where(told, 1 / information, torch.inf)
        mean, expected = told_by_others(value, variance, stationary=usual, correlation=math.exp(-1 / memory))
        return self.habits.mean + mean, expected.sqrt()

    def _poses(
        self, frame: Tensor, person: Tensor, offsets: Tensor, expected: tuple[Tensor, ...] | None = None
    ) -> Poses:
        """The problems of some frames (N,) and people (N,), with bones (N, K, 3)."""
        joints = torch.tensor([place for place, source in enumerate(self.body.measured) if source >= 0])
        shape = (len(frame), *self.habits.mean.shape)
        mean, deviation = expected or (self.habits.mean.expand(shape), self.habits.deviation.expand(shape))
        return Poses(
            chain=self.chain,
            habits=self.habits,
            joints=joints,
            offsets=offsets,
            targets=self.places[frame, person][:, joints],
            whitening=self.whitening[frame, person][:, joints],
            mean=mean,
            deviation=deviation,
        )

    def _solve_fast(self, poses: Poses, start: Tensor) -> Tensor:
        """Parameters of the poses, in single precision; those that take long go on without the others."""
        poses, start = poses.to(torch.float32), start.float()
        solution = self._solve(poses, start, max_iterations=FEW_ITERATIONS)
        parameters = solution.parameters
        rest = (~solution.converged).nonzero()[:, 0]
        if len(rest) and self.config.max_iterations > FEW_ITERATIONS:
            more = self.config.max_iterations - FEW_ITERATIONS
            parameters[rest] = self._solve(poses.take(rest), parameters[rest], max_iterations=more).parameters
        return parameters.double()

    def _solve(self, poses: Poses, start: Tensor, *, max_iterations: int) -> LeastSquaresSolution:
        return poses.solve(
            start,
            loss=RobustLoss("huber", self.config.largest),
            tolerance=self.config.tolerance,
            max_iterations=max_iterations,
        )
