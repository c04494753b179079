"""Who has seen events of the ledger: an event that an observer names and the ledger lacks was lost, or rewritten."""

import json
import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from model_registry.errors import LostEventsError
from model_registry.ledger import Event
from model_registry.mlflow_aliases import ANCHOR_TAG, parse_anchor
from model_registry.replicas import ReplicaReport

_SQLITE = "sqlite:///"
PATIENCE_S, URGENT_S = 1.0, 0.1
"""How long MLflow may take to answer, and how long where servers have seen the ledger and wait for a rollback."""
_QUERY = "SELECT value FROM registered_model_tags WHERE name = ? AND key = ?"


@dataclass(frozen=True)
class LedgerObserver:
    """Somebody who has seen event ``number`` of the ledger, and the digest that it had."""

    who: str
    number: int
    digest: str | None


def of_servers(reports: Sequence[ReplicaReport]) -> list[LedgerObserver]:
    """Return what servers have seen."""
    return [LedgerObserver(f"server {report.name}", report.event, report.event_digest) for report in reports]


def lost_events(events: Sequence[Event], observers: Sequence[LedgerObserver]) -> Iterator[str]:
    """Say which observer has seen an event that the ledger no longer has."""
    for seen in observers:
        if seen.number > len(events):
            yield f"the ledger has {len(events)} events, {seen.who} has seen event {seen.number}: events were lost"
        elif seen.number and events[seen.number - 1].digest != seen.digest:
            yield f"event {seen.number} of the ledger is another than the one that {seen.who} has seen"


def require_whole(events: Sequence[Event], observers: Sequence[LedgerObserver]) -> None:
    """Raise LostEventsError where the ledger lacks what somebody has seen."""
    lost = next(lost_events(events, observers), None)
    if lost:
        raise LostEventsError(lost)


class MlflowObserver:
    """What MLflow was told of the ledger, asked without its library, which takes seconds to import.

    Only a local database, or a server that answers soon, is asked: no change waits for more.
    """

    def __init__(self, uri: str, *, model_name: str) -> None:
        self._uri, self._name = uri, model_name
        self._is_silent = False

    def seen(self, *, patience_s: float = PATIENCE_S) -> list[LedgerObserver]:
        """Return the newest event that MLflow was told of; nothing where it was told of none, or does not answer."""
        if self._is_silent:
            return []
        try:
            anchor = parse_anchor(self._tag(patience_s))
        except (OSError, ValueError, sqlite3.Error):
            self._is_silent = True
            return []
        return [LedgerObserver("MLflow", *anchor)] if anchor else []

    def _tag(self, patience_s: float) -> str:
        if self._uri.startswith(_SQLITE):
            return _local_tag(Path(self._uri.removeprefix(_SQLITE)), self._name, patience_s)
        return _remote_tag(self._uri, self._name, patience_s) if self._uri.startswith("http") else ""


def _local_tag(database: Path, name: str, patience_s: float) -> str:
    if not database.is_file():
        return ""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=patience_s)) as opened:
        row = opened.execute(_QUERY, (name, ANCHOR_TAG)).fetchone()
    return str(row[0]) if row else ""


def _remote_tag(uri: str, name: str, patience_s: float) -> str:
    question = urllib.parse.urlencode({"name": name})
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get?{question}"
    with urllib.request.urlopen(url, timeout=patience_s) as answer:  # noqa: S310 - the scheme was looked at
        content = json.load(answer)
    tags = content.get("registered_model", {}).get("tags", []) if isinstance(content, dict) else []
    return next((str(tag.get("value", "")) for tag in tags if tag.get("key") == ANCHOR_TAG), "")
