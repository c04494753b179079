"""The state of all versions, folded from the ledger's events."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from model_registry.ledger import Event
from spine.errors import UnknownNameError

Life = Literal["registered", "approved", "promoted", "replaced", "revoked"]


@dataclass(frozen=True)
class VersionState:
    """One version: where it stands in its life and where its bundle lies."""

    version: int
    life: Life
    registered_by: str
    registered_at: str
    model_digest: str
    bundle: str
    approved_by: str | None = None


@dataclass(frozen=True)
class State:
    """All versions, and the ones that served, the one in use last."""

    versions: dict[int, VersionState] = field(default_factory=dict)
    line: tuple[int, ...] = ()
    """Promoted versions in order; a rollback shortens it, so that it never leads back to what was left."""

    @property
    def serving(self) -> int | None:
        """The version in use."""
        return self.line[-1] if self.line else None

    @property
    def before(self) -> int | None:
        """The version that a rollback returns to: the last other one in line that is not revoked."""
        others = [number for number in self.line if number != self.serving]
        usable = [number for number in others if self.versions[number].life != "revoked"]
        return usable[-1] if usable else None

    def version(self, number: int) -> VersionState:
        """Return a version; raises UnknownNameError listing those that exist."""
        if number not in self.versions:
            raise UnknownNameError("version", number, accepted=[str(known) for known in sorted(self.versions)])
        return self.versions[number]


def fold(events: Sequence[Event]) -> State:
    """Fold events into the state they lead to."""
    state = State()
    for event in events:
        state = _after(state, event)
    return state


def _after(state: State, event: Event) -> State:
    versions, line = dict(state.versions), state.line
    if event.kind == "register":
        versions[event.version] = VersionState(
            version=event.version,
            life="registered",
            registered_by=event.actor,
            registered_at=event.at,
            model_digest=event.evidence,
            bundle=event.bundle,
        )
    elif event.kind == "approve":
        versions[event.version] = replace(versions[event.version], life="approved", approved_by=event.actor)
    elif event.kind == "revoke":
        versions[event.version] = replace(versions[event.version], life="revoked")
    elif event.kind == "promote":
        line = (*line, event.version)
    else:
        line = line[: _last_index(line, event.version) + 1] if event.version in line else (*line, event.version)
    if event.kind in ("promote", "roll back"):
        left = event.from_version
        if left is not None and left != event.version and versions[left].life != "revoked":
            versions[left] = replace(versions[left], life="replaced")
        versions[event.version] = replace(versions[event.version], life="promoted")
    return State(versions=versions, line=line)


def _last_index(line: tuple[int, ...], version: int) -> int:
    return len(line) - 1 - line[::-1].index(version)
