"""A trained candidate: its masks, the post-processing that its folds choose, its scores, its golden case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluate_folds.assessment import Masks, evaluate_ways
from components.evaluate_folds.choosing import alternatives, choose_postprocessing
from components.evaluate_folds.label_issues import write_suspects
from components.evaluate_folds.predictions import Predictions
from spine import progress
from spine.dataset import Case
from spine.environment import pins
from spine.metrics.postprocessing_variants import write_alternatives
from spine.metrics.scores import Evaluation
from spine.nnunet.workspace import Workspace
from spine.phantom import make_scan
from spine.postprocessing.choice import NONE, NOTHING, Postprocessing
from spine.recipe import Recipe
from spine.records import (
    ALTERNATIVES_FILE,
    ENVIRONMENT_FILE,
    GOLDEN_FOLDER,
    MASKS_FOLDER,
    OUT_OF_FOLD_FILE,
    POSTPROCESSING_FILE,
    TEST_FILE,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
)
from spine.settings import settings
from spine.storage import write_json, write_text
from spine.volume.nifti import write_volume

STEP = "evaluate_folds"
_GOLDEN_SEED = 2026

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter


@dataclass(frozen=True)
class Candidate:
    """Trained folds whose masks, scores and choices are kept in one folder."""

    root: Path
    plan: Plan
    recipe: Recipe
    folds: Sequence[FoldCheckpoint]
    folder: Path

    def evaluate(self, *, training: Sequence[Sequence[Case]], test: Sequence[Case]) -> EvaluationRecord:
        """Predict, choose, score and write everything but the record; ``training`` is by fold."""
        dataset = self.root / self.plan.dataset_folder
        validation = [case for cases in training for case in cases]
        predictions = Predictions(self.folder / "predictions", keep_logits=settings().keep_logits)
        predicted = report_cases("predict", total=len(validation) + len(test))
        for fold, cases in zip(self.folds, training, strict=True):
            predictions.make(cases, dataset=dataset, load=partial(self._load, [fold]), on_case=predicted)
        predictions.make(test, dataset=dataset, load=partial(self._load, self.folds), on_case=predicted)
        out_of_fold, locked = (masks_of(cases, dataset, predictions) for cases in (validation, test))
        name = f"{self.recipe.name}, out of fold"
        chosen, ways, tried = choose_postprocessing(
            out_of_fold, name=name, scores=self.folder / "scores", on_case=_report_by_task(len(validation))
        )
        # The chosen way comes last: its masks are the ones that are kept.
        final = {way: ways[way] for way in (NONE, chosen)}
        scored = report_cases("score", total=len(validation) + len(test))
        folds = self._final(out_of_fold, name=name, ways=final, on_case=scored)
        tests = self._final(locked, name=f"{self.recipe.name}, locked test set", ways=final, on_case=scored)
        write_suspects(
            self.folder, name=name, dataset=dataset, predictions=self.folder / MASKS_FOLDER, cases=validation
        )
        write_alternatives(
            self.folder / ALTERNATIVES_FILE, alternatives(chosen=chosen, out_of_fold={**tried, **folds}, test=tests)
        )
        return self._sealed(ways[chosen], out_of_fold=folds[chosen], test=tests[chosen])

    def _sealed(self, postprocessing: Postprocessing, *, out_of_fold: Evaluation, test: Evaluation) -> EvaluationRecord:
        """Write what the chosen way came to, and return the record that quotes it."""
        self._write_golden_case(postprocessing)
        write_json(self.folder / POSTPROCESSING_FILE, postprocessing.stored())
        write_text(self.folder / ENVIRONMENT_FILE, "".join(f"{pin}\n" for pin in pins()))
        write_json(self.folder / OUT_OF_FOLD_FILE, out_of_fold.content)
        write_json(self.folder / TEST_FILE, test.content)
        return EvaluationRecord(
            plan=self.plan.digest,
            checkpoints=tuple(record.digest for record in self.folds),
            folds=tuple(record.fold for record in self.folds),
            recipe_name=self.recipe.name,
            test_evaluation=test.digest,
            out_of_fold_evaluation=out_of_fold.digest,
            postprocessing=postprocessing.digest,
            folder=self.folder.relative_to(self.root).as_posix(),
        )

    def _final(
        self, masks: Masks, *, name: str, ways: dict[str, Postprocessing], on_case: Callable[[str], None]
    ) -> dict[str, Evaluation]:
        return evaluate_ways(
            masks,
            name=name,
            ways=ways,
            scores=self.folder / "scores",
            finished=self.folder / MASKS_FOLDER,
            on_case=on_case,
        )

    def _write_golden_case(self, postprocessing: Postprocessing) -> None:
        """Keep a phantom scan and the ensemble's answer to it, by which a served model is checked later."""
        folder = self.folder / GOLDEN_FOLDER
        image = make_scan(seed=_GOLDEN_SEED, patient=0).image
        write_volume(folder / "image.nii.gz", image)
        write_volume(folder / "labels.nii.gz", self._load(self.folds, postprocessing).segment(image))

    def _load(self, folds: Sequence[FoldCheckpoint], postprocessing: Postprocessing = NOTHING) -> "Segmenter":
        from spine.nnunet.segmentation import Segmenter, best_device

        Workspace.below(self.root / self.plan.folder).activate()
        return Segmenter.from_model_folder(
            (self.root / folds[0].folder).parent,
            digests={record.fold: record.weights_sha256 for record in folds},
            configuration=self.plan.configuration,
            recipe=self.recipe.prediction,
            postprocessing=postprocessing,
            device=best_device(),
            threads=settings().cpu_threads,
        )


def masks_of(cases: Sequence[Case], dataset: Path, predictions: Predictions) -> Masks:
    """Return the masks of cases, to be worked on by all cores."""
    return Masks(cases=tuple(cases), dataset=dataset, predictions=predictions, workers=settings().cpu_threads)


def report_cases(task: str, *, total: int) -> Callable[[str], None]:
    """Return a function that reports one more case each time it is called."""
    done = 0

    def tell(case: str) -> None:
        nonlocal done
        done += 1
        progress.report(STEP, task, done=done, total=total, note=case)

    return tell


def _report_by_task(total: int) -> Callable[[str, str], None]:
    counters: dict[str, Callable[[str], None]] = {}

    def tell(task: str, case: str) -> None:
        counters.setdefault(task, report_cases(task, total=total))(case)

    return tell
