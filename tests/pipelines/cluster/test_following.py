"""A run that is followed: its end is the command's, its steps are seen, and no lost connection loses it."""

import itertools
import json
import signal
import threading
import time

import pytest

from pipelines.cluster import following, kubernetes_access
from pipelines.cluster.reconnection import Patience
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.server import LOGIN_PAGE, LOST, Answer


def tasks(plan=None, *, pull="SUCCEEDED", folds=None, register=None, **more):
    """The details of a run's tasks, of those steps that are given."""
    states = {"pull-dataset": pull, "plan-training": plan, "train-folds": folds, "register-candidate": register}
    return argo.tasks({step: state for step, state in states.items() if state}, **more)


LOG_OF_A_FAILURE = """train_folds: fold 1, epoch 12/1000 loss -0.71
Traceback (most recent call last):
  File "/tmp/x/ephemeral_component.py", line 12, in train_folds
ModuleNotFoundError: No module named 'numba'
I1130 22:40:59.1      20 launcher_v2.go:208] publish success.
F1130 22:40:59.2      20 main.go:51] failed to execute component: exit status 1
Error: exit status 1
"""
FAILED_FOLD = tasks("SUCCEEDED", folds={0: "SUCCEEDED", 1: "FAILED"})


def test_a_run_that_succeeds_ends_with_0_and_was_seen_step_by_step_and_fold_by_fold(kfp, submit):
    kfp.script = [
        at("PENDING"),
        at("RUNNING", tasks(pull="RUNNING")),
        at("RUNNING", tasks("SUCCEEDED", folds={0: "SUCCEEDED", 1: "RUNNING"})),
        at("SUCCEEDED", tasks("SUCCEEDED", folds={0: "SUCCEEDED", 1: "SUCCEEDED"}, register="SUCCEEDED")),
    ]
    told = submit()
    assert told.code == 0, told.err
    for line in ("pull_dataset: step 0/1  runs", "pull_dataset: step 1/1  done", "train_folds: fold 0 1/1  done"):
        assert line in told.err
    assert "train_folds: fold 1 0/1  runs" in told.err
    assert "root" not in told.err
    assert f"SUCCEEDED: {kfp.url}/#/runs/details/{kfp.runs[0].run_id}" in told.out


def test_states_that_follow_one_another_quickly_end_with_the_newest(kfp, submit):
    kfp.script = [
        at("PENDING"),
        at("RUNNING", tasks(pull="RUNNING")),
        at("RUNNING", tasks("RUNNING")),
        at("SUCCEEDED", tasks("RUNNING")),
    ]
    told = submit()
    assert told.code == 0, told.err
    assert "pull_dataset: step 0/1  runs" in told.err and "plan_training: step 0/1  runs" in told.err
    assert told.err.splitlines()[-1].endswith("SUCCEEDED")


def test_folds_of_a_server_that_reports_no_children_are_counted(kfp, submit):
    folds = tasks("SUCCEEDED", folds={0: "SUCCEEDED", 1: "RUNNING"})
    for one in folds:
        one.child_tasks = None
    kfp.script = [at("RUNNING", folds), at("SUCCEEDED")]
    assert "train_folds: tasks 1/2  1 runs" in submit().err


def test_a_run_that_fails_ends_with_1_and_the_failing_steps_name_and_last_error(kfp, submit):
    kfp.script = [at("RUNNING", tasks()), at("FAILED", FAILED_FOLD)]
    kfp.archived[argo.pod_id(argo.executor("train-folds", 1))] = LOG_OF_A_FAILURE
    told = submit()
    assert told.code == 1
    assert "FAILED: step 'train_folds (fold 1)': ModuleNotFoundError: No module named 'numba'" in told.error
    assert f"`spineline retry {kfp.runs[0].run_id[:8]} --profile" in told.error
    assert f"{kfp.url}/#/runs/details/" in told.err


def test_a_failure_without_a_log_names_the_command_that_reads_logs(kfp, submit):
    kfp.script = [at("FAILED", FAILED_FOLD)]
    error = submit().error
    assert "step 'train_folds (fold 1)': no reason reported" in error
    assert f"`spineline runs logs {kfp.runs[0].run_id[:8]} --profile" in error


