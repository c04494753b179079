"""Promotion and rollback with servers that follow, fail, fall silent or come too late."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from model_registry.bundle import Bundle
from model_registry.dry_run import dry_run, dry_run_rollback
from model_registry.errors import (
    ConflictError,
    EvidenceError,
    GoldenCaseError,
    LostEventsError,
    NotPromotableError,
    ReplicasBehindError,
)
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.promotion import promote, roll_back
from model_registry.replicas import LoadFailure, ReplicaReport, Replicas
from spine.errors import DigestMismatchError

WHO = {"actor": "ann", "reason": "for tests"}
Approved = Callable[..., Registry]


def passing(_: Bundle, __: int) -> float:
    return 1.0


def failing(_: Bundle, version: int) -> float:
    raise GoldenCaseError(version, dice=0.5, expected=0.99)


def report(name: str, *, version: int | None, event: int, **fields: object) -> ReplicaReport:
    content = {
        "url": "", "pid": 1, "event_digest": None, "golden_dice": 1.0, "failure": None, "ledger_problem": None,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }  # fmt: skip
    return ReplicaReport.model_validate({"name": name, "version": version, "event": event, **content, **fields})


def seen(registry: Registry, said: ReplicaReport, *, of: Sequence[Event] | None = None) -> ReplicaReport:
    """The report with the digest of its event, as a server has it that read the ledger."""
    events = registry.history() if of is None else of
    return said.model_copy(update={"event_digest": events[said.event - 1].digest if said.event else None})


@contextmanager
def server(registry: Registry, name: str, *, fails: tuple[int, ...] = (), stuck: bool = False) -> Iterator[None]:
    """A server in a thread: it reports what the ledger says, except for versions that fail, or never again."""
    replicas, follows, stop = registry.replicas(), Registry(registry.root), threading.Event()

    def look(version: int | None) -> int | None:
        events, wanted = follows.history(), follows.state().serving
        failure = None
        if wanted in fails and wanted is not None:
            failure = LoadFailure(version=wanted, event=len(events), reason="out of memory", at="now", attempts=1)
        else:
            version = wanted
        replicas.write(seen(registry, report(name, version=version, event=len(events), failure=failure), of=events))
        return version

    def run() -> None:
        version = look(None)
        while not stop.wait(0.02):
            version = version if stuck else look(version)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not any(found.name == name for found in replicas.reports()):
            stop.wait(0.01)
        yield
    finally:
        stop.set()
        thread.join()


def kinds(registry: Registry) -> list[tuple[str, str, int | None]]:
    return [(event.kind, event.actor, event.to_version) for event in registry.history() if event.kind != "register"]


def test_a_promotion_waits_for_every_server_and_tells_who_followed(approved: Approved) -> None:
    registry = approved(1)
    with server(registry, "a"), server(registry, "b"):
        change = promote(registry, 1, **WHO, golden=passing, deadline_s=10)
    assert (change.event.to_version, change.golden_dice) == (1, 1.0)
    assert [(found.name, found.version) for found in change.following] == [("a", 1), ("b", 1)]


def test_without_a_server_a_promotion_waits_for_nobody(approved: Approved) -> None:
    assert promote(approved(1), 1, **WHO, golden=passing, deadline_s=10).following == ()


def test_nothing_is_on_the_record_where_a_check_fails(approved: Approved) -> None:
    registry = approved(1, 2)
    before = len(registry.history())
    with pytest.raises(GoldenCaseError):
        promote(registry, 1, **WHO, golden=failing, deadline_s=1)
    weights = registry.bundle(1).fold_path(0)
    weights.write_text("others")
    with pytest.raises(DigestMismatchError):
        promote(registry, 1, **WHO, golden=passing, deadline_s=1)
    registry.revoke(2, **WHO)
    with pytest.raises(NotPromotableError):
        promote(registry, 2, **WHO, golden=passing, deadline_s=1)
    assert len(registry.history()) == before + 1


@pytest.mark.parametrize("earlier", [None, 1])
def test_a_server_that_cannot_load_has_the_version_taken_back_at_once_on_the_record(
    approved: Approved, earlier: int | None
) -> None:
    registry = approved(1, 2)
    if earlier:
        promote(registry, earlier, **WHO, golden=passing, deadline_s=10)
    with (
        server(registry, "a"),
        server(registry, "b", fails=(2,)),
        pytest.raises(ReplicasBehindError, match="b has .*: out of memory.*rolled back automatically") as told,
    ):
        promote(registry, 2, **WHO, golden=passing, deadline_s=600)
    assert "a has" not in str(told.value)
    assert kinds(registry)[-2:] == [("promote", "ann", 2), ("roll back", "automatic", earlier)]
    assert "out of memory" in registry.history()[-1].reason
    assert registry.state().serving == earlier
    assert registry.state().version(2).stage in ("replaced", "approved")


def test_a_server_that_does_not_follow_in_time_has_the_version_taken_back(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, **WHO, golden=passing, deadline_s=1)
    with (
        server(registry, "a"),
        server(registry, "b", stuck=True),
        pytest.raises(ReplicasBehindError, match="within 0.3 s"),
    ):
        promote(registry, 2, **WHO, golden=passing, deadline_s=0.3)
    assert registry.state().serving == 1


def test_a_passing_failure_is_waited_for(approved: Approved) -> None:
    registry = approved(1)
    replicas = registry.replicas()
    failure = LoadFailure(version=1, event=3, reason="the store is away", at="now", attempts=1, is_passing=True)
    replicas.write(seen(registry, report("a", version=None, event=2, failure=failure)))
    timer = threading.Timer(0.3, lambda: replicas.write(seen(registry, report("a", version=1, event=3))))
    timer.start()
    assert promote(registry, 1, **WHO, golden=passing, deadline_s=10).following[0].version == 1


def test_a_failure_of_an_earlier_try_does_not_count(approved: Approved) -> None:
    registry = approved(1)
    replicas = registry.replicas()
    old = LoadFailure(version=1, event=2, reason="out of memory", at="now", attempts=1)
    replicas.write(seen(registry, report("a", version=None, event=2, failure=old)))
    timer = threading.Timer(0.3, lambda: replicas.write(seen(registry, report("a", version=1, event=3))))
    timer.start()
    assert promote(registry, 1, **WHO, golden=passing, deadline_s=10).following[0].version == 1


def test_a_server_killed_before_is_not_waited_for_but_one_that_the_version_kills_is(
    approved: Approved,
) -> None:
    registry = approved(1, 2)
    silent = (datetime.now(UTC) - timedelta(seconds=30)).isoformat(timespec="milliseconds")
    replicas = registry.replicas()
    replicas.write(report("old", version=None, event=1, at=silent))
    promote(registry, 1, **WHO, golden=passing, deadline_s=5)
    timer = threading.Timer(0.2, lambda: replicas.write(report("killed", version=1, event=6, at=silent)))
    timer.start()
    replicas.write(seen(registry, report("killed", version=1, event=5)))
    with pytest.raises(ReplicasBehindError, match="killed has said nothing since"):
        promote(registry, 2, **WHO, golden=passing, deadline_s=0.6)
    assert registry.state().serving == 1


def test_who_is_overtaken_while_waiting_is_told_what_is_served_and_takes_nothing_back(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, **WHO, golden=passing, deadline_s=5)
    registry.replicas().write(seen(registry, report("a", version=1, event=5)))
    timer = threading.Timer(0.2, lambda: Registry(registry.root).roll_back(to=None, actor="ben", reason="worse"))
    timer.start()
    with pytest.raises(ConflictError, match=r"'roll back' of version 1 by ben, and version 1 is served now"):
        promote(registry, 2, **WHO, golden=passing, deadline_s=10)
    assert kinds(registry)[-1] == ("roll back", "ben", 1)


def test_who_comes_second_is_told_the_version_in_use_before_and_after_the_checks(approved: Approved) -> None:
    registry = approved(1, 2)

    def meanwhile(_: Bundle, __: int) -> float:
        Registry(registry.root).promote(2, actor="ben", reason="first", expected_serving=None)
        return 1.0

    with pytest.raises(ConflictError, match="'promote' of version 2 by ben, and version 2 is served now"):
        promote(registry, 1, **WHO, golden=meanwhile, deadline_s=5)
    assert registry.state().serving == 2


def test_of_two_rollbacks_at_once_one_goes_back_one_version_and_the_other_is_told(approved: Approved) -> None:
    registry = approved(1, 2, 3)
    for version in (1, 2, 3):
        promote(registry, version, **WHO, golden=passing, deadline_s=5)

    def meanwhile(_: Bundle, __: int) -> float:
        roll_back(Registry(registry.root), None, actor="ben", reason="worse", golden=passing, deadline_s=5)
        return 1.0

    with pytest.raises(ConflictError, match="'roll back' of version 2 by ben, and version 2 is served now"):
        roll_back(registry, None, **WHO, golden=meanwhile, deadline_s=5)
    assert kinds(registry)[-1] == ("roll back", "ben", 2)


@pytest.mark.parametrize("change", [promote, roll_back])
def test_what_was_changed_and_changed_back_during_the_checks_counts_as_changed(
    approved: Approved, change: Callable[..., object]
) -> None:
    registry = approved(1, 2, 3)
    for version in (1, 2):
        promote(registry, version, **WHO, golden=passing, deadline_s=5)
    others = Registry(registry.root)

    def meanwhile(_: Bundle, __: int) -> float:
        others.promote(3, actor="ben", reason="first", expected_serving=2)
        others.roll_back(to=None, actor="ben", reason="worse")
        return 1.0

    with pytest.raises(ConflictError, match="by ben, and version 2 is served now"):
        change(registry, 3 if change is promote else None, **WHO, golden=meanwhile, deadline_s=5)
    assert kinds(registry)[-1] == ("roll back", "ben", 2)


def test_an_approval_during_the_checks_keeps_nobody_from_changing_what_is_in_use(
    approved: Approved, register: Callable[..., Bundle]
) -> None:
    registry = approved(1)

    def meanwhile(_: Bundle, __: int) -> float:
        register(2)
        return 1.0

    assert promote(registry, 1, **WHO, golden=meanwhile, deadline_s=5).event.number == 4


@pytest.mark.parametrize(
    ("number", "told"), [(9, "server a has seen event 9"), (4, "event 4 of the ledger is another")]
)
def test_nothing_is_changed_in_a_ledger_that_lacks_what_a_server_has_seen(
    approved: Approved, number: int, told: str
) -> None:
    registry = approved(1, 2)
    promote(registry, 1, **WHO, golden=passing, deadline_s=5)
    registry.replicas().write(report("a", version=1, event=number, event_digest="sha256:other"))
    count = len(registry.history())
    attempts: list[Callable[[], object]] = [
        lambda: promote(registry, 2, **WHO, golden=failing, deadline_s=5),
        lambda: roll_back(registry, 1, **WHO, golden=failing, deadline_s=5),
        lambda: registry.approve(2, **WHO),
        lambda: registry.revoke(2, **WHO),
    ]
    for attempt in attempts:
        with pytest.raises(LostEventsError, match=told):
            attempt()
    assert len(registry.history()) == count


@pytest.mark.parametrize("fields", [{"event_digest": "sha256:other"}, {"ledger_problem": "event 2 is missing"}])
def test_a_server_that_follows_another_or_a_broken_ledger_does_not_follow(
    approved: Approved, fields: dict[str, str]
) -> None:
    registry = approved(1)
    event = promote(registry, 1, **WHO, golden=passing, deadline_s=5).event
    said = seen(registry, report("a", version=1, event=event.number))
    assert said.follows(event)
    assert not said.model_copy(update=fields).follows(event)


def test_a_rollback_leaves_the_golden_case_to_the_servers_where_there_are_any(approved: Approved) -> None:
    registry = approved(1, 2)
    for version in (1, 2):
        promote(registry, version, **WHO, golden=passing, deadline_s=5)
    with pytest.raises(GoldenCaseError):
        roll_back(registry, None, **WHO, golden=failing, deadline_s=5)
    assert registry.state().serving == 2
    with server(registry, "a"):
        change = roll_back(registry, None, **WHO, golden=failing, deadline_s=5)
    assert (change.event.to_version, change.golden_dice, change.following[0].version) == (1, None, 1)


def test_a_rollback_that_a_server_cannot_follow_stands_and_is_told(approved: Approved) -> None:
    registry = approved(1, 2)
    for version in (1, 2):
        promote(registry, version, **WHO, golden=passing, deadline_s=5)
    with server(registry, "a", fails=(1,)), pytest.raises(ReplicasBehindError, match="a has .*out of memory"):
        roll_back(registry, None, **WHO, golden=None, deadline_s=600)
    assert kinds(registry)[-1] == ("roll back", "ann", 1)


def test_a_changed_bundle_is_not_rolled_back_to(approved: Approved) -> None:
    registry = approved(1, 2)
    for version in (1, 2):
        promote(registry, version, **WHO, golden=passing, deadline_s=5)
    registry.bundle(1).fold_path(0).write_text("others")
    with pytest.raises(DigestMismatchError):
        roll_back(registry, None, **WHO, golden=passing, deadline_s=5)
    assert registry.state().serving == 2


def test_stages_are_told_in_their_order(approved: Approved) -> None:
    registry, stages = approved(1), []
    promote(registry, 1, **WHO, golden=passing, deadline_s=5, on_stage=stages.append)
    assert stages == ["digests", "verdict", "golden case", "event", "servers"]


def test_a_dry_run_tells_checks_and_effects_and_changes_nothing(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, **WHO, golden=passing, deadline_s=5)
    registry.replicas().write(seen(registry, report("a", version=1, event=5)))
    before = {path: path.read_bytes() for path in sorted(registry.root.rglob("*")) if path.is_file()}
    found = dry_run(registry, 2, golden=passing)
    assert found.would_succeed
    assert [check.name for check in found.checks] == ["state", "digests", "verdict", "golden case"]
    assert "event 6 of the ledger: promote, from version 1 to version 2" in found.effects
    assert any("server a: load beside" in effect and "to version 2" in effect for effect in found.effects)
    assert {path: path.read_bytes() for path in sorted(registry.root.rglob("*")) if path.is_file()} == before


def test_a_dry_run_names_the_check_that_fails_and_stops_there(approved: Approved) -> None:
    registry = approved(1, 2)
    (registry.bundle(2).folder / "policy.json").write_text("{}")
    failed = dry_run(registry, 2, golden=passing)
    assert not failed.would_succeed
    assert failed.lines()[-2].startswith("FAILS: digests") and "policy.json" in failed.lines()[-2]
    assert failed.effects == ("nothing, for this reason",)
    assert not dry_run_rollback(registry, None, golden=passing).would_succeed
    assert not dry_run(registry, 1, golden=failing).would_succeed


def test_evidence_that_gives_another_verdict_is_refused(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = approved(1)
    monkeypatch.setattr("model_registry.promotion.require_passing", _refuse)
    with pytest.raises(EvidenceError):
        promote(registry, 1, **WHO, golden=passing, deadline_s=5)
    assert registry.state().serving is None


def _refuse(bundle: Bundle) -> None:
    raise EvidenceError(f"{bundle.folder}: refused")


def test_reports_are_read_again_only_where_they_changed_and_foreign_files_are_passed_over(registry: Registry) -> None:
    replicas = registry.replicas()
    registry.root.mkdir()
    replicas.write(report("a", version=1, event=1))
    registry.blob_store("replicas").replace("b.json", b"{")
    registry.blob_store("replicas").replace("notes.txt", b"by hand")
    assert [found.name for found in replicas.reports()] == ["a"]
    replicas.write(report("a", version=2, event=2))
    assert replicas.reports()[0].version == 2
    replicas.remove("a")
    assert replicas.fresh() == []


def test_a_report_of_a_newer_server_is_understood(registry: Registry) -> None:
    registry.root.mkdir()
    content = report("a", version=1, event=1).model_dump_json()[:-1] + ', "mood": "good"}'
    registry.blob_store("replicas").replace("a.json", content.encode())
    assert Replicas(registry.blob_store("replicas")).reports()[0].version == 1
