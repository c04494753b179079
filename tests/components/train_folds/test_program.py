"""What a candidate is keyed by, and what training refuses before it begins."""

from pathlib import Path

import pytest

from components.train_folds.program import Candidate, parse_folds, train_folds
from spine.errors import InvalidValueError
from spine.recipe import load_recipe
from spine.records import Plan


@pytest.fixture
def plan():
    return Plan(
        dataset="sha256:d", dataset_folder="datasets/d/data", recipe="sha256:r", plans_digest="sha256:p",
        configuration="3d_fullres", folder="plans/p",
    )  # fmt: skip


@pytest.fixture
def recipe():
    return load_recipe("demo").training


def folder(plan, recipe, start_from=None):
    return Candidate(root=Path("/root"), plan=plan, recipe=recipe, start_from=start_from).folder


def test_which_folds_are_asked_for_does_not_change_the_candidate(plan, recipe):
    assert folder(plan, recipe) == folder(plan, recipe.model_copy(update={"folds": (0, 1, 2)}))


@pytest.mark.parametrize("change", [{"epochs": 26}, {"seed": 2}, {"mirror_axes": ()}, {"initial_learning_rate": 0.1}])
def test_anything_else_in_the_recipe_makes_another_candidate(plan, recipe, change):
    assert folder(plan, recipe) != folder(plan, recipe.model_copy(update=change))


def test_starting_weights_make_another_candidate(plan, recipe, make_bundle, tmp_path):
    assert folder(plan, recipe) != folder(plan, recipe, make_bundle(tmp_path / "bundle", seed=1))


def test_a_version_of_another_plan_is_refused_for_it_may_have_seen_the_test_cases(plan, recipe, make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", seed=1)
    with pytest.raises(InvalidValueError, match="plan of the version to start from"):
        train_folds(root=tmp_path, plan=plan, recipe=recipe, folds=[0], start_from=bundle)


@pytest.mark.parametrize("text", ["", "0", "[]", "[5]", "[-1]", '["0"]', "[0, 9]", "[0", "[0.5]", "[true]", "[0, 0]"])
def test_folds_that_are_no_folds_are_refused(text):
    with pytest.raises(InvalidValueError, match="expected a JSON list of folds 0-4"):
        parse_folds(text)


def test_folds_are_parsed():
    assert parse_folds("[0, 3]") == [0, 3]
