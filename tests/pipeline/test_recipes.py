"""The table of recipes, and recipes changed by a file and by words."""

from importlib import import_module

import pytest

from engine.small_task import SmallRecipe, settings
from house.source import ROOT
from marey.core import FormatError, InputError
from marey.engine.optimisers import make_optimiser
from marey.engine.schedules import Cosine
from marey.io.settings_toml import toml_text
from marey.pipeline.recipes import RECIPES, choose_recipe

SMALL = "engine.small_task:SmallRecipe"


@pytest.mark.parametrize("place", [(method, name) for method, recipes in RECIPES.items() for name in recipes])
def test_recipes__of_the_table_can_be_made_and_written(place):
    method, name = place
    chosen = choose_recipe(method, name)
    text = toml_text({**chosen.values(), "training": {"steps": 3}})
    assert f'method = "{method}"\nrecipe = "{name}"' in text
    assert callable(chosen.recipe.task)


def test_recipes__every_method_has_a_default():
    assert all("default" in recipes for recipes in RECIPES.values())


def test_choose_recipe__file_then_words(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        width = 8
        dropout = 0
        [training]
        steps = 30
        schedule = {kind = "cosine", final = 0.1}
        [training.optimiser]
        learning_rate = 1e-3
        """
    )
    words = ("training.steps=40", "training.optimiser.weight_decay=0.5", "batch=4")
    chosen = choose_recipe(SMALL, str(path), changes=words)
    assert (chosen.method, chosen.name) == (SMALL, "default")
    recipe = chosen.recipe
    assert (recipe.width, recipe.dropout, recipe.batch) == (8, 0.0, 4)
    assert recipe.training.steps == 40
    assert recipe.training.schedule == Cosine(final=0.1)
    assert recipe.training.optimiser.learning_rate == 1e-3
    assert recipe.training.optimiser.weight_decay == 0.5
    assert recipe.training.seed == settings().seed
    values = chosen.values()
    assert values.items() >= {"method": SMALL, "recipe": "default", "width": 8, "batch": 4, "dropout": 0.0}.items()
    assert "training" not in values


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('method = "lifting"', InputError, "a recipe of the method 'lifting', not of 'engine.small_task:SmallRecipe'"),
        ('recipe = "large"', InputError, "is a recipe itself"),
        ("with = 8", InputError, r"mine\.toml: unknown setting 'with'; did you mean 'width'"),
        ("[training]\nstep = 8", InputError, r"mine\.toml: training: unknown setting 'step'; did you mean 'steps'"),
        ("width = ", FormatError, r"mine\.toml: not a TOML file"),
    ],
)
def test_choose_recipe__a_file_that_does_not_fit(tmp_path, text, error, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(error, match=message):
        choose_recipe(SMALL, str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("method", "recipe", "changes", "message"),
    [
        ("lifter", "default", (), "no method to train 'lifter'; did you mean 'lifting'"),
        ("lifting", "defautl", (), "no recipe of lifting 'defautl'; did you mean 'default'"),
        ("no_such_module:Recipe", "default", (), "cannot import 'no_such_module:Recipe'.*PYTHONPATH"),
        ("engine.small_task:Absent", "default", (), "cannot import 'engine.small_task:Absent'"),
        (
            "engine.small_task:settings",
            "default",
            (),
            "a dataclass with a field 'training' of TrainingSettings",
        ),
        (SMALL, "default", ("width",), "expected FIELD=VALUE"),
        (SMALL, "default", ("width=x",), "--set width=x: width: expected int, got 'x'"),
        (SMALL, "default", ("training.steps=0",), "steps: expected 1 or more, got 0"),
    ],
)
def test_choose_recipe__says_what_is_wrong(method, recipe, changes, message):
    with pytest.raises(InputError, match=message):
        choose_recipe(method, recipe, changes=changes)


def test_choose_recipe__the_file_of_the_documentation(tmp_path):
    page = (ROOT / "docs" / "howto" / "train.md").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    recipe = choose_recipe("lifting", str(tmp_path / "mine.toml")).recipe
    assert recipe.training.best == "mpjpe_mm"
    make_optimiser(recipe.task(None).model, recipe.training.optimiser)


def test_recipe__is_what_the_protocol_asks_for():
    recipe = SmallRecipe()
    assert recipe.training == settings()
    assert import_module("engine.small_task").SmallTask is type(recipe.task(None))
