"""What people look like: skin, hair, faces and clothes, painted on the surface of the body at rest.

Every point of the surface is known by where it is on the mean body at rest, arms stretched out. There a garment is a
few comparisons: a shirt is what is above its hem, below its collar, and inside of its sleeves. Borders are as sharp as
the picture, whatever the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.data.synthetic.patterns import Patterns, draw_patterns, paint
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows

LAYERS = ("skin", "bottom", "top", "socks", "shoes", "hair", "gloves")
"""What a point of the surface can be covered with; the later covers the earlier."""
SKIN, BOTTOM, TOP, SOCKS, SHOES, HAIR, GLOVES = range(len(LAYERS))
_GLOSS = (0.18, 0.05, 0.05, 0.03, 0.25, 0.3, 0.1)
"""Strength of the highlight of each layer."""
_SKIN_TONES = ((0.075, 0.032, 0.018), (0.23, 0.105, 0.055), (0.46, 0.26, 0.165), (0.72, 0.47, 0.36))
"""Linear colours from dark to light."""
_HAIR_TONES = ((0.008, 0.007, 0.007), (0.045, 0.022, 0.012), (0.2, 0.11, 0.045), (0.5, 0.34, 0.15), (0.4, 0.4, 0.4))
"""Linear: black, brown, dark blond, blond, grey."""


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """Where things are on the mean body at rest, metres: heights (y), distances from the middle (x), depth (z)."""

    ground: float
    ankle: float
    knee: float
    hip: float
    waist: float
    neck: float
    crown: float
    shoulder: float
    """Distance from the middle, as the next two."""
    elbow: float
    wrist: float
    head: tuple[float, float, float]
    """The middle of the head: height, depth, and radius from front to back."""

    @classmethod
    def of(cls, model: BodyModel) -> Landmarks:
        """Read them off the joints and the mesh of a body with the joints of SMPL."""
        places = dict(zip(model.tree.joints, model.joint_template.tolist(), strict=True))
        skull = model.template[model.template[:, 1] > places["head"][1] + 0.02]
        skull = skull[skull[:, 0].abs() < 0.15]
        crown = float(model.template[:, 1].max())
        front, back = float(skull[:, 2].max()), float(skull[:, 2].min())
        chin = places["head"][1]
        return cls(
            ground=float(model.template[:, 1].min()),
            ankle=places["left_ankle"][1],
            knee=places["left_knee"][1],
            hip=places["left_hip"][1],
            waist=places["spine1"][1],
            neck=places["neck"][1],
            crown=crown,
            shoulder=places["left_shoulder"][0],
            elbow=places["left_elbow"][0],
            wrist=places["left_wrist"][0],
            head=(0.5 * (chin + crown), 0.5 * (front + back), 0.5 * (front - back)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outfits(Rows):
    """What G people wear; float32, (G,) where nothing else is said."""

    hem: Tensor
    """Height on the body at rest of the lower end of the top, metres."""
    collar: Tensor
    neckline: Tensor
    """How much lower the collar is in front, metres."""
    sleeve: Tensor
    """Distance from the middle."""
    waist: Tensor
    leg: Tensor
    """Height of the lower end of the bottom."""
    sock: Tensor
    shoe: Tensor
    """Heights of the upper ends; below the ground for bare feet."""
    glove: Tensor
    """Distance from the middle from which on gloves are worn."""
    hairline: Tensor
    """(G, 3) Normal (y, z) and offset of the plane above which hair grows; nothing is above it on a bald head."""
    long_hair: Tensor
    """Height down to which hair falls behind the neck."""
    stand_off: Tensor
    """(G, layers) Metres between the body and each layer's surface."""
    flare: Tensor
    """(G, 2) Metres that the bottom and the top stand off more a metre further down."""
    skin: Tensor
    hair: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Wardrobe(Rows):
    """The clothes of G people."""

    outfits: Outfits
    patterns: Patterns
    """(G, layers) in the order of `LAYERS`."""


def draw_wardrobe(draws: Draws, marks: Landmarks) -> Wardrobe:
    """Dress G people: shirts to coats, shorts to trousers, shoes to bare feet, bald to long hair.

    Args:
        draws: of the people, (G,).
        marks: of the body that they all have.
    """
    draws = draws.within("outfit")
    patterns = draw_patterns(draws, "patterns", len(LAYERS), period=(0.02, 0.35), flat=False)
    outfits = Outfits(
        **_cuts(draws, marks),
        **_hair(draws, marks),
        stand_off=_stand_off(draws),
        flare=draws.uniform("flare", 2).pow(3) * 0.07,
        skin=_ramp(_SKIN_TONES, draws.uniform("skin")) * (1 + 0.06 * draws.normal("blush", 3)),
        hair=_ramp(_HAIR_TONES, draws.uniform("hair")) * (1 + 0.15 * draws.normal("dye", 3)),
    )
    return Wardrobe(outfits=outfits.float(), patterns=patterns)


