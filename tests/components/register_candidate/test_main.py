"""What MLflow and the ledger show of a candidate that passes its gate, and of one that does not."""

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from components.register_candidate.bundling import candidate_key
from components.register_candidate.main import register_candidate, step
from model_registry.bundle import Bundle
from model_registry.evidence_pack import make_evidence_pack
from model_registry.lifecycle import Registry
from model_registry.lineage import lineage_of
from model_registry.mlflow_aliases import STAGE_TAG
from spine.records import OUT_OF_FOLD_FILE, TEST_FILE, DatasetRevision
from spine.settings import Settings, child_environment, settings
from spine.storage import short, strict_json

MODEL = "vertebra-segmentation"


def keep_verdict(judged) -> None:
    folder = judged["root"] / "evaluations/e/verdicts" / short(judged["verdict"].digest)
    judged["verdict"].write(folder / "verdict.json")
    (folder / "report.html").write_text("<html>")


def _killed(*_, **__):
    raise KeyboardInterrupt


def folder_of(judged) -> Path:
    return judged["root"] / "models" / short(candidate_key(judged["plan"], judged["checkpoints"]))


def runs(services):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=services.mlflow_uri, registry_uri=services.mlflow_uri)
    found = client.search_runs([client.get_experiment_by_name("spineline").experiment_id])
    (candidate,) = [run for run in found if "spineline.candidate" in run.data.tags]
    return client, candidate, [run for run in found if run.info.run_id != candidate.info.run_id]


@pytest.mark.slow
def test_a_candidate_that_passes_is_a_version_of_the_run_that_training_began(judged, services):
    version = register_candidate(**judged, services=services)
    client, candidate, folds = runs(services)
    assert (version.version, version.mlflow_run) == (1, candidate.info.run_id)
    shown = client.get_model_version("vertebra-segmentation", "1")
    assert (shown.run_id, shown.aliases, shown.tags[STAGE_TAG]) == (candidate.info.run_id, ["candidate"], "registered")
    assert (candidate.info.status, candidate.data.tags["spineline.verdict"]) == ("FINISHED", "pass")
    assert candidate.data.metrics["test/dice_scan_mean"] == pytest.approx(1.0)
    for fold in folds:
        assert [point.step for point in client.get_metric_history(fold.info.run_id, "train_loss")] == [1, 2]
    assert "verdict.json" in {file.path for file in client.list_artifacts(candidate.info.run_id)}
    assert register_candidate(**judged, services=services) == version, "the same weights are registered once"


@pytest.mark.slow
def test_a_version_stands_where_its_alias_can_not_be_set(judged, services, monkeypatch, caplog):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_):
        raise MlflowException("no right to set an alias")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refuse)
    assert register_candidate(**judged, services=services).version == 1
    (told,) = [line.message for line in caplog.records if "aliases" in line.message]
    assert told.startswith("MLflow's aliases were not set: MLflow at sqlite:") and "no right" in told
    assert Registry.at(judged["root"], services).state().versions[1].stage == "registered"


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


@pytest.mark.slow
def test_a_version_holds_all_that_serves_and_explains_it_and_leads_back_to_where_it_comes_from(judged, services):
    version = register_candidate(**judged, services=services)
    bundle = Bundle(judged["root"] / version.folder)
    bundle.verify(expected=version.model_digest)
    assert set(bundle.manifest.files) >= {
        "MLmodel", "requirements.txt", "input_example.json", "code/model_registry/pyfunc.py", "labels.json",
        "lineage.json", "environment.txt", "recipe.json", "postprocessing.json", "verdict.json", "policy.json",
        "evaluation.json", "report.html", "golden/image.nii.gz", "golden/labels.nii.gz", "model/plans.json",
        "model/dataset_fingerprint.json", "model/fold_0/checkpoint_final.pth", "records/dataset.json",
    }  # fmt: skip
    assert [(each["label"], each["name"]) for each in bundle.json("labels.json")][::24] == [(1, "C1"), (25, "S1")]
    client, candidate, folds = runs(services)
    dataset = DatasetRevision.read(judged["root"] / "datasets/x/record.json")
    lineage = lineage_of(Registry.at(judged["root"], services), 1)
    assert lineage.provenance.model_dump() == {
        "format": 2,
        "code_revision": "c" * 40,
        "images": {"train_folds": "train:1", "register_candidate": "registry:1"},
        "git_revision": dataset.git_revision,
        "dvc_hash": dataset.dvc_hash,
        "run": candidate.info.run_id,
        "fold_runs": {int(fold.data.tags["spineline.fold"]): fold.info.run_id for fold in folds},
    }
    shown = client.get_model_version(MODEL, "1")
    assert shown.source == bundle.folder.as_uri()
    assert shown.tags["spineline.dvc_hash"] == dataset.dvc_hash
    assert shown.tags["spineline.code_revision"] == "c" * 40
    assert shown.tags["spineline.image.train_folds"] == "train:1"
    assert candidate.data.params["bundle"] == bundle.digest


