"""What is compiled: the same graph for every profile, the same bytes each time, and nothing with a known fault."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from pipelines.cli.app import run
from pipelines.compiling import compile_all
from pipelines.linting.lint import FoundInPipelineError
from pipelines.profile import Profile, load_profile
from spine.errors import InvalidValueError
from spine.settings import settings


def compiled_for(profile, folder, folds=(0, 1, 2)):
    files = compile_all(profile=profile, folds=list(folds), output=folder)
    return {file.stem: list(yaml.safe_load_all(file.read_text())) for file in files}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compiled_for(load_profile("kubernetes"), tmp_path_factory.mktemp("compiled"))


def test_three_pipelines_are_compiled(compiled):
    assert set(compiled) == {"train-candidate", "promote-approved", "roll-back"}


def test_every_parameter_has_a_default_and_a_line_that_describes_it(compiled):
    for pipeline, (ir, _) in compiled.items():
        assert ir["pipelineInfo"]["description"].count("\n") == 0, pipeline
        for name, parameter in ir["root"]["inputDefinitions"]["parameters"].items():
            where = f"{pipeline}: {name}"
            assert parameter["isOptional"] and "defaultValue" in parameter, where
            assert 10 < len(parameter["description"]) < 120 and "\n" not in parameter["description"], where


def test_defaults_of_a_run_are_those_of_the_profile_and_names(compiled):
    parameters = compiled["train-candidate"][0]["root"]["inputDefinitions"]["parameters"]
    assert {name: parameter["defaultValue"] for name, parameter in parameters.items()} == {
        "root": "/spineline", "repository": "", "revision": "main", "remote": "", "recipe": "spine",
        "policy": "research", "start_from": 0, "actor": "",
    }  # fmt: skip


@pytest.fixture
def repository(monkeypatch):
    """A function that sets the repository of the settings."""

    def name(url):
        monkeypatch.setenv("SPINELINE_REPOSITORY", url)
        settings.cache_clear()

    yield name
    settings.cache_clear()


@pytest.mark.parametrize(
    ("configured", "default"),
    [("https://git.example.org/d.git", "https://git.example.org/d.git"), ("/data/repository", "")],
)
def test_a_repository_that_a_cluster_can_clone_is_the_default(configured, default, repository, tmp_path):
    repository(configured)
    (ir, _) = compiled_for(load_profile("kubernetes"), tmp_path)["train-candidate"]
    assert ir["root"]["inputDefinitions"]["parameters"]["repository"]["defaultValue"] == default


def test_a_password_in_the_repository_is_never_compiled(repository, tmp_path):
    repository("https://ann:s3cret@git.example.org/d.git")
    with pytest.raises(InvalidValueError, match="SPINELINE_REPOSITORY is .*credential helper") as refused:
        compiled_for(load_profile("kubernetes"), tmp_path / "out")
    assert "s3cret" not in str(refused.value) and not (tmp_path / "out").exists()


def test_steps_depend_on_one_another_in_the_order_of_the_chain(compiled):
    tasks = compiled["train-candidate"][0]["root"]["dag"]["tasks"]
    order = ["pull-dataset", "plan-training", "train-groups-of-folds", "evaluate-folds", "gate-candidate"]
    for before, after in zip(order, [*order[1:], "register-candidate"], strict=True):
        assert before in tasks[after]["dependentTasks"], after


def test_folds_are_dealt_one_a_task_on_a_cluster(compiled):
    inner = compiled["train-candidate"][0]["components"]["comp-train-groups-of-folds"]["dag"]["tasks"]
    (loop,) = (task for task in inner.values() if "parameterIterator" in task)
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == ["[0]", "[1]", "[2]"]


@pytest.mark.parametrize("name", ["local", "kubernetes", "kubernetes-one-node", "kueue"])
def test_every_profile_compiles_to_the_same_graph_without_a_finding(name, compiled, tmp_path):
    own = compiled_for(load_profile(name), tmp_path)
    for pipeline, documents in compiled.items():
        assert own[pipeline][0]["root"]["dag"]["tasks"].keys() == documents[0]["root"]["dag"]["tasks"].keys()


def test_the_local_profile_asks_nothing_of_kubernetes(tmp_path):
    for documents in compiled_for(load_profile("local"), tmp_path).values():
        assert len(documents) == 1


@pytest.mark.slow
def test_the_same_profile_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys, pathlib; from pipelines.compiling import compile_all; from pipelines.profile import load_profile\n"
        "compile_all(profile=load_profile('kueue'), folds=[0, 1], output=pathlib.Path(sys.argv[1]))"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, tmp_path / seed], check=True, env=environment, capture_output=True)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()} for seed in ("1", "2"))
    assert len(first) == 3 and first == second


def test_a_finding_is_named_and_nothing_is_written(tmp_path):
    text = "{name: mine, about: x, kubernetes: {volume_claim: root, steps: {evaluate_folds: {gpus: 1}}}}"
    profile = Profile.parse(yaml.safe_load(text), where="mine.yaml")
    with pytest.raises(FoundInPipelineError) as raised:
        compile_all(profile=profile, folds=[0], output=tmp_path / "out")
    told = str(raised.value)
    assert told.startswith(
        "pipeline train-candidate of profile 'mine': evaluate-folds has a GPU and no /dev/shm (rule gpu"
    )
    assert "expected shared_memory of this step in the profile" in told and "\n" not in told
    assert not (tmp_path / "out").exists()


def test_a_secret_among_the_variables_is_refused(tmp_path):
    cluster = {"volume_claim": "root", "environment": {"variables": {"STORE_PASSWORD": "hunter2"}}}
    profile = Profile.parse({"name": "mine", "about": "x", "kubernetes": cluster}, where="mine.yaml")
    with pytest.raises(
        FoundInPipelineError, match=r"STORE_PASSWORD in plain text \(rule secret-in-environment"
    ) as raised:
        compile_all(profile=profile, folds=[0], output=tmp_path)
    assert "hunter2" not in str(raised.value)


WRONG = {
    "{volume_claim: root, defaults: {memory: 64 GB}}": "kubernetes.defaults.memory: should be a whole number of bytes",
    "{volume_claim: root, steps: {train_folds: {gpus: 1}}}": "train-folds has a GPU and no /dev/shm",
}


@pytest.mark.parametrize("cluster", WRONG)
def test_who_compiles_is_told_in_one_line_and_nothing_is_written(cluster, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nabout: x\nkubernetes: {cluster}\n")
    code = run(["compile", "--profile", str(path), "--output", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith("error: ") and told.err.count("\n") == 1
    assert WRONG[cluster] in told.err and "expected" in told.err
    assert list(tmp_path.iterdir()) == [path]
