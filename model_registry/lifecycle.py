"""Register, approve, promote, roll back and revoke: the only ways that an event comes into the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from model_registry.actors import require_actor, require_separate
from model_registry.bundle import Bundle
from model_registry.bundle_cache import BundleCache
from model_registry.errors import EvidenceError, NotPromotableError
from model_registry.ledger import Event, Kind, Ledger, changes_of_use, next_event
from model_registry.ledger_observers import (
    PATIENCE_S,
    URGENT_S,
    LedgerObserver,
    MlflowObserver,
    of_servers,
    require_whole,
)
from model_registry.model_store import ModelStore
from model_registry.policy import Policy
from model_registry.preconditions import promotable, require_reason, require_unchanged, rollback_target
from model_registry.replicas import REPORTS, ReplicaReport, Replicas
from model_registry.state import State, VersionState, replay
from spine.blob_store import BlobStore, BlobStoreError, FolderBlobStore
from spine.blob_stores import open_blob_store
from spine.errors import InvalidValueError
from spine.settings import Settings

if TYPE_CHECKING:
    from model_registry.verdict import Verdict


class Registry:
    """The versions of one model below one root, as the ledger tells them."""

    def __init__(
        self,
        root: Path,
        *,
        ledger: BlobStore | None = None,
        models: ModelStore | None = None,
        mlflow: MlflowObserver | None = None,
    ) -> None:
        self.root = root
        self._blob_store = ledger or FolderBlobStore(root / "ledger")
        self._ledger = Ledger(self._blob_store)
        self._bundle_cache = BundleCache(root, models)
        self._mlflow = mlflow

    @classmethod
    def at(cls, root: Path, services: Settings) -> Self:
        """Open the versions below ``root``, whose ledger and bundles lie where the settings say."""
        endpoint = services.s3_endpoint
        return cls(
            root,
            ledger=open_blob_store(services.ledger, endpoint=endpoint) if services.ledger else None,
            models=ModelStore(open_blob_store(services.model_store, endpoint=endpoint))
            if services.model_store
            else None,
            mlflow=MlflowObserver(services.mlflow_uri_below(root), model_name=services.model_name),
        )

    def blob_store(self, name: str) -> BlobStore:
        """Return the neighbour of the ledger: ``replicas`` is ``<root>/replicas``, or lies beside the ledger on S3."""
        return self._blob_store.neighbour(name)

    def replicas(self) -> Replicas:
        """Return the reports of the servers that follow this ledger."""
        return Replicas(self.blob_store(REPORTS))

    def present_servers(self) -> list[ReplicaReport]:
        """Return what the servers that are there say of themselves; none where they can't be asked."""
        try:
            return self.replicas().fresh()
        except BlobStoreError:
            return []

    def revision(self) -> object:
        """Return a value that differs where the ledger changed; no event is read."""
        return self._ledger.revision()

    def history(self) -> list[Event]:
        """Return all events, their chain verified."""
        return self._ledger.events()

    def whole_history(self, *, is_urgent: bool = False) -> list[Event]:
        """Return all events, after asking those who have seen some: servers that are there, and MLflow if it answers.

        Every change begins with it; one that ``is_urgent`` waits less for MLflow. Raises LostEventsError where one has
        seen an event that the ledger lacks.
        """
        # Asked before the ledger is read: an event that is made meanwhile is not a lost one.
        observers = self._observers(is_urgent=is_urgent)
        events = self.history()
        require_whole(events, observers)
        return events

    def unrecognized_files(self) -> tuple[str, ...]:
        """Return the names of what lies among the ledger's events and is none, as last seen."""
        return self._ledger.unrecognized_files()

    def state(self) -> State:
        """Return the state of all versions."""
        return replay(self.history())

    def location(self, bundle: Bundle) -> str:
        """Return the URI where a bundle is kept for good: the model store's, or that of its own folder."""
        return self._bundle_cache.location(bundle)

    def bundle(self, version: int) -> Bundle:
        """Return a version's bundle, not yet verified; a revoked version's is never given out.

        Where it is not here, it is fetched from the model store; raises BundleAwayError where that does not give it.
        """
        return self._bundle_cache.bundle(self._usable(version))

    def verified_bundle(self, version: int) -> Bundle:
        """Return a version's bundle after every file of it was found to have its recorded digest.

        One that is missing or damaged here is fetched from the model store; raises BundleAwayError where that does not
        give it and, without a model store, DigestMismatchError or MissingPathError naming the file.
        """
        return self._bundle_cache.verified_bundle(self._usable(version))

    def register(self, *, version: int, bundle: Bundle, actor: str, reason: str) -> Event:
        """Record a new version whose verdict passes; the rule is applied again to the evidence in its bundle."""
        events = self.whole_history()
        state = replay(events)
        if version in state.versions:
            raise InvalidValueError("version", version, expected=f"a new number after {max(state.versions)}")
        require_actor(actor)
        require_reason(reason)
        require_passing(bundle)
        bundle.verify(expected=bundle.digest)
        _require_new(state, bundle)
        self._bundle_cache.keep(bundle)
        serving = (state.serving, state.serving)
        event = next_event(
            events,
            kind="register",
            version=version,
            actor=actor,
            reason=reason,
            serving=serving,
            evidence=bundle.digest,
            bundle=bundle.folder.relative_to(self.root).as_posix(),
        )
        self._ledger.append(event)
        return event

    def approve(self, version: int, *, actor: str, reason: str) -> Event:
        """Approve a registered version; the policy may demand somebody other than who registered it."""
        require_actor(actor)
        events = self.whole_history()
        state = replay(events)
        known = state.version(version)
        if known.stage != "registered":
            raise NotPromotableError(version, state=known.stage, wanted="approved", expected="a registered version")
        policy = Policy.parse(self.verified_bundle(version).json("policy.json"), where="policy.json")
        if policy.separate_approver:
            require_separate(actor, registrar=known.registered_by, version=version)
        return self._append(events, known, "approve", actor, reason, after=state.serving)

    def require_promotable(self, version: int) -> VersionState:
        """Return a version that may be promoted; raises NotPromotableError otherwise."""
        return promotable(self.state(), version)

    def promote(
        self, version: int, *, actor: str, reason: str, expected_serving: int | None, seen: int | None = None
    ) -> Event:
        """Put an approved version in use, if ``expected_serving`` is still what is served.

        ``seen`` is the number of the newest event when the caller looked. Raises ConflictError where anything changed
        what is in use since, also where it was changed back.
        """
        require_actor(actor)
        events = self.whole_history()
        state = replay(events)
        require_unchanged(events, seen=seen, is_expected=state.serving == expected_serving)
        return self._append(events, promotable(state, version), "promote", actor, reason, after=version)

    def rollback_target(self, to: int | None) -> VersionState:
        """Return the version that a rollback goes to: ``to``, or the one in use before the present one."""
        return rollback_target(self.history(), to)

    def roll_back(self, *, to: int | None, actor: str, reason: str, seen: int | None = None) -> Event:
        """Return to an earlier version; no new verdict is needed.

        ``seen`` is the number of the newest event when the caller looked; raises ConflictError where anything changed
        what is in use since.
        """
        require_actor(actor)
        events = self.whole_history(is_urgent=True)
        require_unchanged(events, seen=seen)
        known = rollback_target(events, to)
        return self._append(events, known, "roll back", actor, reason, after=known.version)

    def revert(self, event: Event, *, actor: str, reason: str) -> Event:
        """Roll back the newest change of what is served: to the version before it, or to none where there was none.

        Where that version was revoked meanwhile, the last usable one before it is served. Raises InvalidValueError
        where something else was put in use since.
        """
        events = self.whole_history()
        state = replay(events)
        changes = changes_of_use(events)
        if not changes or changes[-1].digest != event.digest:
            raise InvalidValueError("event to undo", event.number, expected="the newest change of what is served")
        before = event.from_version
        after = state.before if before is None or state.version(before).stage == "revoked" else before
        known = state.version(event.version if after is None else after)
        return self._append(events, known, "roll back", actor, reason, after=after)

    def revoke(self, version: int, *, actor: str, reason: str) -> Event:
        """Take a version out for good; the one in use must be rolled back first."""
        require_actor(actor)
        events = self.whole_history()
        state = replay(events)
        known = state.version(version)
        if version == state.serving:
            raise NotPromotableError(version, state="in use", wanted="revoked", expected="a rollback first")
        if known.stage == "revoked":
            raise NotPromotableError(version, state="revoked", wanted="revoked", expected="one not revoked yet")
        return self._append(events, known, "revoke", actor, reason, after=state.serving)

    def _observers(self, *, is_urgent: bool) -> list[LedgerObserver]:
        # Who can't be asked keeps nobody from rolling back.
        servers = of_servers(self.present_servers())
        patience_s = URGENT_S if is_urgent and servers else PATIENCE_S
        return [*servers, *(self._mlflow.seen(patience_s=patience_s) if self._mlflow else [])]

    def _usable(self, version: int) -> VersionState:
        """Return a version whose files may be used: neither it nor its twin under another number is revoked."""
        state = self.state()
        known = state.version(version)
        if known.model_digest in state.revoked_digests:
            raise NotPromotableError(version, state="revoked", wanted="used", expected="a version that is not revoked")
        return known

    def _append(
        self, events: list[Event], known: VersionState, kind: Kind, actor: str, reason: str, *, after: int | None
    ) -> Event:
        require_reason(reason)
        event = next_event(
            events,
            kind=kind,
            version=known.version,
            actor=actor,
            reason=reason,
            serving=(replay(events).serving, after),
            evidence=known.model_digest,
            bundle=known.bundle,
        )
        self._ledger.append(event)
        return event


