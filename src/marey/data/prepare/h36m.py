"""Human3.6M, from the official download or from the folders that Learnable Triangulation uses."""

from __future__ import annotations

from pathlib import Path

from marey.core import MissingAssetError
from marey.data.labels import Labels
from marey.data.prepare.h36m_fetched import MARTINEZ, prepare_fetched
from marey.data.prepare.h36m_official import METADATA, prepare_official
from marey.data.prepare.h36m_options import H36MOptions, Layout
from marey.data.prepare.work import Work

__all__ = ["H36MOptions", "found_layout", "prepare"]


def prepare(root: Path, out: Path, options: H36MOptions, work: Work) -> Labels:
    """Prepare Human3.6M.

    The official layout gives the labels and images of MeTRAbs, the fetched one those of Learnable Triangulation and
    its label file `human36m-multiview-labels-GTbboxes.npy`. Joints are those of skeleton h36m_17.

    Raises:
        MissingAssetError: a file is absent; the message says which and where it comes from.
        MissingDependencyError: cdflib or h5py is not installed.
        FormatError: a file is not what its format demands, or the files of a take do not fit together.
        InputError: a file cannot be read or written.
    """
    layout = options.layout or found_layout(root, work)
    if layout == "official":
        return prepare_official(root, out, options, work)
    return prepare_fetched(root, out, options, work)


def found_layout(root: Path, work: Work) -> Layout:
    """Which layout lies in a folder.

    Raises:
        MissingAssetError: neither.
    """
    if (root / METADATA).exists():
        return "official"
    if (root / "processed").is_dir() or (root / MARTINEZ).is_dir():
        return "fetched"
    work.require(root / METADATA, f"cameras of the official layout (nor is there {root / 'processed'} of h36m-fetch)")
    raise MissingAssetError(str(root))
