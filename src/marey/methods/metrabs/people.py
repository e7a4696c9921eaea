"""Picture in, people out: MeTRAbs around a network that looks at crops.

    model = PeopleModel(network, skeleton("coco_17"))
    people = model.detect_poses(picture)                                   # people.poses3d (n, 17, 3) metres
    people = model.estimate_poses(picture, boxes, intrinsic_matrix=K, unit="mm", num_aug=5, average_aug=False)

The entry points and their arguments are those of the original's models of 2020 and of 2021 to 2023; what is not known
of the camera is assumed, and who is dropped is told. Whoever has cameras of the house calls `PeopleModel.find`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError, Skeleton
from marey.detect.detector import Detector, open_detector
from marey.methods.metrabs.augmented import (
    SeenPoses,
    Single,
    augmentation_table,
    averaged,
    to_camera,
)
from marey.methods.metrabs.model import CropNetwork, MetrabsNet
from marey.methods.metrabs.networks import Weights, load_network
from marey.methods.metrabs.people_aims import Aims, aimed
from marey.methods.metrabs.people_boxes import detected_boxes
from marey.methods.metrabs.people_crops import CropLooks
from marey.methods.metrabs.people_inputs import MILLIMETRES, as_boxes_of_pictures, as_cameras, as_pictures
from marey.methods.metrabs.people_options import PeopleOptions
from marey.methods.metrabs.people_results import People, PeopleOfPictures
from marey.methods.metrabs.plausibility import PlausibilityFilter
from marey.methods.metrabs.published_config import PublishedOptions
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.virtual_cameras import CropRule

_NEED_MORE = ("metro", "bone-lengths-true", "true-root-depth")
_SINGLES: dict[str, Single] = {"no": "identity", "turned": "published", "brightened": "published-later"}


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
    def load(
        cls, weights: Weights | None = None, published: PublishedOptions | None = None, **settings: Any
    ) -> PeopleModel:
        """The model of some weights.

        Args:
            weights: See `marey.methods.metrabs.networks.load_network`; None: the shipped ones.
            published: What published weights do not show.
            **settings: Detector, quirks, options and device, as of the class.

        Raises:
            MissingAssetError, FormatError: the weights are not there, or damaged.
            InputError: their network says no absolute joints by itself, or the options do not fit them.
        """
        loaded = load_network(weights, published)
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
        aims = [
            aimed(
                each,
                cameras[place],
                (picture.shape[2], picture.shape[1]),
                margin=self.margin,
                up=options.world_up_vector,
                augmentations=views,
                rule=rule,
            )
            for place, (picture, each) in enumerate(zip(pictures, found, strict=True))
        ]
        looks = CropLooks(network=self.network, joints=self.joints, mirror=self._mirror, device=self.device)
        poses = looks.poses(pictures, aims, augmentations=views, rule=rule, at_once=options.internal_batch_size)
        people = [
            self._people(aim, each, cameras[place], (options, suppress))
            for place, (aim, each) in enumerate(zip(aims, poses, strict=True))
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

    def _people(self, aims: Aims, poses: SeenPoses, camera: Cameras, how: tuple[PeopleOptions, bool]) -> People:
        options, suppress = how
        indices, dropped = torch.arange(len(aims.boxes)), aims.dropped
        if suppress:
            kept = self.plausible(poses.joints, poses.pixels, aims.boxes[:, :4], aims.boxes[:, 4])
            indices = kept.indices
            dropped += tuple(replace(drop, index=int(aims.indices[drop.index])) for drop in kept.dropped)
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
            boxes=aims.boxes[indices].float(),
            poses3d=(joints[..., wanted, :] * scale).float(),
            poses2d=poses.pixels[..., wanted, :].float(),
            covariance=(covariance[..., wanted, :, :] * scale**2).float(),
            indices=aims.indices[indices],
            dropped=tuple(sorted(dropped, key=lambda drop: drop.index)),
            skeleton=chosen,
            unit=options.unit,
            frame="world" if in_world else "camera",
        )


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
