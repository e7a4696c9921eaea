"""Pictures on surfaces."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core.errors import ShapeError
from marey.render.fragments import Hits

_CHANNELS = 16


def sample_texture(hits: Hits, texture: Tensor, uv: Tensor, *, align_corners: bool = False) -> Tensor:
    """Look up a texture at the hits, bilinearly; coordinates beyond its border take the border's colour.

    Args:
        hits: the pixels, M of them.
        texture: (rows, columns, C), shared by the pictures, or (..., rows, columns, C), one for each.
        uv: (M, 2), as `hits.interpolate(model.uv, model.uv_faces)` gives them: u to the right, v up, from 0 to 1.
        align_corners: 0 and 1 are the centres of the outermost texels, as in PyTorch3D, not their outer edges.

    Returns:
        (M, C), differentiable in the texture and in the coordinates.

    Raises:
        ShapeError: the texture is no such picture of real numbers, or the coordinates are not (M, 2).
    """
    if uv.shape != (len(hits), 2):
        raise ShapeError(f"uv: expected ({len(hits)}, 2), one row a hit, got {tuple(uv.shape)}")
    _check_texture(texture, hits)
    flat = hits.of_views(texture, 3)
    rows, columns, channels = flat.shape[1:]
    last = uv.new_tensor((columns - 1, rows - 1))
    across = torch.stack((uv[:, 0], 1 - uv[:, 1]), -1)  # v points up, rows go down
    place = across * last if align_corners else across * (last + 1) - 0.5
    place = torch.minimum(place.clamp(min=0), last)
    low = torch.minimum(place.detach().floor(), (last - 1).clamp(min=0))
    share = (place - low).to(texture.dtype)
    column, row = low.to(torch.int64).unbind(-1)
    right, below = min(1, columns - 1), min(1, rows - 1) * columns
    first = row * columns + column
    if len(flat) > 1:
        first = first + hits.view * (rows * columns)
    texels = flat.reshape(-1, channels)
    corner = torch.stack((first, first + right, first + below, first + below + right))
    a, b, c, d = texels.index_select(0, corner.view(-1)).view(4, -1, channels)
    x, y = share[:, :1], share[:, 1:]
    above, beneath = torch.lerp(a, b, x), torch.lerp(c, d, x)
    return torch.lerp(above, beneath, y)


def _check_texture(texture: Tensor, hits: Hits) -> None:
    if texture.ndim < 3 or not texture.is_floating_point() or min(texture.shape[-3:]) < 1:
        raise ShapeError(
            "texture: expected (..., rows, columns, channels) of floating-point numbers in 0..1, "
            f"got {tuple(texture.shape)} {texture.dtype}; divide 8-bit pictures by 255"
        )
    if texture.shape[-1] > _CHANNELS:
        raise ShapeError(
            f"texture: expected at most {_CHANNELS} channels in the last dimension, got {tuple(texture.shape)}; "
            "move the channels there with movedim(-3, -1)"
        )
    batch = hits.shape[:-2]
    if texture.ndim > 3 and tuple(texture.shape[:-3]) not in (batch, (1,) * (texture.ndim - 3)):
        raise ShapeError(
            f"texture: expected one for all pictures, (rows, columns, C), or one for each of the {batch}, "
            f"got {tuple(texture.shape)}"
        )
