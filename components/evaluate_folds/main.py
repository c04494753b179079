"""Predict and score: out-of-fold for the training cases, the ensemble of folds for the locked test set."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluate_folds.assessment import evaluate_ways
from components.evaluate_folds.candidate import STEP, Candidate, masks_of, report_cases
from components.evaluate_folds.predictions import Predictions
from model_registry.champion import Champion, champion_of, dataset_of
from model_registry.lifecycle import Registry
from model_registry.models import load_segmenter, postprocessing_of
from spine.arguments import Arguments
from spine.dataset import Manifest
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.recipe import Recipe, given_recipe
from spine.records import (
    MASKS_FOLDER,
    RECORD_FILE,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
    parse_checkpoints,
)
from spine.settings import settings
from spine.steps import run_step
from spine.storage import digest_value, short, write_json

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter


def evaluate_folds(
    *, root: Path, plan: Plan, recipe: Recipe, checkpoints: Sequence[FoldCheckpoint]
) -> EvaluationRecord:
    """Evaluate a candidate below ``root``; cases that were predicted or scored before are found again.

    Post-processing is chosen on the out-of-fold masks alone. The version in use is scored on the same test set where
    it was evaluated on another one.
    """
    trained = sorted(checkpoints, key=lambda record: record.fold)
    if not trained or any(record.plan != plan.digest for record in trained):
        raise InvalidValueError("checkpoints", len(trained), expected=f"folds trained on plan {short(plan.digest)}")
    key = digest_value([recipe.prediction.digest, *(record.digest for record in trained)])
    folder = root / "evaluations" / short(key)
    record_file = folder / RECORD_FILE
    dataset = root / plan.dataset_folder
    manifest = Manifest.of(dataset)
    _score_champion(root, plan, manifest, folder)
    if record_file.is_file():
        return EvaluationRecord.read(record_file)
    candidate = Candidate(root=root, plan=plan, recipe=recipe, folds=trained, folder=folder)
    record = candidate.evaluate(
        training=[manifest.members(split="train", fold=each.fold) for each in trained],
        test=manifest.members(split="test"),
    )
    record.write(record_file)
    return record


def _score_champion(root: Path, plan: Plan, manifest: Manifest, folder: Path) -> None:
    champion = champion_of(Registry.at(root, settings()))
    if champion is None or champion.was_evaluated_on(dataset_of(root, plan)):
        return
    file = champion.rescored_file(folder)
    if file.is_file():
        return
    dataset, cases = root / plan.dataset_folder, manifest.members(split="test")
    predictions = Predictions(file.with_suffix(""))
    tell = report_cases("predict with the model in use", total=len(cases))
    predictions.make(cases, dataset=dataset, load=lambda: _load_champion(champion), on_case=tell)
    name = f"version {champion.version}, locked test set"
    evaluations = evaluate_ways(
        masks_of(cases, dataset, predictions),
        name=name,
        ways={name: postprocessing_of(champion.bundle)},
        scores=predictions.folder / "scores",
        finished=predictions.folder / MASKS_FOLDER,
        on_case=report_cases("score the model in use", total=len(cases)),
    )
    write_json(file, evaluations[name].content)


def _load_champion(champion: Champion) -> "Segmenter":
    from spine.nnunet.segmentation import best_device

    return load_segmenter(champion.bundle, device=best_device(), threads=settings().cpu_threads)


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
        parser = Arguments(prog="python -m components.evaluate_folds", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--plan", required=True, help="the plan's record, as plan_training printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        parser.add_argument("--checkpoints", required=True, help="the list that train_folds printed")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