def test_a_step_whose_driver_failed_is_named_with_the_drivers_error(kfp, submit):
    kfp.script = [at("FAILED", tasks(drivers={"plan-training": "FAILED"}))]
    log = "I1130 22:24:13.1       1 main.go:119] x\nF1130 22:24:14.2       1 main.go:127] KFP driver: no claim\n"
    kfp.archived[argo.pod_id(argo.driver("plan-training"))] = log
    assert "step 'plan_training': KFP driver: no claim" in submit().error


def test_a_pipeline_whose_own_driver_failed_is_named(kfp, submit):
    kfp.script = [at("FAILED", argo.tasks({}, drivers={"root": "FAILED"}))]
    kfp.archived[argo.pod_id(argo.driver())] = "F1130 22:24:14.2       1 main.go:127] KFP driver: invalid recipe\n"
    assert "step 'root driver': KFP driver: invalid recipe" in submit().error


def test_a_run_that_fails_before_any_step_is_reported_with_the_servers_own_message(kfp, submit):
    kfp.script = [at("FAILED", error="workflow forbidden: exceeded quota")]
    told = submit()
    assert told.code == 1
    assert "exceeded quota" in told.error


def test_a_stopped_run_which_kubeflow_reports_as_failed_is_reported_as_stopped(kfp, submit):
    kfp.script = [at("RUNNING", tasks()), at("CANCELING", tasks()), at("FAILED", tasks("FAILED"))]
    told = submit()
    assert told.code == 1
    assert "was stopped at 2026-01-01 00:02 UTC at plan_training" in told.error
    assert "exit status" not in told.error and "continues it" in told.error


def test_a_run_that_is_canceled_ends_with_1_and_where_it_was(kfp, submit):
    kfp.script = [
        at("RUNNING", tasks()),
        at("CANCELING", tasks()),
        at("CANCELED", tasks("FAILED")),
    ]
    told = submit()
    assert told.code == 1
    assert "was stopped at 2026-01-01 00:02 UTC at plan_training" in told.error


@pytest.mark.parametrize(
    "fault",
    [
        LOST,
        Answer(502, "<html>Bad Gateway</html>"),
        Answer(504, "timeout"),
        Answer(500, {"message": "database is locked"}),
    ],
    ids=["closed", "502", "504", "500"],
)
def test_a_lost_connection_is_waited_out_and_told(kfp, submit, fault):
    kfp.script = [at("RUNNING", tasks()), at("SUCCEEDED", tasks())]
    looks = itertools.count()
    kfp.fault = lambda method, path: (
        fault if "/runs/" in path and method == "GET" and next(looks) in range(1, 5) else None
    )
    told = submit()
    assert told.code == 0, told.err
    assert "trying again" in told.err and told.err.count("the run goes on while") == 1
    assert "connected again" in told.err
    assert len(kfp.runs) == 1


def test_a_server_that_never_answers_is_waited_out(kfp, submit, monkeypatch):
    from pipelines.cluster import connection

    monkeypatch.setattr(connection, "TIMEOUT_S", (0.3, 0.3))
    kfp.script = [at("RUNNING", tasks()), at("SUCCEEDED", tasks())]
    looks = itertools.count()

    def hang(method, path):
        if "/runs/" in path and next(looks) == 1:
            time.sleep(0.6)
        return

    kfp.fault = hang
    told = submit()
    assert told.code == 0, told.err
    assert "no answer in time" in told.err


def test_a_sign_in_that_expires_says_how_to_follow_again(kfp, submit):
    kfp.script = [at("RUNNING", tasks()), Answer(401, {"message": "expired"})]
    told = submit()
    assert told.code == 2
    assert "goes on" in told.error
    assert f"spineline follow {kfp.runs[0].run_id[:8]}" in told.error


def test_a_login_page_in_place_of_the_run_is_not_taken_for_an_answer(kfp, submit):
    kfp.script = [at("RUNNING", tasks()), Answer(200, LOGIN_PAGE)]
    told = submit()
    assert told.code == 2
    assert "a page in place of JSON" in told.error


def test_a_run_that_is_gone_from_the_server_ends_the_following(kfp, submit):
    kfp.script = [at("RUNNING", tasks()), Answer(404, {"code": 5, "message": "run not found"})]
    told = submit()
    assert told.code == 2
    assert f"run {kfp.runs[0].run_id} is no longer at {kfp.url}: it was deleted" in told.error
    assert "goes on" not in told.error


