"""The model in use as a candidate's rival: its scores on the candidate's own test set."""

from dataclasses import dataclass
from pathlib import Path

from model_registry.bundle import Bundle
from model_registry.errors import EvidenceError
from model_registry.lifecycle import Registry
from spine.metrics.scores import Evaluation
from spine.records import RECORD_FILE, DatasetRevision, EvaluationRecord, Plan
from spine.storage import read_json, short


@dataclass(frozen=True)
class Champion:
    """The version in use and its bundle."""

    version: int
    bundle: Bundle

    def was_evaluated_on(self, dataset: DatasetRevision) -> bool:
        """Whether the version's own evaluation is of this data set's locked test set."""
        return self.bundle.manifest.dvc_hash == dataset.dvc_hash

    def rescored_file(self, evaluation_folder: Path) -> Path:
        """Return where the version's scores on another data set's test set are kept."""
        return evaluation_folder / "champions" / f"{short(self.bundle.digest)}.json"

    def evaluation(self, *, dataset: DatasetRevision, evaluation_folder: Path) -> Evaluation:
        """Return the version's scores on ``dataset``; raises EvidenceError where it was never scored on it."""
        if self.was_evaluated_on(dataset):
            return Evaluation.from_stored(
                self.bundle.json("evaluation.json"), where=self.bundle.folder / "evaluation.json"
            )
        file = self.rescored_file(evaluation_folder)
        if not file.is_file():
            raise EvidenceError(
                f"version {self.version}, in use, has no scores on data set {dataset.dvc_hash[:12]}; "
                "expected evaluate_folds to have scored it"
            )
        return Evaluation.from_stored(read_json(file, expected="an evaluation"), where=file)


def champion_of(registry: Registry) -> Champion | None:
    """Return the model in use, its bundle verified, or None before the first promotion."""
    serving = registry.state().serving
    return None if serving is None else Champion(version=serving, bundle=registry.verified_bundle(serving))


def dataset_of(root: Path, plan: Plan) -> DatasetRevision:
    """Return the record of the data set that a plan was made for."""
    return DatasetRevision.read((root / plan.dataset_folder).parent / RECORD_FILE)


def candidate_evaluation(root: Path, record: EvaluationRecord, *, file: str) -> Evaluation:
    """Read a candidate's evaluation and check that it is the one its record quotes."""
    path = root / record.folder / file
    evaluation = Evaluation.from_stored(read_json(path, expected="an evaluation"), where=path)
    if evaluation.digest not in (record.test_evaluation, record.out_of_fold_evaluation):
        raise EvidenceError(f"{path} is not the evaluation that its record quotes")
    return evaluation