def layer_of(rest: Tensor, outfits: Outfits, marks: Landmarks) -> Tensor:
    """The layer (M,) int64 that covers points (3, M) of bodies at rest dressed in outfits (M,) or (1,)."""
    x, (_, y, z) = rest[0].abs(), rest
    collar = outfits.collar - outfits.neckline * _front(x, z, marks)
    covered = (
        (y < outfits.waist) & (y > outfits.leg) & (x < marks.shoulder * 1.6),
        (y > outfits.hem) & (y < collar) & (x < outfits.sleeve),
        y < outfits.sock,
        y < outfits.shoe,
        _on_scalp(x, y, z, outfits, marks),
        x > outfits.glove,
    )
    layer = torch.zeros_like(y, dtype=torch.int64)
    for number, where in enumerate(covered, start=1):
        layer = torch.where(where, number, layer)
    return layer


def stand_off_of(rest: Tensor, layer: Tensor, outfits: Outfits, marks: Landmarks) -> Tensor:
    """Metres (M,) by which the surface of layers (M,) stands off bodies dressed in outfits (M,) at points (3, M)."""
    x, y, z = rest
    base = outfits.stand_off.gather(-1, layer[:, None])[:, 0]
    bottom = outfits.flare[:, 0] * (marks.waist - y).clamp_min(0) * (layer == BOTTOM)
    top = outfits.flare[:, 1] * (marks.neck - y).clamp_min(0) * (layer == TOP) * (x.abs() < marks.shoulder)
    folds = 1 + 0.35 * (19 * x + 11 * y + 40 * outfits.hem).sin() * (23 * z - 7 * y).cos()
    offset: Tensor = (base + bottom + top) * folds
    return offset


def albedo(
    rest: Tensor, layer: Tensor, owner: Tensor, *, wardrobe: Wardrobe, marks: Landmarks
) -> tuple[Tensor, Tensor]:
    """The linear colour (3, M) and the gloss (M,) of points of the surface.

    Args:
        rest: (3, M) of the bodies at rest, metres.
        layer: (M,) of `layer_of`.
        owner: (M,) int64, the person in 0..G-1.
        wardrobe: (G,) of all people.
        marks: of the mean body.
    """
    patterns = wardrobe.patterns.map(lambda tensor: tensor.flatten(0, 1))
    color = paint(rest, patterns, owner * len(LAYERS) + layer)
    looks = wardrobe.outfits.take(owner)
    skin, hair = looks.skin.mT, looks.hair.mT
    color = torch.where(layer == SKIN, _face(rest, skin, hair, marks), color)
    streaks = 1 + 0.25 * (260 * rest[0]).sin() * (31 * rest[1] + 170 * rest[2]).sin()
    color = torch.where(layer == HAIR, hair * streaks, color)
    gloss = torch.tensor(_GLOSS, device=rest.device)[layer]
    return color, gloss


def _cuts(draws: Draws, marks: Landmarks) -> dict[str, Tensor]:
    """Where garments begin and end."""

    def between(purpose: str, low: float, high: float) -> Tensor:
        return draws.uniform(purpose, low=low, high=high)

    def either(purpose: str, share: float, first: Tensor, second: Tensor) -> Tensor:
        return torch.where(draws.uniform(purpose) < share, first, second)

    leg = marks.hip - marks.ankle
    torso = marks.neck - marks.hip
    arm = marks.wrist - marks.shoulder
    long_leg = between("trousers", marks.ankle - 0.01 * leg, marks.ankle + 0.12 * leg)
    shorts = between("shorts", marks.knee - 0.05 * leg, marks.knee + 0.32 * leg)
    short_sleeve = between("short sleeve", marks.shoulder * 0.85, marks.shoulder + 0.5 * arm)
    long_sleeve = between("long sleeve", marks.shoulder + 0.8 * arm, marks.shoulder + 1.04 * arm)
    shirt = between("hem", marks.hip - 0.12 * leg, marks.hip + 0.35 * torso)
    coat = between("coat", marks.knee - 0.1 * leg, marks.hip - 0.1 * leg)
    nowhere = torch.full_like(shirt, marks.ground - 1)
    low_shoe = between("shoe", marks.ground + 0.06, marks.ground + 0.11)
    boot = between("boot", marks.ground + 0.15, marks.ground + 0.4)
    sock = between("sock", marks.ground + 0.1, marks.ground + 0.35)
    return {
        "hem": either("has coat", 0.12, coat, shirt),
        "collar": between("collar", marks.neck - 0.1 * torso, marks.neck + 0.07 * torso),
        "neckline": between("neckline", 0.0, 0.2 * torso),
        "sleeve": either("has long sleeves", 0.5, long_sleeve, short_sleeve),
        "waist": between("waist", marks.hip + 0.15 * torso, marks.hip + 0.4 * torso),
        "leg": either("has shorts", 0.35, shorts, long_leg),
        "sock": either("has socks", 0.6, sock, nowhere),
        "shoe": either("barefoot", 0.08, nowhere, either("has boots", 0.15, boot, low_shoe)),
        "glove": either("has gloves", 0.05, between("glove", marks.wrist - 0.03, marks.wrist + 0.03), nowhere + 20),
    }


