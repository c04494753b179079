"""What MLflow shows of a candidate that passes its gate, and of one that does not."""

from pathlib import Path

import pytest

from components.register_candidate.program import register_candidate
from model_registry.verdict import Verdict
from spine.journal import JOURNAL_FILE, Journal
from spine.recipe import load_recipe
from spine.records import (
    OUT_OF_FOLD_FILE,
    RECORD_FILE,
    TEST_FILE,
    DatasetRevision,
    EvaluationRecord,
    FoldCheckpoint,
    Plan,
)
from spine.settings import Settings
from spine.storage import digest_value, short

FOLD = "candidates/abc/Dataset001_Vertebrae/SpineTrainer__nnUNetPlans__3d_fullres/fold_0"


@pytest.fixture
def judged(tmp_path, make_bundle):
    """A trained, evaluated and judged candidate, its bundle made already."""
    root = tmp_path / "root"
    plan = Plan(
        dataset="d", dataset_folder="datasets/x/data", recipe="r", plans_digest="p", configuration="3d_fullres",
        folder="plans/p",
    )  # fmt: skip
    DatasetRevision(
        repository=".", git_revision="0" * 40, dvc_hash="0" * 32, folder="datasets/x/data", cases=1, test_cases=1
    ).write(root / "datasets/x" / RECORD_FILE)
    fold = FoldCheckpoint(
        plan=plan.digest,
        training="t",
        fold=0,
        weights_sha256="w",
        started_from=None,
        epochs=2,
        seconds=1.0,
        folder=FOLD,
    )
    _trained(root / FOLD)
    bundle = make_bundle(root / "models" / short(digest_value({"plan": plan.digest, "weights": ["w"]})) / "bundle")
    for name in (TEST_FILE, OUT_OF_FOLD_FILE):
        (root / "evaluations/e").mkdir(parents=True, exist_ok=True)
        (root / "evaluations/e" / name).write_bytes((bundle.folder / "evaluation.json").read_bytes())
    evaluation = EvaluationRecord(
        plan=plan.digest, checkpoints=(fold.digest,), folds=(0,), recipe_name="demo", folder="evaluations/e",
        test_evaluation=bundle.manifest.evaluation, out_of_fold_evaluation=bundle.manifest.evaluation,
        postprocessing="pp",
    )  # fmt: skip
    return {
        "root": root, "plan": plan, "recipe": load_recipe("demo"), "checkpoints": [fold], "evaluation": evaluation,
        "verdict": Verdict.read(bundle.folder / "verdict.json"),
    }  # fmt: skip


def keep_verdict(judged) -> None:
    folder = judged["root"] / "evaluations/e/verdicts" / short(judged["verdict"].digest)
    judged["verdict"].write(folder / "verdict.json")
    (folder / "report.html").write_text("<html>")


def _trained(folder: Path) -> None:
    folder.mkdir(parents=True)
    journal = Journal(folder / JOURNAL_FILE)
    journal.status("RUNNING")
    for epoch in (1, 2):
        journal.metrics({"train_loss": 0.5 / epoch}, step=epoch)
    journal.status("FINISHED")


@pytest.fixture
def services(tmp_path):
    return Settings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", actor="ann")


def runs(services):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=services.mlflow_uri, registry_uri=services.mlflow_uri)
    found = client.search_runs([client.get_experiment_by_name("spineline").experiment_id])
    (candidate,) = [run for run in found if "spineline.candidate" in run.data.tags]
    return client, candidate, [run for run in found if run.info.run_id != candidate.info.run_id]


@pytest.mark.slow
def test_a_candidate_that_passes_is_a_version_of_the_run_that_training_began(judged, services):
    keep_verdict(judged)
    version = register_candidate(**judged, services=services)
    client, candidate, (fold,) = runs(services)
    assert (version.version, version.mlflow_run) == (1, candidate.info.run_id)
    assert client.get_model_version("vertebra-segmentation", "1").run_id == candidate.info.run_id
    assert (candidate.info.status, candidate.data.tags["spineline.verdict"]) == ("FINISHED", "pass")
    assert candidate.data.metrics["test/dice_scan_mean"] == pytest.approx(1.0)
    assert [point.step for point in client.get_metric_history(fold.info.run_id, "train_loss")] == [1, 2]
    assert "verdict.json" in {file.path for file in client.list_artifacts(candidate.info.run_id)}
    assert register_candidate(**judged, services=services) == version, "the same weights are registered once"


@pytest.mark.slow
def test_a_candidate_that_fails_shows_its_scores_once_and_is_no_version(judged, services):
    judged["verdict"] = judged["verdict"].model_copy(update={"outcome": "fail"})
    keep_verdict(judged)
    for _ in range(2):
        assert register_candidate(**judged, services=services) is None
    client, candidate, _ = runs(services)
    shown = {file.path for file in client.list_artifacts(candidate.info.run_id)}
    assert {"report.html", "verdict.json", TEST_FILE, OUT_OF_FOLD_FILE} <= shown, "who was refused must see why"
    assert (candidate.info.status, candidate.data.tags["spineline.verdict"]) == ("FINISHED", "fail")
    assert len(client.get_metric_history(candidate.info.run_id, "test/dice_scan_mean")) == 1
    assert client.search_registered_models() == []


def test_a_candidate_that_fails_needs_no_mlflow(judged, caplog):
    judged["verdict"] = judged["verdict"].model_copy(update={"outcome": "fail"})
    away = Settings(tracking_uri="http://127.0.0.1:9")
    assert register_candidate(**judged, services=away) is None
    assert "the candidate's scores are not in MLflow" in caplog.text
