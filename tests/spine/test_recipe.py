"""Recipes: the shipped ones load, and one that can't be trained is refused with its field."""

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from spine.errors import MalformedFileError, UnknownNameError
from spine.recipe import Recipe, given_recipe, load_recipe

SHIPPED = sorted(Path(entry.name).stem for entry in resources.files("spine.recipes").iterdir() if ".yaml" in entry.name)


def changed(section: str | None, **fields: Any) -> dict[str, Any]:
    """The demonstration's recipe with some fields of a section changed."""
    content = load_recipe("demo").model_dump(mode="json")
    (content if section is None else content[section]).update(fields)
    return content


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_by_its_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert given_recipe(recipe.model_dump_json()) == given_recipe(name) == recipe


def test_the_recipes_that_the_documentation_names_are_shipped() -> None:
    assert SHIPPED == ["demo", "demo-longer", "quick", "reference", "spine", "whole-view"]


def test_the_two_recipes_of_the_demonstration_share_one_plan() -> None:
    first, second = load_recipe("demo"), load_recipe("demo-longer")
    assert first.plan.digest == second.plan.digest
    assert first.training.digest != second.training.digest


def test_only_the_reference_mirrors_an_axis_that_turns_labels_around() -> None:
    assert [name for name in SHIPPED if load_recipe(name).training.mirror_axes != ("left-right",)] == ["reference"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (changed("training", folds=[]), "training.folds"),
        (changed("training", folds=[5]), "training.folds.0"),
        (changed("training", folds=[0, -1]), "training.folds.1"),
        (changed("training", folds=[0, 1, 0]), "name a fold twice"),
        (changed("training", folds=[0, 1, 2, 3, 4, 0]), "training.folds"),
        (changed("training", folds=["all"]), "training.folds.0"),
        (changed("training", epochs=0), "training.epochs"),
        (changed("training", initial_learning_rate=float("nan")), "training.initial_learning_rate"),
        (changed("training", mirror_axes=["up-down"]), "training.mirror_axes.0"),
        (changed("training", epocs=3), "training.epocs: Extra inputs"),
        (changed("plan", patch=[24, 24, 44]), "divisible by 8"),
        (changed("plan", patch=[20, 24, 48]), "divisible by 8"),
        (changed("plan", patch=None), "needs a patch of its own"),
        (changed("plan", patch=[24, 24]), "plan.patch"),
        (changed("plan", spacing_mm=[1.5, 0, 1.5]), "plan.spacing_mm.1"),
        (changed("plan", configuration="4d"), "plan.configuration"),
        (changed("plan", planner="Mine"), "plan.planner"),
        (changed("prediction", tile_step=0), "prediction.tile_step"),
        (changed(None, name="Has Spaces"), "name: "),
        (changed(None, extra=1), "extra: Extra inputs"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_trained_is_refused(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(MalformedFileError, match=told):
        load_recipe(str(path))


@pytest.mark.parametrize("patch", [[24, 24, 48], [8, 8, 8], [32, 40, 64]])
def test_a_patch_that_the_network_can_halve_is_accepted(patch: list[int]) -> None:
    assert Recipe.parse(changed("plan", patch=patch), where="test").plan.patch == tuple(patch)


def test_an_unknown_recipe_lists_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'dmeo'; expected one of: demo, demo-longer, quick"):
        load_recipe("dmeo")
