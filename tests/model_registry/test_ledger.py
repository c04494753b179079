"""The ledger: a chain that tells of every change to it, and numbers that only one writer can take."""

import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pytest

from model_registry.errors import BrokenLedgerError, ConflictError
from model_registry.ledger import Event, Ledger, file_name, next_event, number_of
from spine.blob_store import FolderBlobStore

CHILD = """
import os, sys, time
from pathlib import Path
from model_registry import ledger
from spine import blob_store
if sys.argv[2] == "before":
    blob_store.os.link = lambda *_: (print("writing", flush=True), time.sleep(60))
else:
    blob_store.Path.unlink = lambda *_, **__: (print("writing", flush=True), time.sleep(60))
place = ledger.Ledger(blob_store.FolderBlobStore(Path(sys.argv[1])))
place.append(ledger.next_event(place.events(), kind="register", version=7, actor="child", reason="r",
                               serving=(None, None), evidence="sha256:e", bundle="b"))
"""

EARLIER = (
    '{"actor": "tester", "at": "2026-11-25T18:24:03+00:00", "bundle": "models/dec740c8977d/bundle", "dige'
    'st": "sha256:1be52531f37dd9783dc08d82676c4d5a623953689fb0d1174015b6b4e539b56f", "evidence": "sha256:'
    'ada02984c35bd466f9ad54eb8490152fff68fa2f7a410ca6d90d8146c21f670c", "from_version": null, "kind": "re'
    'gister", "number": 1, "previous": null, "reason": "pass: all 3 rules hold; mean Dice 0.009 over 6 sc'
    'ans", "to_version": null, "version": 1}'
)
EARLIER_DIGEST = "sha256:1be52531f37dd9783dc08d82676c4d5a623953689fb0d1174015b6b4e539b56f"


def following(events: list[Event], *, actor: str = "ann", version: int | None = None) -> Event:
    return next_event(
        events, kind="register", version=version or len(events) + 1, actor=actor, reason="it passes",
        serving=(None, None), evidence="sha256:e", bundle="models/b",
    )  # fmt: skip


def filled(folder: Path, count: int = 4, *, actor: str = "ann") -> Ledger:
    """Write events, and return a ledger that has not read them yet."""
    ledger = Ledger(FolderBlobStore(folder))
    for _ in range(count):
        ledger.append(following(ledger.events(), actor=actor))
    return Ledger(FolderBlobStore(folder))


def race_in_process(folder: str, actor: str, start: object, results: object) -> None:
    ledger = Ledger(FolderBlobStore(Path(folder)))
    event = following(ledger.events(), actor=actor)
    start.wait()  # type: ignore[attr-defined]
    try:
        ledger.append(event)
        results.put((actor, "won"))  # type: ignore[attr-defined]
    except ConflictError as error:
        results.put((actor, str(error)))  # type: ignore[attr-defined]


def test_a_ledger_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert Ledger(FolderBlobStore(tmp_path / "none")).events() == []
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
    (folder / f"{target:06d}.json").unlink(missing_ok=True)
    (folder / f"{target:06d}.json").write_bytes((folder / f"{source:06d}.json").read_bytes())


def foreign(folder: Path, place: int) -> None:
    """Put the event of this number of another ledger in the place of ours."""
    with TemporaryDirectory() as other:
        filled(Path(other), 5, actor="other")
        (folder / f"{place:06d}.json").unlink(missing_ok=True)
        shutil.copy(Path(other) / f"{place:06d}.json", folder)


