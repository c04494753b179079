"""Whether the ledger, MLflow's aliases and every server say the same, and how they differ where they don't."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.serve_model.server_info import running_server, served_version
from model_registry.aliases import Aliases
from model_registry.ledger import Event
from model_registry.ledger_observers import LedgerObserver, lost_events, of_servers
from model_registry.lifecycle import Registry
from model_registry.replicas import ReplicaReport
from model_registry.state import State, replay
from spine.blob_store import BlobStoreError
from spine.errors import SpinelineError
from spine.storage import short


@dataclass(frozen=True)
class Agreement:
    """What there is and how it differs."""

    root: str
    events: Sequence[Event]
    state: State
    aliases: Aliases | None
    """None where there is no MLflow yet, or it can't be asked."""
    aliases_problem: str | None
    """Why MLflow, which is there by the settings, could not be asked."""
    replicas: Sequence[ReplicaReport]
    replicas_problem: str | None
    local: tuple[str, int | None] | None
    """Address of the server below this root, and what it answers with."""

    def differences(self) -> list[str]:
        """Say one by one how the ledger, the aliases and the servers differ; nothing where they agree."""
        return [*self.lost_events(), *self._of_aliases(), *self._of_servers()]

    def lost_events(self) -> Iterator[str]:
        """Say which observer has seen an event that the ledger no longer has."""
        observers = of_servers(self.replicas)
        if self.aliases is not None and self.aliases.anchor is not None:
            observers.append(LedgerObserver("MLflow", *self.aliases.anchor))
        yield from lost_events(self.events, observers)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        last = self.events[-1] if self.events else None
        return {
            "root": self.root,
            "version in use": self.state.serving,
            "a rollback returns to": self.state.before,
            "versions": len(self.state.versions),
            "events in the ledger": len(self.events),
            "newest event": last and f"{last.number}: {last.kind} version {last.version}, {short(last.digest)}",
            "aliases in MLflow": dict(self.aliases.found) if self.aliases else _not_known(self.aliases_problem),
            "server": self.local and self.local[0],
            "server answers with": self.local and self.local[1],
            "servers": [_described(report) for report in self.replicas] or _not_known(self.replicas_problem),
            "differences": self.differences(),
        }

    def _of_aliases(self) -> Iterator[str]:
        if self.aliases_problem:
            yield f"MLflow could not be asked: {self.aliases_problem}"
        if self.aliases is None:
            return
        for alias in sorted({*self.aliases.found, *self.aliases.wanted}):
            found, wanted = self.aliases.found.get(alias), self.aliases.wanted.get(alias)
            if found != wanted:
                yield f"MLflow's alias {alias} is {_named(found)}, the ledger says {_named(wanted)}"
        yield from self.aliases.others

    def _of_servers(self) -> Iterator[str]:
        wanted = self.state.serving
        for report in self.replicas:
            if not report.is_fresh:
                yield f"server {report.name} has said nothing since {report.at}: it was killed, or is cut off"
            elif report.version != wanted:
                yield f"server {report.problem()}, the ledger says {_named(wanted)}"
            elif report.ledger_problem:
                yield f"server {report.name} can't follow the ledger: {report.ledger_problem}"
        # A server that is cut off from the ledger's place can't report there; here it can be asked.
        url, answers = self.local or ("", wanted)
        if answers != wanted and not any(report.url == url for report in self.replicas):
            yield f"the server at {url} answers with {_named(answers)}, the ledger says {_named(wanted)}"


def agreement(registry: Registry, *, ask_mlflow: Callable[[State], Aliases | None]) -> Agreement:
    """Look at the ledger, the servers and MLflow; raises SpinelineError only where the ledger can't be read."""
    events = registry.history()
    state = replay(events)
    aliases, aliases_problem = _asked(lambda: ask_mlflow(state))
    replicas, replicas_problem = _reports(registry)
    server = running_server(registry.root)
    return Agreement(
        root=str(registry.root),
        events=events,
        state=state,
        aliases=aliases,
        aliases_problem=aliases_problem,
        replicas=replicas,
        replicas_problem=replicas_problem,
        local=(server.url, served_version(server)) if server else None,
    )


def forget_silent(registry: Registry) -> list[str]:
    """Remove the reports of servers that fell silent, and return their names; one that lives reports itself again."""
    replicas = registry.replicas()
    silent = [report.name for report in replicas.reports() if not report.is_fresh]
    for name in silent:
        replicas.remove(name)
    return silent


def _asked(ask: Callable[[], Aliases | None]) -> tuple[Aliases | None, str | None]:
    try:
        return ask(), None
    except SpinelineError as error:
        return None, str(error)


def _reports(registry: Registry) -> tuple[list[ReplicaReport], str | None]:
    try:
        return registry.replicas().reports(), None
    except BlobStoreError as error:
        return [], str(error)


def _not_known(problem: str | None) -> str | None:
    return problem and f"not known: {problem}"


def _described(report: ReplicaReport) -> dict[str, Any]:
    return {**report.model_dump(mode="json"), "fresh": report.is_fresh}


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
