"""The table of what can be exported, and the export of a method by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from marey.core import InputError
from marey.engine.export import Export, ExportOptions, export
from marey.engine.networks import Network

NETWORKS: Mapping[str, Mapping[str, str]] = {
    "classical": {
        "lens": "marey.methods.classical.network:with_lens",
        "pinhole": "marey.methods.classical.network:pinhole",
    },
    "lifting": {"shipped": "marey.methods.lifting.network:shipped"},
}
"""Method -> recipe -> ``module:factory``, which takes nothing and returns a `Network`; the first recipe
is the default."""

_OPTIONS = ExportOptions()


def network_of(method: str, recipe: str | None = None) -> tuple[Network, str]:
    """What a method exports, and the name of the recipe.

    Raises:
        InputError: there is no such method or recipe.
    """
    if method not in NETWORKS:
        raise InputError(f"method: expected one that exports, {', '.join(NETWORKS)}, got '{method}'")
    recipes = NETWORKS[method]
    chosen = next(iter(recipes)) if recipe is None else recipe
    if chosen not in recipes:
        raise InputError(f"recipe: '{method}' has {', '.join(recipes)}, got '{chosen}'")
    module, _, factory = recipes[chosen].partition(":")
    network: Network = getattr(import_module(module), factory)()
    return network, chosen


def export_method(
    method: str, path: str | os.PathLike[str], *, recipe: str | None = None, options: ExportOptions = _OPTIONS
) -> Export:
    """Export a method's network; see `marey.engine.export`, whose errors this raises too.

    Args:
        method: of `NETWORKS`.
        path: the file; its card is `<path>.json`.
        recipe: which network of the method; None: its first.
        options: format, version, tolerance.

    Raises:
        InputError: there is no such method or recipe, or the export fails.
    """
    network, chosen = network_of(method, recipe)
    origin = {"method": method, "recipe": chosen, **options.origin}
    return export(network, path, options=replace(options, origin=origin))
