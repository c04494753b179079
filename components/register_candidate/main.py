"""Register a candidate whose verdict passes as the next model version; any other is told and left alone."""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.register_candidate.bundling import Ingredients, candidate_key, make_bundle
from components.register_candidate.provenance import provenance, trained_at
from model_registry.actors import UNKNOWN
from model_registry.bundle import Bundle
from model_registry.champion import candidate_evaluation, dataset_of
from model_registry.lifecycle import Registry
from model_registry.provenance import provenance_of
from model_registry.state import replay
from model_registry.tracking import candidate_folder_of, deliver, open_store
from model_registry.verdict import Verdict
from spine import progress
from spine.arguments import Arguments
from spine.errors import InvalidValueError, SpinelineError
from spine.journal import JOURNAL_FILE
from spine.locks import held
from spine.logs import run_program
from spine.metrics.names import named_scores
from spine.recipe import Recipe, given_recipe
from spine.records import (
    ALTERNATIVES_FILE,
    OUT_OF_FOLD_FILE,
    TEST_FILE,
    EvaluationRecord,
    FoldCheckpoint,
    ModelVersion,
    Plan,
    parse_checkpoints,
)
from spine.settings import Settings, settings
from spine.steps import run_step
from spine.storage import short

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore

STEP = "register_candidate"
_SHOWN_OF_VERDICT = ("report.html", "verdict.json", "policy.json")
_SHOWN_OF_EVALUATION = (TEST_FILE, OUT_OF_FOLD_FILE, ALTERNATIVES_FILE)
_RECORD_FILE, _BUNDLE_FOLDER = "version.json", "bundle"
_PATIENCE_S = 600.0
"""How long a registration waits for another of the same weights."""
_LOG = logging.getLogger(__name__)


def register_candidate(
    *,
    root: Path,
    plan: Plan,
    recipe: Recipe,
    checkpoints: list[FoldCheckpoint],
    evaluation: EvaluationRecord,
    verdict: Verdict,
    services: Settings,
) -> ModelVersion | None:
    """Return the new version's record, or None where the verdict does not pass.

    The same weights are registered once: a second call finds the version that they are.
    """
    if {record.digest for record in checkpoints} != set(evaluation.checkpoints):
        raise InvalidValueError("checkpoints", len(checkpoints), expected="those that were evaluated")
    if verdict.evaluation != evaluation.test_evaluation:
        raise InvalidValueError("verdict", short(verdict.digest), expected="the verdict on this evaluation")
    candidate = _Candidate(root, recipe, checkpoints, evaluation, verdict)
    if verdict.outcome != "pass":
        _LOG.info("not registered: %s", verdict.summary)
        try:
            candidate.track(open_store(root, services))
        except SpinelineError as error:
            _LOG.warning("the candidate's scores are not in MLflow: %s", error)
        return None
    folder = root / "models" / short(candidate_key(plan, checkpoints))
    with held(folder, wait_s=_PATIENCE_S, on_wait=_LOG.info):
        if (folder / _RECORD_FILE).is_file():
            return ModelVersion.read(folder / _RECORD_FILE)
        return candidate.register(plan, folder, services)


