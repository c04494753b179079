"""One run for one request: whatever is lost, late, done twice or interrupted, and what is told of it."""

import signal
import threading
import time

import pytest

from pipelines.cluster import connection, starting
from pipelines.cluster.reconnection import Patience
from tests.pipelines.cluster.fakes.server import LOST, LOST_AFTER, Answer

RUNS = "/apis/v2beta1/runs"
CREATE_RUN = f"POST {RUNS}"


def interrupt():
    """Press Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_a_run_that_comes_up_late_is_waited_for_and_not_started_twice(kfp, submit, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT_S", (1.0, 0.3))
    monkeypatch.setattr(starting, "SETTLE_S", 5.0)

    def slow(method, path):
        if f"{method} {path}" == CREATE_RUN:
            time.sleep(0.8)

    kfp.fault = slow
    told = submit("--detach")
    assert told.code == 0, told.err
    assert len(kfp.runs) == 1
    assert "so far" in told.err
    assert kfp.runs[0].run_id in told.out


def test_a_run_that_was_started_twice_all_the_same_goes_on_once(kfp, submit, monkeypatch):
    lost = [LOST_AFTER]
    hidden = [Answer(200, {})] * 50

    def fault(method, path):
        if f"{method} {path}" == CREATE_RUN:
            hidden[:] = hidden if lost else []
            return lost.pop() if lost else None
        # The server's list is behind: the run of the first request is in it only after the second.
        return hidden.pop() if f"{method} {path}" == f"GET {RUNS}" and hidden else None

    kfp.fault = fault
    told = submit("--detach")
    assert told.code == 0, told.err
    first, second = kfp.runs
    assert first.state == "PENDING" and second.state == "CANCELING"
    assert first.run_id in told.out
    assert f"run {second.run_id} was started by the same request and is being stopped" in told.err


def test_a_run_of_another_is_not_taken_for_ours_where_the_server_drops_the_filter(kfp, submit, monkeypatch):
    assert submit("--detach").code == 0
    other = kfp.runs[0]
    monkeypatch.setattr("tests.pipelines.cluster.fakes.contract.listed", lambda items, wanted: list(items))
    lost = [LOST]
    kfp.fault = lambda method, path: lost.pop() if f"{method} {path}" == CREATE_RUN and lost else None
    told = submit("--detach")
    assert told.code == 0, told.err
    assert len(kfp.runs) == 2
    assert kfp.runs[1].run_id in told.out and other.run_id not in told.out


def test_ctrl_c_while_a_run_is_being_started_says_that_it_goes_on(kfp, submit):
    def interrupted():
        interrupt()
        time.sleep(0.5)

    kfp.fault = lambda method, path: interrupted if f"{method} {path}" == CREATE_RUN else None
    told = submit()
    assert told.code == 130
    assert f"run {kfp.runs[0].run_id} goes on; follow it again with `spineline follow" in told.error
    assert "run the same command again" not in told.err


def test_ctrl_c_before_a_run_has_come_up_says_that_it_may(kfp, submit, monkeypatch):
    monkeypatch.setattr(starting, "SETTLE_S", 60.0)

    def fault(method, path):
        if f"{method} {path}" == CREATE_RUN:
            threading.Timer(0.2, interrupt).start()
            return LOST
        return None

    kfp.fault = fault
    told = submit()
    assert told.code == 130
    assert "may have been started" in told.error and kfp.url in told.error
    assert "run the same command again" not in told.err


def test_a_request_that_is_lost_for_good_says_that_a_run_may_have_been_started(kfp, submit, monkeypatch):
    monkeypatch.setattr(connection, "SUBMISSION", Patience(lost_s=0.1))
    kfp.fault = lambda method, path: LOST if f"{method} {path}" == CREATE_RUN else None
    told = submit()
    assert told.code == 2
    assert "may have been started" in told.error


def test_ctrl_c_before_anything_was_sent_promises_no_run(kfp, submit):
    def fault(method, path):
        if path.endswith("/experiments"):
            interrupt()

    kfp.fault = fault
    told = submit()
    assert told.code == 130
    assert "run the same command again" in told.err
    assert kfp.runs == []


@pytest.mark.parametrize(
    ("looked_at", "made"),
    [
        ("/pipelines", "pipelines"),
        ("/versions", "versions"),
        ("/experiments", "experiments"),
    ],
)
def test_what_another_command_makes_at_the_same_moment_is_used(kfp, submit, looked_at, made):
    assert submit("--detach").code == 0
    blind = [Answer(200, {})]
    kfp.fault = lambda method, path: blind.pop() if method == "GET" and path.endswith(looked_at) and blind else None
    told = submit("--detach")
    assert told.code == 0, told.err
    assert (len(getattr(kfp, made)), len(kfp.runs)) == (1, 2)


def test_a_name_that_is_taken_by_what_is_not_listed_is_told(kfp, submit):
    assert submit("--detach").code == 0
    kfp.fault = lambda method, path: (
        Answer(200, {}) if f"{method} {path}".startswith("GET") and path.endswith("/pipelines") else None
    )
    told = submit("--detach")
    assert told.code == 2
    assert "Already exist error: train-candidate" in told.error


@pytest.mark.parametrize(
    "path", ["/apis/v2beta1/pipelines", "/apis/v2beta1/pipelines/upload_version", "/apis/v2beta1/experiments", RUNS]
)
def test_an_answer_without_the_id_of_what_was_made_is_not_believed(kfp, submit, path):
    kfp.fault = lambda method, asked: Answer(200, {"status": "ok"}) if (method, asked) == ("POST", path) else None
    told = submit("--detach")
    assert told.code == 2
    assert "is not Kubeflow Pipelines (an answer without" in told.error
