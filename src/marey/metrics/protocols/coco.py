"""COCO keypoints: average precision over object keypoint similarity, as pycocotools defines it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.protocols.contract import Array, Floats, ProtocolCard, Scores
from marey.metrics.protocols.pairing import check_rows, frame_codes, people_slots, tensor

JOINTS = skeleton("coco_17").joints
SPREADS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
"""Of annotators, in shares of the person's size, a joint each."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Square pixels; smaller people are not scored apart, since few of them have keypoints."""
MOST = 20
"""Detections of an image that count, those with the highest scores."""
CHUNK = 512
"""Images matched at once."""


@dataclass(frozen=True, kw_only=True)
class CocoKeypoints:
    """AP and AR over similarities from 0.5 to 0.95.

    Rows have the data set's name as `sequence` and the image's id as `frame`. Both have `keypoints` (N, 17, 2);
    predictions `score`; labels `keypoints_visibility` (N, 17) 0, 1 or 2, `area`, `box` (N, 4) left, top, right, bottom,
    and `crowd`. Keypoints that are not annotated may be NaN in labels. An image of the split in which nobody is
    annotated is one row of the labels with `person` -1; detections there are false.
    """

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="coco-keypoints",
            source="cocodataset/cocoapi, pycocotools COCOeval with iouType 'keypoints'",
            joints="17 of COCO in the image",
            alignment="none",
            averaging="precision over 101 recalls, then over thresholds; people of all images together",
            matching="of each image the 20 detections with the highest scores, greedy by score to the person of "
            "highest similarity; crowds and people without keypoints neither count nor cost",
            thresholds="similarities 0.50, 0.55, ... 0.95; medium 32^2 to 96^2 pixels, large above",
            units="percent",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score detections in rows with the labels' sequence and frame.

        Raises:
            InputError: rows are doubled or not finite, are of images that the labels lack, or nobody has keypoints.
        """
        check_rows(predictions, labels)
        ours, theirs = frame_codes(predictions, labels)
        if len(extra := np.flatnonzero(~np.isin(ours, theirs))):
            raise InputError(
                f"predictions: {len(extra)} are of images that the labels lack, {predictions.described(extra)}; are "
                "they of another split? An image in which nobody is annotated is a row of the labels with person -1"
            )
        codes, there = np.unique(theirs), labels.person >= 0
        if not there.any():
            raise InputError(f"labels: nobody is annotated in rows 0 to {len(labels) - 1}; there is nothing to find")
        people = _People.of(labels[there], np.searchsorted(codes, theirs[there]), images=len(codes))
        detections = _Detections.of(predictions, np.searchsorted(codes, ours), images=len(codes))
        if not bool((~people.ignored).any()):
            raise InputError(f"labels: nobody has keypoints in rows 0 to {len(labels) - 1}; there is nothing to find")
        values: dict[str, float] = {}
        for name, (least, most) in AREAS.items():
            curves = _curves(people, detections, least, most)
            if curves is not None:
                values |= _named(name, *curves)
        missing = [name for name in AREAS if f"ap{_suffix(name)}" not in values]
        return Scores(
            card=self.card,
            values=values,
            counts={
                "people": int((~people.ignored).sum()),
                "detections": len(detections.score),
                "images": len(codes),
            },
            notes=tuple(f"nobody of {name} size has keypoints, so there is no AP of that size" for name in missing),
        )


@dataclass(frozen=True, kw_only=True)
class _People:
    """Labels, I images of at most G people."""

    rows: Array
    """(I, G) of the labels, -1 where there are fewer."""
    ignored: Tensor
    """(N,)"""
    area: Tensor
    crowd: Tensor
    keypoints: Tensor
    visible: Tensor
    box: Tensor

    @classmethod
    def of(cls, labels: PoseRows, codes: Array, *, images: int) -> _People:
        visible = tensor(labels, "keypoints_visibility", JOINTS, "labels") > 0
        crowd = tensor(labels, "crowd", what="labels", shape=()) > 0
        keypoints = tensor(labels, "keypoints", JOINTS, "labels", known=False)
        if len(bad := (visible & ~keypoints.isfinite().all(-1)).any(1).nonzero()[:, 0].numpy()):
            raise InputError(f"labels: keypoints that are annotated are not finite in {labels.described(bad)}")
        return cls(
            rows=people_slots(codes, frames=images),
            ignored=crowd | ~visible.any(1),
            area=tensor(labels, "area", what="labels", shape=()),
            crowd=crowd,
            keypoints=keypoints.nan_to_num(),
            visible=visible,
            box=tensor(labels, "box", what="labels", shape=(4,)),
        )


@dataclass(frozen=True, kw_only=True)
class _Detections:
    """Predictions, of I images the best D."""

    rows: Array
    """(I, D) by falling score, -1 where there are fewer."""
    score: Tensor
    """(N,)"""
    keypoints: Tensor
    area: Tensor
    """Of the keypoints' bounding box."""

    @classmethod
    def of(cls, predictions: PoseRows, codes: Array, *, images: int) -> _Detections:
        score, keypoints = tensor(predictions, "score", shape=()), tensor(predictions, "keypoints", JOINTS)
        order = np.argsort(-score.numpy(), kind="stable")
        places = people_slots(codes[order], frames=images)[:, :MOST]
        rows = np.where(places >= 0, order[places], -1)
        extent = keypoints.amax(1) - keypoints.amin(1)
        return cls(rows=rows, score=score, keypoints=keypoints, area=extent.prod(-1))


