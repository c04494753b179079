"""What this server says of itself to those who promote: a report beside the ledger, at each change and every 5 s."""

import logging
import os
import re
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from components.serve_model.server_info import own_announcement
from model_registry.replicas import REPORTED_EVERY_S, ReplicaReport, Replicas
from spine.errors import SpinelineError
from spine.storage import write_text

_LOG = logging.getLogger(__name__)
_FORGOTTEN_AFTER = timedelta(days=1)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]")


class Followed(Protocol):
    """What a report tells of the one who follows the ledger."""

    def report(self, *, name: str, url: str) -> ReplicaReport:
        """Return the report now."""


class Reporter(threading.Thread):
    """A thread of its own: a version that takes long to load must not let its server fall silent."""

    def __init__(
        self, *, root: Path, replicas: Callable[[], Replicas], followed: Followed, pause_s: float = REPORTED_EVERY_S
    ) -> None:
        super().__init__(name="replica-reporter", daemon=True)
        self._root, self._open, self._followed, self._pause_s = root, replicas, followed, pause_s
        self._turn = threading.Condition()
        self._asked, self._written, self._is_ending = 0, 0, False
        self._problem: str | None = None
        self._name = ""

    def changed(self, *, wait_s: float = 0.0) -> None:
        """Let a report be written at once, and wait for it for at most ``wait_s``: a store may hang."""
        with self._turn:
            self._asked += 1
            asked = self._asked
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._written >= asked, wait_s)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End the thread and remove the report: this server has ended."""
        with self._turn:
            self._is_ending = True
            self._turn.notify_all()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        """Report until asked to stop; a store that does not answer is told once and tried again."""
        self._name, url = _identity(self._root)
        replicas: Replicas | None = None
        is_sole = False
        while not self._is_ending:
            asked = self._asked
            try:
                replicas = replicas or self._open()
                replicas.write(self._followed.report(name=self._name, url=url))
                self._wrote(asked)
                if not is_sole:
                    # After the first report: while there is none, no server is there for who promotes.
                    _take_place(self._root, replicas, name=self._name)
                    _forget_old(replicas, before=self._name)
                    is_sole = True
                self._problem = None
            except (SpinelineError, OSError) as error:
                self._log_once(error)
            self._rest(after=asked)
        try:
            if replicas is not None:
                replicas.remove(self._name)
        except (SpinelineError, OSError) as error:
            self._log_once(error)

    def _wrote(self, asked: int) -> None:
        with self._turn:
            self._written = asked
            self._turn.notify_all()

    def _rest(self, *, after: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._is_ending or self._asked > after, self._pause_s)

    def _log_once(self, error: Exception) -> None:
        if str(error) != self._problem:
            _LOG.warning("this server can't report itself, and is not waited for: %s", error)
        self._problem = str(error)


def _identity(root: Path) -> tuple[str, str]:
    """Return the name of this process, which no other has, and its address.

    Two hosts may have one name, and two servers of a host one port, each on an address of its own.
    """
    info = own_announcement(root)
    place = f"pid{os.getpid()}" if info is None else f"{info.host}-{info.port}"
    name = f"{os.uname().nodename}-{place}-{secrets.token_hex(3)}"
    return _NOT_IN_NAMES.sub("-", name), info.url if info else ""


def _take_place(root: Path, replicas: Replicas, *, name: str) -> None:
    """Remove at once what a killed server of this root left, whose name lies there: a root has one server at a time."""
    if own_announcement(root) is None:
        return
    file = root / "serving" / "replica.txt"
    if file.is_file():
        replicas.remove(file.read_text(encoding="utf-8").strip())
    write_text(file, name + "\n")


def _forget_old(replicas: Replicas, *, before: str) -> None:
    """Remove what killed servers left: at once what is silent in the place of ``before``, others after a day.

    A silent one may only be cut off; it reports itself again.
    """
    place = before.rpartition("-")[0]
    for report in replicas.reports():
        is_old = datetime.now(UTC) - datetime.fromisoformat(report.at) > _FORGOTTEN_AFTER
        if is_old or (not report.is_fresh and report.name.rpartition("-")[0] == place):
            replicas.remove(report.name)
