"""What the compiled pipelines say: the graph, the images, and the settings of a cluster's profile."""

import json

import pytest
import yaml

from pipelines.compiling import compile_all
from pipelines.profile import Profile, load_profile


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    profile = load_profile("kubernetes").model_copy(update={"images": {"train": "registry.example/train@sha256:1"}})
    files = compile_all(profile=profile, folds=[0, 1, 2], output=folder)
    return {file.stem: list(yaml.safe_load_all(file.read_text())) for file in files}


def test_three_pipelines_are_compiled(compiled):
    assert set(compiled) == {"train-candidate", "promote-approved", "roll-back"}


def test_steps_depend_on_one_another_in_the_order_of_the_chain(compiled):
    tasks = compiled["train-candidate"][0]["root"]["dag"]["tasks"]
    order = ["pull-dataset", "plan-training", "train-groups-of-folds", "evaluate-folds", "gate-candidate"]
    for before, after in zip(order, [*order[1:], "register-candidate"], strict=True):
        assert before in tasks[after]["dependentTasks"], after


def test_no_step_is_cached(compiled):
    for documents in compiled.values():
        assert '"enableCache": true' not in json.dumps(documents)


def test_no_branch_can_be_skipped_silently(compiled):
    for documents in compiled.values():
        assert "triggerPolicy" not in json.dumps(documents)


def test_folds_are_dealt_one_a_task_on_a_cluster(compiled):
    inner = compiled["train-candidate"][0]["components"]["comp-train-groups-of-folds"]["dag"]["tasks"]
    (loop,) = (task for task in inner.values() if "parameterIterator" in task)
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == ["[0]", "[1]", "[2]"]


def test_a_profile_replaces_images_by_target(compiled):
    executors = compiled["train-candidate"][0]["deploymentSpec"]["executors"]
    images = {name: executor["container"]["image"] for name, executor in executors.items()}
    assert images["exec-train-folds"] == "registry.example/train@sha256:1"
    assert images["exec-pull-dataset"].startswith("spineline/data:")


def test_training_asks_for_its_gpu_memory_and_volume(compiled):
    documents = compiled["train-candidate"]
    container = documents[0]["deploymentSpec"]["executors"]["exec-train-folds"]["container"]
    assert container["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    platform = json.dumps(documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train-folds"])
    for expected in ("spineline-root", "/dev/shm", "Memory", "MLFLOW_TRACKING_URI"):
        assert expected in platform


def test_training_is_retried_more_often_than_a_short_step(compiled):
    tasks = compiled["train-candidate"][0]["root"]["dag"]["tasks"]
    inner = compiled["train-candidate"][0]["components"]
    found = json.dumps(inner)
    assert '"maxRetryCount": 50' in found
    assert tasks["evaluate-folds"]["retryPolicy"]["maxRetryCount"] == 2


def test_no_component_installs_kfp_when_it_starts(compiled):
    for documents in compiled.values():
        assert "pip install" not in json.dumps(documents)


def test_the_local_profile_has_the_same_graph(tmp_path, compiled):
    (file, *_) = compile_all(profile=load_profile("local"), folds=[0, 1, 2], output=tmp_path)
    (local, *_) = yaml.safe_load_all(file.read_text())
    on_cluster = compiled["train-candidate"][0]
    assert local["root"]["dag"]["tasks"].keys() == on_cluster["root"]["dag"]["tasks"].keys()


def test_a_profile_with_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nabout: x\ngpus: 4\n")
    with pytest.raises(Exception, match=r"mine\.yaml: gpus: Extra inputs"):
        Profile.from_yaml(path)
