"""Runs of a stopped or failed pipeline run end in MLflow, and go on where their training does."""

import pytest

from model_registry.errors import TrackingError
from model_registry.mlflow_names import KUBEFLOW_RUN_TAG
from model_registry.mlflow_runs import CANDIDATE_TAG
from model_registry.run_endings import end_runs
from spine.errors import InvalidValueError
from spine.journal import Journal

RUN = "3f2a91c0-0000-4000-8000-000000000000"


def start(candidate, run=RUN):
    """Begin, or continue, the training of every fold as a part of a pipeline run."""
    for journal in (candidate.own, *map(Journal, candidate.journals.values())):
        journal.tags({KUBEFLOW_RUN_TAG: run})
        journal.status("RUNNING")
    candidate.deliver()


def status_by_run(candidate):
    runs = [*candidate.runs(CANDIDATE_TAG), *candidate.folds]
    return {run: candidate.client.get_run(run).info.status for run in runs}


@pytest.mark.parametrize("status", ["KILLED", "FAILED"])
def test_the_candidates_run_and_its_folds_end_once(candidate, status):
    start(candidate)
    runs = set(status_by_run(candidate))
    assert len(runs) == 3
    assert set(end_runs(candidate.store(), kubeflow_run=RUN, status=status)) == runs
    assert set(status_by_run(candidate).values()) == {status}
    assert all(candidate.client.get_run(run).info.end_time for run in runs)
    assert end_runs(candidate.store(), kubeflow_run=RUN, status="KILLED") == []
    assert set(status_by_run(candidate).values()) == {status}


def test_runs_that_finished_keep_their_status(candidate):
    start(candidate)
    Journal(candidate.journals[0]).status("FINISHED")
    candidate.deliver()
    end_runs(candidate.store(), kubeflow_run=RUN, status="KILLED")
    assert sorted(status_by_run(candidate).values()) == ["FINISHED", "KILLED", "KILLED"]


def test_a_retry_returns_the_runs_to_running_and_finishes_them(candidate):
    start(candidate)
    candidate.train(1, 2)
    candidate.deliver()
    end_runs(candidate.store(), kubeflow_run=RUN, status="KILLED")
    candidate.train(3, 3)  # what the pod wrote last, delivered late
    candidate.deliver()
    assert set(status_by_run(candidate).values()) == {"KILLED"}
    start(candidate)
    assert set(status_by_run(candidate).values()) == {"RUNNING"}
    candidate.train(4, 4)
    for journal in (candidate.own, *map(Journal, candidate.journals.values())):
        journal.status("FINISHED")
    candidate.deliver()
    assert set(status_by_run(candidate).values()) == {"FINISHED"}
    candidate.assert_drawn_once(4)


def test_runs_that_another_pipeline_run_continued_are_left_alone(candidate):
    start(candidate)
    start(candidate, run="another")
    assert end_runs(candidate.store(), kubeflow_run=RUN, status="KILLED") == []
    assert set(status_by_run(candidate).values()) == {"RUNNING"}


@pytest.mark.parametrize("run", ["", "a' or tags.x = 'b"])
def test_what_is_not_the_id_of_a_run_is_refused(candidate, run):
    with pytest.raises(InvalidValueError, match="expected the id of a run"):
        end_runs(candidate.store(), kubeflow_run=run, status="KILLED")


def test_an_mlflow_that_cannot_be_reached_is_an_error_of_one_line(candidate):
    with pytest.raises(TrackingError, match="127.0.0.1:9"):
        end_runs(candidate.store("http://127.0.0.1:9"), kubeflow_run=RUN, status="KILLED")
