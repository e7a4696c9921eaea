"""What published networks do to an image before they look at it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marey.core.errors import ShapeError

Numbers = tuple[float, float, float]
"""Of red, green and blue."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the pictures of ImageNet, what residual networks of version 1.5 were trained with."""
SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""From 0..1 to -1..1."""


class ImageInput(nn.Module):
    """Checks images and scales them; has no weights and no names in state dictionaries.

    Args:
        scaling: mean and deviation of red, green and blue, taken off and divided by.
        multiple: what the sides of images are multiples of, pixels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, scaling: tuple[Numbers, Numbers], *, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple
        for name, numbers in zip(("mean", "deviation"), scaling, strict=True):
            # one number for all three is many times faster to compute with than three that are alike
            tensor = torch.tensor(numbers[0]) if len(set(numbers)) == 1 else torch.tensor(numbers)[:, None, None]
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Scale images.

        Args:
            images: (B, 3, H, W) red, green, blue in 0..1.

        Raises:
            ShapeError: the images have another shape.
        """
        sides = images.shape[-2:]
        if images.ndim != 4 or images.shape[1] != 3 or any(side % self.multiple for side in sides):
            wanted = f"(B, 3, H, W), sides multiples of {self.multiple}"
            raise ShapeError(f"images: expected {wanted}, got {tuple(images.shape)}")
        return (images - self.mean) / self.deviation
