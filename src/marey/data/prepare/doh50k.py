"""3DOH50K: people behind objects, with bodies that were fitted to several views.

The set is calibrated in a unit of its own; each annotation says how many of them its SMPL body takes for a metre
(`scale`), and all lengths are divided by that. What the annotations do not say is whose frame their 3D joints are in:
the one in which they project onto the 2D joints is taken, and how well they do is noted in the card.

    human_data/oh50k3d_SPLIT.npz   the HumanData archives that 3DNBF reads
    protocols/SPLIT_14.npz         labels of the 14 joints regressed from the neutral SMPL (`--smpl`), as 3DNBF scores
    protocols/SPLIT_lsp.npz        labels of the 14 joints of the annotations
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.body.model import BodyModel
from marey.core import Cameras, FormatError, InputError, skeleton
from marey.data.boxes import expand_boxes
from marey.data.human_data import write_labels_as_human_data
from marey.data.labels import Images, Labels
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.gendered_bodies import (
    SmplParameters,
    body_points,
    pelvis_at_rest,
    read_gendered_bodies,
    rows_of_14,
)
from marey.data.prepare.outputs import emptied
from marey.data.prepare.work import Work
from marey.geometry import project_from_camera, world_to_camera
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.image_headers import read_image_header
from marey.io.predictions import places_in_groups, write_pose_rows
from marey.io.text import read_text_limited

VERSION = "1"
SPLITS = ("train", "test")
MOST_BYTES = 2 << 30
"""Of a file of annotations; that of the training set holds 50,000 people."""

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "extri": (4, 4),
    "intri": (3, 3),
    "bbox": (2, 2),
    "betas": (10,),
    "pose": (72,),
    "scale": (),
    "smpl_joints_2d": (24, 2),
    "smpl_joints_3d": (24, 3),
    "lsp_joints_3d": (14, 3),
}
_COLUMNS = "smpl_orientation", "smpl_pose", "smpl_shape", "keypoints", "joints_camera", "box"


@dataclass(frozen=True, kw_only=True)
class Doh50kOptions:
    """What is made of 3DOH50K."""

    splits: tuple[str, ...] = ("test",)
    """Of train and test."""
    smpl: Path | None = None
    """Folder with your neutral SMPL file and `J_regressor_h36m.npy`: adds the bodies' translations and 14 joints."""
    box_scale: float = 1.2
    """Times the annotated box, in HumanData."""

    def __post_init__(self) -> None:
        if not self.splits or set(self.splits) - set(SPLITS):
            raise InputError(f"splits: expected some of {', '.join(SPLITS)}, got {self.splits}")


def prepare(root: Path, out: Path, options: Doh50kOptions, work: Work) -> Labels:
    """Prepare 3DOH50K; see the top of this module for what is written.

    Raises:
        MissingAssetError: annotations, a picture, or the neutral SMPL file is absent.
        FormatError: an annotation lacks an entry, or has one of another shape; the message names it.
    """
    tables = [_table(root, split, work) for split in options.splits]
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    cameras = _cameras(table)
    table |= _in_metres(table, cameras, work)
    if options.smpl is not None:
        bodies = read_gendered_bodies(options.smpl)
        for path in bodies.files:
            work.record(path)
        table |= _bodies(table, cameras, bodies.of("n"))
    labels = _labels(table, cameras, out)
    _write(out, labels, table, options)
    return labels


def _table(root: Path, split: str, work: Work) -> dict[str, Array]:
    """The annotations of a split, one row each in the order of the file."""
    folder = root / f"{split}set"
    path = work.record(work.require(folder / "annots.json", f"annotations of the split {split}"))
    entries = read_doh50k_annotations(path)
    pictures = [work.require(folder / name, "picture") for name in entries["picture"].tolist()]
    sizes = [read_image_header(picture).size for picture in work.progress(pictures, len(pictures), "pictures")]
    return {
        **entries,
        "split": np.full(len(pictures), split),
        "file": np.array([str(picture) for picture in pictures], dtype=np.str_),
        "archived": np.array([f"{folder.name}/{name}" for name in entries["picture"]], dtype=np.str_),
        "size": np.array(sizes, dtype=np.int64).reshape(-1, 2),
    }


def read_doh50k_annotations(path: Path) -> dict[str, Array]:
    """Read `annots.json`: every entry by name, one row an annotation, and `picture` (R,) text below the file's folder.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such file, or an annotation is not whole.
    """
    try:
        document = json.loads(read_text_limited(path, most_bytes=MOST_BYTES))
    except (RecursionError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise FormatError(f"{path}: expected a mapping from numbers to annotations of 3DOH50K")
    entries = list(document.items())
    table = {
        name: np.array([_numbers(path, key, entry, name) for key, entry in entries]).reshape(-1, *shape)
        for name, shape in _SHAPES.items()
    }
    if len(wrong := np.flatnonzero(~(table["scale"] > 0))):
        raise FormatError(f"{path}: 'scale' of annotation {entries[wrong[0]][0]} is not positive")
    return {**table, "picture": np.array([_picture(path, key, entry) for key, entry in entries], dtype=np.str_)}


def _numbers(path: Path, key: str, entry: Mapping[str, Any], name: str) -> Array:
    shape = _SHAPES[name]
    try:
        found = np.asarray(entry[name], dtype=np.float64)
    except KeyError:
        raise FormatError(f"{path}: annotation {key} has no '{name}'") from None
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path}: '{name}' of annotation {key} holds no numbers: {error}") from error
    if found.size != int(np.prod(shape)) or not np.isfinite(found).all():
        raise FormatError(f"{path}: '{name}' of annotation {key}: expected {shape} finite numbers, got {found.shape}")
    return found.reshape(shape)


