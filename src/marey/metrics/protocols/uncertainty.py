"""Whether the covariance that predictions state is honest, and where they stand in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors
from marey.metrics.known import mean_over_joints
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import group_means, paired, tensor
from marey.metrics.uncertainty import confidence_levels, covered, gaussian_energy_scores, gaussian_nll

LEVELS = (50, 80, 90, 95)
"""Percent."""
COVARIANCE = "joints_covariance"
_GROUPS = ("subject", "action", "scene")


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Coverage and proper scores of a Gaussian for each joint; predictions have `joints_covariance` (N, J, 3, 3).

    The joints are those of the labels, in the labels' frame. NaN is a joint, or a covariance, that is not known: it is
    counted and told, and left out of the means.
    """

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="uncertainty",
            source="Marey; Gneiting and Raftery 2007 (nll, energy score)",
            joints="those of the labels; what is NaN is left out, and counted in known_percent",
            alignment="none",
            averaging="over all known joints; rows over the known joints of each",
            thresholds="coverage: the truth lies in the ellipsoid that should hold 50, 80, 90, 95 %",
            units="millimetres; shares in percent; nll in nats for a joint in metres",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, lack a joint or the covariance, hold infinite values or what is no covariance,
                or nothing at all is known.
        """
        pair = paired(predictions, labels)
        names = labels.joint_names
        estimated, spread = (tensor(pair.predictions, key, names, known=False) for key in ("joints", COVARIANCE))
        truth = tensor(pair.labels, "joints", names, "labels", known=False)
        _check_covariance(pair.predictions, spread)
        joints = _scores(estimated, spread, truth)
        labelled = ~truth.isnan().any(-1)
        missing = labelled & joints["nll"].isnan()
        if bool((missing == labelled).all()):
            raise InputError(
                f"predictions: 'joints' with '{COVARIANCE}' are never known where labels are, in rows 0 to "
                f"{len(labels) - 1}"
            )
        rows = {name: mean_over_joints(found) for name, found in joints.items()}
        return Scores(
            card=self.card,
            values={name: float(found.nanmean()) for name, found in joints.items()}
            | {"known_percent": 100 - 100 * float(missing.sum() / labelled.sum())},
            groups=_groups(pair.labels, rows),
            per_row={name: found.numpy() for name, found in rows.items()},
            counts={"rows": len(truth), "joints": int(labelled.sum()), "missing": int(missing.sum())},
            notes=_notes(pair.predictions, missing),
        )


def known_in_both(first: PoseRows, second: PoseRows) -> tuple[PoseRows, PoseRows]:
    """Rows of which each joint is known in both or missing in both, so that they are scored on the same joints.

    Raises:
        InputError: they are not of the same rows.
    """
    pair = paired(first, second)
    shared = [name for name in first.joint_names if name in second.joint_names]
    sides = pair.predictions, pair.labels
    gone = np.zeros((len(second), len(shared)), dtype=bool)
    for rows in sides:
        for key in ("joints", COVARIANCE):
            found = tensor(rows, key, shared, known=False).flatten(2)
            gone |= found.isnan().any(-1).numpy()
    return tuple(_without(rows, shared, gone) for rows in sides)  # type: ignore[return-value]


def _without(rows: PoseRows, shared: list[str], gone: np.ndarray) -> PoseRows:
    joints, spread = (tensor(rows, key, shared, known=False).numpy().copy() for key in ("joints", COVARIANCE))
    joints[gone], spread[gone] = np.nan, np.nan
    return PoseRows(
        joint_names=tuple(shared),
        sequence=rows.sequence,
        frame=rows.frame,
        person=rows.person,
        values={"joints": joints, COVARIANCE: spread},
        benchmark=rows.benchmark,
    )


def _scores(estimated: Tensor, spread: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """(N, J) by metric, NaN where something is unknown."""
    confidence = confidence_levels(estimated, spread, truth)
    errors = torch.where(confidence.isnan(), torch.nan, joint_errors(estimated, truth))
    return {
        "mpjpe_absolute_mm": 1000 * errors,
        **{f"coverage_{level}_percent": 100 * covered(confidence, level=level / 100) for level in LEVELS},
        "nll": gaussian_nll(estimated, spread, truth),
        "energy_score_mm": 1000 * gaussian_energy_scores(estimated, spread, truth),
    }


def _check_covariance(rows: PoseRows, spread: Tensor) -> None:
    """InputError that names the rows whose covariance is not symmetric and positive definite."""
    if spread.shape[2:] != (3, 3):
        raise InputError(f"predictions: '{COVARIANCE}': expected (N, J, 3, 3), got {tuple(spread.shape)}")
    minor = spread[..., 0, 0] * spread[..., 1, 1] - spread[..., 0, 1].square()
    flat = (spread[..., 0, 0] <= 0) | (minor <= 0) | (torch.linalg.det(spread.nan_to_num(1.0)) <= 0)
    lopsided = (spread - spread.mT).abs().amax((-1, -2)) > 1e-3 * spread.abs().amax((-1, -2))
    wrong = (flat | lopsided) & spread.isfinite().all(-1).all(-1)
    if len(bad := np.flatnonzero(wrong.any(-1).numpy())):
        raise InputError(
            f"predictions: '{COVARIANCE}' is no covariance in {len(bad)} rows, {rows.described(bad)}: expected "
            "symmetric, positive definite matrices in square metres, NaN where there is none"
        )


def _groups(labels: PoseRows, rows: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Means of every metric by sequence and by what else the labels tell, where there are several."""
    columns = {"sequence": labels.sequence} | {key: labels.values[key] for key in _GROUPS if key in labels.values}
    found: dict[str, dict[str, float]] = {}
    for key, words in columns.items():
        if len(np.unique(words)) > 1:
            known = {name: ~values.isnan() for name, values in rows.items()}
            found |= {
                f"{name}/{key}": group_means(values[known[name]], words[known[name].numpy()])
                for name, values in rows.items()
            }
    return found


def _notes(rows: PoseRows, missing: Tensor) -> tuple[str, ...]:
    if not missing.any():
        return ()
    partly = np.flatnonzero(missing.any(1).numpy())
    return (
        f"{int(missing.sum())} joints are missing (NaN) or have no covariance, in {rows.described(partly)}; they count "
        "in known_percent only",
    )
