"""A service reached through kubectl: opened for the command, kept open for as long as it takes, ended with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.cluster import following
from tests.pipelines.cluster.fakes.kfp_server import at

FORWARDED = {"port_forward": "kubeflow/ml-pipeline-ui"}


@pytest.fixture
def followed(spineline, write_profile):
    """A function that trains over a port-forward and follows the run."""

    def call():
        return spineline("run", "--on", "kubernetes", "--profile", write_profile(FORWARDED), "--folds", "0,1")

    return call


def is_there(process):
    """Tell whether a process runs; one that has ended and was not asked for its status doesn't."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_port_forward_is_opened_for_the_command_and_ended_with_it(kubectl, ask):
    told = ask(**FORWARDED)
    assert told.code == 0, told.err
    (call,) = kubectl.calls
    assert call.startswith("--namespace kubeflow port-forward --address 127.0.0.1 service/ml-pipeline-ui ")
    assert call.endswith(":80")
    with socket.socket() as attempt:
        assert attempt.connect_ex(("127.0.0.1", kubectl.port)) != 0


def test_a_port_forward_that_can_not_be_made_quotes_kubectl(kubectl, ask):
    kubectl.fail()
    told = ask(**FORWARDED)
    assert told.code == 2
    assert 'services "ml-pipeline-ui" not found' in told.error


