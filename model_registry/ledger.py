"""The ledger: numbered, hash-chained events, each created only if absent; the state of all versions is their fold."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from model_registry.errors import BrokenLedgerError, ConflictError
from spine.errors import SpinelineError
from spine.records import Record
from spine.storage import flush, out_of_space_named

Kind = Literal["register", "approve", "promote", "roll back", "revoke"]


class Event(Record):
    """One change of a version's life: who, when, why, from what to what, on which evidence."""

    number: int
    kind: Kind
    version: int
    actor: str
    reason: str
    at: str
    """UTC, ISO 8601."""
    from_version: int | None
    to_version: int | None
    """The version that is served after this event; None before the first promotion."""
    evidence: str
    """Digest of the version's bundle."""
    bundle: str
    """Folder of the bundle, relative to the root."""
    previous: str | None
    """Digest of the event before this one."""


class Ledger:
    """Events in a folder, one file each; a number is taken by whoever links its file first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def events(self) -> list[Event]:
        """Read all events and verify their chain.

        Raises BrokenLedgerError naming the first event that is missing, changed or out of order.
        """
        events: list[Event] = []
        paths = sorted(self._folder.glob("[0-9]*.json")) if self._folder.is_dir() else []
        for number, path in enumerate(paths, start=1):
            if path.name != _file_name(number):
                raise BrokenLedgerError(number=number, reason="is missing")
            try:
                event = Event.read(path)
            except SpinelineError as error:
                raise BrokenLedgerError(number=number, reason=f"was changed ({error})") from error
            expected = events[-1].digest if events else None
            if event.number != number or event.previous != expected:
                raise BrokenLedgerError(number=number, reason="does not follow the event before it")
            events.append(event)
        return events

    def append(self, event: Event) -> None:
        """Write the next event; raises ConflictError where somebody else took its number first."""
        with out_of_space_named(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".partial-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(event.text() + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(name).chmod(0o444)
                # A link is made only if the name is free, and the content behind it is whole.
                os.link(name, self._folder / _file_name(event.number))
                flush(self._folder)
            except FileExistsError as error:
                raise ConflictError(number=event.number, state=_told(self.events())) from error
            finally:
                with contextlib.suppress(FileNotFoundError):
                    Path(name).unlink()


def next_event(
    events: Sequence[Event],
    *,
    kind: Kind,
    version: int,
    actor: str,
    reason: str,
    serving: tuple[int | None, int | None],
    evidence: str,
    bundle: str,
) -> Event:
    """Return the event that follows ``events``; ``serving`` is the version served before it and after it."""
    return Event(
        number=len(events) + 1,
        kind=kind,
        version=version,
        actor=actor,
        reason=reason,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        from_version=serving[0],
        to_version=serving[1],
        evidence=evidence,
        bundle=bundle,
        previous=events[-1].digest if events else None,
    )


def _told(events: Sequence[Event]) -> str:
    last = events[-1]
    served = f"version {last.to_version}" if last.to_version else "no version"
    return f"it is '{last.kind}' of version {last.version} by {last.actor}, and {served} is served now"


def _file_name(number: int) -> str:
    return f"{number:06d}.json"
