"""Intrinsics of each view from boards alone: focal lengths, principal point, lens, and how well they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from marey.calibrate.board_choice import board_errors, false_boards, spread_boards
from marey.calibrate.calibration import BoardObservations, Finding, Rejection
from marey.calibrate.intrinsic_findings import ViewFacts, view_findings
from marey.calibrate.lens_models import (
    AUTOMATIC,
    LENS_MODELS,
    ROUGHLY,
    LensChoice,
    LensFit,
    LensModel,
    LensModelName,
    choose_lens,
    first_camera,
    fit_lens,
    with_model,
)
from marey.calibrate.picture_names import observed_name
from marey.core import Cameras, InputError
from marey.geometry.bundle_cameras import DISTORTION_NAMES
from marey.geometry.projection import project_from_camera
from marey.geometry.robust import RobustLoss

FOCAL_LENGTHS = tuple(0.35 * 1.35**step for step in range(10))
"""Relative to the longer side of the image: from 110 degrees to 10. The fit needs to begin within a factor of 1.3."""
ROBUST = RobustLoss("cauchy", 1.0)
"""Of the first fits, while wrong corners may be among the right ones."""
ROUNDS = 6
LEAST_OUTLIER = 0.5
"""Pixels: no corner is an outlier below this distance."""
START_FALSE = (8.0, 4.0)
"""`FALSE_RATIO` and `FALSE_LEAST` while the lens is not known yet."""


@dataclass(frozen=True, kw_only=True)
class IntrinsicsConfig:
    """What is estimated, from what."""

    model: LensModelName | Literal["auto"] = "auto"
    """Of the lens. auto: the simplest that predicts boards it was not fitted to."""
    most_boards: int = 60
    """Of a view that the fit rests on; more add time, not accuracy."""
    boards_of_choice: int = 25
    """On which models of the lens are compared."""
    least_boards: int = 3
    least_corners: int = 6
    """Of a board."""
    outlier: float = 5.0
    """Corners this many standard deviations from where they should be are left out."""
    loose_center: float = 0.05
    """The principal point is held in the middle of the image if known worse than this share of the width."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IntrinsicCalibration:
    """The intrinsics of V views, each fitted on its own to the boards that it saw."""

    cameras: Cameras
    """(V,) without extrinsics."""
    models: tuple[LensModelName, ...]
    """Of the lens of each view."""
    parameter_names: tuple[str, ...]
    """Of the K parameters: fx fy cx cy (pixels) and the coefficients in the order of `Cameras.distortion`."""
    deviation: Tensor
    """(V, K) one standard deviation of each parameter; zero for what was held, NaN where undetermined. The errors of
    one board belong together where ten boards or more tell so, else corners count as independent."""
    board_rotation: Tensor
    """(V, M, 3, 3) board to camera, of every board that the view saw well enough; NaN where it did not."""
    board_translation: Tensor
    """(V, M, 3) metres."""
    residuals: Tensor
    """(V, M, C, 2) seen minus projected, pixels; NaN where nothing was seen or the board has no pose."""
    used: Tensor
    """(V, M, C) boolean: the corners that the estimate rests on."""
    held_out: tuple[dict[str, float], ...]
    """Of each view: pixels by which each model of the lens misses boards that it was not fitted to; may be empty."""
    rejected: tuple[Rejection, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rms(self) -> Tensor:
        """(V,) root mean square distance in pixels of the corners used from their projections."""
        squared = torch.where(self.used, self.residuals.square().sum(-1), 0.0)
        return (squared.sum((1, 2)) / self.used.sum((1, 2))).sqrt()


_DEFAULTS = IntrinsicsConfig()


def calibrate_intrinsics(
    observations: BoardObservations, *, config: IntrinsicsConfig = _DEFAULTS
) -> IntrinsicCalibration:
    """Calibrate the intrinsics of each view from the boards that it saw, at whatever moments.

    For each view: a focal length is searched for that explains the boards as flat (Zhang 2000); a robust fit names
    boards that are none; at most `config.most_boards`, well spread in place, size and tilt, are kept; the model of the
    lens is chosen on held-out boards; outlying corners are left out; the final fit is least squares. Deterministic.

    Args:
        observations: of V views. Corners of boards that the pattern leaves in several orders may be in any of them.
        config: model of the lens and limits.

    Raises:
        InputError: a view saw too few boards; the message names it.
    """
    pixels, target = observations.pixels.double(), observations.board.points
    poor = _too_few(observations, config)
    if poor:
        raise InputError(
            f"too few boards for intrinsics: {'; '.join(poor)}; take {config.least_boards} pictures or more, "
            "better 15, with the board tilted and in all parts of the picture, or give the intrinsics"
        )
    sizes = [(float(width), float(height)) for width, height in observations.sizes.tolist()]
    fits = [_calibrate_view(seen, target, size, config) for seen, size in zip(pixels, sizes, strict=True)]
    cameras = _joined([fit.lens.camera for fit in fits], observations.names)
    names, deviation = _deviations(cameras, [fit.lens for fit in fits])
    rotation, translation, residuals = _all_boards(pixels, target, fits)
    used = torch.stack([fit.used for fit in fits])
    rejected = _rejections(observations, fits)
    calibration = IntrinsicCalibration(
        cameras=replace(cameras, rotation=None, translation=None),
        models=tuple(fit.lens.model.name for fit in fits),
        parameter_names=names,
        deviation=deviation,
        board_rotation=rotation,
        board_translation=translation,
        residuals=residuals,
        used=used,
        held_out=tuple(fit.choice.held_out for fit in fits),
        rejected=rejected,
    )
    return replace(calibration, findings=_findings(observations, calibration, fits))


@dataclass(frozen=True, kw_only=True, eq=False)
class _ViewFit:
    """The intrinsics of one view."""

    lens: LensFit
    choice: LensChoice
    used: Tensor
    """(M, C)"""
    errors: Tensor
    """(M,) of each board, pixels; NaN where there is none."""
    false: Tensor
    """(M,) boolean."""
    centred: bool
    """The principal point was held."""


def _too_few(observations: BoardObservations, config: IntrinsicsConfig) -> list[str]:
    boards = (observations.seen.sum(-1) >= config.least_corners).sum(-1).tolist()
    return [
        f"view {name} saw {count} with {config.least_corners} corners or more"
        for name, count in zip(observations.names, boards, strict=True)
        if count < config.least_boards
    ]


def _calibrate_view(pixels: Tensor, target: Tensor, size: tuple[float, float], config: IntrinsicsConfig) -> _ViewFit:
    """Fit one view to its boards (M, C, 2)."""
    enough = pixels.isfinite().all(-1).sum(-1) >= config.least_corners
    seen = _only(pixels, enough)
    candidates = AUTOMATIC if config.model == "auto" else (LENS_MODELS[config.model],)
    rough = [_robust_fit(seen, target, size, model, config) for model in _rough_models(candidates)]
    first = min(rough, key=lambda fit: float(fit.errors.nanmedian()))
    kept = _without_outliers(_only(seen, first.used.any(-1)), target, first.lens.camera, config)
    some = spread_boards(kept, board_errors(kept, target, first.lens.camera)[1], size, config.boards_of_choice)
    choice = choose_lens(kept[some], target, first.lens.camera, candidates, loss=RobustLoss("huber", 1.0))
    camera = with_model(first.lens.camera, choice.model)
    lens = fit_lens(kept, target, camera, choice.model)
    centred = _center_is_loose(lens, config.loose_center)
    if centred:
        camera = first_camera(float(camera.intrinsics[0, 0, 0]), size, choice.model)
    return _final_fit(seen, kept, target, camera, choice, config, centred)


def _rough_models(candidates: Sequence[LensModel]) -> list[LensModel]:
    """One model for pinhole lenses and one for fisheye ones, of those asked for, that find their way from no lens."""
    rough = []
    for fisheye in sorted({model.fisheye for model in candidates}):
        most = max(model.terms for model in candidates if model.fisheye == fisheye)
        rough.append(LENS_MODELS["fisheye" if fisheye else ("none", "k1", "k1_k2")[min(most, 2)]])
    return rough


def _robust_fit(
    seen: Tensor, target: Tensor, size: tuple[float, float], model: LensModel, config: IntrinsicsConfig
) -> _ViewFit:
    """Fit a simple lens from nothing, among boards (M, C, 2) of which fewer than half may be false."""
    starts = [first_camera(factor * max(size), size, model) for factor in FOCAL_LENGTHS]
    found = [(camera, *board_errors(seen, target, camera, iterations=ROUGHLY)) for camera in starts]
    camera, errors, poses = min(found, key=lambda start: float(start[1].nanmedian().nan_to_num(torch.inf)))
    false = false_boards(errors, ratio=START_FALSE[0], least=START_FALSE[1])
    for _ in range(ROUNDS):
        chosen = spread_boards(_only(seen, ~false), poses, size, config.most_boards)
        lens = fit_lens(_only(seen, chosen), target, camera, model, loss=ROBUST)
        camera = lens.camera
        errors, poses = board_errors(seen, target, camera)
        before, false = false, false_boards(errors)
        if torch.equal(before, false):
            break
    choice = LensChoice(model=model, held_out={})
    return _ViewFit(lens=lens, choice=choice, used=_used(lens), errors=errors, false=false, centred=False)


def _final_fit(
    seen: Tensor,
    kept: Tensor,
    target: Tensor,
    camera: Cameras,
    choice: LensChoice,
    config: IntrinsicsConfig,
    centred: bool,
) -> _ViewFit:
    """Least squares of corners (M, C, 2) that are `kept`, of all `seen`, until none is found to be wrong any more."""
    size = (float(camera.image_size[0, 0]), float(camera.image_size[0, 1]))
    chosen, false = kept.isfinite().any(-1).any(-1), torch.zeros(len(kept), dtype=torch.bool)
    for _ in range(ROUNDS):
        lens = fit_lens(kept, target, camera, choice.model, centred=centred)
        errors, poses = board_errors(seen, target, lens.camera)
        before, false = false, false_boards(errors)
        if not torch.equal(before, false):
            chosen = spread_boards(_only(seen, ~false), poses, size, config.most_boards)
        last, kept = kept, _without_outliers(_only(seen, chosen), target, lens.camera, config)
        if torch.equal(last.isfinite(), kept.isfinite()):
            break
    return _ViewFit(lens=lens, choice=choice, used=_used(lens), errors=errors, false=false, centred=centred)


def _only(pixels: Tensor, boards: Tensor) -> Tensor:
    """Corners (M, C, 2) of some boards (M,), the others NaN."""
    return torch.where(boards[:, None, None], pixels, torch.nan)


def _used(lens: LensFit) -> Tensor:
    return (lens.bundle.weights[0] > 0) & lens.bundle.residuals[0].isfinite().all(-1)


def _without_outliers(pixels: Tensor, target: Tensor, camera: Cameras, config: IntrinsicsConfig) -> Tensor:
    """Corners (M, C, 2) without those that lie far from where the camera sees them.

    A wrong corner pulls its board's pose, so of each board only the worst go in one round.
    """
    kept = pixels
    for _ in range(ROUNDS):
        _, poses = board_errors(kept, target, camera)
        residuals = _residuals(kept[None], target, camera, poses.rotation[:, :, 0], poses.translation[:, :, 0])[0]
        length = residuals.square().sum(-1).sqrt()
        # the median length of a circular Gaussian is 1.18 standard deviations
        bound = (config.outlier / 1.177 * length.nanmedian()).clamp_min(LEAST_OUTLIER)
        worst = length.nan_to_num(0.0).amax(-1, keepdim=True)
        wrong = (length > bound) & (length > worst / 2)
        if not wrong.any():
            break
        kept = torch.where(wrong[..., None], torch.nan, kept)
    return _only(kept, kept.isfinite().all(-1).sum(-1) >= config.least_corners)


def _residuals(pixels: Tensor, target: Tensor, cameras: Cameras, rotation: Tensor, translation: Tensor) -> Tensor:
    """Seen (V, M, C, 2) minus projected, of boards with poses (V, M, 3, 3), (V, M, 3) in the cameras' frames."""
    return pixels - project_from_camera(target @ rotation.mT + translation[:, :, None], cameras)


def _center_is_loose(lens: LensFit, share: float) -> bool:
    """Whether the principal point is known worse than this share of the image's width."""
    names = list(lens.bundle.parameter_names)
    variances = lens.bundle.camera_covariance[0, :, 0].diagonal()
    deviation = variances[[names.index("cx"), names.index("cy")]].sqrt().max()
    return not bool(deviation <= share * lens.camera.image_size[0, 0])


def _joined(cameras: Sequence[Cameras], names: tuple[str, ...]) -> Cameras:
    """Cameras (1,) of different models as one batch (V,)."""
    length = max(camera.distortion.shape[-1] for camera in cameras)
    some_fisheye = any(camera.fisheye is not None for camera in cameras)
    padded = [
        replace(
            camera,
            distortion=torch.nn.functional.pad(camera.distortion, (0, length - camera.distortion.shape[-1])),
            fisheye=torch.tensor([camera.fisheye is not None]) if some_fisheye else None,
        )
        for camera in cameras
    ]
    return replace(Cameras.cat(padded), names=names)


def _deviations(cameras: Cameras, fits: Sequence[LensFit]) -> tuple[tuple[str, ...], Tensor]:
    """Names of the parameters, and their standard deviations (V, K)."""
    names = ("fx", "fy", "cx", "cy", *DISTORTION_NAMES[: cameras.distortion.shape[-1]])
    deviation = torch.zeros(len(fits), len(names), dtype=torch.float64)
    for row, fit in zip(deviation, fits, strict=True):
        free = fit.bundle.parameter_names[6:]
        known = fit.bundle.clustered_covariance
        covariance = (known if known[0, 6:, 0, 6:].isfinite().all() else fit.bundle.camera_covariance)[0, 6:, 0, 6:]
        # fx and fy share the factor "focal"; fy has "aspect" besides
        spread = torch.zeros(len(names), len(free), dtype=torch.float64)
        fx, fy = fit.camera.intrinsics[0, 0, 0], fit.camera.intrinsics[0, 1, 1]
        for place, name in enumerate(free):
            if name in ("focal", "aspect"):
                spread[1, place] = fy
                spread[0, place] = fx if name == "focal" else 0.0
            else:
                spread[names.index(name), place] = 1
        row[:] = (spread @ covariance @ spread.mT).diagonal().sqrt()
    return names, deviation


def _all_boards(pixels: Tensor, target: Tensor, fits: Sequence[_ViewFit]) -> tuple[Tensor, Tensor, Tensor]:
    """Poses (V, M, 3, 3), (V, M, 3) and residuals (V, M, C, 2) of all boards, those that were not used too."""
    rotations, translations, residuals = [], [], []
    for seen, fit in zip(pixels, fits, strict=True):
        inside = torch.where(fit.used[..., None], seen, torch.nan)
        whole = _only(seen, ~fit.used.any(-1))
        _, poses = board_errors(torch.where(fit.used.any(-1)[:, None, None], inside, whole), target, fit.lens.camera)
        rotation, translation = poses.rotation[:, :, 0], poses.translation[:, :, 0]
        rotations.append(rotation[0])
        translations.append(translation[0])
        residuals.append(_residuals(seen[None], target, fit.lens.camera, rotation, translation)[0])
    return torch.stack(rotations), torch.stack(translations), torch.stack(residuals)


def _rejections(observations: BoardObservations, fits: Sequence[_ViewFit]) -> tuple[Rejection, ...]:
    """The boards that no camera could have seen like this, with what they are off by."""
    return tuple(
        Rejection(
            view=view,
            moment=moment,
            why=(
                f"{observed_name(observations, view, moment)}: a false board: its corners are "
                f"{float(fit.errors[moment]):.1f} px off, those of the others {float(fit.errors.nanmedian()):.2f} px"
            ),
        )
        for view, fit in enumerate(fits)
        for moment in fit.false.nonzero()[:, 0].tolist()
    )


def _findings(
    observations: BoardObservations, calibration: IntrinsicCalibration, fits: Sequence[_ViewFit]
) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    for view, (name, fit) in enumerate(zip(observations.names, fits, strict=True)):
        findings += view_findings(
            name,
            ViewFacts(
                camera=calibration.cameras[view],
                model=fit.lens.model.name,
                deviation=calibration.deviation[view],
                pixels=torch.where(fit.used[..., None], observations.pixels[view].double(), torch.nan),
                rotation=calibration.board_rotation[view],
                rms=float(calibration.rms[view]),
                held_out=fit.choice.held_out,
                covers=fit.lens.covers,
                centred=fit.centred,
            ),
        )
    return tuple(findings)
