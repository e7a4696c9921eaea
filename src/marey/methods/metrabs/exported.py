"""The networks of MeTRAbs as modules of tensors alone, for export: geometry and reconstruction within the graph.

Three of them, each of which takes over more of the way: crops to poses, pictures and boxes to poses, pictures to
people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from marey.core import Cameras
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import SearchSettings, shipped_trunk
from marey.detect.trunk_people import TrunkPeople
from marey.engine.networks import Network, Port
from marey.methods.metrabs.augmented import augmentation_table, averaged
from marey.methods.metrabs.looks import seen_poses, with_margin
from marey.methods.metrabs.networks import LoadedNetwork, load_network
from marey.methods.metrabs.virtual_cameras import CropRule
from marey.methods.metrabs.virtual_crops import LEAST_SIDE, crop_views

LENS_TERMS = 12
"""k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4; a lens with fewer has zeros."""
PEOPLE = 8
"""Places for people in a picture, of the graph with the detector."""
_PIXELS = "picture, x right and y down, pixel centres at integers"
_AXES = "x right, y down, z forward"
_BOX = "left, top, width, height"
_EXAMPLE_SIDE = 256


class CropEstimator(nn.Module):
    """Crops as they come to poses."""

    def __init__(self, network: LoadedNetwork) -> None:
        super().__init__()
        self.network = network.module

    def forward(self, crops: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
        """Estimate joints.

        Args:
            crops: (B, 3, S, S) uint8, red, green, blue.
            intrinsics: (B, 3, 3) of the crops.

        Returns:
            Joints (B, J, 3), covariance (B, J, 3, 3), and keypoints (B, N, 2) where the network has some.
        """
        said = self.network(crops.float() / 255, intrinsics)
        return tuple(part for part in (said.joints, said.covariance, said.keypoints) if part is not None)


class BoxEstimator(nn.Module):
    """Pictures and boxes to poses before the camera."""

    def __init__(self, network: LoadedNetwork, *, augmentations: int = 1) -> None:
        """Hold a network.

        Args:
            network: With its joints.
            augmentations: Views of each person, see `augmentation_table`; their mean is given.
        """
        super().__init__()
        self.network = network.module
        self.margin = network.margin
        self.views = None if augmentations == 1 else augmentation_table(augmentations)
        self.mirror: Tensor
        self.register_buffer("mirror", torch.as_tensor(network.mirror), persistent=False)

    def forward(self, images: Tensor, boxes: Tensor, intrinsics: Tensor, distortion: Tensor) -> tuple[Tensor, ...]:
        """Estimate joints.

        Args:
            images: (B, 3, H, W) uint8, red, green, blue.
            boxes: (B, K, 4) left, top, width, height; NaN: nobody.
            intrinsics: (B, 3, 3)
            distortion: (B, 12) in OpenCV's order.

        Returns:
            Joints (B, K, J, 3), covariance (B, K, J, 3, 3), pixels (B, K, J, 2); NaN where there is nobody.
        """
        count, places = boxes.shape[:2]
        height, width = images.shape[2:]
        there = boxes.isfinite().all(-1) & (boxes[..., 2:] > 0).all(-1)
        everything = torch.stack([torch.full((), side, dtype=boxes.dtype) for side in (0, 0, width, height)])
        asked = torch.where(there[..., None], boxes, everything.to(boxes.device)).reshape(-1, 4)
        picture = torch.arange(count, device=boxes.device)[:, None].expand(count, places).reshape(-1)
        cameras = Cameras(
            intrinsics=intrinsics[picture].double(),
            distortion=distortion[picture].double(),
            image_size=torch.full_like(asked[:, :2], torch.nan).double(),
        )
        views = crop_views(
            images,
            with_margin(asked, self.margin),
            cameras,
            pictures=picture,
            augmentations=self.views,
            rule=CropRule(side=self.network.side),
        )
        said = self.network(views.images, views.intrinsics.float())
        poses = averaged(
            seen_poses(said, views.rotation, cameras, mirror=self.mirror, augmentations=self.views),
        )
        return tuple(
            torch.where(there.reshape(count, places, *(1,) * (part.ndim - 1)), values, torch.nan)
            for part in (poses.joints, poses.covariance, poses.pixels)
            for values in (part.reshape(count, places, *part.shape[1:]),)
        )


class PeopleEstimator(nn.Module):
    """Pictures to people before the camera: the detector `marey` and the network, in one graph."""

    def __init__(self, network: LoadedNetwork, finder: TrunkPeople, *, augmentations: int = 1) -> None:
        """Hold both; see `BoxEstimator`."""
        super().__init__()
        self.finder = finder
        self.poses = BoxEstimator(network, augmentations=augmentations)

    def forward(self, images: Tensor, intrinsics: Tensor, distortion: Tensor) -> tuple[Tensor, ...]:
        """Find people and estimate their joints.

        Args:
            images: (B, 3, H, W) uint8, red, green, blue.
            intrinsics: (B, 3, 3)
            distortion: (B, 12) in OpenCV's order.

        Returns:
            Boxes (B, K, 4) left, top, width, height, scores (B, K) and keep (B, K); then as of `BoxEstimator`.
        """
        corners, scores, keep = self.finder(images)
        boxes = torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), -1)
        return boxes, scores, keep, *self.poses(images, boxes, intrinsics, distortion)


def crops(weights: Path | None = None) -> Network:
    """The network for crops of an official checkpoint or a folder of `marey train`; None: the shipped weights."""
    return network_of_crops(load_network(weights))


def boxes(weights: Path | None = None) -> Network:
    """The network for pictures and boxes, likewise."""
    return network_of_boxes(load_network(weights))


def people(weights: Path | None = None) -> Network:
    """The network for pictures, with the detector `marey`, likewise."""
    return network_of_people(load_network(weights))


def network_of_crops(loaded: LoadedNetwork) -> Network:
    """A network for crops with its ports."""
    shown = _example()
    module = CropEstimator(loaded)
    side = loaded.side
    small = torch.nn.functional.interpolate(shown.images.float(), (side, side), mode="area").round().to(torch.uint8)
    example = small, shown.intrinsics * torch.tensor([side, side, _EXAMPLE_SIDE])[:, None] / _EXAMPLE_SIDE
    found = module(*example)
    given = _joint_ports(("batch",), len(loaded.skeleton), f"camera of the crop: {_AXES}")
    keypoints = (
        ()
        if len(found) == 2
        else (
            Port(
                name="keypoints",
                shape=("batch", found[2].shape[1], 2),
                unit="pixels",
                frame="crop, x right and y down, pixel centres at integers",
                meaning="What the 2D head says.",
            ),
        )
    )
    return Network(
        module=module,
        example=example,
        inputs=(
            Port(
                name="crops",
                shape=("batch", 3, side, side),
                unit="0 to 255",
                meaning="Squares around people, red, green, blue, seen by a camera without distortion that looks at "
                "the middle of the person; the longer side of the person's box is 1/margin of the square.",
            ),
            Port(name="intrinsics", shape=("batch", 3, 3), unit="pixels", meaning="Of the crops."),
        ),
        outputs=(*given, *keypoints),
        facts=_facts(loaded),
    )


def network_of_boxes(loaded: LoadedNetwork, *, augmentations: int = 1) -> Network:
    """A network for pictures and boxes with its ports; see `BoxEstimator`."""
    shown = _example()
    return Network(
        module=BoxEstimator(loaded, augmentations=augmentations),
        example=(shown.images, shown.boxes, shown.intrinsics, shown.distortion),
        inputs=(_pictures(), _given_boxes(), *_camera_ports()),
        outputs=_posed(("batch", "people"), loaded),
        least={"height": LEAST_SIDE, "width": LEAST_SIDE},
        facts={**_facts(loaded), "augmentations": augmentations},
    )


def network_of_people(
    loaded: LoadedNetwork,
    *,
    most: int = PEOPLE,
    search: SearchSettings | None = None,
    augmentations: int = 1,
) -> Network:
    """A network for pictures with its ports.

    Args:
        loaded: The network.
        most: Places for people in a picture.
        search: Of the detector, see `TrunkPeople`.
        augmentations: See `BoxEstimator`.
    """
    shown = _example()
    finder = TrunkPeople(shipped_trunk(), people=most, search=search)
    return Network(
        module=PeopleEstimator(loaded, finder, augmentations=augmentations),
        example=(shown.images, shown.intrinsics, shown.distortion),
        inputs=(_pictures(), *_camera_ports()),
        outputs=(*_found_ports(most), *_posed(("batch", most), loaded)),
        least={"height": LEAST_SIDE, "width": LEAST_SIDE},
        facts={**_facts(loaded), "augmentations": augmentations, "detector": "marey"},
    )


class _Example(NamedTuple):
    images: Tensor
    """(2, 3, S, S) uint8."""
    boxes: Tensor
    """(2, 2, 4) left, top, width, height; one of them is nobody."""
    intrinsics: Tensor
    """(2, 3, 3)"""
    distortion: Tensor
    """(2, 12)"""


def _example() -> _Example:
    config = SyntheticConfig(tier="easy", image_size=(_EXAMPLE_SIDE, _EXAMPLE_SIDE))
    made = SyntheticGenerator(config).sample(0, range(2))
    corners = made.views.box[:, 0, :1].repeat(1, 2, 1)
    corners[1, 1] = torch.nan
    lens = torch.zeros(2, LENS_TERMS)
    lens[1, :5] = torch.tensor([-0.1, 0.03, 0.001, -0.002, 0.01])
    boxes = torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), -1)
    return _Example(made.images[:, 0], boxes.float(), made.cameras.intrinsics[:, 0].float(), lens)


def _pictures() -> Port:
    return Port(
        name="images",
        shape=("batch", 3, "height", "width"),
        unit="0 to 255",
        meaning="Pictures as they come, red, green, blue. Nothing else is to be done to them.",
    )


def _given_boxes() -> Port:
    return Port(
        name="boxes",
        shape=("batch", "people", 4),
        unit="pixels",
        frame=_PIXELS,
        meaning=f"People's boxes: {_BOX}. NaN where there is nobody: pictures may have different numbers of people.",
    )


def _camera_ports() -> tuple[Port, ...]:
    return (
        Port(
            name="intrinsics",
            shape=("batch", 3, 3),
            unit="pixels",
            meaning="[[fx, skew, cx], [0, fy, cy], [0, 0, 1]] of the pictures.",
        ),
        Port(
            name="distortion",
            shape=("batch", LENS_TERMS),
            meaning="OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4; zeros for what a lens lacks.",
        ),
    )


def _found_ports(most: int) -> tuple[Port, ...]:
    places = ("batch", most)
    return (
        Port(
            name="boxes",
            shape=(*places, 4),
            unit="pixels",
            frame=_PIXELS,
            meaning=f"People's boxes, the surest first: {_BOX}. NaN where there is nobody.",
        ),
        Port(name="scores", shape=places, meaning="0 to 1; 0 where there is nobody."),
        Port(name="keep", shape=places, meaning="Whether there is somebody in this place."),
    )


def _posed(people: tuple[int | str, ...], loaded: LoadedNetwork) -> tuple[Port, ...]:
    count = len(loaded.skeleton)
    pixels = Port(
        name="pixels",
        shape=(*people, count, 2),
        unit="pixels",
        frame=_PIXELS,
        meaning="The joints in the picture, lens included; NaN where there is nobody, and behind the camera.",
    )
    return *_joint_ports(people, count, f"camera of the picture: {_AXES}"), pixels


def _joint_ports(people: tuple[int | str, ...], count: int, frame: str) -> tuple[Port, Port]:
    return (
        Port(
            name="joints",
            shape=(*people, count, 3),
            unit="metres",
            frame=frame,
            meaning="NaN where there is nobody; their names are under 'joints'.",
        ),
        Port(
            name="joint_covariance",
            shape=(*people, count, 3, 3),
            unit="square metres",
            frame=frame,
            meaning="Of the joints; NaN where they are.",
        ),
    )


def _facts(loaded: LoadedNetwork) -> dict[str, Any]:
    return {
        "weights": loaded.source,
        "skeleton": loaded.skeleton.name,
        "joints": list(loaded.skeleton.joints),
        "images": {"type": "uint8", "channels": "red, green, blue", "normalisation": "within the file"},
        "crops": {"side": loaded.side, "margin": loaded.margin},
    }
