"""The ledger: numbered, hash-chained events, each created only if absent, in a folder or on S3."""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from model_registry.chain import Damaged, Link, require_unbroken
from model_registry.errors import BrokenLedgerError, ConflictError
from spine.blob_store import BlobMissingError, BlobStore
from spine.errors import DigestMismatchError, MalformedFileError
from spine.records import Record

Kind = Literal["register", "approve", "promote", "roll back", "revoke"]

_NUMBERED = re.compile(r"(\d{6,})\.json")
_READERS = 16
"""Events read at once, where many are new: on S3 each costs a round trip."""
_LOG = logging.getLogger(__name__)


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
    """The version that is served after this event; None before the first promotion, or where that was undone."""
    evidence: str
    """Digest of the version's bundle."""
    bundle: str
    """Folder of the bundle, relative to the root."""
    previous: str | None
    """Digest of the event before this one."""


@dataclass(frozen=True)
class _File:
    """What a file held when it had this stamp."""

    stamp: str
    link: Link | Damaged
    event: Event | None


class Ledger:
    """Events in a blob store, one content each; a number is taken by whoever creates its name first.

    What was read is kept, and read again only where its stamp changed. Several threads may share a ledger.
    """

    def __init__(self, blob_store: BlobStore) -> None:
        self._blob_store = blob_store
        # Replaced as wholes, never changed: other threads read them.
        self._files: dict[str, _File] = {}
        self._sound: tuple[dict[str, str], list[Event]] = ({}, [])
        """The newest listing whose chain held, and its events."""
        self._unrecognized_files: tuple[str, ...] = ()

    def events(self) -> list[Event]:
        """Read all events and verify their chain.

        Raises BrokenLedgerError naming the first event that is missing, changed, out of order or from another ledger,
        also where it was read before and is gone now; BlobStoreUnreachableError where the ledger is away.
        """
        before, known = self._sound
        listed = self._blob_store.listed()
        if listed != before:
            known = self._sound_events(listed, known)
            self._sound = (listed, known)
        return list(known)

    def revision(self) -> object:
        """Return a value that differs where an event was added, changed or removed; no content is read."""
        return self._blob_store.listed()

    def unrecognized_files(self) -> tuple[str, ...]:
        """Return the names of what lies among the events and is none, as last seen."""
        return self._unrecognized_files

    def append(self, event: Event) -> None:
        """Write the next event; raises ConflictError where somebody else took its number first."""
        if not self._blob_store.create(file_name(event.number), (event.text() + "\n").encode()):
            raise ConflictError(number=event.number, state=describe_state(self.events()))

    def _sound_events(self, listed: dict[str, str], known: Sequence[Event]) -> list[Event]:
        names = sorted((name for name in listed if number_of(name)), key=_number)
        self._warn_of_unrecognized_files(tuple(name for name in listed if not number_of(name)))
        files = self._files = self._read(names, listed, known=self._files)
        require_unbroken([files[name].link for name in names])
        events = [event for name in names if (event := files[name].event)]
        _require_continued(events, known)
        return events

    def _read(self, names: Sequence[str], listed: dict[str, str], *, known: dict[str, _File]) -> dict[str, _File]:
        kept = {name: known[name] for name in names if name in known and known[name].stamp == listed[name]}
        new = [name for name in names if name not in kept]
        with ThreadPoolExecutor(min(_READERS, len(new) or 1)) as pool:
            read = pool.map(lambda name: self._file(name, listed[name]), new)
            return {**kept, **dict(zip(new, read, strict=True))}

    def _file(self, name: str, stamp: str) -> _File:
        try:
            event = Event.from_text(self._blob_store.read(name).decode("utf-8"), where=name)
        except (MalformedFileError, DigestMismatchError, UnicodeDecodeError, BlobMissingError) as error:
            return _File(stamp, Damaged(_number(name), str(error)), None)
        link = Link(file=_number(name), number=event.number, digest=event.digest, previous=event.previous)
        return _File(stamp, link, event)

    def _warn_of_unrecognized_files(self, unrecognized_files: tuple[str, ...]) -> None:
        if unrecognized_files != self._unrecognized_files and unrecognized_files:
            _LOG.warning(
                "%s: not events of the ledger, and left alone: %s",
                self._blob_store.place,
                ", ".join(unrecognized_files),
            )
        self._unrecognized_files = unrecognized_files


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


def changes_of_use(events: Sequence[Event]) -> list[Event]:
    """Return the events that changed what is in use, or said so anew."""
    return [event for event in events if event.kind in ("promote", "roll back")]


def concerned(event: Event) -> tuple[int, ...]:
    """Return the versions that an event concerns: its own, and the one that was in use before and no longer is."""
    left = event.from_version if event.from_version != event.to_version else None
    return (event.version,) if left in (None, event.version) else (event.version, left)


def file_name(number: int) -> str:
    """Return the name that event ``number`` has in a blob store."""
    return f"{number:06d}.json"


def number_of(name: str) -> int | None:
    """Return the number of the event that a name is for, or None where it is none's."""
    found = _NUMBERED.fullmatch(name)
    return int(found[1]) if found and file_name(int(found[1])) == name and int(found[1]) else None


def _number(name: str) -> int:
    return number_of(name) or 0


def _require_continued(events: Sequence[Event], known: Sequence[Event]) -> None:
    """Refuse a ledger whose end was cut off since it was read: it would read like a rollback."""
    if known and (len(events) < len(known) or events[len(known) - 1] != known[-1]):
        raise BrokenLedgerError(number=len(known), reason="was read before and is gone or another now")


def describe_state(events: Sequence[Event]) -> str:
    """Say what the newest of ``events`` was, and what is served after it."""
    if not events:
        return "it can't be read"
    last = events[-1]
    served = f"version {last.to_version}" if last.to_version else "no version"
    return f"it is '{last.kind}' of version {last.version} by {last.actor}, and {served} is served now"