def similarities(detected: Tensor, keypoints: Tensor, visible: Tensor, area: Tensor, box: Tensor) -> Tensor:
    """(..., D, G) object keypoint similarities of detections to people.

    For people without a keypoint the distance is that to their box, grown by its size on every side.

    Args:
        detected: (..., D, 17, 2)
        keypoints: (..., G, 17, 2)
        visible: (..., G, 17)
        area: (..., G) square pixels.
        box: (..., G, 4) left, top, right, bottom.
    """
    offsets = detected[..., :, None, :, :] - keypoints[..., None, :, :, :]
    low, high = box[..., :2], box[..., 2:]
    low, high = low - (high - low), high + (high - low)
    points = detected[..., :, None, :, :]
    outside = (low[..., None, :, None, :] - points).clamp_min(0) + (points - high[..., None, :, None, :]).clamp_min(0)
    counted = visible | ~visible.any(-1, keepdim=True)
    known = visible.any(-1)[..., None, :, None]
    squares = torch.where(known, offsets.square().sum(-1), outside.square().sum(-1))
    spread = (2 * torch.tensor(SPREADS, dtype=detected.dtype)).square()
    exponent = squares / spread / (area[..., None, :, None] + math.ulp(1.0)) / 2
    shares = torch.where(counted[..., None, :, :], torch.exp(-exponent), 0.0)
    return shares.sum(-1) / counted.sum(-1)[..., None, :]


def _curves(people: _People, detections: _Detections, least: float, most: float) -> tuple[Floats, Floats] | None:
    """Precision (T, 101) and recall (T,) among people of some sizes; None if there are none."""
    ignored = people.ignored | (people.area < least) | (people.area > most)
    total = int((~ignored).sum())
    if not total:
        return None
    found, costless = [], []
    for start in range(0, len(detections.rows), CHUNK):
        images = slice(start, start + CHUNK)
        matched, free = _matches(people, detections, ignored, images)
        area = detections.area[detections.rows[images]]
        unseen = (area < least) | (area > most)
        found.append(matched)
        costless.append(free | (~matched & unseen[:, None]))
    there = torch.from_numpy(detections.rows >= 0)
    order = torch.from_numpy(
        np.argsort(-detections.score[detections.rows[detections.rows >= 0]].numpy(), kind="stable")
    )
    true = torch.cat(found).movedim(1, 0)[:, there][:, order]
    counted = ~torch.cat(costless).movedim(1, 0)[:, there][:, order]
    return _precision(true & counted, ~true & counted, total)


def _matches(people: _People, detections: _Detections, ignored: Tensor, images: slice) -> tuple[Tensor, Tensor]:
    """Whether detections (I, T, D) found somebody, and whether that was somebody who is ignored.

    All images and thresholds go at once, one detection of each after the other.
    """
    rows, places = people.rows[images], detections.rows[images]
    there = torch.from_numpy(rows >= 0)
    alike = similarities(
        detections.keypoints[places], people.keypoints[rows], people.visible[rows], people.area[rows], people.box[rows]
    )
    free = there[:, None].expand(-1, len(THRESHOLDS), -1).clone()
    crowd, aside = people.crowd[rows], ignored[rows]
    limits = torch.from_numpy(np.minimum(THRESHOLDS, 1 - 1e-10))[:, None]
    matched = torch.zeros(*free.shape[:2], places.shape[1], dtype=torch.bool)
    costless = torch.zeros_like(matched)
    for place in range(places.shape[1]):
        near = alike[:, place, None].expand_as(free)
        able = (
            (near >= limits)
            & (free | (crowd & there)[:, None])
            & torch.from_numpy(places[:, place] >= 0)[:, None, None]
        )
        wanted = able & ~aside[:, None]
        wanted = torch.where(wanted.any(-1, keepdim=True), wanted, able)
        best = _last_largest(torch.where(wanted, near, -1.0))
        hit = wanted.any(-1)
        matched[..., place] = hit
        costless[..., place] = hit & aside[:, None].expand_as(free).gather(-1, best[..., None])[..., 0]
        taken = torch.zeros_like(free).scatter(-1, best[..., None], hit[..., None])
        free &= ~taken
    return matched, costless


def _last_largest(values: Tensor) -> Tensor:
    """(...) the place of the largest of values (..., G), the last of equals."""
    places: Tensor = values.shape[-1] - 1 - values.flip(-1).argmax(-1)
    return places


def _precision(true: Tensor, false: Tensor, total: int) -> tuple[Floats, Floats]:
    """Precision (T, 101) at the recalls, never rising, and the recall (T,) reached, of detections (T, N) by score."""
    hits, misses = true.double().cumsum(-1), false.double().cumsum(-1)
    recall = hits / total
    precision = hits / (hits + misses + np.spacing(1))
    falling = precision.flip(-1).cummax(-1).values.flip(-1)
    place = torch.searchsorted(recall, torch.from_numpy(RECALLS).expand(len(recall), -1).contiguous())
    padded = torch.cat((falling, torch.zeros_like(falling[:, :1])), dim=-1)
    return padded.gather(-1, place).numpy(), recall[:, -1].numpy()


def _suffix(area: str) -> str:
    return "" if area == "all" else f"_{area}"


def _named(area: str, precision: Floats, recall: Floats) -> dict[str, float]:
    end = _suffix(area)
    values = {f"ap{end}": 100 * float(precision.mean()), f"ar{end}": 100 * float(recall.mean())}
    if area == "all":
        for name, place in (("50", 0), ("75", 5)):
            values |= {f"ap{name}": 100 * float(precision[place].mean()), f"ar{name}": 100 * float(recall[place])}
    return values
