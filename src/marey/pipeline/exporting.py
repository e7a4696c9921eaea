"""The table of what can be exported, and the export of a method by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from marey.core import InputError
from marey.engine.export import Export, ExportOptions, export
from marey.engine.networks import Network

NETWORKS: Mapping[str, Mapping[str, str]] = {
    "classical": {
        "lens": "marey.methods.classical.network:with_lens",
        "pinhole": "marey.methods.classical.network:pinhole",
    },
    "lifting": {"shipped": "marey.methods.lifting.network:shipped"},
    "algebraic": {"default": "marey.methods.triangulation.exported:algebraic"},
    "volumetric": {"default": "marey.methods.triangulation.exported:volumetric"},
    "metrabs": {
        "people": "marey.methods.metrabs.exported:people",
        "boxes": "marey.methods.metrabs.exported:boxes",
        "crops": "marey.methods.metrabs.exported:crops",
    },
    "trunk": {"default": "marey.methods.trunk.network:shipped"},
}
"""Method -> recipe -> ``module:factory``, which returns a `Network`; the first recipe is the default."""

WITH_WEIGHTS = ("algebraic", "volumetric", "metrabs", "trunk")
"""Methods whose factories take the path of weights, None for those that are shipped."""

_OPTIONS = ExportOptions()


def network_of(
    method: str, recipe: str | None = None, *, weights: str | os.PathLike[str] | None = None
) -> tuple[Network, str]:
    """What a method exports, and the name of the recipe.

    Args:
        method: of `NETWORKS`.
        recipe: which network of the method; None: its first.
        weights: an official checkpoint or a folder of `marey train`, for the methods `WITH_WEIGHTS`; None: what is
            shipped.

    Raises:
        InputError: there is no such method or recipe, or it takes no weights.
        MissingAssetError, FormatError: the weights are missing or damaged.
    """
    if method not in NETWORKS:
        raise InputError(f"method: expected one that exports, {', '.join(NETWORKS)}, got '{method}'")
    recipes = NETWORKS[method]
    chosen = next(iter(recipes)) if recipe is None else recipe
    if chosen not in recipes:
        raise InputError(f"recipe: '{method}' has {', '.join(recipes)}, got '{chosen}'")
    module, _, factory = recipes[chosen].partition(":")
    make = getattr(import_module(module), factory)
    if method not in WITH_WEIGHTS:
        if weights is not None:
            raise InputError(f"weights: '{method}' takes none; {', '.join(WITH_WEIGHTS)} do")
        return make(), chosen
    return make(None if weights is None else Path(weights)), chosen


def export_method(
    method: str,
    path: str | os.PathLike[str],
    *,
    recipe: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    options: ExportOptions = _OPTIONS,
) -> Export:
    """Export a method's network; see `marey.engine.export`, whose errors this raises too.

    Args:
        method: of `NETWORKS`.
        path: the file; its card is `<path>.json`.
        recipe: as `network_of`.
        weights: as `network_of`.
        options: format, version, tolerance.

    Raises:
        InputError: there is no such method or recipe, or the export fails.
        MissingAssetError, FormatError: the weights are missing or damaged.
    """
    network, chosen = network_of(method, recipe, weights=weights)
    origin = {"method": method, "recipe": chosen, **options.origin}
    return export(network, path, options=replace(options, origin=origin))
