"""The suite's own parts, without a cluster: on recorded objects, real validators, and a fake Kubeflow Pipelines."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from model_registry.policy import Policy
from pipelines.profile import Profile, load_profile
from spine.recipe import Recipe
from tests.cluster import data_set_program
from tests.cluster.commands import Answer, Kubectl, Spineline
from tests.cluster.configuration import Configuration, MissingConfigurationError, read_configuration
from tests.cluster.data_set import data_set_objects
from tests.cluster.kubeflow_api import runs_of_schedule
from tests.cluster.run_pods import run_pods
from tests.cluster.segmentation_load import Load
from tests.cluster.suite_profile import (
    PROJECT,
    RETRIES,
    out_of_memory_profile,
    policy,
    recipes,
    remote_of,
    suite_profile,
    with_training,
)
from tests.cluster.training_runs import Launcher, epochs_done
from tests.pipelines.cluster.fakes.kfp_server import KfpServer

RECORDED = PROJECT.parent / "shared" / "data" / "kubeflow_2_17"


@pytest.fixture
def configuration(tmp_path) -> Configuration:
    for name in ("kubeconfig", "profile.yaml"):
        (tmp_path / name).write_text("")
    given = {"NAMESPACE": "spine", "PROFILE": str(tmp_path / "profile.yaml")}
    environ = {f"SPINELINE_CLUSTER_{name}": value for name, value in given.items()}
    return read_configuration({**environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": "/usr/bin:/bin"})


def recorded(name):
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"no recorded objects in {RECORDED}")
    return json.loads(path.read_text())


def test_everything_that_is_missing_stands_in_one_line():
    with pytest.raises(MissingConfigurationError) as error:
        read_configuration({"SPINELINE_CLUSTER_PROFILE": "/does/not/exist.yaml"})
    told = str(error.value)
    assert "\n" not in told
    for part in (
        "KUBECONFIG",
        "SPINELINE_CLUSTER_NAMESPACE is not set",
        "'/does/not/exist.yaml', which does not exist",
    ):
        assert part in told


def test_commands_get_no_setting_of_the_caller_but_what_credential_plugins_read(tmp_path):
    for name in ("kubeconfig", "profile.yaml"):
        (tmp_path / name).write_text("")
    environ = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"), "SPINELINE_CLUSTER_NAMESPACE": "spine",
        "SPINELINE_CLUSTER_PROFILE": str(tmp_path / "profile.yaml"), "SPINELINE_ROOT": "/mine", "AWS_PROFILE": "lab",
    }  # fmt: skip
    found = read_configuration(environ).environment
    assert "SPINELINE_ROOT" not in found
    assert (found["AWS_PROFILE"], found["SPINELINE_ACTOR"]) == ("lab", "cluster-suite")


def test_every_variable_is_documented():
    text = (PROJECT / "tests" / "cluster" / "README.md").read_text()
    read = {field.name for field in dataclasses.fields(Configuration)} - {"kubeconfig", "environment"}
    names = {"replaces_served": "REPLACE_SERVED", "keeps": "KEEP"}
    assert [name for name in read if f"SPINELINE_CLUSTER_{names.get(name, name.upper())}`" not in text] == []


def test_pods_of_steps_are_read_with_fold_and_state():
    pods = run_pods(recorded("pods_killed_then_retried.json")["items"])
    assert {pod.step for pod in pods} >= {"pull_dataset", "train_folds"}
    assert {pod.iteration for pod in pods if pod.step == "train_folds"} == {0}
    assert {pod.iteration for pod in pods if pod.step == "pull_dataset"} == {None}


def test_pods_that_kueue_holds_back_are_in_its_queue_and_do_not_run():
    pods = [pod for pod in run_pods(recorded("pods_waiting_in_kueue.json")["items"]) if pod.step == "train_folds"]
    held = [pod for pod in pods if pod.queue]
    assert {pod.queue for pod in held} == {"spine"}
    assert not any(pod.is_running for pod in held)
    assert any(pod.is_running for pod in pods)


def test_the_runs_of_a_schedule_are_those_whose_workflow_it_owns():
    workflow = recorded("workflow_stopped_then_retried.json")
    run_id = workflow["metadata"]["labels"]["pipeline/runid"]
    assert list(runs_of_schedule([workflow], "a")) == []
    workflow["metadata"]["ownerReferences"] = [{"kind": "ScheduledWorkflow", "name": "x", "uid": "a"}]
    assert list(runs_of_schedule([workflow], "a")) == [run_id]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", 0),
        ("train_folds: fold 0, epoch 3/1000 loss 0.1\ntrain_folds: fold 0, epoch 4.5/1000", 4),
        ('{"message": "train_folds: fold 1, epoch 12/1000 loss 0.1"}', 12),
    ],
)
def test_finished_epochs_are_read_from_a_log(log, expected):
    assert epochs_done(log) == expected


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-one-node", "kueue"])
def test_every_profile_that_comes_with_spineline_becomes_a_small_one(name, configuration):
    given = yaml.safe_load(load_profile(name).model_dump_json(exclude_unset=True))
    made = suite_profile(given, configuration)
    profile = Profile.parse(made, where=name)
    training = profile.kubernetes.settings_of("train_folds")
    assert (training.cpu, training.memory, training.gpus, training.retries) == ("500m", "3Gi", 0, RETRIES)
    assert training.queue is None
    assert profile.kubeflow.namespace == "spine"
    assert profile.kubernetes.volume_claim == given["kubernetes"]["volume_claim"]
    for changed in (out_of_memory_profile(made), with_training(made, gpus=1, memory="8Gi", queue="spine")):
        Profile.parse(changed, where=name)


def test_recipes_and_policy_are_valid():
    found = {name: Recipe.parse(content, where=name) for name, content in recipes().items()}
    assert [(recipe.name, recipe.training.epochs) for recipe in found.values()] == [
        ("cluster-suite", 3), ("cluster-suite-endless", 1000),
    ]  # fmt: skip
    assert Policy.parse(policy(), where="policy").separate_approver


def test_the_objects_of_the_data_set_fit_their_schemas(configuration):
    import kubernetes_validate

    given = yaml.safe_load(load_profile("kubernetes").model_dump_json(exclude_unset=True))
    profile = suite_profile(given, configuration)
    remote = remote_of(profile, configuration)
    assert remote == "s3://spineline/cluster-suite/dvc"
    objects = data_set_objects(profile, image="spineline/data:0.1.0", remote=remote, has_policies=True)
    assert [one["kind"] for one in objects] == ["ConfigMap", "Pod", "Service", "NetworkPolicy", "NetworkPolicy"]
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_a_namespace_without_policies_gets_none(configuration):
    given = yaml.safe_load(load_profile("kubernetes").model_dump_json(exclude_unset=True))
    profile = suite_profile(given, configuration)
    kinds = [one["kind"] for one in data_set_objects(profile, image="data", remote="s3://a/b", has_policies=False)]
    assert "NetworkPolicy" not in kinds


def test_a_failed_command_is_quoted_with_what_it_printed():
    with pytest.raises(AssertionError, match="exit code 1\n\nno such pod"):
        Answer("kubectl get pod", 1, "", "no such pod").require(0, 2)


def test_a_port_forward_yields_its_address_and_ends(tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"#!{sys.executable}\nimport sys, time\n"
        "port = sys.argv[-1].split(':')[0]\n"
        "print(f'Forwarding from 127.0.0.1:{port} -> 5000', flush=True)\ntime.sleep(600)\n"
    )
    kubectl.chmod(0o755)
    with Kubectl("spine", {"PATH": str(tmp_path)}).forwarded("mlflow", 5000, log=tmp_path / "log") as address:
        assert address.startswith("http://127.0.0.1:")


class _Flaky(BaseHTTPRequestHandler):
    """Answers as version 1, and refuses the third request."""

    count = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).count += 1
        self.send_response(503 if self.count == 3 else 200)
        self.send_header("X-Spineline-Version", "1")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_load_counts_every_answer_that_is_not_200():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Load(f"http://127.0.0.1:{server.server_port}", b"scan", token="secret", clients=1) as load:
        load.wait_for_version(1)
        while len(load.answers) < 5:
            time.sleep(0.01)
    server.shutdown()
    assert [one.status for one in load.failed] == [503]


@pytest.mark.slow
def test_the_data_set_is_made_and_can_be_cloned_over_http(tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    objects = data_set_objects({"kubernetes": {}}, image="data", remote="s3://a/b", has_policies=False)
    for name, content in objects[0]["data"].items():
        (sources / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    server = data_set_program.server(data_set_program.make(str(tmp_path / "remote"), "-", sources), port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{data_set_program.NAME}"
    subprocess.run(["git", "clone", "--quiet", "--mirror", address, "clone"], check=True)
    # As a second run does that finds the clone.
    subprocess.run(["git", "-C", "clone", "fetch", "--quiet", "origin", "+refs/*:refs/*"], check=True)
    server.shutdown()
    shown = subprocess.run(["git", "-C", "clone", "show", "main:dvc.lock"], capture_output=True, text=True, check=True)
    assert "prepare_dataset" in yaml.safe_load(shown.stdout)["stages"]
    assert any((tmp_path / "remote").rglob("*.dir"))


@pytest.mark.slow
def test_a_run_is_started_followed_read_and_stopped_by_the_real_command_line(tmp_path, configuration):
    kfp = KfpServer()
    content = yaml.safe_load(load_profile("kubernetes").model_dump_json(exclude_unset=True))
    profile = suite_profile({**content, "kubeflow": {"host": kfp.url}}, configuration)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(profile))
    for name, made in {**recipes(), "policy": policy()}.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(made))
    environment = {**configuration.environment, "HOME": str(tmp_path)}
    spineline = Spineline(tmp_path / "suite.yaml", environment, tmp_path)
    launcher = Launcher(spineline, Kubectl("spine", environment), "https://git.example/data.git", "main", tmp_path)
    run = launcher.start(recipe="cluster-suite", seed=7, folds="0,1")
    run.follow().wait_for("run: ", timeout_s=60)
    launcher.stop_all()
    assert "CANCEL" in run.status()["state"]
    kfp.close()
    assert kfp.broken == []
    recipe = json.loads(kfp.runs[0].runtime_config.parameters["recipe"])
    assert (recipe["name"], recipe["training"]["seed"], recipe["training"]["folds"]) == ("cluster-suite", 7, [0, 1])


def test_the_verb_names_what_is_missing_and_fails():
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.configuration"],
        cwd=PROJECT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: no cluster to test: KUBECONFIG")


def test_every_module_of_the_suite_has_a_place_in_its_order():
    from tests.cluster.conftest import ORDER

    folder = Path(__file__).parent
    marked = {
        path.stem for path in folder.glob("test_*.py") if "\npytestmark = pytest.mark.cluster" in path.read_text()
    }
    assert marked == set(ORDER)
