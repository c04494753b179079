"""The state of all versions, replayed from the ledger's events."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from model_registry.errors import BrokenLedgerError
from model_registry.ledger import Event, Kind
from spine.errors import UnknownNameError

Stage = Literal["registered", "approved", "promoted", "replaced", "revoked"]

_FROM: dict[Kind, tuple[str, ...]] = {
    "register": ("unknown",),
    "approve": ("registered",),
    "promote": ("approved", "replaced"),
    "roll back": ("replaced", "promoted"),
    "revoke": ("registered", "approved", "replaced"),
}
"""Where a version must stand for an event of a kind; a rollback to no version is about the one that was in use."""


@dataclass(frozen=True)
class VersionState:
    """One version: its stage and where its bundle lies."""

    version: int
    stage: Stage
    registered_by: str
    registered_at: str
    model_digest: str
    bundle: str
    approved_by: str | None = None


@dataclass(frozen=True)
class State:
    """All versions, and the ones that served, the one in use last."""

    versions: dict[int, VersionState] = field(default_factory=dict)
    promotion_stack: tuple[int, ...] = ()
    """Promoted versions in order; a rollback shortens it, so that it never leads back to what was left."""

    @property
    def serving(self) -> int | None:
        """The version in use."""
        return self.promotion_stack[-1] if self.promotion_stack else None

    @property
    def before(self) -> int | None:
        """The version that a rollback returns to: the last other one in line that is not revoked."""
        others = [number for number in self.promotion_stack if number != self.serving]
        usable = [number for number in others if self.versions[number].stage != "revoked"]
        return usable[-1] if usable else None

    @property
    def revoked_digests(self) -> frozenset[str]:
        """Digests of the bundles that are never used again, under whatever number."""
        return frozenset(known.model_digest for known in self.versions.values() if known.stage == "revoked")

    def version(self, number: int) -> VersionState:
        """Return a version; raises UnknownNameError listing those that exist."""
        if number not in self.versions:
            raise UnknownNameError("version", number, accepted=[str(known) for known in sorted(self.versions)])
        return self.versions[number]


def replay(events: Sequence[Event]) -> State:
    """Replay events into the state they lead to.

    Raises BrokenLedgerError for an event that no command of ours writes, such as the promotion of a revoked version:
    who knows the format can seal and chain it.
    """
    versions: dict[int, VersionState] = {}
    promotion_stack: tuple[int, ...] = ()
    for event in events:
        _require_possible(event, versions.get(event.version))
        if event.kind == "register":
            versions[event.version] = _registered(event)
        elif event.kind == "approve":
            versions[event.version] = replace(versions[event.version], stage="approved", approved_by=event.actor)
        elif event.kind == "revoke":
            versions[event.version] = replace(versions[event.version], stage="revoked")
        else:
            _swap(versions, event)
            promotion_stack = _stack_after(promotion_stack, event)
    return State(versions=versions, promotion_stack=promotion_stack)


def _require_possible(event: Event, known: VersionState | None) -> None:
    stage = known.stage if known else "unknown"
    if stage not in _FROM[event.kind]:
        raise BrokenLedgerError(
            number=event.number, reason=f"can't be: it is '{event.kind}' of version {event.version}, which is {stage}"
        )


def _registered(event: Event) -> VersionState:
    return VersionState(
        version=event.version,
        stage="registered",
        registered_by=event.actor,
        registered_at=event.at,
        model_digest=event.evidence,
        bundle=event.bundle,
    )


def _swap(versions: dict[int, VersionState], event: Event) -> None:
    left = event.from_version
    if left in versions and versions[left].stage != "revoked":
        versions[left] = replace(versions[left], stage="replaced")
    if event.to_version is not None:
        versions[event.version] = replace(versions[event.version], stage="promoted")


def _stack_after(promotion_stack: tuple[int, ...], event: Event) -> tuple[int, ...]:
    if event.to_version is None:
        return ()
    if event.kind == "roll back" and event.version in promotion_stack:
        return promotion_stack[: _last_index(promotion_stack, event.version) + 1]
    return (*promotion_stack, event.version)


def _last_index(promotion_stack: tuple[int, ...], version: int) -> int:
    return len(promotion_stack) - 1 - promotion_stack[::-1].index(version)
