"""Run a pipeline on this machine: a driver in its own process group, followed by its progress events."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from spine.errors import SpinelineError, StepFailedError
from spine.log_lines import identify, readable
from spine.logs import INTERRUPTED
from spine.progress import ProgressEvent, ProgressReader
from spine.settings import child_environment
from spine.steps import ERROR, RECORD
from spine.storage import write_json

_POLL_S = 0.2
_GRACE_S = 140.0  # longer than the folds of a group have to finish an iteration and save
_TAIL_LINES = 15


class RunInterruptedError(SpinelineError):
    """The run was stopped by a signal; every child process has ended."""

    exit_code = INTERRUPTED


class RunInProgressError(SpinelineError):
    """Another run works in the same root."""


@dataclass
class LocalRun:
    """What came of a run: the records that each step made, in order."""

    folder: Path
    records: dict[str, list[str]] = field(default_factory=dict)
    error: ProgressEvent | None = None

    def take(self, event: ProgressEvent) -> bool:
        """Keep an event that carries a record or an error; False for one that is mere progress."""
        if event.task == RECORD:
            self.records.setdefault(event.step, []).append(event.note)
        elif event.task == ERROR:
            self.error = event
        return event.task in (RECORD, ERROR)

    def record(self, step: str) -> str:
        """Return the one record that a step owes; raises StepFailedError where it is not there."""
        return self.records_owed(step, 1)[0]

    def records_owed(self, step: str, count: int) -> list[str]:
        """Return the records that a step owes: a step that was skipped silently has not made them."""
        made = self.records.get(step, [])
        if len(made) != count:
            reason = f"made {len(made)} of {count} records; log: {self.log}"
            raise StepFailedError(step, reason=reason, log_tail=self.log_tail())
        return made

    @property
    def log(self) -> Path:
        """Everything that the steps printed."""
        return self.folder / "run.log"

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        if not self.log.is_file():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(readable(line) for line in lines)


def run_local(
    *,
    pipeline: str,
    arguments: dict[str, Any],
    root: Path,
    on_event: Callable[[ProgressEvent], None],
    fold_groups: list[list[int]] | None = None,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], object] | None = None,
) -> LocalRun:
    """Run ``pipeline`` to its end and return what its steps made; ``prepare`` is called once no other run is left.

    Raises StepFailedError with the failing step's message and log, RunInterruptedError on SIGINT or SIGTERM after
    every child has ended, RunInProgressError where the root is in use.
    """
    run = LocalRun(folder=root / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{pipeline}-{os.getpid()}")
    run.folder.mkdir(parents=True)
    identify(run=run.folder.name)
    specification = run.folder / "specification.json"
    write_json(
        specification,
        {
            "pipeline": pipeline,
            "arguments": arguments,
            "fold_groups": fold_groups or [],
            "outputs": str(run.folder / "outputs"),
        },
    )
    events = run.folder / "events.jsonl"
    with _only_run(root) as lock, run.log.open("wb") as log, _signals_raised():
        if prepare:
            prepare()
        driver = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local_driver", str(specification)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env=child_environment(
                **(environment or {}),
                SPINELINE_PROGRESS_FILE=str(events),
                SPINELINE_ROOT=str(root),
                SPINELINE_RUN=run.folder.name,
                TERM="dumb",
            ),
        )
        try:
            _follow(driver, ProgressReader(events), run, on_event)
        except (KeyboardInterrupt, RunInterruptedError) as error:
            raise RunInterruptedError("stopped; run the same command again to continue") from error
        finally:
            _end_group(driver)
    if run.error:
        raise StepFailedError(run.error.step, reason=f"failed: {run.error.note}", log_tail=run.log_tail())
    if driver.returncode != 0:
        step = next(reversed(run.records), pipeline)
        reason = f"was the last to finish, then the run failed with status {driver.returncode}; log: {run.log}"
        raise StepFailedError(step, reason=reason, log_tail=run.log_tail())
    return run


def _follow(
    driver: "subprocess.Popen[bytes]", reader: ProgressReader, run: LocalRun, on_event: Callable[[ProgressEvent], None]
) -> None:
    running = True
    while running:
        running = driver.poll() is None
        for event in reader.new_events():
            if not run.take(event):
                on_event(event)
        if running:
            time.sleep(_POLL_S)


def _end_group(driver: "subprocess.Popen[bytes]") -> None:
    """End every process of the driver's group: politely, then for certain."""
    deadline = time.monotonic() + _GRACE_S
    sent = signal.SIGTERM
    while _group_lives(driver.pid):
        driver.poll()
        os.killpg(driver.pid, sent)
        time.sleep(_POLL_S)
        if time.monotonic() > deadline:
            sent = signal.SIGKILL
    driver.wait()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _only_run(root: Path) -> Iterator[int]:
    """Hold the root's lock; the driver inherits it, so that it is held until the last of the run is gone."""
    path = root / "run.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode() or "unknown"
            raise RunInProgressError(f"{path}: held by another run ({holder}); expected one run in a root") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid()}).encode(), 0)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise on SIGTERM, as Python does on SIGINT, so that children are ended on the way out."""

    def stop(number: int, _: FrameType | None) -> None:
        raise RunInterruptedError(signal.Signals(number).name)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
