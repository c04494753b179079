"""What a promotion or a rollback would check and do, found out without changing anything."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from model_registry.lifecycle import Registry, require_passing
from model_registry.promotion import Golden
from model_registry.replicas import ReplicaReport
from model_registry.state import replay
from spine.blob_store import BlobStoreError
from spine.errors import SpinelineError
from spine.storage import short


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what it is, what was found, and whether it holds."""

    name: str
    found: str
    holds: bool


@dataclass(frozen=True)
class DryRun:
    """The checks in their order, up to the first that does not hold, and what would happen after them."""

    checks: tuple[Check, ...]
    effects: tuple[str, ...]

    @property
    def would_succeed(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def lines(self) -> list[str]:
        """Return the dry run line by line."""
        checks = [f"{'holds' if check.holds else 'FAILS'}: {check.name}: {check.found}" for check in self.checks]
        return [*checks, *(f"would: {effect}" for effect in self.effects)]


_Steps = Iterator[tuple[str, Callable[[], str]]]


def dry_run(registry: Registry, version: int, *, golden: Golden) -> DryRun:
    """Make every check of a promotion, the golden case included; nothing is changed."""
    return _dry_run(registry, _promotion_steps(registry, version, golden), lambda: version, kind="promote")


def dry_run_rollback(registry: Registry, to: int | None, *, golden: Golden) -> DryRun:
    """Make every check of a rollback, and run the golden case that the servers would run; nothing is changed."""

    def target() -> int:
        return registry.rollback_target(to).version

    return _dry_run(registry, _rollback_steps(registry, target, golden), target, kind="roll back")


def _promotion_steps(registry: Registry, version: int, golden: Golden) -> _Steps:
    yield "state", lambda: _life(registry, version, must_be_promotable=True)
    yield "digests", lambda: _digest(registry, version)
    yield "verdict", lambda: f"judged again from its evidence: {require_passing(registry.bundle(version)).outcome}"
    yield "golden case", lambda: _dice(registry, version, golden)


def _rollback_steps(registry: Registry, target: Callable[[], int], golden: Golden) -> _Steps:
    yield "state", lambda: _life(registry, target(), must_be_promotable=False)
    yield "digests", lambda: _digest(registry, target())
    yield "golden case", lambda: _dice(registry, target(), golden)


def _life(registry: Registry, version: int, *, must_be_promotable: bool) -> str:
    known = replay(registry.whole_history()).version(version)
    if must_be_promotable:
        registry.require_promotable(version)
    return f"version {version} is {known.stage}"


def _digest(registry: Registry, version: int) -> str:
    bundle = registry.verified_bundle(version)
    return f"{len(bundle.manifest.files)} files as recorded, {short(bundle.digest)} over all"


def _dice(registry: Registry, version: int, golden: Golden) -> str:
    return f"Dice {golden(registry.bundle(version), version):.4f} to the recorded answer"


def _dry_run(registry: Registry, steps: _Steps, target: Callable[[], int], *, kind: str) -> DryRun:
    checks: list[Check] = []
    for name, step in steps:
        try:
            checks.append(Check(name=name, found=step(), holds=True))
        except SpinelineError as error:
            checks.append(Check(name=name, found=str(error), holds=False))
            return DryRun(checks=tuple(checks), effects=("nothing, for this reason",))
    return DryRun(checks=tuple(checks), effects=tuple(_effects(registry, target(), kind=kind)))


def _effects(registry: Registry, version: int, *, kind: str) -> Iterator[str]:
    serving = registry.state().serving
    left = "nothing" if serving is None else f"version {serving}"
    yield f"event {len(registry.history()) + 1} of the ledger: {kind}, from {left} to version {version}"
    try:
        yield from _swaps(registry.replicas().fresh(), version)
    except BlobStoreError as error:
        yield f"servers: not known now ({error})"
    yield "MLflow: aliases follow the ledger"


def _swaps(present: Sequence[ReplicaReport], version: int) -> Iterator[str]:
    if not present:
        yield "no server: none reports itself now"
    for report in present:
        has = "nothing" if report.version is None else f"version {report.version}"
        where = f" at {report.url}" if report.url else ""
        yield f"server {report.name}{where}: load beside, golden case, swap from {has} to version {version}"
