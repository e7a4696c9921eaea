"""The table of recipes: what `marey train` can train, and how a TOML file or the command line changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from marey.core import InputError, TrainingTask
from marey.engine.settings import TrainingSettings
from marey.io.settings_toml import assigned, changed, plain_settings, read_toml

RECIPES: dict[str, dict[str, str]] = {
    "lifting": {
        "default": "marey.methods.lifting.recipe:default",
        "small": "marey.methods.lifting.recipe:small",
    },
    "metrabs": {
        "default": "marey.methods.metrabs.recipe:metrabs_muco",
        "metro-h36m": "marey.methods.metrabs.recipe:metro_h36m",
        "25d-h36m": "marey.methods.metrabs.recipe:depth_h36m",
        "metro-3dhp": "marey.methods.metrabs.recipe:metro_3dhp",
        "metro-3dhp-universal": "marey.methods.metrabs.recipe:metro_3dhp_universal",
        "metrabs-muco": "marey.methods.metrabs.recipe:metrabs_muco",
        "metrabs-later": "marey.methods.metrabs.recipe:metrabs_later",
        "trunk-metrabs": "marey.methods.metrabs.trunk_recipe:trunk_metrabs",
        "trunk-metro": "marey.methods.metrabs.recipe:metro_trunk",
        "trunk-25d": "marey.methods.metrabs.recipe:depth_trunk",
        "small": "marey.methods.metrabs.recipe:small",
    },
    "triangulation": {
        "default": "marey.methods.triangulation.recipe:volumetric_softmax",
        "algebraic": "marey.methods.triangulation.recipe:algebraic",
        "algebraic-no-confidence": "marey.methods.triangulation.recipe:algebraic_no_confidence",
        "volumetric-softmax": "marey.methods.triangulation.recipe:volumetric_softmax",
        "volumetric-sum": "marey.methods.triangulation.recipe:volumetric_sum",
        "volumetric-max": "marey.methods.triangulation.recipe:volumetric_max",
        "volumetric-conf": "marey.methods.triangulation.recipe:volumetric_conf",
        "volumetric-conf-norm": "marey.methods.triangulation.recipe:volumetric_conf_norm",
        "trunk-algebraic": "marey.methods.triangulation.trunk_recipe:algebraic",
        "trunk-lifter": "marey.methods.triangulation.lifter_recipe:image_lifter",
        "trunk-volumetric": "marey.methods.triangulation.trunk_recipe:volumetric",
        "cmu-algebraic": "marey.methods.triangulation.recipe:cmu_algebraic",
        "cmu-volumetric-softmax": "marey.methods.triangulation.recipe:cmu_volumetric_softmax",
        "cmu-volumetric-sum": "marey.methods.triangulation.recipe:cmu_volumetric_sum",
        "cmu-volumetric-max": "marey.methods.triangulation.recipe:cmu_volumetric_max",
        "cmu-volumetric-conf": "marey.methods.triangulation.recipe:cmu_volumetric_conf",
        "cmu-volumetric-conf-norm": "marey.methods.triangulation.recipe:cmu_volumetric_conf_norm",
    },
    "trunk": {
        "default": "marey.methods.trunk.recipe:default",
        "small": "marey.methods.trunk.recipe:small",
    },
}
"""Method -> recipe -> ``module:factory``; called without arguments, the factory gives the recipe."""

READERS = {"triangulation": "marey.methods.triangulation.yaml_recipe:read_yaml_recipe"}
"""Method -> ``module:function`` that reads a YAML file of the program which the method is from: it gives the name of
the recipe that the file is a variant of, and the recipe."""

DEFAULT = "default"


class Recipe(Protocol):
    """A frozen dataclass that says what is trained: fields of its own, and how."""

    @property
    def training(self) -> TrainingSettings:
        """How it is trained."""
        ...

    def task(self, data: Path | None) -> TrainingTask:
        """Make the model, untrained, and its data from a folder; None: data that need none."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenRecipe:
    """A recipe, and where it comes from."""

    method: str
    """Its name in the table, or ``module:factory``."""
    name: str
    """In the table."""
    recipe: Any
    """See `Recipe`."""

    def values(self) -> dict[str, Any]:
        """Plain values that say what is trained, but for how: what checkpoints and cards keep."""
        own = {name: value for name, value in plain_settings(self.recipe).items() if name != "training"}
        return {"method": self.method, "recipe": self.name, **own}


def choose_recipe(method: str, recipe: str = DEFAULT, *, changes: Sequence[str] = ()) -> ChosenRecipe:
    """Find a recipe and change some of its fields.

    Args:
        method: A name of `RECIPES`, or ``module:factory`` of your own.
        recipe: One of the method's recipes, or a TOML file: fields with values, tables for nested ones
            (`[training]`), and `recipe`, the one that it changes, `default` if it does not say. What a run writes,
            recipe.toml, is one. Or a YAML file of the program that the method is from (`READERS`).
        changes: `field=value` with dotted names, such as `training.steps=500`; they come after the file.

    Raises:
        InputError: no such method, recipe, file or field, or a value that does not fit.
        FormatError: the file is not TOML, or not YAML.
    """
    values: dict[str, Any] = {}
    if recipe.endswith(".toml"):
        values = read_toml(recipe)
        stated = values.pop("method", method)
        if stated != method:
            raise InputError(f"{recipe}: a recipe of the method '{stated}', not of '{method}'")
        where, recipe = recipe, values.pop("recipe", DEFAULT)
    if recipe.endswith((".yaml", ".yml")):
        recipe, made = _read_foreign(method, recipe)
    else:
        made = _made(method, recipe)
    if values:
        made = changed(made, values, where=where)
    for change in changes:
        made = changed(made, assigned(change), where=f"--set {change}")
    return ChosenRecipe(method=method, name=recipe, recipe=made)


def _read_foreign(method: str, path: str) -> tuple[str, Any]:
    """Name and recipe of a file of another program."""
    if method not in READERS:
        raise InputError(f"{path}: recipes of {method} are TOML files; YAML is read for: {', '.join(READERS)}")
    module, _, attribute = READERS[method].partition(":")
    name, made = getattr(import_module(module), attribute)(path)
    return name, made


def _made(method: str, recipe: str) -> Any:
    """The recipe as its factory gives it."""
    if ":" in method:
        target = method
        if recipe != DEFAULT:
            raise InputError(f"recipe: {method} is a recipe itself; expected a TOML file or nothing, got '{recipe}'")
    else:
        target = _named(_named(RECIPES, method, "method to train"), recipe, f"recipe of {method}")
    module, _, attribute = target.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if ":" not in method:
            raise
        raise InputError(f"method: cannot import '{target}': {error}; is its folder on PYTHONPATH?") from error
    made = factory()
    if not dataclasses.is_dataclass(made) or not isinstance(getattr(made, "training", None), TrainingSettings):
        raise InputError(
            f"{target}: expected a dataclass with a field 'training' of TrainingSettings, got {made!r:.60}"
        )
    return made


def _named(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=1)
    guess = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(table)}"
    raise InputError(f"no {what} '{name}'; {guess}")
