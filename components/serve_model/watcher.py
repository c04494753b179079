"""Follows the ledger: brings the version in use into the engine, and keeps the live one where that fails."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.serve_model.engine import Engine
from components.serve_model.errors import LedgerError
from components.serve_model.telemetry import Telemetry
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.state import State, fold
from spine.errors import SpinelineError
from spine.settings import settings
from spine.values import Value

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 60.0


class LoadFailure(Value):
    """Why a version could not go live."""

    version: int
    reason: str
    at: str
    """UTC, ISO 8601."""
    attempts: int


class Watcher(threading.Thread):
    """A thread that looks at the ledger; a version that fails to load is tried again with a growing pause."""

    def __init__(
        self, *, root: Path, engine: Engine, telemetry: Telemetry, poll_s: float = 0.3, retry_pause_s: float = 2.0
    ) -> None:
        super().__init__(name="ledger-watcher", daemon=True)
        self._root, self._engine, self._telemetry = root, engine, telemetry
        self._registry = Registry.at(root, settings())
        self._poll_s, self._retry_pause_s = poll_s, retry_pause_s
        self._stop_asked = threading.Event()
        self._seen: tuple[int, int] | None = None
        self._last_event: Event | None = None
        self._retry_at: float | None = None
        self.wanted: int | None = None
        """The version that the ledger names."""
        self.last_failure: LoadFailure | None = None
        """The last failure since a model went live."""
        self.ledger_problem: str | None = None

    def run(self) -> None:
        """Look at the ledger until asked to stop; nothing that happens here ends the thread."""
        warmed = False
        while not self._stop_asked.is_set():
            try:
                self.look()
                if not warmed:
                    warmed = True
                    self._engine.warm_up()
            except Exception:
                _LOG.exception("looking at the ledger failed; the live model stays")
                self._retry_at = time.monotonic() + self._retry_pause_s
            self._stop_asked.wait(self._poll_s)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Ask the thread to end, and wait a while for it."""
        self._stop_asked.set()
        self.join(timeout_s)

    def look(self) -> None:
        """Read the ledger where it changed, or a retry is due, and bring what it names into the engine."""
        seen = _glance(self._root / "ledger")
        due = self._retry_at is not None and time.monotonic() >= self._retry_at
        if seen == self._seen and not due:
            return
        self._seen = seen
        state = self._sound_state()
        if state is None:
            self._retry_at = time.monotonic() + self._retry_pause_s
            return
        self._drop_revoked(state)
        self.wanted = state.serving
        live = self._engine.live
        if self.wanted is None or (live is not None and live.version == self.wanted):
            self._retry_at = None
        else:
            self._bring(self.wanted)
        self._telemetry.behind.set(self.wanted is not None and self._live_version() != self.wanted)

    def _bring(self, version: int) -> None:
        try:
            model, was_warm = self._engine.prepare(self._registry, version)
        except Exception as error:
            self._failed(version, error)
            return
        state = self._sound_state()
        if state is None or state.serving != version:
            # The ledger went on while this was loading: the next look follows it.
            self._seen = None
            return
        self._engine.switch(model)
        self._retry_at, self.last_failure = None, None
        self._telemetry.swapped("warm" if was_warm else "loaded", live=model)
        _LOG.info("version %d is live, golden case Dice %.4f", version, model.golden_dice)

    def _failed(self, version: int, error: Exception) -> None:
        earlier = self.last_failure
        attempts = earlier.attempts + 1 if earlier is not None and earlier.version == version else 1
        pause_s = min(self._retry_pause_s * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE_S)
        self._retry_at = time.monotonic() + pause_s
        self.last_failure = LoadFailure(
            version=version,
            reason=self._told(error),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            attempts=attempts,
        )
        self._telemetry.swapped("failed", live=self._engine.live)
        traceback = None if isinstance(error, SpinelineError) else error
        _LOG.error("version %d can't go live, next try in %.0f s: %s", version, pause_s, error, exc_info=traceback)

    def _sound_state(self) -> State | None:
        try:
            events = self._registry.history()
            self._require_continued(events)
        except (SpinelineError, OSError) as error:
            if self.ledger_problem != self._told(error):
                _LOG.error("the ledger can't be followed, the live model stays: %s", error)
            self.ledger_problem = self._told(error)
            return None
        self.ledger_problem = None
        self._last_event = events[-1] if events else None
        return fold(events)

    def _require_continued(self, events: Sequence[Event]) -> None:
        """Refuse a ledger whose end was cut off: it would read like a rollback."""
        last = self._last_event
        if last is None:
            return
        if len(events) < last.number or events[last.number - 1].digest != last.digest:
            raise LedgerError(f"event {last.number} of the ledger was read before and is gone or different now")

    def _drop_revoked(self, state: State) -> None:
        for version in self._engine.held():
            known = state.versions.get(version)
            if known is None or known.life == "revoked":
                _LOG.warning("version %d was revoked and is no longer served", version)
                self._engine.drop(version)
                self._telemetry.shows(self._engine.live)

    def _live_version(self) -> int | None:
        live = self._engine.live
        return None if live is None else live.version

    def _told(self, error: Exception) -> str:
        line = (str(error).splitlines() or [""])[0] or type(error).__name__
        return line.replace(f"{self._root}{os.sep}", "")


def _glance(folder: Path) -> tuple[int, int]:
    """Return the number of events and the time of the newest change: no content is read."""
    try:
        with os.scandir(folder) as entries:
            times = [entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".json")]
    except FileNotFoundError:
        return (0, 0)
    return (len(times), max(times, default=0))
