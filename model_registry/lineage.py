"""Lineage both ways: from a version to code, data, plans and runs, and from a data revision to versions."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from model_registry.bundle import Bundle
from model_registry.ledger import Event, concerned
from model_registry.lifecycle import Registry
from model_registry.provenance import PROVENANCE_FILE, Provenance, provenance_of
from model_registry.state import Stage
from model_registry.verdict import Outcome, Verdict
from spine.errors import DigestMismatchError, MissingPathError, UnknownNameError
from spine.records import ENVIRONMENT_FILE, DatasetRevision, FoldCheckpoint, Plan, Record
from spine.storage import digest_file
from spine.values import Value

_Kind = TypeVar("_Kind", bound=Record)

SHORTEST = 7
"""Digits of a revision or hash that name it."""
_RECORDS, _VERDICT = "records/", "verdict.json"
_READ = (PROVENANCE_FILE, _VERDICT, ENVIRONMENT_FILE)
_LOG = logging.getLogger(__name__)


class FoldLineage(Value):
    """One fold of a version."""

    fold: int
    weights: str
    """Digest of the weights."""
    started_from: str | None
    """Digest of the weights that training began with; None for random ones."""
    epochs: int | None
    run: str | None
    """MLflow's run."""


class Lineage(Value):
    """All that a version was made from and by, and what was decided on it."""

    version: int
    stage: Stage
    model_digest: str
    provenance: Provenance
    repository: str | None
    """Git repository that versions the data set."""
    cases: int | None
    recipe: str
    plan: str
    """Digest of the plan's record."""
    plans_digest: str | None
    """Digest of nnU-Net's plans."""
    configuration: str
    folds: tuple[FoldLineage, ...]
    started_from: int | None
    """The version whose weights training began with."""
    environment: str | None
    """Digest of the list of packages."""
    evaluation: str
    verdict: str
    outcome: Outcome
    summary: str
    """What the verdict says in a sentence."""
    held_against: int | None
    """The version that the verdict compares it with: the one in use when it was registered; None where none was."""
    policy: str
    events: tuple[Event, ...]
    """Those that concern the version, also as the one that another replaced."""
    as_of_event: int
    """Number of the last of them: a lineage that quotes an earlier one is out of date."""
    as_of: str
    """When that was: UTC, ISO 8601."""


@dataclass(frozen=True)
class TrainedOn:
    """A version that a data set had part in."""

    version: int
    stage: Stage
    provenance: Provenance
    through: int | None
    """The version, itself trained on the data set, whose weights training began with; None where directly."""


def lineage_of(registry: Registry, version: int) -> Lineage:
    """Return a version's lineage; raises UnknownNameError listing the versions that exist."""
    known = registry.state().version(version)
    bundle = bundle_to_read(registry, version)
    manifest, provenance = bundle.manifest, provenance_of(bundle)
    dataset, plan, verdict = (
        _record(bundle, "dataset", DatasetRevision),
        _record(bundle, "plan", Plan),
        verdict_of(bundle),
    )
    environment, events = bundle.folder / ENVIRONMENT_FILE, events_of(registry.history(), version)
    return Lineage(
        version=version,
        stage=known.stage,
        model_digest=known.model_digest,
        provenance=provenance,
        repository=dataset.repository if dataset else None,
        cases=dataset.cases if dataset else None,
        recipe=manifest.recipe_name,
        plan=manifest.plan,
        plans_digest=plan.plans_digest if plan else None,
        configuration=manifest.configuration,
        folds=_folds(bundle, provenance),
        started_from=_parents(_bundles(registry)).get(version) if _started_from(bundle) else None,
        environment=digest_file(environment) if environment.is_file() else None,
        evaluation=manifest.evaluation,
        verdict=manifest.verdict,
        outcome=verdict.outcome,
        summary=verdict.summary,
        held_against=events[0].from_version if verdict.champion else None,
        policy=f"{verdict.policy_name} {verdict.policy_version} ({verdict.policy})",
        events=events,
        as_of_event=events[-1].number,
        as_of=events[-1].at,
    )


