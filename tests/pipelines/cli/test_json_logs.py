"""What the command line says on stderr where logs are JSON: one object a line; its output on stdout is as ever."""

import json
import subprocess
import sys

import pytest

from spine.settings import child_environment


@pytest.mark.parametrize(
    ("command", "told"),
    [(("rollback", "--reason", "x"), "error: there is no version to roll back to"), (("versions", "--odd"), "error: ")],
)
def test_an_error_is_one_object_with_the_same_words(tmp_path, command, told):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *command],
        env=child_environment(SPINELINE_LOG_FORMAT="json", SPINELINE_ROOT=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    *before, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, done.stdout, last["level"]) == (2, "", "ERROR")
    assert last["message"].startswith(told)
    assert {line["level"] for line in before} <= {"INFO"}


@pytest.mark.slow
def test_every_line_of_a_run_on_this_machine_names_it(tmp_path):
    command = ("run", "--recipe", "quick", "--policy", "demo", "--repository", str(tmp_path / "none"))
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *command],
        env=child_environment(SPINELINE_LOG_FORMAT="json", SPINELINE_ROOT=str(tmp_path / "root")),
        capture_output=True,
        text=True,
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    (run,) = (path.name for path in (tmp_path / "root" / "runs").iterdir())
    assert done.returncode == 2 and "pull_dataset" in told[-1]["message"]
    assert {line["run"] for line in told} == {run}
