"""The user's own SMPL in its genders, for data sets whose labels are its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.body.conventions import LSP_14_OF_H36M
from marey.body.model import BodyModel
from marey.body.smpl import read_smpl
from marey.core import BodyState, Cameras, InputError, MissingAssetError
from marey.core.skeletons import Skeleton, skeleton
from marey.data.boxes import boxes_of_points
from marey.data.labels import Labels
from marey.data.square_crops import square_spans
from marey.geometry import project_from_camera, world_to_camera
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.predictions import PoseRows, pose_rows

Array = npt.NDArray[Any]

REGRESSOR = "J_regressor_h36m.npy"
_WORDS = {"m": ("male", "_m_"), "f": ("female", "_f_"), "n": ("neutral",)}
_CHUNK = 128
"""Bodies posed at once: some 20 MB of vertices."""

LSP_14_AND_PELVIS = Skeleton(
    "lsp_14_pelvis",
    (*skeleton("lsp_14").joints, "pelvis"),
    skeleton("lsp_14").links,
    "The 14 joints that papers score on 3DPW, and the pelvis that some of them align; regressed from SMPL's vertices.",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class GenderedBodies:
    """Body models by gender: m, f, n."""

    models: Mapping[str, BodyModel]
    folder: Path
    files: tuple[Path, ...] = ()
    """What they were read from."""

    def of(self, gender: str) -> BodyModel:
        """The model of a gender.

        Raises:
            MissingAssetError: the folder has none.
        """
        if gender not in self.models:
            raise MissingAssetError(
                f"{self.folder}: no SMPL file of the gender '{gender}'; expected a .pkl or .npz whose name has "
                f"{' or '.join(_WORDS[gender])} in it, from https://smpl.is.tue.mpg.de"
            )
        return self.models[gender]

    @property
    def regresses(self) -> bool:
        """Whether the regressor of the 14 joints is there."""
        return all("h36m" in model.regressors for model in self.models.values())


def read_gendered_bodies(folder: Path) -> GenderedBodies:
    """Read the SMPL files of a folder, as distributed, and `J_regressor_h36m.npy` if it lies there too.

    Raises:
        MissingAssetError: there is no such folder, or no body in it.
        InputError: two files are of the same gender.
        FormatError: a file is damaged.
    """
    if not folder.is_dir():
        raise MissingAssetError(f"{folder}: no such folder; --smpl takes the folder with your SMPL files")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        gender = _gender(path)
        if gender in files:
            raise InputError(f"{folder}: {files[gender].name} and {path.name} are of one gender; keep one of the two")
        if gender:
            files[gender] = path
    if not files:
        raise MissingAssetError(f"{folder}: no SMPL file in it, such as SMPL_MALE.pkl; get it from its makers")
    regressor = folder / REGRESSOR
    extra = {"h36m": regressor} if regressor.exists() else {}
    return GenderedBodies(
        models={gender: read_smpl(path, regressors=extra) for gender, path in files.items()},
        folder=folder,
        files=(*files.values(), *extra.values()),
    )


def _gender(path: Path) -> str:
    """Of a body file by its name; empty for other files."""
    name = path.name.lower()
    if path.suffix.lower() not in (".pkl", ".npz") or "smplx" in name or "smplh" in name:
        return ""
    female = any(word in name for word in _WORDS["f"])
    male = any(word in name for word in _WORDS["m"])
    return "f" if female else "m" if male else "n" if _WORDS["n"][0] in name else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmplParameters:
    """Of R bodies, as data sets store them."""

    poses: Array
    """(R, 72) axis-angle radians, the first three of the root."""
    shapes: Array
    """(R, 10)"""
    translations: Array
    """(R, 3) metres."""

    def state(self, rows: slice, model: BodyModel) -> BodyState:
        """Some of them for a body model, in its precision."""
        kind = model.template.dtype
        rotations = rotvec_to_matrix(torch.from_numpy(self.poses[rows]).reshape(-1, 24, 3)).to(kind)
        return BodyState(
            orientation=rotations[:, 0],
            pose=rotations[:, 1:],
            shape=torch.from_numpy(self.shapes[rows, : model.shape_basis.shape[-1]]).to(kind),
            translation=torch.from_numpy(self.translations[rows]).to(kind),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyPoints:
    """What is kept of R posed bodies."""

    vertices_box: Array
    """(R, 4) left, top, width, height of the projected vertices in pixels; NaN if one lies behind the camera."""
    joints: Array | None
    """(R, 15, 3) of `LSP_14_AND_PELVIS` in the camera's frame, metres; None without the regressor."""


def body_points(model: BodyModel, parameters: SmplParameters, cameras: Cameras) -> BodyPoints:
    """Pose bodies (R,) in the world and look at each through a camera (R,) of its own."""
    parts = []
    for start in range(0, len(parameters.poses), _CHUNK):
        rows = slice(start, start + _CHUNK)
        parts.append(_points(model, parameters.state(rows, model), cameras[rows]))
    boxes, joints = zip(*parts, strict=True) if parts else ((np.zeros((0, 4)),), (np.zeros((0, 15, 3)),))
    known = "h36m" in model.regressors
    return BodyPoints(vertices_box=np.concatenate(boxes), joints=np.concatenate(joints) if known else None)


def _points(model: BodyModel, state: BodyState, cameras: Cameras) -> tuple[Array, Array]:
    seen = world_to_camera(model(state).vertices.to(cameras.dtype), cameras)
    box = boxes_of_points(project_from_camera(seen, cameras).numpy())
    box[(seen[..., 2] <= 0).any(-1).numpy()] = np.nan
    joints = seen.new_zeros(len(seen), 0, 3)
    if "h36m" in model.regressors:
        joints = (model.regressors["h36m"].to(seen) @ seen)[:, [*LSP_14_OF_H36M, 0]]
    return box, joints.numpy()


def pelvis_at_rest(model: BodyModel, shapes: Array) -> Array:
    """(R, 3) metres: the root joint of bodies of shapes (R, 10), about which they turn; their translation moves it."""
    basis = model.joint_basis[0].double().numpy()
    rest: Array = model.joint_template[0].double().numpy() + shapes[:, : basis.shape[-1]] @ basis.T
    return rest


def rows_of_14(labels: Labels, joints: Array, boxes: Array) -> PoseRows:
    """Labels that the protocols of 14 joints score.

    Args:
        labels: R rows with cameras.
        joints: (R, 15, 3) of `LSP_14_AND_PELVIS` in the cameras' frames, metres.
        boxes: (R, 4) of the people; what the squares around them show is `visible`, nothing where they are NaN.

    Returns:
        Joints, their `keypoints` in pixels, and `visible`.
    """
    assert labels.cameras is not None
    cameras = labels.cameras[torch.from_numpy(labels.images.camera[labels.image])]
    pixels = project_from_camera(torch.from_numpy(joints), cameras).numpy()
    crop = square_spans(boxes)[:, None]
    inside = (pixels >= crop[..., :2]) & (pixels <= crop[..., :2] + crop[..., 2:])
    return pose_rows(
        joints,
        joint_names=LSP_14_AND_PELVIS.joints,
        sequence=labels.images.sequence[labels.image],
        frame=labels.images.frame[labels.image],
        person=labels.person,
        benchmark=f"{labels.name} {labels.version}",
        keypoints=pixels,
        visible=inside.all(-1),
    )