def versions_on(registry: Registry, names: Collection[str]) -> list[TrainedOn]:
    """Return the versions trained on the data set that one of ``names`` means, and those that began from such a one.

    A name is a git revision or a DVC hash, or at least the first 7 digits of one. Raises UnknownNameError listing what
    the versions were trained on where none matches.
    """
    bundles = _bundles(registry)
    provenance = {version: provenance_of(bundle) for version, bundle in bundles.items()}
    through: dict[int, int | None] = {
        version: None for version, origin in provenance.items() if any(_means(name, origin) for name in names)
    }
    if not through:
        known = sorted({f"{origin.git_revision[:12]} ({origin.dvc_hash})" for origin in provenance.values()})
        raise UnknownNameError("data of any version", " or ".join(sorted(names)), accepted=known)
    # A version begins from an earlier one only: one pass finds heirs of heirs.
    for version, parent in sorted(_parents(bundles).items()):
        if parent in through:
            through.setdefault(version, parent)
    versions = registry.state().versions
    return [
        TrainedOn(version, versions[version].stage, provenance[version], through[version])
        for version in sorted(through)
    ]


def bundle_to_read(registry: Registry, version: int, *, more: Collection[str] = ()) -> Bundle:
    """Return a version's bundle to read about it, a revoked one's too where it lies here; it is not to be served.

    What says where it comes from, and the files ``more`` as far as it has them, were not changed since the ledger
    knows it; raises DigestMismatchError where they were, and MissingPathError where one is gone.
    """
    known = registry.state().version(version)
    folder = registry.root / known.bundle
    bundle = Bundle(folder) if folder.is_dir() else registry.bundle(version)
    bundle.require(known.model_digest)
    for name, digest in bundle.manifest.files.items():
        if name in _READ or name in more or name.startswith(_RECORDS):
            found = digest_file(bundle.folder / name)
            if found != digest:
                raise DigestMismatchError(bundle.folder / name, found=found, expected=digest)
    return bundle


def verdict_of(bundle: Bundle) -> Verdict:
    """Return the verdict in a bundle whose file has its recorded digest; the seal of an older release need not fit."""
    content = {name: value for name, value in bundle.json(_VERDICT).items() if name != "digest"}
    return Verdict.from_stored(content, where=bundle.folder / _VERDICT)


def events_of(events: Collection[Event], version: int) -> tuple[Event, ...]:
    """Return the events that concern a version, also as the one that another replaced."""
    return tuple(event for event in events if version in concerned(event))


def _bundles(registry: Registry) -> dict[int, Bundle]:
    """Return the bundles of all versions that can be read; that a revoked one's is gone is told in the log."""
    found = {}
    for version, known in registry.state().versions.items():
        if known.stage != "revoked" or (registry.root / known.bundle).is_dir():
            found[version] = bundle_to_read(registry, version)
        else:
            _LOG.warning("version %d is revoked and its bundle is not here: it is left out", version)
    return found


def _parents(bundles: Mapping[int, Bundle]) -> dict[int, int]:
    """Return by version the one whose weights its training began with, of those that did."""
    makers = {weights: version for version, bundle in bundles.items() for weights in bundle.manifest.folds.values()}
    started = {version: _started_from(bundle) for version, bundle in bundles.items()}
    return {version: makers[weights] for version, weights in started.items() if weights in makers}


def _started_from(bundle: Bundle) -> str | None:
    folds = (_record(bundle, f"fold_{fold}", FoldCheckpoint) for fold in bundle.manifest.folds)
    return next((fold.started_from for fold in folds if fold and fold.started_from), None)


def _folds(bundle: Bundle, provenance: Provenance) -> tuple[FoldLineage, ...]:
    records = {fold: _record(bundle, f"fold_{fold}", FoldCheckpoint) for fold in bundle.manifest.folds}
    return tuple(
        FoldLineage(
            fold=fold,
            weights=bundle.manifest.folds[fold],
            started_from=record.started_from if record else None,
            epochs=record.epochs if record else None,
            run=provenance.fold_runs.get(fold),
        )
        for fold, record in sorted(records.items())
    )


def _record(bundle: Bundle, name: str, kind: type[_Kind]) -> _Kind | None:
    try:
        return kind.read(bundle.folder / f"{_RECORDS}{name}.json")
    except MissingPathError:
        return None


def _means(name: str, provenance: Provenance) -> bool:
    return len(name) >= SHORTEST and any(
        each.startswith(name) for each in (provenance.git_revision, provenance.dvc_hash)
    )
