"""Register a candidate whose verdict passes as the next model version; any other is told and left alone."""

import argparse
import json
import logging
from pathlib import Path

from components.register_candidate.bundling import make_bundle
from model_registry.bundle import Bundle
from model_registry.champion import candidate_evaluation, dataset_of
from model_registry.lifecycle import Registry
from model_registry.verdict import Verdict
from spine import progress
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.metrics.scores import Summary
from spine.recipe import Recipe, given_recipe
from spine.records import (
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
from spine.storage import digest_value, read_json, short

STEP = "register_candidate"
_SHOWN = ("report.html", "verdict.json", "evaluation.json", "recipe.json", "policy.json")
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
    if verdict.outcome != "pass":
        _LOG.info("not registered: %s", verdict.summary)
        return None
    if {record.digest for record in checkpoints} != set(evaluation.checkpoints):
        raise InvalidValueError("checkpoints", len(checkpoints), expected="those that were evaluated")
    if verdict.evaluation != evaluation.test_evaluation:
        raise InvalidValueError("verdict", short(verdict.digest), expected="the verdict on this evaluation")
    registry = Registry(root)
    key = short(digest_value({"plan": plan.digest, "weights": [record.weights_sha256 for record in checkpoints]}))
    folder = root / "models" / key
    record_file = folder / "version.json"
    if record_file.is_file():
        return ModelVersion.read(record_file)
    dataset = dataset_of(root, plan)
    target = folder / "bundle"
    bundle = (
        Bundle(target)
        if target.is_dir()
        else make_bundle(
            target,
            root=root,
            dataset=dataset,
            plan=plan,
            recipe=recipe,
            checkpoints=checkpoints,
            evaluation=evaluation,
            verdict=verdict,
            verdict_folder=root / evaluation.folder / "verdicts" / short(verdict.digest),
        )
    )
    progress.report(STEP, "bundle and register", done=1, total=2)
    run_id, version = _track(root, recipe, checkpoints, evaluation, bundle, services)
    if version not in registry.state().versions:
        registry.register(version=version, bundle=bundle, actor=services.acting, reason=verdict.summary)
    record = ModelVersion(
        version=version,
        model_digest=bundle.digest,
        verdict=verdict.digest,
        evaluation=evaluation.digest,
        mlflow_run=run_id,
        folder=target.relative_to(root).as_posix(),
    )
    record.write(record_file)
    progress.report(STEP, "bundle and register", done=2, total=2, note=f"version {version}")
    return record


def _track(
    root: Path,
    recipe: Recipe,
    checkpoints: list[FoldCheckpoint],
    evaluation: EvaluationRecord,
    bundle: Bundle,
    services: Settings,
) -> tuple[str, int]:
    from model_registry.mlflow_store import FoldCurves, MlflowStore

    store = MlflowStore(services.mlflow_uri, artifacts=root / "mlflow" / "artifacts", model_name=services.model_name)
    test = candidate_evaluation(root, evaluation, file=TEST_FILE).summary
    out_of_fold = candidate_evaluation(root, evaluation, file=OUT_OF_FOLD_FILE).summary
    manifest = bundle.manifest
    run_id = store.record_candidate(
        name=f"{recipe.name} {short(bundle.digest)}",
        parameters={
            "recipe": recipe.name,
            "recipe_digest": recipe.digest,
            "folds": json.dumps(sorted(manifest.folds)),
            "git_revision": manifest.git_revision,
            "dvc_hash": manifest.dvc_hash,
            "plan": manifest.plan,
            "verdict": manifest.verdict,
            "bundle": bundle.digest,
            "started_from": str([record.started_from for record in checkpoints]),
            **{f"training.{name}": str(value) for name, value in recipe.training.model_dump(mode="json").items()},
        },
        metrics={**_metrics("test", test), **_metrics("out_of_fold", out_of_fold)},
        folds=[
            FoldCurves(record.fold, read_json(root / record.folder / "history.json", expected="a fold's history"))
            for record in checkpoints
        ],
        files=[bundle.folder / name for name in _SHOWN if (bundle.folder / name).is_file()],
    )
    version = store.create_version(
        run_id=run_id, bundle=bundle.folder, digest=bundle.digest, tags={"recipe": recipe.name, "verdict": "pass"}
    )
    return run_id, version


def _metrics(prefix: str, summary: Summary) -> dict[str, float]:
    """Name every score once, stably, so that MLflow's own comparison lines runs up."""
    scores = {
        "dice_scan_mean": summary.dice_scan_mean,
        "dice_label_macro": summary.dice_label_macro,
        "dice_nnunet": summary.dice_nnunet,
        "bone_dice": summary.bone_dice,
        "id_rate": summary.id_rate,
        "all_correct_rate": summary.all_correct_rate,
        "wrong_level_rate": summary.wrong_level_rate,
        "localisation_mm": summary.localisation_mm,
        **{f"region.{region.region}.dice": region.dice for region in summary.regions},
    }
    return {f"{prefix}.{name}": value for name, value in scores.items() if value is not None}


def step(*, root: str, plan: str, recipe: str, checkpoints: str, evaluation: str, verdict: str) -> str:
    """Do the work of the pipeline's step: the version's record as text, or why there is none."""

    def work() -> str:
        judged = Verdict.from_text(verdict, where="verdict")
        record = register_candidate(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            recipe=given_recipe(recipe),
            checkpoints=parse_checkpoints(checkpoints),
            evaluation=EvaluationRecord.from_text(evaluation, where="evaluation"),
            verdict=judged,
            services=settings(),
        )
        return record.text() if record else f"not registered: {judged.summary}"

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the version's record, or the reason, is the last line of stdout."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.register_candidate", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        for name in ("plan", "checkpoints", "evaluation", "verdict"):
            parser.add_argument(f"--{name}", required=True, help=f"the {name}, as the step before printed it")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
