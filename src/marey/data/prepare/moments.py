"""From people at moments seen by cameras (`io.h36m_labels.MultiviewLabels`) to the common table of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from marey.core import Cameras, Skeleton
from marey.data.labels import Images, Labels
from marey.data.labels.columns import Array
from marey.io.h36m_labels import MultiviewLabels


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What the texts and sizes of a table are."""

    name: str
    version: str
    path: Callable[[str, str, str, int], str]
    """Of an image, by subject, action, camera and frame."""
    sequence: Callable[[str, str], str]
    """By subject and action."""
    split: Mapping[tuple[str, str], str]
    """By subject and action."""
    action: Callable[[str], str] = str
    """What the labels call an action; `trial` keeps its own name."""


def labels_of_moments(
    found: MultiviewLabels, naming: Naming, *, sizes: Array, skeleton: Skeleton, views: Array | None = None
) -> Labels:
    """The table: a row for each person in each image where the person has a box.

    Args:
        found: N people at moments, seen by C cameras. Rows of one moment have the same subject, action and frame. One
            without any box gives no row of the table, but its moment counts.
        naming: Paths and names.
        sizes: (G, C, 2) width and height of the images of the G rigs; 0 unknown.
        skeleton: Of the result; one of the joints in `found`, in another order or fewer.
        views: (N, C) whether the camera recorded the moment; None: where anybody has a box.
    """
    moments, first, place = np.unique(
        np.stack((found.subject, found.action, found.frame), axis=-1), axis=0, return_index=True, return_inverse=True
    )
    place = place.reshape(-1)
    boxed = np.isfinite(found.boxes).all(-1)
    there = np.zeros((len(moments), boxed.shape[1]), dtype=bool)
    np.logical_or.at(there, place, boxed if views is None else views)
    boxed &= there[place]
    image_of = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    moment, view = np.nonzero(there)
    row, seen_by = np.nonzero(boxed)
    group = found.group[first]
    count = found.cameras.batch_shape[1]
    pairs = [_pair(found, subject, action) for subject, action in moments[:, :2].tolist()]
    values = {
        "joints": found.joints[row][:, found.skeleton.indices(skeleton.joints)].astype(np.float32),
        "box": found.boxes[row, seen_by].astype(np.float32),
        "action": _texts([naming.action(action) for _, action in pairs])[place[row]],
    }
    if found.subjects:
        values["subject"] = _texts(found.subjects)[found.subject[row]]
        values["trial"] = _texts(found.actions)[found.action[row]]
    return Labels(
        name=naming.name,
        version=naming.version,
        skeleton=skeleton,
        images=Images(
            path=_texts([naming.path(*pairs[m], found.cameras.names[v], int(moments[m, 2])) for m, v in _rows(there)]),
            size=sizes[group[moment], view].astype(np.int64),
            camera=group[moment] * count + view,
            sequence=_texts([naming.sequence(*pair) for pair in pairs])[moment],
            frame=moments[moment, 2],
            moment=moment,
            view=view,
        ),
        split=_texts([naming.split[pair] for pair in pairs])[moment],
        image=image_of[place[row], seen_by],
        person=found.person[row],
        values=values,
        cameras=_flat(found.cameras, sizes),
    )


def _rows(there: Array) -> list[tuple[int, int]]:
    return [(int(moment), int(view)) for moment, view in np.argwhere(there)]


def _texts(words: list[str] | tuple[str, ...]) -> Array:
    return np.array(words, dtype=np.str_)


def _pair(found: MultiviewLabels, subject: int, action: int) -> tuple[str, str]:
    return found.subjects[subject] if found.subjects else "", found.actions[action]


def _flat(cameras: Cameras, sizes: Array) -> Cameras:
    """(G, C) cameras as (G C,), single precision, with the sizes of their images."""
    groups = cameras.batch_shape[0]
    known = np.where(sizes > 0, sizes, np.nan)
    rotation, translation = cameras.extrinsics
    return Cameras(
        intrinsics=cameras.intrinsics.flatten(0, 1).float(),
        distortion=cameras.distortion.flatten(0, 1).float(),
        image_size=torch.from_numpy(known.reshape(-1, 2)).float(),
        rotation=rotation.flatten(0, 1).float(),
        translation=translation.flatten(0, 1).float(),
        names=cameras.names * groups,
    )