@pytest.mark.parametrize(
    "odd",
    [Answer(404, "default backend - 404"), Answer(200, "<html>maintenance</html>"), Answer(401, {"message": "no"})],
    ids=["default backend", "maintenance", "sign-in"],
)
def test_an_odd_answer_in_between_does_not_end_the_following(kfp, submit, odd, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE", Patience(lost_s=60.0, odd_s=10.0))
    kfp.script = [at("RUNNING", tasks()), odd, odd, at("SUCCEEDED", tasks())]
    told = submit()
    assert told.code == 0, told.err
    assert "trying again" in told.err


def test_a_token_file_that_is_away_for_a_moment_does_not_end_the_following(
    kfp_server, spineline, write_profile, tmp_path, monkeypatch
):
    monkeypatch.setattr(following, "PATIENCE", Patience(lost_s=60.0, odd_s=10.0))
    kfp, token = kfp_server(token="right"), tmp_path / "token"
    token.write_text("right")

    def renew(run):
        at("RUNNING")(run)
        token.unlink()
        threading.Timer(0.3, token.write_text, ["right"]).start()

    kfp.script = [at("RUNNING"), renew, at("SUCCEEDED")]
    profile = write_profile({"host": kfp.url, "token_file": str(token)})
    told = spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0,1")
    assert told.code == 0, told.err
    assert str(token) in told.err


def test_a_pipeline_that_can_not_be_read_at_first_does_not_end_the_following(kfp, submit):
    kfp.script = [at("RUNNING"), at("RUNNING"), at("SUCCEEDED", tasks("SUCCEEDED", folds={0: "SUCCEEDED"}))]
    away = [Answer(503, "no upstream"), Answer(403, {"message": "no"})]
    kfp.fault = lambda method, path: away.pop() if method == "GET" and "/versions/" in path and away else None
    told = submit()
    assert told.code == 0, told.err
    assert away == []
    assert "train_folds: fold 0 1/1  done" in told.err


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_json_says_how_a_run_ended_that_did_not_go_well(kfp, submit, state):
    kfp.script = [at(state, error="quota")]
    told = submit("--json")
    answer = json.loads(told.out)
    assert told.code == 1
    assert (answer["run"], answer["state"]) == (kfp.runs[0].run_id, state)
    assert answer["link"].endswith(answer["run"])
    assert f"error: {answer['message']}" == told.error


def test_json_says_of_a_run_that_is_followed_no_more_what_it_was(kfp, submit, monkeypatch):
    kfp.script = [at("RUNNING", tasks())]
    monkeypatch.setattr(following.time, "sleep", _interrupted)
    told = submit("--json")
    answer = json.loads(told.out)
    assert told.code == 130
    assert answer["state"] == "RUNNING" and "goes on" in answer["message"]


def test_ctrl_c_before_the_first_look_detaches_too(kfp, submit, monkeypatch):
    monkeypatch.setattr(kubernetes_access, "reach", _interrupted)
    told = submit("--unchecked")
    assert told.code == 130
    assert f"run {kfp.runs[0].run_id} goes on" in told.error


def test_ctrl_c_while_a_run_is_tried_again_says_that_it_may_be(kfp, submit, spineline, profile):
    assert submit("--detach").code == 0
    kfp.script = [at("FAILED")]

    def interrupt():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.5)

    kfp.fault = lambda method, path: interrupt if path.endswith(":retry") else None
    told = spineline("retry", kfp.runs[0].run_id, "--profile", profile)
    assert told.code == 130
    assert "may be tried again already" in told.error and "spineline status" in told.error


def _interrupted(*_):
    raise KeyboardInterrupt


def test_ctrl_c_detaches_and_the_run_goes_on(kfp, submit, monkeypatch):
    kfp.script = [at("RUNNING", tasks())]
    monkeypatch.setattr(following.time, "sleep", _interrupted)
    told = submit()
    run = kfp.runs[0]
    assert told.code == 130
    assert "goes on" in told.error
    assert f"spineline follow {run.run_id[:8]} --profile" in told.error
    assert run.state == "RUNNING"
    assert not any("terminate" in asked for asked in kfp.asked)
