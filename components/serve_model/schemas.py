"""What the control routes take and answer, and how a refusal of the registry is told to a client."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from components.serve_model.errors import RefusedChangeError, ServeError
from model_registry.dry_run import DryRun
from model_registry.errors import (
    BrokenLedgerError,
    ConflictError,
    LostEventsError,
    NothingBeforeError,
    NotPromotableError,
    ReplicasBehindError,
)
from model_registry.ledger import Event
from model_registry.promotion import DEADLINE_S, Change
from model_registry.state import Stage, State
from spine.blob_store import BlobStoreError
from spine.errors import SpinelineError, UnknownNameError
from spine.values import Value

Reason = Annotated[
    str,
    # It is shown on terminals: no control characters, and none that turn or hide what follows.
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=1000,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]*$",
    ),
    Field(description="Why; it is kept in the ledger."),
]
Number = Annotated[int, Field(strict=True, ge=1, le=10**9, description="Number of a version.")]
Deadline = Annotated[
    float,
    Field(strict=True, default=DEADLINE_S, ge=1, le=600, description="Seconds within which every server must follow."),
]
_ANY_PATH = re.compile(r"\S*/\S*")
_CONFLICTS = (
    BrokenLedgerError,
    ConflictError,
    LostEventsError,
    NotPromotableError,
    NothingBeforeError,
    ReplicasBehindError,
)


class Approval(Value):
    """The body of ``POST /v1/versions/{version}/approval``."""

    reason: Reason


class Promotion(Value):
    """The body of ``POST /v1/promotions``."""

    version: Number
    reason: Reason
    deadline_s: Deadline
    dry_run: bool = Field(default=False, strict=True, description="Only say what would happen.")


class Rollback(Value):
    """The body of ``POST /v1/rollbacks``."""

    reason: Reason
    to: Number | None = Field(default=None, description="Version to return to; the one before where not given.")
    deadline_s: Deadline


class EventAnswer(Event):
    """An event of the ledger, with its digest that the next event quotes."""

    event_digest: str

    @classmethod
    def of(cls, event: Event) -> Self:
        """Describe an event."""
        return cls(**event.model_dump(), event_digest=event.digest)


class HistoryAnswer(Value):
    """The answer of ``GET /v1/history``: all events, oldest first, their chain verified."""

    events: tuple[EventAnswer, ...]


class ChangeAnswer(Value):
    """The answer to a change that was made."""

    event: EventAnswer
    golden_dice: float | None
    """None where the golden case was left to the servers."""
    following: tuple[str, ...]
    """Names of the servers that answer with the version."""

    @classmethod
    def of(cls, change: Change) -> Self:
        """Describe a change of what is served."""
        names = tuple(report.name for report in change.following)
        return cls(event=EventAnswer.of(change.event), golden_dice=change.golden_dice, following=names)


class ApprovalAnswer(Value):
    """The answer to an approval."""

    event: EventAnswer
    has_evidence_pack: bool
    """Whether the evidence pack was made; `spineline evidence` makes one that is missing."""


class DryRunAnswer(Value):
    """The answer to a dry run: what was checked, and what would happen."""

    would_succeed: bool
    lines: tuple[str, ...]

    @classmethod
    def of(cls, dry_run: DryRun, *, root: Path) -> Self:
        """Describe a dry run."""
        lines = tuple(without_paths(line, root=root) for line in dry_run.lines())
        return cls(would_succeed=dry_run.would_succeed, lines=lines)


class VersionAnswer(Value):
    """One version: where it stands in its life."""

    version: int
    stage: Stage
    registered_by: str
    registered_at: str
    """UTC, ISO 8601."""
    approved_by: str | None
    model_digest: str


class VersionsAnswer(Value):
    """The answer of ``GET /v1/versions``."""

    serving: int | None
    """The version in use."""
    before: int | None
    """The version that a rollback returns to."""
    versions: tuple[VersionAnswer, ...]

    @classmethod
    def of(cls, state: State) -> Self:
        """Describe the state of all versions."""
        versions = tuple(
            VersionAnswer(**{name: getattr(known, name) for name in VersionAnswer.model_fields})
            for _, known in sorted(state.versions.items())
        )
        return cls(serving=state.serving, before=state.before, versions=versions)


def refusal(error: SpinelineError, *, root: Path) -> ServeError:
    """Return what a client is told of an error: its status, and its first line without any path of the server."""
    if isinstance(error, ServeError):
        return error
    return RefusedChangeError(without_paths(str(error), root=root), status=_status(error))


def without_paths(text: str, *, root: Path) -> str:
    """Return the first line of ``text`` with ``…`` in place of all that may be a path or an address."""
    line = (text.splitlines() or [""])[0].replace(str(root), "/")
    return _ANY_PATH.sub("…", line)


def _status(error: SpinelineError) -> int:
    if isinstance(error, UnknownNameError):
        return 404
    if isinstance(error, BlobStoreError):
        return 503
    return 409 if isinstance(error, _CONFLICTS) else 422
