"""SSP-3D: 311 pictures of 62 athletes with silhouettes, and bodies that were fitted to several frames of each.

The bodies stand in the camera's frame without a translation. A row's box is the square around the person that the data
set gives; HierarchicalProbabilistic3DHuman is evaluated on crops of 1.2 times its side, which `read_sample` makes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, Image, InputError, skeleton
from marey.data.boxes import boxes_around
from marey.data.labels import Images, Labels
from marey.data.labels.columns import Array
from marey.data.masks import Mask, read_mask, write_mask
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.work import Work
from marey.data.square_crops import crop_image, crop_matrices, crop_points, square_spans
from marey.io.atomic import check_writable
from marey.io.image_headers import read_image_header
from marey.io.images import read_image
from marey.io.unpickle import read_object_npz

VERSION = "1"
_SHAPES: Mapping[str, tuple[int, ...]] = {
    "poses": (72,),
    "shapes": (10,),
    "joints2D": (17, 3),
    "bbox_centres": (2,),
    "bbox_whs": (),
}
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f", "n": "n", "neutral": "n"}


@dataclass(frozen=True, kw_only=True)
class Ssp3dOptions:
    """Nothing to choose: the data set is one test set."""


def prepare(root: Path, out: Path, options: Ssp3dOptions, work: Work) -> Labels:
    """Prepare SSP-3D: labels that refer to its pictures where they are, and its silhouettes as masks.

    Raises:
        MissingAssetError: the labels, a picture or a silhouette is absent.
        FormatError: the labels lack an array, arrays do not fit together, or a picture is none.
    """
    table = read_ssp3d_labels(work.record(work.require(root / "labels.npz", "labels")))
    names = table["fnames"].tolist()
    pictures = [work.require(root / "images" / name, "picture") for name in names]
    masks = _written_masks(root, out, names, work)
    sizes = [read_image_header(path).size for path in work.progress(pictures, len(pictures), "pictures")]
    count = len(names)
    return Labels(
        name="ssp3d",
        version=VERSION,
        skeleton=skeleton("coco_17"),
        images=Images(
            path=np.array([relative_path(path, out) for path in pictures], dtype=np.str_),
            size=np.array(sizes, dtype=np.int64).reshape(-1, 2),
            camera=np.full(count, -1),
            sequence=np.array(names, dtype=np.str_),
            frame=np.zeros(count, dtype=np.int64),
            moment=np.arange(count),
        ),
        split=np.full(count, "test"),
        image=np.arange(count),
        person=np.zeros(count, dtype=np.int64),
        values={**_values(table), "mask": masks},
    )


def _written_masks(root: Path, out: Path, names: list[str], work: Work) -> Array:
    """(R,) paths of the silhouettes, rewritten so that 255 is the person whatever the files have for it."""
    folder = check_writable(out / "masks")
    sources = [work.require(root / "silhouettes" / name, "silhouette") for name in names]
    targets = [folder / f"{Path(name).stem}.png" for name in names]

    def convert(paths: tuple[Path, Path]) -> None:
        write_mask(paths[1], read_mask(paths[0], above=0))

    if not work.done("masks"):
        deque(work.map(convert, zip(sources, targets, strict=True), len(names), "silhouettes"), maxlen=0)
        work.finish("masks")
    return np.array([f"masks/{path.name}" for path in targets], dtype=np.str_)


def read_ssp3d_labels(path: Path) -> dict[str, Array]:
    """Read `labels.npz`: `fnames` and `genders` (R,) text; `poses` (R, 72), `shapes` (R, 10), `joints2D` (R, 17, 3),
    `bbox_centres` (R, 2) of row and column, `bbox_whs` (R,) numbers.

    Raises:
        InputError: the file cannot be read.
        FormatError: an array is missing or of another shape, or a name is no name of a file.
    """  # noqa: D205 - the list is the summary
    stored = read_object_npz(path)
    names = _texts(path, stored, "fnames")
    if len(wrong := [name for name in names.tolist() if Path(name).name != name or not name]):
        raise FormatError(f"{path}: 'fnames' holds '{wrong[0]}', expected names of files")
    if len({Path(name).stem for name in names.tolist()}) < len(names):
        raise FormatError(f"{path}: 'fnames': a picture comes twice")
    genders = _texts(path, stored, "genders")
    unknown = sorted(set(genders.tolist()) - set(_GENDERS))
    if len(genders) != len(names) or unknown:
        raise FormatError(f"{path}: 'genders': expected m or f for {len(names)} people, got {len(genders)}, {unknown}")
    table = {name: _numbers(path, stored, name, (len(names), *shape)) for name, shape in _SHAPES.items()}
    return {**table, "fnames": names, "genders": np.array([_GENDERS[one] for one in genders.tolist()], dtype=np.str_)}


def _entry(path: Path, stored: Mapping[str, Array], name: str) -> Array:
    if name not in stored:
        raise FormatError(f"{path}: the array '{name}' is missing; expected the labels of SSP-3D")
    return stored[name]


def _texts(path: Path, stored: Mapping[str, Array], name: str) -> Array:
    found = _entry(path, stored, name)
    entries = found.tolist() if found.ndim == 1 else [None]
    if not all(isinstance(entry, str) for entry in entries):
        raise FormatError(f"{path}: '{name}': expected a list of texts, got {found.dtype} {found.shape}")
    return np.array(entries, dtype=np.str_)


def _numbers(path: Path, stored: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> Array:
    """An array of numbers, which may be stored as objects."""
    found = _entry(path, stored, name)
    try:
        numbers = np.array(found.tolist(), dtype=np.float64) if found.dtype.hasobject else found.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path}: '{name}' holds no numbers: {error}") from error
    if numbers.shape != shape:
        raise FormatError(f"{path}: '{name}': expected {shape}, got {numbers.shape}")
    return numbers


def _values(table: Mapping[str, Array]) -> dict[str, Array]:
    joints = table["joints2D"]
    known = joints[..., 2] > 0
    middles = table["bbox_centres"][:, ::-1]  # stored as row, column
    return {
        "keypoints": np.where(known[..., None], joints[..., :2], np.nan),
        "visible": known,
        "keypoint_score": joints[..., 2],
        "box": boxes_around(middles, table["bbox_whs"][:, None]),
        "gender": table["genders"],
        "smpl_orientation": table["poses"][:, :3],
        "smpl_pose": table["poses"][:, 3:],
        "smpl_shape": table["shapes"],
    }


class Ssp3dSample(NamedTuple):
    """One person in a square crop."""

    image: Image
    """(S, S, 3) red green blue, black outside of the picture."""
    silhouette: Mask
    """(S, S)"""
    keypoints: npt.NDArray[Any]
    """(17, 2) pixels of the crop; NaN where unknown."""


def read_sample(labels: Labels, row: int, folder: Path, *, size: int = 256, scale: float = 1.2) -> Ssp3dSample:
    """Cut one person out as the evaluation of HierarchicalProbabilistic3DHuman does it.

    The picture is interpolated, the silhouette takes the nearest pixel.

    Args:
        labels: Of SSP-3D.
        row: Of the person.
        folder: Of the labels' file.
        size: Side of the crop in pixels.
        scale: Times the side of the person's box.

    Raises:
        InputError: a file cannot be read, or the silhouette has another size than the picture.
    """
    image = read_image(folder / str(labels.images.path[labels.image[row]]))
    mask = read_mask(folder / str(labels.values["mask"][row]))
    if mask.shape != image.shape[:2]:
        raise InputError(f"{labels.values['mask'][row]}: {mask.shape}, but its picture is {image.shape[:2]}")
    matrix = crop_matrices(square_spans(labels.values["box"][row], scale), size)
    return Ssp3dSample(
        image=crop_image(image, matrix, size),
        silhouette=crop_image(mask.astype(np.uint8), matrix, size, nearest=True) > 0,
        keypoints=crop_points(labels.values["keypoints"][row], matrix),
    )
