"""The processes that train one fold on its share of the devices, and the thread by which they hang on their parent."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.train_folds.devices import Share, visible_to
from spine.logs import INTERRUPTED
from spine.settings import child_environment
from spine.workers import signal_after_parent

_PARENT = "SPINELINE_PARENT_PROCESS"
_PEER_GRACE_S = 10.0
_SAVING_GRACE_S = 120.0


@dataclass(frozen=True)
class FoldJob:
    """One fold to train: the program that does it, where it prints to, and how far its newest checkpoint is."""

    fold: int
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[], int] = lambda: 0


class FoldProcesses:
    """A fold's processes, one a device, each leading a process group of its own.

    So an interrupt at the keyboard does not tear them from a checkpoint, and what they have started (augmentation
    workers, which outlive a killed parent) can be ended with them.
    """

    def __init__(self, job: FoldJob, share: Share, *, environment: Mapping[str, str]) -> None:
        """Start the processes; raises OSError where that fails, with none left."""
        self.job, self.share = job, share
        self._processes: list[subprocess.Popen[bytes]] = []
        self._verdict: list[int] = []
        self._kill_at: float | None = None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with job.log.open("ab") as log:
                self.log_start = log.tell()
                for extra in _ranks(share):
                    own = {**environment, **extra, **job.environment, _PARENT: str(os.getpid())}
                    self._processes.append(_start(job.command, log.fileno(), own))
        except OSError:
            self.kill()
            raise

    def poll(self) -> list[int] | None:
        """Return the exit codes that tell what happened, once every process has ended; None before.

        Where one fails or is killed, the others wait for it in vain: they are ended, and their codes don't count.
        Where one was stopped, the others may still be saving.
        """
        codes = [process.poll() for process in self._processes]
        ended = [code for code in codes if code is not None]
        if any(code not in (0, INTERRUPTED) for code in ended):
            self._verdict = self._verdict or ended
            self.ask_to_end(grace_s=_PEER_GRACE_S)
        elif INTERRUPTED in ended:
            self.ask_to_end(grace_s=_SAVING_GRACE_S)
        if len(ended) < len(codes):
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self.kill()
            return None
        self.kill()
        return self._verdict or ended

    def ask_to_end(self, *, grace_s: float) -> None:
        """Ask each process once to save and end; those that still run ``grace_s`` later are killed by ``poll``."""
        if self._kill_at is None:
            for process in self._processes:
                process.terminate()
        kill_at = time.monotonic() + grace_s
        self._kill_at = min(kill_at, self._kill_at or kill_at)

    def kill(self) -> None:
        """End the processes, and all that they have started, at once."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """Have this process get a SIGTERM when the group that started it is gone; to be called first thing.

    Where it is gone by now, the SIGTERM comes at once. A process that no group has started goes on as it is.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None:
        return
    signal_after_parent(signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


def _start(command: Sequence[str], log: int, extra: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,
        env=child_environment(**extra),
    )


def _ranks(share: Share) -> list[dict[str, str]]:
    """Return what each process of a share finds in its environment: the share's devices, and its rank among them.

    A process that trains alone is told so, lest it takes the ranks of a launcher around this process for its own.
    """
    common = {
        "CUDA_VISIBLE_DEVICES": visible_to(share, inherited=child_environment().get("CUDA_VISIBLE_DEVICES")),
        "WORLD_SIZE": str(len(share)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(len(share))]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
