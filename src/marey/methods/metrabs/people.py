"""Picture in, people out: MeTRAbs around a network that looks at crops.

    model = PeopleModel(network, skeleton("coco_17"))
    people = model.detect_poses(picture)                                   # people.poses3d (n, 17, 3) metres
    people = model.estimate_poses(picture, boxes, intrinsic_matrix=K, unit="mm", num_aug=5, average_aug=False)

The entry points and their arguments are those of the original's models of 2020 and of 2021 to 2023; what is not known
of the camera is assumed, and who is dropped is told. Whoever has cameras of the house calls `PeopleModel.find`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError, Skeleton
from marey.detect.detector import Detector, open_detector
from marey.methods.metrabs.augmented import (
    Augmentations,
    SeenPoses,
    Single,
    augmentation_table,
    averaged,
    to_camera,
)
from marey.methods.metrabs.looks import seen_poses, with_margin
from marey.methods.metrabs.model import CropNetwork, CropPoses, MetrabsNet
from marey.methods.metrabs.networks import Weights, load_network
from marey.methods.metrabs.people_boxes import detected_boxes
from marey.methods.metrabs.people_inputs import MILLIMETRES, as_boxes_of_pictures, as_cameras, as_pictures
from marey.methods.metrabs.people_options import PeopleOptions
from marey.methods.metrabs.people_results import People, PeopleOfPictures
from marey.methods.metrabs.plausibility import Dropped, PlausibilityFilter
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.virtual_cameras import CropRule, VirtualCameras, look_at_people
from marey.methods.metrabs.virtual_crops import draw_sheet, render_views

_LEAST_SEEN = 8
"""Pixels of the crop that the picture covers, along its longer side."""
_NEED_MORE = ("metro", "bone-lengths-true", "true-root-depth")
_SINGLES: dict[str, Single] = {"no": "identity", "turned": "published", "brightened": "published-later"}


class _Plan(NamedTuple):
    """Whom to look at in one picture."""

    boxes: Tensor
    """(n, 5)"""
    indices: Tensor
    """(n,) of the boxes that were given."""
    cameras: Cameras
    """(n,) of the picture."""
    seen: VirtualCameras
    """n A virtual cameras."""
    dropped: tuple[Dropped, ...]


class PeopleModel:
    """Finds the people of pictures and their joints in space.

    The network says absolute joints in the frame of the crop's camera; networks that are relative to a root need a
    depth from elsewhere before they can be used here.
    """

    def __init__(
        self,
        network: CropNetwork,
        joints: Skeleton,
        *,
        skeletons: Mapping[str, tuple[Skeleton, Sequence[int]]] | None = None,
        mirror: Sequence[int] | None = None,
        margin: float = 1.0,
        detector: Detector | str = "marey",
        quirks: Quirks | None = None,
        options: PeopleOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put a network to work.

        Args:
            network: In evaluation mode, on the device.
            joints: Its joints.
            skeletons: Name -> a skeleton, and the places of its joints among the network's; what `skeleton=` may be.
            mirror: For each joint the place of its counterpart on the other side; None: as their names say.
            margin: Side of the crops that the network wants, in the longer sides of people's boxes.
            detector: Opened, or what `marey.detect.detector.open_detector` opens when it is first needed: `marey`,
                `mediapipe`, or the path of an ONNX file.
            quirks: None: our own behaviour.
            options: Defaults of every call.
            device: Where crops are made.

        Raises:
            InputError: a skeleton has joints that the network does not have, or the margin is not above 0.
        """
        if not 0 < margin < math.inf:
            raise InputError(f"margin: expected a number above 0, got {margin}")
        self.network = network
        self.joints = joints
        all_joints = (joints, tuple(range(len(joints))))
        self._chosen: dict[str, tuple[Skeleton, Sequence[int]]] = {"": all_joints, joints.name: all_joints}
        self._chosen.update(skeletons or {})
        for name, (_, places) in self._chosen.items():
            if not all(0 <= place < len(joints) for place in places):
                raise InputError(f"skeleton {name}: expected places below {len(joints)}, got {list(places)}")
        self._mirror = torch.tensor(joints.mirror if mirror is None else mirror)
        self.margin = margin
        self.quirks = quirks or Quirks()
        self.options = options or PeopleOptions()
        self.device = torch.device(device)
        self._detector = detector

    @classmethod
    def load(cls, weights: Weights | None = None, **settings: Any) -> PeopleModel:
        """The model of some weights.

        Args:
            weights: See `marey.methods.metrabs.networks.load_network`; None: the shipped ones.
            **settings: Detector, quirks, options and device, as of the class.

        Raises:
            MissingAssetError, FormatError: the weights are not there, or damaged.
            InputError: their network says no absolute joints by itself.
        """
        loaded = load_network(weights)
        if isinstance(loaded.module, MetrabsNet) and loaded.module.config.scale_recovery in _NEED_MORE:
            raise InputError(
                f"{loaded.source}: its scale recovery '{loaded.module.config.scale_recovery}' gives no absolute joints "
                f"of a picture alone; expected 'metrabs' or 'bone-lengths'"
            )
        return cls(
            cast(CropNetwork, loaded.module),
            loaded.skeleton,
            skeletons=loaded.skeletons,
            mirror=loaded.mirror,
            margin=loaded.margin,
            **settings,
        )

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the network."""
        return self.joints.joints

    @property
    def joint_edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of joints of the network."""
        return self.joints.links

    @property
    def per_skeleton_joint_names(self) -> dict[str, tuple[str, ...]]:
        """Name of a skeleton -> its joints."""
        return {name: each.joints for name, (each, _) in self._chosen.items()}

    @property
    def per_skeleton_joint_edges(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Name of a skeleton -> pairs of its joints."""
        return {name: each.links for name, (each, _) in self._chosen.items()}

    @property
    def per_skeleton_indices(self) -> dict[str, tuple[int, ...]]:
        """Name of a skeleton -> where its joints are among the network's."""
        return {name: tuple(places) for name, (_, places) in self._chosen.items()}

    @cached_property
    def detector(self) -> Detector:
        """Opened when it is first needed.

        Raises:
            InputError, MissingAssetError, MissingDependencyError: it cannot be opened.
        """
        return open_detector(self._detector) if isinstance(self._detector, str) else self._detector

    @cached_property
    def plausible(self) -> PlausibilityFilter:
        """What drops implausible poses."""
        return PlausibilityFilter.of(self.joints, closest_joints=self.quirks.closest_joints_similar)

    def predict_single_image(
        self, image: Any, intrinsic_matrix: Any = None, boxes: Any = None, **changes: Any
    ) -> People:
        """Find the people of a picture: 2020's entry point, which returned detections, 3D poses and 2D poses.

        Args:
            image: See `as_picture`.
            intrinsic_matrix: (3, 3); None: unknown.
            boxes: (n, 4) left, top, width, height; None: the detector's.
            **changes: Of the options.

        Raises:
            ShapeError, InputError, CalibrationError: of the arguments.
        """
        if boxes is None:
            return self.detect_poses(image, intrinsic_matrix, **changes)
        return self.estimate_poses(image, boxes, intrinsic_matrix, **changes)

    def predict_multi_image(
        self, images: Any, intrinsic_matrix: Any = None, boxes: Any = None, **changes: Any
    ) -> PeopleOfPictures:
        """Find the people of several pictures; as `predict_single_image`, with boxes of each picture."""
        if boxes is None:
            return self.detect_poses_batched(images, intrinsic_matrix, **changes)
        return self.estimate_poses_batched(images, boxes, intrinsic_matrix, **changes)

    def detect_poses(
        self,
        image: Any,
        intrinsic_matrix: Any = None,
        distortion_coeffs: Any = None,
        extrinsic_matrix: Any = None,
        **changes: Any,
    ) -> People:
        """Detect the people of a picture and estimate their poses.

        Args:
            image: See `as_picture`.
            intrinsic_matrix: (3, 3) pixels; None or all -1: unknown.
            distortion_coeffs: (D,) in OpenCV's order, see `as_cameras`; None: no lens.
            extrinsic_matrix: (4, 4) from the world to the camera, in `unit`; None: the camera is the world.
            **changes: Of the options.

        Raises:
            ShapeError, InputError, CalibrationError: of the arguments.
            MissingDependencyError, MissingAssetError: the detector cannot be opened.
        """
        batch = self.detect_poses_batched([image], intrinsic_matrix, distortion_coeffs, extrinsic_matrix, **changes)
        return batch.pictures[0]

    def estimate_poses(
        self,
        image: Any,
        boxes: Any,
        intrinsic_matrix: Any = None,
        distortion_coeffs: Any = None,
        *,
        extrinsic_matrix: Any = None,
        **changes: Any,
    ) -> People:
        """Estimate the poses of people in boxes (n, 4) or, with scores, (n, 5); otherwise as `detect_poses`."""
        batch = self.estimate_poses_batched(
            [image], [boxes], intrinsic_matrix, distortion_coeffs, extrinsic_matrix=extrinsic_matrix, **changes
        )
        return batch.pictures[0]

    def detect_poses_batched(
        self,
        images: Any,
        intrinsic_matrix: Any = None,
        distortion_coeffs: Any = None,
        extrinsic_matrix: Any = None,
        **changes: Any,
    ) -> PeopleOfPictures:
        """Detect the people of several pictures, see `as_pictures`; matrices are shared, or one for each."""
        options, pictures = self.options.changed(changes), as_pictures(images)
        cameras = _cameras(pictures, (intrinsic_matrix, distortion_coeffs, extrinsic_matrix), options)
        return self.find(pictures, cameras, options=options)

    def estimate_poses_batched(
        self,
        images: Any,
        boxes: Sequence[Any],
        intrinsic_matrix: Any = None,
        distortion_coeffs: Any = None,
        *,
        extrinsic_matrix: Any = None,
        **changes: Any,
    ) -> PeopleOfPictures:
        """Estimate the poses in the boxes of each of several pictures; otherwise as `detect_poses_batched`."""
        options, pictures = self.options.changed(changes), as_pictures(images)
        cameras = _cameras(pictures, (intrinsic_matrix, distortion_coeffs, extrinsic_matrix), options)
        return self.find(pictures, cameras, as_boxes_of_pictures(boxes), options=options)

    def find(
        self,
        pictures: Sequence[Tensor],
        cameras: Cameras,
        boxes: Sequence[Tensor] | None = None,
        *,
        options: PeopleOptions | None = None,
    ) -> PeopleOfPictures:
        """Find the people of pictures whose cameras are known.

        Memory: one picture in linear light at a time, and `internal_batch_size` crops.

        Args:
            pictures: I of `as_picture`.
            cameras: (I,), double precision, metres; without places in the world their own frames are the poses'.
            boxes: Of each picture, of `as_boxes`; None: detected.
            options: None: the model's.

        Raises:
            ShapeError: there are not as many cameras and boxes as pictures.
            InputError: there is no such skeleton.
        """
        options = options or self.options
        self._check(pictures, cameras, boxes, options)
        sure = boxes is not None
        suppress = not sure if options.suppress_implausible_poses is None else options.suppress_implausible_poses
        found = boxes if boxes is not None else [self._detected(picture, options) for picture in pictures]
        views = augmentation_table(
            options.num_aug, turns=options.aug_turns, single=_SINGLES[self.quirks.changed_single_view]
        )
        rule = CropRule.of(self.quirks, side=self.network.side, antialias=options.antialias_factor)
        plans = [
            self._plan(picture, cameras[place], each, (views, rule, options))
            for place, (picture, each) in enumerate(zip(pictures, found, strict=True))
        ]
        poses = self._poses(pictures, plans, views, (rule, options))
        people = [
            self._people(plan, each, cameras[place], (options, suppress))
            for place, (plan, each) in enumerate(zip(plans, poses, strict=True))
        ]
        return PeopleOfPictures(pictures=tuple(people))

    def _check(
        self, pictures: Sequence[Tensor], cameras: Cameras, boxes: Sequence[Tensor] | None, options: PeopleOptions
    ) -> None:
        count = len(pictures)
        if cameras.batch_shape != (count,) or (boxes is not None and len(boxes) != count):
            given = "detected" if boxes is None else len(boxes)
            raise ShapeError(
                f"expected cameras and boxes of each of the {count} pictures, got cameras {cameras.batch_shape} and "
                f"boxes of {given}"
            )
        if options.skeleton not in self._chosen:
            named = ", ".join(name for name in self._chosen if name)
            raise InputError(f"no skeleton '{options.skeleton}' in this network; there are: {named}")

    def _detected(self, picture: Tensor, options: PeopleOptions) -> Tensor:
        return detected_boxes(
            self.detector,
            picture,
            least_score=options.detector_threshold,
            most_overlap=options.detector_nms_iou_threshold,
            most=None if options.max_detections < 0 else options.max_detections,
            mirrored=options.detector_flip_aug,
        )

    def _plan(
        self, picture: Tensor, camera: Cameras, boxes: Tensor, how: tuple[Augmentations, CropRule, PeopleOptions]
    ) -> _Plan:
        """Aim at the boxes; those that cannot be looked at are dropped."""
        views, rule, options = how
        cameras = camera.map(lambda values: values.expand(len(boxes), *values.shape)).to(torch.float64)
        up = boxes.new_tensor(options.world_up_vector).expand(len(boxes), 3)
        if cameras.rotation is not None:
            up = (cameras.rotation @ up[..., None])[..., 0]
        seen = look_at_people(with_margin(boxes[:, :4], self.margin), cameras, up=up, augmentations=views, rule=rule)
        limit = boxes.new_tensor([picture.shape[2], picture.shape[1]]) - 0.5
        inside = ((boxes[:, :2] < limit) & (boxes[:, :2] + boxes[:, 2:4] > -0.5)).all(-1)
        scale = seen.scale.reshape(-1, len(views))
        aimed = (scale.isfinite() & (scale > 0)).all(-1)
        visible = (scale * max(picture.shape[1:]) >= _LEAST_SEEN).all(-1)
        blind = (
            "the lens cannot be undone at the box"
            if bool(camera.distortion.any())
            else "the box spans too wide an angle"
        )
        dropped = [
            *(_outside(row, "the box lies outside of the picture") for row in _rows(~inside)),
            *(_outside(row, blind) for row in _rows(inside & ~aimed)),
            *(_outside(row, "the box is far larger than the picture") for row in _rows(inside & aimed & ~visible)),
        ]
        good = (inside & aimed & visible).nonzero()[:, 0]
        rows = (good[:, None] * len(views) + torch.arange(len(views))).reshape(-1)
        return _Plan(boxes[good], good, cameras[good], VirtualCameras(*(part[rows] for part in seen)), tuple(dropped))

    def _poses(
        self,
        pictures: Sequence[Tensor],
        plans: Sequence[_Plan],
        views: Augmentations,
        how: tuple[CropRule, PeopleOptions],
    ) -> list[SeenPoses]:
        """Poses (n, A) of the people of each picture."""
        rule, options = how
        size = options.internal_batch_size or max(1, sum(plan.seen.scale.shape[0] for plan in plans))
        pieces = (
            piece
            for picture, plan in zip(pictures, plans, strict=True)
            for piece in self._crops(picture, plan, rule, size)
        )
        with torch.inference_mode():
            found = [self._looked_at(*batch) for batch in in_batches(pieces, size)]
        joints, covariance = (torch.cat(parts) for parts in zip(*found, strict=True)) if found else self._nobody()
        counts = [plan.seen.scale.shape[0] for plan in plans]
        said = zip(plans, torch.split(joints, counts), torch.split(covariance, counts), strict=True)
        return [
            seen_poses(
                CropPoses(positions, spread, None, positions),
                plan.seen.rotation,
                plan.cameras,
                mirror=self._mirror,
                augmentations=views,
            )
            for plan, positions, spread in said
        ]

    def _crops(self, picture: Tensor, plan: _Plan, rule: CropRule, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Crops and their intrinsic matrices, at most `size` at a time."""
        count = plan.seen.scale.shape[0]
        if count == 0:
            return
        sheet = draw_sheet(picture[None].to(self.device), rule)
        views = count // len(plan.boxes)
        for rows in torch.split(torch.arange(count), size):
            seen = VirtualCameras(*(part[rows].to(self.device) for part in plan.seen))
            images = render_views(sheet, seen, plan.cameras[rows // views].to(self.device), rule=rule)
            yield images, seen.intrinsics.to(torch.float32)

    def _looked_at(self, images: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        said: CropPoses = self.network(images, intrinsics)
        joints = said.joints.double().cpu()
        if joints.shape != (images.shape[0], len(self.joints), 3):
            raise ShapeError(
                f"network: expected joints {(images.shape[0], len(self.joints), 3)} of skeleton {self.joints.name}, "
                f"got {tuple(joints.shape)}"
            )
        unknown = torch.full((*joints.shape, 3), torch.nan, dtype=joints.dtype)
        return joints, unknown if said.covariance is None else said.covariance.double().cpu()

    def _nobody(self) -> tuple[Tensor, Tensor]:
        joints = torch.zeros(0, len(self.joints), 3, dtype=torch.float64)
        return joints, joints[..., None].expand(-1, -1, -1, 3)

    def _people(self, plan: _Plan, poses: SeenPoses, camera: Cameras, how: tuple[PeopleOptions, bool]) -> People:
        options, suppress = how
        indices, dropped = torch.arange(len(plan.boxes)), plan.dropped
        if suppress:
            kept = self.plausible(poses.joints, poses.pixels, plan.boxes[:, :4], plan.boxes[:, 4])
            indices = kept.indices
            dropped += tuple(replace(drop, index=int(plan.indices[drop.index])) for drop in kept.dropped)
        poses = poses[indices]
        poses = averaged(poses) if options.average_aug else poses
        joints, covariance = poses.joints, poses.covariance
        in_world = options.frame == "world" and camera.has_extrinsics
        if in_world:
            rotation, translation = (part.double() for part in camera.extrinsics)
            joints, covariance = to_camera(joints - translation, covariance, rotation)
        scale, (chosen, places) = MILLIMETRES if options.unit == "mm" else 1.0, self._chosen[options.skeleton]
        wanted = list(places)
        return People(
            boxes=plan.boxes[indices].float(),
            poses3d=(joints[..., wanted, :] * scale).float(),
            poses2d=poses.pixels[..., wanted, :].float(),
            covariance=(covariance[..., wanted, :, :] * scale**2).float(),
            indices=plan.indices[indices],
            dropped=tuple(sorted(dropped, key=lambda drop: drop.index)),
            skeleton=chosen,
            unit=options.unit,
            frame="world" if in_world else "camera",
        )


def in_batches(pieces: Iterable[tuple[Tensor, ...]], size: int) -> Iterator[tuple[Tensor, ...]]:
    """Join tensors of equally many rows, piece by piece, to batches of `size` rows; the last one may have fewer."""
    waiting: list[tuple[Tensor, ...]] = []
    count = 0
    for piece in pieces:
        while count + piece[0].shape[0] >= size:
            first = size - count
            yield _joined([*waiting, tuple(part[:first] for part in piece)])
            waiting, count, piece = [], 0, tuple(part[first:] for part in piece)
        if piece[0].shape[0]:
            waiting.append(piece)
            count += piece[0].shape[0]
    if waiting:
        yield _joined(waiting)


def _joined(pieces: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return pieces[0] if len(pieces) == 1 else tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


def _cameras(pictures: Sequence[Tensor], matrices: tuple[Any, Any, Any], options: PeopleOptions) -> Cameras:
    intrinsics, distortion, extrinsics = matrices
    return as_cameras(
        [(picture.shape[2], picture.shape[1]) for picture in pictures],
        intrinsics=intrinsics,
        distortion=distortion,
        extrinsics=extrinsics,
        field_of_view=options.default_fov_degrees,
        unit=options.unit,
    )


def _rows(where: Tensor) -> list[int]:
    rows: list[int] = where.nonzero()[:, 0].tolist()
    return rows


def _outside(index: int, detail: str) -> Dropped:
    return Dropped(index=index, reason="outside", detail=detail)
