"""Heartbeats of a working process, and how long they have been silent by the reader's own clock."""

import os
import time

import pytest

from spine.heartbeat import HEARTBEAT_FILE, Heartbeat, HeartbeatWatch


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_every_folders_heartbeat_changes_until_the_block_ends(tmp_path):
    folders = [tmp_path / "a", tmp_path / "new" / "b"]
    seen = set()
    with Heartbeat(folders, period_s=0.02):
        deadline = time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < deadline:
            seen.add((folders[1] / HEARTBEAT_FILE).read_text())
    assert len(seen - {""}) >= 2
    last = [(folder / HEARTBEAT_FILE).read_text() for folder in folders]
    time.sleep(0.1)
    assert [(folder / HEARTBEAT_FILE).read_text() for folder in folders] == last


def test_a_heartbeat_that_can_not_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with Heartbeat([tmp_path / "file"], period_s=0.01):
        time.sleep(0.1)
    assert len([line for line in caplog.records if "heartbeat not written" in line.message]) == 1


def test_silence_is_counted_from_the_last_change_that_was_seen(tmp_path, clock):
    watch, file = HeartbeatWatch(clock), tmp_path / HEARTBEAT_FILE
    file.write_text("1")
    os.utime(file, (0, 0))
    assert watch.silent_s(file) == 0, "what the file's own time says is another clock's"
    clock.now = 100
    assert watch.silent_s(file) == 100
    file.write_text("2")
    assert watch.silent_s(file) == 0
    clock.now = 130
    assert watch.silent_s(file) == 30


@pytest.mark.parametrize("change", ["journal grows", "heartbeat appears"])
def test_any_of_the_files_ends_the_silence(tmp_path, clock, change):
    watch, heartbeat, journal = HeartbeatWatch(clock), tmp_path / HEARTBEAT_FILE, tmp_path / "journal.jsonl"
    journal.write_text("line\n")
    watch.silent_s(heartbeat, journal)
    clock.now = 60
    assert watch.silent_s(heartbeat, journal) == 60
    journal.write_text("line\nline\n") if change == "journal grows" else heartbeat.write_text("1")
    assert watch.silent_s(heartbeat, journal) == 0


def test_a_file_that_can_not_be_read_is_not_silent(tmp_path, clock):
    watch, file = HeartbeatWatch(clock), tmp_path / HEARTBEAT_FILE
    file.mkdir()
    for clock.now in (0.0, 600.0):
        assert watch.silent_s(file) == 0