def no_file(*places: int) -> Callable[[Path], None]:
    return lambda folder: [(folder / f"{place:06d}.json").unlink() for place in places]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("damage", "number", "told"),
    [
        (change, 2, "was changed (000002.json: digest is"),
        (lambda folder: put(folder, b"{"), 2, "was changed (000002.json: not a sealed record"),
        (lambda folder: put(folder, b""), 2, "was changed"),
        (lambda folder: put(folder, b"[]"), 2, "was changed"),
        (lambda folder: put(folder, b"\xff\x00"), 2, "was changed"),
        (lambda folder: reseal(folder, 1, actor="eve"), 2, "does not follow event 1: one of them was rewritten, or is"),
        (lambda folder: reseal(folder, 2, actor="eve"), 3, "does not follow event 2: one of them was rewritten, or is"),
        (lambda folder: reseal(folder, 4, number=7), 4, "is out of order: its file holds event 7"),
        (no_file(1), 1, "is missing;"),
        (no_file(3), 3, "is missing;"),
        (no_file(1, 2, 3), 1, "is missing;"),
        (swap, 2, "is out of order: its file holds event 3"),
        (lambda folder: (folder / "000003.json").rename(folder / "000005.json"), 3, "is missing: file 5 holds it"),
        (lambda folder: copy(folder, 2, 3), 3, "is a copy: its file holds event 2 once more, as file 2 does"),
        (lambda folder: copy(folder, 2, 5), 5, "is a copy: its file holds event 2 once more, as file 2 does"),
        (lambda folder: foreign(folder, 1), 2, "does not follow event 1: one of them was rewritten, or is from anoth"),
        (lambda folder: foreign(folder, 2), 2, "is from another ledger, or rewritten: it does not follow event 1, nor"),
        (lambda folder: foreign(folder, 5), 5, "does not follow event 4: one of them was rewritten, or is from anoth"),
        (lambda folder: reseal(folder, 1, previous="sha256:0"), 1, "is from another ledger: it follows an event"),
    ],
    ids=[
        "changed", "cut", "emptied", "list", "binary", "first resealed", "resealed", "renumbered", "no 1", "no 3",
        "no 1-3", "swapped", "renamed", "repeated", "repeated at the end", "another first", "another second",
        "another fifth", "no first",
    ],
)  # fmt: skip
def test_damage_is_named_by_the_event_and_its_kind(tmp_path: Path, damage: object, number: int, told: str) -> None:
    filled(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(BrokenLedgerError, match=re.escape(f"event {number} of the ledger {told}")) as raised:
        Ledger(FolderBlobStore(tmp_path)).events()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", [no_file(4), no_file(3, 4), lambda folder: reseal(folder, 4, actor="eve")])
def test_who_read_it_before_is_told_that_its_end_was_cut_off_or_rewritten(tmp_path: Path, damage: object) -> None:
    ledger = filled(tmp_path)
    assert len(ledger.events()) == 4
    damage(tmp_path)  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(BrokenLedgerError, match="event 4 of the ledger was read before and is gone or another now"):
            ledger.events()


def test_what_was_repaired_is_read_again(tmp_path: Path) -> None:
    ledger, path = filled(tmp_path), tmp_path / "000002.json"
    sound = path.read_bytes()
    change(tmp_path)
    with pytest.raises(BrokenLedgerError):
        ledger.events()
    path.write_bytes(sound)
    assert len(ledger.events()) == 4


def test_a_glance_differs_where_anything_was_added_changed_or_removed(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    time.sleep(0.15)
    seen = [ledger.revision()]
    assert ledger.revision() == seen[0]
    for damage in (change, no_file(3), lambda folder: copy(folder, 2, 4)):
        damage(tmp_path)
        assert ledger.revision() not in seen
        seen.append(ledger.revision())


@pytest.mark.parametrize("name", ["README.txt", "3.json", "0000003.json", "000003 (copy).json", "000000.json", "a/b"])
def test_what_is_no_event_is_told_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    ledger = filled(tmp_path, 2)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("hands off")
    (tmp_path / ".partial-abc").write_text("half of an ev")
    for _ in range(3):
        assert len(ledger.events()) == 2
    assert ledger.unrecognized_files() == (name,)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: not events of the ledger, and left alone: {name}"
    ]


def test_events_beyond_a_million_come_in_order() -> None:
    names = [file_name(number) for number in (9, 999_999, 1_000_000, 10_000_000)]
    assert [number_of(name) for name in names] == [9, 999_999, 1_000_000, 10_000_000]


def test_a_ledger_written_by_an_earlier_release_is_read_and_continued(tmp_path: Path) -> None:
    """The bytes on disk are what other releases write and read: they never change."""
    (tmp_path / "000001.json").write_text(EARLIER + "\n")
    ledger = Ledger(FolderBlobStore(tmp_path))
    (event,) = ledger.events()
    assert (event.digest, event.actor) == (EARLIER_DIGEST, "tester")
    ledger.append(following([event]))
    assert (tmp_path / "000001.json").read_text() == event.text() + "\n" == EARLIER + "\n"
    assert ledger.events()[1].previous == EARLIER_DIGEST


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
    assert Ledger(FolderBlobStore(tmp_path)).events()[-1].actor == winners[0]
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
