"""What the journals hold arrives in a real database, each point once, whatever was lost between."""

import shutil
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from model_registry.mlflow_runs import CANDIDATE_TAG
from model_registry.tracking import STATE_FILE, candidate_folder_of
from spine.journal import Journal
from spine.records import FoldCheckpoint


def test_curves_are_seen_while_training_goes_on(candidate):
    with candidate.tracking() as tracking:
        candidate.own.parameters({"recipe": "demo"})
        for path in candidate.journals.values():
            Journal(path).status("RUNNING")
        candidate.train(1, 3)
        candidate.await_epoch(3)
        assert candidate.statuses() == {"RUNNING"}
        candidate.train(4, 5)
        for path in candidate.journals.values():
            Journal(path).status("FINISHED")
        assert tracking.close(30) == 0
    candidate.assert_drawn_once(5)
    assert candidate.statuses() == {"FINISHED"}
    (parent,) = map(candidate.client.get_run, candidate.runs(CANDIDATE_TAG))
    assert (parent.info.run_name, parent.info.status, parent.data.params) == ("demo", "RUNNING", {"recipe": "demo"})


def test_a_training_that_goes_on_goes_on_in_the_same_runs(candidate):
    for first in (1, 4):
        with candidate.tracking() as tracking:
            candidate.train(first, first + 2)
            assert tracking.close(30) == 0
            (parent,) = candidate.runs(CANDIDATE_TAG)
            assert candidate.client.get_run(parent).info.status == "RUNNING"
        candidate.own.status("KILLED")
        candidate.deliver()
        assert candidate.client.get_run(parent).info.status == "KILLED"
    candidate.assert_drawn_once(6)


def test_an_epoch_that_is_trained_again_is_not_drawn_twice(candidate):
    candidate.train(1, 5)
    candidate.train(4, 5, loss=0.125)
    candidate.deliver()
    candidate.train(3, 8, loss=0.25)
    candidate.deliver()
    candidate.assert_drawn_once(8)


@pytest.mark.parametrize("lost", ["the last batch", "everything", "all but rubbish"])
def test_a_crash_between_sending_and_remembering_draws_nothing_twice(candidate, lost):
    candidate.train(1, 5)
    candidate.deliver()
    states = [path.parent / STATE_FILE for path in candidate.journals.values()]
    remembered = [state.read_text() for state in states]
    candidate.train(4, 9, loss=0.25)
    candidate.deliver()
    for state, text in zip(states, remembered, strict=True):
        if lost == "everything":
            state.unlink()
        else:
            state.write_text(text if lost == "the last batch" else '{"run_id": "ab')
    candidate.train(10, 11)
    candidate.deliver()
    candidate.assert_drawn_once(11)


def test_a_torn_line_holds_nothing_up(candidate):
    candidate.train(1, 2)
    for path in candidate.journals.values():
        with path.open("ab") as stream:
            stream.write(b'{"time_s": 1.0, "metrics": {"loss"')
    candidate.deliver()
    candidate.train(3, 4)
    candidate.deliver()
    candidate.assert_drawn_once(4)


def test_a_parameter_that_changes_or_is_too_long_holds_nothing_up(candidate):
    for workers in ("8", "2"):
        candidate.own.parameters({"workers": workers, "long": "x" * 10_000})
        candidate.train(1, 2)
        run = candidate.client.get_run(candidate.deliver())
    assert run.data.params == {"workers": "8", "long": "x" * 5999 + "…"}
    assert run.data.tags["changed.workers"] == "2"
    candidate.assert_drawn_once(2)


def test_the_deleted_run_of_a_fold_is_drawn_anew(candidate):
    candidate.train(1, 3)
    candidate.deliver()
    candidate.client.delete_run(candidate.folds[0])
    candidate.train(4, 4)
    candidate.deliver()
    candidate.assert_drawn_once(4)


def test_a_deleted_candidate_is_drawn_anew_with_its_folds(candidate):
    candidate.train(1, 3)
    doomed = candidate.deliver()
    candidate.client.delete_run(doomed)
    parent = candidate.deliver()
    assert parent != doomed
    tags = {run: candidate.client.get_run(run).data.tags["mlflow.parentRunId"] for run in candidate.folds}
    assert [candidate.steps(run) for run, above in tags.items() if above == parent] == [[1, 2, 3]] * 2


def test_another_database_gets_all_that_the_first_had(candidate, empty_database, tmp_path):
    candidate.train(1, 3)
    candidate.deliver()
    moved = replace(candidate, database=shutil.copy(empty_database, tmp_path / "other.db"))
    moved.deliver()
    moved.assert_drawn_once(3)


def test_a_locked_database_is_waited_for(candidate, caplog):
    tracking = candidate.tracking(f"{candidate.uri}?timeout=0.1")
    with closing(sqlite3.connect(candidate.database)) as other, tracking:
        other.execute("BEGIN EXCLUSIVE")
        candidate.train(1, 3)
        deadline = time.monotonic() + 60
        while "tracking waits" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        other.rollback()
        assert tracking.close(60) == 0
    candidate.assert_drawn_once(3)


@pytest.mark.timeout(60)
def test_closing_does_not_wait_for_a_server_that_never_answers(candidate):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with candidate.tracking(f"http://127.0.0.1:{silent.getsockname()[1]}") as tracking:
            candidate.train(1, 3)
            left = tracking.close(0.5)
        assert left == 2 * 3 + 1  # that the candidate's run goes on is an entry too


def test_a_candidates_folder_is_found_from_a_folds_record(tmp_path):
    record = FoldCheckpoint.model_construct(
        folder="candidates/abc/Dataset001_Vertebrae/SpineTrainer__nnUNetPlans__3d_fullres/fold_0"
    )
    assert candidate_folder_of(tmp_path, record) == tmp_path / "candidates" / "abc"
