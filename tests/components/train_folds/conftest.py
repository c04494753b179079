"""Small programs that stand in for folds: real child processes that note down what happens to them."""

import json
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.train_folds.devices import Device
from components.train_folds.group import run_group
from components.train_folds.worker import FoldJob
from spine.settings import settings

NOTE = """
import json, os, pathlib, signal, sys, time
def note(**more):
    with open(sys.argv[1], "a") as stream:
        stream.write(json.dumps({"fold": int(sys.argv[2]), "pid": os.getpid(), "at": time.time(), **more}) + "\\n")
"""
SAVES_WHEN_STOPPED = """
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
note(event="ready")
while not stopped:
    time.sleep(0.02)
note(event="saved")
sys.exit(130)
"""


class Programs:
    """Jobs that run a few lines of Python each, and what they noted down in one file."""

    saves_when_stopped = SAVES_WHEN_STOPPED

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "notes.jsonl"

    def command(self, fold, script):
        return [sys.executable, "-c", NOTE + textwrap.dedent(script), str(self.file), str(fold)]

    def job(self, fold, script, **more):
        log = self.path / f"fold_{fold}" / "train.log"
        return FoldJob(fold=fold, command=self.command(fold, script), log=log, **more)

    def run(self, *jobs, devices=1, stop=None, **more):
        given = [Device("cpu", index) for index in range(devices)]
        return run_group(jobs, devices=given, batch_size=2, stop=stop or threading.Event(), **more)

    def run_until(self, count, *jobs, devices=1, **more):
        """Run jobs and stop them when ``count`` have noted that they are ready."""
        stop = threading.Event()
        stopper = threading.Thread(target=lambda: (self.wait_for(count, event="ready"), stop.set()))
        stopper.start()
        outcomes = self.run(*jobs, devices=devices, stop=stop, **more)
        stopper.join()
        return outcomes

    def notes(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.is_file() else []

    def wait_for(self, count, **wanted):
        deadline = time.monotonic() + 30
        while len([note for note in self.notes() if wanted.items() <= note.items()]) < count:
            assert time.monotonic() < deadline, self.notes()
            time.sleep(0.02)

    def until_gone(self, pids=None):
        pids = pids or [note["pid"] for note in self.notes()]
        assert pids
        deadline = time.monotonic() + 20
        while any(lives(pid) for pid in pids):
            assert time.monotonic() < deadline, "a process is left"
            time.sleep(0.02)


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def programs(tmp_path, monkeypatch):
    monkeypatch.delenv("SPINELINE_PROGRESS_FILE", raising=False)
    settings.cache_clear()
    yield Programs(tmp_path)
    settings.cache_clear()