def require_passing(bundle: Bundle) -> "Verdict":
    """Return the bundle's verdict after judging its evidence again; raises EvidenceError unless it passes."""
    # The gate's statistics take a second to import, which a rollback must not wait for.
    from model_registry.gate import judge
    from model_registry.verdict import Verdict
    from spine.metrics.scores import Evaluation

    verdict = Verdict.read(bundle.folder / "verdict.json")
    champion_file = bundle.folder / "champion.json"
    again = judge(
        candidate=Evaluation.from_stored(bundle.json("evaluation.json"), where="evaluation.json"),
        champion=Evaluation.from_stored(bundle.json("champion.json"), where="champion.json")
        if champion_file.is_file()
        else None,
        policy=Policy.parse(bundle.json("policy.json"), where="policy.json"),
    )
    if verdict.digest != bundle.manifest.verdict or not verdict.follows_from(again):
        raise EvidenceError(f"{bundle.folder}: the verdict does not follow from the evidence beside it")
    if verdict.outcome != "pass":
        raise EvidenceError(f"{bundle.folder}: the verdict is '{verdict.outcome}'; expected 'pass'")
    return verdict


def _require_new(state: State, bundle: Bundle) -> None:
    for known in state.versions.values():
        if known.model_digest == bundle.digest:
            message = f"version {known.version}, {known.stage}"
            raise InvalidValueError(
                "bundle", bundle.digest, expected=f"one that is not registered yet: this is {message}"
            )
