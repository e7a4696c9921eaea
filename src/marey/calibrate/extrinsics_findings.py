"""What a calibration of extrinsics from boards tells about itself, in sentences with numbers and names."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from marey.calibrate.calibration import Calibration, Finding
from marey.calibrate.rigidity import board_rigidity
from marey.core import InputError

GOOD_PX, BAD_PX = 1.0, 2.5
"""Root mean square reprojection errors of a view up to which it is good, and beyond which it is not usable."""
GOOD_MM, BAD_MM = 3.0, 20.0
"""The same of one standard deviation of a camera's place."""
WELL_SHARED = 10
"""Boards that a pair of views should share."""
MANY_LEFT_OUT = 0.2
"""Share of a view's pictures whose loss is worth a word."""
SCALE_OFF = 0.01
"""Relative error of the board's triangulated size beyond which its printed size is doubted."""

STIFF = 10.0
"""Degrees by which a board has to be turned for its two possible poses in a picture to be told apart."""

Severity = Literal["good", "notice", "problem"]


def extrinsics_findings(calibration: Calibration, least_shared: int) -> tuple[Finding, ...]:
    """Everything there is to know about a calibration that `calibrate_extrinsics` made."""
    return (
        *_errors(calibration),
        *_places(calibration),
        *_pairs(calibration, least_shared),
        *_variety(calibration),
        *_left_out(calibration),
        *_rigidity(calibration),
        *_distances(calibration),
    )


def _graded(value: float, good: float, bad: float) -> Severity:
    return "good" if value <= good else "notice" if value <= bad else "problem"


def _errors(calibration: Calibration) -> list[Finding]:
    """Reprojection error of each view."""
    assert calibration.residuals is not None
    assert calibration.used is not None
    names = calibration.cameras.names
    squared = torch.where(calibration.used, calibration.residuals.square().sum(-1), torch.nan)
    rms = squared.nanmean((1, 2)).sqrt().tolist()
    findings = []
    for name, error in zip(names, rms, strict=True):
        severity = _graded(error, GOOD_PX, BAD_PX)
        advice = (
            ""
            if severity == "good"
            else (
                "Look at its worst pictures; usual causes are intrinsics of another lens setting, blur, or clocks that "
                "are not synchronised."
            )
        )
        text = f"{name}: corners lie {error:.2f} px (root mean square) from where the cameras see the board."
        findings.append(Finding(severity=severity, text=text, advice=advice))
    return findings


def _places(calibration: Calibration) -> list[Finding]:
    """How well each camera's place is known."""
    assert calibration.deviation is not None
    findings = []
    for name, row in zip(calibration.cameras.names, calibration.deviation, strict=True):
        angle, place = float(row[:3].norm().rad2deg()), 1000 * float(row[3:6].norm())
        if angle == 0 and place == 0:
            continue
        text = (
            f"{name}: its place is known to {place:.1f} mm and its orientation to {angle:.2f} degrees (one deviation)."
        )
        severity = _graded(place, GOOD_MM, BAD_MM)
        if not torch.isfinite(row[:6]).all():
            severity, text = "problem", f"{name}: the boards do not determine its place."
        advice = (
            "" if severity == "good" else f"Show the board to {name} and a neighbour more often, near and far, tilted."
        )
        findings.append(Finding(severity=severity, text=text, advice=advice))
    return findings


def _pairs(calibration: Calibration, least_shared: int) -> list[Finding]:
    """Boards that pairs of views share, and pairs without any."""
    assert calibration.used is not None
    names = calibration.cameras.names
    has = calibration.used.any(-1).double()
    shared = (has @ has.T).long()
    counts = {pair: int(shared[pair]) for pair in combinations(range(len(names)), 2)}
    called = {pair: f"{names[pair[0]]} and {names[pair[1]]}" for pair in counts}
    findings = []
    good = [f"{called[pair]} {count}" for pair, count in counts.items() if count >= WELL_SHARED]
    if good:
        findings.append(Finding(severity="good", text=f"Boards shared: {', '.join(good)}."))
    few = [f"{called[pair]} {count}" for pair, count in counts.items() if least_shared <= count < WELL_SHARED]
    if few:
        advice = f"{WELL_SHARED} or more, spread over the volume, make a pair firm."
        findings.append(Finding(severity="notice", text=f"Few boards shared: {', '.join(few)}.", advice=advice))
    none = [called[pair] for pair, count in counts.items() if count < least_shared]
    if none:
        findings.append(
            Finding(
                severity="notice",
                text=f"No direct link: {'; '.join(none)} share fewer than {least_shared} boards; others tie them.",
                advice="Show the board to such a pair together if both look at the same place.",
            )
        )
    return findings