def test_no_kubectl_is_told(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "kubectl: not found" in ask(**FORWARDED).error


@pytest.mark.parametrize(
    ("target", "ports", "remote"),
    [
        ("kubeflow/ml-pipeline-ui", {"http": 80}, 80),
        ("kubeflow/ml-pipeline-ui", {"http": 3000}, 3000),
        ("kubeflow/ml-pipeline-ui", {"pages": 8080}, 8080),
        ("kubeflow/ml-pipeline", {"http": 8888, "grpc": 8887}, 8888),
        ("kubeflow/ml-pipeline:8888", {"http": 8888, "grpc": 8887}, 8888),
        ("tools/kfp:9000", {"http": 80, "other": 9000}, 9000),
    ],
)
def test_the_port_is_the_named_one_or_the_one_of_the_service(kubectl, ask, target, ports, remote):
    kubectl.serve(**ports)
    told = ask(port_forward=target)
    assert told.code == 0, told.err
    namespace, service = target.split(":")[0].split("/")
    assert kubectl.calls[0].startswith(f"--namespace {namespace} port-forward --address 127.0.0.1 service/{service} ")
    assert kubectl.calls[0].endswith(f":{remote}")


def test_a_service_with_several_ports_is_refused_with_their_numbers(kubectl, ask):
    kubectl.serve(one=8001, two=8002)
    told = ask(port_forward="kubeflow/ml-pipeline")
    assert told.code == 2
    assert "has the ports 8001, 8002; expected kubeflow.port_forward with one of them" in told.error


def test_a_port_that_the_service_does_not_have_quotes_kubectl(kubectl, ask):
    told = ask(port_forward="kubeflow/ml-pipeline-ui:8888")
    assert told.code == 2
    assert "Service ml-pipeline-ui does not have a service port 8888" in told.error


@pytest.mark.parametrize("target", ["ml-pipeline-ui", "kubeflow/ml-pipeline:http", "kubeflow/ml-pipeline:0"])
def test_what_is_not_a_service_is_refused(kubectl, ask, target):
    told = ask(port_forward=target)
    assert told.code == 2
    assert "port_forward" in told.error


@pytest.mark.parametrize(
    ("target", "ports", "has_pages", "command"),
    [
        ("kubeflow/ml-pipeline-ui", {"http": 80}, True, "service/ml-pipeline-ui 8080:80"),
        ("kubeflow/pages:3000", {"http": 3000}, True, "service/pages 8080:3000"),
        ("kubeflow/ml-pipeline:8888", {"http": 8888}, False, "service/ml-pipeline-ui 8080:80"),
    ],
)
def test_the_link_to_a_run_leads_to_pages_whatever_is_forwarded(
    kubectl, kfp, spineline, write_profile, target, ports, has_pages, command
):
    kubectl.serve(**ports)
    kfp.has_pages = has_pages
    profile = write_profile({"port_forward": target})
    told = spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0,1", "--detach")
    assert told.code == 0, told.err
    page = f"http://localhost:8080/#/runs/details/{kfp.runs[0].run_id}"
    assert f"{page} (while `kubectl --namespace kubeflow port-forward --address 127.0.0.1 {command}` runs)" in told.out


def lose(kubectl):
    process = kubectl.process
    kubectl.lose_pod(pending=1)
    while is_there(process):
        time.sleep(0.01)


PODS_LOST = {
    "ends": lose,
    "is killed": lambda kubectl: os.kill(kubectl.process, signal.SIGKILL),
    "lives on and closes connections": lambda kubectl: kubectl.hang(),
    "lives on in silence": lambda kubectl: kubectl.hang(is_silent=True),
}


@pytest.mark.parametrize("how", PODS_LOST)
def test_a_run_is_followed_on_where_the_pod_behind_the_forward_is_lost(kubectl, kfp, followed, how):
    def lost(run):
        PODS_LOST[how](kubectl)
        at("RUNNING")(run)

    kfp.script = [at("RUNNING"), lost, at("RUNNING"), at("SUCCEEDED")]
    told = followed()
    assert told.code == 0, told.err
    assert 2 <= len(kubectl.calls) <= 3
    assert len(kfp.runs) == 1


@pytest.mark.parametrize("how", PODS_LOST)
def test_a_command_that_asks_once_gets_its_answer_where_the_pod_is_lost(kubectl, kfp, ask, how):
    fired = []

    def fault(method, path):
        if path.endswith("/recurringruns") and not fired:
            fired.append(path)
            PODS_LOST[how](kubectl)

    kfp.fault = fault
    told = ask(**FORWARDED)
    assert told.code == 0, told.err
    assert fired
    assert 2 <= len(kubectl.calls) <= 3


def test_a_write_that_was_lost_is_not_repeated_blindly(kubectl, kfp, submit, spineline, write_profile):
    assert submit("--detach").code == 0
    kfp.runs[0].state = "RUNNING"
    sent = []

    def fault(method, path):
        if path.endswith(":terminate"):
            sent.append(path)
            kubectl.hang()

    kfp.fault = fault
    told = spineline("stop", kfp.runs[0].run_id, "--profile", write_profile(FORWARDED))
    assert told.code == 2
    assert "the connection was closed" in told.error
    assert len(sent) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_command_ends_kubectl_too_and_says_that_the_run_goes_on(
    kubectl, kfp, followed, number, request
):
    before = signal.SIG_DFL  # also where whoever runs the tests ignores hangups (nohup)
    request.addfinalizer(partial(signal.signal, number, signal.signal(number, before)))

    def end(run):
        at("RUNNING")(run)
        os.kill(os.getpid(), number)

    kfp.script = [at("RUNNING"), end, at("RUNNING")]
    told = followed()
    assert told.code == 130
    assert f"run {kfp.runs[0].run_id} goes on" in told.error
    assert not is_there(kubectl.process)
    assert signal.getsignal(number) == before


def test_a_signal_whose_exception_python_drops_ends_the_following_all_the_same(kubectl, kfp, followed, monkeypatch):
    class Dropping:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            sum(range(1000))  # Python runs the handler between two instructions, within this destructor

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    monkeypatch.setattr(following.time, "sleep", lambda _: Dropping() and None)
    kfp.script = [at("RUNNING")]
    assert followed().code == 130
    assert {one.exc_type for one in dropped} == {KeyboardInterrupt}


def test_a_hangup_that_is_ignored_stays_ignored(kubectl, kfp, followed):
    def hang_up(run):
        at("RUNNING")(run)
        os.kill(os.getpid(), signal.SIGHUP)

    kfp.script = [at("RUNNING"), hang_up, at("SUCCEEDED")]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert followed().code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_kubectl_ends_with_a_command_that_was_killed(kubectl, kfp, submit, write_profile, tmp_path):
    assert submit("--detach").code == 0
    kfp.script = [at("RUNNING")]
    profile = write_profile(FORWARDED)
    command = [sys.executable, "-m", "pipelines.cli", "follow", kfp.runs[0].run_id, "--profile", str(profile)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KUBECONFIG": str(tmp_path / "none")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "RUNNING" in line:
            break
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while is_there(kubectl.process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_there(kubectl.process)
