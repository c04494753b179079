"""Gather all that serves and explains a candidate into one folder under one digest."""

import shutil
from pathlib import Path

from model_registry.bundle import MANIFEST_FILE, MODEL_FOLDER, Bundle, BundleManifest, list_files
from model_registry.verdict import Verdict
from spine.dataset import MANIFEST_FILE as DATASET_MANIFEST
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.recipe import Recipe
from spine.records import (
    ALTERNATIVES_FILE,
    ENVIRONMENT_FILE,
    GOLDEN_FOLDER,
    OUT_OF_FOLD_FILE,
    POSTPROCESSING_FILE,
    TEST_FILE,
    DatasetRevision,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
)
from spine.storage import atomic_folder, write_json


def make_bundle(
    target: Path,
    *,
    root: Path,
    dataset: DatasetRevision,
    plan: Plan,
    recipe: Recipe,
    checkpoints: list[FoldCheckpoint],
    evaluation: EvaluationRecord,
    verdict: Verdict,
    verdict_folder: Path,
) -> Bundle:
    """Write the bundle of a candidate to ``target``, whole or not at all."""
    evaluated = root / evaluation.folder
    with atomic_folder(target) as partial:
        model = partial / MODEL_FOLDER
        model.mkdir()
        planned = Workspace.below(root / plan.folder).dataset
        shutil.copy(planned / f"{PLANS_NAME}.json", model / "plans.json")
        for name in ("dataset.json", "dataset_fingerprint.json"):
            shutil.copy(planned / name, model / name)
        for checkpoint in checkpoints:
            fold = model / f"fold_{checkpoint.fold}"
            fold.mkdir()
            shutil.copy(root / checkpoint.folder / "checkpoint_final.pth", fold / "checkpoint_final.pth")
        shutil.copytree(evaluated / GOLDEN_FOLDER, partial / GOLDEN_FOLDER)
        shutil.copy(evaluated / TEST_FILE, partial / "evaluation.json")
        shutil.copy(evaluated / OUT_OF_FOLD_FILE, partial / "out_of_fold.json")
        for name in (POSTPROCESSING_FILE, ALTERNATIVES_FILE):
            shutil.copy(evaluated / name, partial / name)
        shutil.copytree(verdict_folder, partial, dirs_exist_ok=True)
        shutil.copy(root / dataset.folder / DATASET_MANIFEST, partial / "dataset_manifest.json")
        write_json(partial / "recipe.json", recipe.model_dump(mode="json"))
        for name, record in (("dataset", dataset), ("plan", plan), ("evaluation", evaluation)):
            record.write(partial / "records" / f"{name}.json")
        for checkpoint in checkpoints:
            checkpoint.write(partial / "records" / f"fold_{checkpoint.fold}.json")
        shutil.copy(evaluated / ENVIRONMENT_FILE, partial / ENVIRONMENT_FILE)
        manifest = BundleManifest(
            files=list_files(partial),
            folds={checkpoint.fold: checkpoint.weights_sha256 for checkpoint in checkpoints},
            configuration=plan.configuration,
            recipe_name=recipe.name,
            plan=plan.digest,
            evaluation=evaluation.digest,
            verdict=verdict.digest,
            git_revision=dataset.git_revision,
            dvc_hash=dataset.dvc_hash,
        )
        write_json(partial / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return Bundle(target)
