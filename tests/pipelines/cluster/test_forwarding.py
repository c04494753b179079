"""A service reached through kubectl: opened for the command, kept open for as long as it takes, ended with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def test_a_port_forward_that_ends_is_opened_again_and_the_run_not_lost(kubectl, kfp, followed):
    def break_off(run):
        os.kill(kubectl.process, signal.SIGKILL)
        at("RUNNING")(run)

    kfp.script = [at("RUNNING"), break_off, at("RUNNING"), at("SUCCEEDED")]
    told = followed()
    assert told.code == 0, told.err
    assert len(kubectl.calls) == 2
    assert "kubectl --namespace kubeflow port-forward" in told.out
    assert len(kfp.runs) == 1


def test_a_port_forward_that_lives_on_and_lets_nothing_through_is_started_anew(kubectl, kfp, followed):
    def go_deaf(run):
        kubectl.go_deaf()
        at("RUNNING")(run)

    kfp.script = [at("RUNNING"), go_deaf, at("RUNNING"), at("SUCCEEDED")]
    told = followed()
    assert told.code == 0, told.err
    assert len(kubectl.calls) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_command_ends_kubectl_too_and_says_that_the_run_goes_on(kubectl, kfp, followed, number):
    before = signal.getsignal(number)

    def end(run):
        at("RUNNING")(run)
        os.kill(os.getpid(), number)

    kfp.script = [at("RUNNING"), end, at("RUNNING")]
    told = followed()
    assert told.code == 130
    assert f"run {kfp.runs[0].run_id} goes on" in told.error
    assert not is_there(kubectl.process)
    assert signal.getsignal(number) == before


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
