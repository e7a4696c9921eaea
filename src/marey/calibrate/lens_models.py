"""Lens models, from none to fisheye, and the simplest one that predicts boards it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from marey.core import Cameras, InputError
from marey.geometry.bundle import BundleSettings
from marey.geometry.bundle_cameras import FreeIntrinsics
from marey.geometry.planar_pose import planar_poses
from marey.geometry.projection import invertible_share
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.robust import RobustLoss

LensModelName = Literal["none", "k1", "k1_k2", "k1_k2_p1_p2", "k1_k2_p1_p2_k3", "rational", "fisheye"]

FOLDS = 5
FEWEST_BOARDS = 5
"""With fewer, none can be held out: the choice is left at `k1`."""
TOLERANCE = 0.02
"""A model whose mean squared error on held-out boards is larger by this share is as good."""
ROUGHLY = 5
"""Iterations that place a board well enough to begin with."""


@dataclass(frozen=True, kw_only=True)
class LensModel:
    """A family of lenses."""

    name: LensModelName
    terms: int
    """How many of the leading coefficients are free."""
    fisheye: bool = False

    @property
    def length(self) -> int:
        """Number of coefficients of such a camera."""
        return next(length for length in (0, 4, 5, 8) if length >= self.terms)


LENS_MODELS: dict[str, LensModel] = {
    model.name: model
    for model in (
        LensModel(name="none", terms=0),
        LensModel(name="k1", terms=1),
        LensModel(name="k1_k2", terms=2),
        LensModel(name="k1_k2_p1_p2", terms=4),
        LensModel(name="k1_k2_p1_p2_k3", terms=5),
        LensModel(name="fisheye", terms=4, fisheye=True),
        LensModel(name="rational", terms=8),
    )
}
"""From the simplest on."""
AUTOMATIC = tuple(model for model in LENS_MODELS.values() if model.name != "rational")
"""What `auto` chooses from. Numerator and denominator of the rational model cancel each other unless boards fill the
image; it is there by name."""


@dataclass(frozen=True, kw_only=True)
class LensFit:
    """One camera fitted to boards."""

    model: LensModel
    camera: Cameras
    """(1,) with the identity as extrinsics: boards are placed in its frame."""
    bundle: RigidBundleAdjustment
    covers: float
    """Share of the image in which the lens has an inverse."""


@dataclass(frozen=True, kw_only=True)
class LensChoice:
    """The simplest adequate model, and what the others are worth."""

    model: LensModel
    held_out: dict[str, float]
    """Root mean square error in pixels on boards that a model was not fitted to; empty where none could be held out."""


def first_camera(focal: float, size: tuple[float, float], model: LensModel) -> Cameras:
    """A camera (1,) without distortion whose axis goes through the middle of its image (width, height)."""
    width, height = size
    K = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        intrinsics=K[None],
        distortion=torch.zeros(1, model.length, dtype=torch.float64),
        image_size=torch.tensor([size], dtype=torch.float64),
        rotation=torch.eye(3, dtype=torch.float64)[None],
        translation=torch.zeros(1, 3, dtype=torch.float64),
        fisheye=torch.tensor([True]) if model.fisheye else None,
    )


def fit_lens(
    pixels: Tensor,
    target: Tensor,
    start: Cameras,
    model: LensModel,
    *,
    loss: RobustLoss | None = None,
    centred: bool = False,
) -> LensFit:
    """Fit a camera and the poses of boards in its frame to corners, by least squares of the reprojection error.

    Args:
        pixels: (M, C, 2); NaN = not seen or left out.
        target: (C, 3) metres.
        start: (1,) of this model.
        model: what is free beside focal lengths and principal point.
        loss: of the distance of a corner; None: squared.
        centred: hold the principal point and equal focal lengths.

    Raises:
        InputError: the corners are fewer than the unknowns.
    """
    poses = planar_poses(pixels[None], target, start, iterations=ROUGHLY)
    free = FreeIntrinsics(focal=True, aspect=not centred, principal_point=not centred, distortion=model.terms)
    bundle = adjust_rigid_bundle(
        pixels[None],
        target,
        start,
        poses=(poses.rotation[0, :, 0], poses.translation[0, :, 0]),
        settings=BundleSettings(free=free, loss=loss or RobustLoss()),
    )
    return LensFit(model=model, camera=bundle.cameras, bundle=bundle, covers=float(invertible_share(bundle.cameras)[0]))


def choose_lens(
    pixels: Tensor, target: Tensor, start: Cameras, candidates: Sequence[LensModel], *, loss: RobustLoss
) -> LensChoice:
    """Pick the simplest model whose error on held-out boards is not significantly above the best model's.

    Each model is fitted to all boards but a fold, and the poses of the boards of the fold are fitted with that camera.
    A model is adequate if its squared error a board exceeds the best model's by no more than one standard error of the
    difference, or 2 %. Models that fold within the image are no candidates, as long as there is another.

    Args:
        pixels: (M, C, 2) of boards that are no outliers; NaN = not seen.
        target: (C, 3) metres.
        start: (1,) of any pinhole model: the focal length to begin with.
        candidates: from the simplest on.
        loss: of the distance of a corner.
    """
    if len(pixels) < FEWEST_BOARDS:
        fallback = next((model for model in candidates if model.name == "k1"), candidates[0])
        return LensChoice(model=fallback, held_out={})
    whole = [_folds_nowhere(pixels, target, start, model, loss) for model in candidates]
    allowed = [model for model, fine in zip(candidates, whole, strict=True) if fine] or list(candidates)
    errors = torch.stack([_held_out(pixels, target, start, model, loss) for model in allowed])
    mean = errors.mean(-1)
    best = int(mean.argmin())
    if not mean[best].isfinite():
        return LensChoice(model=allowed[0], held_out={})
    excess = errors - errors[best]
    bound = torch.maximum(TOLERANCE * mean[best], excess.std(-1) / len(pixels) ** 0.5)
    adequate = (excess.mean(-1) <= bound).tolist()
    held_out: dict[str, float] = {model.name: value for model, value in zip(allowed, mean.sqrt().tolist(), strict=True)}
    return LensChoice(model=allowed[adequate.index(True)], held_out=held_out)


def with_model(camera: Cameras, model: LensModel) -> Cameras:
    """A camera (1,) of another model to start from: the same focal length and centre, no distortion."""
    fisheye = torch.tensor([True]) if model.fisheye else None
    return replace(camera, distortion=camera.distortion.new_zeros(1, model.length), fisheye=fisheye)


def _folds_nowhere(pixels: Tensor, target: Tensor, start: Cameras, model: LensModel, loss: RobustLoss) -> bool:
    """Whether the model, fitted to all boards, can be inverted in the whole image."""
    try:
        return fit_lens(pixels, target, with_model(start, model), model, loss=loss).covers == 1
    except InputError:  # more unknowns than corners
        return False


def _held_out(pixels: Tensor, target: Tensor, start: Cameras, model: LensModel, loss: RobustLoss) -> Tensor:
    """Mean squared error (M,) in pixels of boards under the model fitted to the others; inf where it cannot be."""
    fold = torch.arange(len(pixels)) % min(FOLDS, len(pixels))
    errors = torch.full((len(pixels),), torch.inf, dtype=torch.float64)
    for held in range(int(fold.max()) + 1):
        inside = fold != held
        try:
            fit = fit_lens(pixels[inside], target, with_model(start, model), model, loss=loss)
        except InputError:  # more unknowns than corners
            return errors
        poses = planar_poses(pixels[None, ~inside], target, fit.camera, iterations=2 * ROUGHLY)
        errors[~inside] = poses.rms[0, :, 0].square()
    return errors.nan_to_num(torch.inf)
