"""A trained, evaluated and judged candidate below one root, with real weights and a real golden case."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_registry.bundle import MODEL_FOLDER, Bundle
from model_registry.verdict import Verdict
from spine.dataset import Case, Manifest
from spine.journal import JOURNAL_FILE, Journal
from spine.nnunet.workspace import Workspace
from spine.recipe import Recipe
from spine.records import (
    ALTERNATIVES_FILE,
    ENVIRONMENT_FILE,
    GOLDEN_FOLDER,
    OUT_OF_FOLD_FILE,
    POSTPROCESSING_FILE,
    RECORD_FILE,
    TEST_FILE,
    DatasetRevision,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
)
from spine.settings import Settings
from spine.storage import digest_bytes, write_json, write_text

DATASET, PLAN, EVALUATION = "datasets/x/data", "plans/p", "evaluations/e"
FOLD = "candidates/abc/Dataset001_Vertebrae/SpineTrainer__nnUNetPlans__3d_fullres/fold_{}"
REVISION, DVC_HASH = "1234567" + "0" * 33, "abcdef0" + "1" * 25 + ".dir"


@pytest.fixture
def services(tmp_path: Path) -> Settings:
    return Settings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", actor="ann", image="registry:1")


@pytest.fixture
def judged(tmp_path: Path, make_bundle: Callable[..., Bundle]) -> dict[str, Any]:
    """What the step is called with, beside its services: a tiny candidate whose verdict passes."""
    tiny = make_bundle(tmp_path / "tiny")
    root = tmp_path / "root"
    plan = _planned(root, tiny)
    folds = [_trained(root, tiny, plan, fold) for fold in tiny.manifest.folds]
    Journal(root / "candidates/abc" / JOURNAL_FILE).parameters({"code_revision": "c" * 40, "image": "train:1"})
    return {
        "root": root,
        "plan": plan,
        "recipe": Recipe.parse(tiny.json("recipe.json"), where="recipe"),
        "checkpoints": folds,
        "evaluation": _evaluated(root, tiny, plan, folds),
        "verdict": Verdict.read(tiny.folder / "verdict.json"),
    }


def _planned(root: Path, tiny: Bundle) -> Plan:
    DatasetRevision(
        repository=".", git_revision=REVISION, dvc_hash=DVC_HASH, folder=DATASET, cases=3, test_cases=1
    ).write(root / "datasets/x" / RECORD_FILE)
    cases = tuple(_case(f"case_{number}", fold=number if number < 2 else None) for number in range(3))
    manifest = Manifest(seed=1, layout="flat", label_map="ours", cases=cases, quarantine=())
    write_json(root / DATASET / "manifest.json", manifest.model_dump(mode="json"))
    planned = Workspace.below(root / PLAN).dataset
    planned.mkdir(parents=True)
    shutil.copy(tiny.folder / MODEL_FOLDER / "plans.json", planned / "nnUNetPlans.json")
    shutil.copy(tiny.folder / MODEL_FOLDER / "dataset.json", planned / "dataset.json")
    percentiles = {"percentile_00_5": -100.0, "median": 300.0, "percentile_99_5": 1200.0, "mean": 300.0, "std": 200.0}
    fingerprint = {"spacings": [[6.0, 6.0, 6.0]], "foreground_intensity_properties_per_channel": {"0": percentiles}}
    write_json(planned / "dataset_fingerprint.json", fingerprint)
    return Plan(
        dataset="d", dataset_folder=DATASET, recipe="r", plans_digest="p", configuration="3d_fullres", folder=PLAN
    )


def _case(name: str, *, fold: int | None) -> Case:
    return Case(
        image_sha256="i", labels_sha256="l", voxels_sha256="v", spacing_mm=(6.0, 6.0, 6.0), shape=(20, 20, 40),
        source_orientation="RAS", label_voxels={"L1": 900, "L2": 1000}, border=(), fragments=(), case=name,
        patient=f"patient {name}", split="test" if fold is None else "train", fold=fold, source=(f"{name}.nii.gz",),
        findings=(),
    )  # fmt: skip


def _trained(root: Path, tiny: Bundle, plan: Plan, fold: int) -> FoldCheckpoint:
    folder = root / FOLD.format(fold)
    folder.mkdir(parents=True)
    shutil.copy(tiny.fold_path(fold), folder / "checkpoint_final.pth")
    journal = Journal(folder / JOURNAL_FILE)
    journal.status("RUNNING")
    for epoch in (1, 2):
        journal.metrics({"train_loss": 0.5 / epoch}, step=epoch)
    journal.status("FINISHED")
    return FoldCheckpoint(
        plan=plan.digest, training="t", fold=fold, weights_sha256=tiny.manifest.folds[fold], started_from=None,
        epochs=2, seconds=1.0, folder=FOLD.format(fold),
    )  # fmt: skip


def _evaluated(root: Path, tiny: Bundle, plan: Plan, folds: list[FoldCheckpoint]) -> EvaluationRecord:
    folder = root / EVALUATION
    shutil.copytree(tiny.folder / "golden", folder / GOLDEN_FOLDER)
    for name in (TEST_FILE, OUT_OF_FOLD_FILE):
        shutil.copy(tiny.folder / "evaluation.json", folder / name)
    write_json(folder / POSTPROCESSING_FILE, {})
    write_json(folder / ALTERNATIVES_FILE, [])
    write_text(folder / ENVIRONMENT_FILE, "torch==2.13.0+cpu\nnumpy==2.4.6\n")
    verdict = Verdict.read(tiny.folder / "verdict.json")
    kept = verdict.folder_below(folder)
    kept.mkdir(parents=True)
    for name in ("verdict.json", "policy.json"):
        shutil.copy(tiny.folder / name, kept / name)
    write_text(kept / "report.html", "<html>")
    return EvaluationRecord(
        plan=plan.digest, checkpoints=tuple(fold.digest for fold in folds), folds=tuple(fold.fold for fold in folds),
        recipe_name="tiny", test_evaluation=tiny.manifest.evaluation, out_of_fold_evaluation=tiny.manifest.evaluation,
        postprocessing=digest_bytes(b"{}"), folder=EVALUATION,
    )  # fmt: skip
