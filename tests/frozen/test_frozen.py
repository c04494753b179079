"""What commit 45637e3 stored is read by this one: listed, verified, judged, promoted, continued and prepared again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.evaluate_folds.main import evaluate_folds
from components.gate_candidate.main import gate_candidate
from components.plan_training.main import plan_training
from components.prepare_dataset.main import Choices, prepare_dataset
from components.promote_model.main import promote_model, roll_back
from components.serve_model.server_info import ServerInfo
from model_registry import gate, ledger, policy
from model_registry.bundle import Bundle, BundleManifest
from model_registry.errors import EvidenceError
from model_registry.lifecycle import Registry, require_passing
from model_registry.verdict import Rule, Verdict
from pipelines.cli.app import run
from spine.dataset import Manifest
from spine.errors import MalformedFileError
from spine.metrics.scores import Evaluation
from spine.recipe import Recipe
from spine.records import DatasetRevision, EvaluationRecord, FoldCheckpoint, Plan, parse_checkpoints
from spine.settings import settings

EVENTS = ["register", "approve", "promote", "register", "approve", "promote", "roll back"]
NOW = {"reason": "for tests"}
KINDS = {
    "bundle.json": BundleManifest.from_stored, "evaluation.json": Evaluation.from_stored,
    "verdict.json": Verdict.from_stored, "dataset_manifest.json": Manifest.from_stored,
    "policy.json": policy.Policy.parse, "recipe.json": Recipe.parse,
}  # fmt: skip


def bundles(root: Path) -> list[Bundle]:
    return [Registry(root).verified_bundle(version) for version in (1, 2)]


def plan_of(root: Path) -> Plan:
    (file,) = root.glob("plans/*/record.json")
    return Plan.read(file)


def test_versions_are_listed_with_their_history_and_nothing_differs_once_repaired(root, capsys):
    assert run(["history", "--json"]) == 0
    events = json.loads(capsys.readouterr().out)
    assert [event["kind"] for event in events] == EVENTS
    assert [event["actor"] for event in events] == ["ann", "ben", "ann", "ann", "ben", "ann", "ann"]
    assert run(["versions", "--json"]) == 0
    assert {1, 2} == {row["version"] for row in json.loads(capsys.readouterr().out)}
    assert run(["status", "--json"]) == 1
    differences = json.loads(capsys.readouterr().out)["differences"]
    silent = [line for line in differences if "workstation" in line and "has said nothing" in line]
    # That release gave MLflow's versions the tag spineline.life.
    assert len(silent) == 1 and all("is tagged with no stage" in line for line in differences if line not in silent)
    assert run(["status", "--repair", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []


def test_bundles_verify_and_their_verdicts_are_judged_again(root):
    for bundle in bundles(root):
        verdict = require_passing(bundle)
        assert verdict.format == 1 and verdict.outcome == "pass"
        assert all(rule.id and rule.kind for rule in verdict.rules)
        assert "format" not in bundle.json("verdict.json")


def test_a_verdict_that_was_changed_is_still_refused(root):
    bundle = bundles(root)[1]
    file = bundle.folder / "verdict.json"
    content = json.loads(file.read_text())
    content["rules"][2]["value"] = 0.99
    content.pop("digest")
    Verdict.from_stored(content, where="changed").write(file)
    with pytest.raises(EvidenceError, match="does not follow"):
        require_passing(bundle)


def test_other_words_for_a_rule_change_no_verdict(root, monkeypatch):
    floors = gate.floor_rules

    def reworded(*given, **named):
        for rule in floors(*given, **named):
            yield rule.model_copy(update={"name": rule.name.upper(), "expected": f"no less than {rule.threshold}"})

    monkeypatch.setattr(gate, "floor_rules", reworded)
    for bundle in bundles(root):
        assert require_passing(bundle).outcome == "pass"


def test_a_rule_that_comes_later_fails_no_earlier_verdict(root, monkeypatch):
    judge_evidence = gate.evidence_rules

    def with_another(*given, **named):
        yield from judge_evidence(*given, **named)
        yield Rule(id="later", kind="count", name="later", value=0, threshold=1, expected="at least 1", passed=False)

    monkeypatch.setattr(gate, "evidence_rules", with_another)
    assert [require_passing(bundle).outcome for bundle in bundles(root)] == ["pass", "pass"]


def test_a_field_that_comes_later_changes_no_digest(root):
    class LaterEvent(ledger.Event):
        ticket: str | None = None

    class LaterManifest(BundleManifest):
        notes: str = ""

    class LaterEvaluation(Evaluation):
        scanner: str | None = None

    class LaterFloors(policy.Floors):
        nsd_3mm: float | None = None

    class LaterPolicy(policy.Policy):
        floors: LaterFloors
        window_days: int = 7

    for file in sorted((root / "ledger").glob("*.json")):
        assert LaterEvent.read(file).digest == ledger.Event.read(file).digest
    for bundle in bundles(root):
        verdict = Verdict.read(bundle.folder / "verdict.json")
        assert LaterManifest.from_stored(bundle.json("bundle.json"), where="it").digest == bundle.digest
        assert LaterEvaluation.from_stored(bundle.json("evaluation.json"), where="it").digest == verdict.evaluation
        later = LaterPolicy.parse(bundle.json("policy.json"), where="it")
        assert later.digest == verdict.policy
        assert later.model_copy(update={"window_days": 8}).digest != verdict.policy


@pytest.mark.parametrize("name", KINDS)
def test_a_later_format_is_refused_in_one_line(root, name):
    content = {**bundles(root)[0].json(name), "format": 99}
    with pytest.raises(MalformedFileError, match=rf"{name}: has format 99 of .*; expected format \d+ or earlier"):
        KINDS[name](content, where=name)


def test_versions_are_promoted_and_rolled_back_to(root):
    services = settings()
    assert promote_model(root=root, version=2, services=services, **NOW).event.to_version == 2
    assert roll_back(root=root, to=None, services=services, **NOW).event.to_version == 1
    history = Registry(root).history()
    assert [event.kind for event in history] == [*EVENTS, "promote", "roll back"]
    assert [event.format for event in history] == [1] * len(EVENTS) + [2, 2]


def test_reports_of_servers_are_read(root):
    (report,) = Registry(root).replicas().reports()
    assert (report.version, report.event, report.name.split("-")[0]) == (1, len(EVENTS), "workstation")
    file = root / "serving" / "server.json"
    assert ServerInfo.from_stored(json.loads(file.read_text()), where=file).port == 18080


def test_the_plan_and_the_evaluations_are_found_again(root):
    plan = plan_of(root)
    dataset = DatasetRevision.read((root / plan.dataset_folder).parent / "record.json")
    for bundle in bundles(root):
        recipe = Recipe.parse(bundle.json("recipe.json"), where="recipe.json")
        assert plan_training(root=root, dataset=dataset, recipe=recipe) == plan
        known = EvaluationRecord.read(bundle.folder / "records" / "evaluation.json")
        folds = [FoldCheckpoint.read(bundle.folder / "records" / f"fold_{fold}.json") for fold in known.folds]
        again = evaluate_folds(root=root, plan=plan, recipe=recipe, checkpoints=folds)
        assert again.digest == known.digest
        chosen = policy.Policy.parse(bundle.json("policy.json"), where="policy.json")
        verdict = gate_candidate(root=root, plan=plan, evaluation=known, policy=chosen)
        assert (verdict.outcome, verdict.format) == ("pass", 2)


@pytest.mark.slow
def test_an_interrupted_training_goes_on_from_its_checkpoint(root):
    (checkpoint,) = root.glob("candidates/*/*/*/fold_0/checkpoint_epoch_*.pth")
    recipe = Recipe.from_yaml(Path(__file__).with_name("tiny-unfinished.yaml"))
    command = [sys.executable, "-m", "components.train_folds", "--root", root, "--plan", plan_of(root).text()]
    command += ["--recipe", recipe.model_dump_json(), "--folds", "[0]"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    log = (checkpoint.parent / "training.log").read_text()
    assert f"fold 0: continued from {checkpoint.name}" in log
    (record,) = parse_checkpoints(done.stdout.splitlines()[-1])
    assert record.epochs == recipe.training.epochs


@pytest.mark.slow
def test_data_are_prepared_again_with_every_case_on_its_side_of_the_lock(root):
    data = root / "demo-data"
    before = Manifest.of(data / "data" / "prepared")
    lock = json.loads((data / "splits.json").read_text())
    choices = Choices(seed=1, test_share=0.9, splits=data / "splits.json", set_aside=data / "set_aside.yaml")
    after = prepare_dataset(raw=data / "data" / "raw", output=data / "data" / "prepared", choices=choices)
    assert {case.case: case.split for case in after.cases} == {case.case: case.split for case in before.cases}
    assert [case.labels_sha256 for case in after.cases] == [case.labels_sha256 for case in before.cases]
    written = json.loads((data / "splits.json").read_text())
    assert {name: written[name] for name in lock} == lock
