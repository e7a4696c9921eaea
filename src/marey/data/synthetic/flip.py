"""Mirror images of synthetic captures, in which left is left again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.smpl_tree import SMPL_MIRROR, mirrored_pose
from marey.core import Cameras, InputError, skeleton
from marey.data.synthetic.labels import PeopleLabels, PixelLabels, SyntheticBatch, ViewLabels

_ROWS = 1024
"""Vertices whose counterparts are looked for at once."""
_SYMMETRIC = 0.005
"""Metres by which a vertex may be off the mirror image of its counterpart."""


def mirror_vertices(model: BodyModel) -> Tensor:
    """The vertex (N,) on the other side of each vertex of a body at rest.

    Raises:
        InputError: the body is not symmetric.
    """
    mirrored = model.template * _plane(model.template)
    nearest = [torch.cdist(rows, model.template).min(1) for rows in torch.split(mirrored, _ROWS)]
    distance, found = torch.cat([pair.values for pair in nearest]), torch.cat([pair.indices for pair in nearest])
    if distance.max() > _SYMMETRIC or not torch.equal(found[found], torch.arange(len(found), device=found.device)):
        raise InputError(
            f"body {model.name}: expected a symmetric mesh, got vertices {1e3 * float(distance.max()):.1f} mm from the "
            "mirror image of any other; flip the pictures only"
        )
    return found


def flipped(batch: SyntheticBatch, mirror: Tensor) -> SyntheticBatch:
    """Exchange left and right in pictures, and in the world, so that all labels are right again.

    The world is mirrored in x, every camera in its own x. A left hand becomes a right hand: joints, parts and vertices
    change places. Flipping twice gives what was there.

    Args:
        batch: of a body with the joints of SMPL and a symmetric mesh.
        mirror: (N,) of `mirror_vertices`.
    """
    width = batch.images.shape[-1]
    return replace(
        batch,
        images=batch.images.flip(-1),
        cameras=_cameras(batch.cameras, width),
        people=_people(batch.people, mirror),
        views=_views(batch.views, width),
        pixels=_pixels(batch.pixels),
        skeletons={
            name: (joints * _plane(joints))[..., skeleton(name).mirror, :] for name, joints in batch.skeletons.items()
        },
        skeletons_2d={
            name: _across(joints, width)[..., skeleton(name).mirror, :] for name, joints in batch.skeletons_2d.items()
        },
    )


def _plane(like: Tensor) -> Tensor:
    return like.new_tensor((-1.0, 1.0, 1.0))


def _across(pixels: Tensor, width: int) -> Tensor:
    """Pixels (..., 2) in the mirror image."""
    return torch.stack((width - 1 - pixels[..., 0], pixels[..., 1]), -1)


def _cameras(cameras: Cameras, width: int) -> Cameras:
    """Cameras that see the mirrored world as these see the world, with the pictures flipped."""
    rotation, translation = cameras.extrinsics
    plane = _plane(rotation)
    intrinsics = cameras.intrinsics.clone()
    intrinsics[..., 0, 1] = -intrinsics[..., 0, 1]
    intrinsics[..., 0, 2] = width - 1 - intrinsics[..., 0, 2]
    distortion = cameras.distortion.clone()
    # the second tangential coefficient pushes sideways; a fisheye has none
    straight = torch.ones_like(distortion[..., 3]) if cameras.fisheye is None else (~cameras.fisheye).to(distortion)
    distortion[..., 3] = torch.where(straight > 0, -distortion[..., 3], distortion[..., 3])
    return replace(
        cameras,
        intrinsics=intrinsics,
        distortion=distortion,
        rotation=rotation * (plane[:, None] * plane),
        translation=translation * plane,
    )


def _people(people: PeopleLabels, mirror: Tensor) -> PeopleLabels:
    plane = _plane(people.joints)
    body = replace(
        people.body,
        orientation=people.body.orientation * (plane[:, None] * plane),
        pose=mirrored_pose(people.body.pose),
        translation=people.body.translation * plane,
    )
    return replace(
        people,
        body=body,
        joints=(people.joints * plane)[..., SMPL_MIRROR, :],
        vertices=(people.vertices * plane)[..., mirror, :],
        surface=(people.surface * plane)[..., mirror, :],
    )


def _views(views: ViewLabels, width: int) -> ViewLabels:
    left, top, right, bottom = views.box.unbind(-1)
    return replace(
        views,
        joints=_across(views.joints, width)[..., SMPL_MIRROR, :],
        depth=views.depth[..., SMPL_MIRROR],
        visible=views.visible[..., SMPL_MIRROR],
        box=torch.stack((width - 1 - right, top, width - 1 - left, bottom), -1),
    )


def _pixels(pixels: PixelLabels) -> PixelLabels:
    turned = pixels.map(lambda tensor: tensor.flip(-1))
    parts = torch.tensor((*SMPL_MIRROR, -1), dtype=turned.part.dtype, device=turned.part.device)
    return replace(turned, part=parts[turned.part.long()])
