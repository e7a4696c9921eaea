"""What a calibration is worth, as plain numbers: what the report shows and `report.json` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Calibration, Finding, Rejection
from marey.calibrate.people_agreement import PeopleAgreement
from marey.core import Cameras
from marey.geometry.projection import pixels_to_normalised, undistort, world_to_camera
from marey.geometry.rotations import matrix_to_rotvec

CELLS = 8
"""Along the longer side of an image, when it is counted how much of it has seen corners."""

Level = Literal["good", "usable", "not usable"]
Evidence = Literal["boards", "people", "file"]

_UNITS = {"rx": "rad", "ry": "rad", "rz": "rad", "x": "m", "y": "m", "z": "m"}
_PIXELS = ("fx", "fy", "cx", "cy")
_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tx", "ty")
_FISHEYE_COEFFICIENTS = ("k1", "k2", "k3", "k4")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number of a camera, and how well it is known."""

    name: str
    value: float
    deviation: float | None
    """One standard deviation; 0: held, NaN: undetermined, None: nothing is said about it."""
    unit: str
    """m, px, rad or nothing."""


@dataclass(frozen=True, kw_only=True)
class ViewAssessment:
    """One camera. Numbers are NaN where there is nothing to take them from."""

    name: str
    size: tuple[int, int] | None
    field_of_view: tuple[float, float]
    """Degrees, across and down."""
    center: tuple[float, float, float] | None
    """Metres in the world."""
    parameters: tuple[Parameter, ...]
    error_px: float = math.nan
    """Root mean square distance of the used corners from their projections; of people's joints the median."""
    error_mm: float = math.nan
    """The same at the distance of the board, or of the people."""
    unseen_px: float = math.nan
    """People: median distance from where the other views say the joint is."""
    pictures: int = 0
    """In which the board was used."""
    points: int = 0
    """Corners used, or joints seen."""
    rejected: int = 0
    """Boards left out."""
    coverage: float = math.nan
    """Share of the image's area in which corners were used."""


@dataclass(frozen=True, kw_only=True)
class PairAssessment:
    """Two views and what they share."""

    views: tuple[int, int]
    pictures: int
    """Moments at which both used the board; of people, joints that both saw."""
    points: int
    epipolar_px: float = math.nan
    """People: median distance from fulfilling the epipolar constraint."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The whole calibration in numbers."""

    evidence: Evidence
    level: Level
    verdict: str
    """One plain sentence."""
    views: tuple[ViewAssessment, ...]
    pairs: tuple[PairAssessment, ...]
    """Of all pairs of views; empty where views were not compared."""
    error_px: float
    error_mm: float
    findings: tuple[Finding, ...]

    @property
    def missing_pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the pairs that share nothing."""
        return tuple(
            (self.views[pair.views[0]].name, self.views[pair.views[1]].name) for pair in self.pairs if not pair.pictures
        )


def assess(
    calibration: Calibration, *, agreement: PeopleAgreement | None = None, findings: Sequence[Finding] = ()
) -> Assessment:
    """Put a calibration into numbers and one verdict.

    Args:
        calibration: of V cameras.
        agreement: of the same cameras about people.
        findings: beside those of the calibration.
    """
    boards = calibration.observations is not None and calibration.residuals is not None
    evidence: Evidence = "people" if agreement is not None else "boards" if boards else "file"
    views = _views(calibration, agreement)
    found = (*calibration.findings, *findings)
    level = judge(found)
    error_px, error_mm = _overall(calibration, agreement)
    pairs = _pairs(calibration, agreement)
    return Assessment(
        evidence=evidence,
        level=level,
        verdict=_verdict(level, evidence, (error_px, error_mm), found, compared=bool(pairs)),
        views=views,
        pairs=pairs,
        error_px=error_px,
        error_mm=error_mm,
        findings=found,
    )


def judge(findings: Sequence[Finding]) -> Level:
    """The worst that the findings say."""
    severities = {finding.severity for finding in findings}
    return "not usable" if "problem" in severities else "usable" if "notice" in severities else "good"


def camera_names(cameras: Cameras) -> tuple[str, ...]:
    """The cameras' names, made up where they have none."""
    return cameras.names or tuple(f"cam_{view}" for view in range(len(cameras.intrinsics)))


