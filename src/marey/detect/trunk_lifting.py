"""The lifter that looks at the picture, with the weights that are shipped."""

from __future__ import annotations

from functools import cache
from importlib import resources

from marey.io.settings_toml import changed
from marey.io.weights import load_weights, read_card
from marey.nn.image_lifter import ImageLifter, ImageLifterConfig

WEIGHTS = resources.files("marey.detect") / "assets" / "image_lifter"
"""What is shipped; its card says how it was trained and what it is worth."""


@cache
def shipped_image_lifter() -> ImageLifter:
    """The network with the weights that are shipped, in single precision on the CPU; the same object for every call.

    Raises:
        MissingAssetError, FormatError: the files in the package are missing or damaged.
    """
    settings = changed(ImageLifterConfig(), read_card(WEIGHTS)["network"], where=str(WEIGHTS))
    lifter = ImageLifter(settings)
    load_weights(lifter, WEIGHTS)
    return lifter.eval().requires_grad_(False)
