"""Human3.6M as MeTRAbs scores it, and as Learnable Triangulation does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.aligned import procrustes_errors
from marey.metrics.joints import joint_errors, root_relative_errors
from marey.metrics.protocols.contract import Array, ProtocolCard, Scores
from marey.metrics.protocols.pairing import group_means, paired, texts

METRABS_ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown",
    "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether",
)  # fmt: skip
"""As MeTRAbs names them."""

JOINTS = skeleton("h36m_17").joints

MPII_JOINTS = tuple(name for name in JOINTS if name != "head")
"""The 16 that Learnable Triangulation calls `mpii`: those of Human3.6M without the one between neck and head top."""

TRANSFER_JOINTS = ("right_wrist", "right_elbow", "left_wrist", "left_elbow", "right_knee", "left_knee")
"""What a network trained on CMU Panoptic is scored on; relative errors are then to the right wrist."""

INVALID_SCENES = ("Greeting-2", "SittingDown-2", "Waiting-1")
"""Of subject S9, whose labels are shifted in the world."""

Kind = Literal["human36m", "mpii", "transfer"]


@dataclass(frozen=True, kw_only=True)
class MetrabsHuman36M:
    """Every 64th frame of S9 and S11, pelvis on pelvis, over 17 joints; labels have `action`."""

    procrustes: bool = False
    """Whether each pose is brought onto the truth by a similarity first (PA-MPJPE, "Protocol 2")."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        turned = "; then a similarity without a reflection for each pose" if self.procrustes else ""
        return ProtocolCard(
            name="h36m-metrabs-pa" if self.procrustes else "h36m-metrabs",
            source="isarandi/metrabs, eval_h36m (2020-11)",
            joints="17 of Human3.6M, world frame",
            alignment=f"pelvis on pelvis{turned}",
            averaging="mpjpe_mm over all frames and joints; mean_of_actions_mm over the means of the actions",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, lack a joint, or an action has another name.
        """
        pair = paired(predictions, labels)
        actions = texts(pair.labels, "action", known=METRABS_ACTIONS)
        errors = self._errors(*pair.joints(JOINTS))
        by_action = group_means(errors, actions)
        name = "pa_mpjpe_mm" if self.procrustes else "mpjpe_mm"
        mean_of_actions = float(np.mean(list(by_action.values())))
        return Scores(
            card=self.card,
            values={name: float(errors.mean()), "mean_of_actions_mm": mean_of_actions},
            groups={f"{name}/action": by_action},
            per_row={name: errors.mean(-1).numpy()},
            counts={"rows": len(labels), "actions": len(by_action)},
        )

    def _errors(self, estimated: Tensor, truth: Tensor) -> Tensor:
        if self.procrustes:
            return 1000 * procrustes_errors(estimated, truth)
        return 1000 * root_relative_errors(estimated, truth, root=JOINTS.index("pelvis"))


@dataclass(frozen=True, kw_only=True)
class TriangulationHuman36M:
    """Absolute errors in the world and errors relative to the pelvis; labels have `subject` and `action` with trial."""

    kind: Kind = "human36m"
    """17 joints, the 16 of `mpii`, or the 6 of the transfer from CMU Panoptic."""
    invalid_scenes: bool = True
    """Whether the three scenes of S9 with shifted labels count. The published relative errors count them, the published
    absolute ones do not."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        valid = "" if self.invalid_scenes else "-valid"
        scenes = "all scenes" if self.invalid_scenes else f"without {', '.join(INVALID_SCENES)} of S9"
        joints = {"human36m": "17 of Human3.6M", "mpii": "16 of MPII", "transfer": "6: wrists, elbows, knees"}
        return ProtocolCard(
            name={"human36m": f"h36m{valid}", "mpii": f"h36m-mpii{valid}", "transfer": f"h36m-transfer{valid}"}[
                self.kind
            ],
            source="karfly/learnable-triangulation-pytorch, Human36MMultiViewDataset.evaluate (8dcc4e97)",
            joints=f"{joints[self.kind]}, world frame",
            alignment="none, and relative to the "
            + ("right wrist" if self.kind == "transfer" else "pelvis of each of the two"),
            averaging=f"over frames, {scenes}; the two trials of an action count as one",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, or lack a joint.
        """
        pair = paired(predictions, labels, counted=None if self.invalid_scenes else ~_invalid(labels))
        names = {"human36m": JOINTS, "mpii": MPII_JOINTS, "transfer": TRANSFER_JOINTS}[self.kind]
        estimated, truth = pair.joints(names)
        root = 0 if self.kind == "transfer" else names.index("pelvis")
        absolute = 1000 * joint_errors(estimated, truth)
        relative = 1000 * root_relative_errors(estimated, truth, root=root)
        errors = {"mpjpe_mm": absolute.mean(-1), "mpjpe_relative_mm": relative.mean(-1)}
        return Scores(
            card=self.card,
            values={name: float(found.mean()) for name, found in errors.items()},
            groups={f"{name}/subject/action": _table(found, pair.labels) for name, found in errors.items()},
            per_row={name: found.numpy() for name, found in errors.items()},
            counts={"rows": len(pair.labels), "left_out": len(labels) - len(pair.labels)},
        )


def _invalid(labels: PoseRows) -> Array:
    invalid: Array = (texts(labels, "subject") == "S9") & np.isin(texts(labels, "action"), INVALID_SCENES)
    return invalid


def _table(errors: Tensor, labels: PoseRows) -> dict[str, float]:
    """Means by `S9/Directions`, with `Average` for all subjects and for all actions."""
    subjects = texts(labels, "subject")
    actions = np.array([str(action).rpartition("-")[0] or str(action) for action in texts(labels, "action")])
    everything = np.full(len(labels), "Average")
    return dict(
        pair
        for first in (everything, subjects)
        for second in (everything, actions)
        for pair in _named(errors, first, second)
    )


def _named(errors: Tensor, first: Array, second: Array) -> Iterator[tuple[str, float]]:
    keys = np.char.add(np.char.add(first.astype(np.str_), "/"), second.astype(np.str_))
    yield from group_means(errors, keys).items()