def corner_errors_mm(calibration: Calibration) -> Tensor:
    """(V, M, C) length of the residuals at the distance of the board, millimetres; NaN without board places."""
    observations, residuals = calibration.observations, calibration.residuals
    assert observations is not None
    assert residuals is not None
    if calibration.board_rotation is None or calibration.board_translation is None:
        return torch.full(residuals.shape[:-1], torch.nan, dtype=residuals.dtype)
    corners = board_corners(calibration)
    cameras = calibration.cameras.to(corners.dtype)
    depth = world_to_camera(corners[None].expand(len(residuals), *corners.shape), cameras)[..., 2]
    focal = cameras.intrinsics[:, [0, 1], [0, 1]].mean(-1)[:, None, None]
    errors: Tensor = 1000 * residuals.norm(dim=-1) * depth / focal
    return errors


def board_corners(calibration: Calibration) -> Tensor:
    """(M, C, 3) the corners of the board in the world at each moment, metres; NaN where it was not used."""
    assert calibration.observations is not None
    assert calibration.board_rotation is not None
    assert calibration.board_translation is not None
    points = calibration.observations.board.points.to(calibration.board_rotation)
    turned: Tensor = points @ calibration.board_rotation.transpose(-1, -2)
    return turned + calibration.board_translation[:, None]


def used_corners(calibration: Calibration) -> Tensor:
    """(V, M, C) boolean."""
    assert calibration.observations is not None
    return calibration.observations.seen if calibration.used is None else calibration.used


def all_rejections(calibration: Calibration) -> tuple[Rejection, ...]:
    """Boards left out, by the search for boards or by the calibration; each once, for the first reason."""
    found = () if calibration.observations is None else calibration.observations.rejected
    first: dict[tuple[int, int], Rejection] = {}
    for rejection in (*found, *calibration.rejected):
        first.setdefault((rejection.view, rejection.moment), rejection)
    return tuple(first.values())


def coverage(observations: BoardObservations, used: Tensor) -> Tensor:
    """(V,) share of the cells of each image in which a corner was used; NaN where the image's size is unknown."""
    size = observations.sizes.double()
    cells = (size / size.amax(-1, keepdim=True) * CELLS).round().clamp_min(1)
    place = (observations.pixels / size[:, None, None] * cells[:, None, None]).floor()
    place = torch.minimum(place.clamp_min(0), cells[:, None, None] - 1)
    index = (place[..., 1] * CELLS + place[..., 0]).nan_to_num(0).long()
    hit = torch.zeros(len(size), CELLS * CELLS)
    hit.scatter_reduce_(1, index.flatten(1), used.flatten(1).float(), "amax")
    return torch.where(size.isfinite().all(-1), hit.sum(-1) / cells.prod(-1), torch.nan)


def _views(calibration: Calibration, agreement: PeopleAgreement | None) -> tuple[ViewAssessment, ...]:
    cameras = calibration.cameras
    numbers: dict[str, Any] = _numbers_of_boards(calibration)
    if agreement is not None:
        numbers = {
            "error_px": agreement.error_px,
            "error_mm": agreement.error_mm,
            "unseen_px": agreement.unseen_px,
            "points": agreement.pair_joints.diagonal(),
        }
    placed = cameras.centers.double().tolist() if cameras.has_extrinsics else None
    return tuple(
        ViewAssessment(
            name=name,
            size=_size(cameras.image_size[view]),
            field_of_view=_field_of_view(cameras[view]),
            center=None if placed is None else (placed[view][0], placed[view][1], placed[view][2]),
            parameters=_parameters(calibration, view),
            **{key: values[view].item() for key, values in numbers.items()},
        )
        for view, name in enumerate(camera_names(cameras))
    )


