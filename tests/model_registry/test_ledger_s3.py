"""The ledger and the registry on S3: read once, won by one, and told where the store is away."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import Bundle
from model_registry.errors import BrokenLedgerError, ConflictError
from model_registry.ledger import Event, Ledger, next_event
from model_registry.lifecycle import Registry
from spine.blob_store import BlobStore, BlobStoreUnreachableError
from spine.blob_stores import open_blob_store
from spine.errors import SpinelineError
from spine.settings import Settings

WHY = "because of the test"
ROUNDS = 20
MakeRelay = Callable[..., tuple[str, list[str]]]


def following(events: list[Event], *, actor: str = "ann") -> Event:
    return next_event(
        events, kind="register", version=len(events) + 1, actor=actor, reason="it passes", serving=(None, None),
        evidence="sha256:e", bundle="models/b",
    )  # fmt: skip


def filled(blob_store: BlobStore, count: int) -> Ledger:
    ledger, events = Ledger(blob_store), []
    for _ in range(count):
        events.append(following(events))
        ledger.append(events[-1])
    return ledger


def gets_of(seen: list[str]) -> int:
    return len([line for line in seen if line.startswith("GET") and ".json" in line])


def test_events_are_read_once_however_often_the_ledger_is(bucket: str, relay: MakeRelay) -> None:
    endpoint, seen = relay()
    blob_store = open_blob_store(f"s3://{bucket}/a/ledger", endpoint=endpoint)
    filled(blob_store, 12)
    ledger = Ledger(blob_store)
    seen.clear()
    events = ledger.events()
    assert (len(events), gets_of(seen)) == (12, 12)
    for _ in range(3):
        assert ledger.events() == events
    assert gets_of(seen) == 12
    ledger.append(following(events))
    assert len(ledger.events()) == 13
    assert gets_of(seen) == 13


def test_a_glance_reads_no_event_and_tells_of_each_change(bucket: str, relay: MakeRelay) -> None:
    endpoint, seen = relay()
    blob_store = open_blob_store(f"s3://{bucket}/a/ledger", endpoint=endpoint)
    ledger = filled(blob_store, 3)
    seen.clear()
    before = ledger.revision()
    assert ledger.revision() == before
    ledger.append(following(ledger.events()))
    after = ledger.revision()
    assert after != before
    blob_store.replace("000002.json", b"changed")
    assert ledger.revision() not in (before, after)
    assert gets_of(seen) == 3, "only the events that were read to append one"


def test_an_object_that_was_changed_or_removed_is_named(bucket: str, s3_server: str) -> None:
    blob_store = open_blob_store(f"s3://{bucket}/a/ledger", endpoint=s3_server)
    ledger = filled(blob_store, 4)
    ledger.events()
    sound = blob_store.read("000002.json")
    blob_store.replace("000002.json", sound.replace(b"ann", b"eve"))
    with pytest.raises(BrokenLedgerError, match="event 2 of the ledger was changed"):
        ledger.events()
    blob_store.replace("000002.json", sound)
    blob_store.remove("000003.json")
    with pytest.raises(BrokenLedgerError, match="event 3 of the ledger is missing"):
        ledger.events()


def test_who_comes_second_is_told_who_won_and_what_is_served(bucket: str, s3_server: str) -> None:
    ledger = filled(open_blob_store(f"s3://{bucket}/a/ledger", endpoint=s3_server), 2)
    events = ledger.events()
    ledger.append(following(events, actor="early"))
    with pytest.raises(ConflictError, match="event 3 .* 'register' of version 3 by early, and no version is served"):
        ledger.append(following(events, actor="late"))
    assert [event.actor for event in ledger.events()] == ["ann", "ann", "early"]


def test_a_store_that_is_away_is_told_in_one_line(tmp_path: Path, credentials: None) -> None:
    services = Settings(ledger="s3://bucket/a/ledger", s3_endpoint="http://127.0.0.1:9")
    with pytest.raises(
        BlobStoreUnreachableError, match="s3://bucket/a/ledger: Could not connect .*; expected a store that"
    ):
        Registry.at(tmp_path, services).state()


@pytest.fixture(params=["folder", "s3"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings whose ledger lies in a folder of its own, or on S3."""
    if request.param == "folder":
        return Settings(ledger=str(tmp_path / "ledger"))
    endpoint, _ = request.getfixturevalue("relay")()
    return Settings(ledger=f"s3://{request.getfixturevalue('bucket')}/a/ledger", s3_endpoint=endpoint)


@pytest.fixture
def shared(services: Settings, tmp_path: Path, write_evidence: Callable[..., Bundle]) -> Registry:
    """A registry with three approved versions whose ledger is where ``services`` say."""
    registry = Registry.at(tmp_path / "root", services)
    for version in (1, 2, 3):
        bundle = write_evidence(registry.root / "models" / str(version), weights=f"weights of {version}")
        registry.register(version=version, bundle=bundle, actor="ann", reason=WHY)
        registry.approve(version, actor="ben", reason=WHY)
    return registry


def _promote(root: Path, services: Settings, highest: bool, start: object, results: object) -> None:
    registry = Registry.at(root, services)
    for number in range(ROUNDS):
        serving = registry.state().serving
        others = [version for version in (1, 2, 3) if version != serving]
        start.wait()  # type: ignore[attr-defined]
        try:
            event = registry.promote(others[-highest], actor=f"{highest}", reason=WHY, expected_serving=serving)
            results.put((number, event.number, ""))  # type: ignore[attr-defined]
        except SpinelineError as error:
            results.put((number, None, str(error)))  # type: ignore[attr-defined]
        start.wait()  # type: ignore[attr-defined]


def test_of_two_processes_that_promote_at_once_exactly_one_wins(shared: Registry, services: Settings) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    rivals = [
        context.Process(target=_promote, args=(shared.root, services, highest, start, results))
        for highest in (False, True)
    ]
    for rival in rivals:
        rival.start()
    told = [results.get(timeout=120) for _ in range(2 * ROUNDS)]
    for rival in rivals:
        rival.join()
    winners = sorted(number for number, event, _ in told if event)
    assert winners == list(range(ROUNDS))
    assert len(shared.history()) == 6 + ROUNDS
    for _, event, refusal in told:
        assert event or "is served now" in refusal or "version in use is" in refusal


def test_neighbours_of_the_ledger_lie_beside_it(services: Settings, shared: Registry) -> None:
    shared.blob_store("replicas").replace("a.json", b"{}")
    assert shared.blob_store("replicas").place == str(services.ledger).removesuffix("ledger") + "replicas"
    assert len(shared.history()) == 6
    assert shared.unrecognized_files() == ()


def test_a_registry_tells_by_a_glance_that_another_one_promoted(services: Settings, shared: Registry) -> None:
    time.sleep(0.15)
    before = shared.revision()
    assert shared.revision() == before
    Registry.at(shared.root, services).promote(1, actor="cy", reason=WHY, expected_serving=None)
    assert shared.revision() != before
    assert shared.state().serving == 1