@pytest.mark.slow
def test_what_a_version_was_made_from_is_in_its_evidence_pack(judged, services):
    register_candidate(**judged, services=services)
    registry = Registry.at(judged["root"], services)
    registry.approve(1, actor="ben", reason="looked at the report")
    with zipfile.ZipFile(make_evidence_pack(registry, 1)) as pack:
        card = pack.read("model_card.md").decode()
        lineage = json.loads(pack.read("lineage-and-life.json"))
        assert lineage["provenance"] == json.loads(pack.read("lineage.json"))
        assert lineage["provenance"]["code_revision"] == "c" * 40
        assert {"torch", "numpy", "python"} <= {
            each["name"] for each in json.loads(pack.read("sbom.cdx.json"))["components"]
        }
    assert f"| code | {'c' * 40} |" in card
    assert "| started from | random weights |" in card
    assert "| trained on voxels (mm) | 6 × 6 × 6 to 6 × 6 × 6 |" in card
    assert "| train | 2 | 2 | 2 of 25 | C1, C2," in card
    assert "| test | 1 | 1 | 2 of 25 | C1, C2," in card


@pytest.mark.slow
def test_a_registration_that_was_killed_before_the_ledger_knew_goes_on_with_the_same_version(judged, services):
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Registry, "register", _killed)
        register_candidate(**judged, services=services)
    assert Registry(judged["root"]).history() == []
    assert register_candidate(**judged, services=services).version == 1
    assert [event.version for event in Registry(judged["root"]).history()] == [1]


@pytest.mark.slow
def test_the_same_candidate_gives_the_same_digest_when_its_bundle_is_made_again(judged, services):
    first = register_candidate(**judged, services=services)
    shutil.rmtree(folder_of(judged))
    assert register_candidate(**judged, services=services) == first


@pytest.mark.slow
def test_with_a_model_store_the_version_lies_there_and_mlflow_says_so(judged, services, tmp_path):
    away = Settings(**{**services.model_dump(), "model_store": str(tmp_path / "store")})
    version = register_candidate(**judged, services=away)
    client, _, _ = runs(services)
    stored = tmp_path / "store" / short(version.model_digest)
    assert client.get_model_version(MODEL, "1").source == stored.as_uri()
    Bundle(stored).verify(expected=version.model_digest)


@pytest.mark.slow
def test_a_version_on_s3_is_loaded_by_mlflow_from_there(judged, services, s3_server, credentials, monkeypatch):
    import boto3
    import mlflow

    bucket = "registered"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=bucket)
    place = {"model_store": f"s3://{bucket}/models", "s3_endpoint": s3_server}
    version = register_candidate(**judged, services=Settings(**{**services.model_dump(), **place}))
    shutil.rmtree(folder_of(judged))
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", services.mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version.version}")
    (report,) = model.predict(model.input_example)["report"]
    assert json.loads(report)["model_digest"] == version.model_digest


REGISTER = """
import pickle, sys
from components.register_candidate.main import register_candidate
from spine.settings import settings
with open(sys.argv[1], "rb") as stream:
    print(register_candidate(**pickle.load(stream), services=settings()).version)
"""


@pytest.mark.slow
def test_two_registrations_at_once_make_one_version(judged, services, tmp_path):
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps(judged))
    environment = child_environment(SPINELINE_TRACKING_URI=services.mlflow_uri, SPINELINE_ACTOR="ann")
    command = [sys.executable, "-c", REGISTER, str(given)]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate() for process in started]
    assert [out.splitlines()[-1:] for out, _ in ended] == [["1"], ["1"]], ended
    assert [event.kind for event in Registry(judged["root"]).history()] == ["register"]
    known = runs(services)[0].search_model_versions(f"name = '{MODEL}'")
    assert [int(version.version) for version in known] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(("given", "recorded"), [("dora@example.org", "dora@example.org"), ("", "unknown")])
def test_a_version_is_registered_by_who_started_the_run(given, recorded, judged, services, monkeypatch):
    monkeypatch.setenv("SPINELINE_TRACKING_URI", services.mlflow_uri)
    monkeypatch.setenv("SPINELINE_ACTOR", "spineline")
    settings.cache_clear()
    records = {name: judged[name].text() for name in ("plan", "evaluation", "verdict")}
    recipe = strict_json(judged["recipe"].model_dump(mode="json"))
    checkpoints = json.dumps([record.text() for record in judged["checkpoints"]])
    step(root=str(judged["root"]), recipe=recipe, checkpoints=checkpoints, actor=given, **records)
    settings.cache_clear()
    (event,) = Registry(judged["root"]).history()
    client, _, _ = runs(services)
    assert (event.kind, event.actor) == ("register", recorded)
    assert client.get_model_version(MODEL, "1").tags["spineline.registered_by"] == recorded
