"""The ledger under hypothesis: whatever one hand does to its files is named, or changes nothing that is read."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from model_registry.errors import BrokenLedgerError
from model_registry.ledger import Event, Ledger, file_name, next_event
from spine.blob_store import FolderBlobStore

COUNT = 5
PLACES = some.integers(1, COUNT)
NAMES = some.integers(1, COUNT + 2).map(file_name) | some.sampled_from(["4.json", "0000004.json", "x", "000002.json~"])
Files = dict[str, bytes]
Damage = Callable[[Files], None]


def chained(actor: str) -> list[Event]:
    events: list[Event] = []
    for number in range(1, COUNT + 1):
        events.append(
            next_event(
                events, kind="register", version=number, actor=actor, reason="it passes", serving=(None, None),
                evidence=f"sha256:{number}", bundle=f"models/{number}",
            )
        )  # fmt: skip
    return events


OURS, THEIRS = chained("ann"), chained("eve")
FILES: Files = {file_name(event.number): (event.text() + "\n").encode() for event in OURS}
OTHER = [(event.text() + "\n").encode() for event in THEIRS]


@some.composite
def edits(draw: some.DrawFn) -> Damage:
    """One byte of a file is another, is gone, or is there twice."""
    name = file_name(draw(PLACES))
    at = draw(some.integers(0, len(FILES[name]) - 1))
    put = draw(some.binary(min_size=0, max_size=2))
    return lambda files: files.update({name: files[name][:at] + put + files[name][at + 1 :]})


@some.composite
def forgeries(draw: some.DrawFn) -> Damage:
    """A field is changed and the event sealed anew."""
    place = draw(PLACES)
    field = draw(some.sampled_from(["number", "version", "to_version", "actor", "previous", "evidence"]))
    text = field in ("actor", "previous", "evidence")
    event = OURS[place - 1]
    forged = event.model_copy(update={field: draw(some.text(max_size=5) if text else some.integers(0, COUNT + 2))})
    return lambda files: files.update({file_name(place): forged.text().encode()})


@some.composite
def swaps(draw: some.DrawFn) -> Damage:
    first, second = file_name(draw(PLACES)), file_name(draw(PLACES))
    return lambda files: files.update({first: files[second], second: files[first]})


removals = PLACES.map(lambda place: lambda files: files.pop(file_name(place)))
moves = some.tuples(PLACES, NAMES).map(lambda way: lambda files: files.update({way[1]: files.pop(file_name(way[0]))}))
contents = some.sampled_from([*FILES.values(), *OTHER]) | some.binary(max_size=20) | some.just(json.dumps([1]).encode())
insertions = some.tuples(NAMES, contents).map(lambda pair: lambda files: files.update({pair[0]: pair[1]}))


@pytest.fixture(scope="module")
def folder() -> Path:
    with TemporaryDirectory() as name:
        yield Path(name)


def write(folder: Path, files: Files) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


@effort(max_examples=400, deadline=None)
@given(damage=edits() | forgeries() | swaps() | removals | moves | insertions)
def test_one_edit_removal_swap_or_insertion_is_named_or_harmless(folder: Path, damage: Damage) -> None:
    write(folder, FILES)
    reader = Ledger(FolderBlobStore(folder))
    assert reader.events() == OURS
    files = dict(FILES)
    damage(files)
    write(folder, files)
    harmed = [name for name, content in FILES.items() if files.get(name) != content]
    try:
        assert reader.events() == OURS
    except BrokenLedgerError as error:
        assert any(f"event {number} of the ledger" in str(error) for number in range(1, COUNT + 3))
        assert harmed or set(files) - set(FILES)
    read_anew(folder, last_is_harmed=file_name(COUNT) in harmed)


def read_anew(folder: Path, *, last_is_harmed: bool) -> None:
    """Who never read it before sees as much, but for the last event: nothing follows it that could tell."""
    try:
        events = Ledger(FolderBlobStore(folder)).events()
    except BrokenLedgerError:
        return
    assert events == OURS or (last_is_harmed and events[: COUNT - 1] == OURS[:-1])
