"""The data set that poses were predicted on, for drawing them: prepared labels, or what a published YAML file names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marey.core import FormatError, MissingAssetError, skeleton
from marey.data.labelled_benchmark import prepared_folder
from marey.data.labels import Labels, read_labels
from marey.data.moment_table import MomentOptions
from marey.data.prepare.cmu import read_published_cmu_labels
from marey.data.prepare.h36m_published import read_published_labels
from marey.data.prepare.work import LABELS
from marey.io.predictions_published import TRIANGULATION_JOINTS
from marey.methods.triangulation.yaml_tables import Table, read_yaml

_PER_METRE = {"human36m": 1000.0, "mpii": 1000.0, "cmu": 100.0, "coco": 100.0}
"""Units of the labels in a metre, by the `kind` of a data set; `coco` is the authors' own for CMU Panoptic."""
_JOINTS = {
    "human36m": TRIANGULATION_JOINTS,
    "mpii": TRIANGULATION_JOINTS[:16],
    "cmu": skeleton("panoptic_19").joints,
    "coco": skeleton("coco_17").joints,
}
"""By the `pred_kind` of predictions, else the `kind` of the data set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnData:
    """Labels, where their pictures are, and which samples and views are meant."""

    labels: Labels
    folder: Path
    """Below which the pictures lie."""
    moments: MomentOptions
    cuboid_side: float | None = None
    """Of the volume about each person, metres; None: there was none."""
    joint_names: tuple[str, ...] = ()
    """Of a `results.pkl`; none: as `read_triangulation_results` tells them."""


def prepared_data(path: str, moments: MomentOptions, *, cuboid_side: float | None = None) -> DrawnData:
    """A prepared data set, by its folder or name.

    Raises:
        MissingAssetError: there are no labels.
        FormatError: they are damaged.
    """
    folder = prepared_folder(path)
    return DrawnData(labels=read_labels(folder / LABELS), folder=folder, moments=moments, cuboid_side=cuboid_side)


def configured_data(path: Path) -> DrawnData:
    """The validation set of a configuration file of Learnable Triangulation, or of its fork for CMU Panoptic.

    Of the file are read `kind`, `pred_kind`, `dataset` and, of a volumetric model, `cuboid_side`. Its paths are
    relative to the current folder, as in the original, or to that of the file.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        MissingAssetError: the labels or the pictures are not there.
        InputError: a key is missing, or has a value that makes no sense.
        FormatError: a file is not what it should be.
    """
    file = read_yaml(path)
    kinds = {kind: kind for kind in _PER_METRE}
    dataset = file.table("dataset")
    kind = dataset.chosen("kind", kinds, file.chosen("kind", kinds))
    split, model = dataset.table("val"), file.table("model")
    labels = _existing(path, split, ("labels_path",))
    pictures = _existing(path, split, ("h36m_root", "cmu_root"))
    side = model.number("cuboid_side", 2500.0) / _PER_METRE[kind] if model.text("name") == "vol" else None
    return DrawnData(
        labels=_published(labels, undistorted=split.truth("undistort_images", False)),
        folder=pictures,
        moments=MomentOptions(
            views=tuple(map(str, split.integers("choose_cameras"))),
            ignored_views=tuple(map(str, split.integers("ignore_cameras"))),
            every=split.count("retain_every_n_frames_in_test", 1),
            damaged=split.truth("with_damaged_actions", False),
        ),
        cuboid_side=side,
        joint_names=file.chosen("pred_kind", _JOINTS, kind),
    )


def _existing(config: Path, table: Table, keys: tuple[str, ...]) -> Path:
    """The file or folder that the first of the keys that is there names."""
    key = next((key for key in keys if key in table), keys[0])
    named = table.text(key)
    if not named:
        raise table.refused(key, "expected a path, got nothing")
    places = (Path(named), config.parent / named)
    for place in places:
        if place.exists():
            return place
    raise MissingAssetError(f"{config}: {table.name(key)}: neither {places[0]} nor {places[1]} exists")


def _published(path: Path, *, undistorted: bool) -> Labels:
    if path.suffix != ".npy":
        return read_labels(path / LABELS if path.is_dir() else path)
    try:
        return read_published_labels(path, undistorted=undistorted)
    except FormatError as error:
        try:
            return read_published_cmu_labels(path)
        except FormatError as other:
            raise FormatError(f"{error}; nor the fork's for CMU Panoptic: {other}") from other
