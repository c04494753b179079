"""The ledger: a chain that tells of every change to it, and numbers that only one writer can take."""

import json
import multiprocessing
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from model_registry.errors import BrokenLedgerError, ConflictError
from model_registry.ledger import Event, Ledger, next_event

CHILD = """
import os, sys, time
from pathlib import Path
from model_registry import ledger
if sys.argv[2] == "before":
    ledger.os.link = lambda *_: (print("writing", flush=True), time.sleep(60))
else:
    ledger.Path.unlink = lambda *_, **__: (print("writing", flush=True), time.sleep(60))
place = ledger.Ledger(Path(sys.argv[1]))
place.append(ledger.next_event(place.events(), kind="register", version=7, actor="child", reason="r",
                               serving=(None, None), evidence="sha256:e", bundle="b"))
"""


def following(events: list[Event], *, actor: str = "ann", version: int | None = None) -> Event:
    return next_event(
        events, kind="register", version=version or len(events) + 1, actor=actor, reason="it passes",
        serving=(None, None), evidence="sha256:e", bundle="models/b",
    )  # fmt: skip


def filled(folder: Path, count: int = 4) -> Ledger:
    ledger = Ledger(folder)
    for _ in range(count):
        ledger.append(following(ledger.events()))
    return ledger


def race_in_process(folder: str, actor: str, start: object, results: object) -> None:
    ledger = Ledger(Path(folder))
    event = following(ledger.events(), actor=actor)
    start.wait()  # type: ignore[attr-defined]
    try:
        ledger.append(event)
        results.put((actor, "won"))  # type: ignore[attr-defined]
    except ConflictError as error:
        results.put((actor, str(error)))  # type: ignore[attr-defined]


def test_a_ledger_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").events() == []
    assert not (tmp_path / "none").exists()


def test_events_are_numbered_chained_and_read_in_order(tmp_path: Path) -> None:
    events = filled(tmp_path, 12).events()
    assert [event.number for event in events] == list(range(1, 13))
    assert [event.previous for event in events] == [None, *(event.digest for event in events[:-1])]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number:06d}.json" for number in range(1, 13)]


def test_an_event_says_who_when_and_why(tmp_path: Path) -> None:
    event = filled(tmp_path, 1).events()[0]
    assert (event.actor, event.reason, event.kind, event.version) == ("ann", "it passes", "register", 1)
    assert event.at.endswith("+00:00")


def change(folder: Path) -> None:
    path = folder / "000002.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"ann"', '"eve"'))


def reseal(folder: Path, place: int, **fields: object) -> None:
    """Change an event and seal it anew, as somebody who knows the format would."""
    path = folder / f"{place:06d}.json"
    content = json.loads(path.read_text())
    content.pop("digest")
    path.chmod(0o644)
    path.write_text(Event.model_validate({**content, **fields}).text())


def put(folder: Path, content: bytes) -> None:
    (folder / "000002.json").chmod(0o644)
    (folder / "000002.json").write_bytes(content)


def swap(folder: Path) -> None:
    (folder / "000002.json").rename(folder / "x")
    (folder / "000003.json").rename(folder / "000002.json")
    (folder / "x").rename(folder / "000003.json")


def copy(folder: Path, source: int, target: int) -> None:
    (folder / f"{target:06d}.json").unlink()
    (folder / f"{target:06d}.json").write_bytes((folder / f"{source:06d}.json").read_bytes())


@pytest.mark.parametrize(
    ("damage", "number", "told"),
    [
        (change, 2, "was changed"),
        (lambda folder: reseal(folder, 2, actor="eve"), 3, "does not follow the event before it"),
        (lambda folder: reseal(folder, 4, number=7), 4, "does not follow the event before it"),
        (lambda folder: put(folder, b"{"), 2, "was changed"),
        (lambda folder: put(folder, b""), 2, "was changed"),
        (lambda folder: put(folder, b"[]"), 2, "was changed"),
        (lambda folder: put(folder, b"\xff\x00"), 2, "was changed"),
        (lambda folder: (folder / "000001.json").unlink(), 1, "is missing"),
        (lambda folder: (folder / "000003.json").unlink(), 3, "is missing"),
        (swap, 2, "does not follow the event before it"),
        (lambda folder: (folder / "000003.json").rename(folder / "000005.json"), 3, "is missing"),
        (lambda folder: copy(folder, 2, 3), 3, "does not follow"),
    ],
    ids=[
        "changed",
        "resealed",
        "renumbered",
        "cut",
        "emptied",
        "list",
        "binary",
        "no 1",
        "no 3",
        "swapped",
        "renamed",
        "repeated",
    ],
)
def test_damage_is_named_by_the_events_number(tmp_path: Path, damage: object, number: int, told: str) -> None:
    ledger = filled(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(BrokenLedgerError, match=f"event {number} of the ledger .*{told}"):
        ledger.events()


def test_other_files_in_the_folder_are_no_events(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2)
    (tmp_path / ".partial-abc").write_text("half of an ev")
    (tmp_path / "README.txt").write_text("hands off")
    assert len(ledger.events()) == 2


def test_who_comes_second_gets_a_conflict_that_tells_what_the_first_did(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2)
    stale = following(ledger.events(), actor="late", version=9)
    first = following(ledger.events(), actor="early", version=8)
    ledger.append(first)
    with pytest.raises(ConflictError, match="event 3 .* it is 'register' of version 8 by early, and no version is"):
        ledger.append(stale)
    assert ledger.events()[-1] == first
    assert len(list(tmp_path.iterdir())) == 3


def test_of_threads_at_once_exactly_one_takes_a_number(tmp_path: Path) -> None:
    ledger, writers, rounds = filled(tmp_path, 1), 8, 10
    barrier = Barrier(writers)

    def write(actor: str) -> list[bool]:
        won = []
        for _ in range(rounds):
            barrier.wait()
            event = following(ledger.events(), actor=actor)
            barrier.wait()
            try:
                ledger.append(event)
                won.append(True)
            except ConflictError:
                won.append(False)
        return won

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(write, [f"writer {number}" for number in range(writers)]))
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * rounds
    assert len(ledger.events()) == 1 + rounds


def test_of_processes_at_once_exactly_one_takes_a_number(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    children = [
        context.Process(target=race_in_process, args=(str(tmp_path), f"writer {number}", start, results))
        for number in range(4)
    ]
    for child in children:
        child.start()
    told = dict(results.get(timeout=30) for _ in children)
    for child in children:
        child.join()
    winners = [actor for actor, text in told.items() if text == "won"]
    assert len(winners) == 1
    assert Ledger(tmp_path).events()[-1].actor == winners[0]
    assert all(f"by {winners[0]}" in text for text in told.values() if text != "won")


@pytest.mark.parametrize(("moment", "events"), [("before", 2), ("after", 3)])
def test_a_kill_in_the_middle_leaves_a_whole_event_or_none(tmp_path: Path, moment: str, events: int) -> None:
    ledger = filled(tmp_path, 2)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), moment], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert child.stdout
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert len(ledger.events()) == events
    ledger.append(following(ledger.events()))
    assert len(ledger.events()) == events + 1
