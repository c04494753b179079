"""What the first step of a run refuses before it pulls, and the names that it takes."""

import pytest

from components.pull_dataset.main import step
from spine.errors import SpinelineError
from spine.records import DatasetRevision

RECIPE, POLICY = '{"name": "mine"}', '{"name": "mine", "separate": 1}'
WRONG = {
    "no repository": ({"repository": " "}, "repository is ' '; expected the URL of the git repository"),
    "a password": ({"repository": "https://ann:s3cret@git.example.org/d.git"}, "credential helper"),
    "a password of the remote": ({"remote": "https://ann:s3cret@dvc.example.org/d"}, "credential helper"),
    "an unknown recipe": ({"recipe": "spin"}, "unknown recipe 'spin'; expected one of: demo, demo-longer, quick"),
    "no recipe": ({"recipe": ""}, "unknown recipe ''"),
    "a file that the pod lacks": ({"recipe": "mine.yaml"}, "mine.yaml"),
    "a recipe's document without its parts": ({"recipe": RECIPE}, "recipe: about: Field required"),
    "a recipe's document that breaks off": ({"recipe": RECIPE[:-1]}, "recipe: not JSON"),
    "an unknown policy": ({"policy": "strict"}, "unknown policy 'strict'; expected one of: demo, research"),
    "a policy's document with a field too many": ({"policy": POLICY}, "policy: separate: Extra inputs"),
    "no actor": ({"policy": "research", "actor": ""}, "actor is ''; expected the name of the person"),
    "the image's user": ({"policy": "research", "actor": "spineline"}, "actor is 'spineline'"),
    "an actor on two lines": ({"actor": "ann\nben"}, "expected a name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_parameter_is_refused_in_one_line_before_anything_is_pulled(case, tmp_path):
    wrong, told = WRONG[case]
    given = {
        "root": str(tmp_path / "root"), "repository": "https://git.invalid/d.git", "revision": "main", "remote": "",
        "recipe": "quick", "policy": "demo", "actor": "ann",
    }  # fmt: skip
    with pytest.raises(SpinelineError) as refused:
        step(**{**given, **wrong})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value) and "s3cret" not in str(refused.value)
    assert not (tmp_path / "root").exists()


def test_names_of_recipe_and_policy_are_taken_and_nobody_has_to_have_started_the_run(published, root):
    given = {"root": str(root), "repository": str(published.repository), "revision": "main", "remote": ""}
    record = step(**given, recipe="quick", policy="demo", actor="")
    assert DatasetRevision.from_text(record, where="record").git_revision == published.second
