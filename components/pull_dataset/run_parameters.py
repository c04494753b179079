"""The parameters of a training run, checked by its first step before anything is pulled."""

from model_registry.actors import require_starter
from model_registry.policy import given_policy
from spine.errors import InvalidValueError
from spine.git_urls import require_no_password
from spine.recipe import given_recipe


def check_run_parameters(*, repository: str, remote: str, recipe: str, policy: str, actor: str) -> None:
    """Raise SpinelineError for the first parameter that is missing, unknown or malformed.

    ``recipe`` and ``policy`` are names, paths or JSON documents; later steps resolve them in the same way. ``actor``
    may be empty where the policy does not separate who registers a version from who approves it.
    """
    if not repository.strip():
        expected = "the URL of the git repository whose dvc.lock versions the data set"
        raise InvalidValueError("repository", repository, expected=expected)
    require_no_password("repository", repository)
    require_no_password("remote", remote)
    given_recipe(recipe)
    require_starter(actor, policy=given_policy(policy))
