"""People followed through a film by their poses in space, by labels of the image or by how they stand.

The rules are those of MeTRAbs's `video_inference` (2020-11), which made its entry to the challenge of 3DPW.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, ShapeError
from marey.data.boxes import box_iou, boxes_of_points, expand_boxes
from marey.detect.assignment import assign
from marey.geometry.projection import project_from_camera
from marey.metrics.protocols.association import pose_agreement, track_agreement

_SLIGHTEST = 1e-9
"""Added to agreements where pairs are made even of what does not agree at all."""


@dataclass(frozen=True, kw_only=True)
class TrackingRules:
    """When a pose belongs to somebody who was there before; the defaults are the published ones."""

    live_frames: int = 30
    """A track that has more poses than this asks for a look where it was last seen."""
    live_within: int = 10
    """As long as that was fewer frames ago."""
    box_scale: float = 1.2
    """Of the box around its joints."""
    box_overlap: float = 0.65
    """Intersection over union with a box that is looked at anyway, beyond which it asks for none."""
    reach: float = 0.5
    """Metres beyond which a joint is not where it was."""
    closest: int = 20
    """Joints that are compared with the frame before, those that moved least."""
    stale: int = 30
    """A track that was not seen for more frames than this takes the surest pose that nobody else took."""
    pairs_strangers: bool = False
    """The original gives a labelled person some pose even where none agrees with the labels at all."""

    @classmethod
    def published(cls) -> TrackingRules:
        """As MeTRAbs had them in November 2020, the defect included."""
        return cls(pairs_strangers=True)


_RULES = TrackingRules()


class Tracks:
    """K people and their poses, frame by frame.

    Args:
        joints: J of a pose.
        people: K; None: as many as are found in the first frame that shows anybody.
        rules: When a pose belongs to a track.
    """

    def __init__(self, joints: int, *, people: int | None = None, rules: TrackingRules = _RULES) -> None:
        self.rules, self.people = rules, people
        count = people or 0
        self.last = torch.full((count, joints, 3), torch.nan, dtype=torch.float64)
        """(K, J, 3) the last pose of each, metres in the camera's frame; NaN where there was none yet."""
        self.pixels = torch.full((count, joints, 2), torch.nan, dtype=torch.float64)
        """(K, J, 2) where the last pose given by labels was in the image."""
        self.seen = torch.full((count,), -1)
        """(K,) the frame of the last pose; -1: none yet."""
        self.lengths = torch.zeros(count, dtype=torch.long)
        """(K,) how many frames have one."""
        self._frames: list[Tensor] = []

    def boxes(self, frame: int, detected: Tensor, cameras: Cameras) -> Tensor:
        """Where to look in a frame: detections, and where people were whom the detector may have missed.

        Args:
            frame: Its number.
            detected: (N, 5) left, top, width, height in pixels, confidence.
            cameras: () of the frame.

        Returns:
            (M, 5) with M >= N; those asked for by tracks come last, with confidence 0.
        """
        rules, found = self.rules, detected.double().numpy().reshape(-1, 5)
        live = (self.lengths > rules.live_frames) & (frame - self.seen < rules.live_within)
        joints = project_from_camera(self.last[live], cameras.to(torch.float64)).numpy()
        for box in expand_boxes(boxes_of_points(joints), rules.box_scale):  # each new one is in the way of the next
            if np.isfinite(box).all() and not (box_iou(found[:, :4], box) > rules.box_overlap).any():
                found = np.concatenate((found, [[*box, 0.0]]))
        return torch.from_numpy(found)

    def by_labels(self, frame: int, poses: Tensor, pixels: Tensor, labelled: Tensor) -> None:
        """Give every labelled person the pose that lies best on the labels; who gets none keeps the last.

        Args:
            frame: Its number.
            poses: (P, J, 3) metres in the camera's frame.
            pixels: (P, J, 2) the same in the image.
            labelled: (K, 8, 3) pixels and confidence of `marey.metrics.protocols.association.JOINTS`.

        Raises:
            ShapeError: there are not as many people as tracks.
        """
        if len(labelled) != len(self.last):
            raise ShapeError(f"labelled: expected the {len(self.last)} people of the tracks, got {len(labelled)}")
        agreement = track_agreement(
            labelled[..., :2].double(), labelled[..., 2].double(), pixels.double(), previous=self.pixels
        )
        chosen = assign(agreement + _SLIGHTEST if self.rules.pairs_strangers else agreement)
        given = chosen >= 0
        self.pixels[given] = pixels[chosen[given]].double()
        self._add(frame, given, poses[chosen[given]])

    def by_motion(self, frame: int, poses: Tensor, scores: Tensor) -> None:
        """Give every track the pose that stands most as it stood; lost ones take the surest that are left.

        Args:
            frame: Its number.
            poses: (P, J, 3) metres in the camera's frame.
            scores: (P,) 0 for poses that only a track asked for.
        """
        if self.people is None and not len(self.last):
            self._begin(frame, poses[scores > 0])
            return
        chosen = assign(pose_agreement(self.last, poses.double(), reach=self.rules.reach, closest=self.rules.closest))
        free = torch.ones(len(poses), dtype=torch.bool)
        free[chosen[chosen >= 0]] = False
        left = torch.nonzero(free)[:, 0]
        left = left[scores[left].argsort(descending=True, stable=True)]
        lost = torch.nonzero((chosen < 0) & ((self.seen < 0) | (frame - self.seen > self.rules.stale)))[:, 0]
        count = min(len(left), len(lost))
        chosen[lost[:count]] = left[:count]
        self._add(frame, chosen >= 0, poses[chosen[chosen >= 0]])

    def finished(self, frames: int) -> Tensor:
        """(K, frames, J, 3) the poses of every track, NaN in frames in which it has none."""
        found = self.last.new_full((frames, *self.last.shape), torch.nan)
        for number, added in enumerate(self._frames[:frames]):
            found[number, : len(added)] = added
        return found.transpose(0, 1)

    def _begin(self, frame: int, poses: Tensor) -> None:
        count = len(poses)
        shape = (count, *self.last.shape[1:])
        self.last, self.pixels = self.last.new_full(shape, torch.nan), self.last.new_full((*shape[:-1], 2), torch.nan)
        self.seen, self.lengths = torch.full((count,), -1), torch.zeros(count, dtype=torch.long)
        self._add(frame, torch.ones(count, dtype=torch.bool), poses)

    def _add(self, frame: int, given: Tensor, poses: Tensor) -> None:
        self.last[given] = poses.double()
        self.seen[given] = frame
        self.lengths[given] += 1
        nothing = self.last.new_full((0, *self.last.shape[1:]), torch.nan)
        self._frames += [nothing] * (frame + 1 - len(self._frames))
        self._frames[frame] = torch.where(given[:, None, None], self.last, torch.nan)
