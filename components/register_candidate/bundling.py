"""Gather all that serves and explains a candidate into one folder under one digest."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from model_registry.bundle import MANIFEST_FILE, MODEL_FOLDER, Bundle, BundleManifest, list_files
from model_registry.provenance import LABELS_FILE, PROVENANCE_FILE, Provenance, label_map
from model_registry.verdict import Verdict
from spine.dataset import MANIFEST_FILE as DATASET_MANIFEST
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.phantom import make_scan
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
from spine.storage import atomic_folder, digest_value, write_json
from spine.volume.nifti import write_volume

_EXAMPLE_SEED, _EXAMPLE_MM = 1, (6.0, 6.0, 6.0)
"""The scan that shows how the model is asked: a phantom small enough for a line of JSON."""


@dataclass(frozen=True)
class Ingredients:
    """What a version is made of: the records of its steps, and where it comes from."""

    root: Path
    dataset: DatasetRevision
    plan: Plan
    recipe: Recipe
    checkpoints: Sequence[FoldCheckpoint]
    evaluation: EvaluationRecord
    verdict: Verdict
    provenance: Provenance
    trained_at: datetime

    @property
    def key(self) -> str:
        """Digest of what makes the version what it is: its plan and its weights."""
        return candidate_key(self.plan, self.checkpoints)


def candidate_key(plan: Plan, checkpoints: Sequence[FoldCheckpoint]) -> str:
    """Return the digest of a plan and of the weights trained on it."""
    return digest_value({"plan": plan.digest, "weights": [record.weights_sha256 for record in checkpoints]})


def make_bundle(target: Path, made_of: Ingredients) -> Bundle:
    """Write the bundle of a candidate to ``target``, whole or not at all; it is a model of MLflow's as well."""
    from model_registry.pyfunc_model import write_model

    with atomic_folder(target) as partial:
        _copy_model(partial / MODEL_FOLDER, made_of)
        _copy_evidence(partial, made_of)
        _write_records(partial, made_of)
        environment = (partial / ENVIRONMENT_FILE).read_text(encoding="utf-8").splitlines()
        write_model(
            partial,
            example=_example(),
            identity=made_of.key,
            trained_at=made_of.trained_at,
            environment=environment,
        )
        write_json(partial / MANIFEST_FILE, _manifest(partial, made_of).content)
    return Bundle(target)


def _copy_model(model: Path, made_of: Ingredients) -> None:
    model.mkdir()
    planned = Workspace.below(made_of.root / made_of.plan.folder).dataset
    shutil.copy(planned / f"{PLANS_NAME}.json", model / "plans.json")
    for name in ("dataset.json", "dataset_fingerprint.json"):
        shutil.copy(planned / name, model / name)
    for checkpoint in made_of.checkpoints:
        fold = model / f"fold_{checkpoint.fold}"
        fold.mkdir()
        shutil.copy(made_of.root / checkpoint.folder / "checkpoint_final.pth", fold / "checkpoint_final.pth")


def _copy_evidence(folder: Path, made_of: Ingredients) -> None:
    evaluated = made_of.root / made_of.evaluation.folder
    shutil.copytree(evaluated / GOLDEN_FOLDER, folder / GOLDEN_FOLDER)
    shutil.copy(evaluated / TEST_FILE, folder / "evaluation.json")
    shutil.copy(evaluated / OUT_OF_FOLD_FILE, folder / "out_of_fold.json")
    for name in (POSTPROCESSING_FILE, ALTERNATIVES_FILE, ENVIRONMENT_FILE):
        shutil.copy(evaluated / name, folder / name)
    shutil.copytree(made_of.verdict.folder_below(evaluated), folder, dirs_exist_ok=True)
    shutil.copy(made_of.root / made_of.dataset.folder / DATASET_MANIFEST, folder / "dataset_manifest.json")


def _write_records(folder: Path, made_of: Ingredients) -> None:
    write_json(folder / "recipe.json", made_of.recipe.stored())
    write_json(folder / PROVENANCE_FILE, made_of.provenance.content)
    write_json(folder / LABELS_FILE, label_map())
    for name, record in (("dataset", made_of.dataset), ("plan", made_of.plan), ("evaluation", made_of.evaluation)):
        record.write(folder / "records" / f"{name}.json")
    for checkpoint in made_of.checkpoints:
        checkpoint.write(folder / "records" / f"fold_{checkpoint.fold}.json")


def _example() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "example.nii.gz"
        write_volume(file, make_scan(seed=_EXAMPLE_SEED, patient=0, spacing_mm=_EXAMPLE_MM).image)
        return file.read_bytes()


def _manifest(folder: Path, made_of: Ingredients) -> BundleManifest:
    return BundleManifest(
        files=list_files(folder),
        folds={checkpoint.fold: checkpoint.weights_sha256 for checkpoint in made_of.checkpoints},
        configuration=made_of.plan.configuration,
        recipe_name=made_of.recipe.name,
        plan=made_of.plan.digest,
        evaluation=made_of.evaluation.digest,
        verdict=made_of.verdict.digest,
        git_revision=made_of.dataset.git_revision,
        dvc_hash=made_of.dataset.dvc_hash,
    )
