"""The options of ``spineline run`` that train again what a run trained, read from the run's arguments."""

from collections.abc import Mapping
from typing import Any

from model_registry.policy import given_policy, load_policy
from spine.errors import SpinelineError
from spine.recipe import Recipe, given_recipe, load_recipe


def restart_options(run: Any) -> list[str]:
    """Return the options that start the same training; empty for a run of another pipeline.

    A recipe or policy that is not one of Spineline's own is named as a file: NAME.yaml.
    """
    given: Mapping[str, Any] = (run.runtime_config.parameters if run.runtime_config else None) or {}
    if not {"revision", "recipe"} <= set(given):
        return []
    options = ["--dataset", str(given["revision"]), *_recipe_options(str(given["recipe"]))]
    if policy := given.get("policy"):
        options += ["--policy", _policy_name(str(policy))]
    if repository := given.get("repository"):
        options += ["--repository", str(repository)]
    if version := int(given.get("start_from") or 0):
        options += ["--start-from", str(version)]
    return options


def _recipe_options(text: str) -> list[str]:
    if not _is_json(text):
        return ["--recipe", text]
    recipe = given_recipe(text)
    try:
        known = load_recipe(recipe.name)
    except SpinelineError:
        return ["--recipe", f"{recipe.name}.yaml"]
    folds, seed = recipe.training.folds, recipe.training.seed
    name = recipe.name if _trained_as(known, recipe) == recipe else f"{recipe.name}.yaml"
    options = ["--recipe", name]
    if folds != known.training.folds:
        options += ["--folds", ",".join(str(fold) for fold in folds)]
    if seed != known.training.seed:
        options += ["--seed", str(seed)]
    return options


def _trained_as(known: Recipe, other: Recipe) -> Recipe:
    """Return a recipe with the folds and the seed of another: both are options of the command."""
    chosen = {"folds": other.training.folds, "seed": other.training.seed}
    return known.model_copy(update={"training": known.training.model_copy(update=chosen)})


def _policy_name(text: str) -> str:
    if not _is_json(text):
        return text
    policy = given_policy(text)
    try:
        return policy.name if load_policy(policy.name) == policy else f"{policy.name}.yaml"
    except SpinelineError:
        return f"{policy.name}.yaml"


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")
