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

    def call(*arguments, code=0):
        answer = spineline(*arguments, "--json")
        assert answer.code == code, answer.err
        return json.loads(answer.out)

    return call


def test_versions_are_listed_with_their_scores_and_who_approved_them(registry, told):
    first, second = told("versions")
    assert (first["version"], first["stage"], first["in_use"]) == (1, "approved", False)
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


def test_no_scan_is_labelled_and_no_training_begun_with_a_revoked_version(registry, spineline, told, tmp_path):
    from components.train_folds.main import _begun_from
    from model_registry.errors import NotPromotableError
    from spine.phantom import make_scan
    from spine.volume.nifti import write_volume

    told("revoke", 2, "--reason", "trained on wrong labels")
    write_volume(tmp_path / "scan.nii.gz", make_scan(seed=1, patient=0, spacing_mm=(6.0, 6.0, 6.0)).image)
    answer = spineline("predict", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", "--version", 2)
    assert (answer.code, (tmp_path / "mask.nii.gz").exists()) == (2, False)
    assert "version 2 is revoked" in answer.error
    with pytest.raises(NotPromotableError, match="revoked"):
        _begun_from(registry.root, None, 2)
    assert spineline("promote", 2, "--dry-run", "--reason", "again").code == 2


def test_a_dry_run_tells_line_by_line_what_would_happen_and_changes_nothing(registry, spineline, told, root):
    told("promote", 1, "--reason", "the first")
    before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    answer = spineline("promote", 2, "--reason", "a test", "--dry-run")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split(":")[1].strip() for line in lines if line.startswith("holds:")] == [
        "state", "digests", "verdict", "golden case",
    ]  # fmt: skip
    assert "would: event 6 of the ledger: promote, from version 1 to version 2" in lines
    assert "would: no server: none reports itself now" in lines
    assert lines[-1] == "nothing was changed"
    assert told("promote", 2, "--reason", "a test", "--dry-run")["would_succeed"]
    back = spineline("rollback", "--reason", "a test", "--dry-run")
    assert back.code == 2 and "FAILS: state" in back.out
    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == before


def test_history_of_one_version_shows_what_it_came_after_and_on_which_evidence(registry, spineline, told):
    told("promote", 1, "--reason", "the first")
    told("promote", 2, "--reason", "the second")
    told("rollback", "--reason", "the second was worse")
    events = told("history", "--version", 2)
    assert [event["kind"] for event in events] == ["register", "approve", "promote", "roll back"]
    out = spineline("history", "--version", 2).out
    assert "7 events, chain verified; 4 concern version 2" in out
    assert "1 → 2" in out and "2 → 1" in out
    assert registry.state().version(2).model_digest.removeprefix("sha256:")[:12] in out
    assert spineline("history", "--version", 9).code == 2


def test_of_two_operators_one_wins_and_the_other_is_told_what_is_in_use(registry, spineline, monkeypatch):
    from model_registry.lifecycle import Registry
    from model_registry.models import check_golden_case

    def meanwhile(segmenter, bundle, *, version):
        Registry(registry.root).promote(2, actor="ben", reason="first", expected_serving=None)
        return check_golden_case(segmenter, bundle, version=version)

    monkeypatch.setattr("model_registry.models.check_golden_case", meanwhile)
    answer = spineline("promote", 1, "--reason", "second")
    assert answer.code == 2
    assert "'promote' of version 2 by ben, and version 2 is served now" in answer.error
    assert registry.state().serving == 2


def test_status_says_what_is_in_use_and_where_a_rollback_leads(registry, told):
    for version in (1, 2):
        told("promote", version, "--reason", "a test")
    status = told("status")
    assert (status["version in use"], status["a rollback returns to"]) == (2, 1)
    assert status["server"] is None
    assert status["differences"] == []


def test_repair_moves_mlflows_aliases_back_to_what_the_ledger_says(registry, told, root):
    from mlflow import MlflowClient

    from model_registry.mlflow_store import MlflowStore
    from spine.settings import settings

    uri = settings().mlflow_uri
    store = MlflowStore(uri, artifacts=root / "mlflow" / "artifacts", model_name=settings().model_name)
    run = store.candidate_run("t", name="t")
    for number, known in registry.state().versions.items():
        bundle = registry.bundle(number)
        assert number == store.create_version(
            run_id=run, source=registry.location(bundle), digest=known.model_digest, tags={}
        )
    told("promote", 1, "--reason", "the first")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.set_registered_model_alias(settings().model_name, "champion", "2")
    assert told("status", code=1)["differences"] == ["MLflow's alias champion is version 2, the ledger says version 1"]
    assert told("status", "--repair")["differences"] == []
    assert store.aliases()["champion"] == 1


def test_a_ledger_that_lost_events_is_told_and_nothing_is_mended_from_it(registry, spineline, told, root):
    from model_registry.mlflow_store import MlflowStore
    from spine.settings import settings

    store = MlflowStore(settings().mlflow_uri, artifacts=root / "mlflow", model_name=settings().model_name)
    run = store.candidate_run("t", name="t")
    for number, known in registry.state().versions.items():
        store.create_version(
            run_id=run, source=registry.location(registry.bundle(number)), digest=known.model_digest, tags={}
        )
    told("promote", 1, "--reason", "the first")
    (root / "ledger" / "000005.json").unlink()
    assert "the ledger has 4 events, MLflow has seen event 5: events were lost" in told("status", code=1)["differences"]
    history = spineline("history")
    assert history.code == 0 and "MLflow has seen event 5: events were lost" in history.error
    for command in (
        ("status", "--repair"), ("promote", 2, "--reason", "a test"), ("promote", 2, "--dry-run", "--reason", "a test"),
        ("rollback", "--reason", "a test"), ("revoke", 2, "--reason", "a test"),
    ):  # fmt: skip
        refused = spineline(*command)
        assert refused.code == 2 and "events were lost" in refused.err + refused.out
    assert len(registry.history()) == 4
    assert store.aliases()["champion"] == 1