def _variety(calibration: Calibration) -> list[Finding]:
    """Whether the board was turned: one flat board alone does not tell which way it is tilted."""
    assert calibration.board_rotation is not None
    normals = calibration.board_rotation[:, :, 2]
    normals = normals[normals.isfinite().all(-1)]
    cosine = (normals @ normals.T).clamp(-1, 1).abs().amin()
    angle = float(cosine.acos().rad2deg())
    if angle >= STIFF:
        return []
    return [
        Finding(
            severity="problem",
            text=f"The board was hardly turned (by {angle:.0f} degrees): a flat board that keeps its orientation looks "
            "the same tilted one way and the other, so the cameras may be far from where they seem to be.",
            advice="Show the board tilted in many directions.",
        )
    ]


def _left_out(calibration: Calibration) -> list[Finding]:
    """Views that lost many of their pictures."""
    observations = calibration.observations
    assert observations is not None
    assert calibration.used is not None
    seen, used = observations.seen.any(-1).sum(1), calibration.used.any(-1).sum(1)
    findings = []
    for name, before, after in zip(calibration.cameras.names, seen.tolist(), used.tolist(), strict=True):
        if after < (1 - MANY_LEFT_OUT) * before:
            findings.append(
                Finding(
                    severity="notice",
                    text=f"{name}: {before - after} of its {before} pictures of the board were left out.",
                    advice="The list of rejected pictures says why for each.",
                )
            )
    return findings


def _rigidity(calibration: Calibration) -> list[Finding]:
    """Triangulated corners against the board."""
    observations = calibration.observations
    assert observations is not None
    assert calibration.used is not None
    pixels = torch.where(calibration.used[..., None], observations.pixels.to(torch.float64), torch.nan)
    try:
        found = board_rigidity(observations, calibration.cameras, pixels=pixels)
    except InputError:
        return [Finding(severity="notice", text="Too few corners were seen by two views to check the board's size.")]
    text = (
        f"Triangulated corners fit the rigid board to {found.rms_mm:.2f} mm (root mean square of {found.corners}); "
        f"their size is {found.scale:.4f} +- {found.scale_deviation:.4f} of the board's."
    )
    if abs(found.scale - 1) > max(SCALE_OFF, 3 * found.scale_deviation):
        advice = "Measure a square of the board again, and check that the intrinsics belong to these lenses."
        return [Finding(severity="problem", text=text, advice=advice)]
    return [Finding(severity="good", text=text)]


def board_distances(calibration: Calibration) -> Tensor:
    """How far the middle of the board was from each camera, (V, M) metres; NaN where it was not used."""
    observations = calibration.observations
    assert observations is not None
    assert calibration.used is not None
    assert calibration.board_rotation is not None
    assert calibration.board_translation is not None
    middle = observations.board.points.mean(0)
    places = calibration.board_rotation @ middle + calibration.board_translation
    away = (places[None] - calibration.cameras.centers[:, None]).norm(dim=-1)
    return torch.where(calibration.used.any(-1), away, torch.nan)


def _distances(calibration: Calibration) -> list[Finding]:
    """Where the board was."""
    away = board_distances(calibration)
    parts = [
        f"{name} {row[row.isfinite()].min():.2f}-{row[row.isfinite()].max():.2f} m"
        for name, row in zip(calibration.cameras.names, away, strict=True)
        if row.isfinite().any()
    ]
    return [Finding(severity="good", text=f"Distances of the board from the cameras: {', '.join(parts)}.")]
