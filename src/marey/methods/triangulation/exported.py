"""The networks of triangulation as modules of tensors alone, for export: pictures in, joints in the world out.

Colours, the world's upright and all of the geometry are within the module: whoever runs the file needs crops of
pictures and the projection matrices of these crops.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from marey.body.open_body import open_body
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.data.synthetic.keypoint_sight import keypoint_parts
from marey.engine.captures import captures_of
from marey.engine.networks import Network, Port
from marey.methods.triangulation.cuboid import axis_of, turn_between
from marey.methods.triangulation.networks import LoadedNetwork, load_network, prepare_images

MULTIPLE = 32
"""Sides of pictures are multiples of it."""
_LEAST_SIDE = 128
"""Pixels: what the confidence heads need."""
_BATCH, _VIEWS = 2, 3
_PIXELS = "pixels of the pictures, x right and y down, pixel centres at integers"
_WORLD = "world of the projections"


class Estimator(nn.Module):
    """A network for pictures as they come and a world with z up."""

    def __init__(self, network: LoadedNetwork) -> None:
        super().__init__()
        self.network = network.module
        self.convention = network.image
        self.turn: Tensor
        self.register_buffer("turn", turn_between(axis_of("z"), axis_of(network.up)).float(), persistent=False)

    def forward(self, images: Tensor, projections: Tensor, centers: Tensor | None = None) -> tuple[Tensor, ...]:
        """Estimate joints.

        Args:
            images: (B, V, 3, H, W) uint8, red, green, blue.
            projections: (B, V, 3, 4) from the world to pixels of the pictures.
            centers: (B, 3) of the cuboids, for the volumetric network.

        Returns:
            Joints (B, J, 3) and covariance (B, J, 3, 3); without centres also the keypoints (B, V, J, 2) and the
            weights of the views (B, V, J).
        """
        pictures = prepare_images(images, self.convention)
        turned = torch.cat((projections[..., :3] @ self.turn.mT, projections[..., 3:]), dim=-1)
        if centers is not None:
            found = self.network(pictures, turned, centers @ self.turn.mT)
            return found.joints @ self.turn, self.turn.mT @ found.covariance @ self.turn
        found = self.network(pictures, turned)
        joints, covariance = found.joints @ self.turn, self.turn.mT @ found.covariance @ self.turn
        return joints, covariance, found.keypoints, found.confidences


def algebraic(weights: Path | None = None) -> Network:
    """The algebraic network of an official checkpoint or a folder of `marey train`; None: the shipped weights."""
    return network_of(load_network("algebraic", weights))


def volumetric(weights: Path | None = None) -> Network:
    """The volumetric network, likewise."""
    return network_of(load_network("volumetric", weights))


def network_of(loaded: LoadedNetwork, example: tuple[Tensor, ...] | None = None) -> Network:
    """A network with its ports.

    Args:
        loaded: The network.
        example: Of the inputs; None: synthetic people.
    """
    count, volumetric = len(loaded.skeleton), loaded.kind == "volumetric"
    inputs, outputs = _inputs(loaded), _outputs(count)
    return Network(
        module=Estimator(loaded),
        example=(_example(loaded) if example is None else example)[: 3 if volumetric else 2],
        inputs=inputs if volumetric else inputs[:2],
        outputs=outputs[:2] if volumetric else outputs,
        least={"views": 1 if volumetric else 2, "height": _LEAST_SIDE, "width": _LEAST_SIDE},
        multiples={"height": MULTIPLE, "width": MULTIPLE},
        facts=_facts(loaded),
    )


def _example(loaded: LoadedNetwork) -> tuple[Tensor, Tensor, Tensor]:
    config = SyntheticConfig(tier="easy", views=_VIEWS, image_size=loaded.image.side, skeletons=("coco_17",))
    near = keypoint_parts(open_body("small"), "coco_17")
    made = captures_of(SyntheticGenerator(config).sample(0, range(_BATCH)), "coco_17", near)
    return made.images, made.projections, made.centers


def _inputs(loaded: LoadedNetwork) -> tuple[Port, ...]:
    roots = " and ".join(loaded.roots)
    return (
        Port(
            name="images",
            shape=("batch", "views", 3, "height", "width"),
            unit="0 to 255",
            meaning="Crops around the person, red, green, blue, free of lens distortion. Nothing else is to be done to "
            "them; how they were cut in training is under 'crops'.",
        ),
        Port(
            name="projections",
            shape=("batch", "views", 3, 4),
            frame=f"world, metres, z up, to {_PIXELS}",
            meaning="K [R | t] of each crop: K is that of the camera, moved and scaled as the crop is.",
        ),
        Port(
            name="centers",
            shape=("batch", 3),
            unit="metres",
            frame=_WORLD,
            meaning=f"Where the person is: about the mean of {roots}.",
        ),
    )


def _outputs(joints: int) -> tuple[Port, ...]:
    return (
        Port(
            name="joints",
            shape=("batch", joints, 3),
            unit="metres",
            frame=_WORLD,
            meaning="NaN where the views do not determine one; their names are under 'joints'.",
        ),
        Port(
            name="joint_covariance",
            shape=("batch", joints, 3, 3),
            unit="square metres",
            frame=_WORLD,
            meaning="Of the joints; NaN where they are.",
        ),
        Port(name="keypoints", shape=("batch", "views", joints, 2), unit="pixels", frame=_PIXELS),
        Port(name="weights", shape=("batch", "views", joints), meaning="What each view counted."),
    )


def _facts(loaded: LoadedNetwork) -> dict[str, Any]:
    told = asdict(loaded.image)
    return {
        "weights": loaded.source,
        "skeleton": loaded.skeleton.name,
        "joints": list(loaded.skeleton.joints),
        "images": {"type": "uint8", "channels": "red, green, blue", "normalisation": "within the file"},
        "crops": {name: told[name] for name in ("side", "box_scale", "inside", "half_pixels")},
    }
