"""A group of folds run as child processes over devices: queued, followed, started again after a kill, stopped."""

import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.train_folds.devices import Device, Share, assign
from components.train_folds.outcome import FoldOutcome, State, decisive, log_tail, reason_of, signal_name
from components.train_folds.worker import FoldJob, FoldProcesses
from spine.log_lines import about
from spine.logs import INTERRUPTED, format_os_error
from spine.progress import ProgressEvent, ProgressReader
from spine.settings import settings

_LOG = logging.getLogger(__name__)
_POLL_S = 0.1
_DEATHS_IN_A_ROW = 3


def run_group(
    jobs: Sequence[FoldJob],
    *,
    devices: Sequence[Device],
    batch_size: int,
    stop: threading.Event,
    on_event: Callable[[ProgressEvent], None] | None = None,
    grace_s: float = 120.0,
) -> list[FoldOutcome]:
    """Run every fold to its end and return what came of each, in the order of ``jobs``; none stops another.

    A child ends with 0 when its fold is done, with 130 when it was stopped and has saved, with 2 after a line
    ``error: …``. One that a signal has killed is started again, for as long as its newest checkpoint gets further.
    When ``stop`` is set, each child gets a SIGTERM, and ``grace_s`` later a SIGKILL. To be called from a thread that
    lives on: the kernel takes its end for that of the parent.

    ``on_event`` is given the children's progress events, unless this process has a progress file: they inherit it.
    """
    shares = assign(folds=len(jobs), devices=devices, batch_size=batch_size)
    with _events(on_event) as (environment, tell):
        group = _Group(jobs, shares, environment={**_threads(shares), **environment}, stop=stop, grace_s=grace_s)
        try:
            while group.goes_on():
                tell()
                time.sleep(_POLL_S)
        finally:
            group.end()
        tell()
    return [group.outcomes[job.fold] for job in jobs]


class _Run:
    """One fold under way, over all its starts."""

    def __init__(self, job: FoldJob, share: Share, *, environment: Mapping[str, str]) -> None:
        self.job, self.share = job, share
        self.restarts = self._deaths = 0
        self._reached = job.progress()
        self._environment = environment
        self.processes = FoldProcesses(job, share, environment=environment)

    def is_worth_another(self) -> bool:
        """Count one more death; False for one too many since the newest checkpoint last got further."""
        reached = self.job.progress()
        self._deaths = 0 if reached > self._reached else self._deaths + 1
        self._reached = reached  # it may lie further back now, where a damaged checkpoint was set aside
        return self._deaths < _DEATHS_IN_A_ROW

    def start_again(self) -> None:
        self.restarts += 1
        self.processes = FoldProcesses(self.job, self.share, environment=self._environment)

    def log_tail(self) -> str:
        return log_tail(self.job.log, since=self.processes.log_start)


class _Group:
    """Folds that wait, folds that run, devices that are free."""

    def __init__(
        self,
        jobs: Sequence[FoldJob],
        shares: Sequence[Share],
        *,
        environment: Mapping[str, str],
        stop: threading.Event,
        grace_s: float,
    ) -> None:
        self.outcomes: dict[int, FoldOutcome] = {}
        self._waiting, self._free = deque(jobs), deque(shares)
        self._running: list[_Run] = []
        self._environment, self._stop, self._grace_s = environment, stop, grace_s

    def goes_on(self) -> bool:
        """Look once at everything; False when no fold waits or runs any more."""
        if self._stop.is_set():
            self._ask_to_end()
        while self._waiting and self._free:
            self._start(self._waiting.popleft(), self._free.popleft())
        for run in list(self._running):
            codes = run.processes.poll()
            if codes is not None:
                self._ended(run, decisive(codes))
        return bool(self._waiting or self._running)

    def end(self) -> None:
        """End what still runs, where something went wrong in this process."""
        self._ask_to_end()
        while any(run.processes.poll() is None for run in self._running):
            time.sleep(_POLL_S)

    def _ask_to_end(self) -> None:
        for run in self._running:
            run.processes.ask_to_end(grace_s=self._grace_s)
        while self._waiting:
            fold = self._waiting.popleft().fold
            self.outcomes[fold] = FoldOutcome(fold=fold, state="interrupted", reason="stopped before it began")

    def _start(self, job: FoldJob, share: Share) -> None:
        try:
            self._running.append(_Run(job, share, environment=self._environment))
        except OSError as error:
            self.outcomes[job.fold] = FoldOutcome(fold=job.fold, state="failed", reason=_not_started(error))
            self._free.append(share)

    def _ended(self, run: _Run, code: int) -> None:
        tail = run.log_tail()
        if code == 0:
            self._settle(run, "done")
        elif code == INTERRUPTED or (code < 0 and self._stop.is_set()):
            self._settle(run, "interrupted", reason=reason_of(code, tail), tail=tail)
        elif code > 0:
            self._settle(run, "failed", reason=reason_of(code, tail), tail=tail)
        elif run.is_worth_another():
            self._start_again(run, code)
        else:
            cause = " (out of memory?)" if signal_name(code) == "SIGKILL" else ""
            reason = f"killed by {signal_name(code)} {_DEATHS_IN_A_ROW} times without getting further{cause}"
            self._settle(run, "failed", reason=reason, tail=tail)

    def _start_again(self, run: _Run, code: int) -> None:
        fold = run.job.fold
        with about(fold=fold):
            _LOG.warning("fold %d: killed by %s; started again from its newest checkpoint", fold, signal_name(code))
        try:
            run.start_again()
        except OSError as error:
            self._settle(run, "failed", reason=_not_started(error))

    def _settle(self, run: _Run, state: State, *, reason: str = "", tail: str = "") -> None:
        fold = run.job.fold
        self.outcomes[fold] = FoldOutcome(fold, state, reason=reason, log_tail=tail, restarts=run.restarts)
        self._running.remove(run)
        self._free.append(run.share)


def _not_started(error: OSError) -> str:
    return f"could not be started: {format_os_error(error) or error}"


def _threads(shares: Sequence[Share]) -> dict[str, str]:
    """Share this process's cores out among the children, unless the user has said what each gets."""
    workers = sum(len(share) for share in shares)
    threads = settings().training_threads or max(1, settings().cpu_threads // max(1, workers))
    return {"SPINELINE_TRAINING_THREADS": str(threads)}


@contextmanager
def _events(
    on_event: Callable[[ProgressEvent], None] | None,
) -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """Yield what children need to know to report events, and a function that hands on those not yet seen."""
    if on_event is None or settings().progress_file is not None:
        yield {}, lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="spineline-events-") as folder:
        reader = ProgressReader(Path(folder) / "events.jsonl")

        def tell() -> None:
            for event in reader.new_events():
                on_event(event)

        yield {"SPINELINE_PROGRESS_FILE": str(Path(folder) / "events.jsonl")}, tell
