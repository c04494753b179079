"""Promotion and rollback: checks, then the event, then the wait until every server follows it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from model_registry.bundle import Bundle
from model_registry.errors import BundleAwayError, ConflictError, ReplicasBehindError
from model_registry.ledger import Event
from model_registry.lifecycle import Registry, require_passing
from model_registry.replicas import DEPOT, ReplicaReport, Replicas, counted
from spine.depot import DepotError, DepotUnreachableError
from spine.errors import SpinelineError

AUTOMATIC = "automatic"
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


def replicas_of(registry: Registry) -> Replicas:
    """Return the reports of the servers that follow a registry's ledger."""
    return Replicas(registry.depot(DEPOT))


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
    on_stage("digests")
    before = registry.state().serving
    registry.require_promotable(version)
    bundle = registry.verified_bundle(version)
    on_stage("verdict")
    require_passing(bundle)
    on_stage("golden case")
    dice = golden(bundle, version)
    on_stage("event")
    event = registry.promote(version, actor=actor, reason=reason, expected_serving=before)
    on_stage("servers")
    try:
        following = _followed(registry, event, deadline_s=deadline_s)
    except ReplicasBehindError as error:
        on_stage("automatic rollback")
        raise error.then(_taken_back(registry, event, error)) from None
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

    Every server verifies the version and runs its golden case before it swaps; ``golden`` is for where none runs. What
    an operator has left is not put back in use: ReplicasBehindError only tells who does not follow.
    """
    on_stage("digests")
    target = registry.rollback_target(to).version
    present = _present(registry)
    bundle = _verified(registry, target, is_served=bool(present))
    dice = None
    if not present and golden is not None and bundle is not None:
        on_stage("golden case")
        dice = golden(bundle, target)
    on_stage("event")
    event = registry.roll_back(to=to, actor=actor, reason=reason)
    on_stage("servers")
    return Change(event=event, golden_dice=dice, following=_followed(registry, event, deadline_s=deadline_s))


def _present(registry: Registry) -> list[ReplicaReport]:
    try:
        return replicas_of(registry).fresh()
    except DepotError:
        return []


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
    replicas, deadline = replicas_of(registry), time.monotonic() + deadline_s
    pause_s = _POLL_REMOTE_S if replicas.is_remote else _POLL_S
    seen: object = None
    while True:
        is_last = time.monotonic() >= deadline
        try:
            glance = registry.glance()
            if glance != seen:
                _require_in_force(registry, event)
                seen = glance
            reports = counted(replicas.reports(), event)
        except DepotUnreachableError as error:
            if is_last:
                raise _behind(event, [str(error)], deadline_s=deadline_s) from error
        else:
            behind = [report for report in reports if not report.follows(event)]
            if not behind:
                return tuple(reports)
            failed = [report for report in behind if report.failed_on(event)]
            if failed or is_last:
                raise _behind(event, [report.told() for report in failed or behind], deadline_s=deadline_s)
        time.sleep(pause_s)


def _behind(event: Event, reasons: list[str], *, deadline_s: float) -> ReplicasBehindError:
    return ReplicasBehindError(event=event.number, version=event.to_version, reasons=reasons, deadline_s=deadline_s)


def _require_in_force(registry: Registry, event: Event) -> None:
    changes = [made for made in registry.history() if made.kind in ("promote", "roll back")]
    last = changes[-1]
    if last.number != event.number:
        served = f"version {last.to_version}" if last.to_version else "no version"
        state = f"it is '{last.kind}' of version {last.version} by {last.actor}, and {served} is served now"
        raise ConflictError(number=last.number, state=state)


def _taken_back(registry: Registry, event: Event, behind: ReplicasBehindError) -> str:
    """Roll back on the record to what was in use before ``event``; return what came of it."""
    try:
        back = registry.undo(event, actor=AUTOMATIC, reason=f"event {event.number} is not followed: {behind.told}")
    except SpinelineError as error:
        return f"not rolled back: {error}"
    served = f"version {back.to_version}" if back.to_version else "no version"
    return f"rolled back automatically with event {back.number}, {served} is in use"
