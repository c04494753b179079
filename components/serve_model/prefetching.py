"""The version that a rollback would return to: brought to this machine and into memory before anybody needs it."""

import logging
import threading
from collections.abc import Callable

from components.serve_model.engine import Engine, LiveModel
from model_registry.lifecycle import Registry

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 600.0


class Prefetcher(threading.Thread):
    """A thread of its own: a fetch that takes minutes must not delay the next change."""

    def __init__(self, *, engine: Engine, registry: Callable[[], Registry], retry_pause_s: float = 30.0) -> None:
        super().__init__(name="rollback-prefetcher", daemon=True)
        self._engine, self._open, self._retry_pause_s = engine, registry, retry_pause_s
        self._asked, self._stop_asked = threading.Event(), threading.Event()
        self._wanted: int | None = None
        self._prepared: LiveModel | None = None

    def want(self, version: int | None) -> None:
        """Name the version that a rollback would return to now."""
        if version != self._wanted:
            self._wanted, self._prepared = version, None
            self._asked.set()

    def taken(self) -> LiveModel | None:
        """Hand over the wanted version once it is in memory, its golden case passed; None while there is nothing new.

        Only the watcher's thread changes what the engine holds, so that a change of the live model can't get lost.
        """
        model, self._prepared = self._prepared, None
        return model

    def stop(self) -> None:
        """Ask the thread to end; one that is fetching ends with the process."""
        self._stop_asked.set()
        self._asked.set()

    def run(self) -> None:
        """Bring what is wanted until asked to stop; no failure ends this, a store that is away is asked again."""
        done: int | None = None
        attempts = 0
        while not self._stop_asked.is_set():
            self._asked.clear()
            version = self._wanted
            if version is not None and version != done:
                try:
                    self._bring(version)
                    done, attempts = version, 0
                except Exception as error:
                    attempts += 1
                    if attempts == 1:
                        _LOG.warning("version %d, which a rollback returns to, is not ready: %s", version, error)
            pause_s = min(self._retry_pause_s * 2 ** min(attempts, 10), _LONGEST_PAUSE_S)
            if self._asked.wait(pause_s if attempts else None):
                done, attempts = None, 0

    def _bring(self, version: int) -> None:
        if version in self._engine.held():
            self._open().verified_bundle(version)
            return
        model, _ = self._engine.prepare(self._open(), version, is_urgent=False)
        if version == self._wanted:
            self._prepared = model
