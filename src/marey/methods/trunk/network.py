"""The trunk as a module of tensors alone, for export: pictures in, people and their keypoints out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from marey.core import skeleton
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import MARGIN, SIDE, shipped_trunk
from marey.detect.trunk_search import box_overlap, boxes_at, highest_centers, kept_apart
from marey.engine.networks import Network, Port
from marey.io.weights import load_weights, read_card
from marey.nn.trunk import KEYPOINTS, MULTIPLE, Trunk, TrunkConfig, TrunkMaps, read_keypoints

MOST_PEOPLE = 16
"""Boxes of a picture; places that nobody takes are NaN."""
LEAST_SCORE = 0.3
"""Of a centre, from which a box is kept."""
MOST_OVERLAP = 0.5
"""Intersection over union above which the box with the lower score is dropped."""
_LEAST_SIDE = 64
_PIXELS = "picture, x right and y down, pixel centres at integers"


class People(nn.Module):
    """What the trunk says of pictures, decoded."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Look at pictures (B, 3, H, W), uint8, red green blue.

        Returns:
            Of the person in the middle: keypoints (B, K, 2), covariance (B, K, 2, 2), seen (B, K). Of all that is
            shown: parts (B, P + 1, H / 4, W / 4), boxes (B, N, 4), their scores (B, N) and whether they are kept
            (B, N).
        """
        maps = self.trunk(images.float() / 255)
        found = read_keypoints(maps)
        return found.positions, found.covariance, found.seen.sigmoid(), maps.parts.softmax(1), *decoded_boxes(maps)


def decoded_boxes(maps: TrunkMaps) -> tuple[Tensor, Tensor, Tensor]:
    """A fixed number of boxes from centres that are higher than their neighbours, best first.

    Returns:
        Boxes (B, N, 4) left, top, right, bottom, NaN where not kept; scores (B, N), 0 where not kept; kept (B, N).
    """
    score, place = highest_centers(maps, MOST_PEOPLE)
    picture = torch.arange(place.shape[0], device=place.device)[:, None]
    boxes = boxes_at(maps, picture, place)
    kept = kept_apart(score > LEAST_SCORE, box_overlap(boxes, boxes) > MOST_OVERLAP)
    return torch.where(kept[..., None], boxes, torch.nan), torch.where(kept, score, 0.0), kept


def shipped(weights: Path | None = None) -> Network:
    """The trunk with the weights in a folder of `marey train trunk`; None: those that are shipped."""
    return network_of(shipped_trunk() if weights is None else _from_folder(weights), weights)


def network_of(trunk: Trunk, weights: Path | None = None, *, example: Tensor | None = None) -> Network:
    """A trunk with its ports.

    Args:
        trunk: The network.
        weights: Where its weights are from; None: from the package.
        example: Pictures; None: of synthetic people.
    """
    return Network(
        module=People(trunk),
        example=(_example() if example is None else example,),
        inputs=(
            Port(
                name="images",
                shape=("batch", 3, "height", "width"),
                unit="0 to 255",
                meaning="Pictures, red, green, blue. For keypoints a square around one person, who is in its middle "
                f"and whose longer side is 1/{MARGIN} of it; for boxes a whole picture, made so small that people "
                f"have 50 to {SIDE} pixels.",
            ),
        ),
        outputs=_outputs(trunk.config),
        least={"height": _LEAST_SIDE, "width": _LEAST_SIDE},
        multiples={"height": MULTIPLE, "width": MULTIPLE},
        facts={
            "weights": "those of the package" if weights is None else str(weights),
            "skeleton": KEYPOINTS,
            "keypoints": list(skeleton(KEYPOINTS).joints),
            "images": {"type": "uint8", "channels": "red, green, blue", "normalisation": "within the file"},
            "crops": {"side": [SIDE, SIDE], "box_scale": MARGIN},
            "boxes": {"least_score": LEAST_SCORE, "most_overlap": MOST_OVERLAP},
            "network": asdict(trunk.config),
        },
    )


def _example() -> Tensor:
    config = SyntheticConfig(tier="easy", image_size=(SIDE, SIDE), skeletons=("coco_17",))
    return SyntheticGenerator(config).sample(0, range(2)).images[:, 0]


def _outputs(config: TrunkConfig) -> tuple[Port, ...]:
    joints, boxes = ("batch", config.keypoints), ("batch", MOST_PEOPLE)
    return (
        Port(
            name="keypoints",
            shape=(*joints, 2),
            unit="pixels",
            frame=_PIXELS,
            meaning="Of the person in the middle; their names are under 'keypoints'.",
        ),
        Port(name="keypoint_covariance", shape=(*joints, 2, 2), unit="square pixels", frame=_PIXELS),
        Port(name="seen", shape=joints, meaning="Probability that the keypoint is visible, not covered by anything."),
        Port(
            name="parts",
            shape=("batch", config.parts + 1, "height/4", "width/4"),
            meaning="Probabilities of the part of the body at every fourth pixel, in the order of the joints of SMPL; "
            "the last one: no person.",
        ),
        Port(
            name="boxes",
            shape=(*boxes, 4),
            unit="pixels",
            frame=_PIXELS,
            meaning="Left, top, right, bottom of people, best first; NaN where not kept.",
        ),
        Port(name="box_score", shape=boxes, meaning="0 to 1; 0 where not kept."),
        Port(name="box_kept", shape=boxes, meaning="Whether there is a person in this place of the list."),
    )


def _from_folder(folder: Path) -> Trunk:
    trunk = Trunk(TrunkConfig(**read_card(folder)["network"]))
    load_weights(trunk, folder)
    return trunk.eval().requires_grad_(False)
