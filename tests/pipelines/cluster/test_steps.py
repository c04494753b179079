"""Steps of runs that are not ours: tasks without a name, or whose names say nothing."""

from types import SimpleNamespace

import pytest

from pipelines.cluster.graph import Graph
from pipelines.cluster.steps import StepState, steps_of
from tests.pipelines.cluster.fakes.kfp_server import task


def run_of(*tasks):
    return SimpleNamespace(run_details=SimpleNamespace(task_details=list(tasks)))


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
@pytest.mark.parametrize("name", [None, "", "-driver"])
def test_a_task_without_a_name_is_passed_over(name, state):
    run = run_of(task(name, state), task("root", state), task("theirs", "RUNNING"))
    assert steps_of(run, Graph()) == [StepState("theirs", None, "RUNNING")]


def test_a_child_without_an_id_makes_nobody_its_parent():
    tasks = [task("iteration-iterations(1:1)", "RUNNING", children=(None,)), task("theirs", "RUNNING")]
    assert steps_of(run_of(*tasks), Graph()) == [StepState("theirs", None, "RUNNING")]
