"""Follows the ledger: brings the version in use into the engine, and keeps the live one where that fails."""

import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from components.serve_model.engine import Engine
from components.serve_model.errors import DrainingError
from components.serve_model.heartbeat import Reporter
from components.serve_model.prefetching import Prefetcher
from components.serve_model.telemetry import Telemetry
from model_registry.errors import GoldenCaseError
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.replicas import LoadFailure, ReplicaReport
from model_registry.state import State, replay
from spine.blob_store import BlobStoreUnreachableError
from spine.errors import SpinelineError
from spine.log_lines import about
from spine.settings import settings

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 60.0
_PASSING = (BlobStoreUnreachableError, DrainingError)
_REMOTE_POLL_S = 2.0
"""Between two looks at a ledger over the network, where each costs a request."""
_REPORT_S = 0.5
"""How long a load waits until it is told that its event was seen."""


class Watcher(threading.Thread):
    """A thread that looks at the ledger; a version that fails to load is tried again with a growing pause."""

    def __init__(
        self, *, root: Path, engine: Engine, telemetry: Telemetry, poll_s: float = 0.3, retry_pause_s: float = 2.0
    ) -> None:
        super().__init__(name="ledger-watcher", daemon=True)
        self._root, self._engine, self._telemetry = root, engine, telemetry
        self._registry = self._opened()
        is_remote = self._registry.replicas().is_remote
        self._poll_s, self._retry_pause_s = max(poll_s, _REMOTE_POLL_S * is_remote), retry_pause_s
        self._reporter = Reporter(root=root, replicas=lambda: self._opened().replicas(), followed=self)
        self._prefetcher = Prefetcher(engine=engine, registry=self._opened)
        self._stop_asked = threading.Event()
        self._seen: object = None
        self._last_event: Event | None = None
        self._retry_at: float | None = None
        self._before: int | None = None
        self.wanted: int | None = None
        """The version that the ledger names."""
        self.last_failure: LoadFailure | None = None
        """The last failure since a model went live."""
        self.ledger_problem: str | None = None

    def run(self) -> None:
        """Look at the ledger until asked to stop; nothing that happens here ends the thread."""
        self._reporter.start()
        self._prefetcher.start()
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
        """Ask the thread to end, wait a while for it, and take this server off the list of replicas."""
        self._stop_asked.set()
        self.join(timeout_s)
        self._prefetcher.stop()
        self._reporter.stop()

    def report(self, *, name: str, url: str) -> ReplicaReport:
        """Return what this server says of itself now."""
        live, last = self._engine.live, self._last_event
        return ReplicaReport(
            name=name,
            url=url,
            pid=os.getpid(),
            version=live.version if live else None,
            event=last.number if last else 0,
            event_digest=last.digest if last else None,
            golden_dice=live.golden_dice if live else None,
            failure=self.last_failure,
            ledger_problem=self.ledger_problem,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    def look(self) -> None:
        """Read the ledger where it changed, or a retry is due, and bring what it names into the engine."""
        self._keep_prefetched()
        due = self._retry_at is not None and time.monotonic() >= self._retry_at
        try:
            seen = self._registry.revision()
        except (SpinelineError, OSError) as error:
            self._seen = None
            self._cut_off(error)
            return
        if seen == self._seen and not due:
            return
        self._seen = seen
        state = self._sound_state()
        if state is None:
            self._retry_at = time.monotonic() + self._retry_pause_s
            return
        self._follow(state)
        self._tell_whether_behind()
        self._reporter.changed()

    def _follow(self, state: State) -> None:
        self._drop_revoked(state)
        self.wanted = state.serving
        # Told now, too: a load that hangs would never come to tell.
        self._tell_whether_behind()
        live = self._live_version()
        if live is not None and self.wanted is None:
            _LOG.warning("version %d was taken back and no version is in use", live)
            self._engine.drop(live)
            self._telemetry.shows(None)
        if self.wanted is None or live == self.wanted:
            self._retry_at, self.last_failure = None, None
        else:
            # On the record before the load: if the version kills this server, it must not pass for one that was away.
            self._reporter.changed(wait_s=_REPORT_S)
            with about(version=self.wanted):
                self._bring(self.wanted)
        is_steady = self.wanted is not None and self._live_version() == self.wanted
        self._before = state.before if is_steady else None
        self._prefetcher.want(self._before)

    def _keep_prefetched(self) -> None:
        model = self._prefetcher.taken()
        if model is not None and model.version == self._before:
            self._engine.keep(model)

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
            event=self._last_event.number if self._last_event else 0,
            reason=self._error_message(error),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            attempts=attempts,
            is_passing=isinstance(error.__cause__ or error, _PASSING),
        )
        self._telemetry.swapped("failed", live=self._engine.live)
        if isinstance(error, GoldenCaseError):
            self._telemetry.golden_case_failed()
        traceback = None if isinstance(error, SpinelineError) else error
        _LOG.error("version %d can't go live, next try in %.0f s: %s", version, pause_s, error, exc_info=traceback)

    def _sound_state(self) -> State | None:
        try:
            events = self._registry.history()
        except (SpinelineError, OSError) as error:
            self._cut_off(error)
            return None
        self.ledger_problem = None
        self._last_event = events[-1] if events else None
        return replay(events)

    def _cut_off(self, error: Exception) -> None:
        """Keep the live model while the ledger is away or unsound, and say so."""
        if self.ledger_problem != self._error_message(error):
            _LOG.error("the ledger can't be followed, the live model stays: %s", error)
            self.ledger_problem = self._error_message(error)
            self._reporter.changed()

    def _opened(self) -> Registry:
        return Registry.at(self._root, settings())

    def _drop_revoked(self, state: State) -> None:
        for version in self._engine.held():
            known = state.versions.get(version)
            if known is None or known.stage == "revoked":
                _LOG.warning("version %d was revoked and is no longer served", version)
                self._engine.drop(version)
                self._telemetry.shows(self._engine.live)

    def _live_version(self) -> int | None:
        live = self._engine.live
        return None if live is None else live.version

    def _tell_whether_behind(self) -> None:
        self._telemetry.behind.set(self._live_version() != self.wanted)

    def _error_message(self, error: Exception) -> str:
        line = (str(error).splitlines() or [""])[0] or type(error).__name__
        return line.replace(f"{self._root}{os.sep}", "")