def _numbers_of_boards(calibration: Calibration) -> dict[str, Tensor]:
    """Tensors (V,) of what the boards say about each view."""
    observations, residuals = calibration.observations, calibration.residuals
    if observations is None or residuals is None:
        return {}
    used = used_corners(calibration)
    rejected = torch.zeros(len(used), dtype=torch.long)
    for rejection in all_rejections(calibration):
        rejected[rejection.view] += 1
    return {
        "error_px": _root_mean_square(residuals.norm(dim=-1), used, keep=1),
        "error_mm": _root_mean_square(corner_errors_mm(calibration), used, keep=1),
        "pictures": used.any(-1).sum(-1),
        "points": used.flatten(1).sum(-1),
        "rejected": rejected,
        "coverage": coverage(observations, used),
    }


def _overall(calibration: Calibration, agreement: PeopleAgreement | None) -> tuple[float, float]:
    if agreement is not None:
        return agreement.median_px, agreement.median_mm
    if calibration.observations is None or calibration.residuals is None:
        return math.nan, math.nan
    used = used_corners(calibration)
    return (
        float(_root_mean_square(calibration.residuals.norm(dim=-1), used, keep=0)),
        float(_root_mean_square(corner_errors_mm(calibration), used, keep=0)),
    )


def _root_mean_square(values: Tensor, used: Tensor, *, keep: int) -> Tensor:
    """Over all dimensions but the first `keep`; NaN where nothing was used."""
    counted = torch.where(used, values, torch.nan).square()
    return counted.nanmean(dim=tuple(range(keep, counted.ndim))).sqrt()


def _pairs(calibration: Calibration, agreement: PeopleAgreement | None) -> tuple[PairAssessment, ...]:
    views = len(calibration.cameras.intrinsics)
    if agreement is not None:
        shared, epipolar = agreement.pair_joints.tolist(), agreement.pair_px.tolist()
        return tuple(
            PairAssessment(views=(a, b), pictures=shared[a][b], points=shared[a][b], epipolar_px=epipolar[a][b])
            for a, b in combinations(range(views), 2)
        )
    observations = calibration.observations
    if observations is None or not observations.simultaneous:
        return ()
    used = used_corners(calibration).double()
    boards = used.amax(-1)
    pictures, points = boards @ boards.T, used.flatten(1) @ used.flatten(1).T
    return tuple(
        PairAssessment(views=(a, b), pictures=int(pictures[a, b]), points=int(points[a, b]))
        for a, b in combinations(range(views), 2)
    )


def _verdict(
    level: Level, evidence: Evidence, errors: tuple[float, float], findings: Sequence[Finding], *, compared: bool
) -> str:
    """One sentence; `compared`: views were compared with each other."""
    error_px, error_mm = errors
    words = {"good": "Good", "usable": "Usable, with reservations", "not usable": "Not usable as it is"}[level]
    what = {"boards": "the views agree about the board", "people": "the views agree about people's joints"}
    if not compared and evidence == "boards":
        what["boards"] = "the lenses describe the board"
    problems = [finding.text for finding in findings if finding.severity == "problem"]
    if problems:
        return f"{words}: {problems[0]}"
    if evidence == "file" or not math.isfinite(error_px):
        return f"{words}, as far as the file alone can tell." if evidence == "file" else f"{words}."
    whose = "their" if evidence == "people" else "its"
    metric = f", {error_mm:.1f} mm at {whose} distance" if math.isfinite(error_mm) else ""
    return f"{words}: {what[evidence]} within {error_px:.2f} px{metric}."


def _size(image_size: Tensor) -> tuple[int, int] | None:
    if not bool(image_size.isfinite().all()):
        return None
    width, height = image_size.round().int().tolist()
    return width, height


