"""How the ledger and the servers that follow it stand, read as any command reads them."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_registry.ledger import Event, Kind
from model_registry.ledger_observers import LedgerObserver, MlflowObserver, lost_events, of_servers
from model_registry.lifecycle import Registry
from model_registry.replicas import ReplicaReport
from model_registry.state import replay
from spine.blob_store import BlobStoreUnreachableError
from spine.errors import SpinelineError
from spine.settings import Settings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LedgerStanding:
    """The ledger; where it is away or unsound, nothing more is known than that."""

    is_reachable: bool
    is_sound: bool = False
    events: Mapping[Kind, int] = field(default_factory=dict)
    in_use: int | None = None
    before: int | None = None
    """The version that a rollback returns to."""
    newest: Event | None = None
    unrecognized_files: int = 0
    """Files among the events that are none."""
    lost: int = 0
    """Observers (servers, MLflow) that have seen an event which the ledger lacks."""


class RegistryWatch:
    """A ledger that is looked at again and again: what was read is kept, and that it grows is held against it."""

    def __init__(self, root: Path, services: Settings) -> None:
        self._registry = Registry.at(root, services)
        self._replicas = self._registry.replicas()
        self._problem: str | None = None
        # One that did not answer once says nothing any more, so each look has a new one.
        self._mlflow: Callable[[], MlflowObserver] = lambda: MlflowObserver(
            services.mlflow_uri_below(root), model_name=services.model_name
        )

    def reports(self) -> list[ReplicaReport]:
        """Return what every server says of itself, silent ones too; raises BlobStoreError."""
        return self._replicas.reports()

    def look(self) -> LedgerStanding:
        """Return how the ledger stands."""
        # Asked before the ledger is read: an event that is made meanwhile is not a lost one.
        observers = self._observers()
        try:
            events = self._registry.history()
            state = replay(events)
        except SpinelineError as error:
            self._tell(str(error))
            return LedgerStanding(is_reachable=not isinstance(error, BlobStoreUnreachableError))
        self._tell(None)
        return LedgerStanding(
            is_reachable=True,
            is_sound=True,
            events=Counter(event.kind for event in events),
            in_use=state.serving,
            before=state.before,
            newest=events[-1] if events else None,
            unrecognized_files=len(self._registry.unrecognized_files()),
            lost=len(list(lost_events(events, observers))),
        )

    def _tell(self, problem: str | None) -> None:
        if problem and problem != self._problem:
            _LOG.error("the ledger can't be followed: %s", problem)
        self._problem = problem

    def _observers(self) -> list[LedgerObserver]:
        return [*of_servers(self._registry.present_servers()), *self._mlflow().seen()]
