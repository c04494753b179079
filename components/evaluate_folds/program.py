"""Predict and score: out-of-fold for the training cases, the ensemble of folds for the locked test set."""

import argparse
import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluate_folds.suspects import write_suspects
from model_registry.champion import champion_of, dataset_of
from model_registry.lifecycle import Registry
from model_registry.models import load_segmenter
from spine import progress
from spine.dataset import Case, Manifest, image_path, labels_path
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation, ScanScores
from spine.metrics.summary import summarize
from spine.nnunet.workspace import Workspace
from spine.phantom import make_scan
from spine.recipe import Recipe, given_recipe
from spine.records import (
    ENVIRONMENT_FILE,
    GOLDEN_FOLDER,
    OUT_OF_FOLD_FILE,
    RECORD_FILE,
    TEST_FILE,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
    parse_checkpoints,
)
from spine.settings import settings
from spine.steps import run_step
from spine.storage import digest_value, short, write_json, write_text
from spine.volume.nifti import read_image, read_labels, write_volume

STEP = "evaluate_folds"
_GOLDEN_SEED = 2026
_ENVIRONMENT = ("torch", "nnunetv2", "numpy", "scipy", "nibabel", "spineline")
"""What the golden case's answer was made with."""

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter

_LOG = logging.getLogger(__name__)


def evaluate_folds(
    *, root: Path, plan: Plan, recipe: Recipe, checkpoints: Sequence[FoldCheckpoint]
) -> EvaluationRecord:
    """Evaluate a candidate below ``root``; cases that were predicted before are not predicted again.

    The version in use is scored on the same test set where it was evaluated on another one.
    """
    trained = sorted(checkpoints, key=lambda record: record.fold)
    if not trained or any(record.plan != plan.digest for record in trained):
        raise InvalidValueError("checkpoints", len(trained), expected=f"folds trained on plan {short(plan.digest)}")
    key = digest_value([recipe.prediction.digest, *(record.digest for record in trained)])
    folder = root / "evaluations" / short(key)
    record_file = folder / RECORD_FILE
    manifest = Manifest.of(root / plan.dataset_folder)
    _score_champion(root, plan, manifest, folder)
    if record_file.is_file():
        return EvaluationRecord.read(record_file)
    predictor = _Predictions(root, plan, recipe, folder / "predictions")
    total = len(manifest.members(split="test")) + sum(
        len(manifest.members(split="train", fold=record.fold)) for record in trained
    )
    scored: list[ScanScores] = []
    for record in trained:
        scored += predictor.score(manifest.members(split="train", fold=record.fold), [record], len(scored), total)
    out_of_fold = Evaluation(name=f"{recipe.name}, out of fold", scans=tuple(scored), summary=summarize(scored))
    write_suspects(
        folder,
        name=f"{recipe.name}, out of fold",
        dataset=root / plan.dataset_folder,
        predictions=folder / "predictions",
        cases=[case for record in trained for case in manifest.members(split="train", fold=record.fold)],
    )
    tested = predictor.score(manifest.members(split="test"), trained, len(scored), total)
    test = Evaluation(name=f"{recipe.name}, locked test set", scans=tuple(tested), summary=summarize(tested))
    predictor.write_golden_case(trained, folder / GOLDEN_FOLDER)
    write_text(folder / ENVIRONMENT_FILE, "".join(f"{name}=={metadata.version(name)}\n" for name in _ENVIRONMENT))
    write_json(folder / OUT_OF_FOLD_FILE, out_of_fold.model_dump(mode="json"))
    write_json(folder / TEST_FILE, test.model_dump(mode="json"))
    evaluation = EvaluationRecord(
        plan=plan.digest,
        checkpoints=tuple(record.digest for record in trained),
        folds=tuple(record.fold for record in trained),
        recipe_name=recipe.name,
        test_evaluation=test.digest,
        out_of_fold_evaluation=out_of_fold.digest,
        folder=folder.relative_to(root).as_posix(),
    )
    evaluation.write(record_file)
    return evaluation