def _field_of_view(camera: Cameras) -> tuple[float, float]:
    """Degrees across and down between the middles of opposite sides, lens taken out; NaN where it has no inverse."""
    width, height = camera.image_size.double().tolist()
    cx, cy = camera.intrinsics[:2, 2].double().tolist()
    sides = torch.tensor([[-0.5, cy], [width - 0.5, cy], [cx, -0.5], [cx, height - 0.5]], dtype=torch.float64)
    wide = camera.to(torch.float64)
    rays: Tensor = undistort(pixels_to_normalised(sides, wide), wide)
    rays = torch.cat((rays, torch.ones_like(rays[:, :1])), dim=-1)
    rays = rays / rays.norm(dim=-1, keepdim=True)
    cosine = (rays[::2] * rays[1::2]).sum(-1).clamp(-1, 1)
    across, down = cosine.acos().rad2deg().tolist()
    return across, down


def _parameters(calibration: Calibration, view: int) -> tuple[Parameter, ...]:
    """Every number of a camera: those with a deviation and those without."""
    known: Mapping[str, float] = {}
    otherwise = None
    if calibration.deviation is not None:
        known = dict(zip(calibration.parameter_names, calibration.deviation[view].tolist(), strict=True))
        otherwise = 0.0  # what is not among the parameters was not estimated but held
    return tuple(
        Parameter(
            name=name,
            value=value,
            deviation=known.get(name, otherwise),
            unit=_UNITS.get(name, "px" if name in _PIXELS else ""),
        )
        for name, value in _values(calibration.cameras[view])
    )


def _values(camera: Cameras) -> list[tuple[str, float]]:
    values: list[tuple[str, float]] = []
    if camera.has_extrinsics:
        turn = matrix_to_rotvec(camera.extrinsics[0].double()).tolist()
        values += zip(("rx", "ry", "rz", "x", "y", "z"), [*turn, *camera.centers.double().tolist()], strict=True)
    matrix = camera.intrinsics.double().tolist()
    values += zip(_PIXELS, (matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2]), strict=True)
    fisheye = camera.fisheye is not None and bool(camera.fisheye)
    names = _FISHEYE_COEFFICIENTS if fisheye else _COEFFICIENTS
    values += zip(names, camera.distortion.double().tolist(), strict=False)
    return values


def as_numbers(assessment: Assessment) -> dict[str, Any]:
    """For JSON; numbers that are not finite become None."""
    return {
        "evidence": assessment.evidence,
        "verdict": {"level": assessment.level, "text": assessment.verdict},
        "error_px": _finite(assessment.error_px),
        "error_mm": _finite(assessment.error_mm),
        "views": [_view_numbers(view) for view in assessment.views],
        "pairs": [
            {
                "views": [assessment.views[view].name for view in pair.views],
                "shared_boards" if assessment.evidence == "boards" else "shared_joints": pair.pictures,
                **({"shared_corners": pair.points} if assessment.evidence == "boards" else {}),
                **({"epipolar_px": _finite(pair.epipolar_px)} if assessment.evidence == "people" else {}),
            }
            for pair in assessment.pairs
        ],
        "missing_pairs": [list(pair) for pair in assessment.missing_pairs],
        "findings": [
            {"severity": finding.severity, "text": finding.text, "advice": finding.advice}
            for finding in assessment.findings
        ],
    }


def _view_numbers(view: ViewAssessment) -> dict[str, Any]:
    return {
        "name": view.name,
        "size": None if view.size is None else list(view.size),
        "field_of_view_degrees": [_finite(angle) for angle in view.field_of_view],
        "center_m": None if view.center is None else list(view.center),
        "error_px": _finite(view.error_px),
        "error_mm": _finite(view.error_mm),
        "unseen_px": _finite(view.unseen_px),
        "pictures": view.pictures,
        "points": view.points,
        "rejected": view.rejected,
        "coverage": _finite(view.coverage),
        "parameters": {
            parameter.name: {
                "value": parameter.value,
                "deviation": None if parameter.deviation is None else _finite(parameter.deviation),
                "unit": parameter.unit,
            }
            for parameter in view.parameters
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
