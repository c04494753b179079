"""The local runner: records that are owed, failures that are named, and children that end."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.local import LocalRun, RunInProgressError, _only_run, run_local
from spine.errors import StepFailedError


def test_a_failing_step_is_named_with_its_message(tmp_path):
    arguments = {"root": str(tmp_path), "version": 7, "reason": 'it\'s a "test"', "actor": "ann"}
    with pytest.raises(StepFailedError, match=r"promote_model.*unknown version '7'") as refused:
        run_local(pipeline="promote-approved", arguments=arguments, root=tmp_path, on_event=lambda _: None)
    assert refused.value.step == "promote_model"
    assert "UnknownNameError" in refused.value.log_tail


def test_a_run_with_the_defaults_of_its_parameters_is_refused_by_its_first_step(tmp_path):
    arguments = {"root": str(tmp_path), "repository": "https://git.invalid/d.git"}
    with pytest.raises(StepFailedError, match=r"actor is ''.*policy 'research' needs another person") as refused:
        run_local(
            pipeline="train-candidate", arguments=arguments, root=tmp_path, on_event=lambda _: None, fold_groups=[[0]]
        )
    assert refused.value.step == "pull_dataset"
    assert not (tmp_path / "repositories").exists()


def test_a_record_that_a_skipped_step_owes_is_missed(tmp_path):
    run = LocalRun(folder=tmp_path)
    with pytest.raises(StepFailedError, match=r"'register_candidate' made 0 of 1 records"):
        run.record("register_candidate")


def test_a_second_run_in_one_root_is_refused(tmp_path):
    with _only_run(tmp_path), pytest.raises(RunInProgressError, match="held by another run"), _only_run(tmp_path):
        pass


def test_what_prepares_a_run_has_the_root_to_itself(tmp_path):
    def prepare():
        with pytest.raises(RunInProgressError), _only_run(tmp_path):
            pass
        raise StepFailedError("prepare", reason="was called")

    given = {"root": tmp_path, "on_event": lambda _: None, "prepare": prepare}
    with pytest.raises(StepFailedError, match="was called"):
        run_local(pipeline="promote-approved", arguments={}, **given)


SLEEPER = """
import sys
from pathlib import Path
from pipelines import local, promote_approved
from pipelines.local import run_local
root = Path(sys.argv[1])
run_local(
    pipeline="train-candidate", root=root, on_event=lambda event: print(event.task, flush=True), fold_groups=[[0]],
    arguments=dict(root=str(root), repository=sys.argv[2], revision="HEAD", remote="", recipe="demo", policy="demo",
                   start_from=0, actor="ann"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_every_child_ends_when_the_run_is_stopped(tmp_path, number, hanging_repository):
    # A shell starts what it puts into the background deaf to interrupts, and a test run passes that on.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    run = subprocess.Popen([sys.executable, "-c", SLEEPER, str(tmp_path), str(hanging_repository)], preexec_fn=listen)
    deadline = time.monotonic() + 60
    while not _processes(tmp_path, "executor_main") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _processes(tmp_path, "executor_main"), "the step never started"
    run.send_signal(number)
    run.wait(timeout=60)
    while _processes(tmp_path, "") and time.monotonic() < deadline + 30:
        time.sleep(0.1)
    assert _processes(tmp_path, "") == []


@pytest.fixture
def hanging_repository(tmp_path):
    """A repository whose HEAD is a named pipe: git waits for a writer that never comes, and so does the step."""
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    head = repository / ".git" / "HEAD"
    head.unlink()
    os.mkfifo(head)
    return repository


def _processes(root, word):
    """Return the command lines of living processes that name ``root``, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(root) in command and word in command:
                found.append(command)
    return found
