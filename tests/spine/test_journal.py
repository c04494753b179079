"""Journals: what is told is read again, whatever becomes of the writer."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spine.journal import Entry, Journal, JournalReader, end_journal, last_status

TORN = b'{"metrics": {"loss": 0.5}, "st'


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "fold_0" / "journal.jsonl")


@pytest.fixture(autouse=True)
def folder(journal: Journal) -> None:
    journal.path.parent.mkdir()


def entries(journal: Journal, offset: int = 0) -> list[Entry]:
    return [entry for entry, _ in JournalReader(journal.path, offset)]


def test_what_is_told_is_read_again_in_its_order(journal: Journal) -> None:
    journal.status("RUNNING")
    journal.parameters({"training.epochs": "1000"})
    journal.metrics({"loss": 0.5, "dice": np.float32(0.25)}, step=1)
    journal.tags({"note": "two\nlines, é"})
    told = entries(journal)
    assert told[0].status == "RUNNING"
    assert told[1].parameters == {"training.epochs": "1000"}
    assert (told[2].metrics, told[2].step) == ({"loss": 0.5, "dice": 0.25}, 1)
    assert told[3].tags == {"note": "two\nlines, é"}
    assert [entry.time_s for entry in told] == sorted(entry.time_s for entry in told)


def test_values_that_are_no_finite_number_are_left_out(journal: Journal) -> None:
    journal.metrics({"loss": math.nan, "dice": None, "seconds": 3.5, "ratio": math.inf}, step=4)
    journal.metrics({"loss": math.nan}, step=5)
    assert [entry.metrics for entry in entries(journal)] == [{"seconds": 3.5}]


def test_a_reader_goes_on_behind_what_was_read(journal: Journal) -> None:
    for step in (1, 2, 3):
        journal.metrics({"loss": 1.0}, step=step)
    (_, first), (_, second), _ = JournalReader(journal.path)
    assert [entry.step for entry in entries(journal, first)] == [2, 3]
    assert [entry.step for entry in entries(journal, second)] == [3]


def test_an_unfinished_last_line_is_left_for_later(journal: Journal) -> None:
    journal.metrics({"loss": 1.0}, step=1)
    with journal.path.open("ab") as stream:
        stream.write(TORN)
    ((first, offset),) = JournalReader(journal.path)
    assert first.step == 1
    assert entries(journal, offset) == []


def test_a_torn_line_is_passed_over_and_costs_no_later_entry(journal: Journal) -> None:
    journal.metrics({"loss": 1.0}, step=1)
    with journal.path.open("ab") as stream:
        stream.write(TORN)
    for step in (2, 3):
        journal.metrics({"loss": 1.0}, step=step)
    assert [entry.step for entry in entries(journal)] == [1, 2, 3]


def test_a_line_that_lacks_its_end_only_is_kept(journal: Journal) -> None:
    journal.metrics({"loss": 1.0}, step=1)
    journal.path.write_bytes(journal.path.read_bytes().rstrip(b"\n"))
    journal.metrics({"loss": 1.0}, step=2)
    assert [entry.step for entry in entries(journal)] == [1, 2]


def test_a_journal_that_is_not_there_has_no_entries(journal: Journal) -> None:
    assert entries(journal) == []


def test_two_processes_write_whole_lines_side_by_side(journal: Journal) -> None:
    code = (
        "import sys; from pathlib import Path; from spine.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for step in range(300): journal.metrics({f'{sys.argv[2]}{number}': 1.5 for number in range(40)}, step=step)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(journal.path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    told = entries(journal)
    for name in "ab":
        assert [entry.step for entry in told if f"{name}0" in entry.metrics] == list(range(300))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_training_goes_on_where_the_disk_is_full(caplog: pytest.LogCaptureFixture) -> None:
    Journal(Path("/dev/full")).metrics({"loss": 1.0}, step=1)
    assert "/dev/full: an entry of the journal is lost" in caplog.text


def test_training_goes_on_where_the_folder_is_gone(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.path.parent.rmdir()
    journal.status("FINISHED")
    assert "an entry of the journal is lost" in caplog.text


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ((), None),
        (("RUNNING",), "RUNNING"),
        (("RUNNING", "KILLED"), "KILLED"),
        (("KILLED", "RUNNING"), "RUNNING"),
    ],
)
def test_the_newest_status_is_read_and_only_a_running_one_is_ended(tmp_path, written, status):
    path = tmp_path / "journal.jsonl"
    for each in written:
        Journal(path).status(each)
        Journal(path).tags({"note": 'holds "status": "FAILED" as text'})
    assert last_status(path) == status
    assert end_journal(path, "FAILED") == (status == "RUNNING")
    assert last_status(path) == ("FAILED" if status == "RUNNING" else status)
