"""The life of a version from the command line: what each command changes, and what it says."""

import json
from itertools import pairwise

import pytest

pytestmark = pytest.mark.slow  # every promotion answers a golden case with a real network


@pytest.fixture
def registry(root, registry_with_two_versions):
    return registry_with_two_versions


@pytest.fixture
def told(spineline):
    """A function that runs a command with --json and returns what it printed, parsed."""

    def call(*arguments):
        answer = spineline(*arguments, "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return call


def test_versions_are_listed_with_their_scores_and_who_approved_them(registry, told):
    first, second = told("versions")
    assert (first["version"], first["life"], first["in_use"]) == (1, "approved", False)
    assert (second["registered_by"], second["approved_by"]) == ("ann", "ben")
    assert 0 <= first["test_dice_scan_mean"] <= 1


def test_promotion_rollback_and_revocation_are_events_that_history_tells(registry, told):
    assert told("promote", 1, "--reason", "the first")["to_version"] == 1
    assert told("promote", 2, "--reason", "the second")["to_version"] == 2
    back = told("rollback", "--reason", "the second was worse")
    assert (back["kind"], back["from_version"], back["to_version"]) == ("roll back", 2, 1)
    assert told("revoke", 2, "--reason", "trained on wrong labels")["kind"] == "revoke"
    events = told("history")
    assert [event["kind"] for event in events[-4:]] == ["promote", "promote", "roll back", "revoke"]
    assert {event["actor"] for event in events[-4:]} == {"ann"}
    for before, after in pairwise(events):
        assert after["previous"] == before["digest"]


def test_a_revoked_version_is_never_used_again_by_any_command(registry, spineline, told):
    told("promote", 1, "--reason", "the first")
    told("revoke", 2, "--reason", "trained on wrong labels")
    for command in (
        ("promote", 2, "--reason", "again"),
        ("rollback", "--to", 2, "--reason", "again"),
        ("approve", 2, "--reason", "again"),
        ("compare", 1, 2),
    ):
        answer = spineline(*command)
        assert answer.code == 2, command
        assert "revoked" in answer.error


def test_status_says_what_is_in_use_and_where_a_rollback_leads(registry, told):
    for version in (1, 2):
        told("promote", version, "--reason", "a test")
    status = told("status")
    assert (status["version in use"], status["a rollback returns to"]) == (2, 1)
    assert status["server"] is None


def test_repair_moves_mlflows_aliases_back_to_what_the_ledger_says(registry, told, root):
    from mlflow import MlflowClient

    from model_registry.mlflow_store import MlflowStore
    from spine.settings import settings

    uri = settings().mlflow_uri
    store = MlflowStore(uri, artifacts=root / "mlflow" / "artifacts", model_name=settings().model_name)
    run = store.candidate_run("t", name="t")
    for number, known in registry.state().versions.items():
        bundle = registry.bundle(number)
        assert number == store.create_version(run_id=run, bundle=bundle.folder, digest=known.model_digest, tags={})
    told("promote", 1, "--reason", "the first")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.set_registered_model_alias(settings().model_name, "champion", "2")
    told("status", "--repair")
    assert store.aliases()["champion"] == 1