class _Predictions:
    """Predictions of one candidate, kept by case so that an interrupted evaluation goes on."""

    def __init__(self, root: Path, plan: Plan, recipe: Recipe, folder: Path) -> None:
        self._root, self._plan, self._recipe, self._folder = root, plan, recipe, folder
        self._dataset = root / plan.dataset_folder
        Workspace.below(root / plan.folder).activate()

    def score(self, cases: Sequence[Case], folds: Sequence[FoldCheckpoint], done: int, total: int) -> list[ScanScores]:
        """Predict ``cases`` with an ensemble of ``folds`` and score them; a crash scores 0 and is named."""
        segmenter = self._segmenter(folds)
        scores = []
        for index, case in enumerate(cases):
            scores.append(_predict_and_score(segmenter, self._dataset, case, self._folder))
            progress.report(STEP, "predict and score", done=done + index + 1, total=total, note=case.case)
        return scores

    def write_golden_case(self, folds: Sequence[FoldCheckpoint], folder: Path) -> None:
        """Keep a phantom scan and the ensemble's answer to it, by which a served model is checked later."""
        image = make_scan(seed=_GOLDEN_SEED, patient=0).image
        write_volume(folder / "image.nii.gz", image)
        write_volume(folder / "labels.nii.gz", self._segmenter(folds).segment(image))

    def _segmenter(self, folds: Sequence[FoldCheckpoint]) -> "Segmenter":
        from spine.nnunet.segmentation import Segmenter, best_device

        return Segmenter.from_model_folder(
            (self._root / folds[0].folder).parent,
            digests={record.fold: record.weights_sha256 for record in folds},
            configuration=self._plan.configuration,
            recipe=self._recipe.prediction,
            device=best_device(),
            threads=settings().cpu_threads,
        )


def _predict_and_score(segmenter: "Segmenter", dataset: Path, case: Case, predictions: Path) -> ScanScores:
    target = predictions / f"{case.case}.nii.gz"
    if not target.is_file():
        try:
            write_volume(target, segmenter.segment(read_image(image_path(dataset, case))))
        except (RuntimeError, ValueError, MemoryError):
            _LOG.exception("prediction of %s failed; it scores 0", case.case)
    return score_scan(
        case=case.case,
        patient=case.patient,
        reference=read_labels(labels_path(dataset, case)),
        prediction=read_labels(target) if target.is_file() else None,
    )


def _score_champion(root: Path, plan: Plan, manifest: Manifest, folder: Path) -> None:
    champion = champion_of(Registry(root))
    if champion is None or champion.was_evaluated_on(dataset_of(root, plan)):
        return
    file = champion.rescored_file(folder)
    if file.is_file():
        return
    from spine.nnunet.segmentation import best_device

    segmenter = load_segmenter(champion.bundle, device=best_device(), threads=settings().cpu_threads)
    predictions = file.with_suffix("")
    cases = manifest.members(split="test")
    scans = []
    for index, case in enumerate(cases):
        scans.append(_predict_and_score(segmenter, root / plan.dataset_folder, case, predictions))
        progress.report(STEP, "score the model in use", done=index + 1, total=len(cases), note=case.case)
    name = f"version {champion.version}, locked test set"
    write_json(file, Evaluation(name=name, scans=tuple(scans), summary=summarize(scans)).model_dump(mode="json"))


def step(*, root: str, plan: str, recipe: str, checkpoints: str) -> str:
    """Do the work of the pipeline's step: records and a recipe as text in, the evaluation's record out."""
    return run_step(
        STEP,
        lambda: evaluate_folds(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            recipe=given_recipe(recipe),
            checkpoints=parse_checkpoints(checkpoints),
        ).text(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the record is the last line of stdout."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.evaluate_folds", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--plan", required=True, help="the plan's record, as plan_training printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        parser.add_argument("--checkpoints", required=True, help="the list that train_folds printed")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
