"""The whole chain with one command: interrupted, continued, run again, rolled back."""

import json
from pathlib import Path

import pytest

from model_registry.lifecycle import Registry
from model_registry.models import postprocessing_of
from spine.metrics.nnunet_summary import read_evaluation
from spine.metrics.postprocessing_variants import read_alternatives
from spine.records import RECORD_FILE, DatasetRevision, EvaluationRecord, FoldCheckpoint, ModelVersion, Plan

pytestmark = pytest.mark.slow
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_an_interrupted_demonstration_says_how_to_continue(interrupted):
    status, said = interrupted
    assert status == 130, said
    assert "run the same command again to continue" in said


def test_the_summary_names_verdicts_versions_server_report_and_next_commands(demonstrated):
    for expected in (
        "version 1: pass",
        "version 2: pass",
        "served: version 2 at http://127.0.0.1:",
        "report.html",
        "pictures",
        "no case shows C1-C4",
        "spineline rollback --reason",
    ):
        assert expected in demonstrated


def test_the_ledger_tells_every_link_in_order(workstation, demonstrated):
    events = [(event.kind, event.version) for event in Registry(workstation.root).history()]
    first = [("register", 1), ("approve", 1), ("promote", 1)]
    second = [("register", 2), ("approve", 2), ("promote", 2), ("roll back", 1), ("promote", 2)]
    assert events[:8] == first + second


def test_every_record_quotes_its_parents_digest(workstation, demonstrated):
    root = workstation.root
    for number, known in Registry(root).state().versions.items():
        records = root / known.bundle / "records"
        dataset = DatasetRevision.read(records / "dataset.json")
        plan = Plan.read(records / "plan.json")
        folds = [FoldCheckpoint.read(records / f"fold_{fold}.json") for fold in (0, 1)]
        evaluation = EvaluationRecord.read(records / "evaluation.json")
        version = ModelVersion.read((root / known.bundle).parent / "version.json")
        verdict = json.loads((root / known.bundle / "verdict.json").read_text())
        assert plan.dataset == dataset.digest
        assert {fold.plan for fold in folds} == {plan.digest}
        assert list(evaluation.checkpoints) == [fold.digest for fold in folds]
        assert verdict["evaluation"] == evaluation.test_evaluation
        assert (version.evaluation, version.verdict) == (evaluation.digest, verdict["digest"])
        assert (version.version, version.model_digest) == (number, known.model_digest)


def test_a_version_says_what_is_done_to_its_masks_and_what_that_was_worth(workstation, demonstrated):
    for number in Registry(workstation.root).state().versions:
        bundle = Registry(workstation.root).bundle(number)
        evaluation = EvaluationRecord.read(bundle.folder / "records" / "evaluation.json")
        assert postprocessing_of(bundle).digest == evaluation.postprocessing
        ways = read_alternatives(bundle.folder / "alternatives.json")
        assert [way.name for way in ways if way.chosen and way.out_of_fold and way.test], "scored on both"
        assert "none" in [way.name for way in ways if way.test], "told with and without"


def test_vertebrae_were_looked_for_in_every_scan_of_the_test_set(workstation, demonstrated):
    evaluation = read_evaluation(Registry(workstation.root).bundle(1).folder / "evaluation.json")
    assert all(scan.vertebrae for scan in evaluation.scans)
    assert all(found.voxels and found.label and found.was for scan in evaluation.scans for found in scan.vertebrae)


def test_the_second_version_really_differs_and_begins_from_the_first(workstation, demonstrated):
    first, second = (Registry(workstation.root).bundle(number) for number in (1, 2))
    for fold in (0, 1):
        record = FoldCheckpoint.read(second.folder / "records" / f"fold_{fold}.json")
        assert record.started_from == first.manifest.folds[fold]
        assert record.weights_sha256 != record.started_from


def test_a_second_call_does_nothing_twice(workstation, demonstrated):
    before = len(Registry(workstation.root).history())
    again = workstation.demo()
    assert again.returncode == 0, again.stderr
    assert len(Registry(workstation.root).history()) == before
    assert "epoch" not in again.stderr


def test_rollback_changes_what_the_running_server_answers_with(workstation, demonstrated):
    assert workstation.served() == 2
    rolled = workstation.spineline("rollback", "--reason", "a test of the way back")
    assert rolled.returncode == 0, rolled.stderr
    assert workstation.served() == 1
    again = workstation.spineline("rollback", "--reason", "there is nothing before the first")
    assert again.returncode == 2
    assert "expected one that served" in again.stderr
    forward = workstation.spineline("promote", "2", "--reason", "as it was")
    assert forward.returncode == 0, forward.stderr
    assert workstation.served() == 2


def test_mlflow_has_both_versions_with_curves_and_aliases(workstation, demonstrated):
    from mlflow import MlflowClient

    uri = f"sqlite:///{workstation.root}/mlflow/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    versions = {int(version.version): version for version in client.search_model_versions()}
    assert set(versions) == {1, 2}
    run = client.get_run(versions[1].run_id)
    assert "test/dice_scan_mean" in run.data.metrics
    (home,) = (workstation.root / "datasets").iterdir()
    dataset = DatasetRevision.read(home / RECORD_FILE)
    assert run.data.params["dvc_hash"] == dataset.dvc_hash
    assert run.data.params["git_revision"] == dataset.git_revision
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert len(children) == 2
    assert len(client.get_metric_history(children[0].info.run_id, "train_loss")) == 3
    (model,) = client.search_registered_models()
    assert {alias: int(version) for alias, version in model.aliases.items()} == {"champion": 2, "previous": 1}


def test_a_real_ct_gets_a_mask_on_its_own_grid(workstation, demonstrated, tmp_path):
    scan = SHARED / "abdomen_3mm" / "ct.nii.gz"
    if not scan.is_file():
        pytest.skip("the real CT in ../shared/data is not there")
    from spine.volume.nifti import read_image, read_labels

    done = workstation.spineline("predict", str(scan), str(tmp_path / "mask.nii.gz"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["version"] == 2
    mask = read_labels(tmp_path / "mask.nii.gz")
    assert mask.grid.difference(read_image(scan).grid) is None


def test_nothing_is_written_outside_the_root(workstation, demonstrated):
    made = {path.name for path in workstation.folder.iterdir()}
    assert made == {"state", "first.yaml", "second.yaml", "lenient.yaml", "interrupted.log"}