def _picture(path: Path, key: str, entry: Mapping[str, Any]) -> str:
    name = str(entry.get("img_path", "")).replace("\\", "/")
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise FormatError(f"{path}: 'img_path' of annotation {key}: expected a file below it, got '{name[:80]}'")
    return name


def _cameras(table: Mapping[str, Array]) -> Cameras:
    """(R,) of the annotations, the unit a metre."""
    scale = torch.from_numpy(table["scale"])
    extrinsics = torch.from_numpy(table["extri"])
    return Cameras(
        intrinsics=torch.from_numpy(table["intri"]),
        distortion=extrinsics.new_zeros(len(scale), 0),
        image_size=torch.from_numpy(table["size"].astype(np.float64)),
        rotation=extrinsics[:, :3, :3],
        translation=extrinsics[:, :3, 3] / scale[:, None],
    )


def _in_metres(table: Mapping[str, Array], cameras: Cameras, work: Work) -> dict[str, Array]:
    """The columns of labels, joints in the cameras' frames."""
    scale = table["scale"][:, None, None]
    joints, lsp = table["smpl_joints_3d"] / scale, table["lsp_joints_3d"] / scale
    if _are_in_world(joints, table["smpl_joints_2d"], cameras, work):
        joints, lsp = (world_to_camera(torch.from_numpy(part), cameras).numpy() for part in (joints, lsp))
    turned = cameras.extrinsics[0] @ rotvec_to_matrix(torch.from_numpy(table["pose"][:, :3]))
    corners = table["bbox"].reshape(-1, 4)
    return {
        "joints_camera": joints,
        "lsp": lsp,
        "keypoints": table["smpl_joints_2d"],
        "smpl_orientation": matrix_to_rotvec(turned).numpy(),
        "smpl_pose": table["pose"][:, 3:],
        "smpl_shape": table["betas"],
        "box": np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=-1),
    }


def _are_in_world(joints: Array, pixels: Array, cameras: Cameras, work: Work) -> bool:
    """Whether joints (R, 24, 3) meet pixels (R, 24, 2) when taken for points in the world, not in the camera."""
    if not len(joints):
        return False
    points = torch.from_numpy(joints)
    seen = {"camera": points, "world": world_to_camera(points, cameras)}
    error = {
        frame: float(np.median(np.nan_to_num(_distances(part, pixels, cameras), nan=np.inf)))
        for frame, part in seen.items()
    }
    better = min(error, key=error.__getitem__)
    work.note(f"3D joints are taken for points in the {better}: they meet the 2D joints to {error[better]:.3g} pixels")
    return better == "world"


def _distances(points: torch.Tensor, pixels: Array, cameras: Cameras) -> Array:
    distances: Array = np.linalg.norm(project_from_camera(points, cameras).numpy() - pixels, axis=-1)
    return distances


def _bodies(table: Mapping[str, Array], cameras: Cameras, model: BodyModel) -> dict[str, Array]:
    """Where the neutral bodies stand, and their 14 joints if the regressor is there."""
    shift = table["joints_camera"][:, 0] - pelvis_at_rest(model, table["smpl_shape"])
    parameters = SmplParameters(
        poses=np.concatenate([table["smpl_orientation"], table["smpl_pose"]], axis=-1),
        shapes=table["smpl_shape"],
        translations=shift,
    )
    eye = torch.eye(3, dtype=torch.float64).expand(len(shift), 3, 3)
    own = Cameras(
        intrinsics=cameras.intrinsics,
        distortion=cameras.distortion,
        image_size=cameras.image_size,
        rotation=eye,
        translation=eye.new_zeros(len(shift), 3),
    )
    joints = body_points(model, parameters, own).joints
    return {"smpl_translation": shift, **({} if joints is None else {"joints14": joints})}


def _labels(table: Mapping[str, Array], cameras: Cameras, out: Path) -> Labels:
    files, first, image = np.unique(table["file"], return_index=True, return_inverse=True)
    image = image.reshape(-1)
    count = len(files)
    columns = [*_COLUMNS, *(["smpl_translation"] if "smpl_translation" in table else [])]
    return Labels(
        name="3doh50k",
        version=VERSION,
        skeleton=skeleton("smpl_24"),
        images=Images(
            path=np.array([relative_path(Path(file), out) for file in files.tolist()], dtype=np.str_),
            size=table["size"][first],
            camera=first,
            sequence=table["archived"][first],
            frame=np.zeros(count, dtype=np.int64),
            moment=np.arange(count),
            view=np.zeros(count, dtype=np.int64),
        ),
        split=table["split"][first],
        image=image,
        person=places_in_groups(image),
        values={
            **{name: table[name] for name in columns},
            "visible": np.ones(table["keypoints"].shape[:2], dtype=bool),
        },
        cameras=cameras,
    )


def _write(out: Path, labels: Labels, table: Mapping[str, Array], options: Doh50kOptions) -> None:
    archives, protocols = emptied(out / "human_data"), emptied(out / "protocols")
    boxes = expand_boxes(labels.values["box"], options.box_scale)
    for split in options.splits:
        rows = np.flatnonzero(table["split"] == split)
        if not len(rows):
            continue
        own = labels[rows]
        write_labels_as_human_data(
            archives / f"oh50k3d_{split}.npz",
            own,
            image_paths=table["archived"][rows].tolist(),
            boxes=boxes[rows],
        )
        given = np.concatenate([table["lsp"], table["joints_camera"][:, :1]], axis=1)
        for name, joints in {"lsp": given, "14": table.get("joints14")}.items():
            if joints is not None:
                found = rows_of_14(own, joints[rows], boxes[rows])
                write_pose_rows(protocols / f"{split}_{name}.npz", found)