@dataclass(frozen=True)
class _Candidate:
    """A trained, evaluated and judged candidate, as MLflow is told of it."""

    root: Path
    recipe: Recipe
    checkpoints: list[FoldCheckpoint]
    evaluation: EvaluationRecord
    verdict: Verdict

    @property
    def verdict_folder(self) -> Path:
        """Where the verdict and its evidence are kept."""
        return self.verdict.folder_below(self.root / self.evaluation.folder)

    def register(self, plan: Plan, folder: Path, services: Settings) -> ModelVersion:
        """Make the bundle, the version in MLflow and the first event; each is found again after a kill in between."""
        store, registry = open_store(self.root, services), Registry.at(self.root, services)
        run_id = self.track(store)
        progress.report(STEP, "bundle and register", done=1, total=2)
        bundle = self._bundle(folder / _BUNDLE_FOLDER, plan, run_id, store, services)
        store.show(run_id, parameters={"bundle": bundle.digest}, metrics={}, tags={})
        version = store.create_version(
            run_id=run_id, source=registry.location(bundle), digest=bundle.digest, tags=self._tags(bundle, services)
        )
        if version not in registry.state().versions:
            registry.register(version=version, bundle=bundle, actor=services.acting, reason=self.verdict.summary)
        _mirror(store, registry)
        record = ModelVersion(
            version=version,
            model_digest=bundle.digest,
            verdict=self.verdict.digest,
            evaluation=self.evaluation.digest,
            mlflow_run=run_id,
            folder=bundle.folder.relative_to(self.root).as_posix(),
        )
        record.write(folder / _RECORD_FILE)
        progress.report(STEP, "bundle and register", done=2, total=2, note=f"version {version}")
        return record

    def track(self, store: "MlflowStore") -> str:
        """Complete the run that training began, with its scores; end it and return its id."""
        folder = candidate_folder_of(self.root, self.checkpoints[0])
        run_id = deliver(
            folder,
            candidate_name=f"{self.recipe.name} {folder.name}",
            journals={record.fold: self.root / record.folder / JOURNAL_FILE for record in self.checkpoints},
            store=store,
        )
        store.show(
            run_id,
            parameters={
                "evaluated_folds": json.dumps(sorted(self.evaluation.folds)),
                "verdict": self.verdict.digest,
            },
            metrics={**self._metrics("test", TEST_FILE), **self._metrics("out_of_fold", OUT_OF_FOLD_FILE)},
            tags={"spineline.verdict": self.verdict.outcome},
        )
        store.add_files(run_id, self._shown_files())
        store.set_status(run_id, "FINISHED", time_s=time.time())
        return run_id

    def _bundle(self, target: Path, plan: Plan, run_id: str, store: "MlflowStore", services: Settings) -> Bundle:
        if target.is_dir():
            return Bundle(target)
        dataset = dataset_of(self.root, plan)
        made_of = Ingredients(
            root=self.root,
            dataset=dataset,
            plan=plan,
            recipe=self.recipe,
            checkpoints=self.checkpoints,
            evaluation=self.evaluation,
            verdict=self.verdict,
            provenance=provenance(
                self.root,
                dataset=dataset,
                checkpoints=self.checkpoints,
                run=run_id,
                fold_runs=store.fold_runs(run_id),
                image=services.image,
            ),
            trained_at=trained_at(self.root, self.checkpoints),
        )
        return make_bundle(target, made_of)

    def _tags(self, bundle: Bundle, services: Settings) -> dict[str, str]:
        """Return what MLflow's version says of where it comes from."""
        where = provenance_of(bundle)
        started = next((record.started_from for record in self.checkpoints if record.started_from), None)
        tags = {
            "recipe": self.recipe.name,
            "verdict": self.verdict.outcome,
            "spineline.verdict": self.verdict.digest,
            "spineline.plan": bundle.manifest.plan,
            "spineline.git_revision": where.git_revision,
            "spineline.dvc_hash": where.dvc_hash,
            "spineline.code_revision": where.code_revision,
            "spineline.started_from": started or "random weights",
            "spineline.registered_by": services.acting,
        }
        return tags | {f"spineline.image.{step}": image for step, image in where.images.items()}

    def _shown_files(self) -> list[Path]:
        """Return what people look at, whatever the verdict is: who was refused must see why."""
        files = [
            *(self.verdict_folder / name for name in _SHOWN_OF_VERDICT),
            *(self.root / self.evaluation.folder / name for name in _SHOWN_OF_EVALUATION),
        ]
        return [file for file in files if file.is_file()]

    def _metrics(self, prefix: str, file: str) -> dict[str, float]:
        return named_scores(candidate_evaluation(self.root, self.evaluation, file=file).summary, prefix=prefix)


def _mirror(store: "MlflowStore", registry: Registry) -> None:
    """Set MLflow's aliases; the version stands without them, and the monitor repairs them."""
    try:
        events = registry.history()
        differences = store.mirror(replay(events), events=events)
    except SpinelineError as error:
        differences = (str(error),)
    for difference in differences:
        _LOG.warning("MLflow's aliases were not set: %s", difference)


def step(*, root: str, plan: str, recipe: str, checkpoints: str, evaluation: str, verdict: str, actor: str) -> str:
    """Do the work of the pipeline's step: the version's record as text, or why there is none.

    ``actor`` is who started the run; "" is recorded as ``unknown``.
    """

    def work() -> str:
        judged = Verdict.from_text(verdict, where="verdict")
        record = register_candidate(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            recipe=given_recipe(recipe),
            checkpoints=parse_checkpoints(checkpoints),
            evaluation=EvaluationRecord.from_text(evaluation, where="evaluation"),
            verdict=judged,
            services=settings().model_copy(update={"actor": actor or UNKNOWN}),
        )
        return record.text() if record else f"not registered: {judged.summary}"

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the version's record, or the reason, is the last line of stdout."""

    def work() -> str:
        parser = Arguments(prog="python -m components.register_candidate", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        for name in ("plan", "checkpoints", "evaluation", "verdict"):
            parser.add_argument(f"--{name}", required=True, help=f"the {name}, as the step before printed it")
        parser.add_argument("--actor", default=settings().acting, help="who registers it (default: %(default)s)")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