def _hair(draws: Draws, marks: Landmarks) -> dict[str, Tensor]:
    """The plane above which hair grows, leaning back, and how far it falls behind the neck."""
    lean = draws.uniform("lean", low=0.35, high=0.95)
    middle, depth, radius = marks.head
    offset = draws.uniform("hairline", low=0.1, high=0.42) * radius
    offset = torch.where(draws.uniform("bald") < 0.1, 10.0, offset)
    length = draws.uniform("length", low=marks.neck - 0.18, high=middle)
    length = torch.where(draws.uniform("is long") < 0.35, length, 10.0)
    normal_y, normal_z = lean.cos(), -lean.sin()
    return {
        "hairline": torch.stack((normal_y, normal_z, offset + normal_y * middle + normal_z * depth), -1),
        "long_hair": length,
    }


def _stand_off(draws: Draws) -> Tensor:
    """(G, layers) metres."""
    low = torch.tensor((0.0, 0.003, 0.004, 0.002, 0.006, 0.006, 0.002), dtype=torch.float64)
    high = torch.tensor((0.0, 0.018, 0.028, 0.004, 0.014, 0.035, 0.005), dtype=torch.float64)
    share = draws.uniform("stand off", len(LAYERS)).square()
    return low.to(share) + share * (high - low).to(share)


def _front(x: Tensor, z: Tensor, marks: Landmarks) -> Tensor:
    """In 0..1, how much a point of the trunk is in the middle of the front."""
    return (1 - x / (0.6 * marks.shoulder)).clamp(0, 1) * (z > marks.head[1] - 0.5 * marks.head[2])


def _on_scalp(x: Tensor, y: Tensor, z: Tensor, outfits: Outfits, marks: Landmarks) -> Tensor:
    normal_y, normal_z, offset = outfits.hairline.unbind(-1)
    head = (y > marks.neck + 0.02) & (x < 1.2 * marks.head[2])
    scalp = head & (normal_y * y + normal_z * z > offset)
    behind = (z < marks.head[1] - 0.15 * marks.head[2]) & (y > outfits.long_hair) & (x < 0.9 * marks.head[2])
    return scalp | (behind & (offset < 5))


def _face(rest: Tensor, skin: Tensor, hair: Tensor, marks: Landmarks) -> Tensor:
    """Skin (3, M) with eyes, brows and a mouth where the head has them."""
    middle, depth, radius = marks.head
    x, y, z = rest[0].abs() / radius, (rest[1] - middle) / radius, (rest[2] - depth) / radius
    front = z > 0.3

    def spot(at: tuple[float, float], size: tuple[float, float]) -> Tensor:
        return front & (((x - at[0]) / size[0]).square() + ((y - at[1]) / size[1]).square() < 1)

    eye, iris = skin.new_tensor((0.7, 0.7, 0.7))[:, None], skin.new_tensor((0.03, 0.02, 0.015))[:, None]
    color = torch.where(spot((0.0, -0.62), (0.26, 0.07)), skin * skin.new_tensor((0.8, 0.45, 0.45))[:, None], skin)
    color = torch.where(spot((0.33, 0.16), (0.19, 0.04)), (0.5 * skin + 0.6) * hair, color)
    color = torch.where(spot((0.33, 0.0), (0.14, 0.075)), eye, color)
    return torch.where(spot((0.33, 0.0), (0.065, 0.075)), iris, color)


def _ramp(tones: tuple[tuple[float, float, float], ...], share: Tensor) -> Tensor:
    """Blend neighbouring colours of a ramp, (..., 3) for shares (...) in 0..1."""
    table = torch.tensor(tones, dtype=share.dtype, device=share.device)
    place = share * (len(tones) - 1)
    low = place.floor().long().clamp_max(len(tones) - 2)
    return table[low] + (place - low)[..., None] * (table[low + 1] - table[low])
