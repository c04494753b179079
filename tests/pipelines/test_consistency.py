"""What `status` finds where the ledger, MLflow's aliases and the servers don't say the same."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from model_registry.aliases import Aliases, aliases_now
from model_registry.errors import TrackingError
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.replicas import LoadFailure, ReplicaReport
from model_registry.state import State, VersionState
from pipelines.consistency import Agreement, agreement
from spine.settings import settings

DIGEST = "sha256:" + "0" * 64


def event(number: int, *, previous: str | None) -> Event:
    return Event(
        number=number, kind="promote", version=1, actor="ann", reason="why", at="now", from_version=None, to_version=1,
        evidence=DIGEST, bundle="b", previous=previous,
    )  # fmt: skip


FIRST = event(1, previous=None)
SECOND = event(2, previous=FIRST.digest)
VERSION = VersionState(
    version=1, stage="promoted", registered_by="ann", registered_at="now", model_digest=DIGEST, bundle="b"
)


def report(name: str = "a", *, silent_s: float = 0, **fields: object) -> ReplicaReport:
    at = datetime.now(UTC) - timedelta(seconds=silent_s)
    content = {
        "url": "http://a", "pid": 1, "version": 1, "event": 2, "event_digest": SECOND.digest, "golden_dice": 1.0,
        "failure": None, "ledger_problem": None, "at": at.isoformat(timespec="milliseconds"),
    }  # fmt: skip
    return ReplicaReport.model_validate({"name": name, **content, **fields})


def found(*replicas: ReplicaReport, aliases: Aliases | None = None, local: tuple[str, int | None] | None = None):
    return Agreement(
        root="root", events=[FIRST, SECOND], state=State(versions={1: VERSION}, promotion_stack=(1,)), aliases=aliases,
        aliases_problem=None, replicas=replicas, replicas_problem=None, local=local,
    )  # fmt: skip


def test_nothing_differs_where_all_say_the_same():
    aliases = Aliases(found={"champion": 1}, wanted={"champion": 1}, anchor=(2, SECOND.digest))
    assert found(report(), aliases=aliases, local=("http://a", 1)).differences() == []


FAILURE = LoadFailure(version=1, event=2, reason="out of memory", at="now", attempts=3)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"version": None}, "server a has no version, the ledger says version 1"),
        ({"version": 2, "failure": FAILURE}, "server a has version 2: out of memory, the ledger says version 1"),
        ({"silent_s": 60}, "it was killed, or is cut off"),
        ({"ledger_problem": "the store is away"}, "server a can't follow the ledger: the store is away"),
        ({"event": 7, "event_digest": "sha256:7"}, "server a has seen event 7: events were lost"),
        ({"event": 1, "event_digest": "sha256:7"}, "event 1 of the ledger is another than the one that server a has"),
    ],
)
def test_each_way_in_which_a_server_differs_is_told(fields, told):
    (line,) = found(report("b"), report(**fields)).differences()
    assert told in line


def test_aliases_that_were_moved_are_missing_or_are_too_many_are_each_told():
    aliases = Aliases(found={"champion": 2, "previous": 1}, wanted={"champion": 1, "candidate": 3}, anchor=None)
    assert found(aliases=aliases).differences() == [
        "MLflow's alias candidate is no version, the ledger says version 3",
        "MLflow's alias champion is version 2, the ledger says version 1",
        "MLflow's alias previous is version 1, the ledger says no version",
    ]


def test_a_server_here_that_cannot_report_is_asked_itself():
    assert found(local=("http://a", 2)).differences() == [
        "the server at http://a answers with version 2, the ledger says version 1"
    ]
    assert found(local=("http://a", 1)).differences() == []


def test_where_mlflows_library_is_missing_the_rest_is_told(tmp_path, monkeypatch):
    """As in the image of a server."""
    monkeypatch.setitem(sys.modules, "model_registry.mlflow_store", None)
    services = settings().model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    told = agreement(Registry(tmp_path), ask_mlflow=lambda state: aliases_now(services, state)).as_json()
    assert "library is not installed" in told["aliases in MLflow"]
    assert told["events in the ledger"] == 0
    (difference,) = told["differences"]
    assert "MLflow could not be asked: " in difference and "library is not installed" in difference


def test_an_mlflow_that_can_not_be_asked_is_a_difference_and_one_that_is_not_there_is_none(tmp_path):
    def away(state):
        raise TrackingError("http://mlflow:5000", reason="is away")

    asked = agreement(Registry(tmp_path), ask_mlflow=away)
    assert [line.split(": ")[0] for line in asked.differences()] == ["MLflow could not be asked"]
    assert asked.as_json()["aliases in MLflow"].startswith("not known: ")
    assert agreement(Registry(tmp_path), ask_mlflow=lambda state: None).differences() == []
