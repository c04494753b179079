"""Promotion and rollback: checks, then the event, then the wait until every server follows it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from model_registry.actors import AUTOMATIC, require_actor
from model_registry.bundle import Bundle
from model_registry.errors import BundleAwayError, ConflictError, ReplicasBehindError
from model_registry.ledger import Event, changes_of_use, describe_state
from model_registry.lifecycle import Registry, require_passing
from model_registry.preconditions import promotable, require_reason, rollback_target, shown
from model_registry.replicas import ReplicaReport, counted
from model_registry.state import replay
from spine.blob_store import BlobStoreUnreachableError
from spine.errors import SpinelineError

DEADLINE_S = 120.0
_POLL_S, _POLL_REMOTE_S = 0.05, 1.0

Golden = Callable[[Bundle, int], float]
"""Loads a bundle beside what is live and returns its golden case's Dice; raises GoldenCaseError below 0.99."""
OnStage = Callable[[str], None]
"""Told the name of each stage before it begins."""


@dataclass(frozen=True)
class Change:
    """A change of what is served: its event, and the servers that answered with it."""

    event: Event
    golden_dice: float | None
    """None where the golden case was left to the servers."""
    following: tuple[ReplicaReport, ...]


def promote(
    registry: Registry,
    version: int,
    *,
    actor: str,
    reason: str,
    golden: Golden,
    deadline_s: float = DEADLINE_S,
    on_stage: OnStage = lambda _: None,
) -> Change:
    """Put an approved version in use, and take it back where a server can't follow within ``deadline_s``.

    Before the event: digests, verdict judged again, golden case (Dice at least 0.99). Raises NotPromotableError,
    DigestMismatchError, EvidenceError or GoldenCaseError while nothing is changed, ConflictError where somebody else
    was first, and ReplicasBehindError after the automatic rollback.
    """
    require_actor(actor)
    require_reason(reason)
    on_stage("digests")
    seen = registry.whole_history()
    state = replay(seen)
    promotable(state, version)
    bundle = registry.verified_bundle(version)
    on_stage("verdict")
    require_passing(bundle)
    on_stage("golden case")
    dice = golden(bundle, version)
    on_stage("event")
    event = registry.promote(version, actor=actor, reason=reason, expected_serving=state.serving, seen=len(seen))
    on_stage("servers")
    try:
        following = _followed(registry, event, deadline_s=deadline_s)
    except ReplicasBehindError as error:
        on_stage("automatic rollback")
        raise error.then(_reverted(registry, event, error)) from None
    return Change(event=event, golden_dice=dice, following=following)


def roll_back(
    registry: Registry,
    to: int | None,
    *,
    actor: str,
    reason: str,
    golden: Golden | None,
    deadline_s: float = DEADLINE_S,
    on_stage: OnStage = lambda _: None,
) -> Change:
    """Return to version ``to``, or to the one before the one in use; no new verdict is needed.

    Every server verifies the version and runs its golden case before it swaps; ``golden`` is for where none runs. The
    event is for the version that was verified, or there is none: ConflictError where somebody else was first. What an
    operator has left is not put back in use: ReplicasBehindError only tells who does not follow.
    """
    require_actor(actor)
    require_reason(reason)
    on_stage("digests")
    seen = registry.whole_history(is_urgent=True)
    target = rollback_target(seen, to).version
    present = registry.present_servers()
    bundle = _verified(registry, target, is_served=bool(present))
    dice = None
    if not present and golden is not None and bundle is not None:
        on_stage("golden case")
        dice = golden(bundle, target)
    on_stage("event")
    event = registry.roll_back(to=target, actor=actor, reason=reason, seen=len(seen))
    on_stage("golden case and swap in the servers" if present else "servers")
    return Change(event=event, golden_dice=dice, following=_followed(registry, event, deadline_s=deadline_s))


def _verified(registry: Registry, version: int, *, is_served: bool) -> Bundle | None:
    """Return the verified bundle, or None where it is not here, its store is away, and servers verify their own."""
    try:
        return registry.verified_bundle(version)
    except BundleAwayError:
        if not is_served:
            raise
        return None


def _followed(registry: Registry, event: Event, *, deadline_s: float) -> tuple[ReplicaReport, ...]:
    """Wait until every server follows ``event``.

    Raises ReplicasBehindError at the first definite failure or at the deadline, ConflictError where another event
    changed what is in use meanwhile.
    """
    replicas, deadline = registry.replicas(), time.monotonic() + deadline_s
    pause_s = _POLL_REMOTE_S if replicas.is_remote else _POLL_S
    seen: object = None
    while True:
        is_last = time.monotonic() >= deadline
        try:
            revision = registry.revision()
            if revision != seen:
                _require_in_force(registry, event)
                seen = revision
            reports = counted(replicas.reports(), event)
        except BlobStoreUnreachableError as error:
            if is_last:
                raise _behind(event, [str(error)], deadline_s=deadline_s) from error
        else:
            behind = [report for report in reports if not report.follows(event)]
            if not behind:
                return tuple(reports)
            failed = [report for report in behind if report.failed_on(event)]
            if failed or is_last:
                raise _behind(event, [report.problem() for report in failed or behind], deadline_s=deadline_s)
        time.sleep(pause_s)


def _behind(event: Event, reasons: list[str], *, deadline_s: float) -> ReplicasBehindError:
    return ReplicasBehindError(event=event.number, version=event.to_version, reasons=reasons, deadline_s=deadline_s)


def _require_in_force(registry: Registry, event: Event) -> None:
    changes = changes_of_use(registry.history())
    if changes[-1].digest != event.digest:
        raise ConflictError(number=changes[-1].number, state=describe_state(changes))


def _reverted(registry: Registry, event: Event, behind: ReplicasBehindError) -> str:
    """Roll back on the record to what was in use before ``event``; return what came of it."""
    try:
        reason = shown(f"event {event.number} is not followed: {behind.reasons}")
        back = registry.revert(event, actor=AUTOMATIC, reason=reason)
    except SpinelineError as error:
        return f"not rolled back: {error}"
    served = f"version {back.to_version}" if back.to_version else "no version"
    return f"rolled back automatically with event {back.number}, {served} is in use"
